//! The simulated network: byte streams between processes, and what can happen to them.
//!
//! Owns: [`NetState`] (listeners, connections, cuts) and the door to it. Invariants: bytes arrive
//! in order or not at all; a window bounds what is under way; whoever waits is woken when what he
//! waits for can no longer come.

mod door;
mod pipe;
mod state;

pub use door::{SimListener, SimNet, SimStream};
pub use state::{NetState, address_of};
