//! Requests that come together, and those of which only the beginning comes.

use bytes::{BufMut, Bytes, BytesMut};
use env::Env;
use protocol::Records;
use protocol::frame::read_response;
use protocol::messages::ProduceRequest;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use records::{BatchBuilder, Compression, NewRecord};
use wire::ErrorCode;
use wire::client::TopicWish;

use crate::connections::{begun, correlation, hurries, metadata, produce_of, still_serves};
use crate::world::{World, batch, framed};

/// A request with one record for each partition of the topic `t`, of which there may be none.
fn produce_to(correlation: i32, acks: i16, partitions: &[i32]) -> Bytes {
    let part = |index| PartitionProduceData { index, records: Records::from(batch(&["x"])) };
    let partition_data = partitions.iter().copied().map(part).collect();
    let topic = TopicProduceData { name: "t".to_owned(), partition_data, ..Default::default() };
    let topic_data = vec![topic];
    let request = ProduceRequest { acks, timeout_ms: 30_000, topic_data, ..Default::default() };
    framed(11, correlation, &request)
}

/// The number of an answer to a produce, and the errors and offsets in it.
fn produced(frame: &Bytes) -> (i32, Vec<(i16, i64)>) {
    let (correlation, answer) = read_response::<ProduceRequest>(frame, 11).expect("an answer");
    let parts = answer.responses.into_iter().flat_map(|topic| topic.partition_responses);
    (correlation, parts.map(|part| (part.error_code, part.base_offset)).collect())
}

#[test]
fn produce_requests_that_came_together_are_written_together_and_answered_in_their_order() {
    World::new("together").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 2).await;
            let mut raw = served.raw().await;
            raw.send(produce_to(0, -1, &[0, 1])).await;
            raw.frame().await.expect("answered");
            let before = served.env.disk().write_calls();
            let sent = [
                produce_to(1, -1, &[0]),
                produce_to(2, 1, &[1, 0]),
                produce_to(3, -1, &[2]),
                produce_to(4, 0, &[0]),
                produce_to(5, -1, &[0]),
                framed(12, 6, &metadata()),
                produce_to(7, -1, &[1]),
                produce_to(8, -1, &[0]),
            ];

            raw.send(sent.concat()).await;

            let mut answers = Vec::new();
            for _ in 0..4 {
                answers.push(produced(&raw.frame().await.expect("answered")));
            }
            let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
            let expected = [
                (1, vec![(0, 1)]),
                (2, vec![(0, 1), (0, 2)]),
                (3, vec![(unknown, -1)]),
                (5, vec![(0, 4)]),
            ];
            assert_eq!(answers, expected);
            assert_eq!(correlation(&raw.frame().await.expect("answered")), 6);
            assert_eq!(produced(&raw.frame().await.expect("answered")), (7, vec![(0, 2)]));
            assert_eq!(produced(&raw.frame().await.expect("answered")), (8, vec![(0, 5)]));
            // Two for the first four, one for what came behind the one without an answer, two for the last two.
            assert_eq!(served.env.disk().write_calls() - before, 5);
        },
    );
}

#[test]
fn what_came_before_a_request_that_ends_its_connection_is_appended_and_answered() {
    World::new("together-ended").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let whole = produce_to(1, -1, &[0]);
            let cut = {
                let body = &whole[4..whole.len() - 20];
                let mut cut = BytesMut::new();
                cut.put_i32(i32::try_from(body.len()).expect("short"));
                cut.put_slice(body);
                cut.freeze()
            };
            let failing = produce_to(9, 0, &[7]);
            for last in [cut, failing] {
                let mut raw = served.raw().await;
                let behind = produce_to(3, -1, &[0]);

                raw.send([whole.clone(), produce_to(2, -1, &[0]), last, behind].concat()).await;

                assert_eq!(produced(&raw.frame().await.expect("answered")).0, 1);
                let (correlation, parts) = produced(&raw.frame().await.expect("answered"));
                assert_eq!((correlation, parts[0].0), (2, 0));
                assert_eq!(raw.frame().await, None);
            }
            let mut raw = served.raw().await;
            raw.send(whole).await;
            // Nothing that came behind the end of its connection is in the log.
            assert_eq!(produced(&raw.frame().await.expect("answered")), (1, vec![(0, 4)]));
        },
    );
}

