//! The borrowed views against the owned decode: whatever the bytes, both read the same or both
//! refuse.
#![expect(clippy::expect_used, reason = "a test that cannot go on should say so")]

use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use proto::sample::{STYLES, Sampler, Style, encode};
use proto::schema::Message as Description;
use protocol::messages::{
    FetchRequest, MetadataRequest, OffsetCommitRequest, ProduceRequest, fetch_request,
    metadata_request, offset_commit_request, produce_request,
};
use protocol::views::{FetchView, MetadataView, OffsetCommitView, ProduceView};
use protocol::{DecodeError, Message, Reader, Records, Wire};

/// What both readings of a request have in common.
trait Hot: Message + std::fmt::Debug + PartialEq {
    fn by_view(frame: &Bytes, version: i16) -> Result<Self, DecodeError>;
}

impl Hot for ProduceRequest {
    fn by_view(frame: &Bytes, version: i16) -> Result<Self, DecodeError> {
        let view = ProduceView::read(&mut Reader::from(frame), version)?;
        let records = |r: Option<&[u8]>| r.map_or(Records::Null, |r| frame.slice_ref(r).into());
        let topics = view.topics.map(|topic| produce_request::TopicProduceData {
            name: topic.name.to_owned(),
            topic_id: topic.topic_id,
            partition_data: topic
                .partitions
                .map(|p| produce_request::PartitionProduceData {
                    index: p.index,
                    records: records(p.records),
                })
                .collect(),
        });
        Ok(Self {
            transactional_id: view.transactional_id.map(str::to_owned),
            acks: view.acks,
            timeout_ms: view.timeout_ms,
            topic_data: topics.collect(),
        })
    }
}

impl Hot for FetchRequest {
    fn by_view(frame: &Bytes, version: i16) -> Result<Self, DecodeError> {
        let view = FetchView::read(&mut Reader::from(frame), version)?;
        let partition = |p: protocol::views::FetchPartitionView| fetch_request::FetchPartition {
            partition: p.partition,
            current_leader_epoch: p.current_leader_epoch,
            fetch_offset: p.fetch_offset,
            last_fetched_epoch: p.last_fetched_epoch,
            log_start_offset: p.log_start_offset,
            partition_max_bytes: p.partition_max_bytes,
            replica_directory_id: p.replica_directory_id,
            high_watermark: p.high_watermark,
        };
        let topics = view.topics.map(|topic| fetch_request::FetchTopic {
            topic: topic.topic.to_owned(),
            topic_id: topic.topic_id,
            partitions: topic.partitions.map(partition).collect(),
        });
        let forgotten = view.forgotten_topics.map(|topic| fetch_request::ForgottenTopic {
            topic: topic.topic.to_owned(),
            topic_id: topic.topic_id,
            partitions: topic.partitions.collect(),
        });
        Ok(Self {
            cluster_id: view.cluster_id.map(str::to_owned),
            replica_id: view.replica_id,
            replica_state: view.replica_state,
            max_wait_ms: view.max_wait_ms,
            min_bytes: view.min_bytes,
            max_bytes: view.max_bytes,
            isolation_level: view.isolation_level,
            session_id: view.session_id,
            session_epoch: view.session_epoch,
            topics: topics.collect(),
            forgotten_topics_data: forgotten.collect(),
            rack_id: view.rack_id.to_owned(),
        })
    }
}

impl Hot for MetadataRequest {
    fn by_view(frame: &Bytes, version: i16) -> Result<Self, DecodeError> {
        let view = MetadataView::read(&mut Reader::from(frame), version)?;
        let topic =
            |t: protocol::views::MetadataTopicView<'_>| metadata_request::MetadataRequestTopic {
                topic_id: t.topic_id,
                name: t.name.map(str::to_owned),
            };
        Ok(Self {
            topics: view.topics.map(|topics| topics.map(topic).collect()),
            allow_auto_topic_creation: view.allow_auto_topic_creation,
            include_cluster_authorized_operations: view.include_cluster_authorized_operations,
            include_topic_authorized_operations: view.include_topic_authorized_operations,
        })
    }
}

