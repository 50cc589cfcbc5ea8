//! The ways in which a plan can be smaller. Pure: a plan in, candidates out, the boldest first.
//!
//! Invariants: a candidate differs from the plan and is a plan that a seed could have drawn, but
//! for being smaller; no fault names a node that is not there. Numbers are reached through the
//! plan's JSON form, so that a new knob or fault is shrunk without a word here; only a field whose
//! least value is not zero, or which is no quantity, has to be named.

use serde_json::Value;

use crate::fault::Plan;
use crate::world::Knobs;

/// Fields of a fault that name a node.
const NODES: &[&str] = &["node", "a", "b", "from", "to"];
/// Fields of the work that count clients; those are taken away node by node.
const CLIENTS: &[&str] = &["idempotent", "plain", "consumers", "odd"];
/// Values that are as small, or as harmless, as they can be, where that is not zero.
const LEAST: &[(&str, u64)] = &[
    ("partitions", 1),
    ("records", 1),
    ("batch_max", 1),
    ("in_flight", 1),
    // One segment for everything.
    ("segment_bytes", 1 << 20),
    ("nth", 1),
    ("count", 1),
    ("factor", 2),
];

/// How large a plan is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Faults.
    pub faults: usize,
    /// Nodes that are clients.
    pub clients: usize,
    /// Records that are owed before the last fault.
    pub records: u64,
    /// Knobs that are not quiet.
    pub noise: usize,
}

impl Size {
    /// The size of `plan`.
    pub fn of(plan: &Plan) -> Self {
        let producers = u64::try_from(plan.work.idempotent + plan.work.plain).unwrap_or(0);
        Self {
            faults: plan.faults.len(),
            clients: plan.clients(),
            records: producers * plan.work.records,
            noise: knob_places(plan).len(),
        }
    }
}

pub(super) fn without_faults(plan: &Plan, from: usize, count: usize) -> Plan {
    let mut plan = plan.clone();
    let to = (from + count).min(plan.faults.len());
    plan.faults.drain(from..to);
    plan
}

pub(super) fn without_mutant(plan: &Plan, at: usize) -> Plan {
    let mut plan = plan.clone();
    plan.mutants.remove(at);
    plan
}

pub(super) fn without_noise(plan: &Plan) -> Plan {
    Plan { knobs: Knobs::default(), ..plan.clone() }
}

/// The plan without one client each, the last one first; the administrator stays.
pub(super) fn with_fewer_clients(plan: &Plan) -> Vec<Plan> {
    let work = &plan.work;
    let (idempotent, plain) = (2 + work.idempotent, 2 + work.idempotent + work.plain);
    let consumers = plain + work.consumers;
    let mut plans = Vec::new();
    for node in (2..=plan.clients()).rev() {
        let mut less = plan.clone();
        match node {
            node if node < idempotent => less.work.idempotent -= 1,
            node if node < plain => less.work.plain -= 1,
            node if node < consumers => less.work.consumers -= 1,
            node if node == plan.clients() && work.keeper => less.work.keeper = false,
            _ => less.work.odd = false,
        }
        plans.extend(without_node(&less, node));
    }
    plans
}

/// The plan with the faults of `node` gone, and those of later nodes renumbered.
fn without_node(plan: &Plan, node: usize) -> Option<Plan> {
    let gone = u64::try_from(node).ok()?;
    let mut value = serde_json::to_value(plan).ok()?;
    let faults = value.get_mut("faults")?.as_array_mut()?;
    let names = |fault: &Value, name: &&str| fault.get(*name).and_then(Value::as_u64);
    faults.retain(|fault| !NODES.iter().any(|name| names(fault, name) == Some(gone)));
    for fault in faults {
        for name in NODES {
            let Some(found) = names(fault, name) else { continue };
            if found > gone {
                fault[*name] = (found - 1).into();
            }
        }
    }
    serde_json::from_value(value).ok()
}

/// One number or switch of a plan, and the value it should have.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Its JSON pointer.
    at: String,
    least: Value,
    /// Whether values in between are worth a try.
    by_degrees: bool,
}

/// Numbers and switches of the work that are not at their least.
pub(super) fn work_places(plan: &Plan) -> Vec<Place> {
    let Ok(value) = serde_json::to_value(&plan.work) else { return Vec::new() };
    places("/work", &value, CLIENTS)
}

/// The same of the faults' arguments.
pub(super) fn fault_places(plan: &Plan) -> Vec<Place> {
    let Ok(value) = serde_json::to_value(&plan.faults) else { return Vec::new() };
    let faults = value.as_array().into_iter().flatten().enumerate();
    faults.flat_map(|(at, fault)| places(&format!("/faults/{at}"), fault, NODES)).collect()
}

/// Knobs that are not quiet.
pub(super) fn knob_places(plan: &Plan) -> Vec<Place> {
    let values = (serde_json::to_value(&plan.knobs), serde_json::to_value(Knobs::default()));
    let (Ok(Value::Object(now)), Ok(quiet)) = values else { return Vec::new() };
    let loud = now.into_iter().filter(|(name, value)| quiet[name] != *value);
    loud.map(|(name, _)| Place {
        at: format!("/knobs/{name}"),
        least: quiet[&name].clone(),
        by_degrees: false,
    })
    .collect()
}

