//! Finding, checking and walking uncompressed batches takes no memory, whatever they hold.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like a test")]
#![expect(unsafe_code, reason = "a counting allocator cannot be written without it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use base::{Duration, LeaderEpoch, Offset, Timestamp};
use records::{
    BatchBuilder, Depth, Header, NewRecord, OPEN_BYTES_MAX, Opener, Patch, Policy, Stamp,
    TimestampType, batches, validate,
};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() {
    let headers = [Header { key: b"h", value: Some(b"1") }];
    let mut builder = BatchBuilder::new();
    for _ in 0..1000 {
        let record = NewRecord {
            timestamp: Timestamp(5),
            key: Some(b"key"),
            value: Some(&[7; 100]),
            headers: &headers,
        };
        builder.push(&record).unwrap();
    }
    let bytes = builder.finish_bytes().unwrap();
    let policy = Policy {
        batch_bytes_max: 1 << 20,
        record_bytes_max: usize::MAX,
        depth: Depth::Walk,
        open_bytes_max: OPEN_BYTES_MAX,
        key_required: true,
        timestamp_type: TimestampType::CreateTime,
        now: Timestamp(10),
        before_max: Duration::MAX,
        after_max: Duration::from_secs(3600),
    };
    let mut opener = Opener::default();
    // The first clone of a buffer makes its reference count; the CRC picks its routine once.
    drop((bytes.clone(), validate(&bytes, &policy, &mut opener)));

    let before = ALLOCATIONS.load(Ordering::SeqCst);
    let validated = validate(&bytes, &policy, &mut opener).unwrap();
    let patch = Patch { base_offset: Offset(9), leader_epoch: LeaderEpoch(1), stamp: Stamp::Keep };
    let patched = validated.batch.patched(&patch);
    let mut seen = 0;
    for batch in batches(bytes.clone()) {
        let set = batch.unwrap().open(OPEN_BYTES_MAX).unwrap();
        for record in &set {
            seen += record.unwrap().headers.count();
        }
    }
    let allocations = ALLOCATIONS.load(Ordering::SeqCst) - before;

    assert_eq!((seen, validated.record_count, patched.head().len()), (1000, 1000, 16));
    assert_eq!(allocations, 0, "walking 1000 records allocated");
}
