//! The `manifest`: the journal's state at one moment, so that older groups may go.
//!
//! Invariants: replaced atomically; what it says was durable in the journal, or is told by nobody
//! else; from [`Manifest::lap`] on the journal continues it.

use base::Uuid;

use super::record::decode_records;
use super::state::JournalState;
use crate::codec::{FormatError, Reader, frame, put_count, unframe};

const MAGIC: [u8; 8] = *b"GRGMANIF";
const VERSION: u16 = 1;

/// A lap that is older than the manifest but holds batches whose segments are not durable yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptLap {
    /// Which.
    pub lap: u64,
    /// How many of its groups count.
    pub groups: u64,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The directory it belongs to.
    pub dir_id: Uuid,
    /// The journal continues in this lap ...
    pub lap: u64,
    /// ... with this group.
    pub group: u64,
    /// Laps from before that are read for their batches alone, oldest first.
    pub kept: Vec<KeptLap>,
    /// What everything before adds up to.
    pub state: JournalState,
}

/// The whole file.
pub fn encode_manifest(manifest: &Manifest) -> Vec<u8> {
    let mut body = Vec::with_capacity(1024);
    body.extend_from_slice(&manifest.dir_id.0);
    body.extend_from_slice(&manifest.lap.to_le_bytes());
    body.extend_from_slice(&manifest.group.to_le_bytes());
    put_count(&mut body, manifest.kept.len());
    for kept in &manifest.kept {
        body.extend_from_slice(&kept.lap.to_le_bytes());
        body.extend_from_slice(&kept.groups.to_le_bytes());
    }
    manifest.state.records().iter().for_each(|record| record.encode(&mut body));
    frame(MAGIC, VERSION, &body)
}

/// Reads the whole file.
///
/// # Errors
/// [`FormatError`] if it is not exactly what [`encode_manifest`] writes.
pub fn decode_manifest(bytes: &[u8]) -> Result<Manifest, FormatError> {
    let mut reader = Reader::new(unframe(bytes, MAGIC, VERSION)?);
    let dir_id = Uuid(reader.array()?);
    let (lap, group) = (reader.u64()?, reader.u64()?);
    let mut kept = Vec::new();
    for _ in 0..reader.count(16)? {
        let next = KeptLap { lap: reader.u64()?, groups: reader.u64()? };
        let follows = kept.last().is_none_or(|last: &KeptLap| last.lap < next.lap);
        if !follows || next.lap > lap {
            return Err(FormatError::Field("kept laps"));
        }
        kept.push(next);
    }
    let mut state = JournalState::default();
    for record in decode_records(reader.rest())? {
        state.apply(&record).map_err(|_| FormatError::Field("state"))?;
    }
    let manifest = Manifest { dir_id, lap, group, kept, state };
    if lap == 0 { Err(FormatError::Field("lap")) } else { Ok(manifest) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::tests::record;
    use super::*;

    fn manifest(records: &[super::super::Record]) -> Manifest {
        let mut state = JournalState::default();
        // Those that do not fit change nothing.
        let fit = records.iter().filter(|record| state.apply(record).is_ok()).count();
        assert!(fit <= records.len());
        let kept = vec![KeptLap { lap: 3, groups: 9 }];
        Manifest { dir_id: Uuid([1; 16]), lap: 4, group: 17, kept, state }
    }

    proptest! {
        #[test]
        fn a_manifest_gives_back_what_was_written(
            records in prop::collection::vec(record(), 0..40),
        ) {
            let manifest = manifest(&records);
            prop_assert_eq!(decode_manifest(&encode_manifest(&manifest)), Ok(manifest));
        }

        #[test]
        fn one_changed_byte_is_noticed(at in any::<prop::sample::Index>(), with in 1_u8..) {
            let mut bytes = encode_manifest(&manifest(&[]));
            let at = at.index(bytes.len());
            bytes[at] ^= with;
            prop_assert!(decode_manifest(&bytes).is_err());
        }

        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(decode_manifest(&frame(MAGIC, VERSION, &body)));
        }
    }
}
