//! Topics, and what is said when something is wrong.

use crate::support::{Broker, error, fresh_dir, run, text};

#[test]
fn a_topic_is_created_listed_described_and_deleted() {
    let broker = Broker::start(&fresh_dir("topics"));

    let made = broker.prints(&[
        "topic",
        "create",
        "orders",
        "--partitions",
        "3",
        "--config",
        "retention.ms=60000",
    ]);
    assert_eq!(made, "created orders with 3 partitions\n");

    let listed = broker.json(&["topic", "list"]);
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["topic"], &listed[0]["partitions"]), (&"orders".into(), &3.into()));
    assert!(broker.prints(&["topic", "list"]).contains("orders"));

    let described = &broker.json(&["topic", "describe", "orders"])[0];
    assert_eq!(described["configs"]["retention.ms"], "60000");
    assert_eq!(described["partitions"][2]["leader"], 1);

    assert_eq!(broker.prints(&["topic", "delete", "orders"]), "deleted orders\n");
    assert!(broker.json(&["topic", "list"]).is_empty());
    assert!(broker.stop());
}

#[test]
fn a_setting_of_a_topic_is_changed_and_taken_back_or_nothing_is() {
    let broker = Broker::start(&fresh_dir("settings"));
    broker.prints(&["topic", "create", "orders", "--config", "segment.ms=60000"]);
    let own = || broker.json(&["topic", "describe", "orders"])[0]["configs"].to_string();

    let fsync = ["--config", "gregor.durability=fsync", "--delete-config", "segment.ms"];
    let altered = broker.prints(&[&["topic", "alter", "orders"], &fsync[..]].concat());
    assert_eq!(altered, "altered orders\n");
    assert_eq!(own(), r#"{"gregor.durability":"fsync"}"#);

    let wrong = ["--config", "retention.ms=5", "--config", "segment.bytes=1"];
    let said = error(&broker.run(&[&["topic", "alter", "orders"], &wrong[..]].concat()));
    assert!(said.contains("Value must be at least 1048576"), "{said}");
    let checked = ["topic", "alter", "orders", "-c", "retention.ms=5", "--validate-only"];
    assert_eq!(broker.prints(&checked), "checked orders\n");
    assert_eq!(own(), r#"{"gregor.durability":"fsync"}"#);
    let said = error(&broker.run(&["topic", "alter", "nowhere", "-c", "retention.ms=5"]));
    assert!(said.contains("there is no topic 'nowhere'"), "{said}");
    assert_eq!(broker.run(&["topic", "alter", "orders"]).status.code(), Some(2));
    assert!(broker.stop());
}

#[test]
fn a_topic_gets_more_partitions_and_never_fewer() {
    let broker = Broker::start(&fresh_dir("grown"));
    broker.prints(&["topic", "create", "orders"]);
    let count = || broker.json(&["topic", "list"])[0]["partitions"].to_string();

    let checked = ["topic", "alter", "orders", "--partitions", "3", "--validate-only"];
    assert_eq!(broker.prints(&checked), "checked orders: 3 partitions\n");
    assert_eq!(count(), "1");
    let altered = broker.prints(&["topic", "alter", "orders", "--partitions", "3"]);
    assert_eq!(altered, "altered orders: 3 partitions\n");
    assert_eq!(count(), "3");

    let said = error(&broker.run(&["topic", "alter", "orders", "--partitions", "2"]));
    assert!(said.contains("currently has 3 partition(s); 2 would not be an increase"), "{said}");
    let said = error(&broker.run(&["topic", "alter", "nowhere", "--partitions", "2"]));
    assert!(said.contains("there is no topic 'nowhere'"), "{said}");
    let both = ["topic", "alter", "orders", "-p", "4", "-c", "retention.ms=60000"];
    let altered = &broker.json(&both)[0];
    assert_eq!(altered.to_string(), r#"{"done":"altered","partitions":4,"topic":"orders"}"#);
    let described = &broker.json(&["topic", "describe", "orders"])[0];
    assert_eq!(described["configs"]["retention.ms"], "60000");
    assert_eq!(described["partitions"][3]["leader"], 1);
    assert!(broker.stop());
}

#[test]
fn an_error_says_what_to_do_next() {
    let broker = Broker::start(&fresh_dir("errors"));

    let said = error(&broker.run(&["consume", "nowhere"]));
    assert!(said.contains("there is no topic 'nowhere'"), "{said}");
    assert!(said.contains("gregor topic create nowhere"), "{said}");
    let said = error(&broker.run(&["topic", "delete", "nowhere"]));
    assert!(said.contains("there is no topic 'nowhere'"), "{said}");
    let said = error(&broker.run(&["group", "describe", "nobody"]));
    assert!(said.contains("gregor group list"), "{said}");
    broker.prints(&["topic", "create", "once"]);
    let said = error(&broker.run(&["topic", "create", "once"]));
    assert!(said.contains("TOPIC_ALREADY_EXISTS"), "{said}");
    let said = error(&broker.run(&["consume", "once", "--partition", "7"]));
    assert!(said.contains("only 0 to 0"), "{said}");

    let at = broker.at.clone();
    broker.kill();
    let said = error(&run(&["topic", "list", "-b", &at], ""));
    assert!(said.contains("Connection refused") && said.contains("gregor serve"), "{said}");
}

#[test]
fn the_brokers_own_topic_is_not_deleted_and_the_others_of_the_list_are() {
    let broker = Broker::start(&fresh_dir("internal"));
    broker.prints(&["topic", "create", "mine"]);
    broker.prints(&["consume", "mine", "--group", "readers"]);

    let said = broker.run(&["topic", "delete", "__consumer_offsets", "mine"]);

    let wanted = "'__consumer_offsets' holds the offsets of all groups and is the broker's own; it is not deleted";
    assert!(error(&said).contains(wanted), "{said:?}");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "deleted mine\n");
}

#[test]
fn what_a_new_topic_asks_for_in_vain_is_said() {
    let broker = Broker::start(&fresh_dir("notes"));
    let settings = ["-c", "preallocate=true", "-c", "cleanup.policy=compact"];
    let made = broker.run(&[&["topic", "create", "t"], &settings[..]].concat());

    assert_eq!(text(&made), "created t with 1 partition\n");
    let notes = String::from_utf8(made.stderr).unwrap();
    assert!(notes.contains("note: preallocate has no effect"), "{notes}");
    assert_eq!(notes.lines().count(), 1, "{notes}");
    let said = error(&broker.run(&["topic", "create", "u", "-r", "3"]));
    assert!(said.contains("INVALID_REPLICATION_FACTOR"), "{said}");
    let said = error(&broker.run(&["topic", "create", "a b"]));
    assert!(said.contains("hint: a name has 1 to 249 letters"), "{said}");
}

#[test]
fn a_topic_is_altered_in_both_ways_or_in_none() {
    let broker = Broker::start(&fresh_dir("alter-both"));
    broker.prints(&["topic", "create", "t", "--partitions", "2", "--config", "retention.ms=7000"]);
    let alter = |more: &[&str]| broker.run(&[&["topic", "alter", "t"], more].concat());
    let is = || {
        let topic = &broker.json(&["topic", "describe", "t"])[0];
        let partitions = topic["partitions"].as_array().unwrap().len();
        (topic["configs"]["retention.ms"].as_str().unwrap().to_owned(), partitions)
    };

    for wrong in [
        ["--config", "retention.ms=1000", "--partitions", "1"],
        ["--config", "retention.ms=soon", "--partitions", "3"],
    ] {
        error(&alter(&wrong));
        assert_eq!(is(), ("7000".to_owned(), 2), "{wrong:?}");
    }

    text(&alter(&["--config", "retention.ms=1000", "--partitions", "3"]));
    assert_eq!(is(), ("1000".to_owned(), 3));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for args in [&["topic"][..], &["consume"], &["consume", "t", "--from", "now"], &["bogus"]] {
        assert_eq!(run(args, "").status.code(), Some(2), "{args:?}");
    }
    let told = [
        (&["consume", "t", "--from", "-1"][..], "write beginning, end, an offset"),
        (&["consume", "t", "--partition", "-1"], "-1 is not in 0.."),
        (&["consume", "t", "--format", "%z"], "--format knows %t %p %o %T %k %s %h %%"),
        (&["consume", "t", "--group", ""], "a group needs a name"),
        (&["topic", "list", "-b", "127.0.0.1"], "write host:port"),
        (&["topic", "list", "-b", "http://127.0.0.1:9092"], "without a protocol"),
        (&["serve", "--override", "num.partitions"], "write it as KEY=VALUE"),
    ];
    for (args, why) in told {
        let output = run(args, "");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why) && !said.contains("is a broker running"), "{said}");
    }
}

