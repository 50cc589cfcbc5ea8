package suite;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.record.internal.SimpleRecord;

/** E: what becomes of a log: retention and compaction. The broker looks often, see AcceptLane. */
final class AcceptLog extends Acceptance {
    private static final long HOUR_MS = 3_600_000;
    private static final Duration SOON = Duration.ofSeconds(40);

    AcceptLog(Suite suite, Broker broker) {
        super(suite, broker);
    }

    @Override
    void run() {
        item("43: old segments vanish by retention.ms, the start moves, offsets go on",
            this::byTime);
        item("43: a log that is all expired is empty and begins where it ended", this::allExpired);
        item("44: retention.bytes bounds the size to itself and one segment", this::bySize);
        item("45: a compacted log keeps the last value of each key at its offset", this::compacted);
        item("46: a tombstone is seen first and gone after delete.retention.ms", this::tombstone);
        item("47: min.compaction.lag.ms keeps young duplicates", this::lag);
        item("50: retention.ms of 9223372036854775807 deletes nothing", this::endless);
    }

    /** A batch of some 400 KB whose one record has this time. */
    private static long large(Wire wire, Raw.Topic topic, long timestamp) throws Exception {
        return Raw.appended(wire, topic,
            Raw.batch(new SimpleRecord(timestamp, new byte[400_000])));
    }

    private static long start(Wire wire, Raw.Topic topic) throws Exception {
        return Raw.list(wire, topic, 0, -2).offset();
    }

