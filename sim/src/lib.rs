//! Gregor in a box: the whole broker inside a universe that is a function of one seed.
//!
//! Owns: virtual time, the simulated disk and network, nodes with incarnations, the fault plan,
//! the workloads and the oracles, and the command line over them. Everything above `Env` is the
//! shipped code; nothing here is linked into the product.
//! Invariant: same seed and same binary, same trace hash.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_macros, reason = "a panic's place is kept per thread, no state")]

#[cfg(not(madsim))]
compile_error!(
    "the simulator needs `--cfg madsim`, which `.cargo/config.toml` sets; \
     an environment RUSTFLAGS replaces it: unset RUSTFLAGS, or add `--cfg madsim` to it"
);

pub mod budget;
pub mod campaign;
pub mod check;
pub mod cli;
pub mod client;
pub mod determinism;
pub mod disk;
pub mod durability;
pub mod fault;
pub mod mutants;
pub mod net;
pub mod page;
pub mod scenario;
pub mod shrink;
pub mod system;
pub mod world;

#[cfg(test)]
mod tests {
    #[test]
    fn the_simulator_is_built_with_its_cfg() {
        let is_set = cfg!(madsim);
        assert!(is_set, "an environment RUSTFLAGS hides .cargo/config.toml");
    }
}
