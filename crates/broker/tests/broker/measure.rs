//! What a broker can be measured by, held against what was done to it.

use base::{Duration, Offset, PartitionIndex};
use broker::api::{DirectoryState, Fetch};

use crate::world::{World, batch, fetch, produce, read, topic};

#[test]
fn a_partition_is_measured_by_what_was_written_and_what_was_returned() {
    let world = World::new("measured");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        let bytes = u64::try_from(batch(&["a"]).len()).unwrap();
        for _ in 0..3 {
            produce(&broker, t, batch(&["a"])).await.expect("written");
        }
        read(&broker, fetch(t, 1)).await.expect("readable");

        let measures = broker.measure();

        let part = measures.led[&("t".into(), PartitionIndex(0))];
        assert_eq!((part.start, part.end, part.high_watermark), (Offset(0), Offset(3), Offset(3)));
        assert_eq!((part.size_bytes, part.segments), (3 * bytes, 1));
        assert_eq!((part.appended_bytes, part.fetched_bytes), (3 * bytes, 2 * bytes));
        assert_eq!((measures.topics, measures.partitions, measures.offline), (1, 1, 0));
        let [dir] = &measures.directories[..] else { panic!("one directory: {measures:?}") };
        assert_eq!((&dir.view.state, dir.view.partitions), (&DirectoryState::Online, 1));
        assert!(dir.journal_groups > 0, "the log was made");
        broker.stop().await;
    });
}

#[test]
fn what_is_read_again_because_a_fetch_waits_for_more_is_counted_once() {
    let world = World::new("measured-once");
    world.runtime.block_on(async {
        let broker = world.start().await;
        let t = topic(&broker, "t", &[]).await;
        produce(&broker, t, batch(&["a"])).await.expect("written");

        let wish = Fetch { min_bytes: 1 << 19, max_wait: Duration::from_millis(30), ..fetch(t, 0) };
        let data = read(&broker, wish).await.expect("readable");

        let part = broker.measure().led[&("t".into(), PartitionIndex(0))];
        assert_eq!(Ok(part.fetched_bytes), u64::try_from(data.bytes));
        broker.stop().await;
    });
}
