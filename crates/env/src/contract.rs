//! The contract suite: what every implementation of [`Env`] must do, checked the same way on the
//! real machine and in the simulator. Test support; the product calls none of it.
//!
//! Owns: one async function per rule, generic over the implementation, and the list of them
//! ([`ALL`], [`contracts!`](crate::contracts)). A contract gets a running world and an empty
//! directory of its own, may open loopback sockets, and ends with [`Verdict`]. What only a
//! simulator can do (crash, lose power, cut a network) is checked there and not here.
//! Invariant: no contract depends on how fast the machine is; each ends on every correct
//! implementation, and the runner gives up on one that does not end.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::task::Poll;

use base::Duration;
use bytes::{Bytes, BytesMut};

use crate::{Disk, Env, Listener, Net, Segment, SegmentQueue, Stream};

/// Fails the contract with a formatted reason unless the condition holds.
macro_rules! check {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err($crate::contract::Failure(format!($($why)+)));
        }
    };
}

pub mod clocks;
pub mod dirs;
pub mod files;
pub mod shared;
pub mod streams;
pub mod tasks;

/// Calls the macro `$call` with every contract, as `name: path,` pairs.
///
/// A test crate turns them into one test each:
/// ```text
/// macro_rules! tests {
///     ($($name:ident: $contract:path,)*) => {
///         $(#[test] fn $name() { run(|env, dir| async move { $contract(&env, &dir).await }) })*
///     };
/// }
/// env::contracts!(tests);
/// ```
#[macro_export]
macro_rules! contracts {
    ($call:ident) => {
        $crate::contracts! { @ $call
            files: [
                appended_bytes_are_read_back,
                all_buffers_of_an_append_are_written_in_order,
                a_large_append_is_complete,
                an_append_in_the_middle_overwrites,
                a_gap_before_an_append_reads_as_zeros,
                a_read_past_the_end_is_short,
                set_len_cuts_and_extends_with_zeros,
                clones_and_handles_share_the_file,
                preallocation_keeps_the_length,
                a_missing_file_is_not_found,
                create_new_refuses_an_existing_file,
                create_or_write_keeps_what_is_there,
                a_read_only_handle_refuses_to_write,
                appends_while_syncing_are_complete,
                syncs_succeed,
            ]
            dirs: [
                a_rename_replaces_its_target,
                a_renamed_file_keeps_its_handles,
                a_removed_file_is_gone_but_its_handles_live_on,
                missing_parents_are_created_and_existing_ones_are_fine,
                only_an_empty_directory_is_removed,
                a_directory_is_no_file,
                a_listing_is_sorted_and_typed,
                missing_paths_are_not_found,
                a_lock_is_exclusive_until_dropped,
                a_file_system_has_room_and_a_missing_directory_none,
                an_identity_is_stable_and_tells_directories_apart,
                a_replaced_directory_has_another_identity,
                the_host_stays_the_same,
            ]
            streams: [
                bytes_arrive_in_order,
                a_reader_is_told_of_bytes_and_of_the_end,
                both_directions_are_independent,
                segments_and_regions_leave_in_order,
                empty_segments_are_harmless,
                a_write_larger_than_any_buffer_waits_for_the_reader,
                a_write_of_some_takes_it_off_the_queue,
                a_region_that_was_cut_short_fails_the_write,
                a_finished_stream_ends_with_zero_and_still_reads,
                bytes_written_before_a_drop_arrive,
                a_write_to_a_gone_peer_fails_in_the_end,
                a_buffer_is_never_grown,
                a_cancelled_read_loses_no_byte,
                a_cancelled_accept_loses_no_connection,
                nobody_listening_is_refused,
                a_port_is_taken_until_its_listener_is_dropped,
                connections_are_told_apart,
            ]
            clocks: [
                monotonic_time_never_goes_back,
                a_sleep_is_never_early,
                a_sleep_into_the_past_ends,
                a_sleep_without_end_does_not_end,
                the_wall_clock_is_plausible,
                a_result_in_time_beats_the_deadline,
                a_deadline_drops_what_it_waited_for,
            ]
            tasks: [
                a_spawned_task_runs,
                a_dedicated_task_runs_and_uses_the_world,
                yielding_lets_others_run,
                a_seam_is_passed,
                tasks_outlive_the_one_that_spawned_them,
            ]
            shared: [
                random_numbers_differ,
                locks_nest_in_rising_rank,
                a_lock_admits_one_at_a_time,
                a_returned_buffer_is_reused,
                a_buffer_still_referenced_is_not_reused,
            ]
        }
    };
    (@ $call:ident $($module:ident: [$($name:ident,)*])*) => {
        $call! { $($($name: $crate::contract::$module::$name,)*)* }
    };
}

