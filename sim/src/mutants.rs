//! The planted bugs: where each comes from, and what it breaks.
//!
//! Owns: [`MUTANTS`], [`EXPLAINED`]. Invariants: the product's crates list the same names; those that
//! cannot be expressed here are told with the reason. `docs/mutants.md` is generated from both.

/// A planted bug.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its name, as the product asks for it.
    pub id: &'static str,
    /// The entry of the catalogue of real bugs it is like: Kafka's and others' (M), those of our own
    /// inventions (N), or ours.
    pub like: &'static str,
    /// What it does wrong.
    pub breaks: &'static str,
}

const fn mutant(id: &'static str, like: &'static str, breaks: &'static str) -> Mutant {
    Mutant { id, like, breaks }
}

/// Every planted bug that the product carries.
pub const MUTANTS: &[Mutant] = &[
    mutant(
        "ack_before_group_flush",
        "M45",
        "a commit to the journal is done once its group is written; its flush comes with the next group",
    ),
    mutant("ack_before_write", "own", "a produce is answered before its bytes are written"),
    mutant(
        "ack_on_failed_directory",
        "M49",
        "a batch whose write failed is acknowledged before the directory's end is told",
    ),
    mutant("ack_on_full_disk", "own", "a batch that found no room is acknowledged"),
    mutant(
        "added_partitions_not_durable",
        "own",
        "new partitions are answered for once the metadata log is written, and not synced",
    ),
    mutant(
        "ancestors_trusted",
        "own",
        "only the first start syncs the folders above the directory",
    ),
    mutant(
        "batches_trimmed_early",
        "N58",
        "the journal lets go of batches before their segment is durable",
    ),
    mutant(
        "broker_settings_not_logged",
        "own",
        "what is set for brokers while they run is in force and not in the metadata log",
    ),
    mutant(
        "closed_not_flushed",
        "own",
        "a segment is closed, and said to be durable, before it is flushed",
    ),
    mutant("compaction_ignores_lag", "own", "`min.compaction.lag.ms` is taken for 0"),
    mutant("compaction_loses_newest", "own", "the newest record of a key is taken for an old one"),
    mutant(
        "config_change_not_durable",
        "own",
        "a change of settings is answered once it is written to the metadata log, and not synced",
    ),
    mutant(
        "continued_not_heeded",
        "own",
        "a start does not heed the word at the end of a full lap that there is a next one",
    ),
    mutant(
        "converted_keeps_old_crc",
        "own",
        "a batch that is given another codec keeps the checksum it came with",
    ),
    mutant(
        "cut_not_journaled",
        "N25",
        "a start cuts a torn tail, goes on in a new segment, and does not note where the old one ends",
    ),
    mutant(
        "damage_condemns_log",
        "own",
        "a start that finds damage says of everything before it that it is damaged, too",
    ),
    mutant(
        "damage_passed_over",
        "own",
        "a read at an offset that is known to be damaged goes on behind the damage, without an error",
    ),
    mutant(
        "damaged_envelopes_void_segment",
        "own",
        "a start that finds an open segment without sound envelopes says that its log is uncertain, and empties it",
    ),
    mutant(
        "delete_ignores_members",
        "own",
        "DeleteGroups does not ask whether the group has members",
    ),
    mutant(
        "duplicate_is_error",
        "M59",
        "a batch that is sent again while the first is still being written is refused; once that is written, the answer is right",
    ),
    mutant(
        "duplicate_out_of_order",
        "M59",
        "a batch that is sent again is answered with OUT_OF_ORDER_SEQUENCE_NUMBER",
    ),
    mutant(
        "emptied_before_cut",
        "N59",
        "a start removes the files of a segment that holds nothing before the journal has let go of it",
    ),
    mutant(
        "end_is_out_of_range",
        "own",
        "after an unclean start a fetch at the end of a log is out of range",
    ),
    mutant(
        "ended_segment_stays",
        "own",
        "a segment that lay below the start of its log when it was ended stays in the running broker, and the journal does not name it",
    ),
    mutant(
        "envelope_after_journal",
        "N32",
        "an envelope is written once its bytes are durable in the journal, not in the segment",
    ),
    mutant(
        "envelope_before_flush",
        "N09",
        "an envelope is written before the bytes that it vouches for are flushed",
    ),
    mutant(
        "epoch_zero_forgotten",
        "M46",
        "the first epoch is left out when a tail is held against the epoch history",
    ),
    mutant("faulty_not_journaled", "M55", "a start does not journal the damage that it found"),
    mutant(
        "flushed_is_written",
        "M44",
        "what was written while a sync was under way counts as durable after it",
    ),
    mutant(
        "forget_group_offsets",
        "own",
        "when a coordinator loads, the record of a group's next generation makes it forget what was committed before",
    ),
    mutant(
        "fsync_with_gap",
        "M50",
        "a batch counts as durable once the journal has it, whatever lies before it in the log",
    ),
    mutant("full_for_ever", "own", "a disk that was full once is full for good"),
    mutant(
        "full_keeps_partial_batch",
        "own",
        "the part of a batch that a full disk took counts as a part of the segment",
    ),
    mutant(
        "group_deletion_not_durable",
        "own",
        "a group is deleted in memory, and no tombstone is written",
    ),
    mutant(
        "group_sync_tried_again",
        "M50",
        "a failed sync of the journal is tried again, and then succeeds",
    ),
    mutant(
        "held_last_forgotten",
        "own",
        "of the partitions that a connection's requests are written to together, the last one's writer never begins",
    ),
    mutant(
        "journal_batch_trusted",
        "own",
        "a start does not write a batch of the journal again that the page cache has",
    ),
    mutant(
        "journal_damage_is_torn",
        "M51",
        "a damaged group of the journal is taken for a torn last one",
    ),
    mutant(
        "laps_freed_early",
        "own",
        "files of the journal are used again before the manifest that frees them is durable",
    ),
    mutant(
        "last_batch_kept_only",
        "M58",
        "of a producer's batches only the last one is remembered",
    ),
    mutant(
        "last_group_trusted",
        "own",
        "a start does not write the journal's last group again, which may be in the page cache alone",
    ),
    mutant(
        "load_stops_early",
        "M89",
        "a coordinator that loads leaves out the last batch of its log",
    ),
    mutant("log_start_not_durable", "own", "a moved log start is not journaled"),
    mutant(
        "lost_segment_is_empty",
        "M52",
        "an open segment whose file is lost is taken for one without a batch",
    ),
    mutant("manifest_not_synced", "M47", "a manifest gets its name before it is durable"),
    mutant(
        "merge_ahead_of_flush",
        "own",
        "envelopes that are put together vouch for what was written since the flush as well",
    ),
    mutant(
        "metadata_cache_trusted",
        "own",
        "a start does not write the metadata log again, whose end may be in the page cache alone",
    ),
    mutant(
        "mode_change_not_published",
        "own",
        "a topic's changed settings are in the metadata and shown to clients, and its partitions do not hear of them",
    ),
    mutant(
        "mode_change_without_flush",
        "own",
        "a change to `fsync` is answered without making durable what was acknowledged before it",
    ),
    mutant(
        "new_partitions_await_start",
        "own",
        "new partitions are in the metadata and shown to clients, and only the next start makes their logs",
    ),
    mutant(
        "read_bound_again",
        "M35",
        "a read is bounded by the log's end, looked up again, and not by the high watermark it began with",
    ),
    mutant("recorder_keeps_all", "own", "the flight recorder never lets go of anything"),
    mutant(
        "recycle_keeps_nonce",
        "N31",
        "a journal file that is used again keeps its nonce, so that groups of its last lap look like the next ones of this lap",
    ),
    mutant(
        "refused_first_forgotten",
        "M61",
        "an unknown producer's first batch that came damaged leaves no note, so what was sent behind it is let in before it",
    ),
    mutant(
        "reserved_cut_short",
        "own",
        "who gives back the room reserved behind a segment cuts off the segment's last byte with it",
    ),
    mutant(
        "retention_age_halved",
        "own",
        "records are deleted once they are half as old as `retention.ms` says",
    ),
    mutant(
        "sealed_not_flushed",
        "M43",
        "a stop says of each log that it is durable, and leaves that to the kernel",
    ),
    mutant(
        "sequence_does_not_wrap",
        "M62",
        "a batch whose sequences pass the largest one is refused",
    ),
    mutant("sequence_gap_accepted", "M61", "a batch is let in although one before it is missing"),
    mutant(
        "session_omits_lagging",
        "own",
        "a fetch session leaves out a partition with records if its high watermark is what was told before",
    ),
    mutant(
        "session_order_stays",
        "own",
        "a fetch session serves its partitions in the same order for ever, so that a busy one starves the others",
    ),
    mutant(
        "skip_dir_sync",
        "own",
        "when a log rolls a segment, neither the new files' directory entries nor those of the producers' file are made durable",
    ),
    mutant(
        "swap_before_flush",
        "M54",
        "the journal names compacted segments whose bytes and directory entries are not flushed",
    ),
    mutant("sync_tried_again", "M50", "a failed sync of a log is tried again, and then succeeds"),
    mutant(
        "tail_synced_if_written",
        "own",
        "a start syncs the tail of a log only if it wrote any of it",
    ),
    mutant(
        "tail_trusted",
        "own",
        "a start does not write the tail again that it takes in, which may be in the page cache alone",
    ),
    mutant(
        "tail_with_a_gap",
        "own",
        "batches that memory does not keep leave those before them where they are, as if they reached to the log's end",
    ),
    mutant("tombstone_dropped_early", "own", "`delete.retention.ms` is taken for 0"),
    mutant(
        "trust_page_cache",
        "M50",
        "a sync of a log that fails counts as done, for the data is still in the cache; a start after a crash distrusts the cache as it should",
    ),
    mutant(
        "unlink_before_drop_flushed",
        "own",
        "files of a deleted log, and segments that retention lets go of, are removed before the journal says so",
    ),
    mutant(
        "unlink_before_swap_flushed",
        "M54",
        "the files that compaction replaces are removed before the journal says so",
    ),
    mutant(
        "watermark_from_journal",
        "own",
        "a start takes the high watermark that the journal last noted for the present one, until something is appended",
    ),
    mutant("write_error_ignored", "M49", "a write of a log that fails counts as done"),
];

