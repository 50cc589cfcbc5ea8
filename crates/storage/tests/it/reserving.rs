//! Room that is reserved behind the end of a segment, and what becomes of it.

use base::Offset;
use storage::LogConfig;

use crate::crash::recover;
use crate::support::{
    Faults, GEN, MemEnv, Spec, append_of, append_some, fresh, open_dir, partition, read_all, run,
};

/// A log whose segment is so large that room is reserved behind it.
fn grown(env: &MemEnv) -> (storage::LogDir<MemEnv>, storage::Log<MemEnv>) {
    let (dir, log) = fresh(env);
    log.set_config(LogConfig::default());
    let large = Spec { value_bytes: 1_200_000, ..Spec::at(0) }.build();
    run(log.append(append_of(&[large]))).unwrap();
    (dir, log)
}

#[test]
fn room_behind_a_growing_segment_is_reserved_and_given_back_when_it_is_closed() {
    let env = MemEnv::new();
    let (_dir, log) = grown(&env);
    assert!(env.reserved() > 0);
    let before = read_all(&log, log.start());

    assert!(run(log.close_segment()).unwrap());

    assert_eq!(env.reserved(), 0);
    assert_eq!(read_all(&log, log.start()), before, "no byte of the segment went with it");
}

#[test]
fn what_an_earlier_process_reserved_is_given_back_when_the_next_segment_begins() {
    let env = MemEnv::new();
    let (dir, log) = grown(&env);
    run(dir.seal()).unwrap();
    let before = read_all(&log, log.start());
    let env = env.after_process_crash();
    let (dir, _) = open_dir(&env);
    let small = LogConfig { segment_bytes: 1000, ..LogConfig::default() };
    let (log, _) = run(dir.open_log(partition(), GEN, small)).unwrap();
    assert!(env.reserved() > 0);

    append_some(&log, 1);

    assert_eq!(log.segments().len(), 2);
    assert_eq!(env.reserved(), 0);
    assert_eq!(read_all(&log, log.start())[..before.len()], before);
}

#[test]
fn a_segment_that_a_full_disk_ends_gives_its_room_back() {
    let env = MemEnv::new();
    let (_dir, log) = grown(&env);
    env.set_faults(Faults { full: true, partial: 20, ..Faults::default() });
    run(log.append(append_of(&[Spec::at(1).build()]))).unwrap_err();
    env.set_faults(Faults::default());
    env.advance(base::Duration::from_millis(200));

    run(log.checkpoint()).unwrap();

    assert!(env.reached("storage_spoiled_segment_closed"));
    assert_eq!(env.reserved(), 0);
    assert_eq!(read_all(&log, log.start()).len(), 1);
}

#[test]
fn where_there_is_no_room_to_reserve_appends_go_on_and_what_was_taken_is_given_back() {
    let env = MemEnv::new();
    let (dir, log) = fresh(&env);
    log.set_config(LogConfig::default());
    env.set_faults(Faults { no_reserve: true, ..Faults::default() });
    let large = Spec { value_bytes: 1_200_000, ..Spec::at(0) }.build();

    run(log.append(append_of(&[large]))).unwrap();

    assert!(env.reached("storage_no_room_to_reserve"));
    assert!(dir.failed().is_none());
    assert_eq!(env.reserved(), 0);
    assert_eq!(log.end(), Offset(1));
}

#[test]
fn a_kill_behind_a_reservation_takes_nothing() {
    let env = MemEnv::new();
    let (_dir, log) = grown(&env);
    append_some(&log, 3);
    run(log.flush()).unwrap();

    let (log, _) = recover(&env.after_power_loss(3)).unwrap();

    assert_eq!(log.end(), Offset(4));
}
