//! What a process has used so far, as the kernel tells it in `/proc`.

use std::time::Duration;

use crate::failure::Failure;

/// Ticks of the processor times in `/proc/PID/stat`; the same on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time and memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads, those that ended included; to 10 ms.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Of that, memory that belongs to no file.
    pub anonymous_bytes: u64,
}

/// What the process has used.
///
/// # Errors
/// [`Failure::System`] if there is no such process.
pub fn usage(pid: u32) -> Result<Usage, Failure> {
    let read = |file: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/{file}"))
            .map_err(|source| Failure::System { what: format!("looking at process {pid}"), source })
    };
    let (stat, status) = (read("stat")?, read("status")?);
    let unclear = || Failure::Other(format!("/proc/{pid} is not as expected"));
    Ok(Usage {
        cpu: cpu(&stat).ok_or_else(unclear)?,
        resident_bytes: bytes(&status, "VmRSS:").ok_or_else(unclear)?,
        anonymous_bytes: bytes(&status, "RssAnon:").ok_or_else(unclear)?,
    })
}

/// The name in parentheses may hold anything, so fields are counted behind it.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()?.checked_add(ticks()?)?;
    Some(Duration::from_millis(ticks.checked_mul(1000 / TICKS_PER_SECOND)?))
}

fn bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_any_name() {
        let stat = "42 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 3 0 1 2 3";
        assert_eq!(cpu(stat), Some(Duration::from_millis(1750)));
        assert_eq!(cpu("42 (a"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident_bytes >= usage.anonymous_bytes && usage.anonymous_bytes > 0);
    }
}
