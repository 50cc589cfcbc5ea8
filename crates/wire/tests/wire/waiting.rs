//! What requests that wait hold of what others need.

use base::Duration;
use broker::api::Acks;
use bytes::Bytes;
use env::Env;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use protocol::messages::{FetchRequest, JoinGroupRequest, join_group_request};

use crate::world::{Raw, Served, World, batch, framed};

/// A fetch that waits for ever, with `padding` numbers that mean nothing.
fn padded_poll(padding: usize) -> Bytes {
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    let request = FetchRequest {
        max_wait_ms: i32::MAX,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: "t".to_owned(),
            partitions: vec![partition],
            ..FetchTopic::default()
        }],
        forgotten_topics_data: vec![ForgottenTopic {
            topic: "x".to_owned(),
            partitions: vec![0; padding],
            ..ForgottenTopic::default()
        }],
        ..FetchRequest::default()
    };
    framed(11, 1, &request)
}

/// A join that waits for the other member of the group, which does not come again.
fn padded_join(padding: usize) -> Bytes {
    let protocol = join_group_request::JoinGroupRequestProtocol {
        name: "range".to_owned(),
        metadata: vec![0; padding].into(),
    };
    let request = JoinGroupRequest {
        group_id: "g".to_owned(),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    };
    framed(2, 1, &request)
}

/// Sends a request in two pieces, with the broker holding the first, and returns when the broker
/// holds nothing of it any more although it has not answered.
async fn sent_and_waiting(served: &Served, request: Bytes) -> Raw {
    let mut raw = served.raw().await;
    let held = || served.server.request_bytes_in_flight();
    raw.send(request.slice(..request.len() - 1)).await;
    let sent = request.len() - 1024;
    until(served, "the request has come", || held() >= sent).await;
    raw.send(request.slice(request.len() - 1..)).await;
    until(served, "the request gives its bytes back and waits", || held() == 0).await;
    raw
}

async fn until(served: &Served, what: &str, reached: impl Fn() -> bool) {
    let deadline = served.soon();
    while !reached() {
        assert!(served.env.now() < deadline, "{what}");
        served.env.yield_now().await;
    }
}

#[test]
fn long_polls_hold_nothing_of_the_budget_while_they_wait() {
    World::new("polls").serve(
        |_, settings| {
            settings.request_bytes_max = 1024 * 1024;
            settings.request_bytes_in_flight_max = 2 * 1024 * 1024;
        },
        |served| async move {
            served.topic("t", 1).await;
            served.topic("u", 1).await;
            let mut waiting = Vec::new();
            for _ in 0..3 {
                waiting.push(sent_and_waiting(&served, padded_poll(225_000)).await);
            }
            for _ in 0..20 {
                let mut raw = served.raw().await;
                raw.send(padded_poll(16_000)).await;
                waiting.push(raw);
            }
            let mut writer = served.client().await;
            for value in ["x".repeat(900_000), "x".to_owned()] {
                let produced = writer.produce(("u", 0), Acks::All, batch(&[&value]), served.soon());
                assert!(produced.await.is_ok(), "{} bytes", value.len());
            }
            writer.produce(("t", 0), Acks::All, batch(&["a"]), served.soon()).await.unwrap();
            for mut raw in waiting {
                assert!(raw.frame().await.is_some(), "answered as soon as there is a record");
            }
        },
    );
}

#[test]
fn joins_hold_nothing_of_the_budget_while_they_wait() {
    World::new("joins").serve(
        |config, settings| {
            // The first round of a group waits this long for its members.
            config.group_initial_rebalance_delay = Duration::from_secs(3_600);
            settings.request_bytes_max = 1024 * 1024;
            settings.request_bytes_in_flight_max = 2 * 1024 * 1024;
        },
        |served| async move {
            let mut waiting = Vec::new();
            for _ in 0..3 {
                waiting.push(sent_and_waiting(&served, padded_join(900_000)).await);
            }
        },
    );
}
