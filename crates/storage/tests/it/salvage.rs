//! What nothing explains is kept where an operator finds it, whatever happens to the disk meanwhile.

use storage::OpenError;
use storage::names::SALVAGE;

use crate::crash::recover;
use crate::support::*;

/// The second segment's file has an older name; and its content.
fn with_a_renamed_segment() -> (MemEnv, Vec<u8>) {
    let env = MemEnv::new();
    let (_dir, log) = fresh(&env);
    append_some(&log, 60);
    let is_log = |path: &&std::path::PathBuf| path.extension().is_some_and(|e| e == "log");
    let path = env.files(&root()).iter().filter(is_log).nth(1).unwrap().clone();
    let content = env.content(&path);
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let older = format!("{}-0.log", name.split_once('-').unwrap().0);
    env.overwrite(&path.with_file_name(&older), &content);
    env.delete(&path);
    (env.after_process_crash(), content)
}

fn salvaged(env: &MemEnv) -> Vec<Vec<u8>> {
    let files = env.files(&root().join(SALVAGE));
    files.iter().map(|path| env.content(path)).collect()
}

#[test]
fn a_segment_that_was_renamed_is_put_to_salvage_and_not_removed() {
    let (env, content) = with_a_renamed_segment();
    let (_, recovery) = recover(&env).unwrap();
    assert_eq!(recovery.faulty.len(), 1);
    assert_eq!(salvaged(&env), [content]);
}

#[test]
fn a_disk_that_is_full_at_any_operation_of_a_start_loses_nothing_that_belongs_to_salvage() {
    let mut refused = 0;
    for at in 1.. {
        let (env, content) = with_a_renamed_segment();
        let (dir, _) = open_dir(&env);
        let last = env.ops() + at;
        env.set_faults(Faults { full_at: Some(last), ..Faults::default() });
        if let Err(OpenError::Full(full)) = run(dir.open_log(partition(), GEN, small())) {
            refused += u32::from(full.to_string().contains("salvage into"));
        }
        let is_over = env.ops() < last;

        let env = env.after_process_crash();
        let (_, recovery) = recover(&env).unwrap();
        assert_eq!(recovery.faulty.len(), 1, "operation {at}");
        assert_eq!(salvaged(&env), [content], "operation {at}");
        if is_over {
            break;
        }
    }
    assert_eq!(refused, 2, "of a folder and of a name");
}
