//! The logs of a directory: state, segments, batches, records.

use std::collections::BTreeMap;
use std::path::Path;

use base::{Offset, TopicId};
use env::{Access, Disk, Env, File};
use env_tokio::TokioEnv;
use records::{BatchView, STORED_INFLATED_BYTES_MAX};
use storage::inspect::{BatchReport, LogReport, SegmentReport};
use storage::journal::LogState;
use storage::names::log_folder;

use super::Report;
use super::lines::{Batch, Damage, Line, Log, Segment};
use crate::cli::Dump;
use crate::commands::consume::RecordLine;
use crate::failure::Failure;
use crate::output::{Column, counted, or_dash};
use crate::progress::Progress;

/// Batches looked at in one go.
const BATCHES: usize = 1024;

/// Prints and checks the logs that are asked for.
pub async fn all(
    env: &TokioEnv,
    report: &mut Report,
    arguments: &Dump,
    logs: &[LogReport],
    names: &BTreeMap<TopicId, String>,
) -> Result<(), Failure> {
    let progress = Progress::beside_output(logs.len() as u64, "logs");
    for log in logs {
        let id = log.partition.topic;
        let topic = names.get(&id).cloned().unwrap_or_else(|| id.0.to_string());
        let wanted = arguments
            .topic
            .as_ref()
            .is_none_or(|wanted| *wanted == topic || *wanted == id.0.to_string());
        let index = log.partition.index.0;
        if wanted && arguments.partition.is_none_or(|partition| partition == index) {
            Look { env, arguments, log, topic }.whole(report).await?;
        }
        progress.add(1);
    }
    Ok(())
}

/// A look at one log.
struct Look<'a> {
    env: &'a TokioEnv,
    arguments: &'a Dump,
    log: &'a LogReport,
    topic: String,
}

