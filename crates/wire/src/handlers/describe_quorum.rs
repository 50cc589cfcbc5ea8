//! DescribeQuorum: the one voter of the metadata log, which is this broker.
//!
//! Invariants: only the metadata log's one partition is described, and asked about anything else,
//! everything asked about is unknown; the voter has what is durable, and lags behind nobody.
//! Source: KIP-595, KIP-836, KIP-853.

use base::{Probe, Uuid};
use env::Env;
use protocol::messages::describe_quorum_request::TopicData as Asked;
use protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};

use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

const METADATA_TOPIC: &str = "__cluster_metadata";
/// Where nobody else can be elected there is one term.
const LEADER_EPOCH: i32 = 1;
/// The first version with messages, directories and nodes.
const NODES_VERSION_MIN: i16 = 2;
const UNKNOWN: &str = "This server does not host this topic-partition.";

pub(crate) fn handle<E: Env>(
    context: &Context<'_, E>,
    request: DescribeQuorumRequest,
) -> Outcome<FileOf<E>> {
    if !is_of_metadata(&request.topics) {
        context.probe().reached("describe_quorum_refused");
        let topics = request.topics.into_iter().map(|topic| unknown(context.version(), topic));
        return context.reply(&DescribeQuorumResponse {
            topics: topics.collect(),
            ..DescribeQuorumResponse::default()
        });
    }
    let (broker, settings) = (&context.shared.broker, &context.shared.settings);
    let view = broker.cluster();
    let home = broker.directories().into_iter().find(|dir| dir.is_metadata);
    let end = i64::try_from(view.metadata_index).unwrap_or(i64::MAX);
    let now = context.shared.env.wall().0;
    let has_nodes = context.version() >= NODES_VERSION_MIN;
    let directory = home.and_then(|dir| dir.dir_id).filter(|_| has_nodes);
    let voter = ReplicaState {
        replica_id: settings.node_id.0,
        replica_directory_id: directory.unwrap_or(Uuid::ZERO),
        log_end_offset: end,
        last_fetch_timestamp: now,
        last_caught_up_timestamp: now,
    };
    let partition = PartitionData {
        leader_id: settings.node_id.0,
        leader_epoch: LEADER_EPOCH,
        high_watermark: end,
        current_voters: vec![voter],
        ..PartitionData::default()
    };
    let topic = TopicData { topic_name: METADATA_TOPIC.to_owned(), partitions: vec![partition] };
    context.reply(&DescribeQuorumResponse {
        topics: vec![topic],
        nodes: if has_nodes { nodes(context) } else { Vec::new() },
        ..DescribeQuorumResponse::default()
    })
}

fn is_of_metadata(topics: &[Asked]) -> bool {
    let [topic] = topics else { return false };
    let [partition] = topic.partitions.as_slice() else { return false };
    topic.topic_name == METADATA_TOPIC && partition.partition_index == 0
}

fn unknown(version: i16, topic: Asked) -> TopicData {
    let message = (version >= NODES_VERSION_MIN).then(|| UNKNOWN.to_owned());
    let partitions = topic.partitions.into_iter().map(|asked| PartitionData {
        partition_index: asked.partition_index,
        error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0,
        error_message: message.clone(),
        ..PartitionData::default()
    });
    TopicData { partitions: partitions.collect(), topic_name: topic.topic_name }
}

/// Where the voter is reached: it has no listener of its own for that.
fn nodes<E: Env>(context: &Context<'_, E>) -> Vec<Node> {
    let node_id = context.shared.settings.node_id;
    let at = context.shared.advertised(node_id);
    let listener = at.map(|(host, port)| Listener {
        name: "PLAINTEXT".to_owned(),
        host: host.to_owned(),
        port: u16::try_from(port).unwrap_or(0),
    });
    vec![Node { node_id: node_id.0, listeners: listener.into_iter().collect() }]
}