impl Hot for OffsetCommitRequest {
    fn by_view(frame: &Bytes, version: i16) -> Result<Self, DecodeError> {
        let view = OffsetCommitView::read(&mut Reader::from(frame), version)?;
        let partition = |p: protocol::views::OffsetCommitPartitionView<'_>| {
            offset_commit_request::OffsetCommitRequestPartition {
                partition_index: p.partition_index,
                committed_offset: p.committed_offset,
                committed_leader_epoch: p.committed_leader_epoch,
                committed_metadata: p.committed_metadata.map(str::to_owned),
            }
        };
        let topics = view.topics.map(|topic| offset_commit_request::OffsetCommitRequestTopic {
            name: topic.name.to_owned(),
            topic_id: topic.topic_id,
            partitions: topic.partitions.map(partition).collect(),
        });
        Ok(Self {
            group_id: view.group_id.to_owned(),
            generation_id_or_member_epoch: view.generation_id_or_member_epoch,
            member_id: view.member_id.to_owned(),
            group_instance_id: view.group_instance_id.map(str::to_owned),
            retention_time_ms: view.retention_time_ms,
            topics: topics.collect(),
        })
    }
}

fn descriptions() -> Vec<Description> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let schemas = proto::read_schemas(&root).expect("the text files make sense");
    schemas.into_iter().flat_map(|schema| schema.messages).collect()
}

fn both<M: Hot>(frame: &Bytes, version: i16) -> bool {
    let owned = M::decode(&mut Reader::from(frame), version);
    let viewed = M::by_view(frame, version);
    assert_eq!(viewed, owned, "{} {version}", M::NAME);
    owned.is_ok()
}

/// Both readings of one sample, and of the same sample cut or with one byte changed.
fn check<M: Hot>(descriptions: &[Description], style: Style, seed: u64, harm: Option<(usize, u8)>) {
    let message = descriptions.iter().find(|d| d.name == M::NAME).expect("described");
    for version in message.versions.iter() {
        let values = Sampler::new(style, seed).message(message, version);
        for unknown_tags in [false, true] {
            let bytes = encode(message, version, &values, unknown_tags);
            assert!(both::<M>(&Bytes::from(bytes.clone()), version));
            let Some((at, byte)) = harm else { continue };
            let at = at % bytes.len();
            both::<M>(&Bytes::copy_from_slice(&bytes[..at]), version);
            let mut changed = bytes;
            changed[at] = byte;
            both::<M>(&Bytes::from(changed), version);
        }
    }
}

fn check_all(style: Style, seed: u64, harm: Option<(usize, u8)>) {
    let descriptions = descriptions();
    check::<ProduceRequest>(&descriptions, style, seed, harm);
    check::<FetchRequest>(&descriptions, style, seed, harm);
    check::<MetadataRequest>(&descriptions, style, seed, harm);
    check::<OffsetCommitRequest>(&descriptions, style, seed, harm);
}

#[test]
fn views_read_what_the_owned_decode_reads() {
    for style in STYLES {
        check_all(style, 7, None);
    }
}

