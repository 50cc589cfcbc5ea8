//! Further partitions, decided, applied and checked.

use std::sync::Arc;

use base::{LeaderEpoch, TopicId, Uuid};

use super::*;
use crate::{Change, Command, CreateTopic, Defaults, decide};

/// An image with two brokers and the topics `t` (two partitions, one replica) and `u`.
fn image() -> Image {
    let mut image = Image::default();
    let defaults = Defaults { partitions: 2, replication_factor: 1 };
    let register = |id| Command::RegisterBroker { id: BrokerId(id), rack: None, unclean: false };
    let wish = |(at, name): (u8, &str)| {
        let wish = CreateTopic { name: name.to_owned(), ..CreateTopic::default() };
        (wish, TopicId(Uuid([at; 16])))
    };
    let topics = [(1, "t"), (2, "u"), (3, OFFSETS_TOPIC)].map(wish).to_vec();
    for command in [
        Command::CreateCluster { cluster_id: Uuid([9; 16]) },
        register(1),
        register(2),
        Command::CreateTopics { topics, defaults, validate_only: false },
    ] {
        let decision = decide(&image, command, &());
        take(&mut image, &decision);
    }
    image
}

fn take(image: &mut Image, decision: &Decision) -> Vec<Change> {
    let take = |record: &Record| {
        assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(record), "what we wrote");
        image.apply(record)
    };
    decision.records.iter().map(take).collect()
}

fn to(name: &str, count: i32) -> AddPartitions {
    AddPartitions { name: name.to_owned(), count, assignment: None }
}

fn with(count: i32, assignment: &[&[i32]]) -> AddPartitions {
    let brokers = |ids: &&[i32]| ids.iter().copied().map(BrokerId).collect();
    let assignment = Some(assignment.iter().map(brokers).collect());
    AddPartitions { assignment, ..to("t", count) }
}

fn add(image: &mut Image, topics: Vec<AddPartitions>) -> Vec<Result<(), TopicError>> {
    let decision = decide(image, Command::AddPartitions { topics, validate_only: false }, &());
    take(image, &decision);
    let Reply::Added(replies) = decision.reply else { panic!("{:?}", decision.reply) };
    replies
}

fn leaders(image: &Image, name: &str) -> Vec<i32> {
    let topic = image.topic_named(name).expect("there");
    topic.partitions.iter().map(|partition| partition.leader.expect("led").0).collect()
}

#[test]
fn new_partitions_come_behind_the_others_and_go_on_round_the_brokers() {
    let mut image = image();
    assert_eq!(leaders(&image, "t"), [1, 2]);

    assert_eq!(add(&mut image, vec![to("t", 5)]), [Ok(())]);

    assert_eq!(leaders(&image, "t"), [1, 2, 1, 2, 1]);
    let new = &image.topic_named("t").unwrap().partitions[4];
    assert_eq!((&*new.isr, new.leader_epoch), (&[BrokerId(1)][..], LeaderEpoch(0)));
}

#[test]
fn the_change_names_the_first_partition_that_is_new() {
    let mut image = image();
    let topics = vec![to("t", 3)];

    let decision = decide(&image, Command::AddPartitions { topics, validate_only: false }, &());
    let changes = take(&mut image, &decision);

    let grown = Arc::clone(image.topic_named("t").unwrap());
    assert_eq!(changes, [Change::PartitionsAdded(grown, 2)]);
}

#[test]
fn an_assignment_says_where_each_new_partition_is() {
    let mut image = image();

    assert_eq!(add(&mut image, vec![with(4, &[&[2], &[2]])]), [Ok(())]);

    assert_eq!(leaders(&image, "t"), [1, 2, 2, 2]);
}

#[test]
fn a_topic_is_refused_alone_in_kafkas_words() {
    let mut image = image();
    let told = |wish: AddPartitions| {
        let mut image = self::image();
        let refused = add(&mut image, vec![wish]).remove(0).unwrap_err();
        assert_eq!(leaders(&image, "t"), [1, 2], "nothing of it is there");
        refused.to_string()
    };
    for (wish, text) in [
        (to("v", 3), "This server does not host this topic-partition."),
        (to("t", 2), "Topic already has 2 partition(s)."),
        (to("t", -1), "The topic t currently has 2 partition(s); -1 would not be an increase."),
        (
            with(4, &[&[1]]),
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (with(3, &[&[]]), "The manual partition assignment includes an empty replica list."),
        (
            with(4, &[&[1], &[7]]),
            "The manual partition assignment includes broker 7, but no such broker is registered.",
        ),
        (
            with(3, &[&[1, 1]]),
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (
            with(3, &[&[1, 2]]),
            "The manual partition assignment includes a partition with 2 replica(s), but this is \
             not consistent with previous partitions, which have 1 replica(s).",
        ),
    ] {
        assert_eq!(told(wish), text);
    }
    assert!(matches!(add(&mut image, vec![to("t", 2), to("u", 3)])[..], [Err(_), Ok(())]));
    assert_eq!(leaders(&image, "u"), [1, 2, 1]);
}

#[test]
fn the_coordinators_topic_keeps_its_number_of_partitions() {
    let mut image = image();

    let refused = add(&mut image, vec![to(OFFSETS_TOPIC, 50)]);

    assert!(matches!(refused[..], [Err(TopicError::InvalidRequest(_))]), "{refused:?}");
}

#[test]
fn one_request_adds_at_most_ten_thousand_partitions() {
    let mut image = image();

    let replies = add(&mut image, vec![to("t", 9_002), to("u", 1_003), to("v", 1)]);
    assert_eq!(replies.len(), 3);
    let refused = |reply: &Result<(), TopicError>| matches!(reply, Err(TopicError::Policy(_)));
    assert!(replies.iter().all(refused), "{replies:?}");
    assert_eq!(add(&mut image, vec![to("t", 9_002), to("u", 1_002)]), [Ok(()), Ok(())]);
}

#[test]
fn what_is_only_checked_leaves_no_record() {
    let topics = vec![to("t", 3), to("v", 3)];

    let decision = decide(&image(), Command::AddPartitions { topics, validate_only: true }, &());

    assert!(decision.records.is_empty());
    assert_eq!(decision.reply, Reply::Added(vec![Ok(()), Err(TopicError::UnknownName)]));
}

#[test]
fn a_snapshot_has_the_new_partitions() {
    let mut image = image();
    add(&mut image, vec![to("t", 4)]);

    let mut rebuilt = Image::default();
    for record in image.to_records() {
        rebuilt.apply(&record);
    }

    assert_eq!(rebuilt, image);
}
