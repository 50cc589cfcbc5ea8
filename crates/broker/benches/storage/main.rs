//! What a log directory costs: many partitions (created, idle, opened again) and durable commits
//! against the disk's own flushes. `cargo bench -p broker --bench storage`; `-- --help` says more.
//!
//! Every figure of one table comes from one run on one machine; what is compared alternates.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that measures the real world and prints what it found"
)]

mod commits;
mod partitions;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const HELP: &str = "\
cargo bench -p broker --bench storage -- [--dir DIR] [--partitions N] [--rounds N]

  --dir DIR         works in a new folder of DIR, which decides the disk (default: target)
  --partitions N    partitions of the first table (default 10000)
  --rounds N        rounds of the second table, medians are printed (default 5)
";

struct Wish {
    dir: PathBuf,
    partitions: i32,
    rounds: usize,
}

fn wish(args: &[String]) -> Outcome<Wish> {
    let mut wish = Wish { dir: PathBuf::from("target"), partitions: 10_000, rounds: 5 };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--dir" => wish.dir = PathBuf::from(value()?),
            "--partitions" => wish.partitions = value()?.parse()?,
            "--rounds" => wish.rounds = value()?.parse()?,
            // Cargo says it to every bench.
            "--bench" => {},
            other => return Err(format!("no option {other}\n{HELP}").into()),
        }
    }
    Ok(wish)
}

fn run(args: &[String]) -> Outcome {
    if let [_, phase, dir, count] = args
        && args[0] == "phase"
    {
        return partitions::phase(phase, &PathBuf::from(dir), count.parse()?);
    }
    if args.iter().any(|arg| arg == "--help") {
        print!("{HELP}");
        return Ok(());
    }
    let wish = wish(args)?;
    let dir = wish.dir.join(format!("bench-storage-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let done = partitions::table(&dir.join("partitions"), wish.partitions)
        .and_then(|()| commits::table(&dir.join("commits"), wish.rounds));
    std::fs::remove_dir_all(&dir)?;
    done
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        },
    }
}
