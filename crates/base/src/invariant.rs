//! `invariant!`: a check that stays on in release and stops the process.

/// Stops the process when our own code broke rule `$id`: `invariant!(LOG_1, a >= b, "{a} < {b}")`.
/// The ids are listed in the docs; input from outside never reaches one.
#[macro_export]
macro_rules! invariant {
    ($id:ident, $holds:expr, $($why:tt)+) => {
        assert!($holds, "invariant {} broken: {}", stringify!($id), format_args!($($why)+))
    };
}
