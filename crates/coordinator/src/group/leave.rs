//! LeaveGroup: members that go, or are sent away by an administrator.

use base::Probe;

use super::Group;
use crate::io::Io;
use crate::{GroupError, Leaving, Left};

impl Group {
    /// LeaveGroup. All go together, so that one rebalance follows.
    pub fn leave<P: Probe>(&mut self, io: &mut Io<'_, P>, leaving: Vec<Leaving>) -> Vec<Left> {
        let mut results = Vec::with_capacity(leaving.len());
        let mut changed = false;
        for who in leaving {
            let gone = self.who_leaves(&who);
            if let Ok(id) = &gone {
                io.probe.reached("group_member_left");
                changed |= self.members.contains_key(id);
                self.remove(io, id, GroupError::UnknownMemberId);
            }
            results.push((who, gone.map(|_| ())));
        }
        if changed {
            self.rebalance(io);
        } else {
            // A pending member that left may have been the last one waited for.
            self.maybe_complete_join(io);
        }
        results
    }

    /// The id of who is meant: a member, a pending one, or the holder of an instance.
    fn who_leaves(&self, who: &Leaving) -> Result<String, GroupError> {
        match &who.instance {
            Some(instance) if who.member.is_empty() => {
                self.statics.get(instance).cloned().ok_or(GroupError::UnknownMemberId)
            },
            _ if self.pending.contains_key(&who.member) => Ok(who.member.clone()),
            instance => {
                self.check_member(&who.member, instance.as_deref())?;
                Ok(who.member.clone())
            },
        }
    }
}
