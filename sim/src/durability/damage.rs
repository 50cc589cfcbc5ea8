//! Faults that change bytes at rest or take files away. There is one replica, so what is damaged in
//! a log is lost; what is promised is that it is told, and that nothing else is.

use super::{Cell, Promise, Row, Shows};
use Cell::{Safe, Weak};

const TOLD: &[&str] = &["told-at-start", "acked-survives", "one-content"];
const RECORDS: Cell = Safe(TOLD);
const OFFSETS: Cell = Safe(&["commits-stay", "commit-is-written"]);
const TOPICS: Cell = Safe(&["topics", "settle"]);
const SAFE: [Cell; 4] = [RECORDS, RECORDS, OFFSETS, TOPICS];

const fn weak(short: &'static str, loses: &'static str, plan: &'static str, shows: Shows) -> Cell {
    Weak { short, loses, plan, shows }
}

/// A start that is refused stops everything alike.
const fn refused(
    loses: &'static str,
    plan: &'static str,
    class: &'static str,
    word: &'static str,
) -> [Cell; 4] {
    [weak("start refused", loses, plan, Shows::Refused(class, word)); 4]
}

const BATCHES: &str = "The records of the damaged batches, for good, unless a copy of the file is put back before a \
    start has told of them. What lies before and behind can be read.";

