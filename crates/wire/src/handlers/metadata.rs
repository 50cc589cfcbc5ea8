//! Metadata: brokers, topics, partitions, and topics created by being named.
//!
//! Invariants: topic ids are never zero for topics that exist; a topic without an error has
//! partitions; topics are answered from one snapshot, taken after the topics that were missing have been
//! created. Source: KIP-516, KIP-526, KIP-700.

use std::collections::{BTreeMap, BTreeSet};

use base::{Probe, TopicId};
use broker::api::{ClusterView, PartitionView, TopicView};
use env::Env;
use protocol::messages::MetadataResponse;
use protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::views::{Elements, MetadataTopicView, MetadataView};

use super::answer::{Growth, TooLong};
use super::topics::{CLUSTER_OPERATIONS, NOT_ASKED, Placement, TOPIC_OPERATIONS};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// Topics that one request may create by naming them; further ones are unknown, and clients ask
/// again.
const AUTO_CREATED_MAX: usize = 64;

/// What a partition takes in an answer, with few replicas.
const PARTITION_BYTES: usize = 40;

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: MetadataView<'_>,
) -> Outcome<FileOf<E>> {
    let version = context.version();
    let operations =
        if request.include_topic_authorized_operations { TOPIC_OPERATIONS } else { NOT_ASKED };
    let broker = &context.shared.broker;
    let topics = match wanted(version, request.topics) {
        Wanted::All => {
            let view = broker.cluster();
            let all = view.topics.values().map(|topic| known(&view, topic, operations));
            gathered(context, all).await
        },
        Wanted::Refused(topics) => {
            context.probe().reached("metadata_ids_before_their_version");
            gathered(context, topics.map(refused)).await
        },
        Wanted::Ids(ids) => {
            let view = broker.cluster();
            let asked = ids.into_iter().map(|id| by_id(context, &view, id, operations));
            gathered(context, asked).await
        },
        Wanted::Names(names) => {
            let may_create = request.allow_auto_topic_creation || version < 4;
            let failures =
                if may_create { auto_create(context, &names).await } else { BTreeMap::new() };
            let view = broker.cluster();
            let answer = |name| by_name(context, &view, name, &failures, operations);
            gathered(context, names.into_iter().map(answer)).await
        },
    };
    let Ok(topics) = topics else { return context.too_long() };
    let cluster_operations = request.include_cluster_authorized_operations;
    context.reply(&MetadataResponse {
        topics,
        cluster_authorized_operations: if cluster_operations {
            CLUSTER_OPERATIONS
        } else {
            NOT_ASKED
        },
        ..cluster(context)
    })
}

/// All of these, by turns.
async fn gathered<E: Env>(
    context: &Context<'_, E>,
    each: impl Iterator<Item = MetadataResponseTopic>,
) -> Result<Vec<MetadataResponseTopic>, TooLong> {
    let mut growth = Growth::default();
    let mut topics = Vec::with_capacity(each.size_hint().0);
    for topic in each {
        let bytes = topic.name.as_ref().map_or(0, String::len);
        let bytes = bytes + topic.partitions.len() * PARTITION_BYTES;
        topics.push(topic);
        growth.by(context, bytes).await?;
    }
    Ok(topics)
}

/// What a request names.
enum Wanted<'a> {
    All,
    Names(Vec<&'a str>),
    Ids(Vec<TopicId>),
    /// Ids in a version whose answer has no room for them.
    Refused(Elements<'a, MetadataTopicView<'a>>),
}

fn wanted<'a>(version: i16, topics: Option<Elements<'a, MetadataTopicView<'a>>>) -> Wanted<'a> {
    let Some(topics) = topics else { return Wanted::All };
    if version == 0 && topics.len() == 0 {
        return Wanted::All;
    }
    let has_id = |topic: MetadataTopicView<'a>| !topic.topic_id.is_zero();
    if version < 12 && topics.clone().any(|topic| has_id(topic) || topic.name.is_none()) {
        return Wanted::Refused(topics);
    }
    if topics.clone().any(has_id) {
        let mut seen = BTreeSet::new();
        let ids = topics.map(|topic| topic.topic_id).filter(|id| !id.is_zero());
        return Wanted::Ids(ids.filter(|id| seen.insert(*id)).map(TopicId).collect());
    }
    let mut seen = BTreeSet::new();
    let names = topics.filter_map(|topic| topic.name);
    Wanted::Names(names.filter(|name| seen.insert(*name)).collect())
}

