//! `gregor bench`: what a broker costs, over real sockets.
//!
//! Owns: which measurements there are. Invariants: the broker's processor time is its own process's
//! alone; batches are encoded before anything is measured; a topic of a measurement is used for no
//! other.

mod compare;
mod frames;
mod growth;
mod idle;
mod load;
mod plot;
mod process;
mod report;
mod socket;
mod target;

use std::time::Duration;

use env::Env;

use crate::cli::{self, BenchCommand};
use crate::failure::Failure;
use crate::output::Output;
use crate::remote;
use frames::Batch;
use load::{Plan, Side, fill, measure};
use report::{Outcome, told};
use target::Broker;

/// The topic of a measurement, with a number behind it where there are several.
const TOPIC: &str = "gregor-bench";
/// What a log has that is read: it fits into the page cache and not into the processor's.
const STORED_BYTES: u64 = 256_000_000;

/// What is asked of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Appends.
    Produce,
    /// Reads of what is there.
    Fetch,
    /// Appends on half of the connections, reads of what comes on the others.
    Mixed,
}

impl Workload {
    fn name(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Fetch => "fetch",
            Self::Mixed => "mixed",
        }
    }

    fn sides(self, connections: u32) -> Vec<Side> {
        let side = |index: u32| match self {
            Self::Produce => Side::Produce,
            Self::Fetch => Side::Read,
            Self::Mixed if index.is_multiple_of(2) => Side::Produce,
            Self::Mixed => Side::Follow,
        };
        let connections = if self == Self::Mixed { connections.max(2) } else { connections };
        (0..connections).map(side).collect()
    }
}

/// Runs `gregor bench`.
///
/// # Errors
/// [`Failure`].
pub fn run(command: &BenchCommand) -> Result<(), Failure> {
    match command {
        BenchCommand::Produce(run) => single(Workload::Produce, run),
        BenchCommand::Fetch(run) => single(Workload::Fetch, run),
        BenchCommand::Mixed(run) => single(Workload::Mixed, run),
        BenchCommand::Connections(idle) => idle::run(idle),
        BenchCommand::Compare(compare) => compare::run(compare),
        BenchCommand::Growth(growth) => growth::run(growth),
    }
}

fn single(workload: Workload, run: &cli::Run) -> Result<(), Failure> {
    let broker = Broker::of(&run.target)?;
    let topic = format!("{TOPIC}-{}", std::process::id());
    let outcome = case(&broker, workload, &run.load, &topic)?;
    let mut out = Output::new(run.printing.json);
    told(&mut out, &outcome)?;
    out.flush()?;
    match &run.printing.plot {
        Some(file) => plot::latencies(file, &outcome),
        None => Ok(()),
    }
}

/// One measurement on a topic that is made for it and deleted after it.
///
/// # Errors
/// [`Failure`].
fn case(
    broker: &Broker,
    workload: Workload,
    load: &cli::Load,
    topic: &str,
) -> Result<Outcome, Failure> {
    carried_out(broker, workload, load, plan(workload, load, topic)?)
}

fn carried_out(
    broker: &Broker,
    workload: Workload,
    load: &cli::Load,
    mut plan: Plan,
) -> Result<Outcome, Failure> {
    broker.create_topic(&plan.topic, plan.partitions)?;
    if workload == Workload::Fetch {
        plan.stored_batches = stored_batches(&plan);
        fill(broker.at, &plan)?;
    }
    let measured = measure(broker.at, broker.pid, &plan)?;
    broker.delete_topic(&plan.topic)?;
    Ok(Outcome::new(broker.kind, workload.name(), load, &plan, measured))
}

fn plan(workload: Workload, load: &cli::Load, topic: &str) -> Result<Plan, Failure> {
    let mut now = base::Timestamp(0);
    remote::in_runtime(async |env| {
        now = env.wall();
        Ok(())
    })?;
    let batch = Batch::new(load.batch_bytes, load.record_bytes, now)?;
    let batch_bytes = u32::try_from(batch.bytes.len()).unwrap_or(u32::MAX);
    let batches_a_second = |megabytes: f64| megabytes * 1e6 / f64::from(batch_bytes);
    Ok(Plan {
        sides: workload.sides(load.connections),
        depth: usize::try_from(load.depth).unwrap_or(1),
        topic: topic.to_owned(),
        partitions: i32::try_from(load.partitions).unwrap_or(i32::MAX),
        fetch_batches: (load.fetch_bytes / batch_bytes).max(1),
        batch,
        stored_batches: 0,
        rate: load.rate.map(batches_a_second),
        warmup: Duration::from_secs_f64(load.warmup),
        warmup_rounds: 0,
        duration: Duration::from_secs_f64(load.seconds),
        bytes_max: Duration::from_secs_f64(load.megabytes).as_secs().saturating_mul(1_000_000),
    })
}

/// Batches of each partition that is read: enough for one fetch at least.
fn stored_batches(plan: &Plan) -> u32 {
    let partitions = u64::try_from(plan.partitions).unwrap_or(1).max(1);
    let batch = u64::try_from(plan.batch.bytes.len()).unwrap_or(1).max(1);
    let batches = u32::try_from(STORED_BYTES / partitions / batch).unwrap_or(u32::MAX);
    batches.max(plan.fetch_batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixed_load_has_both_sides() {
        assert_eq!(Workload::Mixed.sides(1), [Side::Produce, Side::Follow]);
        assert_eq!(Workload::Fetch.sides(2), [Side::Read, Side::Read]);
    }
}