/// The rows.
pub(super) const ROWS: &[Row] = &[
    Row {
        fault: "Bit rot in closed segments",
        classes: &["bit rot"],
        happens: "Bits of sectors flip that were written long ago.",
        told: "A start does not read closed segments. Whoever reads the batch gets CORRUPT_MESSAGE, or bytes whose checksum shows it \
            (`damage-is-told`, `fetched-batch`); `gregor verify --deep` names the offsets.",
        cells: [
            weak(
                "the damaged batches, told",
                BATCHES,
                "weak-bit-rot-replicated",
                Shows::Told("bit rot"),
            ),
            weak(
                "the damaged batches, told",
                BATCHES,
                "weak-bit-rot-fsync",
                Shows::Told("bit rot"),
            ),
            OFFSETS,
            TOPICS,
        ],
    },
    Row {
        fault: "Misdirected write",
        classes: &["misdirected write"],
        happens: "A write lands where it should, and on a sector of a closed segment as well.",
        told: "As for bit rot.",
        cells: [
            weak(
                "the overwritten batches, told",
                BATCHES,
                "weak-misdirected-replicated",
                Shows::Told("misdirected write"),
            ),
            weak(
                "the overwritten batches, told",
                BATCHES,
                "weak-misdirected-fsync",
                Shows::Told("misdirected write"),
            ),
            OFFSETS,
            TOPICS,
        ],
    },
    Row {
        fault: "A closed segment is damaged or gone",
        classes: &["damaged closed segment"],
        happens: "Its file rots, takes a foreign write, or is missing, while the broker runs or while it is down.",
        told: "Readers get an error; a missing file is noticed by a start, which names the offsets and remembers them.",
        cells: [
            weak(
                "that segment, told",
                BATCHES,
                "weak-closed-segment-replicated",
                Shows::Told("damaged closed segment"),
            ),
            weak(
                "that segment, told",
                BATCHES,
                "weak-closed-segment-fsync",
                Shows::Told("damaged closed segment"),
            ),
            OFFSETS,
            TOPICS,
        ],
    },
    Row {
        fault: "The segment that grows is damaged or gone",
        classes: &["damaged open segment"],
        happens: "The same to the last segment of a log, in what was durable.",
        told: "A start that meets it (bytes that are missing, or behind the last envelope) says `bytes on disk \
            are damaged` with the offsets, or that the log may hold less than it was promised to; the journal remembers it. \
            Otherwise readers get an error, as from a closed segment.",
        cells: [
            weak(
                "the damaged batches, told",
                BATCHES,
                "weak-open-segment-replicated",
                Shows::Told("damaged open segment"),
            ),
            weak(
                "the damaged batches, told",
                "As for `replicated`; what the journal still holds of it (the batches that were acknowledged last) is written \
                 again by the start.",
                "weak-open-segment-fsync",
                Shows::Told("damaged open segment"),
            ),
            OFFSETS,
            TOPICS,
        ],
    },
    Row {
        fault: "The log of committed offsets is damaged",
        classes: &["damaged coordinator log"],
        happens: "A segment of `__consumer_offsets` rots or is gone.",
        told: "Members get COORDINATOR_NOT_AVAILABLE for as long as the log cannot be read; the broker's log says \
            that a coordinator shard cannot be loaded, and a start that the log is damaged.",
        cells: [
            RECORDS,
            RECORDS,
            weak(
                "all groups of that shard, told",
                "The commits of the groups that live in that partition cannot be served. With the file back, everything is; \
                 without it, the groups begin anew.",
                "weak-coordinator-log",
                Shows::Told("damaged coordinator log"),
            ),
            TOPICS,
        ],
    },
    Row {
        fault: "The journal is damaged or a file of it is gone",
        classes: &["damaged journal"],
        happens: "A header, or a group that is not the last one, rots or takes a foreign write, or a file is missing.",
        told: "The start says that a part of the journal cannot be read, and of every log that it may hold less than it was promised to; \
            or it refuses and names the file. [What cannot be told](#what-nobody-can-tell).",
        cells: [
            weak(
                "unknown extent, told",
                "Records of segments whose creation or end only the lost groups knew. The logs are served as far as \
                 their files show; one that only the lost groups named is begun anew beside its files, which `gregor dump` reads.",
                "weak-journal-replicated",
                Shows::LostAndTold("damaged journal", Promise::Replicated),
            ),
            weak(
                "unknown extent, told",
                "As for `replicated`; and, if the power went as well, what was acknowledged and lay in that part of the journal \
                 only (the last 200 ms before).",
                "weak-journal-fsync",
                Shows::LostAndTold("damaged journal", Promise::Fsync),
            ),
            weak(
                "unknown extent, told",
                "As for `replicated`: a group may go back to an older commit.",
                "weak-journal-replicated",
                Shows::Told("damaged journal"),
            ),
            TOPICS,
        ],
    },
    Row {
        fault: "The manifest is damaged or gone",
        classes: &["damaged manifest"],
        happens: "The journal's state at one moment cannot be read.",
        told: "The start is refused, names the file, and changes nothing.",
        cells: refused(
            "Nothing with the manifest back from a copy of the same moment; without it the directory cannot be opened. \
             `gregor dump` still shows what is in the segments.",
            "weak-manifest",
            "damaged manifest",
            "manifest",
        ),
    },
    Row {
        fault: "The identity is damaged or gone",
        classes: &["damaged identity"],
        happens: "The file that says whose directory it is cannot be read.",
        told: "The start is refused and names the file.",
        cells: refused(
            "Nothing with the file back. It never changes, so any older copy will do.",
            "weak-identity",
            "damaged identity",
            "identity",
        ),
    },
    Row {
        fault: "The metadata log is damaged or gone",
        classes: &["damaged metadata log"],
        happens: "Its bytes rot or take a foreign write, but for the last entry after a crash, which may have torn it as well.",
        told: "The start is refused and names the file.",
        cells: refused(
            "Nothing with the file back. Without it the broker does not begin: which topics there are is known nowhere else.",
            "weak-metadata-log",
            "damaged metadata log",
            "metadata log",
        ),
    },
    Row {
        fault: "An envelope file is damaged or gone",
        classes: &["damaged envelopes"],
        happens: "What vouches for runs of batches of a segment cannot be read.",
        told: "A start checks the segment by itself, and says that envelopes are missing if one should be there.",
        cells: SAFE,
    },
    Row {
        fault: "Seal, starts or a producers' file is damaged or gone",
        classes: &["damaged seal", "damaged starts", "damaged producers"],
        happens: "Files that only make a start quicker cannot be read.",
        told: "The start is one after a crash, and says so; producers are found in the batches.",
        cells: SAFE,
    },
    Row {
        fault: "The only directory comes back empty, or as an older copy",
        classes: &["replaced directory"],
        happens: "A new disk, a snapshot that was rolled back, the wrong mount: the broker has nothing else that remembers.",
        told: "Nobody is told: it is taken for a new broker, or for one that was never used since. With several `log.dirs` a directory that \
            is empty or another one is refused ([below](#several-directories)); an older copy of one is not told.",
        cells: [
            replaced("open-replaced-directory-older"),
            replaced("open-replaced-directory-empty"),
            replaced("open-replaced-directory-older"),
            replaced("open-replaced-directory-empty"),
        ],
    },
];

const fn replaced(plan: &'static str) -> Cell {
    weak(
        "everything since, untold",
        "All of it, or all since the copy was made.",
        plan,
        Shows::Untold("told-at-start"),
    )
}
