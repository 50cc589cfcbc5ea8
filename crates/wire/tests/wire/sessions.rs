//! Fetch sessions through the front door.

use base::{Duration, Uuid};
use broker::api::Acks;
use bytes::Bytes;
use env::Env;
use env_tokio::TokioEnv;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use protocol::messages::fetch_response::PartitionData;
use protocol::messages::{FetchRequest, FetchResponse};
use wire::client::Client;
use wire::{ErrorCode, SessionCounts};

use crate::world::{Served, World, batch, framed, values};

const BY_NAME: i16 = 12;
const BY_ID: i16 = 18;

/// A request of a session: its id, its epoch, and (partition, offset) of topic `t`.
fn request((id, epoch): (i32, i32), wanted: &[(i32, i64)]) -> FetchRequest {
    let partitions = wanted.iter().map(|(partition, fetch_offset)| FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    });
    let topic =
        FetchTopic { topic: "t".into(), partitions: partitions.collect(), ..FetchTopic::default() };
    FetchRequest {
        session_id: id,
        session_epoch: epoch,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: if wanted.is_empty() { Vec::new() } else { vec![topic] },
        ..FetchRequest::default()
    }
}

fn forgetting(mut request: FetchRequest, partitions: &[i32]) -> FetchRequest {
    request.forgotten_topics_data = vec![ForgottenTopic {
        topic: "t".into(),
        partitions: partitions.to_vec(),
        ..ForgottenTopic::default()
    }];
    request
}

/// One client of a broker with topic `t` of so many partitions.
struct Fetcher {
    served: Served,
    client: Client<TokioEnv>,
}

impl Fetcher {
    async fn new(served: Served, partitions: i32) -> Self {
        served.topic("t", partitions).await;
        let client = served.client().await;
        Self { served, client }
    }

    async fn fetch(&mut self, request: &FetchRequest) -> FetchResponse {
        self.fetch_as(BY_NAME, request).await
    }

    async fn fetch_as(&mut self, version: i16, request: &FetchRequest) -> FetchResponse {
        self.client.call(version, request, self.served.soon()).await.expect("answered")
    }

    async fn produce(&mut self, partition: i32, value: &str) {
        let soon = self.served.soon();
        let sent = self.client.produce(("t", partition), Acks::All, batch(&[value]), soon).await;
        assert!(sent.expect("written").is_some());
    }

    async fn delete(&mut self) {
        self.client.delete_topic("t", self.served.soon()).await.expect("deleted");
    }
}

fn parts(response: &FetchResponse) -> Vec<&PartitionData> {
    response.responses.iter().flat_map(|topic| &topic.partitions).collect()
}

/// Partition and number of records of each partition that is named.
fn named(response: &FetchResponse) -> Vec<(i32, usize)> {
    let count = |part: &PartitionData| {
        let bytes = part.records.as_bytes().cloned().unwrap_or_default();
        (part.partition_index, values(bytes, 0).len())
    };
    parts(response).into_iter().map(count).collect()
}

fn code(response: &FetchResponse) -> ErrorCode {
    ErrorCode(response.error_code)
}

#[test]
fn a_session_names_only_what_has_changed() {
    World::new("session-changes").serve(
        |_, _| {},
        |served| async move {
            let mut it = Fetcher::new(served, 3).await;
            let full = it.fetch(&request((0, 0), &[(0, 0), (1, 0), (2, 0)])).await;
            let id = full.session_id;
            assert!(id > 0);
            assert_eq!(named(&full), [(0, 0), (1, 0), (2, 0)]);

            assert_eq!(named(&it.fetch(&request((id, 1), &[])).await), []);
            it.produce(1, "a").await;
            let news = it.fetch(&request((id, 2), &[])).await;
            assert_eq!((news.session_id, named(&news)), (id, vec![(1, 1)]));
            let again = it.fetch(&request((id, 3), &[])).await;
            assert_eq!(named(&again), [(1, 1)], "it has not said that it has it");
            assert_eq!(named(&it.fetch(&request((id, 4), &[(1, 1)])).await), []);

            it.produce(2, "b").await;
            let beyond = it.fetch(&request((id, 5), &[(2, 1)])).await;
            assert_eq!(named(&beyond), [(2, 0)], "a new high watermark is news without records");
            assert_eq!(named(&it.fetch(&request((id, 6), &[])).await), []);
        },
    );
}