#[test]
fn requests_that_are_begun_and_not_ended_hold_half_of_what_is_for_small_ones_and_are_hurried_beyond_it()
 {
    const BUFFER_BYTES: usize = 128 * 1024;
    World::new("begun").serve(
        |_, settings| hurries(settings),
        |served| async move {
            let begun = begun(60_000, 50_000);
            let used = || served.server.request_bytes_in_flight();
            let mut patient = Vec::new();
            for count in 1..=2 {
                let mut raw = served.raw().await;
                raw.send(begun.clone()).await;
                patient.push(raw);
                let at = served.soon();
                while used() < count * BUFFER_BYTES {
                    assert!(Env::now(&served.env) < at, "it is charged");
                    Env::yield_now(&served.env).await;
                }
            }

            for _ in 0..5 {
                let mut raw = served.raw().await;
                raw.send(begun.clone()).await;
                assert_eq!(raw.frame().await, None, "there is no more for those who only begin");
            }

            assert_eq!(used(), 2 * BUFFER_BYTES);
            still_serves(&served).await;
            drop(patient);
        },
    );
}

#[test]
fn a_small_request_that_comes_in_pieces_behind_a_large_one_is_served() {
    World::new("small-behind-large").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut raw = served.raw().await;
            let large = "x".repeat(150_001);
            raw.send(produce_of(&large)).await;
            raw.frame().await.expect("answered");
            let small = produce_of(&large[..9_000]);

            raw.send(small.slice(..5_000)).await;
            let at = served.soon();
            while served.server.request_bytes_in_flight() == 0 {
                assert!(Env::now(&served.env) < at, "what has begun is charged");
                Env::yield_now(&served.env).await;
            }
            raw.send(small.slice(5_000..)).await;

            raw.frame().await.expect("answered");
            still_serves(&served).await;
        },
    );
}

#[test]
fn nothing_behind_a_request_that_cannot_be_answered_is_answered() {
    World::new("together-too-long").serve(
        |_, _| {},
        |served| async move {
            // Each of its records is at fault, and each fault is told with the topic's long name.
            let name = "n".repeat(249);
            let compact = vec![("cleanup.policy".to_owned(), "compact".to_owned())];
            let wish = TopicWish { name: name.clone(), configs: compact, ..TopicWish::default() };
            served.client().await.create_topic(wish, served.soon()).await.expect("created");
            let mut builder = BatchBuilder::new().compression(Compression::Zstd);
            for _ in 0..1024 {
                builder.push(&NewRecord::default()).expect("small");
            }
            let faulty = builder.finish_bytes().expect("not empty");
            let to = |correlation: i32, records: &[Bytes]| {
                let part = |records: &Bytes| PartitionProduceData {
                    index: 0,
                    records: Records::from(records.clone()),
                };
                let partition_data = records.iter().map(part).collect();
                let topic =
                    TopicProduceData { name: name.clone(), partition_data, ..Default::default() };
                let topic_data = vec![topic];
                let request = ProduceRequest {
                    acks: -1,
                    timeout_ms: 30_000,
                    topic_data,
                    ..Default::default()
                };
                framed(11, correlation, &request)
            };
            let (too_long, other) =
                (to(1, &vec![faulty.clone(); 210]), to(2, std::slice::from_ref(&faulty)));
            served.topic("t", 1).await;
            let mut raw = served.raw().await;
            // Behind a request of that size one read brings both.
            raw.send(produce_of(&"x".repeat(450_000))).await;
            raw.frame().await.expect("answered");

            raw.send([too_long, other].concat()).await;

            assert_eq!(raw.frame().await, None, "no answer takes the place of another one");
        },
    );
}