#[test]
fn records_of_a_view_are_a_part_of_the_frame() {
    let descriptions = descriptions();
    let message = descriptions.iter().find(|d| d.name == "ProduceRequest").expect("described");
    let values = Sampler::new(Style::Full { elements: 1 }, 7).message(message, 13);
    let frame = Bytes::from(encode(message, 13, &values, false));

    let view = ProduceView::read(&mut Reader::from(&frame), 13).expect("valid");
    let records = view.topics.flat_map(|t| t.partitions).find_map(|p| p.records);

    let records = records.expect("one partition with records");
    assert!(frame.as_ptr_range().contains(&records.as_ptr()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn views_and_owned_decode_agree_on_any_bytes(
        seed in any::<u64>(),
        at in any::<usize>(),
        byte in any::<u8>(),
    ) {
        check_all(Style::Mixed, seed, Some((at, byte)));
    }
}

/// Produce requests of one batch of 100 bytes for each of so many partitions.
/// A body of `count` elements of `element` each, between `head` and nothing.
fn many(head: &[u8], count: u32, element: &[u8]) -> Bytes {
    [head, &count.to_be_bytes(), &element.repeat(usize::try_from(count).expect("few"))]
        .concat()
        .into()
}

#[test]
fn a_request_whose_answer_would_be_many_times_larger_is_refused_by_the_view_as_well() {
    let refused = |read: Result<(), DecodeError>| matches!(read, Err(DecodeError::Memory { .. }));
    let names = many(&[], 2_000_000, &[0, 3, b'a', b'b', b'c']);
    assert!(refused(MetadataView::read(&mut Reader::from(&names), 1).map(drop)));
    assert!(refused(MetadataRequest::decode(&mut Reader::from(&names), 1).map(drop)));
    let topic = [0, 0, 0, 1, 0, 1, b't'];
    let acks = [&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1][..], &topic].concat();
    let nothing = many(&acks, 2_500_000, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    assert!(refused(ProduceView::read(&mut Reader::from(&nothing), 3).map(drop)));
    assert!(refused(ProduceRequest::decode(&mut Reader::from(&nothing), 3).map(drop)));
    let head = [&[0xff; 4][..], &[0; 13], &topic].concat();
    let parts = many(&head, 600_000, &[0; 16]);
    assert!(refused(FetchView::read(&mut Reader::from(&parts), 4).map(drop)));
    let parts = many(&head, 40_000, &[0; 16]);
    assert!(FetchView::read(&mut Reader::from(&parts), 4).is_ok(), "a large consumer");
}

fn produce_frame(partitions: i32) -> Bytes {
    let partition_data = (0..partitions).map(|index| produce_request::PartitionProduceData {
        index,
        records: Bytes::from(vec![7; 100]).into(),
    });
    let topic = produce_request::TopicProduceData {
        name: "a-topic-of-some-length".to_owned(),
        partition_data: partition_data.collect(),
        ..Default::default()
    };
    let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..Default::default() };
    let mut writer = protocol::Writer::new();
    request.encode(&mut writer, 11).expect("encodes");
    writer.into_bytes().expect("all of it is in memory")
}

#[test]
fn views_and_owned_decodes_of_produce_requests_are_timed_side_by_side() {
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "the time is printed and nothing depends on it"
    )]
    fn nanos(mut read: impl FnMut() -> usize) -> u128 {
        const TIMES: u32 = 300;
        let mut took: Vec<_> = (0..9)
            .map(|_| {
                let begun = std::time::Instant::now();
                for _ in 0..TIMES {
                    std::hint::black_box(read());
                }
                begun.elapsed().as_nanos() / u128::from(TIMES)
            })
            .collect();
        took.sort_unstable();
        took[took.len() / 2]
    }
    for partitions in [1, 10, 100, 1000] {
        let frame = produce_frame(partitions);
        let owned = || {
            let request = ProduceRequest::decode(&mut Reader::from(&frame), 11).expect("decodes");
            let parts = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
            parts.map(|part| part.records.length()).sum::<usize>()
        };
        let view = || {
            let request = ProduceView::read(&mut Reader::from(&frame), 11).expect("decodes");
            let parts = request.topics.flat_map(|topic| topic.partitions);
            // As the handler does it: a slice of the frame for each.
            parts.map(|part| frame.slice_ref(part.records.unwrap_or_default()).len()).sum::<usize>()
        };
        let bytes = 100 * usize::try_from(partitions).expect("a few");
        assert_eq!((owned(), view()), (bytes, bytes), "both read all of it");
        let (owned, view) = (nanos(owned), nanos(view));
        println!("produce of {partitions} partitions: owned decode {owned} ns, view {view} ns");
    }
}