#[test]
fn what_was_served_is_served_last_the_next_time() {
    World::new("session-order").serve(
        |_, _| {},
        |served| async move {
            let mut it = Fetcher::new(served, 2).await;
            for value in ["a", "b", "c"] {
                it.produce(0, value).await;
                it.produce(1, value).await;
            }
            let small = |mut request: FetchRequest| {
                request.max_bytes = 1;
                request
            };
            let first = it.fetch(&small(request((0, 0), &[(0, 0), (1, 0)]))).await;
            assert_eq!(named(&first), [(0, 1), (1, 0)]);
            let mut served = Vec::new();
            let mut next = [1, 0];
            let mut wanted = vec![(0, 1)];
            for epoch in 1..=4 {
                let answer = it.fetch(&small(request((first.session_id, epoch), &wanted))).await;
                let (index, records) = named(&answer)[0];
                assert_eq!((named(&answer).len(), records), (1, 1));
                let at = usize::try_from(index).unwrap();
                next[at] += 1;
                wanted = vec![(index, next[at])];
                served.push(index);
            }
            assert_eq!(served, [0, 1, 0, 1]);
        },
    );
}

#[test]
fn a_fetch_in_a_session_waits_for_everything_that_is_in_it() {
    World::new("session-waits").serve(
        |_, _| {},
        |served| async move {
            let mut it = Fetcher::new(served, 2).await;
            let id = it.fetch(&request((0, 0), &[(0, 0), (1, 0)])).await.session_id;
            let mut poll = request((id, 1), &[]);
            poll.max_wait_ms = 15_000;
            let mut raw = it.served.raw().await;
            raw.send(framed(BY_NAME, 1, &poll)).await;
            it.produce(1, "a").await;

            assert_eq!(named(&response(raw.frame().await.unwrap())), [(1, 1)]);
        },
    );
}

fn response(frame: Bytes) -> FetchResponse {
    protocol::frame::read_response::<FetchRequest>(&frame, BY_NAME).expect("an answer").1
}

