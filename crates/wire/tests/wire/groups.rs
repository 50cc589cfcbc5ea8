//! Groups through the front door.

use base::Duration;
use bytes::Bytes;
use protocol::messages::describe_client_quotas_request::ComponentData;
use protocol::messages::{
    DeleteGroupsRequest, DescribeClientQuotasRequest, FindCoordinatorRequest,
    ListConfigResourcesRequest, ListGroupsRequest,
};
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

#[test]
fn a_group_and_its_offsets_are_deleted_once_nobody_uses_them() {
    World::new("group-deletion").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            served.topic("u", 1).await;
            let mut client = served.client().await;
            ready(&served, &mut client, "g").await;
            let soon = served.soon();
            let mut member = Member::outside("g");
            // A consumer's metadata: version 0, the topic "t", no data of the user's.
            let subscription = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff");
            let protocols = [("range", subscription)];
            client.join_group(&mut member, TIMEOUTS, &protocols, soon).await.expect("joined");
            client.sync_group(&member, "range", Vec::new(), soon).await.expect("synced");
            let offset = |topic: &str| CommittedOffset {
                topic: topic.to_owned(),
                partition: 0,
                offset: 7,
                metadata: String::new(),
            };
            let both = [offset("t"), offset("u")];
            client.commit_offsets(&member, &both, soon).await.expect("committed");
            let place = |topic: &str, partition| (topic.to_owned(), partition);
            let places = [place("t", 0), place("t", 9), place("u", 0), place("nowhere", 0)];

            let early = client.delete_group("g", soon).await;
            let some = client.delete_offsets("g", &places, soon).await.expect("answered");
            client.leave_group(&member, soon).await.expect("left");
            let left = client.committed_offsets("g", None, soon).await.expect("left");
            let nobody = client.delete_offsets("nobody", &places[..1], soon).await;
            let unnamed = client.delete_offsets("", &places[..1], soon).await;
            client.delete_group("g", soon).await.expect("deleted");
            let again = client.delete_group("g", soon).await;

            let code = |result: Result<(), ClientError>| result.expect_err("refused").code();
            assert_eq!(code(early), Some(ErrorCode::NON_EMPTY_GROUP));
            assert_eq!(
                some,
                [
                    (place("t", 9), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                    (place("t", 0), ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC),
                    (place("nowhere", 0), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                    (place("u", 0), ErrorCode::NONE),
                ]
                .map(|((topic, partition), error)| (topic, partition, error))
            );
            assert_eq!(left, [offset("t")]);
            assert_eq!(code(nobody.map(drop)), Some(ErrorCode::GROUP_ID_NOT_FOUND));
            assert_eq!(code(unnamed.map(drop)), Some(ErrorCode::INVALID_GROUP_ID));
            assert_eq!(code(again), Some(ErrorCode::GROUP_ID_NOT_FOUND));
            let kept = client.committed_offsets("g", None, soon).await.expect("answered");
            assert_eq!(kept, []);
        },
    );
}

#[test]
fn many_groups_are_deleted_by_one_request_and_each_is_answered_once() {
    World::new("group-deletions").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut client = served.client().await;
            for group in ["g", "h"] {
                ready(&served, &mut client, group).await;
                let offset = CommittedOffset {
                    topic: "t".to_owned(),
                    partition: 0,
                    offset: 1,
                    metadata: String::new(),
                };
                let member = Member::outside(group);
                let committed = client.commit_offsets(&member, &[offset], served.soon()).await;
                committed.expect("committed");
            }
            let groups_names = ["g", "missing", "h", "g"].map(str::to_owned).to_vec();

            let request = DeleteGroupsRequest { groups_names };
            let answer = client.call(3, &request, served.soon()).await.expect("answered");

            let results = answer.results.iter().map(|one| (&*one.group_id, one.error_code));
            let missing = ErrorCode::GROUP_ID_NOT_FOUND.0;
            assert_eq!(results.collect::<Vec<_>>(), [("g", 0), ("missing", missing), ("h", 0)]);
            assert!(client.list_groups(served.soon()).await.expect("listed").is_empty());
        },
    );
}

