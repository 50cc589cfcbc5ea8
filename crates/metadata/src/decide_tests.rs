//! Decisions, applied and checked.

use base::{LeaderEpoch, Uuid};

use super::*;
use crate::Change;

const DEFAULTS: Defaults = Defaults { partitions: 1, replication_factor: 1 };

fn image() -> Image {
    let mut image = Image::default();
    for command in [
        Command::CreateCluster { cluster_id: Uuid([9; 16]) },
        Command::RegisterBroker { id: BrokerId(1), rack: None, unclean: false },
    ] {
        run(&mut image, command);
    }
    image
}

fn run(image: &mut Image, command: Command) -> Reply {
    let decision = decide(image, command, &());
    for record in &decision.records {
        let stored = Record::decode(&record.encode()).expect("what we wrote");
        assert_eq!(&stored, record);
        image.apply(record);
    }
    decision.reply
}

fn wish(name: &str) -> CreateTopic {
    CreateTopic { name: name.to_owned(), ..CreateTopic::default() }
}

fn create(image: &mut Image, wishes: Vec<CreateTopic>) -> Vec<Result<CreatedTopic, TopicError>> {
    let topics = wishes
        .into_iter()
        .enumerate()
        .map(|(at, wish)| (wish, TopicId(Uuid([u8::try_from(at).unwrap() + 1; 16]))))
        .collect();
    match run(image, Command::CreateTopics { topics, defaults: DEFAULTS, validate_only: false }) {
        Reply::Created(replies) => replies,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_topic_takes_the_defaults() {
    let mut image = image();

    let replies = create(&mut image, vec![wish("a")]);

    assert_eq!(replies[0].as_ref().map(|t| (t.partitions, t.replication_factor)), Ok((1, 1)));
    assert_eq!(image.topic_named("a").map(|t| t.partitions[0].leader), Some(Some(BrokerId(1))));
}

#[test]
fn a_factor_beyond_the_live_brokers_and_one_of_zero_are_refused_in_kafkas_words() {
    let mut image = image();
    let with = |factor, name| CreateTopic { replication_factor: Some(factor), ..wish(name) };
    let told = |reply: &Result<CreatedTopic, TopicError>| match reply {
        Err(TopicError::InvalidReplicationFactor(why)) => why.clone(),
        other => panic!("{other:?}"),
    };

    let replies = create(&mut image, vec![with(3, "a"), with(0, "b"), with(1, "c")]);

    assert_eq!(
        told(&replies[0]),
        "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned."
    );
    assert_eq!(
        told(&replies[1]),
        "Replication factor must be larger than 0, or -1 to use the default value."
    );
    assert!(replies[2].is_ok());
}

#[test]
fn names_that_are_taken_illegal_repeated_or_colliding_are_refused_alone() {
    let mut image = image();
    create(&mut image, vec![wish("a.b")]);

    let replies = create(
        &mut image,
        vec![wish("a.b"), wish("a_b"), wish("x/y"), wish("d"), wish("d"), wish("e")],
    );

    assert!(matches!(replies[0], Err(TopicError::Exists(_))));
    assert!(matches!(replies[1], Err(TopicError::InvalidName(_))));
    assert!(matches!(replies[2], Err(TopicError::InvalidName(_))));
    assert!(matches!(replies[3], Err(TopicError::InvalidRequest(_))));
    assert!(matches!(replies[4], Err(TopicError::InvalidRequest(_))));
    assert!(replies[5].is_ok());
}

#[test]
fn a_name_collides_with_one_of_the_same_request_and_not_with_one_that_only_looks_alike() {
    let mut image = image();
    let named = ["a.b_c", "a_b.c", "a-b_c", "abc", "a_b_c_"];
    let replies = create(&mut image, named.map(wish).to_vec());
    let refused = "Topic 'a_b.c' collides with existing topic: a.b_c".to_owned();
    assert_eq!(replies[1], Err(TopicError::InvalidName(refused)));
    assert_eq!(replies.iter().filter(|reply| reply.is_ok()).count(), 4);
}

#[test]
fn a_request_for_too_many_partitions_is_refused_as_a_whole_and_before_any_is_built() {
    let mut image = image();
    let of = |name: &str, partitions| CreateTopic { partitions: Some(partitions), ..wish(name) };
    let assigned = |name: &str, partitions| {
        let assignment = (0..partitions).map(|at| (at, vec![BrokerId(1)])).collect();
        CreateTopic { assignment: Some(assignment), ..wish(name) }
    };
    let before = image.clone();
    for wishes in [
        // What is wrong with one of them does not make it less, as in Kafka.
        vec![of("b", 6_000), of("x/y", 6_000)],
        vec![of("b", 6_000), assigned("c", 4_001)],
        vec![of("b", 10_000), wish("c")],
        vec![of("b", i32::MAX), of("c", i32::MAX), of("d", i32::MAX)],
    ] {
        for reply in create(&mut image, wishes) {
            let why = "Excessively large number of partitions per request.".to_owned();
            assert_eq!(reply, Err(TopicError::Policy(why)));
        }
        assert_eq!(image, before);
    }
    let replies = create(&mut image, vec![of("b", 9_999), wish("c"), of("d", -5)]);
    assert!(replies[0].is_ok() && replies[1].is_ok());
    assert!(matches!(replies[2], Err(TopicError::InvalidPartitions(_))));
}

#[test]
fn configs_are_checked_against_the_table() {
    let mut image = image();
    let with = |key: &str, value: Option<&str>| CreateTopic {
        configs: vec![(key.to_owned(), value.map(ToOwned::to_owned))],
        ..wish("a")
    };

    for bad in
        [with("no.such", Some("1")), with("segment.bytes", Some("1")), with("segment.bytes", None)]
    {
        assert!(matches!(create(&mut image, vec![bad])[0], Err(TopicError::InvalidConfig(_))));
    }
    assert!(create(&mut image, vec![with("segment.bytes", Some("1048576"))])[0].is_ok());
}

#[test]
fn a_deleted_topic_is_gone_by_name_and_by_id_and_can_come_back_under_another_id() {
    let mut image = image();
    let id = create(&mut image, vec![wish("a")])[0].as_ref().map(|t| t.id).expect("created");

    let topics =
        vec![TopicRef::Name("a".to_owned()), TopicRef::Id(id), TopicRef::Name("b".to_owned())];
    let reply = run(&mut image, Command::DeleteTopics { topics });

    let Reply::Deleted(replies) = reply else { panic!("{reply:?}") };
    assert_eq!(replies[0], Ok(("a".to_owned(), id)));
    assert!(matches!(replies[1], Err(TopicError::InvalidRequest(_))));
    assert_eq!(replies[2], Err(TopicError::UnknownName));
    assert!(image.topics.is_empty() && image.names.is_empty());
}

#[test]
fn producer_id_blocks_never_overlap() {
    let mut image = image();
    let reserve = Command::ReserveProducerIds { broker: BrokerId(1), count: 1000 };

    let first = run(&mut image, reserve.clone());
    let second = run(&mut image, reserve);

    let block =
        |first| Reply::ProducerIds(Some(ProducerIdBlock { first: ProducerId(first), count: 1000 }));
    assert_eq!((first, second), (block(0), block(1000)));
}

#[test]
fn an_unclean_start_advances_the_epoch_of_every_partition_it_leads() {
    let mut image = image();
    create(&mut image, vec![wish("a")]);

    let decision =
        decide(&image, Command::RegisterBroker { id: BrokerId(1), rack: None, unclean: true }, &());
    let change = image.apply(&decision.records[0]);

    assert!(matches!(change, Change::EpochsAdvanced(topics) if topics.len() == 1));
    assert_eq!(image.topic_named("a").map(|t| t.partitions[0].leader_epoch), Some(LeaderEpoch(1)));
}

#[test]
fn a_snapshot_rebuilds_the_image() {
    let mut image = image();
    create(&mut image, vec![wish("a"), wish("b")]);
    run(&mut image, Command::ReserveProducerIds { broker: BrokerId(1), count: 7 });

    let mut rebuilt = Image::default();
    for record in image.to_records() {
        rebuilt.apply(&record);
    }

    assert_eq!(rebuilt, image);
}
