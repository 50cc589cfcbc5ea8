//! What a broker's flight recorder held, on the same page as a run.
//!
//! Invariants: times count from the first entry; everything the record says is drawn, or said to be
//! left out.

use std::collections::BTreeMap;

use base::trace::{Entry, Kind, Record};
use serde_json::Value;

use super::timeline::{Class, Shown, Timeline, micros, most_telling};
use crate::world::seconds;

/// The lanes.
const LANES: [&str; 4] = ["broker", "metadata", "groups", "storage"];

/// The page of a record that was read from `from`.
pub(super) fn timeline(record: &Record, from: &str) -> Timeline {
    let first = record.entries.first().map_or(record.now, |entry| entry.at);
    let mut left_out = Vec::new();
    if record.dropped > 0 {
        left_out.push(format!("{} entries before these", record.dropped));
    }
    let shown = record.entries.iter().map(|entry| show(entry, first)).collect();
    let events = most_telling(shown, Timeline::EVENTS_MAX, &mut left_out);
    let held = record.now.saturating_sub(first);
    let (version, wall, count) = (&record.version, record.wall, record.entries.len());
    Timeline {
        title: "Flight record".to_owned(),
        verdict: "record".to_owned(),
        reproduce: String::new(),
        facts: format!(
            "{from} \u{b7} {:.2} s \u{b7} {count} entries \u{b7} version {version} \u{b7} taken {wall} ms after 1970",
            seconds(held)
        ),
        end: micros(held),
        left_out,
        nodes: LANES.map(str::to_owned).to_vec(),
        failed: None,
        windows: Vec::new(),
        events,
        messages: Vec::new(),
        watermarks: BTreeMap::new(),
        led: Vec::new(),
        plan: Value::Null,
    }
}

fn show(entry: &Entry, first: u64) -> Shown {
    let (lane, class) = match entry.kind {
        Kind::Boot | Kind::Stop | Kind::Halt => (0, Class::Life),
        Kind::DirectoryFailed | Kind::Room => (3, Class::Life),
        Kind::Metadata => (1, Class::Learnt),
        Kind::Group => (2, Class::Learnt),
        Kind::Clean => (3, Class::Learnt),
    };
    Shown {
        t: micros(entry.at.saturating_sub(first)),
        n: Some(lane),
        k: entry.kind.name(),
        x: entry.text.clone(),
        d: (0, 0, 0, String::new()),
        bad: false,
        class,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_drawn_from_its_first_entry_on_and_says_what_is_gone() {
        let entry = |at, kind| Entry { at, kind, text: "text".to_owned() };
        let record = Record {
            now: 9_000,
            dropped: 2,
            entries: vec![entry(5_000, Kind::Group), entry(7_000, Kind::Halt)],
            ..Record::default()
        };
        let timeline = timeline(&record, "file");
        let times: Vec<f64> = timeline.events.iter().map(|event| event.t).collect();
        assert_eq!(times, [0.0, 2.0]);
        assert_eq!((timeline.end, timeline.left_out.len()), (4.0, 1));
        assert_eq!(timeline.events[1].n, Some(0));
    }
}
