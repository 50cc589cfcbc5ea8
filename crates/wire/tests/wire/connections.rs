//! Connections: order, bounds, refusals, and bad input.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Duration, Prng};
use broker::BrokerConfig;
use broker::api::{Acks, AlterSettings, ConfigChange, Resource};
use bytes::{BufMut, Bytes, BytesMut};
use env::Env;
use env_tokio::TokioEnv;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, FetchRequest, MetadataRequest,
    ProduceRequest,
};
use protocol::{Reader, Records, Wire};
use wire::ErrorCode;
use wire::client::Client;
use wire::server::{Pace, ServerSettings};

use crate::world::{Raw, Served, World, batch, framed};

pub(crate) fn correlation(frame: &Bytes) -> i32 {
    i32::from_be_bytes(*frame.first_chunk().expect("a header"))
}

pub(crate) fn metadata() -> MetadataRequest {
    MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() }
}

pub(crate) fn long_poll() -> FetchRequest {
    FetchRequest {
        max_wait_ms: i32::MAX,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: "t".to_owned(),
            partitions: vec![FetchPartition {
                partition_max_bytes: 1000,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// A request that appends one record to the topic `t`.
pub(crate) fn produce_of(value: &str) -> Bytes {
    let records = Records::from(batch(&[value]));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic = TopicProduceData { name: "t".to_owned(), partition_data, ..Default::default() };
    let request = ProduceRequest {
        acks: 1,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    };
    framed(11, 1, &request)
}

pub(crate) async fn still_serves(served: &Served) {
    served.client().await.metadata(None, served.soon()).await.expect("served");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    World::new("pipelined").serve(
        |_, _| {},
        |served| async move {
            let mut raw = served.raw().await;
            let mut sent = BytesMut::new();
            for number in 0..500 {
                sent.extend_from_slice(&framed(12, number, &metadata()));
            }

            raw.send(sent.freeze()).await;

            for number in 0..500 {
                assert_eq!(correlation(&raw.frame().await.expect("answered")), number);
            }
        },
    );
}

#[test]
fn requests_of_any_size_may_follow_each_other_on_a_connection() {
    World::new("sizes").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut raw = served.raw().await;
            let sizes = [1, 40, 100, 200, 900].map(|kib| "x".repeat(kib * 1024));
            let requests = sizes.map(|value| produce_of(&value));
            // A buffer is expected to be needed again as it was, and is charged before it is known.
            for first in &requests {
                for second in &requests {
                    for request in [first, second] {
                        raw.send(request.clone()).await;
                        raw.frame().await.expect("answered");
                    }
                    raw.send([first.clone(), second.clone(), first.clone()].concat()).await;
                    for _ in 0..3 {
                        raw.frame().await.expect("answered");
                    }
                }
            }
            still_serves(&served).await;
        },
    );
}

#[test]
fn an_answer_that_is_ready_does_not_wait_behind_a_long_poll() {
    World::new("ready-first").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut raw = served.raw().await;
            let both = [framed(12, 1, &metadata()), framed(12, 2, &long_poll())].concat();

            raw.send(both).await;

            assert_eq!(correlation(&raw.frame().await.expect("answered")), 1);
        },
    );
}

#[test]
fn a_client_that_is_gone_ends_its_long_poll() {
    World::new("gone").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut raw = served.raw().await;
            raw.send([framed(12, 1, &metadata()), framed(12, 2, &long_poll())].concat()).await;
            raw.frame().await.expect("answered");
            let (before, at) = (served.server.connections(), served.soon());

            drop(raw);

            assert!(before > 0);
            while served.server.connections() >= before {
                assert!(Env::now(&served.env) < at, "the connection ends");
                Env::yield_now(&served.env).await;
            }
        },
    );
}

