//! One handler per API: Kafka's message in, a question to the broker, Kafka's message out.
//!
//! Owns: which APIs are served. Invariants: what is advertised is served in every version (but for
//! Produce 0 to 2, which Kafka advertises for librdkafka's sake and refuses as well); a handler
//! answers every element of its request, once where it may be long and is named twice, and does work
//! proportional to it, by turns if that is much ([`answer`]); the hot requests are read through views, which allocate nothing; nothing that a handler leaves behind keeps a request's
//! bytes alive.

mod alter_configs;
pub(crate) mod answer;
pub(crate) mod api_versions;
mod config_resources;
mod configs;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod elect_leaders;
mod end_of_epochs;
mod fetch;
mod find_coordinator;
mod group_admin;
mod group_deletion;
mod init_producer_id;
mod list_offsets;
mod log_dirs;
mod membership;
mod metadata;
mod offset_commit;
mod offset_fetch;
pub(crate) mod produce;
mod quotas;
mod reassignments;
mod sasl;
mod topics;
mod transactions;

use std::pin::pin;

use env::Env;
use protocol::views::{MetadataView, OffsetCommitView};
use protocol::{ApiKey, DecodeError, Reader, Request};

use crate::dispatch::{Context, Outcome};
use crate::server::{FileOf, Frame};

/// The APIs of this version, by number.
pub(crate) const SERVED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::SaslHandshake,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::DescribeLogDirs,
    ApiKey::SaslAuthenticate,
    ApiKey::CreatePartitions,
    ApiKey::DeleteGroups,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::OffsetDelete,
    ApiKey::DescribeClientQuotas,
    ApiKey::DescribeQuorum,
    ApiKey::DescribeCluster,
    ApiKey::DescribeProducers,
    ApiKey::DescribeTransactions,
    ApiKey::ListTransactions,
    ApiKey::ListConfigResources,
    ApiKey::DescribeTopicPartitions,
];

/// The range in which `key` is advertised, if it is served.
pub(crate) fn advertised(key: ApiKey) -> Option<(i16, i16)> {
    if SERVED.contains(&key) { key.advertised() } else { None }
}

/// Whether a request is handled, rather than its connection closed.
pub(crate) fn serves(key: ApiKey, version: i16) -> bool {
    let advertised = advertised(key);
    advertised.is_some_and(|(min, max)| min <= version && version <= max)
        && key.has_version(version)
}

/// Handles a request that is [served](serves); `body` is what stands behind its header.
///
/// # Errors
/// [`DecodeError`] if the body does not parse.
pub(crate) async fn handle<E: Env>(
    c: &Context<'_, E>,
    body: Frame,
) -> Result<Outcome<FileOf<E>>, DecodeError> {
    match c.header.api_key {
        ApiKey::Produce => pin!(produce::handle(c, &body.bytes)).await,
        // What waits for somebody else to do something gives its bytes back first, and a future that
        // is moved into its place for each request, whatever it asks, is small.
        ApiKey::Fetch => {
            let asked = fetch::read(c, &body.bytes)?;
            drop(body);
            Ok(Box::pin(fetch::handle(c, asked)).await)
        },
        // A connection's memory is not that of the largest handler.
        _ => Box::pin(handle_rare(c, body)).await,
    }
}

