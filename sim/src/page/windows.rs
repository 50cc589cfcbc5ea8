//! Stretches of time: nodes that are down or stand still, and faults that last.

use serde::Serialize;
use serde_json::Value;

use super::timeline::micros;
use crate::fault::Plan;
use crate::world::{Event, MS};

/// A stretch of time on some lanes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Window {
    /// Microseconds; equal for a fault that is over at once.
    pub from: f64,
    pub to: f64,
    /// `down`, `paused` or `fault`.
    pub kind: &'static str,
    /// The lanes; none means all.
    pub nodes: Vec<usize>,
    pub label: String,
    pub text: String,
}

/// All windows of a run that took `nanos`.
pub(super) fn of(plan: &Plan, events: &[Event], nanos: u64) -> serde_json::Result<Vec<Window>> {
    let calm =
        events.iter().find(|event| event.note.kind == "calm").map_or(nanos, |event| event.at);
    let mut windows = planned(plan, calm)?;
    windows.extend(between(events, nanos, ("crash", "boot"), "down"));
    windows.extend(between(events, nanos, ("pause", "resume"), "paused"));
    windows.sort_by(|a, b| a.from.total_cmp(&b.from));
    Ok(windows)
}

/// What the plan says; all of it ends when faults are over.
fn planned(plan: &Plan, calm: u64) -> serde_json::Result<Vec<Window>> {
    let mut windows = Vec::new();
    for timed in &plan.faults {
        let from = timed.at_ms * MS;
        if from > calm {
            continue;
        }
        let fault = serde_json::to_value(&timed.fault)?;
        let number = |name: &str| fault.get(name).and_then(Value::as_u64);
        let to = from.saturating_add(number("ms").unwrap_or(0).saturating_mul(MS)).min(calm);
        let names = ["node", "a", "b", "from", "to"];
        let nodes = names.iter().filter_map(|name| usize::try_from(number(name)?).ok());
        windows.push(Window {
            from: micros(from),
            to: micros(to),
            kind: "fault",
            nodes: nodes.collect(),
            label: timed.fault.class().to_owned(),
            text: format!("at {} ms: {:?}", timed.at_ms, timed.fault),
        });
    }
    Ok(windows)
}

/// From each event of one kind to the node's next one of the other.
fn between(
    events: &[Event],
    nanos: u64,
    (begins, ends): (&str, &str),
    kind: &'static str,
) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for event in events {
        let Some(node) = event.note.node else { continue };
        let at = micros(event.at);
        let is_open = |index: &usize| windows[*index].nodes == [node];
        let found = open.iter().position(is_open);
        // A crash ends a pause.
        let over = event.note.kind == ends || (event.note.kind == "crash" && kind != "down");
        if let (true, Some(found)) = (over, found) {
            windows[open.remove(found)].to = at;
        } else if event.note.kind == begins && found.is_none() {
            open.push(windows.len());
            let (to, text) = (micros(nanos), event.text.clone());
            windows.push(Window {
                from: at,
                to,
                kind,
                nodes: vec![node],
                label: kind.into(),
                text,
            });
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Note;

    fn event(at: u64, node: usize, kind: &'static str) -> Event {
        let note = Note { node: Some(node), kind, ..Note::default() };
        Event { at: at * 1000, note, text: String::new() }
    }

    #[test]
    fn a_node_is_down_from_its_crash_to_its_next_boot_or_the_end() {
        let events =
            [event(1, 0, "crash"), event(2, 0, "crash"), event(3, 0, "boot"), event(4, 1, "crash")];

        let windows = between(&events, 9_000, ("crash", "boot"), "down");

        let found: Vec<_> = windows.iter().map(|w| (w.nodes[0], w.from, w.to)).collect();
        assert_eq!(found, [(0, 1.0, 3.0), (1, 4.0, 9.0)]);
    }

    #[test]
    fn a_fault_lasts_as_long_as_its_plan_says_or_until_faults_are_over() {
        let mut plan = Plan::draw(1);
        plan.faults = serde_json::from_str(
            r#"[{"at_ms":1,"kind":"cut","from":0,"to":2,"both":true,"ms":10},
                {"at_ms":2,"kind":"slow_net","factor":2,"ms":100},
                {"at_ms":30,"kind":"clean_stop","node":0}]"#,
        )
        .unwrap();

        let windows = planned(&plan, 20 * MS).unwrap();

        let found: Vec<_> = windows.iter().map(|w| (w.from, w.to, w.nodes.clone())).collect();
        assert_eq!(found, [(1e3, 11e3, vec![0, 2]), (2e3, 20e3, vec![])]);
    }
}