/// Planted bugs of work that no seed does yet, or of a moment that none has met: held by the tests of the
/// crate that carries them.
pub const ELSEWHERE: &[&str] = &[
    "ack_by_new_mode",
    "compaction_forgets_producers",
    "envelopes_trusted",
    "snapshot_holds_future",
];

/// Entries of the catalogue that one broker cannot express, and why.
pub const EXPLAINED: &[(&str, &str)] = &[
    (
        "M36",
        "retention above the high watermark: with one replica the high watermark is the log's end, and only closed segments go",
    ),
    (
        "M43",
        "a seal that stays, or is written although a log was not opened: the seal names the process before this one in `starts`, each log's own `Sealed` record names it too, and a broker that did not open every log does not serve",
    ),
    (
        "M47",
        "the producers' file gets its name before it is durable (its other half is planted as `manifest_not_synced`): the file only makes a start quicker; one that does not check is left aside, and the producers are found in the batches, as after `damaged producers`, through which everything holds. It was planted, and of 40 plans that cut the power right behind the rename none saw a difference",
    ),
    (
        "M48",
        "the producers' file holds batches that were not durable when it was written (planted as `snapshot_holds_future`): the test `the_producers_file_knows_no_batch_that_was_not_durable_when_it_was_written` finds it. In a simulated universe a batch must come while that file is written, take longer to become durable than two syncs and a rename, and go with the power in between, unanswered: of some 3000 plans made for it none did all of that",
    ),
    (
        "M49",
        "an acknowledgement in a directory whose sync failed meanwhile (its other half is planted as `write_error_ignored`): 600 seeds saw no difference, for the journal's commit and every flush look at the directory again, and what was only written is as safe as any other record of a topic without fsync",
    ),
    (
        "M56",
        "old files for a new topic: the folder's name, every record and every envelope carry the topic id, so the mistake cannot be written down; `side-content` would see it",
    ),
    (
        "M57",
        "an envelope of another log: decoding one without its owner is a pure function that no probe reaches; its unit tests hold it",
    ),
    ("M63", "validation on the way of replication: there are no followers"),
    (
        "N25",
        "a start writes batches that the journal holds of a void segment into the present one (the other half is planted as `cut_not_journaled`): a log has one open segment at a time, and whoever reads the journal lets go of the batches of every other one before a start sees them, so the second look at the generation cannot differ from the first",
    ),
    (
        "N26",
        "an append of an older epoch that completes late: the epoch changes at a start only, when nothing is under way",
    ),
    (
        "N33",
        "the class of a start: one broker uses only whether the stop was clean; that the page cache is never trusted after any other is held by `tail_trusted`, `last_group_trusted` and `journal_batch_trusted`",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_product_carries_these_and_no_others() {
        let ours = MUTANTS.iter().map(|mutant| mutant.id).chain(ELSEWHERE.iter().copied());
        let ours: BTreeSet<&str> = ours.collect();
        let mut theirs: BTreeSet<&str> = storage::MUTANTS.iter().copied().collect();
        theirs.extend(broker::MUTANTS);
        theirs.extend(coordinator::MUTANTS);
        theirs.extend(wire::MUTANTS);
        theirs.extend(["forget_group_offsets"]);

        assert_eq!(ours, theirs);
        assert!(MUTANTS.is_sorted_by(|a, b| a.id < b.id));
    }
}
