//! A directory that was damaged by hand: what was acknowledged is read as it was written, or the start,
//! the read or `verify` tells that it is not; it is never silently absent or different.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base::{Duration, PartitionId, Timestamp};
use broker::api::{FetchError, ListOffset, OffsetSpec};
use broker::verify::{Asked, Conclusion, Verified, VerifyError, verify};
use broker::{Broker, BrokerConfig};
use bytes::{Bytes, BytesMut};
use env::{Env, File, Segment};
use records::{BatchBuilder, NewRecord};

use crate::world::{FileOf, World, fetch, produce, read, topic};

/// Places of one file at which a bit flips.
const PLACES: usize = 6;

type Content = Vec<(PathBuf, Vec<u8>)>;
/// Offset to key, value and epoch.
type Records = BTreeMap<i64, (Vec<u8>, Vec<u8>, i32)>;

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Remove,
    Cut(usize),
    Zero(usize, usize),
    Flip(usize, u8),
    Garbage(usize, usize),
    Longer(usize),
}

impl Damage {
    fn apply(self, content: &mut Content, file: usize) {
        match self {
            Self::Remove => drop(content.remove(file)),
            Self::Cut(len) => content[file].1.truncate(len),
            Self::Zero(from, len) => content[file].1[from..from + len].fill(0),
            Self::Garbage(from, len) => {
                for (at, byte) in content[file].1[from..from + len].iter_mut().enumerate() {
                    let noise =
                        u8::try_from(at % 251).expect("small").wrapping_mul(37).wrapping_add(11);
                    *byte ^= noise;
                }
            },
            Self::Flip(at, bits) => content[file].1[at] ^= bits,
            Self::Longer(by) => {
                let len = content[file].1.len();
                content[file].1.resize(len + by, 0xa5);
            },
        }
    }
}

