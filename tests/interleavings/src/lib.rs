//! Owns nothing: the tests are in `tests/`. Run by `cargo interleavings`.
