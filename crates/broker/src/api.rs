//! What a broker can be asked, in our own types.
//!
//! Owns: requests and their outcomes. The front door translates Kafka's messages into these and
//! the outcomes back; error numbers live there. Invariants: an outcome says exactly what is proven
//! (an `Ok` of [`Produced`] means what the request's [`Acks`] promise); every request has an end.

mod cluster;
mod directories;
mod fetch;
pub mod group;
mod offsets;
mod produce;
mod records;
mod replicas;

pub use cluster::{BrokerView, ClusterView, PartitionView, TopicView};
pub use directories::{DirectoryState, DirectoryUsage, DirectoryView, LogUsage};
pub use fetch::{Fetch, FetchError, FetchPartition, FetchedData, FetchedPartition, Isolation};
pub use metadata::{
    AddPartitions, AlterSettings, AlterTopic, ConfigChange, ConfigEdit, CreateTopic, CreatedTopic,
    OFFSETS_TOPIC, Resource, TopicError, TopicRef, check_name, is_legal_name,
};
pub use offsets::{EpochEnd, FoundOffset, ListOffset, ListOffsetError, OffsetSpec};
pub use produce::{Acks, ActiveProducer, Produce, ProduceError, Produced};
pub use records::DeleteRecordsError;
pub use replicas::{Election, NoElection, ReassignError};