    private void byTime(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "by-time", 1, "segment.bytes", "1048576",
            "retention.ms", "-1");
        long now = System.currentTimeMillis();
        for (int i = 0; i < 4; i++) {
            large(wire, topic, now - 2 * HOUR_MS);
        }
        for (int i = 0; i < 3; i++) {
            large(wire, topic, now);
        }
        // Two batches fill a segment. Only now, so that none is rolled because all in it is old:
        AdminChecks.get(broker.admin().incrementalAlterConfigs(Map.of(
            new ConfigResource(ConfigResource.Type.TOPIC, "by-time"),
            List.of(new AlterConfigOp(new ConfigEntry("retention.ms", Long.toString(HOUR_MS)),
                AlterConfigOp.OpType.SET)))).all());
        Wait.until("the old segments vanish", SOON, () -> start(wire, topic) == 4);
        Wait.equal(7L, large(wire, topic, now), "the next offset");
        Raw.error(org.apache.kafka.common.protocol.Errors.OFFSET_OUT_OF_RANGE,
            Raw.fetched(wire, topic, 3).errorCode(), "fetch of what vanished");
        Wait.equal(4L, Raw.list(wire, topic, 0, 0).offset(), "the first record by time");
    }

    private void allExpired(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "all-expired", 1, "retention.ms",
            Long.toString(HOUR_MS));
        long past = System.currentTimeMillis() - 2 * HOUR_MS;
        for (int i = 0; i < 3; i++) {
            Raw.appended(wire, topic, Raw.batch(Raw.record(past, "k", "v" + i)));
        }
        Wait.until("the start is the end", SOON, () -> start(wire, topic) == 3);
        Wait.equal(3L, Raw.end(wire, topic), "the end");
        Wait.equal(3L, Raw.appended(wire, topic, Raw.batch("next")), "the next offset");
    }

    private void bySize(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "by-size", 1, "segment.bytes", "1048576",
            "retention.bytes", "2097152");
        long now = System.currentTimeMillis();
        for (int i = 0; i < 15; i++) {
            large(wire, topic, now);
        }
        // Eight segments, the last of one batch: while the others hold 2 MiB, the oldest goes.
        Wait.until("some are gone", SOON, () -> start(wire, topic) > 0);
        Wait.until("the size is within its bound", SOON,
            () -> (15 - start(wire, topic)) * 400_000 <= 2_097_152 + 1_048_576);
        Wait.that((15 - start(wire, topic)) * 400_000 >= 2_000_000, "not more than asked is gone");
    }

    private void endless(Wire wire) throws Exception {
        String[] none = {"segment.bytes", "1048576", "retention.ms",
            Long.toString(Long.MAX_VALUE)};
        Raw.Topic kept = Raw.topic(wire, "endless-kept", 1, none);
        Raw.Topic gone = Raw.topic(wire, "endless-gone", 1, "segment.bytes", "1048576",
            "retention.ms", Long.toString(HOUR_MS));
        long past = System.currentTimeMillis() - 2 * HOUR_MS;
        for (int i = 0; i < 4; i++) {
            large(wire, kept, past);
            large(wire, gone, past);
        }
        Wait.until("retention has run", SOON, () -> start(wire, gone) == 4);
        Raw.Topic later = Raw.topic(wire, "endless-later", 1, "retention.ms",
            Long.toString(HOUR_MS));
        Raw.appended(wire, later, Raw.batch(Raw.record(past, "k", "v")));
        Wait.until("and once more", SOON, () -> start(wire, later) == 1);
        Wait.equal("0 4", start(wire, kept) + " " + Raw.end(wire, kept), "start and end");
    }

    /** Every batch that is a second younger than its segment rolls it. */
    private static Raw.Topic compacting(Wire wire, String name, String... more) throws Exception {
        List<String> configs = new ArrayList<>(List.of("cleanup.policy", "compact", "segment.ms",
            "500", "min.cleanable.dirty.ratio", "0.01"));
        configs.addAll(List.of(more));
        return Raw.topic(wire, name, 1, configs.toArray(String[]::new));
    }

    private static Map<Long, String> all(Broker broker, String topic) {
        Map<Long, String> found = new TreeMap<>();
        for (ConsumerRecord<byte[], byte[]> it : Records.readAll(broker, topic)) {
            found.put(it.offset(), Records.text(it.key()) + "=" + Records.text(it.value()));
        }
        return found;
    }

    private void compacted(Wire wire) throws Exception {
        Raw.Topic topic = compacting(wire, "compacted");
        long time = System.currentTimeMillis() - HOUR_MS;
        for (int round = 0; round < 10; round++) {
            SimpleRecord[] records = new SimpleRecord[100];
            for (int i = 0; i < records.length; i++) {
                int number = round * 100 + i;
                records[i] = Raw.record(time + round * 1000L, "key-" + i % 10, "value-" + number);
            }
            Raw.appended(wire, topic, Raw.batch(records));
        }
        Raw.appended(wire, topic, Raw.batch(Raw.record(time + 20_000, "last", "active")));
        Wait.until("it is compacted", SOON, () -> all(broker, "compacted").size() <= 11);
        Map<Long, String> due = new TreeMap<>(Map.of(1000L, "last=active"));
        for (int i = 0; i < 10; i++) {
            due.put(990L + i, "key-" + i + "=value-" + (990 + i));
        }
        Wait.equal(due, all(broker, "compacted"), "what is left");
        Wait.equal("0 1001", start(wire, topic) + " " + Raw.end(wire, topic), "start and end");
        Wait.equal(990L, Raw.batches(Raw.fetched(wire, topic, 5)).get(0).iterator().next().offset(),
            "the next record from a removed offset");
    }

    private void tombstone(Wire wire) throws Exception {
        Raw.Topic topic = compacting(wire, "tombstone", "delete.retention.ms", "100");
        long[] time = {System.currentTimeMillis() - HOUR_MS};
        Raw.appended(wire, topic, Raw.batch(Raw.record(time[0], "gone", "v")));
        Raw.appended(wire, topic, Raw.batch(Raw.record(time[0] += 1000, "gone", null)));
        Wait.equal("gone=null", all(broker, "tombstone").get(1L), "right after the write");
        Wait.until("the tombstone is gone", SOON, () -> {
            Raw.appended(wire, topic, Raw.batch(Raw.record(time[0] += 1000, "other", "v")));
            return all(broker, "tombstone").values().stream().noneMatch(
                it -> it.startsWith("gone="));
        });
        Wait.that(all(broker, "tombstone").values().contains("other=v"), "the other key is kept");
    }

    private void lag(Wire wire) throws Exception {
        Raw.Topic kept = compacting(wire, "lag-kept", "min.compaction.lag.ms", "3600000");
        Raw.Topic cleaned = compacting(wire, "lag-cleaned");
        long time = System.currentTimeMillis() - 60_000;
        for (int i = 0; i < 10; i++) {
            Raw.appended(wire, kept, Raw.batch(Raw.record(time + i * 1000L, "k", "v" + i)));
            Raw.appended(wire, cleaned, Raw.batch(Raw.record(time + i * 1000L, "k", "v" + i)));
        }
        Wait.until("the one without a lag is compacted", SOON,
            () -> all(broker, "lag-cleaned").size() <= 2);
        Wait.equal(10, all(broker, "lag-kept").size(), "records of the one with a lag");
    }
}
