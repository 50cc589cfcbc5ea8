//! Room that is reserved behind the end of a segment, and what becomes of it.

use storage::LogConfig;

use crate::support::{Faults, MemEnv, append_some, fresh, read_all, run};

#[test]
fn room_behind_a_growing_segment_is_reserved_and_given_back_when_it_is_closed() {
    let env = MemEnv::new().with_buggify("storage_reserve_early");
    let (_dir, log) = fresh(&env);
    log.set_config(LogConfig::default());
    append_some(&log, 20);
    assert!(env.reached("storage_room_reserved"));
    let before = read_all(&log, log.start());

    assert!(run(log.close_segment()).unwrap());

    assert!(env.reached("storage_reserved_room_given_back"));
    assert_eq!(read_all(&log, log.start()), before, "no byte of the segment went with it");
}

#[test]
fn where_there_is_no_room_to_reserve_appends_go_on() {
    let env = MemEnv::new().with_buggify("storage_reserve_early");
    let (dir, log) = fresh(&env);
    log.set_config(LogConfig::default());
    append_some(&log, 1);
    env.set_faults(Faults { no_reserve: true, ..Faults::default() });

    append_some(&log, 20);

    assert!(env.reached("storage_no_room_to_reserve"));
    assert!(dir.failed().is_none());
    assert_eq!(read_all(&log, log.start()).len(), 21);
}
