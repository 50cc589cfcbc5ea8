//! What a page shows, as data.
//!
//! Invariants: times are simulated microseconds; everything is in order of time; at most
//! [`Timeline::EVENTS_MAX`] events and [`Timeline::MESSAGES_MAX`] messages are drawn, the most
//! telling kinds first and of a kind that does not fit the latest, and how many are missing is said.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::messages::Message;
use super::{led, messages, windows};
use crate::campaign::verdict;
use crate::fault::Plan;
use crate::world::{Event, Outcome, seconds};

/// See the module head.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline {
    pub(super) title: String,
    pub(super) verdict: String,
    pub(super) reproduce: String,
    /// The line beside the title.
    pub(super) facts: String,
    /// When the run ended.
    pub(super) end: f64,
    /// What is not on the page.
    pub(super) left_out: Vec<String>,
    /// Names of the lanes.
    pub(super) nodes: Vec<String>,
    pub(super) failed: Option<Failed>,
    pub(super) windows: Vec<windows::Window>,
    pub(super) events: Vec<Shown>,
    pub(super) messages: Vec<Message>,
    /// By partition: when a client saw which high watermark.
    pub(super) watermarks: BTreeMap<u64, Vec<(f64, u64)>>,
    /// Indexes of events that led to the failure.
    pub(super) led: Vec<usize>,
    /// What the panel of the plan shows; nothing hides it.
    pub(super) plan: Value,
}

/// The oracle that fired.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failed {
    pub at: f64,
    pub kind: String,
    pub text: String,
}

/// An event as it is drawn. Names are short, for there are many.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Shown {
    /// When.
    pub t: f64,
    /// The lane; `None` is the world's.
    pub n: Option<usize>,
    /// What.
    pub k: &'static str,
    /// For people.
    pub x: String,
    /// Target, offset, length, result.
    pub d: (u64, u64, u64, String),
    /// Whether it is a disk operation that failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bad: bool,
    #[serde(skip)]
    pub class: Class,
}

/// How telling an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Faults, and what becomes of nodes.
    Life,
    /// What clients learnt, and what cores took in.
    Learnt,
    /// Connections that broke.
    Broken,
    /// Syncs of all kinds.
    Sync,
    /// Other changes of a disk.
    Disk,
}

/// Nanoseconds as microseconds, with what is behind the point.
#[expect(clippy::cast_precision_loss, reason = "shown to people only")]
pub(super) fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

fn class(kind: &str) -> Option<Class> {
    Some(match kind {
        "fault" | "calm" | "crash" | "boot" | "halt" | "pause" | "resume" => Class::Life,
        "acked" | "fetched" | "committed" => Class::Learnt,
        "reset" => Class::Broken,
        "sync" | "sync_dir" | "sync_fs" => Class::Sync,
        "write" | "set_len" | "rename" | "remove" | "mkdir" | "rmdir" => Class::Disk,
        _ => return None,
    })
}

impl Timeline {
    /// Events that are drawn at most.
    pub const EVENTS_MAX: usize = 20_000;
    /// Requests with their answers that are drawn at most.
    pub const MESSAGES_MAX: usize = 8_000;

    /// The timeline of a run whose events were kept.
    ///
    /// # Errors
    /// If the plan has no JSON form, which does not happen.
    pub fn of<T>(plan: &Plan, outcome: &Outcome<T>, reproduce: &str) -> serde_json::Result<Self> {
        let mut left_out = Vec::new();
        if outcome.events_dropped > 0 {
            left_out.push(format!("the first {} events of all", outcome.events_dropped));
        }
        let shown = outcome.events.iter().filter_map(show).collect();
        let events = most_telling(shown, Self::EVENTS_MAX, &mut left_out);
        let mut messages = messages::of(&outcome.events);
        let excess = messages.len().saturating_sub(Self::MESSAGES_MAX);
        if excess > 0 {
            left_out.push(format!("the first {excess} requests"));
            messages.drain(..excess);
        }
        let failed = outcome.failure.as_ref().map(|failure| Failed {
            at: micros(failure.at),
            kind: format!("{:?}", failure.kind),
            text: failure.text.clone(),
        });
        Ok(Self {
            title: format!("Seed {}", plan.seed),
            verdict: verdict(plan.seed, outcome),
            reproduce: reproduce.to_owned(),
            facts: facts(outcome),
            end: micros(outcome.nanos),
            left_out,
            nodes: names(plan),
            windows: windows::of(plan, &outcome.events, outcome.nanos)?,
            watermarks: watermarks(&outcome.events),
            led: failed.as_ref().map(|failed| led::led_to(failed, &events)).unwrap_or_default(),
            failed,
            events,
            messages,
            plan: serde_json::to_value(plan)?,
        })
    }
}

