//! Kafka's error numbers, and which of the broker's outcomes gets which.
//!
//! Owns: the one table of numbers, and one exhaustive match per error type of `broker::api`: a new
//! variant there does not build until it has a number here. How the Java client classifies a number
//! (retry, refresh, fatal) decides the choice: a wrong class turns a blip into an outage. Source:
//! Kafka 4.4, `Errors`.

use broker::ProducerIdError;
use broker::api::group::GroupError;
use broker::api::{
    DeleteRecordsError, FetchError, ListOffsetError, NoElection, ProduceError, ReassignError,
    TopicError,
};
use records::{BatchError, Refusal};

/// A number in a response.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ErrorCode(pub i16);

macro_rules! codes {
    ($($name:ident = $code:literal,)*) => {
        #[expect(missing_docs, reason = "each name is Kafka's own and says what it is")]
        impl ErrorCode {
            $(pub const $name: Self = Self($code);)*

            /// Every number of Kafka 4.4, in order.
            pub const ALL: &'static [Self] = &[$(Self($code)),*];
        }

        impl ErrorCode {
            /// Kafka's name; `UNKNOWN_ERROR_CODE` for a number that Kafka 4.4 does not have.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    Self(_) => "UNKNOWN_ERROR_CODE",
                }
            }
        }
    };
}

