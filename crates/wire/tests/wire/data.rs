//! Records through the front door.

use base::Duration;
use broker::api::Acks;
use env::Env;
use protocol::Records;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{FetchRequest, InitProducerIdRequest, ProduceRequest};
use wire::ErrorCode;
use wire::client::{ClientError, Read, WhichOffset};

use crate::world::{World, batch, values};

#[test]
fn what_was_produced_is_fetched() {
    World::new("round-trip").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut client = served.client().await;
            let soon = served.soon();

            let first = client.produce(("t", 0), Acks::All, batch(&["a", "b"]), soon).await;
            let second = client.produce(("t", 0), Acks::Leader, batch(&["c"]), soon).await;
            let silent = client.produce(("t", 0), Acks::None, batch(&["d"]), soon).await;
            let latest = client.list_offset(("t", 0), WhichOffset::Latest, soon).await;

            assert_eq!(first.expect("all").expect("answered").base_offset, 0);
            assert_eq!(second.expect("leader").expect("answered").base_offset, 2);
            assert_eq!(silent.expect("none"), None);
            assert_eq!(latest.expect("latest"), Some(4));
            let read = Read::from(1, Duration::ZERO);
            let read = client.fetch(("t", 0), read, soon).await.expect("fetched");
            assert_eq!(read.high_watermark, 4);
            assert_eq!(values(read.bytes, 1), ["b", "c", "d"]);
        },
    );
}

#[test]
fn a_long_poll_is_answered_by_the_next_produce() {
    World::new("long-poll").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let (mut reader, mut writer) = (served.client().await, served.client().await);
            let soon = served.soon();
            let (told, tells) = tokio::sync::oneshot::channel();
            served.env.spawn("reader", async move {
                let read = Read::from(0, Duration::from_secs(15));
                drop(told.send(reader.fetch(("t", 0), read, soon).await));
            });

            writer.produce(("t", 0), Acks::All, batch(&["a"]), soon).await.expect("appended");

            let read = tells.await.expect("told").expect("fetched");
            assert_eq!(values(read.bytes, 0), ["a"]);
        },
    );
}

#[test]
fn a_refused_batch_says_why() {
    World::new("refused").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut client = served.client().await;
            let soon = served.soon();
            let two = [batch(&["a"]), batch(&["b"])].concat();
            let cases = [
                (("t", 0), vec![0; 70], ErrorCode::CORRUPT_MESSAGE),
                (("t", 0), Vec::new(), ErrorCode::INVALID_RECORD),
                (("t", 0), two, ErrorCode::INVALID_RECORD),
                (("t", 7), batch(&["a"]).to_vec(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                (("t", -1), batch(&["a"]).to_vec(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                (("no", 0), batch(&["a"]).to_vec(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            ];
            for (at, bytes, code) in cases {
                let refused = client.produce(at, Acks::All, bytes.into(), soon).await;

                let error = refused.expect_err("refused");
                assert_eq!(error.code(), Some(code), "{at:?}: {error}");
            }
        },
    );
}

#[test]
fn an_error_without_acks_closes_the_connection() {
    World::new("acks-0").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            let soon = served.soon();

            let sent = client.produce(("no", 0), Acks::None, batch(&["a"]), soon).await;

            assert_eq!(sent.expect("sent"), None);
            let next = client.metadata(None, soon).await.expect_err("closed");
            assert!(matches!(next, ClientError::Closed | ClientError::Io(_)), "{next}");
        },
    );
}

#[test]
fn acks_that_do_not_exist_are_refused_after_the_batch_was_looked_at() {
    World::new("acks-7").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 2).await;
            let mut client = served.client().await;
            let part = |index, bytes: Vec<u8>| PartitionProduceData {
                index,
                records: Records::Bytes(bytes.into()),
            };
            let request = ProduceRequest {
                acks: 7,
                topic_data: vec![TopicProduceData {
                    name: "t".to_owned(),
                    partition_data: vec![part(0, batch(&["a"]).to_vec()), part(1, vec![0; 70])],
                    ..TopicProduceData::default()
                }],
                ..ProduceRequest::default()
            };

            let response = client.call(11, &request, served.soon()).await.expect("answered");

            let codes: Vec<i16> =
                response.responses[0].partition_responses.iter().map(|p| p.error_code).collect();
            assert_eq!(codes, [21, 2]);
        },
    );
}

#[test]
fn a_fetch_session_that_does_not_exist_is_refused() {
    World::new("session").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            let request =
                FetchRequest { session_id: 5, session_epoch: 3, ..FetchRequest::default() };

            let response = client.call(12, &request, served.soon()).await.expect("answered");

            assert_eq!(response.error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0);
            assert_eq!(response.session_id, 0);
        },
    );
}

#[test]
fn a_transactional_id_fails_at_once() {
    World::new("transactional").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            let request = InitProducerIdRequest {
                transactional_id: Some("tx".to_owned()),
                ..InitProducerIdRequest::default()
            };

            let response = client.call(5, &request, served.soon()).await.expect("answered");
            let plain = client.init_producer_id(served.soon()).await;

            let code = ErrorCode(response.error_code);
            assert_eq!(code, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
            assert_eq!((response.producer_id, response.producer_epoch), (-1, -1));
            assert!(plain.expect("an id").0.0 >= 0);
        },
    );
}
