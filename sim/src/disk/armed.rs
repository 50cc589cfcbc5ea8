//! Faults of all disks of a machine that wait for their operation, and traps that end the machine at one.
//!
//! Invariants: a fault that took effect leaves its class behind, once; a trap springs once; healing
//! forgets everything that waits.

use serde::{Deserialize, Serialize};

use crate::world::Crash;

/// Operations a crash can be tied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpKind {
    /// A file was written.
    Write,
    /// A file was synced.
    Sync,
    /// A file was renamed.
    Rename,
    /// A directory was synced.
    SyncDir,
    /// A file was created.
    Create,
    /// A file or directory was removed.
    Remove,
    /// A file's length was set.
    SetLen,
}

/// Ends the process or the machine at an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Counted under this class.
    pub class: &'static str,
    /// Process or machine.
    pub how: Crash,
    /// The operation that springs it.
    pub op: OpKind,
    /// Part of the name it is done to, or all of it behind a `=`; empty for any.
    pub name: String,
    /// At which of them, from 1.
    pub left: u32,
    /// If set, not right after that one but right before the next of this kind.
    pub before: Option<OpKind>,
}

impl Trap {
    fn is_about(&self, name: &str) -> bool {
        match self.name.strip_prefix('=') {
            Some(whole) => name == whole,
            None => name.contains(&self.name),
        }
    }
}

/// The process or the machine ends; why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sprung {
    /// Counted under this class.
    pub class: &'static str,
    /// Process or machine.
    pub how: Crash,
}

/// Crashes during the next starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartTrap {
    /// So many more starts.
    pub times: u32,
    /// Each ends after so many of its disk operations.
    pub nth: u32,
    /// Counted under this class; process or machine.
    pub end: Sprung,
}

/// Faults that wait for their operation.
#[derive(Clone, Debug, Default)]
pub struct Armed {
    /// Operations take so many times as long; 0 and 1 are normal.
    pub slow: u64,
    /// Nothing has taken that long yet.
    pub slow_is_news: bool,
    /// Syncs say that they succeeded, and the drive keeps the bytes in its own volatile cache.
    pub lying: bool,
    /// A power loss keeps any of the pending directory changes, not the first few.
    pub reorder: bool,
    /// So many of the next writes also land on somebody else's sector.
    pub misdirected: u32,
    /// The class of a fault that took effect in the present operation.
    pub fired: Option<&'static str>,
    /// The classes of lost files that it missed, and of what took effect before it.
    pub missed: Vec<&'static str>,
    traps: Vec<Trap>,
    starts: Option<StartTrap>,
    /// The running start ends after so many operations.
    countdown: Option<(u32, Sprung)>,
}

impl Armed {
    /// Sets a trap; an older one of the same form is forgotten.
    pub fn set_trap(&mut self, trap: Trap) {
        self.traps.retain(|old| old.before.is_some() != trap.before.is_some());
        self.traps.push(trap);
    }

    /// Ends the next starts.
    pub fn set_start_trap(&mut self, trap: StartTrap) {
        self.starts = Some(trap);
    }

    /// A process starts.
    pub fn started(&mut self) {
        self.countdown = None;
        if let Some(starts) = self.starts.as_mut().filter(|starts| starts.times > 0) {
            starts.times -= 1;
            self.countdown = Some((starts.nth, starts.end));
        }
    }

    /// Whether the machine ends instead of an operation of `kind`.
    pub fn before(&mut self, kind: Option<OpKind>) -> Option<Sprung> {
        let at = self
            .traps
            .iter()
            .position(|trap| trap.left == 0 && kind.is_some() && trap.before == kind)?;
        let trap = self.traps.swap_remove(at);
        Some(Sprung { class: trap.class, how: trap.how })
    }

    /// Counts an operation that took effect on `name`; says whether the machine ends with it.
    pub fn after(&mut self, kind: Option<OpKind>, name: &str) -> Option<Sprung> {
        let mut sprung = None;
        if let Some((left, end)) = &mut self.countdown {
            *left = left.saturating_sub(1);
            if *left == 0 {
                sprung = Some(*end);
                self.countdown = None;
            }
        }
        let mut over = None;
        for (at, trap) in self.traps.iter_mut().enumerate() {
            if trap.left > 0 && Some(trap.op) == kind && trap.is_about(name) {
                trap.left -= 1;
                if trap.left == 0 && trap.before.is_none() {
                    over = Some(at);
                }
            }
        }
        if let Some(at) = over {
            let trap = self.traps.swap_remove(at);
            sprung.get_or_insert(Sprung { class: trap.class, how: trap.how });
        }
        sprung
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap(op: OpKind, name: &str, left: u32, before: Option<OpKind>) -> Trap {
        let (class, name) = ("test", name.to_owned());
        Trap { class, how: Crash::Power, op, name, left, before }
    }

    #[test]
    fn a_trap_springs_right_after_the_nth_operation_of_its_kind_and_name() {
        let mut armed = Armed::default();
        armed.set_trap(trap(OpKind::Write, "log", 2, None));

        assert_eq!(armed.after(Some(OpKind::Sync), "a.log"), None);
        assert_eq!(armed.after(Some(OpKind::Write), "a.log"), None);
        assert_eq!(armed.after(Some(OpKind::Write), "state"), None);
        assert!(armed.after(Some(OpKind::Write), "b.log").is_some());
        assert_eq!(armed.after(Some(OpKind::Write), "b.log"), None);
    }

    #[test]
    fn a_trap_may_be_for_one_name_alone() {
        let mut armed = Armed::default();
        armed.set_trap(trap(OpKind::Write, "=log", 1, None));

        assert_eq!(armed.after(Some(OpKind::Write), "a.log"), None);
        assert!(armed.after(Some(OpKind::Write), "log").is_some());
    }

    #[test]
    fn a_trap_between_two_operations_springs_instead_of_the_second() {
        let mut armed = Armed::default();
        armed.set_trap(trap(OpKind::Rename, "state", 1, Some(OpKind::SyncDir)));

        assert_eq!(armed.before(Some(OpKind::SyncDir)), None, "not yet");
        assert_eq!(armed.after(Some(OpKind::Rename), "state"), None);
        assert_eq!(armed.before(Some(OpKind::Write)), None);
        assert!(armed.before(Some(OpKind::SyncDir)).is_some());
        assert_eq!(armed.before(Some(OpKind::SyncDir)), None, "once");
    }

    #[test]
    fn each_of_the_next_starts_ends_at_its_nth_operation() {
        let mut armed = Armed::default();
        let end = Sprung { class: "test", how: Crash::Process };
        armed.set_start_trap(StartTrap { times: 2, nth: 2, end });
        assert_eq!(armed.after(None, ""), None, "the present process is left alone");

        for _ in 0..2 {
            armed.started();
            assert_eq!(armed.after(None, ""), None);
            assert_eq!(armed.after(None, ""), Some(end));
        }
        armed.started();
        assert_eq!([armed.after(None, ""), armed.after(None, "")], [None, None]);
    }
}
