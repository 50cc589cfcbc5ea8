//! `docs/durability.md`: the table as words, with the counts of the campaign that made it.
//!
//! Invariants: the page is a function of the table and of [`Counts`], and the counts can be read
//! back from it, so that a page is stale exactly if it differs from itself made again. Where a row
//! has several fault classes, its count is that of the class that met the promise in most seeds.

use super::{Cell, Met, Promise, Row, rows};

/// What a campaign came to, as far as the page tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Universes.
    pub seeds: u64,
    /// The first of them.
    pub start: u64,
    /// Those that failed, or whose process ended: they back nothing.
    pub failed: u64,
    /// The commit that was run.
    pub commit: String,
    /// Of each row, by [`Promise::ALL`].
    pub rows: Vec<[u64; 4]>,
}

const HEAD: &str = "\
# Durability, by mode and fault

For who runs a broker and has to know what may be lost. A topic says with `gregor.durability` when a record is acknowledged
([how to change it](operations.md#changing-settings)):

* **`replicated`** (the default): once every in-sync replica has it in its page cache; with one broker that is one. It survives
  the process, and the power as well once a flush that runs behind has it: that begins after 200 ms or 32 MiB of a log at the
  latest, whichever comes first, and takes as long as the disk does (no setting changes it).
* **`fsync`** (also `flush.messages=1` or `flush.ms=0`): once it is durable, with everything before it in its partition; one fsync of the
  journal serves all producers that wait. It survives the power from the acknowledgement on.
* **Committed offsets** of consumer groups are records of `__consumer_offsets`, a `replicated` topic.
* **Topics and their settings** are durable when the request is answered, in every mode.

`acks=all` and `acks=1` mean the same, for a topic has one replica in this version. With `acks=0` the client is told nothing, and nothing is
promised: a record whose request met a closed connection, a full disk or a crash is gone without a word (the plan
`sim/corpus/weak-acks-0.json` shows it). Once it is in the log it is as safe as any other record there.

## At a glance

*Safe*: nothing that was acknowledged is lost. **Weak**: what may be lost. *Told*: whoever asks for it gets an error, and the log says so.

";

const MIDDLE: &str = "
## Fault by fault

Each safe cell names the [oracles](simulation.md#oracles) that would see a loss, and the number of seeds of the
campaign at the [end of this page](#the-campaign) in which the fault took effect on the broker after something was acknowledged
in that mode, and every oracle was heard and content. Each weak cell names a plan; `cargo sim --plan FILE --html run.html` draws it, and
`cargo test -p sim --test durability` replays them all and holds that each shows its loss.
";

const TAIL: &str = "
## Several directories

A node with several `log.dirs` may lose one and serve the others; the simulator's node has one, so this part is held by tests and
has no count of seeds. In `crates/broker/tests/broker/dirs.rs`, and on real file systems by `jepsen/disk_full.py`:

| fault | what holds |
|---|---|
| a directory fails | its partitions answer KAFKA_STORAGE_ERROR, the others serve; after a restart with the disk repaired, as for a failed fsync |
| a directory comes up empty, as another one, or is not named any more | the start is refused until it is back, or its loss is accepted with `--accept-lost-dir` |
| the directory of the metadata fails or is lost | the broker ends, or does not begin a new cluster |

## What nobody can tell

* Rot of exactly the last group of the journal looks like a write that a crash tore; batches in `fsync` mode are missed without
  a word only if the power went as well within 200 ms ([ADR 0014](adr/0014-a-lap-is-vouched-for.md)).
* The same for the last entry of the metadata log, and for batches at the open end of a segment that no envelope vouches for yet.
* A batch's base offset and leader epoch are under no checksum; `gregor verify --deep` and look-ups check that offsets follow each other, a
  fetch of 64 KiB and more sends the file unseen.
* A write that the drive drops without a trace at its own place, and all that was acknowledged by a broker whose directory was replaced.

More of what a simulation cannot show is [on its own page](simulation.md#what-it-cannot-show).
";

/// The page.
pub fn page(counts: &Counts) -> String {
    let mut page = HEAD.to_owned();
    table(&mut page, "fault", |row, at, _| match &row.cells[at] {
        Cell::Safe(_) => "safe".to_owned(),
        Cell::Weak { short, .. } => format!("**weak**: {short}"),
    });
    page += MIDDLE;
    for (row, counts) in rows().zip(&counts.rows) {
        detail(&mut page, row, counts);
    }
    page += TAIL;
    write_campaign(&mut page, counts);
    page
}

fn table(page: &mut String, first: &str, cell: impl Fn(&Row, usize, usize) -> String) {
    let names = Promise::ALL.map(Promise::name).join(" | ");
    *page += &format!("| {first} | {names} |\n|---|---|---|---|---|\n");
    for (number, row) in rows().enumerate() {
        let cells: Vec<String> = (0..Promise::ALL.len()).map(|at| cell(row, at, number)).collect();
        *page += &format!("| {} | {} |\n", row.fault, cells.join(" | "));
    }
}

fn detail(page: &mut String, row: &Row, counts: &[u64; 4]) {
    *page += &format!("\n### {}\n\n{} {}\n\n", row.fault, row.happens, row.told);
    for ((promise, cell), seeds) in Promise::ALL.iter().zip(&row.cells).zip(counts) {
        let name = promise.name();
        match cell {
            Cell::Safe(oracles) => {
                let oracles: Vec<String> = oracles.iter().map(|of| format!("`{of}`")).collect();
                *page += &format!("* {name}: safe; {}, {seeds} seeds\n", oracles.join(", "));
            },
            Cell::Weak { loses, plan, .. } => {
                *page +=
                    &format!("* {name}: **weak**. {loses} Shown by `sim/corpus/{plan}.json`\n");
            },
        }
    }
}

/// What a row that no class counts for has in place of a number.
const UNCOUNTED: &str = "–";

fn write_campaign(page: &mut String, counts: &Counts) {
    let Counts { seeds, start, failed, commit, rows } = counts;
    *page += "\n## The campaign\n\nThis page is made by `cargo sim --seeds 20000 --durability docs/durability.md` (or `--for 60m`) from the table in \
        `sim/src/durability.rs`;\na test holds that it is as the table says, that no safe cell has a count of 0, and that every oracle and plan exists. In \
        how many seeds\neach fault met each promise (of a row with several fault classes: the one that did so most often):\n\n";
    table(page, "seeds", |row, at, number| match rows.get(number) {
        Some(counts) if !row.classes.is_empty() => counts[at].to_string(),
        _ => UNCOUNTED.to_owned(),
    });
    *page += &format!(
        "\nThe last campaign: {seeds} seeds from {start} on, {failed} of them failed, at commit {commit}.\n"
    );
}

impl Counts {
    /// The counts of a campaign.
    pub fn of(met: &Met, (seeds, start, failed): (u64, u64, u64), commit: String) -> Self {
        let count = |class: &&str, promise: &Promise| {
            met.get(*class).and_then(|promises| promises.get(promise)).copied().unwrap_or(0)
        };
        let most = |row: &Row| {
            Promise::ALL.map(|promise| {
                row.classes.iter().map(|class| count(class, &promise)).max().unwrap_or(0)
            })
        };
        Self { seeds, start, failed, commit, rows: rows().map(most).collect() }
    }

    /// Safe cells that no seed backs.
    pub fn unbacked(&self) -> Vec<String> {
        let mut unbacked = Vec::new();
        for (row, counts) in rows().zip(&self.rows) {
            for ((promise, cell), seeds) in Promise::ALL.iter().zip(&row.cells).zip(counts) {
                if *seeds == 0 && matches!(cell, Cell::Safe(_)) {
                    unbacked.push(format!("no seed backs: {}, {}", row.fault, promise.name()));
                }
            }
        }
        unbacked
    }
}

/// The counts that a page has; `None` if it is not such a page.
pub fn read(page: &str) -> Option<Counts> {
    let (_, campaign) = page.split_once("\n## The campaign\n")?;
    let mut rows = Vec::new();
    let mut counts = Counts::default();
    for line in campaign.lines() {
        if let Some(rest) = line.strip_prefix("The last campaign: ") {
            let (seeds, rest) = rest.split_once(" seeds from ")?;
            let (start, rest) = rest.split_once(" on, ")?;
            let (failed, rest) = rest.split_once(" of them failed, at commit ")?;
            counts.failed = failed.parse().ok()?;
            counts.seeds = seeds.parse().ok()?;
            counts.start = start.parse().ok()?;
            counts.commit = rest.strip_suffix('.')?.to_owned();
        } else if line.starts_with("| ") && !line.starts_with("| seeds") {
            let cells: Vec<&str> = line.trim_matches(['|', ' ']).rsplitn(5, " | ").collect();
            let number =
                |cell: &&&str| if **cell == UNCOUNTED { Some(0) } else { cell.parse().ok() };
            let numbers: Vec<u64> =
                cells.iter().take(4).rev().map(|cell| number(&cell)).collect::<Option<_>>()?;
            rows.push(numbers.try_into().ok()?);
        }
    }
    counts.rows = rows;
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Counts {
        let rows = (1..)
            .zip(rows())
            .map(|(at, row)| if row.classes.is_empty() { [0; 4] } else { [at, at + 1, at + 2, 0] });
        Counts { seeds: 500, start: 7, failed: 2, commit: "0a1b2c3".into(), rows: rows.collect() }
    }

    #[test]
    fn the_counts_can_be_read_back() {
        let counts = counts();
        assert_eq!(read(&page(&counts)), Some(counts));
    }

    #[test]
    fn a_safe_cell_that_no_seed_backs_is_named() {
        let unbacked = counts().unbacked();
        assert!(unbacked.iter().any(|line| line.contains("kill -9")), "{unbacked:?}");
        assert!(unbacked.iter().all(|line| line.contains("topics")), "{unbacked:?}");
    }

    #[test]
    fn of_several_classes_the_one_counts_that_met_a_promise_most_often() {
        let met = [("clean stop", 3), ("kernel restart", 5)];
        let met: Met =
            met.map(|(class, seeds)| (class.to_owned(), [(Promise::Fsync, seeds)].into())).into();

        let counts = Counts::of(&met, (9, 0, 0), String::new());
        let at = rows().position(|row| row.classes.contains(&"clean stop")).unwrap();
        assert_eq!(counts.rows[at], [0, 5, 0, 0]);
    }
}