codes! {
    UNKNOWN_SERVER_ERROR = -1,
    NONE = 0,
    OFFSET_OUT_OF_RANGE = 1,
    CORRUPT_MESSAGE = 2,
    UNKNOWN_TOPIC_OR_PARTITION = 3,
    INVALID_FETCH_SIZE = 4,
    LEADER_NOT_AVAILABLE = 5,
    NOT_LEADER_OR_FOLLOWER = 6,
    REQUEST_TIMED_OUT = 7,
    BROKER_NOT_AVAILABLE = 8,
    REPLICA_NOT_AVAILABLE = 9,
    MESSAGE_TOO_LARGE = 10,
    STALE_CONTROLLER_EPOCH = 11,
    OFFSET_METADATA_TOO_LARGE = 12,
    NETWORK_EXCEPTION = 13,
    COORDINATOR_LOAD_IN_PROGRESS = 14,
    COORDINATOR_NOT_AVAILABLE = 15,
    NOT_COORDINATOR = 16,
    INVALID_TOPIC_EXCEPTION = 17,
    RECORD_LIST_TOO_LARGE = 18,
    NOT_ENOUGH_REPLICAS = 19,
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20,
    INVALID_REQUIRED_ACKS = 21,
    ILLEGAL_GENERATION = 22,
    INCONSISTENT_GROUP_PROTOCOL = 23,
    INVALID_GROUP_ID = 24,
    UNKNOWN_MEMBER_ID = 25,
    INVALID_SESSION_TIMEOUT = 26,
    REBALANCE_IN_PROGRESS = 27,
    INVALID_COMMIT_OFFSET_SIZE = 28,
    TOPIC_AUTHORIZATION_FAILED = 29,
    GROUP_AUTHORIZATION_FAILED = 30,
    CLUSTER_AUTHORIZATION_FAILED = 31,
    INVALID_TIMESTAMP = 32,
    UNSUPPORTED_SASL_MECHANISM = 33,
    ILLEGAL_SASL_STATE = 34,
    UNSUPPORTED_VERSION = 35,
    TOPIC_ALREADY_EXISTS = 36,
    INVALID_PARTITIONS = 37,
    INVALID_REPLICATION_FACTOR = 38,
    INVALID_REPLICA_ASSIGNMENT = 39,
    INVALID_CONFIG = 40,
    NOT_CONTROLLER = 41,
    INVALID_REQUEST = 42,
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43,
    POLICY_VIOLATION = 44,
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45,
    DUPLICATE_SEQUENCE_NUMBER = 46,
    INVALID_PRODUCER_EPOCH = 47,
    INVALID_TXN_STATE = 48,
    INVALID_PRODUCER_ID_MAPPING = 49,
    INVALID_TRANSACTION_TIMEOUT = 50,
    CONCURRENT_TRANSACTIONS = 51,
    TRANSACTION_COORDINATOR_FENCED = 52,
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53,
    SECURITY_DISABLED = 54,
    OPERATION_NOT_ATTEMPTED = 55,
    KAFKA_STORAGE_ERROR = 56,
    LOG_DIR_NOT_FOUND = 57,
    SASL_AUTHENTICATION_FAILED = 58,
    UNKNOWN_PRODUCER_ID = 59,
    REASSIGNMENT_IN_PROGRESS = 60,
    DELEGATION_TOKEN_AUTH_DISABLED = 61,
    DELEGATION_TOKEN_NOT_FOUND = 62,
    DELEGATION_TOKEN_OWNER_MISMATCH = 63,
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64,
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65,
    DELEGATION_TOKEN_EXPIRED = 66,
    INVALID_PRINCIPAL_TYPE = 67,
    NON_EMPTY_GROUP = 68,
    GROUP_ID_NOT_FOUND = 69,
    FETCH_SESSION_ID_NOT_FOUND = 70,
    INVALID_FETCH_SESSION_EPOCH = 71,
    LISTENER_NOT_FOUND = 72,
    TOPIC_DELETION_DISABLED = 73,
    FENCED_LEADER_EPOCH = 74,
    UNKNOWN_LEADER_EPOCH = 75,
    UNSUPPORTED_COMPRESSION_TYPE = 76,
    STALE_BROKER_EPOCH = 77,
    OFFSET_NOT_AVAILABLE = 78,
    MEMBER_ID_REQUIRED = 79,
    PREFERRED_LEADER_NOT_AVAILABLE = 80,
    GROUP_MAX_SIZE_REACHED = 81,
    FENCED_INSTANCE_ID = 82,
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83,
    ELECTION_NOT_NEEDED = 84,
    NO_REASSIGNMENT_IN_PROGRESS = 85,
    GROUP_SUBSCRIBED_TO_TOPIC = 86,
    INVALID_RECORD = 87,
    UNSTABLE_OFFSET_COMMIT = 88,
    THROTTLING_QUOTA_EXCEEDED = 89,
    PRODUCER_FENCED = 90,
    RESOURCE_NOT_FOUND = 91,
    DUPLICATE_RESOURCE = 92,
    UNACCEPTABLE_CREDENTIAL = 93,
    INCONSISTENT_VOTER_SET = 94,
    INVALID_UPDATE_VERSION = 95,
    FEATURE_UPDATE_FAILED = 96,
    PRINCIPAL_DESERIALIZATION_FAILURE = 97,
    SNAPSHOT_NOT_FOUND = 98,
    POSITION_OUT_OF_RANGE = 99,
    UNKNOWN_TOPIC_ID = 100,
    DUPLICATE_BROKER_REGISTRATION = 101,
    BROKER_ID_NOT_REGISTERED = 102,
    INCONSISTENT_TOPIC_ID = 103,
    INCONSISTENT_CLUSTER_ID = 104,
    TRANSACTIONAL_ID_NOT_FOUND = 105,
    FETCH_SESSION_TOPIC_ID_ERROR = 106,
    INELIGIBLE_REPLICA = 107,
    NEW_LEADER_ELECTED = 108,
    OFFSET_MOVED_TO_TIERED_STORAGE = 109,
    FENCED_MEMBER_EPOCH = 110,
    UNRELEASED_INSTANCE_ID = 111,
    UNSUPPORTED_ASSIGNOR = 112,
    STALE_MEMBER_EPOCH = 113,
    MISMATCHED_ENDPOINT_TYPE = 114,
    UNSUPPORTED_ENDPOINT_TYPE = 115,
    UNKNOWN_CONTROLLER_ID = 116,
    UNKNOWN_SUBSCRIPTION_ID = 117,
    TELEMETRY_TOO_LARGE = 118,
    INVALID_REGISTRATION = 119,
    TRANSACTION_ABORTABLE = 120,
    INVALID_RECORD_STATE = 121,
    SHARE_SESSION_NOT_FOUND = 122,
    INVALID_SHARE_SESSION_EPOCH = 123,
    FENCED_STATE_EPOCH = 124,
    INVALID_VOTER_KEY = 125,
    DUPLICATE_VOTER = 126,
    VOTER_NOT_FOUND = 127,
    INVALID_REGULAR_EXPRESSION = 128,
    REBOOTSTRAP_REQUIRED = 129,
    STREAMS_INVALID_TOPOLOGY = 130,
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131,
    STREAMS_TOPOLOGY_FENCED = 132,
    SHARE_SESSION_LIMIT_REACHED = 133,
    GROUP_DELETION_FAILED = 134,
    STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED = 135,
    CONTROLLER_ID_NOT_REGISTERED = 136,
}

