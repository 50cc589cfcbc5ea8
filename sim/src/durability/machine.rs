//! Faults of processes, machines, disks, clocks and networks that leave the bytes alone.

use super::{Cell, Promise, Row, Shows};
use Cell::{Safe, Weak};

const RECORDS: Cell = Safe(&["acked-survives", "one-content", "told-at-start"]);
const OFFSETS: Cell = Safe(&["commits-stay", "commit-is-written"]);
const TOPICS: Cell = Safe(&["topics", "settle"]);
/// Nothing of any kind is lost.
const SAFE: [Cell; 4] = [RECORDS, RECORDS, OFFSETS, TOPICS];
/// A power loss, in its columns that hold.
const DURABLE: Cell = Safe(&["fsync-survives", "fsync-is-durable"]);

/// The rows.
pub(super) const ROWS: &[Row] = &[
    Row {
        fault: "Process crash (`kill -9`, panic, out of memory)",
        classes: &["process crash", "process crash at a disk operation"],
        happens: "The broker's process is gone from one instruction to the next, also in the middle of a write, rename or sync. \
            The page cache stays with the kernel, and everything that was acknowledged is at least there.",
        told: "The next start says that the last process was killed, how many logs it checked and how many bytes it cut; it \
            begins a new leader epoch. Clients see a closed connection and try again.",
        cells: SAFE,
    },
    Row {
        fault: "Repeated crash, during the start as well",
        classes: &["process crash during start"],
        happens: "The process dies, and so do its next one to three starts, each at another disk operation of recovery.",
        told: "As for one crash. What an interrupted start found out about damage is found out, or remembered, by the next.",
        cells: SAFE,
    },
    Row {
        fault: "Clean stop, or restart of the kernel in good order",
        classes: &["clean stop", "kernel restart"],
        happens: "SIGTERM; or the system goes down and writes its cache back.",
        told: "After a clean stop the next start says so and reads no log body.",
        cells: SAFE,
    },
    Row {
        fault: "Power loss, or crash of the kernel",
        classes: &["power loss", "power loss at a disk operation", "directory changes reordered"],
        happens: "Whatever was not synced may be there, gone or torn, sector by sector; directory entries that were not synced \
            may be gone, in any order.",
        told: "The start says that the system may have gone down, and what it cut of which log. A consumer whose position lies \
            beyond the new end gets OFFSET_OUT_OF_RANGE, in a new leader epoch. Nobody can tell which records \
            were in the part that is gone: a producer that was acknowledged is told nothing.",
        cells: [POWER_REPLICATED, DURABLE, POWER_OFFSETS, TOPICS],
    },
    Row {
        fault: "Power loss during recovery",
        classes: &["power loss during start"],
        happens: "A process crash, and then the power goes one to three times before the start that follows it is done.",
        told: "As for a power loss.",
        cells: [
            Weak {
                short: "last 200 ms before the crash",
                loses: "What was acknowledged in the last 200 ms (or 32 MiB of a log) before the process crash and had not \
                    been written again and synced by the start. Nothing older: recovery never makes durable bytes less so.",
                plan: "weak-power-loss-during-start",
                shows: Shows::Lost(Promise::Replicated),
            },
            DURABLE,
            Weak {
                short: "last 200 ms before the crash",
                loses: "Commits of the last 200 ms before the crash; a consumer reads those records again.",
                plan: "weak-offsets-power-loss-during-start",
                shows: Shows::Lost(Promise::Offsets),
            },
            TOPICS,
        ],
    },
    Row {
        fault: "Crash or power loss at the worst place",
        classes: &["crash between two operations", "crash at a mark"],
        happens: "Process or power ends exactly between two operations (a rename and the sync of its directory, say), or in \
            the middle of a rare branch such as the first write after recovery.",
        told: "As for that crash.",
        cells: [POWER_REPLICATED, DURABLE, POWER_OFFSETS, TOPICS],
    },
    Row {
        fault: "fsync fails (EIO)",
        classes: &["failed sync"],
        happens: "A sync returns an error, and the kernel then takes the pages for clean, so that the next one would succeed. \
            No sync is tried twice: the directory is dead for the life of the process.",
        told: "A broker with one directory stops with the reason and exit code 1; with several, the partitions of that one answer \
            KAFKA_STORAGE_ERROR and the others serve. What was waiting for that sync is not acknowledged.",
        cells: SAFE,
    },
    Row {
        fault: "Write fails, or stops short (EIO)",
        classes: &["short write"],
        happens: "A write returns an error after some of its bytes.",
        told: "As for a failed fsync.",
        cells: SAFE,
    },
    Row {
        fault: "Read fails for a while",
        classes: &["failed read", "latent sector"],
        happens: "Reads return an error, of any file or of sectors of closed segments, and succeed later.",
        told: "Whoever reads there gets an error; a start may fail and says why.",
        cells: SAFE,
    },
    Row {
        fault: "Disk full",
        classes: &["disk full"],
        happens: "A write finds room for some of its bytes or none. The part that was written is cut off again.",
        told: "The log says once that the disk is full and once that it has room again. Producers get KAFKA_STORAGE_ERROR, \
            commits COORDINATOR_NOT_AVAILABLE, both of which are tried again; reads go on. No restart is needed.",
        cells: SAFE,
    },
    Row {
        fault: "Disk stalls, or is slow",
        classes: &["stalled disk", "slow disk"],
        happens: "Operations return seconds later, or take sixty times as long.",
        told: "Nobody is told; requests wait or time out. The bound of 200 ms of the background flush is then as late as the \
            disk is.",
        cells: SAFE,
    },
    Row {
        fault: "Drive lies about fsync, and the power stays",
        classes: &["lying sync"],
        happens: "Syncs succeed, and the drive has the bytes in its own volatile cache only. It writes them later.",
        told: "Nobody can know.",
        cells: SAFE,
    },
    Row {
        fault: "Drive lies about fsync, then power loss",
        classes: &[],
        happens: "The same, and the power goes before the drive has written what it said it had.",
        told: "The start tells of damage where what it finds contradicts what was durable (it says that a log may hold less, or \
            refuses); where a whole end is missing, nobody can know. A consumer beyond the end gets OFFSET_OUT_OF_RANGE.",
        cells: [
            Weak {
                short: "whatever the drive held back",
                loses: "All that was written since the drive began to lie, without bound. What is served is still what was \
                    written: no invented or foreign record (`known-content`).",
                plan: "weak-lying-disk-replicated",
                shows: Shows::Lied(Promise::Replicated),
            },
            Weak {
                short: "whatever the drive held back",
                loses: "The same, acknowledgements that meant durable included. Use drives whose cache survives a power \
                    loss, or switch the cache off.",
                plan: "weak-lying-disk-fsync",
                shows: Shows::Lied(Promise::Fsync),
            },
            Weak {
                short: "whatever the drive held back",
                loses: "The same.",
                plan: "weak-lying-disk-offsets",
                shows: Shows::Lied(Promise::Offsets),
            },
            Weak {
                short: "whatever the drive held back",
                loses: "Topics and settings that were acknowledged since the drive began to lie.",
                plan: "weak-lying-disk-topics",
                shows: Shows::Excused("topics"),
            },
        ],
    },
    Row {
        fault: "Clock jumps, or drifts",
        classes: &["clock jump", "clock drift"],
        happens: "The wall clock jumps by up to five minutes in either direction, or all clocks run wrong by up to a tenth.",
        told: "Nobody is told. Offsets and promises do not depend on a clock. Ages do: `retention.ms`, `min.compaction.lag.ms` and \
            timestamps go by the wall clock as it is.",
        cells: SAFE,
    },
    Row {
        fault: "Process or machine stands still",
        classes: &["suspend", "pause", "stalled runtime", "slow node"],
        happens: "SIGSTOP, a virtual machine that is suspended or starved, a laptop that sleeps: for up to five seconds.",
        told: "Clients time out and try again. The flush of 200 ms comes when the process runs again.",
        cells: SAFE,
    },
    Row {
        fault: "Network or clients fail",
        classes: &["connection reset", "cut", "slow net", "stalled reader", "gone for good"],
        happens: "Connections break at any byte, packets pass in one direction only, a client stops reading or is gone for ever.",
        told: "A client that got no answer does not know whether its request was carried out; an idempotent producer may send \
            again and is there once (`exactly-once`).",
        cells: SAFE,
    },
];

const POWER_REPLICATED: Cell = Weak {
    short: "last 200 ms",
    loses: "What was acknowledged in the last 200 ms, or the last 32 MiB of a log if that is less, counted back from the instant the \
        power went; longer if the disk was slow, full or stalled. What is older is safe (`flushed-in-time`, judged with 2 s).",
    plan: "weak-replicated-power-loss",
    shows: Shows::Lost(Promise::Replicated),
};

const POWER_OFFSETS: Cell = Weak {
    short: "last 200 ms",
    loses: "Commits of the last 200 ms: the group goes on from the commit before, and reads those records again \
        (`flushed-in-time`, judged with 2 s). No commit goes back behind what was durable (`commits-stay`).",
    plan: "weak-offsets-power-loss",
    shows: Shows::Lost(Promise::Offsets),
};