fn snapshot(dir: &Path) -> Content {
    fn walk(root: &Path, dir: &Path, found: &mut Content) {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(root, &path, found);
            } else if let Ok(bytes) = std::fs::read(&path) {
                found.push((path.strip_prefix(root).expect("below").to_owned(), bytes));
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}

fn lay_out(dir: &Path, content: &Content) {
    drop(std::fs::remove_dir_all(dir));
    for (name, bytes) in content {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
}

fn keyed(key: &str, value: &str, time: i64) -> Bytes {
    let mut builder = BatchBuilder::new();
    let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
    let record = NewRecord { timestamp: Timestamp(time), key, value, headers: &[] };
    builder.push(&record).expect("small");
    builder.finish_bytes().expect("not empty")
}

fn config(world: &World) -> BrokerConfig {
    BrokerConfig {
        journal_file_bytes: 65_536,
        cleaner_backoff: Duration::from_millis(5),
        ..world.config()
    }
}

/// What a client makes of an answer; `Err` if it cannot accept it.
async fn opened<F: File>(segments: Vec<Segment<F>>) -> Result<Records, String> {
    let mut bytes = BytesMut::new();
    for segment in segments {
        match segment {
            Segment::Bytes(piece) => bytes.extend_from_slice(&piece),
            Segment::Region(region) => {
                let len = usize::try_from(region.len).expect("fits");
                let piece = region.file.read_at(region.at, len).await.expect("read");
                if piece.len() < len {
                    return Err("a short region".into());
                }
                bytes.extend_from_slice(&piece);
            },
        }
    }
    let mut all = Records::new();
    for batch in records::batches(bytes.freeze()) {
        let batch = batch.map_err(|error| error.to_string())?;
        batch.verify_crc().map_err(|error| error.to_string())?;
        let epoch = batch.header().partition_leader_epoch;
        for record in &batch.open(1 << 20).map_err(|error| error.to_string())? {
            let record = record.map_err(|error| error.to_string())?;
            let key = record.key.unwrap_or_default().to_vec();
            let value = record.value.unwrap_or_default().to_vec();
            all.insert(record.offset.0, (key, value, epoch));
        }
    }
    Ok(all)
}

/// Reads every wanted offset by itself; the offsets for which an error is answered, and what was read.
async fn read_back<E: Env>(
    broker: &Broker<E>,
    partition: PartitionId,
    upto: i64,
) -> (Records, BTreeSet<i64>, Option<i64>) {
    let (mut got, mut told, mut end) = (Records::new(), BTreeSet::new(), None);
    for at in 0..upto {
        match read(broker, fetch(partition, at)).await {
            Ok(data) => match opened::<FileOf<E>>(data.segments).await {
                Ok(records) if records.is_empty() => {},
                Ok(records) => got.extend(records),
                Err(_) => drop(told.insert(at)),
            },
            Err(FetchError::OutOfRange { end: found, .. }) => end = Some(found.0),
            Err(FetchError::Corrupt | FetchError::StorageFailed) => drop(told.insert(at)),
            Err(error) => panic!("{error}"),
        }
    }
    (got, told, end)
}

/// Whether this is what was produced at that offset.
fn was_sent(at: i64, (key, value, _): &(Vec<u8>, Vec<u8>, i32)) -> bool {
    *key == format!("k{}", at % 2).into_bytes() && *value == format!("value {at}").into_bytes()
}

struct Made {
    content: Content,
    written: BTreeMap<PartitionId, Records>,
    /// The topic that is not compacted.
    plain: PartitionId,
}

/// Two topics, one compacted; closed, or as a kill leaves them.
async fn made(world: &World, sealed: bool) -> Made {
    let broker = Broker::start(world.env(), config(world)).await.expect("starts");
    let fsync = ("gregor.durability", "fsync");
    let rolls = ("segment.ms", "1000");
    let never = ("retention.ms", "-1");
    let t = topic(&broker, "t", &[fsync, rolls, never]).await;
    let ratio = ("min.cleanable.dirty.ratio", "0.01");
    let compact = ("cleanup.policy", "compact");
    let c = topic(&broker, "c", &[compact, fsync, rolls, ratio]).await;
    for n in 0..9 {
        let time = 1_000_000 + (n / 3) * 10_000;
        let (key, value) = (format!("k{}", n % 2), format!("value {n}"));
        produce(&broker, t, keyed(&key, &value, time)).await.expect("durable");
        produce(&broker, c, keyed(&key, &value, time)).await.expect("durable");
    }
    let compacted = async || {
        loop {
            let (got, _, _) = read_back(&broker, c, 9).await;
            if got.len() < 6 {
                return got;
            }
            world.env().sleep(Duration::from_millis(5)).await;
        }
    };
    let in_c = compacted().await;
    let (in_t, _, _) = read_back(&broker, t, 9).await;
    assert_eq!(in_t.len(), 9);
    let written = BTreeMap::from([(t, in_t), (c, in_c)]);
    if sealed {
        broker.stop().await;
        drop(broker);
        return Made { content: snapshot(&world.dir), written, plain: t };
    }
    let content = snapshot(&world.dir);
    broker.stop().await;
    Made { content, written, plain: t }
}

/// The logs of which `verify` says that they are damaged; `None` if all may be.
fn told_of(told: &Result<Verified, VerifyError>) -> Option<BTreeSet<PartitionId>> {
    let told = told.as_ref().ok()?;
    let whole = told.dirs.iter().filter_map(|dir| dir.contents.as_ref().ok());
    if whole.clone().any(|contents| contents.start.journal_damaged) {
        return None;
    }
    let mut logs: BTreeSet<PartitionId> =
        whole.flat_map(|contents| contents.start.missing.iter().map(|f| f.partition)).collect();
    let bad = told.logs().filter(|log| log.conclusion() >= Conclusion::Damaged && !log.is_stray);
    logs.extend(bad.map(|log| log.partition));
    Some(logs)
}

/// Starts on what is there and holds it against what was written. Returns whether it started.
async fn holds(world: &World, made: &Made, place: &str, wrong: &mut Vec<String>) -> bool {
    let env = world.env();
    let told = verify(&env, &Asked::Dirs(vec![world.dir.clone()]), true).await;
    let logs = told_of(&told);
    let broker = match Broker::start(env.clone(), config(world)).await {
        Ok(broker) => broker,
        Err(refused) => {
            assert!(!refused.to_string().is_empty());
            return false;
        },
    };
    let mut complain = |what: String| wrong.push(format!("{place}: {what}"));
    for (partition, written) in &made.written {
        let there = broker.cluster().by_id.contains_key(&partition.topic);
        if !there {
            complain(format!(
                "topic {partition} is gone; verify {:?}",
                told.as_ref().map(Verified::conclusion)
            ));
            continue;
        }
        let (got, errors, _) = read_back(&broker, *partition, 9).await;
        for (at, record) in &got {
            match written.get(at) {
                Some(wanted) if wanted == record => {},
                // A journal that has lost the word of it gives back what compaction had taken.
                None if *partition != made.plain && was_sent(*at, record) => {},
                other => complain(format!("{partition} at {at} is {record:?}, not {other:?}")),
            }
        }
        for at in written.keys().filter(|at| !got.contains_key(at)) {
            let known = errors.contains(at) || logs.as_ref().is_none_or(|l| l.contains(partition));
            if !known {
                complain(format!("{partition} at {at} is absent"));
            }
        }
        let spec = OffsetSpec::AtOrAfter(Timestamp(1_010_000));
        let isolation = broker::api::Isolation::ReadUncommitted;
        let wish =
            ListOffset { partition: *partition, spec, isolation, current_leader_epoch: None };
        drop(broker.list_offset(&wish).await);
        // What is compacted then would be missed by the second start.
        if *partition == made.plain {
            drop(produce(&broker, *partition, keyed("k9", "new", 2_000_000)).await);
        }
    }
    broker.stop().await;
    true
}

/// What is done to a file of which `len` bytes are in use.
fn damages(len: usize) -> Vec<Damage> {
    let mut all = vec![Damage::Remove, Damage::Longer(300)];
    if len == 0 {
        return all;
    }
    all.extend([Damage::Cut(0), Damage::Cut(len / 2), Damage::Cut(len - 1)]);
    all.extend([Damage::Zero(0, len), Damage::Garbage(0, len)]);
    for at in (0..len).step_by((len / PLACES).max(1)) {
        all.push(Damage::Flip(at, 0x10));
    }
    all.extend([Damage::Flip(len - 1, 0x01), Damage::Zero(len / 3, 64.min(len - len / 3))]);
    all
}

/// Damages each file in many ways, and holds what two starts in a row make of it against what was
/// written.
async fn sweep(world: &World, sealed: bool) {
    let made = made(world, sealed).await;
    let mut wrong = Vec::new();
    let (mut started, mut refused) = (0, 0);
    for (file, (name, bytes)) in made.content.iter().enumerate() {
        // Of a file with zeros at the end only the beginning.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        for damage in damages(used) {
            let mut content = made.content.clone();
            damage.apply(&mut content, file);
            lay_out(&world.dir, &content);
            let place = format!("{} {damage:?}", name.display());
            if holds(world, &made, &place, &mut wrong).await {
                started += 1;
                // What was told once is told again.
                holds(world, &made, &format!("{place}, again"), &mut wrong).await;
            } else {
                refused += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(started > refused && refused > 0, "{started} started, {refused} were refused");
}

#[test]
fn after_a_clean_stop_no_damage_of_any_file_takes_a_record_in_silence() {
    let world = World::new("damaged-closed");
    world.runtime.block_on(sweep(&world, true));
}

#[test]
fn after_a_kill_no_damage_of_any_file_takes_a_record_in_silence() {
    let world = World::new("damaged-killed");
    world.runtime.block_on(sweep(&world, false));
}
