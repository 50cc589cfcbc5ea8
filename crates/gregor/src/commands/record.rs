//! `gregor record`: what the flight recorder of a running broker holds, fetched from its side door.
//!
//! Invariants: what is written is a whole record, looked through before a byte of it is written; an
//! answer beyond [`ANSWER_BYTES_MAX`] is refused.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use base::Duration;
use base::trace;

use crate::cli::RecordCommand;
use crate::failure::Failure;

/// Largest answer that is taken: far beyond any sensible `gregor.flight.recorder.bytes`.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// Runs `gregor record`.
///
/// # Errors
/// [`Failure`].
pub fn run(command: RecordCommand) -> Result<(), Failure> {
    let RecordCommand::Dump { http, out, timeout } = command;
    let text = get(&http, "/record", timeout)?;
    text.parse::<trace::Record>().map_err(|error| Failure::Advised {
        what: format!("what {http} answers is no flight record: {error}"),
        hint: "is this the address of gregor.http.listener, and the broker of this version?".into(),
    })?;
    match out {
        Some(path) => std::fs::write(&path, text).map_err(|source| Failure::System {
            what: format!("writing {}", path.display()),
            source,
        }),
        None => io::stdout().write_all(text.as_bytes()).map_err(Failure::Output),
    }
}

/// The body of an answer of the side door.
fn get(at: &str, path: &str, timeout: Duration) -> Result<String, Failure> {
    let failed = |why: io::Error| Failure::Advised {
        what: format!("cannot connect to {at}: {why}"),
        hint: "the broker logs where it serves metrics when it starts; --http HOST:PORT names it"
            .to_owned(),
    };
    let broken = |why: String| Failure::Broken { at: at.to_owned(), why };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut stream = None;
    for address in at.to_socket_addrs().map_err(failed)? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(connected) => {
                stream = Some(connected);
                break;
            },
            Err(error) => last = error,
        }
    }
    let mut stream = stream.ok_or_else(|| failed(last))?;
    let ask = || -> io::Result<Vec<u8>> {
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = String::from_utf8(ask().map_err(|error| broken(error.to_string()))?);
    let answer = answer.map_err(|error| broken(error.to_string()))?;
    let (head, body) =
        answer.split_once("\r\n\r\n").ok_or_else(|| broken("no HTTP answer".to_owned()))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" {
        return Ok(body.to_owned());
    }
    Err(Failure::Refused {
        what: format!("GET http://{at}{path}"),
        code: wire::error_code::ErrorCode::UNKNOWN_SERVER_ERROR,
        told: Some(format!("status {status}: {}", body.trim())),
    })
}
