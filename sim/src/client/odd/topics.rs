//! Topics that come and go behind the others' backs: made by being asked for, deleted under a
//! group's offsets, described page by page, and far too many at once.

use base::Uuid;
use env::Env;
use protocol::messages::create_topics_request::CreateTopicsRequest;
use protocol::messages::delete_topics_request::DeleteTopicsRequest;
use protocol::messages::describe_topic_partitions_request::{
    DescribeTopicPartitionsRequest, TopicRequest,
};
use protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use protocol::messages::offset_commit_request::OffsetCommitRequest;
use records::BatchBuilder;

use super::cluster::{create, topic};
use super::data::{batch, produce};
use super::groups::commit_of;
use super::{OWN, Odd, TIMEOUT};
use crate::client::TOPIC;
use crate::client::errors::{
    NONE, TOPIC_ALREADY_EXISTS, TOPIC_DELETION_DISABLED, UNKNOWN_TOPIC_OR_PARTITION,
};

/// How many there are.
pub(super) const STEPS: usize = 4;

const INVALID_TOPIC: i16 = 17;
const POLICY_VIOLATION: i16 = 44;

/// A topic that nobody creates.
const AUTO: &str = "odd-auto";

impl Odd {
    pub(super) async fn topics(&mut self, number: usize) {
        match number {
            0 => self.too_many().await,
            1 => self.by_the_page().await,
            2 => self.deleted_under_a_group().await,
            _ => self.created_by_asking().await,
        }
    }

    /// Not in every universe, for it is a large request.
    async fn too_many(&mut self) {
        if !self.dice.chance(200) {
            return;
        }
        let topics = (0..10_001).map(|number| topic(&format!("many-{number}"), 1)).collect();
        let ask: CreateTopicsRequest = create(topics);
        let code = |answer: &protocol::messages::create_topics_response::CreateTopicsResponse| {
            Some(answer.topics.first()?.error_code)
        };
        self.ask(5, &ask, code, &[POLICY_VIOLATION]).await;
    }

    async fn by_the_page(&mut self) {
        let names = [OWN, TOPIC];
        let ask = DescribeTopicPartitionsRequest {
            topics: names.iter().map(|name| TopicRequest { name: (*name).into() }).collect(),
            response_partition_limit: 1,
            cursor: None,
        };
        let first = |answer: &protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponse| {
            Some(answer.topics.first()?.error_code)
        };
        let Some(answer) = self.ask(0, &ask, first, &[NONE]).await else { return };
        let next = answer.next_cursor.map(|cursor| (cursor.topic_name, cursor.partition_index));
        self.job.world.check("errors", next == Some((TOPIC.into(), 0)), || {
            format!("odd DescribeTopicPartitions goes on at {next:?}")
        });
    }

    async fn deleted_under_a_group(&mut self) {
        let history = self.job.history.clone();
        // A name of this step's own: what an earlier one asked for may still be under way.
        let (process, step) = (self.env.process().incarnation, self.dice.index(1 << 30));
        let gone = format!("odd-gone-{process}-{step}");
        let gone = gone.as_str();
        history.topic_wished(gone, true);
        let code = |answer: &protocol::messages::create_topics_response::CreateTopicsResponse| {
            Some(answer.topics.first()?.error_code)
        };
        let ask = create(vec![topic(gone, 1)]);
        let made = self.ask(5, &ask, code, &[NONE, TOPIC_ALREADY_EXISTS]).await;
        let made = made.and_then(|answer| code(&answer));
        if !matches!(made, Some(NONE | TOPIC_ALREADY_EXISTS)) {
            return;
        }
        history.topic_settled(gone, true);
        let ask: OffsetCommitRequest = commit_of("odd-readers", gone, -1, "", "");
        self.ask(7, &ask, |_| None, &[]).await;
        let ask = DeleteTopicsRequest {
            topic_names: vec![gone.into()],
            timeout_ms: 500,
            ..DeleteTopicsRequest::default()
        };
        // Somebody writes to it at that very moment; what becomes of that is nobody's concern.
        let mut racers = Vec::new();
        for number in 0..3 {
            let mut racer = self.other(&format!("racer-{number}"));
            let ask = produce(gone, 0, -1, batch(BatchBuilder::new(), 10));
            let deadline = self.env.now().after(TIMEOUT);
            let _sent = racer.send(9, &ask, deadline).await;
            racers.push(racer);
        }
        let stays = self.job.work.topics_stay;
        if !stays {
            history.topic_wished(gone, false);
        }
        let code = |answer: &protocol::messages::delete_topics_response::DeleteTopicsResponse| {
            Some(answer.responses.first()?.error_code)
        };
        let allowed: &[i16] =
            if stays { &[TOPIC_DELETION_DISABLED] } else { &[NONE, UNKNOWN_TOPIC_OR_PARTITION] };
        let answer = self.ask(5, &ask, code, allowed).await;
        if answer.and_then(|answer| code(&answer)) == Some(NONE) {
            history.topic_settled(gone, false);
        }
        drop(racers);
    }

    async fn created_by_asking(&mut self) {
        self.job.history.topic_wished(AUTO, true);
        for (name, allowed) in
            [(AUTO, &[NONE, UNKNOWN_TOPIC_OR_PARTITION][..]), ("bad name!", &[INVALID_TOPIC])]
        {
            let wanted = MetadataRequestTopic { topic_id: Uuid::ZERO, name: Some(name.into()) };
            let ask = MetadataRequest {
                topics: Some(vec![wanted]),
                allow_auto_topic_creation: true,
                ..MetadataRequest::default()
            };
            let code = |answer: &protocol::messages::metadata_response::MetadataResponse| {
                Some(answer.topics.first()?.error_code)
            };
            self.ask(9, &ask, code, allowed).await;
        }
    }
}
