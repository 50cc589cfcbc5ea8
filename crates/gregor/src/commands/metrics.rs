//! `gregor metrics`: the table of metrics.

use serde::Serialize;

use crate::cli::Metrics;
use crate::failure::Failure;
use crate::metrics::table::{METRICS, Metric};
use crate::output::{Column, Output};

#[derive(Serialize)]
struct Listed {
    metric: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    kafka: Option<&'static str>,
    doc: &'static str,
}

/// Runs `gregor metrics`.
///
/// # Errors
/// [`Failure`].
pub fn run(arguments: &Metrics) -> Result<(), Failure> {
    let mut out = Output::listing(arguments.format.json);
    if arguments.markdown {
        out.bytes(markdown().as_bytes())?;
        return out.flush();
    }
    let word = arguments.word.as_deref().unwrap_or("").to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&word);
    let wanted = |metric: &&Metric| has(metric.name) || has(metric.help) || has(metric.kafka);
    let metrics: Vec<&Metric> = METRICS.iter().filter(wanted).collect();
    if metrics.is_empty() {
        return Err(Failure::Advised {
            what: format!("no metric has '{word}' in its name, meaning or MBean"),
            hint: "`gregor metrics` shows them all".to_owned(),
        });
    }
    let mut rows = Vec::new();
    for metric in metrics {
        if out.is_json() {
            out.object(&Listed {
                metric: metric.name,
                kind: metric.kind.name(),
                labels: metric.labels,
                kafka: Some(metric.kafka).filter(|kafka| !kafka.is_empty()),
                doc: metric.help,
            })?;
            continue;
        }
        let cells = [metric.name, metric.kind.name(), &metric.labels.join(","), metric.help];
        rows.push(cells.map(str::to_owned).to_vec());
    }
    out.table(&["METRIC", "KIND", "LABELS", "MEANING"].map(Column::Text), rows)?;
    out.flush()
}

/// The table as `docs/operations.md` has it.
fn markdown() -> String {
    let mut text =
        String::from("| Metric | Kind | Labels | Meaning | In Kafka |\n|---|---|---|---|---|\n");
    for Metric { name, kind, labels, kafka, help, .. } in METRICS {
        let kafka = if kafka.is_empty() { "–".to_owned() } else { format!("`{kafka}`") };
        let (kind, labels) = (kind.name(), labels.join(", "));
        text.push_str(&format!("| `{name}` | {kind} | {labels} | {help} | {kafka} |\n"));
    }
    text
}
