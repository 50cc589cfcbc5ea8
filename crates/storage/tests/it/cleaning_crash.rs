//! What a crash in the middle of a cleaning leaves tells of no loss, whatever happened meanwhile.

use std::sync::atomic::{AtomicU32, Ordering};

use storage::{CompactError, Compacted};

use crate::compact::{DAY, append_rows, compaction, segment_files, updates};
use crate::crash::recover;
use crate::support::*;

/// Cleans; when `asks` questions have been answered whether to go on, the log's start moves beyond
/// everything that is cleaned, and the process crashes `ops` disk operations later. Returns whether
/// the next start found a copy.
fn start_moves_then_crash(asks: u32, ops: u64) -> bool {
    let env = MemEnv::new().with_buggify("storage_compaction_breath");
    let (_dir, log) = fresh(&env);
    // Each key once, so that every copy holds something.
    append_rows(&log, &(0..60).map(|at| (at, Some(at))).collect::<Vec<_>>());
    let wish = compaction(&log, DAY).unwrap();
    let (asked, start) = (AtomicU32::new(0), log.segments().last().unwrap().base);
    let go_on = || {
        if asked.fetch_add(1, Ordering::Relaxed) == asks {
            run(log.set_log_start(start)).unwrap();
            env.set_faults(Faults { crash_at: Some(env.ops() + ops), ..Faults::default() });
        }
        true
    };
    let _crashed: Result<Compacted, CompactError> = run(log.compact(&wish, &go_on));
    assert_eq!(log.start(), start);

    let env = env.after_process_crash();
    let (log, recovery) = recover(&env).unwrap();

    assert!(!log.is_uncertain() && !env.reached("storage_stray_salvaged"), "{recovery:?}");
    assert_eq!((log.start(), segment_files(&env).len()), (start, log.segments().len()));
    env.reached("storage_stray_removed")
}

#[test]
fn a_crash_of_a_cleaning_whose_sources_the_log_start_took_is_no_loss() {
    let each = (60..90).flat_map(|asks| (1..9).map(move |ops| start_moves_then_crash(asks, ops)));

    let copies = each.filter(|found| *found).count();

    assert!(copies > 8, "{copies}");
}

#[test]
fn a_crash_of_a_cleaning_is_no_loss_though_a_later_segment_is_known_to_be_gone() {
    let mut left = 0;
    for nth in 1..60 {
        let env = MemEnv::new();
        let (dir, log) = fresh(&env);
        append_rows(&log, &updates(60));
        let gone = log.segments()[3].base;
        drop((dir, log));
        let env = env.after_process_crash();
        let name = segment_files(&env).into_iter().nth(3).unwrap();
        let path = env.files(&root()).into_iter().find(|path| path.ends_with(&name)).unwrap();
        env.delete(&path);
        let (log, recovery) = recover(&env).unwrap();
        assert_eq!((recovery.faulty[0].from, recovery.uncertain), (gone, false));
        let wish = compaction(&log, DAY).unwrap();
        env.set_faults(Faults { crash_at: Some(env.ops() + nth), ..Faults::default() });
        let _crashed: Result<Compacted, CompactError> = run(log.compact(&wish, &|| true));

        let env = env.after_process_crash();
        let (log, recovery) = recover(&env).unwrap();

        assert!(!log.is_uncertain(), "{nth}: {recovery:?}");
        left += usize::from(env.reached("storage_stray_salvaged"));
    }
    assert!(left > 2, "{left}");
}
