//! The simulator's binary: `cargo sim --seed 42`. See `sim::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(sim::cli::main(std::env::args_os()))
}