#[test]
fn a_filter_of_quotas_that_cannot_be_is_refused_with_kafkas_words() {
    World::new("quotas").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            let part = |kind: &str, match_type, match_: Option<&str>| ComponentData {
                entity_type: kind.to_owned(),
                match_type,
                match_: match_.map(str::to_owned),
            };
            let exact = "Request specified MATCH_TYPE_EXACT, but set match string to null.";
            let default =
                "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.";
            let any = "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.";
            let (invalid, unsupported) =
                (ErrorCode::INVALID_REQUEST, ErrorCode::UNSUPPORTED_VERSION);
            let cases = [
                (vec![part("", 0, Some("a"))], invalid, "Invalid empty entity type."),
                (vec![part("team", 0, Some("a"))], unsupported, "Unsupported entity type team"),
                (vec![part("user", 0, None)], invalid, exact),
                (vec![part("user", 1, Some("a"))], invalid, default),
                (vec![part("user", 2, Some("a"))], invalid, any),
                (vec![part("user", 3, None)], invalid, "Unknown match type 3"),
                (
                    vec![part("user", 2, None), part("user", 2, None)],
                    invalid,
                    "Entity type user cannot appear more than once in the filter.",
                ),
                (
                    vec![part("ip", 2, None), part("user", 2, None)],
                    invalid,
                    "Invalid entity filter component combination. IP filter component should not \
                     be used with user or clientId filter component.",
                ),
            ];
            for (components, code, message) in cases {
                let request = DescribeClientQuotasRequest { components, strict: false };
                let answer = client.call(1, &request, served.soon()).await.expect("answered");
                assert_eq!(ErrorCode(answer.error_code), code, "{message}");
                assert_eq!(answer.error_message.as_deref(), Some(message));
                assert_eq!(answer.entries, None);
            }
        },
    );
}

#[test]
fn resources_of_a_kind_that_has_no_settings_are_not_listed() {
    World::new("resources").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            let request = ListConfigResourcesRequest { resource_types: vec![2, 3] };

            let answer = client.call(1, &request, served.soon()).await.expect("answered");

            assert_eq!(ErrorCode(answer.error_code), ErrorCode::UNSUPPORTED_VERSION);
            let all = ListConfigResourcesRequest::default();
            let answer = client.call(1, &all, served.soon()).await.expect("answered");
            let kinds = answer.config_resources.iter().map(|one| one.resource_type);
            assert_eq!(kinds.collect::<Vec<_>>(), [8, 4]);
        },
    );
}

/// A request of version `version` of `key`, whose header and body have compact lengths.
fn flexible(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut bytes = [key.to_be_bytes(), version.to_be_bytes()].concat();
    bytes.extend([0, 0, 0, 7, 0, 1, b'x', 0]);
    bytes.extend(body);
    [&u32::try_from(bytes.len()).expect("fits").to_be_bytes()[..], &bytes].concat()
}

#[test]
fn a_name_that_no_answer_could_hold_is_refused_where_it_comes_in() {
    // 40 000 bytes, in compact form.
    let name = [&[0xc1, 0xb8, 0x02][..], &[b'g'; 40_000]].concat();
    // A session and a rebalance of a minute, no member id, a protocol `range` of the type `consumer`.
    let times = 60_000_i32.to_be_bytes().repeat(2);
    let join = [&name, &times[..], b"\x01\x00\x09consumer\x02\x06range\x01\x00\x00"].concat();
    let key = b"\x02\x1cconsumer.session.timeout.ms\x00\x0650000\x00\x00\x00\x00";
    let alter = [&b"\x02\x20"[..], &name, key].concat();
    World::new("long-names").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            ready(&served, &mut client, "g").await;
            for request in [flexible(11, 6, &join), flexible(44, 1, &alter)] {
                let mut raw = served.raw().await;
                raw.send(request).await;
                assert_eq!(raw.frame().await, None);
            }
            let soon = served.soon();
            let groups = client.call(4, &ListGroupsRequest::default(), soon).await;
            assert_eq!(groups.expect("answered").groups, []);
            let request = ListConfigResourcesRequest::default();
            client.call(1, &request, soon).await.expect("answered");
        },
    );
}
