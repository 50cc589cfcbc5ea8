//! Topics, and what is said when something is wrong.

use crate::support::{Broker, error, fresh_dir, run};

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
fn wrong_usage_is_exit_code_2() {
    for args in [&["topic"][..], &["consume"], &["consume", "t", "--from", "now"], &["bogus"]] {
        assert_eq!(run(args, "").status.code(), Some(2), "{args:?}");
    }
}
