//! The administrator: creates the topic everybody works on, then others that come and go.
//!
//! Invariant: the history knows a wish before it is sent, and its outcome only when answered.

use base::{Duration, Uuid};
use env::Env;
use protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use protocol::messages::delete_topics_request::DeleteTopicsRequest;
use protocol::messages::metadata_request::MetadataRequest;
use protocol::messages::metadata_response::MetadataResponseTopic;

use super::connection::{CallError, Connection};
use super::errors::{
    NONE, TOPIC_ALREADY_EXISTS, TOPIC_DELETION_DISABLED, UNKNOWN_TOPIC_OR_PARTITION, is_retriable,
};
use super::groups::groups_that_go;
use super::{Job, TOPIC, grow, operate, switch_modes};
use crate::durability::Promise;
use crate::fault::BROKER;
use crate::world::{Dice, SimEnv};

pub(super) const TIMEOUT: Duration = Duration::from_millis(2_000);

pub(super) struct Admin {
    pub(super) job: Job,
    pub(super) env: SimEnv,
    pub(super) dice: Dice,
    pub(super) connection: Connection,
    /// Topics that were written to by this process.
    pub(super) lives: u32,
}

/// Creates the topic, then creates and deletes `side_topics` others.
pub async fn admin(job: Job, env: SimEnv) {
    let dice = job.world.dice("admin");
    let connection = Connection::new(env.clone(), BROKER, "admin".into());
    let mut admin = Admin { job, env, dice, connection, lives: 0 };
    let first = admin.job.work.partitions_at_first();
    let (fsync, changes) = (admin.job.work.fsync, admin.job.work.mode_changes > 0);
    if fsync && !changes {
        admin.job.history.topic_is_fsync();
    }
    admin.create(TOPIC, i32::try_from(first).unwrap_or(1)).await;
    admin.job.history.partitions_added(first);
    let id = admin.topic_id(TOPIC).await;
    // Changes are only asked for once the topic is known.
    if fsync && changes && !admin.job.history.is_topic_known() {
        admin.job.history.created_with_fsync();
    }
    admin.job.history.topic_known(id);
    if admin.job.work.grown > 0 {
        let (job, env) = (admin.job.clone(), admin.env.clone());
        admin.env.spawn("growth", grow(job, env));
    }
    if changes {
        let (job, env) = (admin.job.clone(), admin.env.clone());
        admin.env.spawn("mode changes", switch_modes(job, env));
    }
    if admin.job.work.settings > 0 {
        let (job, env) = (admin.job.clone(), admin.env.clone());
        admin.env.spawn("operator", operate(job, env));
    }
    if admin.job.work.groups {
        let (job, env) = (admin.job.clone(), admin.env.clone());
        admin.env.spawn("groups that go", groups_that_go(job, env));
    }
    for number in 0..admin.job.work.side_topics {
        let millis = admin.dice.between(50, 1_500);
        admin.env.sleep(Duration::from_millis(millis)).await;
        // A name of this process's own: what an earlier one asked for may still be under way.
        let name = format!("side-{}-{number}", admin.env.process().incarnation);
        admin.side_topic(&name).await;
    }
}

impl Admin {
    /// One topic's life, or two.
    async fn side_topic(&mut self, name: &str) {
        let is_certain = self.create(name, 1).await;
        let mut life = self.life(name);
        self.fill(&mut life).await;
        if self.dice.chance(700) {
            self.hold(&life).await;
        }
        // Once more, when more has happened.
        let ways = self.job.ways(&format!("side topic {name}"));
        if let Some(mut ways) = ways.filter(|ways| ways.clone().chance(600)) {
            let millis = ways.between(100, 2_000);
            self.env.sleep(Duration::from_millis(millis)).await;
            self.hold(&life).await;
        }
        if !self.dice.chance(600) {
            return;
        }
        // Dropped once the topic is gone.
        let under_way = self.leave_under_way(&mut life).await;
        let is_gone = self.delete(name, is_certain).await;
        if !is_gone || !self.dice.chance(600) {
            return drop(under_way);
        }
        self.create(name, 1).await;
        let mut again = self.life(name);
        again.earlier = Some(life.tag);
        self.fill(&mut again).await;
        self.hold(&again).await;
        drop(under_way);
    }

