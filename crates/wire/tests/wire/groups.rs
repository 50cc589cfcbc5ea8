//! Groups through the front door.

use base::Duration;
use bytes::Bytes;
use protocol::messages::FindCoordinatorRequest;
use wire::ErrorCode;
use wire::client::{Client, ClientError, CommittedOffset, Member};

use crate::world::{Served, World};

const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));

/// Asks until the coordinator's log is loaded.
async fn ready(served: &Served, client: &mut Client<env_tokio::TokioEnv>, group: &str) {
    loop {
        let found = client.find_coordinator(group, served.soon()).await;
        let offsets = client.committed_offsets(group, None, served.soon()).await;
        if found.is_ok() && offsets.is_ok() {
            return;
        }
        assert!(client.is_usable(), "{found:?} {offsets:?}");
    }
}

#[test]
fn a_consumer_joins_commits_and_leaves() {
    World::new("group").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 2).await;
            let mut client = served.client().await;
            ready(&served, &mut client, "g").await;
            let soon = served.soon();
            let mut member = Member::outside("g");
            let protocols = [("range", Bytes::from_static(b"subscription"))];

            let joined = client.join_group(&mut member, TIMEOUTS, &protocols, soon).await;
            let joined = joined.expect("joined");
            let assigned = vec![(member.id.clone(), Bytes::from_static(b"mine"))];
            let synced = client.sync_group(&member, "range", assigned, soon).await;
            client.heartbeat(&member, soon).await.expect("alive");
            let offset = CommittedOffset {
                topic: "t".to_owned(),
                partition: 1,
                offset: 42,
                metadata: "note".to_owned(),
            };
            let committed = client.commit_offsets(&member, std::slice::from_ref(&offset), soon);
            committed.await.expect("committed");

            assert_eq!(joined.leader, member.id);
            assert_eq!(joined.members.len(), 1);
            assert_eq!(synced.expect("synced"), "mine");
            let listed = client.list_groups(soon).await.expect("listed");
            assert_eq!(listed.len(), 1);
            assert_eq!((&*listed[0].group_id, &*listed[0].group_state), ("g", "Stable"));
            let described = client.describe_group("g", soon).await.expect("described");
            assert_eq!(described.members[0].client_host, "/127.0.0.1");
            assert_eq!(described.members[0].member_assignment, "mine");
            client.leave_group(&member, soon).await.expect("left");
            let kept = client.committed_offsets("g", None, soon).await.expect("kept");
            assert_eq!(kept, [offset]);
        },
    );
}

#[test]
fn what_cannot_be_committed_is_refused() {
    World::new("commit-refused").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut client = served.client().await;
            ready(&served, &mut client, "g").await;
            let soon = served.soon();
            let mut member = Member::outside("g");
            let offset = |topic: &str, partition| CommittedOffset {
                topic: topic.to_owned(),
                partition,
                offset: 1,
                metadata: String::new(),
            };

            let unknown = client.commit_offsets(&member, &[offset("t", 9)], soon).await;
            member.id = "nobody".to_owned();
            member.generation = 3;
            let stranger = client.heartbeat(&member, soon).await;
            let missing = client.describe_group("missing", soon).await;

            let code = |result: Result<(), ClientError>| result.expect_err("refused").code();
            assert_eq!(code(unknown), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
            assert_eq!(code(stranger), Some(ErrorCode::UNKNOWN_MEMBER_ID));
            assert_eq!(code(missing.map(drop)), Some(ErrorCode::GROUP_ID_NOT_FOUND));
        },
    );
}

#[test]
fn the_coordinator_of_a_transaction_is_refused_with_a_message() {
    World::new("tx-coordinator").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            let old = FindCoordinatorRequest {
                key: "tx".to_owned(),
                key_type: 1,
                ..FindCoordinatorRequest::default()
            };
            let new = FindCoordinatorRequest {
                coordinator_keys: vec!["tx".to_owned()],
                key_type: 1,
                ..FindCoordinatorRequest::default()
            };

            let old = client.call(2, &old, served.soon()).await.expect("answered");
            let new = client.call(6, &new, served.soon()).await.expect("answered");

            assert_eq!(old.error_code, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED.0);
            assert!(old.error_message.is_some());
            assert_eq!(new.coordinators[0].error_code, ErrorCode::INVALID_REQUEST.0);
            let message = new.coordinators[0].error_message.clone().expect("a message");
            assert!(message.contains("transactions"), "{message}");
        },
    );
}

#[test]
fn the_empty_group_has_a_coordinator_for_it_may_commit() {
    World::new("empty-group").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            ready(&served, &mut client, "").await;
            for version in [3, 6] {
                let keys = if version < 4 { Vec::new() } else { vec![String::new()] };
                let request = FindCoordinatorRequest {
                    coordinator_keys: keys,
                    ..FindCoordinatorRequest::default()
                };

                let answer = client.call(version, &request, served.soon()).await.expect("answered");

                let error = answer.coordinators.first().map_or(answer.error_code, |c| c.error_code);
                assert_eq!(ErrorCode(error), ErrorCode::NONE, "in version {version}");
            }
        },
    );
}
