//! Telling a service manager how far the process is (`sd_notify(3)`), for `Type=notify` units.
//!
//! Invariants: a process that nobody manages tells nobody; what cannot be told is no failure, for
//! the manager has a time limit of its own.

use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Names the manager's socket.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Who manages this process, if somebody does.
#[derive(Debug)]
pub struct Manager {
    at: Option<(UnixDatagram, SocketAddr)>,
}

impl Manager {
    /// The manager that the environment names.
    pub fn from_environment() -> Self {
        Self { at: std::env::var_os(VARIABLE).and_then(|name| open(&name)) }
    }

    /// Says a state, such as `READY=1`.
    pub fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.at
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::debug!(%error, "the service manager was not told {state:?}");
        }
    }
}

/// A path, or a name in the abstract space behind an `@`.
fn open(name: &OsStr) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(OsString::from(name)),
        _ => return None,
    };
    Some((UnixDatagram::unbound().ok()?, address.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_in_the_abstract_space_is_told() {
        let name = format!("gregor-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let manager = Manager { at: open(OsStr::new(&format!("@{name}"))) };

        manager.tell("READY=1");

        let mut told = [0; 64];
        let length = socket.recv(&mut told).unwrap();
        assert_eq!(&told[..length], b"READY=1");
        assert!(open(OsStr::new("nothing of the kind")).is_none());
        Manager { at: None }.tell("READY=1");
    }
}
