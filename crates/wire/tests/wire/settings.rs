//! Settings of topics, changed by clients.

use protocol::messages::alter_configs_request::{
    AlterConfigsResource as Replaced, AlterableConfig as Replacement,
};
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as Edited, AlterableConfig as Edit,
};
use protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
};
use wire::ErrorCode;
use wire::client::Client;

use crate::world::{Served, World};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

type To = Client<env_tokio::TokioEnv>;

fn edited(resource_type: i8, name: &str, edits: &[(&str, i8, Option<&str>)]) -> Edited {
    let edit = |(name, config_operation, value): &(&str, i8, Option<&str>)| Edit {
        name: (*name).to_owned(),
        config_operation: *config_operation,
        value: value.map(str::to_owned),
    };
    let configs = edits.iter().map(edit).collect();
    Edited { resource_type, resource_name: name.to_owned(), configs }
}

async fn edit(
    served: &Served,
    client: &mut To,
    resources: Vec<Edited>,
) -> Vec<(ErrorCode, Option<String>)> {
    let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
    let answer = client.call(1, &request, served.soon()).await.expect("answered");
    answer.responses.into_iter().map(|one| (ErrorCode(one.error_code), one.error_message)).collect()
}

/// Value and source of a topic's key.
async fn shown(served: &Served, client: &mut To, key: &str) -> (Option<String>, i8) {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: "t".to_owned(),
            configuration_keys: Some(vec![key.to_owned()]),
        }],
        ..DescribeConfigsRequest::default()
    };
    let mut answer = client.call(4, &request, served.soon()).await.expect("answered");
    let config = answer.results.remove(0).configs.remove(0);
    (config.value, config.config_source)
}

#[test]
fn a_change_is_in_force_and_shown_with_its_source_until_it_is_taken_back() {
    World::new("settings").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut client = served.client().await;
            let set = [("gregor.durability", SET, Some("fsync")), ("retention.ms", SET, Some("7"))];
            let set = vec![edited(TOPIC, "t", &set)];
            assert_eq!(edit(&served, &mut client, set).await, [(ErrorCode::NONE, None)]);
            let own = |value: &str| (Some(value.to_owned()), 1);
            assert_eq!(shown(&served, &mut client, "gregor.durability").await, own("fsync"));

            let append = vec![edited(TOPIC, "t", &[("cleanup.policy", APPEND, Some("compact"))])];
            assert_eq!(edit(&served, &mut client, append).await[0].0, ErrorCode::NONE);
            assert_eq!(shown(&served, &mut client, "cleanup.policy").await, own("delete,compact"));

            let delete = vec![edited(TOPIC, "t", &[("gregor.durability", DELETE, None)])];
            assert_eq!(edit(&served, &mut client, delete).await[0].0, ErrorCode::NONE);
            let default = (Some("replicated".to_owned()), 5);
            assert_eq!(shown(&served, &mut client, "gregor.durability").await, default);
            assert_eq!(shown(&served, &mut client, "retention.ms").await, own("7"));

            let replaced = Replaced {
                resource_type: TOPIC,
                resource_name: "t".to_owned(),
                configs: vec![Replacement {
                    name: "segment.ms".to_owned(),
                    value: Some("9".to_owned()),
                }],
            };
            let request = AlterConfigsRequest { resources: vec![replaced], validate_only: false };
            let answer = client.call(2, &request, served.soon()).await.expect("answered");
            assert_eq!(answer.responses[0].error_code, 0);
            assert_eq!(shown(&served, &mut client, "retention.ms").await.1, 5, "back to default");
            assert_eq!(shown(&served, &mut client, "segment.ms").await, own("9"));
        },
    );
}

