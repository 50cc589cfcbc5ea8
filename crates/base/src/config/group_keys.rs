//! Keys of groups and of client metrics. Source of names, types, bounds and defaults: Kafka 4.4.

use super::Bound::{Any, AtLeast, OneOf, ShareReset};
use super::Key;
use super::Kind::{Boolean, Int, List, String};
use super::broker_keys::absent::{CONSUMER, METRICS, SHARE, STREAMS};

/// Keys of a group. Sorted by name.
#[rustfmt::skip]
pub const GROUP_KEYS: &[Key] = &[
    Key::of_group("consumer.assignment.interval.ms", Int, Some("1000"), AtLeast(0), &["group.consumer.assignment.interval.ms"], CONSUMER),
    Key::of_group("consumer.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), &["group.consumer.heartbeat.interval.ms"], CONSUMER),
    Key::of_group("consumer.session.timeout.ms", Int, Some("45000"), AtLeast(1), &["group.consumer.session.timeout.ms"], CONSUMER),
    Key::of_group("errors.deadletterqueue.copy.record.enable", Boolean, Some("false"), Any, &["errors.deadletterqueue.copy.record.enable"], SHARE),
    Key::of_group("errors.deadletterqueue.topic.name", String, Some(""), Any, &["errors.deadletterqueue.topic.name"], SHARE),
    Key::of_group("share.assignment.interval.ms", Int, Some("1000"), AtLeast(0), &["group.share.assignment.interval.ms"], SHARE),
    Key::of_group("share.auto.offset.reset", String, Some("latest"), ShareReset, &["share.auto.offset.reset"], SHARE),
    Key::of_group("share.delivery.count.limit", Int, Some("5"), AtLeast(2), &["group.share.delivery.count.limit"], SHARE),
    Key::of_group("share.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), &["group.share.heartbeat.interval.ms"], SHARE),
    Key::of_group("share.isolation.level", String, Some("read_uncommitted"), OneOf(&["read_committed", "read_uncommitted"]), &["share.isolation.level"], SHARE),
    Key::of_group("share.partition.max.record.locks", Int, Some("2000"), AtLeast(100), &["group.share.partition.max.record.locks"], SHARE),
    Key::of_group("share.record.lock.duration.ms", Int, Some("30000"), AtLeast(1000), &["group.share.record.lock.duration.ms"], SHARE),
    Key::of_group("share.renew.acknowledge.enable", Boolean, Some("true"), Any, &["share.renew.acknowledge.enable"], SHARE),
    Key::of_group("share.session.timeout.ms", Int, Some("45000"), AtLeast(1), &["group.share.session.timeout.ms"], SHARE),
    Key::of_group("streams.assignment.interval.ms", Int, Some("1000"), AtLeast(0), &["group.streams.assignment.interval.ms"], STREAMS),
    Key::of_group("streams.assignor.name", String, Some("sticky"), Any, &["group.streams.assignors"], STREAMS),
    Key::of_group("streams.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), &["group.streams.heartbeat.interval.ms"], STREAMS),
    Key::of_group("streams.initial.rebalance.delay.ms", Int, Some("3000"), AtLeast(0), &["group.streams.initial.rebalance.delay.ms"], STREAMS),
    Key::of_group("streams.num.standby.replicas", Int, Some("0"), AtLeast(0), &["group.streams.num.standby.replicas"], STREAMS),
    Key::of_group("streams.rack.aware.assignment.tags", List, Some(""), Any, &["group.streams.rack.aware.assignment.tags"], STREAMS),
    Key::of_group("streams.session.timeout.ms", Int, Some("45000"), AtLeast(1), &["group.streams.session.timeout.ms"], STREAMS),
];

/// Keys of a subscription to the metrics of clients (KIP-714). Sorted by name.
#[rustfmt::skip]
pub const CLIENT_METRICS_KEYS: &[Key] = &[
    Key::absent("interval.ms", Int, Some("300000"), Any, METRICS),
    Key::absent("match", List, Some(""), Any, METRICS),
    Key::absent("metrics", List, Some(""), Any, METRICS),
];
