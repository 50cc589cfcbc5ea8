//! The simulated disk: what the cache says, what the platter says, and how they part.
//!
//! Owns: [`Image`], the pure model of one machine's file system, and [`SimDisk`], the door to it.
//! Invariants: bytes are durable only after a successful sync, directory entries only after their
//! directory's sync; a process crash keeps the cache; a power loss keeps, drops or tears each
//! dirty sector on its own; damage changes what is read and never what was written.

mod armed;
mod damage;
mod device;
mod door;
mod image;
mod inode;
mod lost;
mod names;
mod power;

pub use armed::{Armed, OpKind, Sprung, StartTrap, Trap};
pub use damage::{AtRest, Place};
pub use device::Device;
pub use door::{SimDirLock, SimDisk, SimFile};
pub use image::Image;
pub use lost::Harmed;
pub use power::Taken;
