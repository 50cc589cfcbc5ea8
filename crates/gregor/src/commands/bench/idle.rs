//! `gregor bench connections`: what a connection costs on which nothing happens.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde::Serialize;

use super::report::{number, rounded};
use super::socket::{broken, connect};
use super::target::{Broker, Kind};
use crate::cli;
use crate::failure::Failure;
use crate::output::Output;

/// ApiVersions in version 0, asked by nobody: a length of 10, key 18, version 0, correlation 1, no
/// client id.
const QUESTION: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
/// For what a broker gives back a little later.
const SETTLE: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
struct Outcome {
    broker: Kind,
    connections: u32,
    /// Memory of the broker's process that belongs to no file, a connection; the kernel's own
    /// memory for a socket is not in it.
    bytes_per_connection: Option<f64>,
    seconds: f64,
    /// Processor time of the broker meanwhile.
    cpu_ms: Option<f64>,
}

/// Runs `gregor bench connections`.
///
/// # Errors
/// [`Failure`].
pub fn run(arguments: &cli::Idle) -> Result<(), Failure> {
    if arguments.printing.plot.is_some() {
        return Err(Failure::Usage("there is nothing to draw of connections".to_owned()));
    }
    env_tokio::raise_descriptor_limit();
    let broker = Broker::of(&arguments.target)?;
    // What a first connection needs once is not the others'.
    drop(ask(&broker)?);
    std::thread::sleep(SETTLE);
    let before = broker.usage()?;
    let connections = (0..arguments.count).map(|_| ask(&broker)).collect::<Result<Vec<_>, _>>()?;
    std::thread::sleep(SETTLE);
    let opened = broker.usage()?;
    std::thread::sleep(Duration::from_secs_f64(arguments.seconds));
    let after = broker.usage()?;
    drop(connections);
    let outcome = Outcome {
        broker: broker.kind,
        connections: arguments.count,
        bytes_per_connection: before.zip(opened).map(|(before, opened)| {
            let grown = opened.anonymous_bytes.saturating_sub(before.anonymous_bytes);
            rounded(number(grown) / f64::from(arguments.count))
        }),
        seconds: arguments.seconds,
        cpu_ms: opened.zip(after).map(|(opened, after)| {
            rounded(after.cpu.saturating_sub(opened.cpu).as_secs_f64() * 1e3)
        }),
    };
    let mut out = Output::new(arguments.printing.json);
    if out.is_json() {
        out.object(&outcome)?;
    } else {
        let shown = |value: Option<f64>| {
            value.map_or_else(|| "unknown (--pid tells)".to_owned(), |value| format!("{value:.0}"))
        };
        out.line(&format!(
            "{} idle connections to {}: {} bytes each, {} ms of CPU in {} s",
            outcome.connections,
            outcome.broker,
            shown(outcome.bytes_per_connection),
            shown(outcome.cpu_ms),
            outcome.seconds,
        ))?;
    }
    out.flush()
}

/// A connection that has asked once and been answered.
fn ask(broker: &Broker) -> Result<TcpStream, Failure> {
    let mut stream = connect(broker.at)?;
    let mut asked = || {
        stream.write_all(&QUESTION)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut left = u64::from(u32::from_be_bytes(length));
        let mut some = [0; 512];
        while left > 0 {
            let most = usize::try_from(left.min(512)).unwrap_or(512);
            let spare = some.get_mut(..most).unwrap_or_default();
            stream.read_exact(spare)?;
            left -= u64::try_from(most).unwrap_or(left);
        }
        Ok(())
    };
    asked().map_err(|error: std::io::Error| broken(broker.at, &error))?;
    Ok(stream)
}