/// Brokers, cluster id and controller.
fn cluster<E: Env>(context: &Context<'_, E>) -> MetadataResponse {
    let view = context.shared.broker.cluster();
    let brokers = context.reachable(&view).map(|at| MetadataResponseBroker {
        node_id: at.id.0,
        host: at.host.to_owned(),
        port: at.port,
        rack: at.rack.map(str::to_owned),
    });
    MetadataResponse {
        brokers: brokers.collect(),
        cluster_id: Some(view.cluster_id.to_string()),
        controller_id: view.controller.0,
        ..MetadataResponse::default()
    }
}

/// Creates what is named and missing; returns what could not be, by name.
async fn auto_create<E: Env>(
    context: &Context<'_, E>,
    names: &[&str],
) -> BTreeMap<String, ErrorCode> {
    let broker = &context.shared.broker;
    if !broker.config().auto_create_topics {
        return BTreeMap::new();
    }
    let view = broker.cluster();
    let missing = |name: &&&str| !view.topics.contains_key(**name);
    let mut failures = BTreeMap::new();
    for name in names.iter().filter(missing).take(AUTO_CREATED_MAX) {
        match broker.auto_create(name).await {
            Ok(()) => context.probe().reached("topic_auto_created"),
            Err(error) => {
                context.probe().reached("topic_not_auto_created");
                failures.insert((*name).to_owned(), ErrorCode::from(&error));
            },
        }
    }
    failures
}

fn by_name<E: Env>(
    context: &Context<'_, E>,
    view: &ClusterView,
    name: &str,
    failures: &BTreeMap<String, ErrorCode>,
    operations: i32,
) -> MetadataResponseTopic {
    if let Some(topic) = view.topics.get(name) {
        return known(view, topic, operations);
    }
    context.probe().reached("metadata_unknown_topic");
    let error = match failures.get(name) {
        Some(error) => *error,
        None if broker::api::is_legal_name(name) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        None => ErrorCode::INVALID_TOPIC_EXCEPTION,
    };
    MetadataResponseTopic {
        error_code: error.0,
        name: Some(name.to_owned()),
        topic_authorized_operations: NOT_ASKED,
        ..MetadataResponseTopic::default()
    }
}

fn by_id<E: Env>(
    context: &Context<'_, E>,
    view: &ClusterView,
    id: TopicId,
    operations: i32,
) -> MetadataResponseTopic {
    if let Some(topic) = view.by_id.get(&id) {
        return known(view, topic, operations);
    }
    context.probe().reached("metadata_unknown_topic_id");
    MetadataResponseTopic {
        error_code: ErrorCode::UNKNOWN_TOPIC_ID.0,
        name: None,
        topic_id: id.0,
        ..MetadataResponseTopic::default()
    }
}

fn refused(topic: MetadataTopicView<'_>) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST.0,
        name: Some(topic.name.unwrap_or_default().to_owned()),
        topic_id: topic.topic_id,
        ..MetadataResponseTopic::default()
    }
}

fn known(view: &ClusterView, topic: &TopicView, operations: i32) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: ErrorCode::NONE.0,
        name: Some(topic.name.to_string()),
        topic_id: topic.id.0,
        is_internal: topic.internal,
        partitions: (0_i32..).zip(&topic.partitions).map(|(i, p)| partition(view, i, p)).collect(),
        topic_authorized_operations: operations,
    }
}

fn partition(view: &ClusterView, index: i32, placed: &PartitionView) -> MetadataResponsePartition {
    let placement = Placement::of(view, placed);
    MetadataResponsePartition {
        error_code: placement.error.0,
        partition_index: index,
        leader_id: placement.leader,
        leader_epoch: placed.leader_epoch.0,
        replica_nodes: placement.replicas,
        isr_nodes: placement.isr,
        offline_replicas: placement.offline,
    }
}
