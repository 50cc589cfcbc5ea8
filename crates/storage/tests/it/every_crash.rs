//! A crash between any two disk operations of everything that a log can be asked for: what the
//! journal says afterwards is what is there, and holds what was promised.

use base::{LeaderEpoch, Offset, PartitionId, PartitionIndex, TopicId, Uuid};
use bytes::Bytes;
use storage::journal::{JournalEnd, read_journal};
use storage::{DirectoryFailed, Found, Log, LogDir, ReadError, TruncateError, WriteError, inspect};

use crate::support::*;

/// What one log is to be.
#[derive(Clone, Debug, Default)]
struct Model {
    exists: bool,
    start: i64,
    /// Epoch, first offset, one past the last, bytes.
    batches: Vec<(i32, i64, i64, Bytes)>,
    epoch: i32,
    /// Durable below this offset.
    durable: i64,
}

impl Model {
    fn end(&self) -> i64 {
        self.batches.last().map_or(self.start, |batch| batch.2).max(self.start)
    }

    fn cut(&mut self, at: i64) {
        self.batches.retain(|batch| batch.2 <= at);
        self.durable = self.durable.min(at);
    }
}

/// Both logs, as they are and as the step under way will leave them.
#[derive(Clone, Debug, Default)]
struct Models {
    now: [Model; 2],
    next: [Model; 2],
}

/// A process at work.
struct Work<'a> {
    dir: LogDir<MemEnv>,
    logs: [Option<Log<MemEnv>>; 2],
    models: &'a mut Models,
}

fn found(which: usize) -> Found {
    let topic = TopicId(Uuid([u8::try_from(which).unwrap() + 5; 16]));
    let partition = PartitionId { topic, index: PartitionIndex(0) };
    Found { partition, replica_gen: GEN }
}

impl Work<'_> {
    /// Notes what a step will do, and once it is done, that it has.
    fn step(
        &mut self,
        which: usize,
        change: impl FnOnce(&mut Model),
        act: impl FnOnce(&LogDir<MemEnv>, Option<&Log<MemEnv>>) -> Result<(), WriteError>,
    ) -> Option<()> {
        change(&mut self.models.next[which]);
        act(&self.dir, self.logs[which].as_ref()).ok()?;
        self.models.now = self.models.next.clone();
        Some(())
    }

    fn create(&mut self, which: usize) -> Option<()> {
        self.models.next[which] = Model { exists: true, ..Model::default() };
        let Found { partition, replica_gen } = found(which);
        self.logs[which] = Some(run(self.dir.create_log(partition, replica_gen, small())).ok()?);
        self.models.now = self.models.next.clone();
        Some(())
    }

    fn delete(&mut self, which: usize) -> Option<()> {
        self.models.next[which] = Model::default();
        let Found { partition, replica_gen } = found(which);
        run(self.dir.delete_log(partition, replica_gen)).ok()?;
        self.models.now = self.models.next.clone();
        Some(())
    }

    fn append(&mut self, which: usize, value_bytes: usize, fsync: bool) -> Option<()> {
        let model = &self.models.next[which];
        let (base, epoch) = (model.end(), model.epoch);
        let batch = Spec { value_bytes, epoch, ..Spec::at(base) }.build();
        let note = |model: &mut Model| {
            model.batches.push((epoch, base, base + 1, batch.bytes().clone()));
            if fsync {
                model.durable = base + 1;
            }
        };
        let append = if fsync {
            fsync_of(std::slice::from_ref(&batch))
        } else {
            append_of(std::slice::from_ref(&batch))
        };
        self.step(which, note, |_, log| run(log.unwrap().append(append)).map(drop))
    }

    fn checkpoint(&mut self, which: usize) -> Option<()> {
        let note = |model: &mut Model| model.durable = model.end();
        self.step(which, note, |_, log| run(log.unwrap().checkpoint()).map(drop))
    }

    fn begin_epoch(&mut self, which: usize, epoch: i32) -> Option<()> {
        let note = |model: &mut Model| (model.epoch, model.durable) = (epoch, model.end());
        self.step(which, note, |_, log| run(log.unwrap().begin_epoch(LeaderEpoch(epoch))))
    }

    fn set_start(&mut self, which: usize, start: i64) -> Option<()> {
        let note = |model: &mut Model| model.start = start;
        self.step(which, note, |_, log| run(log.unwrap().set_log_start(Offset(start))))
    }

    fn truncate(&mut self, which: usize, to: i64) -> Option<()> {
        self.checkpoint(which)?;
        let note = |model: &mut Model| model.cut(to);
        self.step(which, note, |_, log| match run(log.unwrap().truncate(Offset(to))) {
            Ok(end) => {
                assert_eq!(end, Offset(to));
                Ok(())
            },
            Err(TruncateError::Failed(failed)) => Err(failed.into()),
            Err(TruncateError::Full(full)) => unreachable!("{full}"),
            Err(TruncateError::Unreadable(ReadError::Io(error))) => {
                let reason = error.to_string().into();
                Err(DirectoryFailed { path: root(), reason }.into())
            },
            Err(TruncateError::Unreadable(error)) => unreachable!("{error}"),
        })
    }

    fn all(&mut self) -> Option<()> {
        self.create(0)?;
        self.create(1)?;
        for at in 0..8 {
            self.append(0, 500, at % 3 == 0)?;
            self.append(1, 20, at % 2 == 0)?;
            if at % 3 == 1 {
                self.checkpoint(1)?;
            }
        }
        self.checkpoint(0)?;
        self.begin_epoch(0, 1)?;
        for at in 0..5 {
            self.append(0, 300, at % 2 == 0)?;
        }
        self.set_start(0, 5)?;
        // In the middle of a segment, at the base of one, and where fsync promised something.
        self.truncate(0, 12)?;
        self.begin_epoch(0, 2)?;
        for _ in 0..4 {
            self.append(0, 310, true)?;
        }
        self.truncate(0, 9)?;
        self.begin_epoch(0, 3)?;
        self.append(0, 40, true)?;
        self.append(0, 41, true)?;
        // The journal's files are used again while that is in the journal alone.
        for epoch in 1..30 {
            self.begin_epoch(1, epoch)?;
            self.append(1, 30, epoch % 2 == 0)?;
        }
        self.delete(1)?;
        self.create(1)?;
        self.append(1, 50, true)?;
        self.truncate(1, 0)?;
        self.append(1, 51, true)?;
        for at in 0..10 {
            self.append(0, 60, at % 2 == 0)?;
        }
        self.set_start(0, 10)?;
        run(self.dir.seal()).ok()?;
        self.models.now.iter_mut().for_each(|model| model.durable = model.end());
        Some(())
    }
}

