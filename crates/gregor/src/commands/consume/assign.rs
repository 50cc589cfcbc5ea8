//! Sharing partitions out among the members of a group: Kafka's range assignor.
//!
//! Invariant: every partition of every subscribed topic goes to exactly one member that subscribes
//! to it; of each topic, members in the order of their ids get consecutive partitions, the first
//! ones one more where the count does not divide.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use protocol::messages::consumer_protocol_assignment::{
    ConsumerProtocolAssignment, TopicPartition,
};
use protocol::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use protocol::{Reader, Wire, Writer};

/// The version in which subscriptions and assignments are written.
const VERSION: i16 = 1;

/// What one member reads, by topic.
pub type Share = BTreeMap<String, Vec<i32>>;

/// A member's subscription, as it travels.
pub fn subscription(topic: &str) -> Bytes {
    let body = ConsumerProtocolSubscription {
        topics: vec![topic.to_owned()],
        ..ConsumerProtocolSubscription::default()
    };
    encode(&body)
}

/// The topics in a subscription; none if it is not one.
pub fn topics_of(bytes: &Bytes) -> BTreeSet<String> {
    let mut reader = Reader::from(bytes);
    let version = reader.i16().unwrap_or(0).clamp(0, 3);
    let found = ConsumerProtocolSubscription::decode(&mut reader, version);
    found.map(|found| found.topics).unwrap_or_default().into_iter().collect()
}

/// A share, as it travels.
pub fn assignment(share: Share) -> Bytes {
    let assigned =
        share.into_iter().map(|(topic, partitions)| TopicPartition { topic, partitions });
    let body = ConsumerProtocolAssignment {
        assigned_partitions: assigned.collect(),
        ..ConsumerProtocolAssignment::default()
    };
    encode(&body)
}

fn encode(body: &impl Wire) -> Bytes {
    let mut writer = Writer::new();
    writer.i16(VERSION);
    // Only a name beyond 32 KiB cannot be written, and no topic has one.
    match body.encode(&mut writer, VERSION) {
        Ok(()) => writer.into_bytes().unwrap_or_default(),
        Err(_) => Bytes::new(),
    }
}

/// Shares out: who subscribes to what, and how many partitions each topic has.
pub fn range(
    members: &BTreeMap<String, BTreeSet<String>>,
    partitions: &BTreeMap<String, Vec<i32>>,
) -> BTreeMap<String, Share> {
    let mut shares: BTreeMap<String, Share> =
        members.keys().map(|member| (member.clone(), Share::new())).collect();
    for (topic, indexes) in partitions {
        let readers: Vec<&String> = members
            .iter()
            .filter(|(_, topics)| topics.contains(topic))
            .map(|(member, _)| member)
            .collect();
        if readers.is_empty() {
            continue;
        }
        let (each, more) = (indexes.len() / readers.len(), indexes.len() % readers.len());
        let mut rest = indexes.as_slice();
        for (place, member) in readers.into_iter().enumerate() {
            let count = each + usize::from(place < more);
            let (mine, others) = rest.split_at(count.min(rest.len()));
            rest = others;
            if let Some(share) = shares.get_mut(member).filter(|_| !mine.is_empty()) {
                share.insert(topic.clone(), mine.to_vec());
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_get_consecutive_partitions_and_the_first_get_one_more() {
        let both = BTreeSet::from(["t".to_owned()]);
        let members = BTreeMap::from([
            ("a".to_owned(), both.clone()),
            ("b".to_owned(), both.clone()),
            ("c".to_owned(), BTreeSet::new()),
        ]);
        let partitions = BTreeMap::from([("t".to_owned(), vec![0, 1, 2, 3, 4])]);

        let shares = range(&members, &partitions);

        assert_eq!(shares["a"]["t"], [0, 1, 2]);
        assert_eq!(shares["b"]["t"], [3, 4]);
        assert!(shares["c"].is_empty());
    }

    #[test]
    fn subscriptions_and_assignments_read_back() {
        assert_eq!(topics_of(&subscription("orders")), BTreeSet::from(["orders".to_owned()]));
        let share = Share::from([("orders".to_owned(), vec![0, 2])]);
        let read = crate::commands::group::assigned_partitions(&assignment(share.clone()));
        assert_eq!(read, share);
        assert!(topics_of(&Bytes::from_static(b"junk")).is_empty());
    }
}
