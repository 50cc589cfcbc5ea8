//! What the cluster is, and what the controller decides.
//!
//! Owns: the records of the metadata log, the image they add up to, and the decisions about
//! topics, settings, broker registrations and producer-id blocks. Pure: [`decide`] looks at an image and may
//! refuse; [`Image::apply`] neither looks around nor fails. Today the log is one local file; a
//! quorum is put underneath later and no caller changes.
#![forbid(unsafe_code)]

mod alter;
mod assign;
mod command;
mod decide;
mod grow;
mod image;
mod names;
mod record;
mod settings;

mod generated {
    include!("generated/metadata.rs");
}

pub use assign::check_assignment;
pub use command::{
    AddPartitions, AlterSettings, AlterTopic, Command, ConfigChange, ConfigEdit, CreateTopic,
    CreatedTopic, Decision, Defaults, ProducerIdBlock, Reply, TopicError, TopicRef,
};
pub use decide::{MARKS, decide};
pub use image::{Broker, Change, Image, Partition, Resource, Topic};
pub use names::{INTERNAL_TOPICS, OFFSETS_TOPIC, check as check_name, is_internal, is_legal_name};
pub use record::{Record, RecordError};
