//! The outside world as traits. (Types follow in the next commit.)
#![forbid(unsafe_code)]
