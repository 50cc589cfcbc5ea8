//! `gregor bench compare`: several brokers in turns, medians and ratios.
//!
//! Invariants: in each round every broker is started anew, and each case is run on all of them one
//! after the other before the next case begins, so what else the machine does meets all of them;
//! only figures of one run are compared.

use std::collections::BTreeMap;

use serde::Serialize;

use super::report::{Outcome, median, number, rounded};
use super::target::{Broker, Kind};
use super::{Workload, case, fill, plan, plot};
use crate::cli;
use crate::failure::Failure;
use crate::output::{Column, Output, aside};

/// What of a measurement is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    CpuPerMb,
    CpuPerRequest,
    P99,
}

impl Figure {
    fn of(self, outcome: &Outcome) -> Option<f64> {
        match self {
            Self::CpuPerMb => outcome.cpu_ms_per_mb,
            Self::CpuPerRequest => outcome.cpu_us_per_request,
            Self::P99 => Some(number(outcome.latency_us.p99)),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::CpuPerMb => "ms CPU/MB",
            Self::CpuPerRequest => "us CPU/request",
            Self::P99 => "us p99",
        }
    }
}

struct Case {
    name: &'static str,
    workload: Workload,
    figure: Figure,
    connections: u32,
    depth: u32,
    batch_bytes: u32,
    fetch_bytes: u32,
    rate: Option<f64>,
}

const KIB: u32 = 1024;

const fn produce(name: &'static str, batch_bytes: u32) -> Case {
    Case {
        name,
        workload: Workload::Produce,
        figure: Figure::CpuPerMb,
        connections: 4,
        depth: 5,
        batch_bytes,
        fetch_bytes: 0,
        rate: None,
    }
}

const fn fetch(name: &'static str, fetch_bytes: u32) -> Case {
    Case { workload: Workload::Fetch, depth: 2, fetch_bytes, ..produce(name, 16 * KIB) }
}

const CASES: [Case; 8] = [
    produce("produce-16k", 16 * KIB),
    produce("produce-64k", 64 * KIB),
    produce("produce-1m", 1024 * KIB),
    fetch("fetch-64k", 64 * KIB),
    fetch("fetch-256k", 256 * KIB),
    fetch("fetch-1m", 1024 * KIB),
    Case {
        figure: Figure::CpuPerRequest,
        connections: 1,
        depth: 16,
        ..produce("small-produce", 1)
    },
    Case {
        figure: Figure::P99,
        connections: 1,
        rate: Some(20.0),
        ..produce("paced-20mb", 16 * KIB)
    },
];

/// Records of the case of small requests: one, of so many bytes.
const SMALL_RECORD_BYTES: u32 = 100;
/// Not of a case.
const IDLE_MEMORY: (&str, &str) = ("idle-memory", "MB resident");
const FIRST_PRODUCE: (&str, &str) = ("first-produce", "ms after start");

/// What one broker showed in one round.
#[derive(Serialize)]
struct Shown<'a> {
    round: u32,
    case: &'a str,
    broker: Kind,
    unit: &'a str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a Outcome>,
}

#[derive(Serialize)]
struct Line {
    case: &'static str,
    unit: &'static str,
    medians: BTreeMap<Kind, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_floor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_kafka: Option<f64>,
}

