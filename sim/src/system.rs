//! What is simulated: the broker process, as the daemon would start it.

use crate::fault::Work;
use crate::world::{Program, program};

/// The broker as a program of its node.
pub fn broker(_work: &Work) -> Program {
    program(|_env| std::future::pending())
}
