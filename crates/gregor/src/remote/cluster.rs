//! What the metadata says: brokers, topics, leaders; and the questions about offsets that several
//! commands ask.

use std::collections::BTreeMap;

use base::Uuid;
use protocol::messages::metadata_response::{MetadataResponse, MetadataResponsePartition};
use wire::client::WhichOffset;
use wire::error_code::ErrorCode;

use super::{Broker, Remote, To, accepted};
use crate::failure::Failure;

/// A cluster.
#[derive(Debug, Default)]
pub struct Cluster {
    /// Topics by name.
    pub topics: BTreeMap<String, TopicOf>,
}

/// A topic.
#[derive(Debug, Default)]
pub struct TopicOf {
    /// Its id.
    pub id: Uuid,
    /// Whether brokers keep it for themselves.
    pub internal: bool,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionOf>,
}

/// A partition.
#[derive(Clone, Debug, Default)]
pub struct PartitionOf {
    /// Its number.
    pub index: i32,
    /// Its leader, if there is one.
    pub leader: Option<i32>,
    /// The leader's term.
    pub leader_epoch: i32,
    /// Who holds it.
    pub replicas: Vec<i32>,
    /// Who is in sync.
    pub isr: Vec<i32>,
}

impl TopicOf {
    /// Where the partition's leader is.
    ///
    /// # Errors
    /// [`Failure`] if there is no such partition, or none leads it now.
    pub fn leader(&self, name: &str, index: i32) -> Result<To, Failure> {
        let found = self.partitions.iter().find(|partition| partition.index == index);
        let partition = found.ok_or_else(|| Failure::UnknownPartition {
            topic: name.to_owned(),
            partition: index,
            last: self.partitions.last().map_or(-1, |partition| partition.index),
        })?;
        let leader = partition.leader.map(To::Node);
        leader.ok_or_else(|| Failure::Refused {
            what: format!("{name}-{index}"),
            code: ErrorCode::LEADER_NOT_AVAILABLE,
            told: None,
        })
    }
}

impl Remote {
    /// The metadata of these topics, or of all. No topic is created.
    ///
    /// # Errors
    /// [`Failure::UnknownTopic`] and what the connection fails with.
    pub async fn cluster(&mut self, topics: Option<&[String]>) -> Result<Cluster, Failure> {
        let names: Option<Vec<&str>> =
            topics.map(|names| names.iter().map(String::as_str).collect());
        let answer = self
            .ask(To::Any, "the metadata", async |broker, deadline| {
                broker.metadata(names.as_deref(), deadline).await
            })
            .await?;
        for broker in &answer.brokers {
            self.note_address(To::Node(broker.node_id), &broker.host, broker.port);
        }
        read_topics(answer)
    }

    /// One topic; waits a while for its leaders.
    ///
    /// # Errors
    /// As [`Remote::cluster`].
    pub async fn topic(&mut self, name: &str) -> Result<TopicOf, Failure> {
        let names = [name.to_owned()];
        for _ in 0..20 {
            let mut cluster = self.cluster(Some(&names)).await?;
            let topic = cluster.topics.remove(name);
            let topic = topic.ok_or_else(|| Failure::UnknownTopic(name.to_owned()))?;
            if topic.partitions.iter().all(|partition| partition.leader.is_some()) {
                return Ok(topic);
            }
            self.pause().await;
        }
        Err(Failure::Refused {
            what: format!("topic '{name}'"),
            code: ErrorCode::LEADER_NOT_AVAILABLE,
            told: None,
        })
    }

    /// The offset of each of these partitions; `None` where there is no such record.
    ///
    /// # Errors
    /// What the brokers refuse.
    pub async fn offsets(
        &mut self,
        name: &str,
        topic: &TopicOf,
        partitions: &[i32],
        which: WhichOffset,
    ) -> Result<BTreeMap<i32, Option<i64>>, Failure> {
        let mut found = BTreeMap::new();
        for index in partitions {
            let leader = topic.leader(name, *index)?;
            let what = format!("offsets of {name}-{index}");
            let question = async |broker: &mut Broker, deadline| {
                broker.list_offset((name, *index), which, deadline).await
            };
            found.insert(*index, self.ask(leader, &what, question).await?);
        }
        Ok(found)
    }
}

fn read_topics(answer: MetadataResponse) -> Result<Cluster, Failure> {
    let mut topics = BTreeMap::new();
    for topic in answer.topics {
        let name = topic.name.unwrap_or_default();
        if ErrorCode(topic.error_code) == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
            return Err(Failure::UnknownTopic(name));
        }
        accepted(topic.error_code, None, || format!("topic '{name}'"))?;
        let partition = |partition: MetadataResponsePartition| PartitionOf {
            index: partition.partition_index,
            leader: (partition.leader_id >= 0).then_some(partition.leader_id),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes,
            isr: partition.isr_nodes,
        };
        let mut partitions: Vec<PartitionOf> =
            topic.partitions.into_iter().map(partition).collect();
        partitions.sort_by_key(|partition| partition.index);
        let id = topic.topic_id;
        topics.insert(name, TopicOf { id, internal: topic.is_internal, partitions });
    }
    Ok(Cluster { topics })
}