fn facts<T>(outcome: &Outcome<T>) -> String {
    let simulated = seconds(outcome.nanos);
    let (acked, events, hash) = (outcome.ledger.acked, outcome.notes, outcome.hash);
    format!(
        "{simulated:.2} simulated s \u{b7} {acked} records acknowledged \u{b7} {events} events \u{b7} hash {hash:016x}"
    )
}

fn names(plan: &Plan) -> Vec<String> {
    let work = &plan.work;
    let mut names = vec!["broker".to_owned(), "admin".to_owned()];
    for (name, count) in
        [("idempotent", work.idempotent), ("plain", work.plain), ("consumer", work.consumers)]
    {
        names.extend((1..=count).map(|number| format!("{name} {number}")));
    }
    names.extend(work.odd.then(|| "odd one".to_owned()));
    names.extend(work.keeper.then(|| "keeper".to_owned()));
    names
}

fn show(event: &Event) -> Option<Shown> {
    let (note, class) = (&event.note, class(event.note.kind)?);
    let is_disk = matches!(class, Class::Sync | Class::Disk);
    // The result of a write is what was written, and it has no text but its error.
    let failed = if note.kind == "write" { !event.text.is_empty() } else { note.result != 0 };
    Some(Shown {
        bad: is_disk && failed,
        t: micros(event.at),
        n: note.node,
        k: note.kind,
        x: event.text.clone(),
        d: (note.target, note.offset, note.len, format!("{:x}", note.result)),
        class,
    })
}

/// The classes that fit, and the latest of the first that does not.
pub(super) fn most_telling(
    mut events: Vec<Shown>,
    most: usize,
    left_out: &mut Vec<String>,
) -> Vec<Shown> {
    let mut room = most;
    let mut from = BTreeMap::new();
    for class in [Class::Life, Class::Learnt, Class::Broken, Class::Sync, Class::Disk] {
        let count = events.iter().filter(|event| event.class == class).count();
        let excess = count.saturating_sub(room);
        if excess > 0 {
            left_out.push(format!("the first {excess} of {count} events of kind {class:?}"));
        }
        from.insert(class, excess);
        room -= count - excess;
    }
    let mut fits = |event: &Shown| match from.get_mut(&event.class) {
        Some(excess) if *excess > 0 => {
            *excess -= 1;
            false
        },
        Some(_) | None => true,
    };
    events.retain(|event| fits(event));
    events
}

/// What clients learnt of each partition's high watermark.
fn watermarks(events: &[Event]) -> BTreeMap<u64, Vec<(f64, u64)>> {
    let mut all = BTreeMap::<u64, Vec<(f64, u64)>>::new();
    for event in events.iter().filter(|event| event.note.kind == "fetched") {
        let points = all.entry(event.note.target).or_default();
        if points.last().is_none_or(|(_, last)| *last != event.note.len) {
            points.push((micros(event.at), event.note.len));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(class: Class, times: std::ops::Range<u32>) -> impl Iterator<Item = Shown> {
        let k = if class == Class::Life { "boot" } else { "write" };
        let event = move |t: u32| Shown {
            t: t.into(),
            n: Some(0),
            k,
            x: String::new(),
            d: (0, 0, 0, String::new()),
            bad: false,
            class,
        };
        times.map(event)
    }

    #[test]
    fn beyond_the_bound_the_latest_of_the_least_telling_remain_and_it_is_said() {
        let all = events(Class::Disk, 0..10).chain(events(Class::Life, 10..13)).collect();
        let mut left_out = Vec::new();

        let kept = most_telling(all, 5, &mut left_out);

        let times: Vec<f64> = kept.iter().map(|event| event.t).collect();
        assert_eq!(times, [8.0, 9.0, 10.0, 11.0, 12.0]);
        assert_eq!(left_out, ["the first 8 of 10 events of kind Disk"]);
    }

    #[test]
    fn within_the_bound_all_remain() {
        let mut left_out = Vec::new();

        let kept = most_telling(events(Class::Sync, 0..5).collect(), 5, &mut left_out);

        assert_eq!((kept.len(), left_out.len()), (5, 0));
    }
}
