//! Whether a plan can be carried out: asked of every plan that was not drawn.
//!
//! Invariants: a plan that is let in names nothing that does not exist, and no time in it overflows
//! or lies where it would take no effect; every plan that a seed draws is let in.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Fault, Gone, Plan, Timed};
use crate::campaign::all_marks;
use crate::mutants::{ELSEWHERE, MUTANTS};
use crate::scenario::CHAOS_MS;

/// The longest time, of whatever kind, milliseconds.
const MS_MAX: u64 = 3_600_000;
/// The largest factor.
const FACTOR_MAX: u64 = 1_000_000;
/// Fields that name a node.
const NODES: &[&str] = &["node", "a", "b", "from", "to"];
/// Fields with a time.
const TIMES: &[&str] = &["ms", "down_ms", "age_ms", "poll_us"];

impl TryFrom<Map<String, Value>> for Timed {
    type Error = String;

    /// A fault's fields and its time lie side by side; what is neither is refused.
    fn try_from(mut fields: Map<String, Value>) -> Result<Self, String> {
        let at_ms = fields.remove("at_ms").ok_or("a fault has no at_ms")?;
        let at_ms = at_ms.as_u64().ok_or_else(|| format!("at_ms {at_ms} is no time"))?;
        let fault = Fault::deserialize(Value::Object(fields));
        Ok(Self { at_ms, fault: fault.map_err(|error| format!("a fault at {at_ms} ms: {error}"))? })
    }
}

impl Plan {
    /// Says what of the plan cannot be carried out.
    pub(super) fn check(&self) -> Result<(), String> {
        self.check_work()?;
        let known = |id: &String| {
            ELSEWHERE.contains(&id.as_str()) || MUTANTS.iter().any(|mutant| mutant.id == id)
        };
        if let Some(id) = self.mutants.iter().find(|id| !known(id)) {
            return Err(format!("no mutant {id}"));
        }
        for Timed { at_ms, fault } in &self.faults {
            self.check_fault(*at_ms, fault).map_err(|why| format!("at {at_ms} ms: {why}"))?;
        }
        for Gone { node, .. } in &self.gone {
            if *node == 0 || *node > self.clients() {
                return Err(format!("gone: no client {node}; they are 1 to {}", self.clients()));
            }
        }
        Ok(())
    }

    fn check_work(&self) -> Result<(), String> {
        const NODES_MAX: usize = 1_000;
        let (work, knobs) = (&self.work, &self.knobs);
        let each = [work.idempotent, work.plain, work.consumers];
        if each.iter().any(|count| *count > NODES_MAX) {
            return Err(format!("work: more than {NODES_MAX} clients of a kind"));
        }
        let least = [
            ("partitions", u64::from(work.partitions)),
            ("segment_bytes", work.segment_bytes),
            ("batch_max", work.batch_max),
        ];
        if let Some((name, _)) = least.iter().find(|(_, value)| *value == 0) {
            return Err(format!("work: {name} is 0"));
        }
        let spans = [
            ("latency", knobs.latency_min_us, knobs.latency_max_us),
            ("disk", knobs.disk_min_us, knobs.disk_max_us),
        ];
        if let Some((name, ..)) = spans.iter().find(|(_, min, max)| min > max) {
            return Err(format!("knobs: {name}_min_us is above {name}_max_us"));
        }
        let times = [work.think_max_ms, knobs.latency_max_us, knobs.disk_max_us, knobs.sync_max_us];
        if times.iter().any(|time| *time > MS_MAX) {
            return Err(format!("work and knobs: a time is above {MS_MAX}"));
        }
        Ok(())
    }