#[test]
fn what_is_not_served_closes_the_connection() {
    World::new("not-served").serve(
        |_, _| {},
        |served| async move {
            let header = |key: i16, version: i16| {
                let mut frame = BytesMut::new();
                frame.put_i32(10);
                frame.put_i16(key);
                frame.put_i16(version);
                frame.put_i32(7);
                frame.put_i16(-1);
                frame.freeze()
            };
            let mut count = BytesMut::new();
            count.put_i32(14);
            count.extend_from_slice(&header(3, 1)[4..]);
            count.put_i32(i32::MAX);
            let cases = [
                ("an unknown key", header(999, 0)),
                ("a removed key", header(4, 0)),
                ("a key of brokers", header(69, 0)),
                ("Fetch 3", header(1, 3)),
                ("Produce 2", header(0, 2)),
                ("a negative version", header(3, -1)),
                ("a heartbeat that does not parse", header(12, 0)),
                ("an array of 2^31 - 1", count.freeze()),
                ("a length of -1", Bytes::from_static(&[255; 4])),
                ("a length of 2^31 - 1", Bytes::from_static(&[127, 255, 255, 255])),
                ("an empty frame", Bytes::from_static(&[0; 4])),
            ];
            for (what, frame) in cases {
                let mut raw = served.raw().await;

                raw.send(frame).await;

                assert_eq!(raw.frame().await, None, "{what}");
            }
            still_serves(&served).await;
        },
    );
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    World::new("api-versions-99").serve(
        |_, _| {},
        |served| async move {
            let mut raw = served.raw().await;
            let mut frame = BytesMut::new();
            frame.put_i32(14);
            frame.put_slice(&[0, 18, 0, 99]);
            frame.put_i32(7);
            frame.put_i16(-1);
            frame.put_slice(&[0, 2, 3, 4]);

            raw.send(frame.freeze()).await;
            raw.send(framed(3, 8, &software("ok"))).await;
            raw.send(framed(3, 9, &software("not ok"))).await;

            let answer = raw.frame().await.expect("answered");
            let expected = [0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5];
            assert_eq!(answer, expected.as_slice());
            let good = raw.frame().await.expect("answered");
            assert_eq!(good.last_chunk(), Some(&[0, 0, 0, 0, 0]), "throttle 0 and no tag");
            let bad = raw.frame().await.expect("answered").slice(4..);
            let bad = ApiVersionsResponse::decode(&mut Reader::from(&bad), 3).expect("decodes");
            assert_eq!((bad.error_code, bad.api_keys.len()), (42, 0));
        },
    );
}

fn software(name: &str) -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: name.to_owned(),
        client_software_version: "1".to_owned(),
        ..ApiVersionsRequest::default()
    }
}

#[test]
fn a_broker_is_named_by_cluster_and_node_or_not_at_all() {
    World::new("half-named").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            let cluster = served.broker.cluster().cluster_id.to_string();
            let cases = [
                (None, -1, ErrorCode::NONE),
                (None, 1, ErrorCode::INVALID_REQUEST),
                (Some(cluster.clone()), -1, ErrorCode::INVALID_REQUEST),
                (Some(cluster.clone()), 1, ErrorCode::NONE),
                (Some(cluster), 2, ErrorCode::REBOOTSTRAP_REQUIRED),
                (Some("elsewhere".to_owned()), 1, ErrorCode::REBOOTSTRAP_REQUIRED),
            ];
            for (cluster_id, node_id, error) in cases {
                let named = format!("{cluster_id:?} {node_id}");
                let request = ApiVersionsRequest { cluster_id, node_id, ..software("ok") };
                let answer = client.call(5, &request, served.soon()).await.expect("answered");
                assert_eq!(ErrorCode(answer.error_code), error, "{named}");
                assert_eq!(answer.api_keys.is_empty(), !error.is_none(), "{named}");
            }
        },
    );
}

#[test]
fn garbage_never_harms_other_connections() {
    World::new("garbage").serve(
        |_, settings| settings.request_bytes_max = 100_000,
        |served| async move {
            let mut random = Prng::new(7);
            for round in 0..300_u32 {
                let mut raw = served.raw().await;
                let mut bytes = BytesMut::new();
                for _ in 0..random.next_u64() % 60 + 8 {
                    bytes.put_u8(random.next_u64().to_be_bytes()[0]);
                }
                if round % 2 == 0 {
                    // A frame with a plausible header and a random body.
                    let length = u32::try_from(bytes.len() - 4).unwrap();
                    bytes[..4].copy_from_slice(&length.to_be_bytes());
                    bytes[4] = 0;
                    bytes[5] %= 80;
                    bytes[6] = 0;
                    bytes[7] %= 20;
                }

                raw.send(bytes.freeze()).await;
            }
            still_serves(&served).await;
        },
    );
}