/// Handles what is not the bulk of a broker's work.
async fn handle_rare<E: Env>(
    c: &Context<'_, E>,
    body: Frame,
) -> Result<Outcome<FileOf<E>>, DecodeError> {
    let outcome = match c.header.api_key {
        // What waits for somebody else to do something gives its bytes back first.
        ApiKey::JoinGroup => {
            let asked = membership::read_join(c, decode(c, &body)?);
            drop(body);
            membership::join(c, asked).await
        },
        ApiKey::SyncGroup => {
            let asked = membership::read_sync(decode(c, &body)?);
            drop(body);
            membership::sync(c, asked).await
        },
        ApiKey::ListOffsets => list_offsets::handle(c, decode(c, &body)?).await,
        ApiKey::Metadata => {
            let request = MetadataView::read(&mut Reader::from(&body.bytes), c.version())?;
            metadata::handle(c, request).await
        },
        ApiKey::OffsetCommit => {
            let request = OffsetCommitView::read(&mut Reader::from(&body.bytes), c.version())?;
            offset_commit::handle(c, request).await
        },
        ApiKey::OffsetFetch => offset_fetch::handle(c, decode(c, &body)?).await,
        ApiKey::FindCoordinator => find_coordinator::handle(c, decode(c, &body)?).await,
        ApiKey::Heartbeat => membership::heartbeat(c, decode(c, &body)?).await,
        ApiKey::LeaveGroup => membership::leave(c, decode(c, &body)?).await,
        ApiKey::DescribeGroups => group_admin::describe(c, decode(c, &body)?).await,
        ApiKey::ListGroups => group_admin::list(c, decode(c, &body)?).await,
        ApiKey::ApiVersions => api_versions::handle(c, &decode(c, &body)?),
        ApiKey::SaslHandshake => sasl::handshake(c, &decode(c, &body)?),
        ApiKey::SaslAuthenticate => sasl::authenticate(c, &decode(c, &body)?),
        ApiKey::CreateTopics => create_topics::handle(c, decode(c, &body)?).await,
        ApiKey::DeleteRecords => delete_records::handle(c, decode(c, &body)?).await,
        ApiKey::DeleteTopics => delete_topics::handle(c, decode(c, &body)?).await,
        ApiKey::InitProducerId => init_producer_id::handle(c, decode(c, &body)?).await,
        ApiKey::OffsetForLeaderEpoch => end_of_epochs::handle(c, decode(c, &body)?).await,
        ApiKey::DescribeConfigs => describe_configs::handle(c, decode(c, &body)?).await,
        ApiKey::AlterConfigs => alter_configs::replace(c, decode(c, &body)?).await,
        ApiKey::DeleteGroups => group_deletion::groups(c, decode(c, &body)?).await,
        ApiKey::DescribeLogDirs => log_dirs::handle(c, decode(c, &body)?).await,
        ApiKey::CreatePartitions => create_partitions::handle(c, decode(c, &body)?).await,
        ApiKey::ElectLeaders => elect_leaders::handle(c, decode(c, &body)?).await,
        ApiKey::IncrementalAlterConfigs => alter_configs::edit(c, decode(c, &body)?).await,
        ApiKey::AlterPartitionReassignments => reassignments::alter(c, decode(c, &body)?).await,
        ApiKey::ListPartitionReassignments => reassignments::list(c, &decode(c, &body)?),
        ApiKey::DescribeQuorum => describe_quorum::handle(c, decode(c, &body)?),
        ApiKey::OffsetDelete => group_deletion::offsets(c, decode(c, &body)?).await,
        ApiKey::DescribeClientQuotas => quotas::describe(c, decode(c, &body)?),
        ApiKey::DescribeCluster => describe_cluster::handle(c, &decode(c, &body)?),
        ApiKey::DescribeTransactions => transactions::describe(c, decode(c, &body)?),
        ApiKey::ListTransactions => transactions::list(c, decode(c, &body)?),
        ApiKey::ListConfigResources => config_resources::list(c, decode(c, &body)?),
        ApiKey::DescribeProducers => describe_producers::handle(c, decode(c, &body)?).await,
        ApiKey::DescribeTopicPartitions => describe_topic_partitions::handle(c, decode(c, &body)?),
        _ => Outcome::Close,
    };
    Ok(outcome)
}

/// Reads a request's body. Bytes behind it are tolerated, as Kafka does.
fn decode<E: Env, R: Request>(context: &Context<'_, E>, body: &Frame) -> Result<R, DecodeError> {
    R::decode(&mut Reader::from(&body.bytes), context.version())
}