impl std::fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl ErrorCode {
    /// Whether all is well.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

impl From<&BatchError> for ErrorCode {
    fn from(error: &BatchError) -> Self {
        match error.refusal() {
            Refusal::Corrupt => Self::CORRUPT_MESSAGE,
            Refusal::Invalid => Self::INVALID_RECORD,
            Refusal::TooLarge => Self::MESSAGE_TOO_LARGE,
            Refusal::InvalidTimestamp => Self::INVALID_TIMESTAMP,
            Refusal::UnsupportedCompression => Self::UNSUPPORTED_COMPRESSION_TYPE,
            Refusal::Unexpected => Self::UNKNOWN_SERVER_ERROR,
        }
    }
}

impl From<&ProduceError> for ErrorCode {
    fn from(error: &ProduceError) -> Self {
        match error {
            ProduceError::UnknownPartition => Self::UNKNOWN_TOPIC_OR_PARTITION,
            // A broker that stops is one whose leadership moves: retried after a refresh.
            ProduceError::NotLeader { .. } | ProduceError::Stopping => Self::NOT_LEADER_OR_FOLLOWER,
            ProduceError::InternalTopic => Self::INVALID_TOPIC_EXCEPTION,
            ProduceError::Batch(error) => Self::from(error),
            ProduceError::TooLarge { .. } => Self::MESSAGE_TOO_LARGE,
            ProduceError::LargerThanSegment { .. } => Self::RECORD_LIST_TOO_LARGE,
            ProduceError::OutOfOrderSequence => Self::OUT_OF_ORDER_SEQUENCE_NUMBER,
            ProduceError::ProducerFenced => Self::INVALID_PRODUCER_EPOCH,
            ProduceError::Transactional => Self::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            ProduceError::StorageFailed | ProduceError::StorageFull => Self::KAFKA_STORAGE_ERROR,
            // Retried without the clients' believing that anything was written.
            ProduceError::NotEnoughReplicas | ProduceError::Overloaded => Self::NOT_ENOUGH_REPLICAS,
            ProduceError::TimedOut => Self::REQUEST_TIMED_OUT,
        }
    }
}

impl From<&FetchError> for ErrorCode {
    fn from(error: &FetchError) -> Self {
        match error {
            FetchError::UnknownPartition => Self::UNKNOWN_TOPIC_OR_PARTITION,
            FetchError::NotLeader { .. } => Self::NOT_LEADER_OR_FOLLOWER,
            FetchError::OutOfRange { .. } => Self::OFFSET_OUT_OF_RANGE,
            FetchError::FencedEpoch => Self::FENCED_LEADER_EPOCH,
            FetchError::UnknownEpoch => Self::UNKNOWN_LEADER_EPOCH,
            FetchError::Corrupt => Self::CORRUPT_MESSAGE,
            FetchError::StorageFailed => Self::KAFKA_STORAGE_ERROR,
        }
    }
}

impl From<&ListOffsetError> for ErrorCode {
    fn from(error: &ListOffsetError) -> Self {
        match error {
            ListOffsetError::UnknownPartition => Self::UNKNOWN_TOPIC_OR_PARTITION,
            ListOffsetError::NotLeader { .. } => Self::NOT_LEADER_OR_FOLLOWER,
            ListOffsetError::FencedEpoch => Self::FENCED_LEADER_EPOCH,
            ListOffsetError::UnknownEpoch => Self::UNKNOWN_LEADER_EPOCH,
            ListOffsetError::Corrupt => Self::CORRUPT_MESSAGE,
            ListOffsetError::StorageFailed => Self::KAFKA_STORAGE_ERROR,
        }
    }
}

impl From<&DeleteRecordsError> for ErrorCode {
    fn from(error: &DeleteRecordsError) -> Self {
        match error {
            DeleteRecordsError::UnknownPartition => Self::UNKNOWN_TOPIC_OR_PARTITION,
            DeleteRecordsError::NotLeader { .. } | DeleteRecordsError::Stopping => {
                Self::NOT_LEADER_OR_FOLLOWER
            },
            DeleteRecordsError::InternalTopic => Self::INVALID_TOPIC_EXCEPTION,
            DeleteRecordsError::Policy => Self::POLICY_VIOLATION,
            DeleteRecordsError::OutOfRange => Self::OFFSET_OUT_OF_RANGE,
            DeleteRecordsError::StorageFailed => Self::KAFKA_STORAGE_ERROR,
        }
    }
}

impl From<&TopicError> for ErrorCode {
    fn from(error: &TopicError) -> Self {
        match error {
            TopicError::InvalidName(_) => Self::INVALID_TOPIC_EXCEPTION,
            TopicError::Exists(_) => Self::TOPIC_ALREADY_EXISTS,
            TopicError::UnknownName | TopicError::Missing(_) => Self::UNKNOWN_TOPIC_OR_PARTITION,
            TopicError::UnknownId => Self::UNKNOWN_TOPIC_ID,
            TopicError::InvalidPartitions(_) => Self::INVALID_PARTITIONS,
            TopicError::InvalidReplicationFactor(_) => Self::INVALID_REPLICATION_FACTOR,
            TopicError::InvalidAssignment(_) => Self::INVALID_REPLICA_ASSIGNMENT,
            TopicError::InvalidConfig(_) => Self::INVALID_CONFIG,
            TopicError::InvalidRequest(_) => Self::INVALID_REQUEST,
            TopicError::Policy(_) => Self::POLICY_VIOLATION,
            TopicError::DeletionDisabled => Self::TOPIC_DELETION_DISABLED,
            TopicError::StorageFailed | TopicError::StorageFull | TopicError::NotDurable(_) => {
                Self::KAFKA_STORAGE_ERROR
            },
        }
    }
}

impl From<&NoElection> for ErrorCode {
    fn from(why: &NoElection) -> Self {
        match why {
            NoElection::UnknownTopic(_) | NoElection::UnknownPartition(..) => {
                Self::UNKNOWN_TOPIC_OR_PARTITION
            },
            NoElection::NotNeeded => Self::ELECTION_NOT_NEEDED,
            NoElection::PreferredNotAvailable => Self::PREFERRED_LEADER_NOT_AVAILABLE,
            NoElection::NoneEligible => Self::ELIGIBLE_LEADERS_NOT_AVAILABLE,
        }
    }
}

impl From<&ReassignError> for ErrorCode {
    fn from(error: &ReassignError) -> Self {
        match error {
            ReassignError::UnknownTopic(_) | ReassignError::UnknownPartition(..) => {
                Self::UNKNOWN_TOPIC_OR_PARTITION
            },
            ReassignError::NoneInProgress => Self::NO_REASSIGNMENT_IN_PROGRESS,
            ReassignError::InvalidAssignment(_) => Self::INVALID_REPLICA_ASSIGNMENT,
        }
    }
}

impl From<&ProducerIdError> for ErrorCode {
    fn from(error: &ProducerIdError) -> Self {
        match error {
            ProducerIdError::Exhausted => Self::UNKNOWN_SERVER_ERROR,
            // Retried by every client, as Kafka's own "no block of ids yet" is.
            ProducerIdError::Unavailable => Self::COORDINATOR_NOT_AVAILABLE,
        }
    }
}

impl From<GroupError> for ErrorCode {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::InvalidGroupId => Self::INVALID_GROUP_ID,
            GroupError::InvalidSessionTimeout => Self::INVALID_SESSION_TIMEOUT,
            GroupError::UnknownMemberId => Self::UNKNOWN_MEMBER_ID,
            GroupError::IllegalGeneration => Self::ILLEGAL_GENERATION,
            GroupError::InconsistentGroupProtocol => Self::INCONSISTENT_GROUP_PROTOCOL,
            GroupError::RebalanceInProgress => Self::REBALANCE_IN_PROGRESS,
            GroupError::MemberIdRequired => Self::MEMBER_ID_REQUIRED,
            GroupError::FencedInstanceId => Self::FENCED_INSTANCE_ID,
            GroupError::GroupMaxSizeReached => Self::GROUP_MAX_SIZE_REACHED,
            GroupError::OffsetMetadataTooLarge => Self::OFFSET_METADATA_TOO_LARGE,
            GroupError::InvalidCommitOffsetSize => Self::INVALID_COMMIT_OFFSET_SIZE,
            GroupError::GroupNotFound => Self::GROUP_ID_NOT_FOUND,
            GroupError::NonEmptyGroup => Self::NON_EMPTY_GROUP,
            GroupError::GroupSubscribedToTopic => Self::GROUP_SUBSCRIBED_TO_TOPIC,
            GroupError::CoordinatorLoadInProgress => Self::COORDINATOR_LOAD_IN_PROGRESS,
            GroupError::CoordinatorNotAvailable => Self::COORDINATOR_NOT_AVAILABLE,
            GroupError::NotCoordinator => Self::NOT_COORDINATOR,
            GroupError::UnknownTopicOrPartition => Self::UNKNOWN_TOPIC_OR_PARTITION,
            GroupError::UnknownServerError => Self::UNKNOWN_SERVER_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Write};