#[test]
fn request_bytes_in_flight_stay_within_their_budget() {
    const BUDGET: usize = 4 * 1024 * 1024;
    World::new("budget").serve(
        |_, settings| {
            settings.request_bytes_max = 1024 * 1024;
            settings.request_bytes_in_flight_max = BUDGET;
        },
        |served| async move {
            let mut held = Vec::new();
            for _ in 0..20 {
                let mut raw = served.raw().await;
                let mut begun = BytesMut::new();
                begun.put_i32(1_000_000);
                begun.put_bytes(0, 100_000);
                raw.send(begun.freeze()).await;
                held.push(raw);
                let used = served.server.request_bytes_in_flight();
                assert!(used <= BUDGET, "{used}");
            }
            still_serves(&served).await;
            assert!(served.server.request_bytes_in_flight() <= BUDGET);
        },
    );
}

/// Little room for requests, and a pace for those that are asked to keep one.
pub(crate) fn hurries(settings: &mut ServerSettings) {
    settings.request_bytes_max = 1024 * 1024;
    settings.request_bytes_in_flight_max = 2 * 1024 * 1024;
    settings.large_request_pace = Some(Pace { bytes: 100_000, every: Duration::from_millis(100) });
}

/// The beginning of a request that says it is `length` bytes long.
pub(crate) fn begun(length: i32, sent: usize) -> Bytes {
    let mut begun = BytesMut::new();
    begun.put_i32(length);
    begun.put_bytes(0, sent);
    begun.freeze()
}

#[test]
fn a_large_request_that_comes_too_slowly_gives_its_memory_back_and_others_do_not_notice() {
    World::new("too-slow").serve(
        |_, settings| hurries(settings),
        |served| async move {
            let begun = begun(1_000_000, 300_000);
            let mut held = Vec::new();
            for _ in 0..10 {
                let mut raw = served.raw().await;
                raw.send(begun.clone()).await;
                held.push(raw);
            }
            // Small, and none of anybody's business how slow.
            let mut small = served.raw().await;
            small.send(Bytes::from_static(&[0, 0, 0xff, 0, 1])).await;

            for raw in &mut held {
                assert_eq!(raw.frame().await, None);
            }

            // All of the room is there again, and whoever keeps the pace gets it.
            served.topic("t", 1).await;
            let large = "x".repeat(900_000);
            let batch = batch(&[&large]);
            let mut writer = served.client().await;
            writer.produce(("t", 0), Acks::All, batch, served.soon()).await.expect("appended");
            assert_eq!(served.server.request_bytes_in_flight(), 0);
            drop(small);
        },
    );
}

#[test]
fn connections_beyond_the_limit_are_closed() {
    World::new("limit").serve(
        |_, settings| settings.connections_max = 2,
        |served| async move {
            let (first, second) = (served.client().await, served.client().await);
            let at = served.soon();
            while served.server.connections() < 2 {
                assert!(Env::now(&served.env) < at, "both are accepted");
                Env::yield_now(&served.env).await;
            }

            let mut third = served.raw().await;

            assert_eq!(third.frame().await, None);
            drop((first, second));
        },
    );
}

/// A client on the one connection that is allowed: the next one is closed.
async fn the_only_one(served: &Served) -> Client<TokioEnv> {
    let only = served.client().await;
    let at = served.soon();
    while served.server.connections() < 1 {
        assert!(Env::now(&served.env) < at, "it is accepted");
        Env::yield_now(&served.env).await;
    }
    assert_eq!(served.raw().await.frame().await, None);
    only
}

#[test]
fn limits_on_connections_change_while_the_broker_runs_and_addresses_have_their_own() {
    World::new("dynamic-limit").serve(
        |_, settings| settings.connections_per_ip_max = 1,
        |served| async move {
            let only = the_only_one(&served).await;

            let pairs = [("max.connections.per.ip.overrides", "127.0.0.1:2, 10.0.0.1:9")];
            let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
            let wish = AlterSettings {
                resource: Resource::Brokers,
                change: ConfigChange::Replace(pairs.to_vec()),
            };
            assert_eq!(served.broker.alter_settings(vec![wish], false).await, [Ok(())]);

            let mut second = served.client().await;
            second.call(0, &ApiVersionsRequest::default(), served.soon()).await.expect("answered");
            assert_eq!(served.raw().await.frame().await, None, "two and no more");
            drop((only, second));
        },
    );
}

