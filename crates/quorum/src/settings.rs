//! What a node is told at its start, and the timing.

use base::{BrokerId, Duration};

/// Settings of one node. A search that wants every timeout at
/// every moment sets them all to zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The nodes that found the cluster together (`controller.quorum.voters`), this one among them;
    /// empty for one that founds a cluster by itself or joins one.
    pub founders: Vec<BrokerId>,
    /// Whether it founds no cluster, but waits to be taken into one.
    pub joins: bool,
    /// How often a leader is heard of at least.
    pub heartbeat: Duration,
    /// The shortest time without a leader after which a follower stands for election. For as long after it
    /// has heard of its leader it votes for nobody else.
    pub election_min: Duration,
    /// Up to so much more is waited, by chance.
    pub election_spread: Duration,
    /// A leader that has not heard of a majority for so long resigns.
    pub check_quorum: Duration,
    /// A leader that hands over waits for so long, and then leads on.
    pub transfer_max: Duration,
    /// Bytes of entries in one message, unless one entry is larger.
    pub message_bytes: usize,
    /// Messages with entries under way to one follower.
    pub messages_in_flight: usize,
    /// Entries proposed and not committed; more are refused.
    pub proposals_max: usize,
    /// Reads that wait for their round; more are refused.
    pub reads_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            founders: Vec::new(),
            joins: false,
            heartbeat: Duration::from_millis(30),
            election_min: Duration::from_millis(150),
            election_spread: Duration::from_millis(150),
            check_quorum: Duration::from_millis(300),
            transfer_max: Duration::from_millis(300),
            message_bytes: 256 * 1024,
            messages_in_flight: 16,
            proposals_max: 4096,
            reads_max: 4096,
        }
    }
}