    use base::{BrokerId, LeaderEpoch, Offset, Timestamp};
    use expect_test::expect;
    use records::{Fault, FaultKind};

    use super::*;

    fn table<T: Debug>(errors: &[T], code: impl Fn(&T) -> ErrorCode) -> String {
        let mut lines = String::new();
        for error in errors {
            let name = format!("{error:?}");
            let name = name.split([' ', '(', '{']).next().unwrap();
            writeln!(lines, "{name} -> {}", code(error)).unwrap();
        }
        lines
    }

    #[test]
    fn numbers_and_names_are_kafkas() {
        assert_eq!(ErrorCode::ALL.len(), 138);
        assert!(ErrorCode::ALL.is_sorted());
        assert_eq!(ErrorCode(129).to_string(), "REBOOTSTRAP_REQUIRED (129)");
        assert_eq!(ErrorCode(-7).name(), "UNKNOWN_ERROR_CODE");
    }

    #[test]
    fn produce_errors_have_these_numbers() {
        let (leader, epoch, at) = (Some(BrokerId(2)), LeaderEpoch(1), Timestamp(1));
        let fault = |kind| BatchError::Faults(vec![Fault { index: 0, kind }]);
        let errors = [
            ProduceError::UnknownPartition,
            ProduceError::NotLeader { leader, epoch },
            ProduceError::InternalTopic,
            ProduceError::Batch(BatchError::Empty),
            ProduceError::Batch(BatchError::LogAppendTime),
            ProduceError::Batch(fault(FaultKind::NoKey)),
            ProduceError::Batch(fault(FaultKind::Timestamp { at, earliest: at, latest: at })),
            ProduceError::Batch(BatchError::TooLarge { bytes: 2, bytes_max: 1 }),
            ProduceError::TooLarge { bytes: 2, limit: 1 },
            ProduceError::LargerThanSegment { bytes: 2, limit: 1 },
            ProduceError::OutOfOrderSequence,
            ProduceError::ProducerFenced,
            ProduceError::Transactional,
            ProduceError::StorageFailed,
            ProduceError::StorageFull,
            ProduceError::NotEnoughReplicas,
            ProduceError::TimedOut,
            ProduceError::Overloaded,
            ProduceError::Stopping,
        ];
        expect![[r#"
            UnknownPartition -> UNKNOWN_TOPIC_OR_PARTITION (3)
            NotLeader -> NOT_LEADER_OR_FOLLOWER (6)
            InternalTopic -> INVALID_TOPIC_EXCEPTION (17)
            Batch -> INVALID_RECORD (87)
            Batch -> INVALID_TIMESTAMP (32)
            Batch -> INVALID_RECORD (87)
            Batch -> INVALID_TIMESTAMP (32)
            Batch -> MESSAGE_TOO_LARGE (10)
            TooLarge -> MESSAGE_TOO_LARGE (10)
            LargerThanSegment -> RECORD_LIST_TOO_LARGE (18)
            OutOfOrderSequence -> OUT_OF_ORDER_SEQUENCE_NUMBER (45)
            ProducerFenced -> INVALID_PRODUCER_EPOCH (47)
            Transactional -> TRANSACTIONAL_ID_AUTHORIZATION_FAILED (53)
            StorageFailed -> KAFKA_STORAGE_ERROR (56)
            StorageFull -> KAFKA_STORAGE_ERROR (56)
            NotEnoughReplicas -> NOT_ENOUGH_REPLICAS (19)
            TimedOut -> REQUEST_TIMED_OUT (7)
            Overloaded -> NOT_ENOUGH_REPLICAS (19)
            Stopping -> NOT_LEADER_OR_FOLLOWER (6)
        "#]]
        .assert_eq(&table(&errors, |error| ErrorCode::from(error)));
    }

    #[test]
    fn read_errors_have_these_numbers() {
        let (leader, epoch) = (Some(BrokerId(2)), LeaderEpoch(1));
        let fetch = [
            FetchError::UnknownPartition,
            FetchError::NotLeader { leader, epoch },
            FetchError::OutOfRange { start: Offset(0), end: Offset(1) },
            FetchError::FencedEpoch,
            FetchError::UnknownEpoch,
            FetchError::Corrupt,
            FetchError::StorageFailed,
        ];
        let list = [
            ListOffsetError::UnknownPartition,
            ListOffsetError::NotLeader { leader, epoch },
            ListOffsetError::FencedEpoch,
            ListOffsetError::UnknownEpoch,
            ListOffsetError::Corrupt,
            ListOffsetError::StorageFailed,
        ];
        expect![[r#"
            UnknownPartition -> UNKNOWN_TOPIC_OR_PARTITION (3)
            NotLeader -> NOT_LEADER_OR_FOLLOWER (6)
            OutOfRange -> OFFSET_OUT_OF_RANGE (1)
            FencedEpoch -> FENCED_LEADER_EPOCH (74)
            UnknownEpoch -> UNKNOWN_LEADER_EPOCH (75)
            Corrupt -> CORRUPT_MESSAGE (2)
            StorageFailed -> KAFKA_STORAGE_ERROR (56)
        "#]]
        .assert_eq(&table(&fetch, |error| ErrorCode::from(error)));
        expect![[r#"
            UnknownPartition -> UNKNOWN_TOPIC_OR_PARTITION (3)
            NotLeader -> NOT_LEADER_OR_FOLLOWER (6)
            FencedEpoch -> FENCED_LEADER_EPOCH (74)
            UnknownEpoch -> UNKNOWN_LEADER_EPOCH (75)
            Corrupt -> CORRUPT_MESSAGE (2)
            StorageFailed -> KAFKA_STORAGE_ERROR (56)
        "#]]
        .assert_eq(&table(&list, |error| ErrorCode::from(error)));
    }

    #[test]
    fn topic_and_producer_id_errors_have_these_numbers() {
        let topic = [
            TopicError::InvalidName(String::new()),
            TopicError::Exists(String::new()),
            TopicError::UnknownName,
            TopicError::Missing(String::new()),
            TopicError::UnknownId,
            TopicError::InvalidPartitions(String::new()),
            TopicError::InvalidReplicationFactor(String::new()),
            TopicError::InvalidAssignment(String::new()),
            TopicError::InvalidConfig(String::new()),
            TopicError::InvalidRequest(String::new()),
            TopicError::Policy(String::new()),
            TopicError::DeletionDisabled,
            TopicError::StorageFailed,
            TopicError::StorageFull,
            TopicError::NotDurable(Vec::new()),
        ];
        let producer_id = [ProducerIdError::Exhausted, ProducerIdError::Unavailable];
        expect![[r#"
            InvalidName -> INVALID_TOPIC_EXCEPTION (17)
            Exists -> TOPIC_ALREADY_EXISTS (36)
            UnknownName -> UNKNOWN_TOPIC_OR_PARTITION (3)
            Missing -> UNKNOWN_TOPIC_OR_PARTITION (3)
            UnknownId -> UNKNOWN_TOPIC_ID (100)
            InvalidPartitions -> INVALID_PARTITIONS (37)
            InvalidReplicationFactor -> INVALID_REPLICATION_FACTOR (38)
            InvalidAssignment -> INVALID_REPLICA_ASSIGNMENT (39)
            InvalidConfig -> INVALID_CONFIG (40)
            InvalidRequest -> INVALID_REQUEST (42)
            Policy -> POLICY_VIOLATION (44)
            DeletionDisabled -> TOPIC_DELETION_DISABLED (73)
            StorageFailed -> KAFKA_STORAGE_ERROR (56)
            StorageFull -> KAFKA_STORAGE_ERROR (56)
            NotDurable -> KAFKA_STORAGE_ERROR (56)
        "#]]
        .assert_eq(&table(&topic, |error| ErrorCode::from(error)));
        expect![[r#"
            Exhausted -> UNKNOWN_SERVER_ERROR (-1)
            Unavailable -> COORDINATOR_NOT_AVAILABLE (15)
        "#]]
        .assert_eq(&table(&producer_id, |error| ErrorCode::from(error)));
    }

    #[test]
    fn group_errors_have_these_numbers() {
        let group = [
            GroupError::InvalidGroupId,
            GroupError::InvalidSessionTimeout,
            GroupError::UnknownMemberId,
            GroupError::IllegalGeneration,
            GroupError::InconsistentGroupProtocol,
            GroupError::RebalanceInProgress,
            GroupError::MemberIdRequired,
            GroupError::FencedInstanceId,
            GroupError::GroupMaxSizeReached,
            GroupError::OffsetMetadataTooLarge,
            GroupError::InvalidCommitOffsetSize,
            GroupError::GroupNotFound,
            GroupError::NonEmptyGroup,
            GroupError::GroupSubscribedToTopic,
            GroupError::CoordinatorLoadInProgress,
            GroupError::CoordinatorNotAvailable,
            GroupError::NotCoordinator,
            GroupError::UnknownTopicOrPartition,
            GroupError::UnknownServerError,
        ];
        expect![[r#"
            InvalidGroupId -> INVALID_GROUP_ID (24)
            InvalidSessionTimeout -> INVALID_SESSION_TIMEOUT (26)
            UnknownMemberId -> UNKNOWN_MEMBER_ID (25)
            IllegalGeneration -> ILLEGAL_GENERATION (22)
            InconsistentGroupProtocol -> INCONSISTENT_GROUP_PROTOCOL (23)
            RebalanceInProgress -> REBALANCE_IN_PROGRESS (27)
            MemberIdRequired -> MEMBER_ID_REQUIRED (79)
            FencedInstanceId -> FENCED_INSTANCE_ID (82)
            GroupMaxSizeReached -> GROUP_MAX_SIZE_REACHED (81)
            OffsetMetadataTooLarge -> OFFSET_METADATA_TOO_LARGE (12)
            InvalidCommitOffsetSize -> INVALID_COMMIT_OFFSET_SIZE (28)
            GroupNotFound -> GROUP_ID_NOT_FOUND (69)
            NonEmptyGroup -> NON_EMPTY_GROUP (68)
            GroupSubscribedToTopic -> GROUP_SUBSCRIBED_TO_TOPIC (86)
            CoordinatorLoadInProgress -> COORDINATOR_LOAD_IN_PROGRESS (14)
            CoordinatorNotAvailable -> COORDINATOR_NOT_AVAILABLE (15)
            NotCoordinator -> NOT_COORDINATOR (16)
            UnknownTopicOrPartition -> UNKNOWN_TOPIC_OR_PARTITION (3)
            UnknownServerError -> UNKNOWN_SERVER_ERROR (-1)
        "#]]
        .assert_eq(&table(&group, |error| ErrorCode::from(*error)));
    }
}