#[test]
fn a_request_that_does_not_fit_its_session_is_refused_and_harms_nothing() {
    World::new("session-misfits").serve(
        |_, _| {},
        |served| async move {
            let mut it = Fetcher::new(served, 1).await;
            let id = it.fetch(&request((0, 0), &[(0, 0)])).await.session_id;
            let other = if id == 1 { 2 } else { 1 };
            let cases = [
                (BY_NAME, (other, 1), ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
                (BY_NAME, (-1, 1), ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
                (BY_NAME, (0, 1), ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
                (BY_NAME, (id, 2), ErrorCode::INVALID_FETCH_SESSION_EPOCH),
                (BY_NAME, (id, -2), ErrorCode::INVALID_FETCH_SESSION_EPOCH),
                (BY_ID, (id, 1), ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR),
            ];
            for (version, session, error) in cases {
                let refused = it.fetch_as(version, &request(session, &[(0, 0)])).await;
                assert_eq!((code(&refused), refused.session_id), (error, 0), "{session:?}");
                assert_eq!(named(&refused), []);
            }
            let right = it.fetch(&request((id, 1), &[])).await;
            assert_eq!((code(&right), right.session_id), (ErrorCode::NONE, id));
            let twice = it.fetch(&request((id, 1), &[])).await;
            assert_eq!(code(&twice), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        },
    );
}

#[test]
fn what_is_forgotten_is_answered_no_more_and_an_empty_session_ends() {
    World::new("session-forgets").serve(
        |_, _| {},
        |served| async move {
            let mut it = Fetcher::new(served, 2).await;
            let id = it.fetch(&request((0, 0), &[(0, 0), (1, 0)])).await.session_id;
            it.produce(0, "a").await;
            it.produce(1, "a").await;
            let rest = it.fetch(&forgetting(request((id, 1), &[]), &[0, 7])).await;
            assert_eq!(named(&rest), [(1, 1)]);
            assert_eq!(it.served.server.fetch_sessions().partitions, 1);

            let none = it.fetch(&forgetting(request((id, 2), &[]), &[1])).await;
            assert_eq!((code(&none), none.session_id), (ErrorCode::NONE, 0));
            assert_eq!(named(&none), []);
            let gone = it.fetch(&request((id, 3), &[])).await;
            assert_eq!(code(&gone), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
            assert_eq!(it.served.server.fetch_sessions(), SessionCounts::default());
        },
    );
}

#[test]
fn a_full_request_ends_the_session_that_it_names() {
    World::new("session-ends").serve(
        |_, _| {},
        |served| async move {
            let mut it = Fetcher::new(served, 1).await;
            let first = it.fetch(&request((0, 0), &[(0, 0)])).await.session_id;
            let second = it.fetch(&request((first, 0), &[(0, 0)])).await.session_id;
            assert!(second > 0);
            let gone = it.fetch(&request((first, 1), &[])).await;
            assert_eq!(code(&gone), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);

            let last = it.fetch(&request((second, -1), &[(0, 0)])).await;
            assert_eq!((last.session_id, named(&last)), (0, vec![(0, 0)]));
            assert_eq!(it.served.server.fetch_sessions().sessions, 0);

            let empty = it.fetch(&request((0, 0), &[])).await;
            let added = it.fetch(&request((empty.session_id, 1), &[(0, 0)])).await;
            assert_eq!(named(&added), [(0, 0)], "a session may begin with nothing");
        },
    );
}

#[test]
fn an_answer_that_was_overtaken_says_so_and_nothing_else() {
    World::new("session-overtaken").serve(
        |_, _| {},
        |served| async move {
            let mut it = Fetcher::new(served, 1).await;
            let id = it.fetch(&request((0, 0), &[(0, 0)])).await.session_id;
            let mut poll = request((id, 1), &[]);
            poll.max_wait_ms = 15_000;
            let mut raw = it.served.raw().await;
            raw.send(framed(BY_NAME, 1, &poll)).await;
            let deadline = it.served.soon();
            loop {
                // As soon as the other request is taken in.
                let overtaking = it.fetch(&request((id, 2), &[])).await;
                if code(&overtaking) == ErrorCode::NONE {
                    break;
                }
                assert!(it.served.env.now() < deadline, "the first request is taken in");
            }
            it.produce(0, "a").await;

            let late = response(raw.frame().await.unwrap());
            assert_eq!(code(&late), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
            assert_eq!((late.session_id, named(&late)), (id, Vec::new()));
        },
    );
}

#[test]
fn without_room_everything_is_answered_each_time() {
    World::new("session-room").serve(
        |_, settings| settings.fetch_sessions_max = 1,
        |served| async move {
            let mut it = Fetcher::new(served, 1).await;
            let id = it.fetch(&request((0, 0), &[(0, 0)])).await.session_id;
            for _ in 0..2 {
                let full = it.fetch(&request((0, 0), &[(0, 0)])).await;
                assert_eq!((full.session_id, named(&full)), (0, vec![(0, 0)]));
            }
            assert_eq!(code(&it.fetch(&request((id, 1), &[])).await), ErrorCode::NONE);
        },
    );
}

#[test]
fn a_session_that_nobody_used_for_long_makes_room() {
    World::new("session-idle").serve(
        |_, settings| {
            settings.fetch_sessions_max = 1;
            settings.fetch_session_idle_min = Duration::ZERO;
        },
        |served| async move {
            let mut it = Fetcher::new(served, 1).await;
            let first = it.fetch(&request((0, 0), &[(0, 0)])).await.session_id;
            let second = it.fetch(&request((0, 0), &[(0, 0)])).await.session_id;
            assert!(second > 0);
            let gone = it.fetch(&request((first, 1), &[])).await;
            assert_eq!(code(&gone), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
            assert_eq!(it.served.server.fetch_sessions().evicted, 1);
        },
    );
}

#[test]
fn a_session_that_grows_beyond_the_room_ends() {
    World::new("session-grows").serve(
        |_, settings| settings.fetch_session_bytes_max = 1_000,
        |served| async move {
            let mut it = Fetcher::new(served, 9).await;
            let id = it.fetch(&request((0, 0), &[(0, 0)])).await.session_id;
            assert!(id > 0);
            let many: Vec<(i32, i64)> = (0..9).map(|index| (index, 0)).collect();
            let grown = it.fetch(&request((id, 1), &many)).await;
            assert_eq!(code(&grown), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
            let full = it.fetch(&request((0, 0), &many)).await;
            assert_eq!((full.session_id, named(&full).len()), (0, 9));
        },
    );
}

#[test]
fn a_topic_that_is_gone_is_told_by_what_the_session_knew_of_it() {
    World::new("session-ids").serve(
        |_, _| {},
        |served| async move {
            let mut it = Fetcher::new(served, 1).await;
            let id = it.served.broker.cluster().topics["t"].id.0;
            let of = |mut request: FetchRequest, id: Uuid| {
                request.topics.iter_mut().for_each(|topic| topic.topic_id = id);
                request
            };
            let full = of(request((0, 0), &[(0, 0)]), id);
            let session = it.fetch_as(BY_ID, &full).await.session_id;
            let told = |answer: &FetchResponse| {
                parts(answer).iter().map(|part| ErrorCode(part.error_code)).collect::<Vec<_>>()
            };
            it.delete().await;
            let gone = it.fetch_as(BY_ID, &request((session, 1), &[])).await;
            assert_eq!(told(&gone), [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
            assert_eq!(gone.responses[0].topic_id, id);
            let nobody = it.fetch_as(BY_ID, &full).await;
            assert_eq!(told(&nobody), [ErrorCode::UNKNOWN_TOPIC_ID]);

            it.served.topic("t", 1).await;
            let other = it.fetch_as(BY_ID, &request((session, 2), &[])).await;
            assert_eq!(told(&other), [ErrorCode::INCONSISTENT_TOPIC_ID]);
        },
    );
}

#[test]
fn what_is_unknown_is_told_last_and_does_not_end_the_wait() {
    World::new("fetch-unknown").serve(
        |_, _| {},
        |served| async move {
            let mut it = Fetcher::new(served, 1).await;
            let mut poll = request((0, -1), &[(5, 0), (0, 0)]);
            poll.max_wait_ms = 15_000;
            let mut raw = it.served.raw().await;
            raw.send(framed(BY_NAME, 1, &poll)).await;
            it.produce(0, "a").await;

            let answer = response(raw.frame().await.unwrap());
            assert_eq!(named(&answer), [(0, 1), (5, 0)]);
            assert_eq!(parts(&answer)[1].error_code, 3);
            assert_eq!(answer.responses.len(), 1);

            poll.topics[0].partitions.remove(1);
            let alone = it.fetch(&poll).await;
            assert_eq!(named(&alone), [(5, 0)], "with nothing to wait for there is no wait");
        },
    );
}

#[test]
fn a_partition_named_twice_is_answered_once() {
    World::new("fetch-twice").serve(
        |_, _| {},
        |served| async move {
            let mut it = Fetcher::new(served, 2).await;
            it.produce(0, "a").await;
            let twice = it.fetch(&request((0, -1), &[(0, 9), (1, 0), (0, 0)])).await;
            assert_eq!(named(&twice), [(0, 1), (1, 0)], "as it was named last");
        },
    );
}