#[test]
fn limits_on_connections_are_those_of_the_file_as_it_was_read_last() {
    let limit = |count: &str| {
        Arc::new(BTreeMap::from([("max.connections.per.ip".to_owned(), count.to_owned())]))
    };
    World::new("file-limit").serve(
        |config, _| config.file = limit("1"),
        |served| async move {
            let only = the_only_one(&served).await;

            let told = BrokerConfig { file: limit("2"), ..served.broker.config().clone() };
            served.broker.retell(told).await.expect("taken");

            let mut second = served.client().await;
            second.call(0, &ApiVersionsRequest::default(), served.soon()).await.expect("answered");
            assert_eq!(served.raw().await.frame().await, None, "two and no more");
            drop((only, second));
        },
    );
}

#[test]
fn an_idle_connection_is_closed() {
    World::new("idle").serve(
        |_, settings| settings.idle_max = Some(Duration::from_millis(50)),
        |served| async move {
            let mut raw = served.raw().await;

            assert_eq!(raw.frame().await, None);
        },
    );
}

#[test]
fn a_stop_ends_long_polls() {
    World::new("stop").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut raw = served.raw().await;
            raw.send([framed(12, 1, &metadata()), framed(12, 2, &long_poll())].concat()).await;
            raw.frame().await.expect("answered");

            assert!(served.server.stop(served.soon()).await);

            assert_eq!(raw.frame().await, None);
        },
    );
}

#[test]
fn a_produce_without_topics_is_answered_empty() {
    World::new("empty-produce").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            let request = ProduceRequest { acks: 1, ..ProduceRequest::default() };

            let response = client.call(3, &request, served.soon()).await.expect("answered");

            assert!(response.responses.is_empty());
        },
    );
}

#[test]
fn a_client_that_does_not_read_its_answers_is_closed() {
    World::new("slow-reader").serve(
        |_, settings| settings.idle_max = Some(Duration::from_millis(200)),
        |served| async move {
            let (_, raw) = asked_often(&served, 100).await;

            let at = served.soon();
            while served.server.connections() > 0 {
                assert!(Env::now(&served.env) < at, "every connection ends");
                Env::yield_now(&served.env).await;
            }
            drop(raw);
        },
    );
}

/// A record of 900 KB in the topic `t`, and who has written it.
async fn large_record(served: &Served) -> Client<TokioEnv> {
    served.topic("t", 1).await;
    let large = "x".repeat(900_000);
    let mut writer = served.client().await;
    let batch = batch(&[&large]);
    writer.produce(("t", 0), Acks::All, batch, served.soon()).await.expect("appended");
    writer
}

/// A [`large_record`], and a connection on which it was asked for `times` times.
async fn asked_often(served: &Served, times: i32) -> (Client<TokioEnv>, Raw) {
    let writer = large_record(served).await;
    let mut raw = served.raw().await;
    let asked: Vec<Bytes> = (0..times).map(|number| framed(12, number, &long_poll())).collect();
    raw.send(asked.concat()).await;
    (writer, raw)
}

#[test]
fn a_client_that_reads_slowly_but_steadily_gets_all_of_its_answers() {
    World::new("steady-reader").serve(
        |_, settings| settings.idle_max = Some(Duration::from_secs(1)),
        |served| async move {
            let (mut writer, mut raw) = asked_often(&served, 100).await;

            // All of it takes more than twice as long as a connection may be idle.
            for number in 0..100 {
                assert_eq!(raw.frame().await.as_ref().map(correlation), Some(number));
                let at = Env::now(&served.env).after(Duration::from_millis(25));
                while Env::now(&served.env) < at {
                    writer.call(12, &metadata(), served.soon()).await.expect("answered");
                }
            }
        },
    );
}

#[test]
fn a_client_that_does_not_read_holds_up_no_stop() {
    World::new("stop-slow-reader").serve(
        |_, _| {},
        |served| async move {
            let mut writer = large_record(&served).await;
            let mut raw = served.raw().await;
            let mut asked = BytesMut::new();
            let proposal = CreateTopicsRequest { validate_only: true, ..Default::default() };
            for number in 0..100 {
                asked.extend_from_slice(&framed(12, number, &long_poll()));
                asked.extend_from_slice(&framed(7, number, &proposal));
            }
            raw.send(asked.freeze()).await;
            let at = Env::now(&served.env).after(Duration::from_millis(500));
            while Env::now(&served.env) < at {
                writer.call(12, &metadata(), served.soon()).await.expect("answered");
            }

            let stopped = env::timeout_at(&served.env, served.soon(), served.broker.stop()).await;

            assert!(stopped.is_ok(), "what the request of a slow reader holds is given back");
            drop(raw);
        },
    );
}