fn places(under: &str, of: &Value, but_for: &[&str]) -> Vec<Place> {
    let fields = of.as_object().into_iter().flatten();
    let wanted = fields.filter(|(name, _)| !but_for.contains(&name.as_str()));
    wanted
        .filter_map(|(name, value)| {
            let least = match value {
                Value::Bool(_) => Value::Bool(false),
                Value::Number(_) => {
                    let known = LEAST.iter().find(|(of, _)| of == name);
                    known.map_or(0, |(_, least)| *least).into()
                },
                Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => return None,
            };
            let place = Place { at: format!("{under}/{name}"), least, by_degrees: true };
            (place.least != *value).then_some(place)
        })
        .collect()
}

impl Place {
    /// The plan with other values here, each nearer to the least.
    pub(super) fn nearer(&self, plan: &Plan) -> Vec<Plan> {
        let Ok(whole) = serde_json::to_value(plan) else { return Vec::new() };
        let Some(now) = whole.pointer(&self.at).cloned() else { return Vec::new() };
        if now == self.least {
            return Vec::new();
        }
        let mut values = vec![self.least.clone()];
        if let (Some(now), Some(least), true) = (now.as_u64(), self.least.as_u64(), self.by_degrees)
        {
            values.extend(between(now, least).into_iter().map(Value::from));
        }
        let with = |value: Value| {
            let mut whole = whole.clone();
            *whole.pointer_mut(&self.at)? = value;
            let mut plan: Plan = serde_json::from_value(whole).ok()?;
            plan.faults.sort_by_key(|timed| timed.at_ms);
            Some(plan)
        };
        values.into_iter().filter_map(with).filter(|other| other != plan).collect()
    }
}

/// A few values between `now` and `least`, the nearest to `least` first, round ones preferred.
fn between(now: u64, least: u64) -> Vec<u64> {
    if now < least {
        let gap = least - now;
        return if gap < 2 { Vec::new() } else { vec![now + gap / 2] };
    }
    let gap = now - least;
    let wanted = [round(least + gap / 2), round(now - gap.div_ceil(8)), now - gap.min(1)];
    let mut values: Vec<u64> =
        wanted.into_iter().filter(|value| least < *value && *value < now).collect();
    values.dedup();
    if gap > 64 {
        // Not down by one at a time.
        values.truncate(2);
    }
    values
}

/// Rounds down to two digits that are not zero.
fn round(value: u64) -> u64 {
    let mut unit = 1;
    while value / unit >= 100 {
        unit *= 10;
    }
    value / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, Timed};

    fn plan() -> Plan {
        let mut plan = Plan::draw(1);
        plan.work.idempotent = 1;
        plan.work.plain = 1;
        plan.work.consumers = 1;
        (plan.work.odd, plan.work.keeper) = (true, false);
        let at = |node| Timed { at_ms: 5, fault: Fault::Pause { node, ms: 9 } };
        plan.faults = vec![at(0), at(3), at(5)];
        plan.faults.push(Timed { at_ms: 7, fault: Fault::Reset { a: 0, b: 4 } });
        plan
    }

    #[test]
    fn without_a_client_its_faults_go_and_those_of_later_clients_follow_it() {
        let less = with_fewer_clients(&plan());

        // Of five clients (administrator, two producers, consumer, odd one) four can go.
        assert_eq!(less.len(), 4);
        let no_plain = &less[2];
        assert_eq!((no_plain.work.idempotent, no_plain.work.plain), (1, 0));
        let left: Vec<&Fault> = no_plain.faults.iter().map(|timed| &timed.fault).collect();
        let pause = |node| Fault::Pause { node, ms: 9 };
        assert_eq!(left, [&pause(0), &pause(4), &Fault::Reset { a: 0, b: 3 }]);
    }

    #[test]
    fn every_number_of_a_plan_comes_down_to_its_least() {
        let mut plan = plan();
        for _ in 0..100 {
            let places = [work_places(&plan), knob_places(&plan), fault_places(&plan)].concat();
            let Some(place) = places.first() else { break };
            plan = place.nearer(&plan).remove(0);
        }

        assert_eq!(plan.knobs, Knobs::default());
        assert_eq!((plan.work.records, plan.work.partitions, plan.work.side_topics), (1, 1, 0));
        assert_eq!(plan.faults[0], Timed { at_ms: 0, fault: Fault::Pause { node: 0, ms: 0 } });
    }

    #[test]
    fn values_in_between_are_round_and_strictly_smaller() {
        assert_eq!(between(3136, 0), [1500, 2700]);
        assert_eq!(between(9, 1), [5, 8]);
        assert_eq!(between(2, 1), [0; 0]);
        assert_eq!(between(5, 5), [0; 0]);
        assert_eq!(between(1000, 1 << 20), [1000 + ((1 << 20) - 1000) / 2]);
    }
}