/// Values by case and broker, round after round.
type Values = BTreeMap<(&'static str, Kind), Vec<f64>>;

/// Runs `gregor bench compare`.
///
/// # Errors
/// [`Failure`].
pub fn run(arguments: &cli::Compare) -> Result<(), Failure> {
    let extra = [IDLE_MEMORY, FIRST_PRODUCE];
    let named =
        |name: &str| arguments.cases.is_empty() || arguments.cases.iter().any(|c| c == name);
    let known: Vec<&str> =
        CASES.iter().map(|case| case.name).chain(extra.map(|case| case.0)).collect();
    if let Some(unknown) = arguments.cases.iter().find(|case| !known.contains(&case.as_str())) {
        let known = known.join(", ");
        return Err(Failure::Usage(format!("there is no case {unknown}, only {known}")));
    }
    let mut out = Output::new(arguments.printing.json);
    let mut values = Values::new();
    for round in 1..=arguments.rounds {
        let mut brokers = Vec::new();
        for kind in kinds(arguments) {
            let (broker, first_ms, idle_mb) = start(kind, arguments)?;
            let starts = [(IDLE_MEMORY, idle_mb), (FIRST_PRODUCE, first_ms)];
            for ((case, unit), value) in starts {
                if named(case) {
                    let shown = Shown { round, case, broker: kind, unit, value, outcome: None };
                    note(&mut out, &mut values, case, &shown)?;
                }
            }
            brokers.push(broker);
        }
        for case in CASES.iter().filter(|case| named(case.name)) {
            for broker in &brokers {
                let outcome = one(broker, case, arguments, round)?;
                let Some(value) = case.figure.of(&outcome) else { continue };
                let shown = Shown {
                    round,
                    case: case.name,
                    broker: broker.kind,
                    unit: case.figure.unit(),
                    value,
                    outcome: Some(&outcome),
                };
                note(&mut out, &mut values, case.name, &shown)?;
            }
        }
    }
    let units = CASES.iter().map(|case| (case.name, case.figure.unit()));
    let lines: Vec<Line> =
        units.chain(extra).filter_map(|(case, unit)| line(&values, case, unit)).collect();
    tell(&mut out, arguments, &lines)?;
    match &arguments.printing.plot {
        Some(file) => draw(file, &lines),
        None => Ok(()),
    }
}

fn kinds(arguments: &cli::Compare) -> Vec<Kind> {
    let mut kinds = Vec::new();
    kinds.extend(arguments.floor.is_some().then_some(Kind::Floor));
    kinds.push(Kind::Gregor);
    kinds.extend(arguments.kafka.is_some().then_some(Kind::Kafka));
    kinds
}

fn note(
    out: &mut Output,
    values: &mut Values,
    case: &'static str,
    shown: &Shown<'_>,
) -> Result<(), Failure> {
    values.entry((case, shown.broker)).or_default().push(shown.value);
    if out.is_json() {
        out.object(shown)?;
        return out.flush();
    }
    let Shown { round, broker, value, unit, .. } = shown;
    aside(&format!("round {round} {case} {broker}: {value:.3} {unit}"));
    Ok(())
}

/// Starts a broker; how long it took until it had taken a first batch, in milliseconds, and what it
/// had in memory then, in MB.
fn start(kind: Kind, arguments: &cli::Compare) -> Result<(Broker, f64, f64), Failure> {
    let dir = &arguments.dir;
    let broker = match (kind, &arguments.floor, &arguments.kafka) {
        (Kind::Floor, Some(program), _) => Broker::floor(program, dir)?,
        (Kind::Kafka, _, Some(jars)) => Broker::kafka(jars, dir)?,
        _ => Broker::gregor(dir, &[])?,
    };
    let topic = "gregor-bench-first";
    let mut first = plan(Workload::Produce, &load(&CASES[0], arguments), topic)?;
    first.partitions = 1;
    first.stored_batches = 1;
    broker.create_topic(topic, 1)?;
    fill(broker.at, &first)?;
    let first_ms = broker.age().as_secs_f64() * 1e3;
    let usage = broker.usage()?;
    let idle_mb = usage.map_or(0.0, |usage| number(usage.resident_bytes) / 1e6);
    Ok((broker, rounded(first_ms), rounded(idle_mb)))
}

fn load(case: &Case, arguments: &cli::Compare) -> cli::Load {
    let small = case.figure == Figure::CpuPerRequest;
    cli::Load {
        connections: case.connections,
        depth: case.depth,
        partitions: case.connections,
        batch_bytes: case.batch_bytes,
        record_bytes: if small { SMALL_RECORD_BYTES } else { arguments.record_bytes },
        fetch_bytes: case.fetch_bytes,
        rate: case.rate,
        seconds: arguments.seconds,
        warmup: arguments.warmup,
        megabytes: 1_000.0,
    }
}

fn one(
    broker: &Broker,
    of: &Case,
    arguments: &cli::Compare,
    round: u32,
) -> Result<Outcome, Failure> {
    let topic = format!("gregor-bench-{}-{round}", of.name);
    case(broker, of.workload, &load(of, arguments), &topic)
}

fn line(values: &Values, case: &'static str, unit: &'static str) -> Option<Line> {
    let of = |kind| values.get(&(case, kind)).and_then(|values| median(values));
    let kinds = [Kind::Floor, Kind::Gregor, Kind::Kafka];
    let medians: BTreeMap<Kind, f64> =
        kinds.into_iter().filter_map(|kind| Some((kind, of(kind)?))).collect();
    let ours = medians.get(&Kind::Gregor)?;
    let to = |kind| medians.get(&kind).filter(|other| **other > 0.0).map(|o| rounded(ours / o));
    Some(Line { case, unit, to_floor: to(Kind::Floor), to_kafka: to(Kind::Kafka), medians })
}

fn tell(out: &mut Output, arguments: &cli::Compare, lines: &[Line]) -> Result<(), Failure> {
    if out.is_json() {
        for line in lines {
            out.object(line)?;
        }
        return out.flush();
    }
    let kinds = kinds(arguments);
    let mut columns = vec![Column::Text("CASE"), Column::Text("UNIT")];
    columns.extend(kinds.iter().map(|kind| {
        Column::Number(match kind {
            Kind::Floor => "FLOOR",
            Kind::Kafka => "KAFKA",
            Kind::Gregor | Kind::Other => "GREGOR",
        })
    }));
    columns.extend([Column::Number("TO FLOOR"), Column::Number("TO KAFKA")]);
    let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
    let rows = lines.iter().map(|line| {
        let mut row = vec![line.case.to_owned(), line.unit.to_owned()];
        row.extend(kinds.iter().map(|kind| shown(line.medians.get(kind).copied())));
        row.extend([shown(line.to_floor), shown(line.to_kafka)]);
        row
    });
    out.table(&columns, rows.collect())?;
    out.flush()
}

fn draw(file: &std::path::Path, lines: &[Line]) -> Result<(), Failure> {
    let mut bars = Vec::new();
    for line in lines {
        let ratios = [("floor", line.to_floor), ("kafka", line.to_kafka)];
        for (other, ratio) in ratios {
            bars.extend(ratio.map(|ratio| (format!("{} to {other}", line.case), ratio)));
        }
    }
    plot::bars(file, "Gregor's figure divided by the other's (less is better)", &bars)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_medians_and_the_ratios_of_them() {
        let mut values = Values::new();
        values.insert(("produce-16k", Kind::Gregor), vec![3.0, 9.0, 2.0]);
        values.insert(("produce-16k", Kind::Floor), vec![2.0, 2.0, 8.0]);

        let line = line(&values, "produce-16k", "ms").unwrap();

        assert_eq!(line.medians[&Kind::Gregor], 3.0);
        assert_eq!((line.to_floor, line.to_kafka), (Some(1.5), None));
    }

    #[test]
    fn an_unknown_case_is_told_with_those_that_there_are() {
        let arguments = cli::Compare {
            floor: None,
            kafka: None,
            rounds: 1,
            cases: vec!["bogus".to_owned()],
            record_bytes: 1,
            seconds: 1.0,
            warmup: 1.0,
            dir: std::env::temp_dir(),
            printing: cli::bench::Printing { json: false, plot: None },
        };
        let told = run(&arguments).unwrap_err().to_string();
        assert!(told.contains("bogus") && told.contains("small-produce"), "{told}");
    }
}
