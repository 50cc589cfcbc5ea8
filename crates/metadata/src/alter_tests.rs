//! Changes of overrides, decided, applied and checked.

use base::{BrokerId, TopicId, Uuid};

use super::*;
use crate::{Change, Command, CreateTopic, Defaults, decide};

const ID: TopicId = TopicId(Uuid([1; 16]));

/// An image with the topic `t`.
fn image() -> Image {
    let mut image = Image::default();
    let defaults = Defaults { partitions: 1, replication_factor: 1 };
    let wish = CreateTopic { name: "t".to_owned(), ..CreateTopic::default() };
    for command in [
        Command::CreateCluster { cluster_id: Uuid([9; 16]) },
        Command::RegisterBroker { id: BrokerId(1), rack: None, unclean: false },
        Command::CreateTopics { topics: vec![(wish, ID)], defaults, validate_only: false },
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

fn alter(image: &mut Image, name: &str, change: ConfigChange) -> Result<(), TopicError> {
    let topics = vec![AlterTopic { name: name.to_owned(), change }];
    let decision = decide(image, Command::AlterTopics { topics, validate_only: false }, &());
    take(image, &decision);
    let Reply::Altered(mut replies) = decision.reply else { panic!("{:?}", decision.reply) };
    replies.remove(0)
}

fn edit(image: &mut Image, edits: &[(&str, ConfigEdit)]) -> Result<(), TopicError> {
    let edits = edits.iter().map(|(key, edit)| ((*key).to_owned(), edit.clone())).collect();
    alter(image, "t", ConfigChange::Edit(edits))
}

fn set(value: &str) -> ConfigEdit {
    ConfigEdit::Set(value.to_owned())
}

fn check(image: &Image, expected: &[(&str, &str)]) {
    let configs = &image.topic_named("t").expect("there").configs;
    let found: Vec<_> = configs.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(found, expected);
}

#[test]
fn an_edit_changes_the_keys_it_names_and_leaves_the_others() {
    let mut image = image();
    edit(&mut image, &[("segment.bytes", set(" 1048576 ")), ("retention.ms", set("5"))]).unwrap();

    edit(&mut image, &[("retention.ms", set("6")), ("gregor.durability", set("fsync"))]).unwrap();
    check(
        &image,
        &[("gregor.durability", "fsync"), ("retention.ms", "6"), ("segment.bytes", "1048576")],
    );
    edit(&mut image, &[("retention.ms", ConfigEdit::Delete), ("no.such", ConfigEdit::Delete)])
        .unwrap();
    check(&image, &[("gregor.durability", "fsync"), ("segment.bytes", "1048576")]);
}

#[test]
fn a_replacement_takes_away_what_it_does_not_name() {
    let mut image = image();
    edit(&mut image, &[("segment.bytes", set("1048576")), ("retention.ms", set("5"))]).unwrap();

    let pairs = vec![("retention.ms".to_owned(), "7".to_owned())];
    alter(&mut image, "t", ConfigChange::Replace(pairs)).unwrap();

    check(&image, &[("retention.ms", "7")]);
}

#[test]
fn elements_are_appended_to_the_default_and_taken_away_once() {
    let mut image = image();
    let append = |more: &str| ConfigEdit::Append(more.to_owned());
    let subtract = |less: &str| ConfigEdit::Subtract(less.to_owned());

    edit(&mut image, &[("cleanup.policy", append("compact,delete"))]).unwrap();
    check(&image, &[("cleanup.policy", "delete,compact")]);
    edit(&mut image, &[("cleanup.policy", subtract("delete,delete"))]).unwrap();
    check(&image, &[("cleanup.policy", "compact")]);
    edit(&mut image, &[("cleanup.policy", subtract("delete"))]).unwrap();
    check(&image, &[("cleanup.policy", "compact")]);

    let error = edit(&mut image, &[("retention.ms", append("5"))]).unwrap_err();
    assert_eq!(error.to_string(), "Can't APPEND to key retention.ms because its type is not LIST.");
    assert!(edit(&mut image, &[("cleanup.policy", append("shred"))]).is_err());
}

#[test]
fn a_refused_change_changes_nothing_of_its_topic_and_says_why_as_kafka_does() {
    let mut image = image();
    edit(&mut image, &[("retention.ms", set("5"))]).unwrap();
    let before = image.clone();
    let long = format!("{:>32768}", 1);
    let cases = [
        ("no.such", "1", "Unknown topic config name: no.such"),
        (
            "segment.bytes",
            "1",
            "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576",
        ),
        (
            "segment.ms",
            long.as_str(),
            "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.",
        ),
    ];
    for (key, value, why) in cases {
        let refused = edit(&mut image, &[("retention.ms", set("6")), (key, set(value))]);
        assert_eq!(refused, Err(TopicError::InvalidConfig(why.to_owned())));
    }
    let nothing = || ConfigChange::Edit(Vec::new());
    let missing = alter(&mut image, "u", nothing());
    assert_eq!(missing.unwrap_err().to_string(), "The topic 'u' does not exist.");
    assert!(matches!(alter(&mut image, "", nothing()), Err(TopicError::InvalidRequest(_))));
    assert!(matches!(alter(&mut image, "a b", nothing()), Err(TopicError::InvalidName(_))));
    assert_eq!(image, before);
}

#[test]
fn each_topic_succeeds_or_fails_alone_and_only_what_changes_is_written() {
    let image = image();
    let wish = |name: &str, value: &str| AlterTopic {
        name: name.to_owned(),
        change: ConfigChange::Replace(vec![("retention.ms".to_owned(), value.to_owned())]),
    };
    let decide =
        |topics, validate_only| decide(&image, Command::AlterTopics { topics, validate_only }, &());

    let decision = decide(vec![wish("u", "5"), wish("t", "5")], false);
    assert!(
        matches!(&decision.reply, Reply::Altered(r) if r[0].is_err() && r[1].is_ok()),
        "{:?}",
        decision.reply
    );
    let changes = take(&mut image.clone(), &decision);
    assert!(matches!(&changes[..], [Change::TopicConfigured(topic)] if topic.id == ID));

    let same = AlterTopic { name: "t".to_owned(), change: ConfigChange::Replace(Vec::new()) };
    assert!(decide(vec![same], false).records.is_empty());
    let looked = decide(vec![wish("t", "5")], true);
    assert_eq!(looked.reply, Reply::Altered(vec![Ok(())]));
    assert!(looked.records.is_empty());
}

#[test]
fn a_snapshot_holds_the_overrides_in_force() {
    let mut image = image();
    edit(&mut image, &[("gregor.durability", set("fsync"))]).unwrap();

    let mut rebuilt = Image::default();
    for record in image.to_records() {
        rebuilt.apply(&record);
    }

    assert_eq!(rebuilt, image);
}
