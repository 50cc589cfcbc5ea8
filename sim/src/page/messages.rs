//! Requests and answers, with the instants at which each left and arrived.
//!
//! Owns: the way from bytes on a pipe to messages: a remark says at which byte of its pipe a frame
//! ends; it has left when that byte was sent, and arrived when that byte arrived.

use std::collections::BTreeMap;

use serde::Serialize;

use super::timeline::micros;
use crate::world::Event;

/// A request and what became of it. Names are short, for there are many.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Message {
    /// The client's lane, and the server's.
    pub n: usize,
    pub s: usize,
    /// Left, arrived, answer left, answer arrived.
    pub t: [Option<f64>; 4],
    /// Name and version.
    pub k: String,
    /// Correlation id, bytes of the request and of the answer.
    pub d: (u64, u64, u64),
    /// The request, and the answer, for people.
    pub x: String,
    pub y: String,
}

/// When how many bytes of a pipe had been sent, or had arrived.
#[derive(Default)]
struct Flow(Vec<(u64, f64)>);

impl Flow {
    fn add(&mut self, event: &Event) {
        let before = self.0.last().map_or(0, |(bytes, _)| *bytes);
        self.0.push((before + event.note.len, micros(event.at)));
    }

    /// When byte `end` was reached.
    fn reached(&self, end: u64) -> Option<f64> {
        let at = self.0.partition_point(|(bytes, _)| *bytes < end);
        self.0.get(at).map(|(_, time)| *time)
    }
}

#[derive(Default)]
struct Pipes {
    sent: BTreeMap<u64, Flow>,
    arrived: BTreeMap<u64, Flow>,
    reader: BTreeMap<u64, usize>,
}

impl Pipes {
    fn of(events: &[Event]) -> Self {
        let mut pipes = Self::default();
        for event in events {
            let pipe = event.note.target;
            match event.note.kind {
                "send" => pipes.sent.entry(pipe).or_default().add(event),
                "arrive" => {
                    pipes.arrived.entry(pipe).or_default().add(event);
                    pipes.reader.extend(event.note.node.map(|node| (pipe, node)));
                },
                _ => {},
            }
        }
        pipes
    }
}

/// All requests, in the order in which they left.
pub(super) fn of(events: &[Event]) -> Vec<Message> {
    let pipes = Pipes::of(events);
    let mut messages: Vec<Message> = Vec::new();
    let mut open = BTreeMap::new();
    for event in events {
        let (note, at) = (&event.note, micros(event.at));
        let (name, text) = halves(&event.text);
        match (note.kind, note.node) {
            ("request", Some(node)) => {
                open.insert((note.target, note.result), messages.len());
                let flow = pipes.arrived.get(&note.target);
                messages.push(Message {
                    n: node,
                    s: pipes.reader.get(&note.target).copied().unwrap_or(0),
                    t: [Some(at), flow.and_then(|flow| flow.reached(note.offset)), None, None],
                    k: name.replace("Request ", " "),
                    d: (note.result, note.len, 0),
                    x: text.to_owned(),
                    y: String::new(),
                });
            },
            ("answer", _) => {
                let Some(of) = open.remove(&(note.target, note.result)) else { continue };
                let left = pipes.sent.get(&(note.target ^ 1));
                let message = &mut messages[of];
                message.t[2] = left.and_then(|flow| flow.reached(note.offset));
                message.t[3] = Some(at);
                message.d.2 = note.len;
                message.y = text.to_owned();
            },
            _ => {},
        }
    }
    messages
}

/// `Name v1` and the rest.
fn halves(text: &str) -> (&str, &str) {
    let end = text.match_indices(' ').nth(1).map_or(text.len(), |(at, _)| at);
    (&text[..end], text[end..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Note;

    fn event(
        at: u64,
        node: usize,
        kind: &'static str,
        (target, offset, len): (u64, u64, u64),
    ) -> Event {
        let note = Note { node: Some(node), kind, target, offset, len, result: 9 };
        let text = if offset > 0 { "FetchRequest v4 what" } else { "" };
        Event { at: at * 1000, note, text: text.to_owned() }
    }

    #[test]
    fn a_message_leaves_with_its_last_byte_and_arrives_with_it() {
        let events = [
            event(1, 3, "send", (8, 0, 6)),
            event(2, 3, "send", (8, 0, 4)),
            event(2, 3, "request", (8, 10, 10)),
            event(4, 0, "arrive", (8, 0, 9)),
            event(5, 0, "arrive", (8, 0, 1)),
            event(6, 0, "send", (9, 0, 20)),
            event(8, 3, "arrive", (9, 0, 20)),
            event(9, 3, "answer", (8, 20, 20)),
        ];

        let messages = of(&events);

        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].t, [Some(2.0), Some(5.0), Some(6.0), Some(9.0)]);
        assert_eq!((messages[0].n, messages[0].s, messages[0].d), (3, 0, (9, 10, 20)));
        assert_eq!((messages[0].k.as_str(), messages[0].y.as_str()), ("Fetch v4", "what"));
    }

    #[test]
    fn a_request_that_never_arrives_has_no_instant_of_arrival() {
        let events = [event(1, 3, "send", (8, 0, 10)), event(1, 3, "request", (8, 10, 10))];

        assert_eq!(of(&events)[0].t, [Some(1.0), None, None, None]);
    }
}
