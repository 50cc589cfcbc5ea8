//! Topics that are made and deleted as nobody should ask it.

use base::Uuid;
use protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest};
use wire::ErrorCode;

use crate::world::World;

type Told = (Option<String>, ErrorCode, Option<String>);

fn told(name: Option<&str>, code: ErrorCode, message: &str) -> Told {
    (name.map(str::to_owned), code, Some(message.to_owned()))
}

fn wish(name: &str) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    }
}

async fn created(topics: Vec<CreatableTopic>, served: &crate::world::Served) -> Vec<Told> {
    let request = CreateTopicsRequest { topics, ..CreateTopicsRequest::default() };
    let answer = served.client().await.call(7, &request, served.soon()).await.expect("answered");
    let topics = answer.topics.into_iter();
    topics.map(|it| (Some(it.name), ErrorCode(it.error_code), it.error_message)).collect()
}

#[test]
fn a_name_that_is_asked_for_twice_is_answered_once_behind_the_others() {
    World::new("made-twice").serve(
        |_, _| {},
        |served| async move {
            let wishes = ["b", "a", "b", "c", "a", "a"].map(wish).to_vec();

            let got = created(wishes, &served).await;

            let twice = "Duplicate topic name.";
            let due = [
                (Some("c".to_owned()), ErrorCode::NONE, None),
                told(Some("a"), ErrorCode::INVALID_REQUEST, twice),
                told(Some("b"), ErrorCode::INVALID_REQUEST, twice),
            ];
            assert_eq!(got, due);
        },
    );
}

#[test]
fn an_assignment_leaves_both_counts_open() {
    World::new("made-by-hand").serve(
        |_, _| {},
        |served| async move {
            let at = CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![1] };
            let by_hand = CreatableTopic { assignments: vec![at], ..wish("t") };

            let both = created(vec![by_hand.clone()], &served).await;
            let count =
                created(vec![CreatableTopic { replication_factor: -1, ..by_hand }], &served).await;

            let words = |what| {
                let why = format!(
                    "A manual partition assignment was specified, but {what} was not set to -1."
                );
                [told(Some("t"), ErrorCode::INVALID_REQUEST, &why)]
            };
            assert_eq!(both, words("replication factor"));
            assert_eq!(count, words("numPartitions"));
        },
    );
}

#[test]
fn a_topic_to_be_deleted_is_named_in_one_way() {
    World::new("badly-named").serve(
        |_, _| {},
        |served| async move {
            let state = |name: Option<&str>, topic_id| DeleteTopicState {
                name: name.map(str::to_owned),
                topic_id,
            };
            let topics = vec![state(Some("t"), Uuid([7; 16])), state(None, Uuid::ZERO)];
            let request = DeleteTopicsRequest { topics, ..DeleteTopicsRequest::default() };

            let mut client = served.client().await;
            let answer = client.call(6, &request, served.soon()).await.expect("answered");

            let got: Vec<_> = answer
                .responses
                .into_iter()
                .map(|it| (it.name, ErrorCode(it.error_code), it.error_message))
                .collect();
            let due = [
                told(
                    Some("t"),
                    ErrorCode::INVALID_REQUEST,
                    "You may not specify both topic name and topic id.",
                ),
                told(None, ErrorCode::INVALID_REQUEST, "Neither topic name nor id were specified."),
            ];
            assert_eq!(got, due);
        },
    );
}
