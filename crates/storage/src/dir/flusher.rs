//! Flusher.
use super::*;
pub(super) async fn run<E: Env>(_: &DirShared<E>) -> Result<(), DirectoryFailed> {
    unimplemented!()
}
