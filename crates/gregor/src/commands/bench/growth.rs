//! `gregor bench growth`: the same load over more partitions, and over more connections.
//!
//! Invariants: the time, and the requests under way in all, are the same in every measurement; what a
//! partition's first batch makes, its segment and its files, is made before; every measurement has a
//! broker of its own, and rounds take turns.

use serde::Serialize;

use super::plot::{self, Series, Words};
use super::report::{Outcome, median, rounded};
use super::target::Broker;
use super::{Workload, carried_out, plan};
use crate::cli;
use crate::failure::Failure;
use crate::output::{Column, Output};

/// Requests under way in all, if there are no more connections than that.
const UNDER_WAY: u32 = 16;
/// Connections while partitions grow.
const CONNECTIONS: u32 = 4;
/// Megabytes after which a measurement ends early, which is a matter of the disk's room alone: no
/// processor of today gets there in three seconds.
const MEGABYTES: f64 = 10_000.0;
/// Batches that each partition has before anything is measured, by each connection that writes to it.
const WARMUP_ROUNDS: usize = 2;

#[derive(Clone, Debug, Serialize)]
struct Line {
    partitions: u32,
    connections: u32,
    cpu_ms_per_mb: f64,
    /// To the first of its series.
    ratio: f64,
}

/// Runs `gregor bench growth`.
///
/// # Errors
/// [`Failure`].
pub fn run(arguments: &cli::Growth) -> Result<(), Failure> {
    env_tokio::raise_descriptor_limit();
    let by_partitions = arguments.partitions.iter().map(|partitions| (*partitions, CONNECTIONS));
    let by_connections = arguments.connections.iter().map(|connections| (1, *connections));
    let series: [Vec<(u32, u32)>; 2] = [by_partitions.collect(), by_connections.collect()];
    let mut values = series.clone().map(|points| vec![Vec::new(); points.len()]);
    for _ in 0..arguments.rounds {
        for (points, values) in series.iter().zip(&mut values) {
            for (point, values) in points.iter().zip(values) {
                let outcome = one(arguments, *point)?;
                values.extend(outcome.cpu_ms_per_mb);
            }
        }
    }
    let lines: Vec<Vec<Line>> =
        series.iter().zip(&values).map(|(points, values)| lines(points, values)).collect();
    tell(arguments, &lines)?;
    match &arguments.printing.plot {
        Some(file) => draw(file, &lines),
        None => Ok(()),
    }
}

fn one(arguments: &cli::Growth, (partitions, connections): (u32, u32)) -> Result<Outcome, Failure> {
    let broker = Broker::gregor(&arguments.dir, &[])?;
    let load = cli::Load {
        connections,
        depth: (UNDER_WAY / connections).max(1),
        partitions,
        batch_bytes: arguments.batch_bytes,
        record_bytes: arguments.record_bytes,
        fetch_bytes: 0,
        rate: None,
        seconds: arguments.seconds,
        warmup: 0.5,
        megabytes: MEGABYTES,
    };
    let mut plan = plan(Workload::Produce, &load, "gregor-bench-growth")?;
    plan.warmup_rounds = WARMUP_ROUNDS;
    carried_out(&broker, Workload::Produce, &load, plan)
}

fn lines(points: &[(u32, u32)], values: &[Vec<f64>]) -> Vec<Line> {
    let mut first = None;
    let mut lines = Vec::new();
    for ((partitions, connections), values) in points.iter().zip(values) {
        let Some(cpu_ms_per_mb) = median(values) else { continue };
        let first = *first.get_or_insert(cpu_ms_per_mb);
        lines.push(Line {
            partitions: *partitions,
            connections: *connections,
            cpu_ms_per_mb,
            ratio: rounded(cpu_ms_per_mb / first),
        });
    }
    lines
}

fn tell(arguments: &cli::Growth, series: &[Vec<Line>]) -> Result<(), Failure> {
    let mut out = Output::new(arguments.printing.json);
    let all = series.iter().flatten();
    if out.is_json() {
        for line in all {
            out.object(line)?;
        }
        return out.flush();
    }
    let columns = ["PARTITIONS", "CONNECTIONS", "MS CPU/MB", "TO FIRST"].map(Column::Number);
    let rows = all.map(|line| {
        vec![
            line.partitions.to_string(),
            line.connections.to_string(),
            format!("{:.3}", line.cpu_ms_per_mb),
            format!("{:.2}", line.ratio),
        ]
    });
    out.table(&columns, rows.collect())?;
    out.flush()
}

fn draw(file: &std::path::Path, series: &[Vec<Line>]) -> Result<(), Failure> {
    let named = ["over partitions", "over connections"].into_iter().zip(series);
    let drawn: Vec<Series> = named
        .enumerate()
        .map(|(index, (name, lines))| {
            let count = |line: &Line| if index == 0 { line.partitions } else { line.connections };
            let points = lines.iter().map(|line| (f64::from(count(line)), line.cpu_ms_per_mb));
            Series { name: name.to_owned(), points: points.collect() }
        })
        .collect();
    let words = Words {
        title: "The same load over more and more of them",
        across: "partitions, or connections",
        up: "ms of CPU per MB",
    };
    plot::lines(file, &words, &drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_the_first_median() {
        let lines = lines(&[(1, 4), (100, 4)], &[vec![2.0, 1.0, 9.0], vec![3.0]]);
        assert_eq!(lines.iter().map(|line| line.ratio).collect::<Vec<_>>(), [1.0, 1.5]);
    }
}