    fn check_fault(&self, at_ms: u64, fault: &Fault) -> Result<(), String> {
        if at_ms >= CHAOS_MS {
            return Err(format!("faults begin before {CHAOS_MS} ms"));
        }
        let fields = serde_json::to_value(fault).map_err(|error| error.to_string())?;
        let number = |name: &&'static str| -> Option<(&'static str, u64)> {
            Some((*name, fields.get(name)?.as_u64()?))
        };
        let clients = u64::try_from(self.clients()).unwrap_or(u64::MAX);
        if let Some((name, node)) =
            NODES.iter().filter_map(number).find(|(_, node)| *node > clients)
        {
            return Err(format!("{name} {node}: nodes are 0 to {clients}"));
        }
        if let Some((name, time)) = TIMES.iter().filter_map(number).find(|(_, ms)| *ms > MS_MAX) {
            return Err(format!("{name} {time} is above {MS_MAX}"));
        }
        if let Some((_, factor)) = number(&"factor").filter(|(_, factor)| *factor > FACTOR_MAX) {
            return Err(format!("factor {factor} is above {FACTOR_MAX}"));
        }
        let (dirs, home) = self.work.dirs();
        let devices = u64::try_from(dirs.len().max(home + 1)).unwrap_or(1);
        if let Some((_, dir)) = number(&"dir").filter(|(_, dir)| *dir >= devices) {
            return Err(format!("dir {dir}: the broker has {devices}"));
        }
        match fault {
            Fault::CrashAtMark { mark, .. } if !all_marks().any(|known| known == mark) => {
                Err(format!("no mark {mark}"))
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why a plan is refused that differs from a drawn one in one place.
    fn refused(change: impl FnOnce(&mut Value)) -> String {
        let mut plan = serde_json::to_value(Plan { faults: Vec::new(), ..Plan::draw(1) }).unwrap();
        change(&mut plan);
        Plan::from_json(&plan.to_string()).unwrap_err()
    }

    fn fault(text: &str) -> impl FnOnce(&mut Value) {
        move |plan| plan["faults"] = serde_json::from_str(&format!("[{text}]")).unwrap()
    }

    #[test]
    fn every_drawn_plan_can_be_carried_out() {
        for seed in 0..300 {
            assert_eq!(Plan::draw(seed).check(), Ok(()), "seed {seed}");
        }
    }

    #[test]
    fn a_plan_that_names_what_does_not_exist_is_refused_with_its_name() {
        for (text, why) in [
            (r#"{"at_ms":1,"kind":"clean_stop","node":99}"#, "node 99"),
            (r#"{"at_ms":1,"kind":"reset","a":0,"b":99}"#, "b 99"),
            (r#"{"at_ms":1,"kind":"clean_stop","node":0,"nod":1}"#, "nod"),
            (r#"{"at_ms":1,"kind":"clean_halt","node":0}"#, "clean_halt"),
            (r#"{"kind":"clean_stop","node":0}"#, "at_ms"),
            (r#"{"at_ms":-1,"kind":"clean_stop","node":0}"#, "at_ms -1"),
            (r#"{"at_ms":10000,"kind":"clean_stop","node":0}"#, "10000 ms"),
            (r#"{"at_ms":1,"kind":"short_write","node":0,"dir":9}"#, "dir 9"),
            (
                r#"{"at_ms":1,"kind":"power_loss","node":0,"down_ms":18446744073709551615}"#,
                "down_ms 18446744073709551615",
            ),
            (
                r#"{"at_ms":1,"kind":"crash_at_mark","node":0,"mark":"x","nth":1,"power":true}"#,
                "no mark x",
            ),
        ] {
            let said = refused(fault(text));
            assert!(said.contains(why), "{text}: {said}");
        }
        assert!(refused(|plan| plan["mutants"] = vec!["x"].into()).contains("no mutant x"));
        for name in ["partitions", "segment_bytes", "batch_max"] {
            assert!(refused(|plan| plan["work"][name] = 0.into()).contains(name), "{name}");
        }
    }

    #[test]
    fn faults_are_sorted_by_time() {
        let text =
            r#"{"at_ms":5,"kind":"clean_stop","node":0},{"at_ms":2,"kind":"clean_stop","node":0}"#;
        let mut plan = serde_json::to_value(Plan::draw(1)).unwrap();
        fault(text)(&mut plan);
        let plan = Plan::from_json(&plan.to_string()).unwrap();

        assert!(plan.faults.is_sorted_by_key(|timed| timed.at_ms));
    }
}
