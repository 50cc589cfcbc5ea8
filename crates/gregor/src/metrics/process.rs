//! What the system says about this process.
//!
//! Invariant: what cannot be read is left out, and no reason to fail.

use std::fs;

/// Of a second, in what the kernel tells user space (`USER_HZ`, the same on every platform we run on).
const TICKS: f64 = 100.0;

/// A reading of `/proc/self`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Time on a processor, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory that is in use now, in bytes.
    pub resident_bytes: Option<u64>,
    /// File descriptors in use.
    pub open_fds: Option<u64>,
    /// File descriptors allowed.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// When it was started, in seconds since the Unix epoch.
    pub start_seconds: Option<f64>,
}

/// Reads it.
pub fn read() -> Process {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let fds = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    Process {
        open_fds: fds.and_then(|count| u64::try_from(count).ok()),
        ..parse(
            &read("/proc/self/stat"),
            &read("/proc/self/status"),
            &read("/proc/self/limits"),
            &read("/proc/stat"),
        )
    }
}

fn parse(stat: &str, status: &str, limits: &str, system: &str) -> Process {
    // The name in parentheses may have spaces and parentheses of its own.
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    // Numbered as in proc(5); the first two are left off.
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let line = |text: &str, start: &str| {
        text.lines().find_map(|line| line.strip_prefix(start).map(str::to_owned))
    };
    let number = |text: Option<String>| text?.split_whitespace().next()?.parse::<u64>().ok();
    let booted =
        number(line(system, "btime ")).and_then(|time| format!("{time}").parse::<f64>().ok());
    Process {
        cpu_seconds: field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS),
        resident_bytes: number(line(status, "VmRSS:")).map(|kib| kib.saturating_mul(1024)),
        open_fds: None,
        max_fds: number(line(limits, "Max open files")),
        threads: number(line(status, "Threads:")),
        start_seconds: booted.zip(field(22)).map(|(booted, ticks)| booted + ticks / TICKS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says_is_read_whatever_the_process_is_called() {
        let stat = "77 (a ) b) S 1 77 77 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 9 0 1234 1 2 3";
        let status = "Name:\ta\nVmRSS:\t    2048 kB\nThreads:\t9\n";
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n";

        let process = parse(stat, status, limits, "cpu 1 2\nbtime 1000\n");

        assert_eq!(process.cpu_seconds, Some(3.0));
        assert_eq!(process.resident_bytes, Some(2 * 1024 * 1024));
        assert_eq!((process.max_fds, process.threads), (Some(1024), Some(9)));
        assert_eq!(process.start_seconds, Some(1012.34));
        assert_eq!(parse("", "", "", ""), Process::default());
    }

    #[test]
    fn this_process_has_memory_descriptors_and_a_start() {
        let process = read();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{process:?}");
        assert!(process.open_fds.is_some_and(|count| count >= 3), "{process:?}");
        assert!(process.start_seconds.is_some_and(|time| time > 1e9), "{process:?}");
    }
}
