//! Nothing here: the tests of the house are in `tests/tests`.
#![forbid(unsafe_code)]
