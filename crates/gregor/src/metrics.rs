//! What a broker tells Prometheus.
//!
//! Owns: one scrape, from a reading to its text. Invariants: the [table] is the only place that
//! knows a metric, its meaning and what writes it, and the documentation is made from it; one
//! scrape at a time; a reading takes no longer than it is given, and says so if something is
//! missing from it.

mod process;
pub mod reading;
pub mod table;

use std::fmt;

use base::Duration;
use base::measure::{BOUNDS_MICROS, TimeCounts};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::daemon::Daemon;
use reading::Reading;
use table::{Kind, METRICS};

/// In which form metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's own, version 0.0.4, which everything reads.
    Prometheus,
    /// OpenMetrics 1.0, for whoever asks for it.
    OpenMetrics,
}

impl Format {
    /// The MIME type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Takes a reading within `time` and writes it out.
pub async fn scrape(daemon: &Daemon, format: Format, time: Duration) -> String {
    let reading = reading::take(daemon, time).await;
    // With very many partitions this is long for a task that others share a thread with.
    let written = tokio::task::spawn_blocking(move || write(reading, format));
    written.await.unwrap_or_default()
}

fn write(reading: Reading, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(reading));
    let mut out = String::new();
    let written = match format {
        Format::Prometheus => prometheus_text::encode(&mut out, &registry),
        Format::OpenMetrics => text::encode(&mut out, &registry),
    };
    // A string takes everything.
    debug_assert!(written.is_ok());
    out
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in METRICS {
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            // The end of a counter's name is written by the encoder.
            let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
            let family = encoder.encode_descriptor(name, metric.help, None, kind)?;
            (metric.write)(
                self,
                &mut Samples { family, kind: metric.kind, labels: metric.labels },
            )?;
        }
        Ok(())
    }
}

/// Where the values of one metric go.
pub struct Samples<'a> {
    family: MetricEncoder<'a>,
    kind: Kind,
    labels: &'static [&'static str],
}

impl Samples<'_> {
    /// Calls `write` for the sample with these values of its labels.
    fn sample(
        &mut self,
        values: &[&str],
        write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        debug_assert_eq!(values.len(), self.labels.len(), "{:?}", self.labels);
        if values.is_empty() {
            return write(&mut self.family);
        }
        let labels: Vec<(&str, &str)> =
            self.labels.iter().copied().zip(values.iter().copied()).collect();
        write(&mut self.family.encode_family(&labels)?)
    }

    /// A whole number.
    pub fn whole(&mut self, values: &[&str], value: u64) -> fmt::Result {
        let is_counter = self.kind == Kind::Counter;
        self.sample(values, |sample| match is_counter {
            true => sample.encode_counter::<NoLabelSet, _, u64>(&value, None),
            false => sample.encode_gauge(&value),
        })
    }

    /// Any number.
    pub fn real(&mut self, values: &[&str], value: f64) -> fmt::Result {
        let is_counter = self.kind == Kind::Counter;
        self.sample(values, |sample| match is_counter {
            true => sample.encode_counter::<NoLabelSet, _, u64>(&value, None),
            false => sample.encode_gauge(&value),
        })
    }

    /// How long things took.
    pub fn times(&mut self, values: &[&str], times: &TimeCounts) -> fmt::Result {
        let seconds = |micros: u64| Duration::from_micros(micros).as_secs_f64();
        let bounds = BOUNDS_MICROS.iter().map(|micros| seconds(*micros)).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(times.buckets).collect();
        let (total, count) = (times.total.as_secs_f64(), times.count());
        self.sample(values, |sample| {
            sample.encode_histogram::<NoLabelSet>(total, count, &buckets, None)
        })
    }
}