/// Works until the disk fails. Returns whether it got to the end.
fn work(env: &MemEnv, models: &mut Models) -> bool {
    let Ok((dir, _)) = run(LogDir::open(env, &root(), expect(), options())) else { return false };
    let logs = [None, None];
    Work { dir, logs, models }.all().is_some()
}

fn check(env: &MemEnv, models: &Models, power_lost: bool) {
    let said = run(read_journal(env, &root())).unwrap();
    let (dir, start) = open_dir(env);
    assert!(!start.journal_damaged);
    let Some(said) = said.replayed else {
        assert!(dir.logs().is_empty());
        return;
    };
    assert_ne!(said.end, JournalEnd::Corrupt);
    assert_eq!(said.state.logs().keys().copied().collect::<Vec<_>>(), dir.logs());
    for which in 0..2 {
        let (now, next) = (&models.now[which], &models.next[which]);
        let Found { partition, replica_gen } = found(which);
        let Some(known) = said.state.logs().get(&found(which)) else {
            assert!(!now.exists || !next.exists, "log {which} is gone");
            continue;
        };
        assert!(now.exists || next.exists, "log {which} is there");
        let (log, recovery) = run(dir.open_log(partition, replica_gen, small())).unwrap();
        assert_eq!((recovery.faulty, recovery.uncertain), (Vec::new(), false));
        assert_eq!(log.start(), known.start, "the start is what the journal says");
        assert!(log.end() >= known.known_end() && log.end() >= known.flushed);
        assert!([now.start, next.start].contains(&log.start().0));
        let promised = |model: &Model| if power_lost { model.durable } else { model.end() };
        let at_least = promised(now).min(promised(next));
        assert!(log.end().0 >= at_least, "log {which} ends at {} < {at_least}", log.end());
        let found = read_all(&log, log.start());
        let is_of = |model: &Model| {
            let from = log.start().0;
            let expected = model.batches.iter().filter(|batch| batch.2 > from);
            found.len() <= expected.clone().count()
                && found.iter().zip(expected).all(|((_, bytes), batch)| *bytes == batch.3)
        };
        assert!(is_of(now) || is_of(next), "log {which} holds what nobody wrote there");
        let epochs = log.epochs();
        for (header, _) in &found {
            let epoch = LeaderEpoch(header.partition_leader_epoch);
            assert_eq!(epochs.epoch_at(header.base_offset), Some(epoch));
        }
    }
    let report = run(inspect::directory(env, &root())).unwrap();
    assert_eq!(report.unknown, Vec::<String>::new());
    for log in report.logs {
        assert_eq!(log.unknown, Vec::<String>::new(), "files that the journal does not explain");
    }
}

fn crash_everywhere(new: impl Fn() -> MemEnv) -> MemEnv {
    let whole = new();
    assert!(work(&whole, &mut Models::default()));
    for at in 1..=whole.ops() {
        for seed in 0..3 {
            let env = new();
            env.set_faults(Faults { crash_at: Some(at), ..Faults::default() });
            let mut models = Models::default();
            assert!(!work(&env, &mut models));
            let power_lost = seed > 0;
            let lose = |env: &MemEnv| match seed {
                0 => env.after_process_crash(),
                _ => env.after_power_loss(at * 3 + seed),
            };

            let env = lose(&env);
            check(&env, &models, power_lost);
            // And the start after that finds the same.
            check(&lose(&env), &models, power_lost);
        }
    }
    whole
}

#[test]
fn a_crash_between_any_two_operations_leaves_what_the_journal_explains() {
    let env = crash_everywhere(MemEnv::new);
    for mark in ["storage_fsync_by_journal", "storage_segment_rolled", "storage_truncated"] {
        assert!(env.reached(mark), "{mark}");
    }
    assert!(env.reached("storage_journal_file_recycled"));
}

#[test]
fn so_does_one_where_envelopes_are_put_together_at_every_flush() {
    let env = crash_everywhere(|| MemEnv::new().with_buggify("storage_merge_often"));
    assert!(env.reached("storage_envelopes_merged"));
}
