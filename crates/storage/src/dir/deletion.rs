//! Deletion.
use super::*;
pub(super) async fn delete<E: Env>(_: &DirShared<E>, _: Found) -> Result<(), OpenError> {
    unimplemented!()
}