#[test]
fn the_first_broker_of_a_list_that_answers_is_asked() {
    let broker = Broker::start(&fresh_dir("list"));
    let list = format!("127.0.0.1:1,{}", broker.at);
    assert_eq!(
        text(&run(&["topic", "create", "t", "-b", &list], "")),
        "created t with 1 partition\n"
    );
}

#[test]
fn settings_of_a_topic_and_of_a_broker_are_shown_with_where_they_are_from() {
    let broker = Broker::start_with(&fresh_dir("settings"), &["log.segment.bytes=2097152"]);
    broker.prints(&["topic", "create", "t", "-c", "retention.ms=60000"]);

    let of_topic = broker.prints(&["config", "describe", "--topic", "t"]);
    assert!(of_topic.contains("retention.ms   60000    this topic\n"), "{of_topic}");
    let of_broker = broker.prints(&["config", "describe", "log.segment.bytes"]);
    assert!(of_broker.starts_with("broker 1\n"), "{of_broker}");
    assert!(of_broker.contains("2097152     file or command line"), "{of_broker}");

    let changed = ["--topic", "t", "--set", "retention.ms=7000", "--delete", "segment.bytes"];
    let altered = broker.prints(&[&["config", "alter"], &changed[..]].concat());
    assert_eq!(altered, "altered topic t\n");
    let shown = broker.json(&["config", "describe", "--topic", "t", "retention.ms"]);
    let shown = shown.iter().find(|line| line["key"] == "retention.ms").unwrap();
    assert_eq!((&shown["value"], &shown["source"]), (&"7000".into(), &"this topic".into()));
    let said = error(&broker.run(&["config", "alter", "--topic", "t", "--set", "segment.ms=soon"]));
    assert!(said.contains("changing settings of topic t: INVALID_CONFIG"), "{said}");
    let said = error(&broker.run(&["config", "describe", "--broker", "7"]));
    assert!(said.contains("there is no broker 7") && said.contains("the cluster has 1"), "{said}");
}
