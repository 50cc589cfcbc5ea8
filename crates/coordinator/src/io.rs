//! What one step may look at and bring about.
//!
//! Owns: the requests that are owed an answer. Invariant GRP_1: a request is answered exactly once.

use std::collections::BTreeMap;

use base::{Instant, Probe, Timestamp, invariant};

use crate::event::{Action, RequestId};
use crate::marks::error_mark;
use crate::pipeline::Pipeline;
use crate::{Command, GroupError, Reply, Settings};

/// One step's view of the world, and what it brings about.
pub(crate) struct Io<'a, P> {
    pub now: Instant,
    pub wall: Timestamp,
    pub settings: &'a Settings,
    pub probe: &'a P,
    pub pipeline: &'a mut Pipeline,
    pub owed: &'a mut BTreeMap<RequestId, Owed>,
    pub out: &'a mut Vec<Action>,
}

impl<P: Probe> Io<'_, P> {
    /// Answers a request.
    pub fn reply(&mut self, id: RequestId, reply: Reply) {
        invariant!(GRP_1, self.owed.remove(&id).is_some(), "{id:?} answered twice");
        for error in errors(&reply) {
            self.probe.reached(error_mark(error));
        }
        self.out.push(Action::Reply { id, reply });
    }

    /// Answers a JoinGroup with an error.
    pub fn refuse_join(&mut self, id: RequestId, why: GroupError, member: &str) {
        self.reply(id, Reply::Join(Err((why, member.to_owned()))));
    }
}

/// The kind of answer a request is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    Join,
    Sync,
    Heartbeat,
    Leave,
    /// With this many results.
    Commit(usize),
    Offsets,
    List,
    Describe,
    Delete,
    DeleteOffsets,
    TopicDeleted,
}

impl Owed {
    pub fn by(command: &Command) -> Self {
        match command {
            Command::Join(_) => Self::Join,
            Command::Sync(_) => Self::Sync,
            Command::Heartbeat(_) => Self::Heartbeat,
            Command::Leave { .. } => Self::Leave,
            Command::Commit(commit) => Self::Commit(commit.offsets.len()),
            Command::Offsets { .. } => Self::Offsets,
            Command::List => Self::List,
            Command::Describe { .. } => Self::Describe,
            Command::Delete { .. } => Self::Delete,
            Command::DeleteOffsets { .. } => Self::DeleteOffsets,
            Command::TopicDeleted { .. } => Self::TopicDeleted,
        }
    }

    /// The answer that refuses the request as a whole.
    pub fn refuse(self, why: GroupError) -> Reply {
        match self {
            Self::Join => Reply::Join(Err((why, String::new()))),
            Self::Sync => Reply::Sync(Err(why)),
            Self::Heartbeat => Reply::Heartbeat(Err(why)),
            Self::Leave => Reply::Leave(Err(why)),
            Self::Commit(count) => Reply::Commit(vec![Err(why); count]),
            Self::Offsets => Reply::Offsets(Err(why)),
            Self::List => Reply::List(Err(why)),
            Self::Describe => Reply::Describe(Err(why)),
            Self::Delete => Reply::Delete(Err(why)),
            Self::DeleteOffsets => Reply::DeleteOffsets(Err(why)),
            Self::TopicDeleted => Reply::TopicDeleted(Err(why)),
        }
    }
}

fn errors(reply: &Reply) -> Vec<GroupError> {
    match reply {
        Reply::Join(Err((why, _)))
        | Reply::Sync(Err(why))
        | Reply::Heartbeat(Err(why))
        | Reply::Leave(Err(why))
        | Reply::Offsets(Err(why))
        | Reply::List(Err(why))
        | Reply::Describe(Err(why))
        | Reply::Delete(Err(why))
        | Reply::DeleteOffsets(Err(why))
        | Reply::TopicDeleted(Err(why)) => vec![*why],
        Reply::Leave(Ok(members)) => members.iter().filter_map(|(_, left)| left.err()).collect(),
        Reply::Commit(results) | Reply::DeleteOffsets(Ok(results)) => {
            results.iter().filter_map(|result| result.err()).collect()
        },
        Reply::Join(Ok(_))
        | Reply::Sync(Ok(_))
        | Reply::Heartbeat(Ok(()))
        | Reply::Offsets(Ok(_))
        | Reply::List(Ok(_))
        | Reply::Describe(Ok(_))
        | Reply::Delete(Ok(()))
        | Reply::TopicDeleted(Ok(())) => Vec::new(),
    }
}