#[test]
fn each_resource_is_refused_alone_in_kafkas_words() {
    World::new("refused-settings").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut client = served.client().await;
            let resources = vec![
                edited(TOPIC, "t", &[("retention.ms", SET, Some("8"))]),
                edited(TOPIC, "u", &[("retention.ms", SET, Some("8"))]),
                edited(TOPIC, "v", &[("no.such.key", SET, Some("8"))]),
                edited(TOPIC, "w", &[("retention.ms", SET, None), ("segment.ms", SET, None)]),
                edited(
                    TOPIC,
                    "x",
                    &[("retention.ms", SET, Some("8")), ("retention.ms", DELETE, None)],
                ),
                edited(TOPIC, "y", &[("retention.ms", 9, Some("8"))]),
                edited(TOPIC, "z", &[]),
                edited(TOPIC, "z", &[]),
                edited(BROKER, "1", &[("log.dirs", SET, Some("a")), ("node.id", SET, Some("8"))]),
                edited(BROKER, "", &[("node.id", SET, Some("8"))]),
                edited(BROKER, "2", &[("num.io.threads", SET, Some("8"))]),
                edited(BROKER, "me", &[("num.io.threads", SET, Some("8"))]),
                edited(LOGGER, "1", &[("root", SET, Some("LOUD"))]),
                edited(LOGGER, "1", &[("root", DELETE, None)]),
                edited(LOGGER, "7", &[("root", DELETE, None)]),
                edited(GROUP, "", &[]),
                edited(1, "1", &[("root", SET, Some("DEBUG"))]),
            ];
            let refused = edit(&served, &mut client, resources).await;
            let said: Vec<String> = refused
                .into_iter()
                .map(|(code, message)| format!("{} {}", code.name(), message.unwrap_or_default()))
                .collect();
            let expected = [
                "NONE ",
                "UNKNOWN_TOPIC_OR_PARTITION The topic 'u' does not exist.",
                "INVALID_CONFIG Unknown topic config name: no.such.key",
                "INVALID_REQUEST Null value not supported for : retention.ms, segment.ms",
                "INVALID_REQUEST Error due to duplicate config keys",
                "UNKNOWN_SERVER_ERROR ",
                "INVALID_REQUEST Each resource must appear at most once.",
                "INVALID_REQUEST Each resource must appear at most once.",
                "INVALID_REQUEST Cannot update these configs dynamically: [log.dirs, node.id]",
                "INVALID_REQUEST Cannot update these configs dynamically: [node.id]",
                "INVALID_REQUEST Unexpected broker id, expected 1, but received 2",
                "INVALID_REQUEST Node id must be an integer, but it is: me",
                "INVALID_REQUEST Each resource must appear at most once.",
                "INVALID_REQUEST Each resource must appear at most once.",
                "INVALID_REQUEST Unexpected node id. Expected 1, but received 7",
                "INVALID_REQUEST Default group resources are not allowed.",
                "INVALID_REQUEST Unknown resource type 1",
            ];
            assert_eq!(said, expected);
        },
    );
}

#[test]
fn two_resources_that_are_only_wrong_together_do_not_both_get_in() {
    const LIMIT: &str = "max.connections.per.ip";
    const OVERRIDES: &str = "max.connections.per.ip.overrides";
    World::new("jointly-wrong").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            let set = vec![edited(BROKER, "", &[(OVERRIDES, SET, Some("10.0.0.1:5"))])];
            assert_eq!(edit(&served, &mut client, set).await, [(ErrorCode::NONE, None)]);
            let both = vec![
                edited(BROKER, "1", &[(LIMIT, SET, Some("0"))]),
                edited(BROKER, "", &[(OVERRIDES, DELETE, None)]),
            ];
            let outcome = edit(&served, &mut client, both).await;
            assert_eq!((outcome[0].0, outcome[1].0), (ErrorCode::NONE, ErrorCode::INVALID_REQUEST));
            let found = places(&served, &mut client, (BROKER, "1"), OVERRIDES).await;
            assert_eq!(found[0], ("10.0.0.1:5".to_owned(), 3));
        },
    );
}

