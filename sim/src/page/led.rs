//! Which events led to a failure, as far as a machine can tell.
//!
//! Invariant: listed are what became of nodes (but for their first start), what clients learnt of the partition and offset that
//! the oracle names, disk operations that failed, and the last events before it fired; nothing after.

use super::timeline::{Class, Failed, Shown};

/// At most so many, the latest.
const LISTED_MAX: usize = 200;
/// How many of the last events are listed whatever they are.
const LAST: usize = 8;

/// Indexes into `events`.
pub(super) fn led_to(failed: &Failed, events: &[Shown]) -> Vec<usize> {
    let before: Vec<usize> =
        (0..events.len()).take_while(|at| events[*at].t <= failed.at).collect();
    let last = before.len().saturating_sub(LAST);
    let place = place(&failed.text);
    let mut listed: Vec<usize> =
        before.into_iter().filter(|at| *at >= last || matters(&events[*at], place)).collect();
    listed.drain(..listed.len().saturating_sub(LISTED_MAX));
    listed
}

fn matters(event: &Shown, place: Option<(u64, Option<u64>)>) -> bool {
    let (target, offset, len, _) = &event.d;
    match event.class {
        // That everything starts at first says nothing.
        Class::Life => event.k != "boot" || *target > 1,
        Class::Learnt => place.is_some_and(|(partition, wanted)| {
            let holds = |at: u64| event.k == "acked" && *offset <= at && at < offset + len;
            *target == partition && event.k != "committed" && wanted.is_none_or(holds)
        }),
        Class::Sync | Class::Disk => event.bad,
        Class::Broken => false,
    }
}

/// The partition, and the offset in it, that the text of an oracle begins with.
fn place(text: &str) -> Option<(u64, Option<u64>)> {
    let (_, rest) = text.split_once(": ")?;
    let word = rest.split([' ', ':']).next()?;
    match word.split_once('/') {
        Some((partition, offset)) => Some((partition.parse().ok()?, offset.parse().ok())),
        None => Some((word.parse().ok()?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(t: f64, k: &'static str, class: Class, d: (u64, u64, u64)) -> Shown {
        Shown {
            t,
            n: Some(0),
            k,
            x: String::new(),
            d: (d.0, d.1, d.2, "0".into()),
            bad: false,
            class,
        }
    }

    #[test]
    fn the_place_is_what_the_text_begins_with() {
        assert_eq!(place("acked-survives: 2/17 was acked"), Some((2, Some(17))));
        assert_eq!(place("dense: 3: a batch"), Some((3, None)));
        assert_eq!(place("settle: 60 s after"), Some((60, None)));
        assert_eq!(place("halt: n0 stopped"), None);
    }

    #[test]
    fn listed_are_lives_the_offsets_acknowledgement_and_the_last_events_but_nothing_later() {
        let mut events = vec![
            event(0.0, "boot", Class::Life, (1, 0, 0)),
            event(0.5, "boot", Class::Life, (2, 0, 0)),
            event(1.0, "acked", Class::Learnt, (2, 10, 5)),
            event(2.0, "acked", Class::Learnt, (2, 15, 5)),
            event(3.0, "acked", Class::Learnt, (1, 15, 5)),
            event(4.0, "crash", Class::Life, (0, 0, 0)),
        ];
        events.extend((5..20).map(|t: u32| event(t.into(), "write", Class::Disk, (0, 0, 0))));
        let failed =
            Failed { at: 15.0, kind: String::new(), text: "acked-survives: 2/17 was".into() };

        let listed = led_to(&failed, &events);

        assert_eq!(listed[..3], [1, 3, 5]);
        assert_eq!(listed[3..], (9..17).collect::<Vec<_>>());
    }
}
