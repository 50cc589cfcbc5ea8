//! Keys of `server.properties`: all that Kafka 4.4 shows, and ours.

mod a_to_k;
pub(super) mod absent;
mod l_to_o;
mod p_to_r;
mod s_to_z;

use super::Key;

const PARTS: [&[Key]; 4] = [a_to_k::KEYS, l_to_o::KEYS, p_to_r::KEYS, s_to_z::KEYS];

const COUNT: usize = {
    let mut count = 0;
    let mut part = 0;
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
};

/// The parts, one behind the other.
static JOINED: [Key; COUNT] = {
    let mut all = [a_to_k::KEYS[0]; COUNT];
    let (mut at, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut of_part = 0;
        while of_part < PARTS[part].len() {
            all[at] = PARTS[part][of_part];
            at += 1;
            of_part += 1;
        }
        part += 1;
    }
    all
};

/// Keys of a broker. Sorted by name.
pub const BROKER_KEYS: &[Key] = &JOINED;
