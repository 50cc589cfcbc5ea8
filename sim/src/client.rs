//! Simulated clients: what they do is in the plan, what they saw is in the history.
//!
//! Invariants: a client speaks Kafka frames over the simulated network and nothing else; it tells
//! the history everything it sent before it sends it and everything it learnt once it learnt it.

mod admin;
mod connection;
mod consumer;
mod errors;
mod groups;
mod grower;
mod keeper;
mod odd;
mod operator;
mod producer;
mod reader;
mod session;
mod side;
mod switcher;

use std::sync::Arc;

use crate::check::History;
use crate::fault::Work;
use crate::world::{Dice, World};

pub use admin::{admin, list_topics};
pub use connection::{CallError, Connection, PORT, Shown};
pub use consumer::consumer;
pub use groups::look_at_groups;
pub use grower::grow;
pub use keeper::{BOTH, keeper, number_of, read_tables};
pub use odd::{odd, refused_frames_hang_up};
pub use operator::operate;
pub use producer::producer;
pub use reader::{read_all, read_commits};
pub use switcher::switch_modes;

/// What every client gets.
#[derive(Clone)]
pub struct Job {
    /// The universe.
    pub world: Arc<World>,
    /// What everybody saw.
    pub history: History,
    /// What is to be done.
    pub work: Work,
    /// The client's number, from 1; also its node.
    pub id: usize,
}

impl Job {
    /// Added to the number of a producer that works after the last fault.
    pub const FRESH: usize = 500;

    /// Whether this is an idempotent producer.
    pub fn is_idempotent(&self) -> bool {
        self.id % Self::FRESH < 2 + self.work.idempotent
    }

    /// Dice for what `who` does in its own way, if clients do.
    fn ways(&self, who: &str) -> Option<Dice> {
        self.work.varied.then(|| self.world.dice(&format!("ways of {who}")))
    }

    /// Which acknowledgement `who` asks for: all replicas', or only the leader's.
    fn acks(&self, who: &str) -> i16 {
        const LEADER: i16 = 1;
        const ALL: i16 = -1;
        let leader = self.ways(&format!("{who}: acks")).is_some_and(|mut dice| dice.chance(500));
        if leader { LEADER } else { ALL }
    }

    /// Waits until the topic exists.
    pub async fn topic(&self) {
        while !self.history.is_topic_known() {
            self.world.sleep_ms(20).await;
        }
    }
}

/// The topic everybody works on.
pub const TOPIC: &str = "work";
/// The group of the consumers.
pub const GROUP: &str = "readers";
