//! Results of measurements, as objects and as lines.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::load::{Measured, Plan};
use super::target::Kind;
use crate::cli;
use crate::failure::Failure;
use crate::output::Output;

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latencies {
    /// Half are not longer.
    pub p50: u64,
    /// Nine of ten.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1000.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

impl Latencies {
    fn of(all: &Histogram<u64>) -> Self {
        let at = |quantile| all.value_at_quantile(quantile);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: all.max() }
    }
}

/// What one measurement found. 1 MB is 10^6 bytes of batches.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Who was measured.
    pub broker: Kind,
    /// What was asked of it.
    pub workload: &'static str,
    /// Bytes of a batch.
    pub batch_bytes: usize,
    /// Records of a batch.
    pub batch_records: u32,
    /// Batches that one fetch asks for.
    pub fetch_batches: Option<u32>,
    /// Partitions.
    pub partitions: u32,
    /// Connections.
    pub connections: usize,
    /// Requests under way on each; `None` where they were due at fixed times.
    pub depth: Option<u32>,
    /// How long.
    pub seconds: f64,
    /// Requests answered.
    pub requests: u64,
    /// Per second.
    pub requests_per_s: f64,
    /// Per second.
    pub mb_per_s: f64,
    /// Processor time of the broker, in milliseconds per MB.
    pub cpu_ms_per_mb: Option<f64>,
    /// Processor time of the broker, in microseconds per request.
    pub cpu_us_per_request: Option<f64>,
    /// Of one processor.
    pub cpu_share: Option<f64>,
    /// Resident memory of the broker at the end.
    pub resident_mb: Option<f64>,
    /// From the request, or from when it was due, to the last byte of its answer.
    pub latency_us: Latencies,
    /// All of them.
    #[serde(skip)]
    pub latencies: Histogram<u64>,
}

impl Outcome {
    /// What was measured by a plan.
    pub fn new(
        broker: Kind,
        workload: &'static str,
        load: &cli::Load,
        plan: &Plan,
        measured: Measured,
    ) -> Self {
        let seconds = measured.duration.as_secs_f64();
        let (requests, mb) = (number(measured.requests), number(measured.bytes) / 1e6);
        let cpu = measured
            .usage
            .map(|(before, after)| after.cpu.saturating_sub(before.cpu).as_secs_f64());
        let per = |scale: f64, count: f64| {
            cpu.filter(|_| count > 0.0).map(|cpu| rounded(cpu * scale / count))
        };
        Self {
            broker,
            workload,
            batch_bytes: plan.batch.bytes.len(),
            batch_records: plan.batch.records,
            fetch_batches: (workload != "produce").then_some(plan.fetch_batches),
            partitions: load.partitions,
            connections: plan.sides.len(),
            depth: plan.rate.is_none().then_some(load.depth),
            seconds: rounded(seconds),
            requests: measured.requests,
            requests_per_s: rounded(requests / seconds),
            mb_per_s: rounded(mb / seconds),
            cpu_ms_per_mb: per(1e3, mb),
            cpu_us_per_request: per(1e6, requests),
            cpu_share: cpu.map(|cpu| rounded(cpu / seconds)),
            resident_mb: measured
                .usage
                .map(|(_, after)| rounded(number(after.resident_bytes) / 1e6)),
            latency_us: Latencies::of(&measured.latencies),
            latencies: measured.latencies,
        }
    }
}

/// A count as a number to divide.
#[expect(clippy::cast_precision_loss, reason = "what is lost is far below what is shown")]
pub fn number(count: u64) -> f64 {
    count as f64
}

/// To four digits behind the point.
pub fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// The one in the middle; of two, the lower one.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

/// Prints a measurement.
///
/// # Errors
/// [`Failure::Output`].
pub fn told(out: &mut Output, outcome: &Outcome) -> Result<(), Failure> {
    if out.is_json() {
        return out.object(outcome);
    }
    let or_unknown = |value: Option<f64>, unit: &str| {
        value.map_or_else(
            || "unknown (--pid tells)".to_owned(),
            |value| format!("{value:.3} {unit}"),
        )
    };
    let l = outcome.latency_us;
    out.line(&format!(
        "{} {}: {:.1} MB/s, {:.0} requests/s over {:.1} s, batches of {} bytes with {} records",
        outcome.broker,
        outcome.workload,
        outcome.mb_per_s,
        outcome.requests_per_s,
        outcome.seconds,
        outcome.batch_bytes,
        outcome.batch_records,
    ))?;
    out.line(&format!(
        "latency    p50 {} us, p90 {}, p99 {}, p99.9 {}, max {}",
        l.p50, l.p90, l.p99, l.p999, l.max
    ))?;
    out.line(&format!(
        "broker     {}, {}, {} of a processor",
        or_unknown(outcome.cpu_ms_per_mb, "ms CPU per MB"),
        or_unknown(outcome.cpu_us_per_request, "us CPU per request"),
        or_unknown(outcome.cpu_share, ""),
    ))?;
    out.line(&format!("memory     {} resident", or_unknown(outcome.resident_mb, "MB")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_a_value_that_was_measured() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(1.0));
        assert_eq!(median(&[]), None);
    }
}