#[test]
fn a_broker_that_is_written_in_two_ways_is_one_resource() {
    World::new("one-broker").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            let twice = vec![
                edited(BROKER, "1", &[("log.retention.ms", SET, Some("777000"))]),
                edited(BROKER, "01", &[("log.retention.bytes", SET, Some("5000"))]),
                edited(BROKER, "", &[("log.retention.bytes", SET, Some("6000"))]),
            ];
            let outcome = edit(&served, &mut client, twice).await;
            let refused = Some("Each resource must appear at most once.".to_owned());
            assert_eq!(outcome[0], (ErrorCode::INVALID_REQUEST, refused.clone()));
            assert_eq!(outcome[1], (ErrorCode::INVALID_REQUEST, refused));
            assert_eq!(outcome[2], (ErrorCode::NONE, None));
        },
    );
}

#[test]
fn nobody_sets_what_would_let_nobody_in_to_take_it_back() {
    World::new("locked-out").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            for of in ["", "1"] {
                let none = vec![edited(BROKER, of, &[("max.connections", SET, Some("0"))])];
                let (code, why) = edit(&served, &mut client, none).await.remove(0);
                assert_eq!(code, ErrorCode::INVALID_REQUEST);
                let why = why.expect("a reason");
                assert!(why.starts_with("max.connections must be at least 1"), "{why}");
            }
            served.client().await.metadata(None, served.soon()).await.expect("served");
        },
    );
}

/// Values of a key where they are set, the one in force first, each with its source.
async fn places(served: &Served, client: &mut To, of: (i8, &str), key: &str) -> Vec<(String, i8)> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: of.0,
            resource_name: of.1.to_owned(),
            configuration_keys: Some(vec![key.to_owned()]),
        }],
        include_synonyms: true,
        ..DescribeConfigsRequest::default()
    };
    let mut answer = client.call(4, &request, served.soon()).await.expect("answered");
    let configs = answer.results.remove(0).configs;
    let synonyms = configs.into_iter().flat_map(|config| config.synonyms);
    synonyms.map(|one| (one.value.unwrap_or_default(), one.source)).collect()
}

#[test]
fn what_is_set_for_a_broker_and_for_all_is_shown_with_them_and_with_the_topics_that_inherit_it() {
    World::new("broker-settings").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut client = served.client().await;
            for (of, value) in [("", "8"), ("1", "7")] {
                let set = vec![edited(BROKER, of, &[("message.max.bytes", SET, Some(value))])];
                assert_eq!(edit(&served, &mut client, set).await, [(ErrorCode::NONE, None)]);
            }
            let set = |value: &str, source| (value.to_owned(), source);
            let both = [set("7", 2), set("8", 3), set("1048588", 5)];

            let key = "message.max.bytes";
            assert_eq!(places(&served, &mut client, (BROKER, "1"), key).await, both);
            assert_eq!(places(&served, &mut client, (BROKER, ""), key).await, [set("8", 3)]);
            let topic = places(&served, &mut client, (TOPIC, "t"), "max.message.bytes").await;
            assert_eq!(topic, both);

            let taken = vec![edited(BROKER, "1", &[(key, DELETE, None)])];
            assert_eq!(edit(&served, &mut client, taken).await[0].0, ErrorCode::NONE);
            let shown = shown(&served, &mut client, "max.message.bytes").await;
            assert_eq!(shown, (Some("8".to_owned()), 3));
        },
    );
}

#[test]
fn groups_and_subscriptions_have_settings_of_their_own() {
    World::new("group-settings").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            for (of, name, key, value, source) in [
                (GROUP, "g", "consumer.session.timeout.ms", "50000", 8),
                (CLIENT_METRICS, "m", "interval.ms", "1000", 7),
            ] {
                let set = vec![edited(of, name, &[(key, SET, Some(value))])];
                assert_eq!(edit(&served, &mut client, set).await, [(ErrorCode::NONE, None)]);
                let found = places(&served, &mut client, (of, name), key).await;
                assert_eq!(found.first(), Some(&(value.to_owned(), source)), "{name}");
                let other = places(&served, &mut client, (of, "other"), key).await;
                assert!(other.iter().all(|(_, source)| *source == 5), "{other:?}");
            }
        },
    );
}