    pub(super) async fn pause(&mut self) {
        let millis = self.dice.between(10, 200);
        self.env.sleep(Duration::from_millis(millis)).await;
    }

    /// Returns whether no request to create it is still under way.
    async fn create(&mut self, name: &str, num_partitions: i32) -> bool {
        let value = Some("fsync".into());
        let durable = CreatableTopicConfig { name: "gregor.durability".into(), value };
        let configs = if self.job.work.fsync { vec![durable] } else { Vec::new() };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions,
            replication_factor: 1,
            configs,
            ..CreatableTopic::default()
        };
        let ask =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000, validate_only: false };
        self.job.history.topic_wished(name, true);
        let mut is_certain = true;
        loop {
            let answer = self.connection.call(5, &ask, TIMEOUT).await;
            is_certain &= !matches!(answer, Err(CallError::Unknown));
            let code = answer.ok().and_then(|answer| answer.topics.first().map(|t| t.error_code));
            match code {
                Some(NONE | TOPIC_ALREADY_EXISTS) => {
                    self.job.history.topic_settled(name, true);
                    self.job.world.given(Promise::Metadata);
                    return is_certain;
                },
                Some(code) if !is_retriable(code) => {
                    self.unexpected("CreateTopics", code);
                    return is_certain;
                },
                _ => self.pause().await,
            }
        }
    }

    /// Deletes it. Unless that `is_certain`, a request to create it may come after this one.
    /// Returns whether it is gone, with no request to delete it still under way.
    async fn delete(&mut self, name: &str, is_certain: bool) -> bool {
        let ask = DeleteTopicsRequest {
            topic_names: vec![name.into()],
            timeout_ms: 1_000,
            ..DeleteTopicsRequest::default()
        };
        let stays = self.job.work.topics_stay;
        if !stays {
            self.job.history.topic_wished(name, false);
        }
        let mut once = true;
        loop {
            let answer = self.connection.call(5, &ask, TIMEOUT).await;
            once &= !matches!(answer, Err(CallError::Unknown));
            let code =
                answer.ok().and_then(|answer| answer.responses.first().map(|t| t.error_code));
            match code {
                Some(TOPIC_DELETION_DISABLED) if stays => return false,
                Some(NONE | UNKNOWN_TOPIC_OR_PARTITION) if !stays => {
                    if is_certain {
                        self.job.history.topic_settled(name, false);
                    }
                    return is_certain && once;
                },
                Some(code) if !is_retriable(code) => {
                    self.unexpected("DeleteTopics", code);
                    return false;
                },
                _ => self.pause().await,
            }
        }
    }

    async fn topic_id(&mut self, name: &str) -> Uuid {
        loop {
            for topic in self.topics().await {
                if topic.0 == name {
                    return topic.1;
                }
            }
            self.pause().await;
        }
    }

    /// All topics, with their ids.
    async fn topics(&mut self) -> Vec<(String, Uuid)> {
        loop {
            let ask = MetadataRequest { topics: None, ..MetadataRequest::default() };
            let before = self.job.history.partitions_known();
            if let Ok(answer) = self.connection.call(12, &ask, TIMEOUT).await {
                let common = |topic: &&MetadataResponseTopic| topic.name.as_deref() == Some(TOPIC);
                if let Some(found) = answer.topics.iter().find(common) {
                    let (history, described) = (&self.job.history, found.partitions.len());
                    history.partitions_described(&self.job.world, before, described);
                }
                let named =
                    |topic: &MetadataResponseTopic| Some((topic.name.clone()?, topic.topic_id));
                return answer.topics.iter().filter_map(named).collect();
            }
            self.pause().await;
        }
    }

    fn unexpected(&self, what: &str, code: i16) {
        self.job.world.check("errors", false, || format!("{what} was answered with {code}"));
    }
}

/// What the broker says exists, once it answers.
pub async fn list_topics(job: Job, env: SimEnv) -> Vec<(String, Uuid)> {
    let dice = job.world.dice("admin at the end");
    let connection = Connection::new(env.clone(), BROKER, "admin-at-the-end".into());
    Admin { job, env, dice, connection, lives: 0 }.topics().await
}