macro_rules! names {
    ($($name:ident: $contract:path,)*) => { &[$(stringify!($name)),*] };
}

/// The names of all contracts.
pub const ALL: &[&str] = contracts!(names);

/// Why a contract is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(cause: io::Error) -> Self {
        Self(format!("unexpected error: {cause} ({:?})", cause.kind()))
    }
}

/// Kept or broken.
pub type Verdict = Result<(), Failure>;

type FileOf<E> = <<E as Env>::Disk as Disk>::File;
type StreamOf<E> = <<E as Env>::Net as Net>::Stream;

/// Any free port of this host.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// `len` bytes whose period divides no power of two.
fn pattern(len: usize) -> Bytes {
    (0..=250).cycle().take(len).collect()
}

/// Runs both at once, in this task, to their ends.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut left, mut right) = (None, None);
    poll_fn(move |cx| {
        if left.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            left = Some(output);
        }
        if right.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            right = Some(output);
        }
        match (left.take(), right.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (left, right) = (a, b);
                Poll::Pending
            },
        }
    })
    .await
}

/// Polls once and drops the future, whatever came of it.
async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(move |cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Asks again and again, some ten seconds of the world's time, until `holds`.
async fn eventually<E: Env>(env: &E, what: &str, holds: impl Fn() -> bool + Send) -> Verdict {
    for _ in 0..10_000 {
        if holds() {
            return Ok(());
        }
        env.sleep(Duration::from_millis(1)).await;
    }
    Err(Failure(format!("never came: {what}")))
}

/// Fails unless `result` is an error of this kind.
fn fails_as<T>(result: io::Result<T>, kind: io::ErrorKind, what: &str) -> Verdict {
    match result {
        Err(cause) if cause.kind() == kind => Ok(()),
        Err(cause) => Err(Failure(format!("{what}: {cause} ({:?}), not {kind:?}", cause.kind()))),
        Ok(_) => Err(Failure(format!("{what} succeeded, but should fail as {kind:?}"))),
    }
}

/// A connection within this process: who connected, and who accepted.
async fn connected<E: Env>(env: &E) -> Result<(StreamOf<E>, StreamOf<E>), Failure> {
    let mut listener = env.net().listen(LOOPBACK).await?;
    let at = listener.local_addr()?;
    let (client, accepted) = both(env.net().connect(at), listener.accept()).await;
    Ok((client?, accepted?.0))
}

/// Writes bytes from memory.
async fn send<E: Env>(stream: &mut StreamOf<E>, bytes: Bytes) -> io::Result<()> {
    let mut queue = SegmentQueue::<FileOf<E>>::from([Segment::Bytes(bytes)]);
    stream.write_segments(&mut queue).await
}

/// Reads until `len` bytes have come, at most `step` at a time.
async fn receive<E: Env>(
    stream: &mut StreamOf<E>,
    len: usize,
    step: usize,
) -> Result<Bytes, Failure> {
    let mut all = BytesMut::with_capacity(len);
    while all.len() < len {
        let mut buf = BytesMut::with_capacity(step);
        let read = stream.read_into(&mut buf).await?;
        check!(read == buf.len(), "read_into says {read}, the buffer got {}", buf.len());
        check!(read > 0, "the stream ended after {} of {len} bytes", all.len());
        all.extend_from_slice(&buf);
    }
    Ok(all.freeze())
}

/// Fails unless the peer has finished.
async fn at_end<E: Env>(stream: &mut StreamOf<E>) -> Verdict {
    let mut buf = BytesMut::with_capacity(64);
    let read = stream.read_into(&mut buf).await?;
    check!(read == 0, "{read} bytes beyond the end");
    Ok(())
}

/// Names the first difference of two byte strings.
fn same(got: &[u8], wanted: &[u8], what: &str) -> Verdict {
    check!(got.len() == wanted.len(), "{what}: {} bytes instead of {}", got.len(), wanted.len());
    let differs = got.iter().zip(wanted).position(|(got, wanted)| got != wanted);
    check!(differs.is_none(), "{what}: differs first at byte {differs:?}");
    Ok(())
}
