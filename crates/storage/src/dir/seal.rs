//! Seal.
use super::*;
pub(crate) struct Seal;
pub fn decode_seal() {}
pub(super) async fn seal<E: Env>(_: &DirShared<E>) -> Result<SealOutcome, DirectoryFailed> {
    unimplemented!()
}
