//! Kafka's error numbers as far as the clients tell them apart. Source: Kafka's protocol guide.

use crate::fault::BROKER;
use crate::world::{MS, World};

pub const NONE: i16 = 0;
pub const OFFSET_OUT_OF_RANGE: i16 = 1;
pub const CORRUPT_MESSAGE: i16 = 2;
pub const ILLEGAL_GENERATION: i16 = 22;
pub const UNKNOWN_MEMBER_ID: i16 = 25;
pub const REBALANCE_IN_PROGRESS: i16 = 27;
pub const TOPIC_ALREADY_EXISTS: i16 = 36;
pub const INVALID_PARTITIONS: i16 = 37;
pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
pub const UNKNOWN_PRODUCER_ID: i16 = 59;
pub const KAFKA_STORAGE_ERROR: i16 = 56;
pub const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
pub const INVALID_FETCH_SESSION_EPOCH: i16 = 71;
pub const TOPIC_DELETION_DISABLED: i16 = 73;
pub const MEMBER_ID_REQUIRED: i16 = 79;
pub const GROUP_MAX_SIZE_REACHED: i16 = 81;

/// Coordinators load, or are looked for.
const LOADING: &[i16] = &[14, 15, 16];

/// Whether `code` may be answered to a producer now, to be tried again: a broker that was left in
/// peace for a while has no reason to refuse but that it loads something.
pub fn may_be_refused(world: &World, code: i16) -> bool {
    is_retriable(code) && (LOADING.contains(&code) || !is_at_peace(world))
}

/// Whether faults are over, and the broker was up long enough for every answer to be of a time when
/// they were.
fn is_at_peace(world: &World) -> bool {
    const LONG_ENOUGH: u64 = 2_500 * MS;
    let since = world.now().saturating_sub(world.disturbed_at(BROKER));
    world.is_calm() && since >= LONG_ENOUGH
}

/// Errors after which the same request is sent again a little later.
pub fn is_retriable(code: i16) -> bool {
    const RETRIABLE: &[i16] = &[
        UNKNOWN_TOPIC_OR_PARTITION,
        5,   // LEADER_NOT_AVAILABLE
        6,   // NOT_LEADER_OR_FOLLOWER
        7,   // REQUEST_TIMED_OUT
        9,   // REPLICA_NOT_AVAILABLE
        13,  // NETWORK_EXCEPTION
        14,  // COORDINATOR_LOAD_IN_PROGRESS
        15,  // COORDINATOR_NOT_AVAILABLE
        16,  // NOT_COORDINATOR
        19,  // NOT_ENOUGH_REPLICAS
        20,  // NOT_ENOUGH_REPLICAS_AFTER_APPEND
        41,  // NOT_CONTROLLER
        56,  // KAFKA_STORAGE_ERROR
        89,  // THROTTLING_QUOTA_EXCEEDED
        100, // UNKNOWN_TOPIC_ID
    ];
    RETRIABLE.contains(&code)
}
