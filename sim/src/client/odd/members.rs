//! Members that come late, come twice, come in crowds, or never come back.
//!
//! Each life has a group of its own. Faults may end any of them early; what an answer must be is
//! therefore held where nothing but the request decides it.

use base::Duration;
use env::Env;
use protocol::messages::heartbeat_request::HeartbeatRequest;
use protocol::messages::join_group_request::JoinGroupRequest;
use protocol::messages::join_group_response::JoinGroupResponse;
use protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::groups::join;
use super::{Odd, TIMEOUT};
use crate::client::Connection;
use crate::client::errors::{
    GROUP_MAX_SIZE_REACHED, ILLEGAL_GENERATION, MEMBER_ID_REQUIRED, NONE, REBALANCE_IN_PROGRESS,
    UNKNOWN_MEMBER_ID,
};
use crate::fault::BROKER;
use crate::system::GROUP_SIZE_MAX;

/// How many there are.
pub(super) const STEPS: usize = 7;

const FENCED_INSTANCE_ID: i16 = 82;
const SESSION_MS: i32 = 10_000;
/// What a join sets: how long the others have to come back. A little more has to be waited for it.
const REBALANCE_MS: u64 = 1_000;

/// The name under which a static member comes again.
const INSTANCE: &str = "one";

fn join_static(group: &str) -> JoinGroupRequest {
    let group_instance_id = Some(INSTANCE.into());
    JoinGroupRequest { group_instance_id, ..join(group, "consumer", SESSION_MS, "") }
}

fn code(answer: &JoinGroupResponse) -> Option<i16> {
    Some(answer.error_code)
}

impl Odd {
    pub(super) async fn members(&mut self, number: usize) {
        match number {
            0 => self.never_synced().await,
            1 => self.came_late().await,
            2 => self.crowd().await,
            3 => self.never_came_back().await,
            4 => self.second_process().await,
            5 => self.absent_leader().await,
            _ => self.absent_all().await,
        }
    }

    pub(super) fn other(&self, name: &str) -> Connection {
        Connection::new(self.env.clone(), BROKER, name.into())
    }

    /// Sends a join whose answer is not awaited here.
    async fn join_and_go_on(&self, name: &str, version: i16, ask: &JoinGroupRequest) -> Connection {
        let mut connection = self.other(name);
        let deadline = self.env.now().after(TIMEOUT);
        // Faults may keep it from being sent.
        let _sent = connection.send(version, ask, deadline).await;
        connection
    }

    async fn sync(&mut self, group: &str, joined: &JoinGroupResponse, instance: Option<&str>) {
        let mine = SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            ..SyncGroupRequestAssignment::default()
        };
        let ask = SyncGroupRequest {
            group_id: group.into(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            group_instance_id: instance.map(Into::into),
            assignments: vec![mine],
            ..SyncGroupRequest::default()
        };
        let allowed = [NONE, UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS];
        self.ask(3, &ask, |answer| Some(answer.error_code), &allowed).await;
    }

    /// Waits until what a member has to do within the rebalance timeout is overdue.
    async fn be_late(&self) {
        self.env.sleep(Duration::from_millis(REBALANCE_MS + 300)).await;
    }

    /// The leader of a new group never says who gets what.
    async fn never_synced(&mut self) {
        self.ask(3, &join("odd-sync", "consumer", SESSION_MS, ""), code, &[NONE]).await;
        self.be_late().await;
    }

    /// A member does not join again when another comes, and is put out.
    async fn came_late(&mut self) {
        const GROUP: &str = "odd-late";
        let ask = join(GROUP, "consumer", SESSION_MS, "");
        let Some(joined) = self.ask(3, &ask, code, &[NONE]).await else { return };
        self.sync(GROUP, &joined, None).await;
        self.ask(3, &join(GROUP, "consumer", SESSION_MS, ""), code, &[NONE]).await;
    }

    /// One member more than a group takes.
    async fn crowd(&mut self) {
        let ask = join("odd-crowd", "consumer", SESSION_MS, "");
        let mut members = Vec::new();
        for number in 0..GROUP_SIZE_MAX {
            members.push(self.join_and_go_on(&format!("crowd-{number}"), 3, &ask).await);
        }
        self.ask(3, &ask, code, &[NONE, GROUP_MAX_SIZE_REACHED]).await;
    }

    /// A member takes an id and does not come back with it; another leaves as the last one.
    async fn never_came_back(&mut self) {
        let ask = join("odd-pending", "consumer", 1_000, "");
        self.ask(5, &ask, code, &[MEMBER_ID_REQUIRED]).await;
        let ask = join("odd-brief", "consumer", SESSION_MS, "");
        let Some(joined) = self.ask(3, &ask, code, &[NONE]).await else { return };
        self.leave_group("odd-brief", &joined.member_id).await;
    }

    /// Two processes with one instance id; the first one is fenced.
    async fn second_process(&mut self) {
        const GROUP: &str = "odd-static";
        let ask = join_static(GROUP);
        let Some(first) = self.ask(5, &ask, code, &[NONE]).await else { return };
        // In the middle of a rebalance the place is taken over at once, else through the log.
        if self.dice.chance(700) {
            self.sync(GROUP, &first, Some(INSTANCE)).await;
        }
        let rival = self.join_and_go_on("rival", 5, &ask).await;
        let second = self.ask(5, &ask, code, &[NONE, FENCED_INSTANCE_ID]).await;
        drop(rival);
        let ask = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: first.generation_id,
            member_id: first.member_id,
            group_instance_id: Some(INSTANCE.into()),
        };
        // The broker may have died in between and lost what was not durable.
        if second.is_some_and(|answer| answer.error_code == NONE) {
            let allowed = [FENCED_INSTANCE_ID, UNKNOWN_MEMBER_ID];
            self.ask(3, &ask, |answer| Some(answer.error_code), &allowed).await;
        }
    }

    /// A static leader does not join again; its place is kept, but another leads.
    async fn absent_leader(&mut self) {
        const GROUP: &str = "odd-leader";
        let ask = join_static(GROUP);
        let Some(joined) = self.ask(5, &ask, code, &[NONE]).await else { return };
        self.sync(GROUP, &joined, Some(INSTANCE)).await;
        self.ask(3, &join(GROUP, "consumer", SESSION_MS, ""), code, &[NONE]).await;
    }

    /// Nobody joins again: the one who set off the rebalance has left, the other is static.
    async fn absent_all(&mut self) {
        const GROUP: &str = "odd-absent";
        let ask = join_static(GROUP);
        let Some(joined) = self.ask(5, &ask, code, &[NONE]).await else { return };
        self.sync(GROUP, &joined, Some(INSTANCE)).await;
        let ask = join(GROUP, "consumer", SESSION_MS, "");
        let Some(refused) = self.ask(5, &ask, code, &[MEMBER_ID_REQUIRED]).await else { return };
        let ask = join(GROUP, "consumer", SESSION_MS, &refused.member_id);
        let joining = self.join_and_go_on("joins-and-leaves", 5, &ask).await;
        self.env.sleep(Duration::from_millis(100)).await;
        self.leave_group(GROUP, &refused.member_id).await;
        self.be_late().await;
        drop(joining);
    }

    async fn leave_group(&mut self, group: &str, member: &str) {
        let identity = MemberIdentity { member_id: member.into(), ..MemberIdentity::default() };
        let ask = LeaveGroupRequest {
            group_id: group.into(),
            members: vec![identity],
            ..LeaveGroupRequest::default()
        };
        self.ask(4, &ask, |answer| Some(answer.error_code), &[NONE]).await;
    }
}
