//! Open.
use super::*;
pub(super) async fn open<E: Env>(
    _: &E,
    _: &Path,
    _: Expect,
    _: DirOptions,
) -> Result<(LogDir<E>, StartInfo), DirError> {
    unimplemented!()
}