impl Look<'_> {
    fn folder(&self) -> String {
        log_folder(self.log.partition, self.log.replica_gen)
    }

    fn is_listing(&self) -> bool {
        self.arguments.batches || self.arguments.records
    }

    async fn whole(&self, report: &mut Report) -> Result<(), Failure> {
        let folder = self.folder();
        let state = self.log.state.as_deref();
        let producers = report.sound(&format!("{folder}/producers"), &self.log.producers)?;
        let line = self.line(state, producers.map(|found| found.producers.len()));
        if report.out.is_json() {
            report.out.object(&Line::Log(&line))?;
        } else {
            report.out.line("")?;
            let (topic, partition) = (&line.topic, line.partition);
            report.out.line(&format!("log {topic}-{partition}, folder {folder}"))?;
            let closed = match line.sealed {
                Some(true) => "closed cleanly",
                Some(false) => "not closed",
                None => "not in the journal",
            };
            let watermark = or_dash(line.high_watermark);
            // While a log is open the file is written now and then, for a start to begin from.
            let watermark = match line.sealed {
                Some(false) => format!("at least {watermark} (saved hint)"),
                Some(true) | None => watermark,
            };
            let producers = line.producers.and_then(|count| u64::try_from(count).ok());
            report.out.line(&format!(
                "  {closed}; start {}, durable to {}, high watermark {watermark}, {}",
                or_dash(line.log_start),
                or_dash(line.flushed_end),
                producers.map_or_else(|| "- producers".to_owned(), |n| counted(n, "producer")),
            ))?;
            if line.uncertain {
                report.out.line("  uncertain: it may hold less than it was promised to")?;
            }
            if !line.unknown.is_empty() {
                report.out.line(&format!("  not ours: {}", line.unknown.join(", ")))?;
            }
        }
        for (from, to) in &line.faulty {
            report.damage(&folder, &format!("offsets {from} to {to} are lost and known to be"))?;
        }
        let mut rows = Vec::new();
        for (place, segment) in self.log.segments.iter().enumerate() {
            let last = place + 1 == self.log.segments.len();
            let line = self.segment(report, segment, last.then_some(state).flatten(), last).await?;
            rows.push(self.row(&line));
        }
        if report.out.is_json() || self.is_listing() {
            return Ok(());
        }
        let columns = [
            Column::Text("  SEGMENT"),
            Column::Number("FIRST"),
            Column::Number("END"),
            Column::Number("BATCHES"),
            Column::Number("RECORDS"),
            Column::Number("BYTES"),
            Column::Number("ENVELOPES"),
        ];
        report.out.table(&columns, rows)
    }

    fn row(&self, line: &Segment) -> Vec<String> {
        let incomplete = if line.envelopes_incomplete { " (incomplete)" } else { "" };
        vec![
            format!("  {}", line.file),
            line.base_offset.to_string(),
            line.end_offset.to_string(),
            line.batches.to_string(),
            line.records.to_string(),
            line.bytes.to_string(),
            format!("{}{incomplete}", or_dash(line.envelopes)),
        ]
    }

    fn line(&self, state: Option<&LogState>, producers: Option<usize>) -> Log {
        let epochs = state.map(|state| state.epochs.entries()).unwrap_or_default();
        let faulty = state.map(|state| state.faulty.as_slice()).unwrap_or_default();
        Log {
            topic: self.topic.clone(),
            partition: self.log.partition.index.0,
            replica_gen: self.log.replica_gen.0,
            sealed: state.map(|state| state.sealed.is_some()),
            uncertain: state.is_some_and(|state| state.uncertain),
            log_start: state.map(|state| state.start.0),
            flushed_end: state.map(|state| state.flushed.0),
            high_watermark: state.map(|state| state.high_watermark.0),
            producers,
            epochs: epochs.iter().map(|entry| (entry.epoch.0, entry.start.0)).collect(),
            faulty: faulty.iter().map(|range| (range.from.0, range.to.0)).collect(),
            segments: self.log.segments.len(),
            unknown: self.log.unknown.clone(),
        }
    }

    /// Checks one segment to its end. `open` says that it is the last, which alone may be torn:
    /// behind what `state` says was durable, in a log that was not closed.
    async fn segment(
        &self,
        report: &mut Report,
        found: &SegmentReport,
        state: Option<&LogState>,
        open: bool,
    ) -> Result<Segment, Failure> {
        let file = found.name.log();
        let path = self.arguments.dir.join(self.folder()).join(&file);
        let mut line = Segment {
            topic: self.topic.clone(),
            partition: self.log.partition.index.0,
            file,
            base_offset: found.name.base.0,
            end_offset: found.name.base.0,
            bytes: found.bytes,
            batches: 0,
            records: 0,
            envelopes: found.envelopes.as_ref().map(|envelopes| envelopes.runs.len()),
            envelopes_incomplete: found.envelopes.as_ref().is_none_or(|found| found.damaged),
        };
        if self.is_listing() && !report.out.is_json() {
            let bytes = counted(line.bytes, "byte");
            report.out.line(&format!("  segment {}, {bytes}", line.file))?;
        }
        let sealed = state.is_some_and(|state| state.sealed.is_some());
        let durable = match state {
            Some(state) => state.flushed,
            None => Offset::ZERO,
        };
        let may_be_torn = |at: i64| open && !sealed && at >= durable.0;
        let mut position = 0;
        loop {
            let part =
                storage::inspect::batches(self.env, &path, position..found.bytes, BATCHES).await;
            let part =
                part.map_err(|source| Failure::Read { path: path.display().to_string(), source })?;
            for batch in &part.batches {
                self.batch(report, &line, batch, &path, may_be_torn(batch.header.base_offset.0))
                    .await?;
                line.batches += 1;
                line.records += u64::try_from(batch.header.record_count).unwrap_or(0);
                line.end_offset = batch.header.next_offset().0;
            }
            if let Some(error) = &part.stopped {
                let at = format!("{}/{} at byte {}", self.folder(), line.file, part.position);
                self.broken(report, &at, &error.to_string(), may_be_torn(line.end_offset))?;
            }
            if part.stopped.is_some() || part.batches.is_empty() {
                break;
            }
            position = part.position;
        }
        if report.out.is_json() {
            report.out.object(&Line::Segment(&line))?;
        }
        let end = line.end_offset;
        if open && end < durable.0 {
            let at = format!("{}/{}", self.folder(), line.file);
            report.damage(&at, &format!("it ends at {end}, and {durable} was durable"))?;
        }
        Ok(line)
    }

    fn broken(&self, report: &mut Report, at: &str, why: &str, torn: bool) -> Result<(), Failure> {
        if !torn {
            return report.damage(at, &why);
        }
        if report.out.is_json() {
            return report.out.object(&Line::Torn(Damage { at, why: why.to_owned() }));
        }
        report.out.line(&format!("  torn end, cut by the next start: {at}: {why}"))
    }

    async fn batch(
        &self,
        report: &mut Report,
        line: &Segment,
        batch: &BatchReport,
        path: &Path,
        may_be_torn: bool,
    ) -> Result<(), Failure> {
        if self.is_listing() {
            let shown = Batch::new(line, batch);
            if report.out.is_json() {
                report.out.object(&Line::Batch(shown))?;
            } else {
                report.out.line(&shown.text())?;
            }
        }
        let at = format!("{}/{} at byte {}", self.folder(), line.file, batch.position);
        if !batch.crc_matches {
            return self.broken(report, &at, "the checksum does not match", may_be_torn);
        }
        if !self.arguments.records {
            return Ok(());
        }
        let unreadable = |source| Failure::Read { path: path.display().to_string(), source };
        let file = self.env.disk().open(path, Access::Read).await.map_err(unreadable)?;
        let bytes = file.read_at(batch.position, batch.header.len_bytes()).await;
        match BatchView::parse(&bytes.map_err(unreadable)?) {
            Ok(batch) => self.records(report, &at, &batch),
            Err(error) => report.damage(&at, &error),
        }
    }

    fn records(&self, report: &mut Report, at: &str, batch: &BatchView) -> Result<(), Failure> {
        let set = match batch.open(STORED_INFLATED_BYTES_MAX) {
            Ok(set) => set,
            Err(error) => return report.damage(at, &error),
        };
        for record in &set {
            let record = match record {
                Ok(record) => record,
                Err(error) => return report.damage(at, &error),
            };
            if report.out.is_json() {
                let index = self.log.partition.index.0;
                report.out.object(&Line::Record(RecordLine::new(&self.topic, index, &record)))?;
                continue;
            }
            let shown = |bytes: Option<&[u8]>| {
                bytes.map_or_else(
                    || "null".to_owned(),
                    |bytes| format!("'{}'", bytes.escape_ascii()),
                )
            };
            report.out.line(&format!(
                "      {} time {} key {} value {} headers {}",
                record.offset,
                record.timestamp,
                shown(record.key),
                shown(record.value),
                record.headers.len(),
            ))?;
        }
        Ok(())
    }
}
