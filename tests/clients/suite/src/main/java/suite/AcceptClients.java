package suite;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;

/** Items that need whole clients: kcat and Java consumers in this process. */
final class AcceptClients extends Acceptance {
    private static final String COOPERATIVE =
        "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
    private static final String RANGE = "org.apache.kafka.clients.consumer.RangeAssignor";

    AcceptClients(Suite suite, Broker broker) {
        super(suite, broker);
    }

    @Override
    void run() {
        for (CompressionType codec : List.of(CompressionType.ZSTD, CompressionType.LZ4,
                CompressionType.SNAPPY, CompressionType.GZIP)) {
            suite.check("1.1 item 10: what kcat compresses with " + codec.name
                + " is stored so, and Java reads it", at -> wired(wire -> kcat(at, wire, codec)));
        }
        suite.check("1.1 item 42: kcat and Java read headers, null keys, null values and over an "
            + "empty batch", at -> wired(wire -> shapes(at, wire)));
        item("67: three consumers share six partitions, and two when one leaves",
            wire -> shares());
        item("77: from eager to cooperative, no partition is ever owned twice",
            wire -> bounced());
    }

    private void kcat(Path at, Wire wire, CompressionType codec) throws Exception {
        String name = "kcat-" + codec.name;
        Raw.Topic topic = Raw.topic(wire, name, 1);
        StringBuilder input = new StringBuilder();
        for (int i = 0; i < 200; i++) {
            input.append("k").append(i).append(":some value that repeats ").append(i).append('\n');
        }
        new Kcat(broker, at).run(input.toString(), "-P", "-t", name, "-p", "0", "-K", ":", "-z",
            codec.name);
        List<RecordBatch> batches = Raw.batches(Raw.fetched(wire, topic, 0));
        for (RecordBatch batch : batches) {
            Wait.equal(codec, batch.compressionType(), "codec in the log");
        }
        var read = Records.readAll(broker, name);
        Wait.equal(200, read.size(), "records");
        for (int i = 0; i < 200; i++) {
            Wait.equal("k" + i + " some value that repeats " + i, Records.text(read.get(i).key())
                + " " + Records.text(read.get(i).value()), "record " + i);
        }
    }

    private void shapes(Path at, Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "shapes", 1, "cleanup.policy", "compact,delete",
            "retention.ms", "-1", "segment.ms", "500", "min.cleanable.dirty.ratio", "0.01",
            "max.compaction.lag.ms", "500");
        long time = System.currentTimeMillis() - 3_600_000;
        // The producer of the first batch writes nothing else, so that compaction must keep its
        // last sequence; its one record is replaced by the next.
        Raw.appended(wire, topic, MemoryRecords.withIdempotentRecords(Compression.NONE, 900_001,
            (short) 0, 0, Raw.record(time, "twice", "old")));
        Header[] headers = {new RecordHeader("h", Records.bytes("x")), new RecordHeader("n", null),
            new RecordHeader("h", new byte[0])};
        Raw.appended(wire, topic, Raw.batch(new SimpleRecord(time + 1000, Records.bytes("twice"),
            Records.bytes("new"), headers), Raw.record(time + 1000, "null", null),
            Raw.record(time + 1000, "", "")));
        Raw.appended(wire, topic, Raw.batch(Raw.record(time + 3000, "last", "record")));
        Wait.until("the first batch is empty", Duration.ofSeconds(40), () -> {
            RecordBatch first = Raw.batches(Raw.fetched(wire, topic, 0)).get(0);
            return first.baseOffset() == 0 && !first.iterator().hasNext();
        });
        List<String> due =
            List.of("1 twice new h=x,n=null,h=", "2 null null ", "3   ", "4 last record ");
        List<String> java = new ArrayList<>();
        for (var it : Records.readAll(broker, "shapes")) {
            List<String> texts = new ArrayList<>();
            it.headers().forEach(one -> texts.add(one.key() + "=" + Records.text(one.value())));
            java.add(it.offset() + " " + Records.text(it.key()) + " " + Records.text(it.value())
                + " " + String.join(",", texts));
        }
        Wait.equal(due, java, "what Java reads");
        List<String> kcat = new ArrayList<>();
        for (Kcat.Printed it : new Kcat(broker, at).read("shapes")) {
            // kcat writes a header of null as NULL.
            kcat.add(it.offset() + " " + Records.text(it.key()) + " " + Records.text(it.value())
                + " " + it.headers().replace("NULL", "null"));
        }
        Wait.equal(due, kcat, "what kcat reads");
        Raw.Topic keyless = Raw.topic(wire, "shapes-keyless", 1);
        Raw.appended(wire, keyless, Raw.batch(Raw.record(null, "v"), Raw.record(null, null)));
        Wait.equal("null v,null null", join(Records.readAll(broker, "shapes-keyless").stream().map(
            it -> Records.text(it.key()) + " " + Records.text(it.value()))), "Java without keys");
        Wait.equal("null v,null null", join(new Kcat(broker, at).read("shapes-keyless").stream()
            .map(it -> Records.text(it.key()) + " " + Records.text(it.value()))), "kcat without");
    }

    private static String join(Stream<String> texts) {
        return String.join(",", texts.toList());
    }

    private KafkaConsumer<byte[], byte[]> consumer(String group, String assignors) {
        return Records.consumer(broker, Map.of("group.id", group, "session.timeout.ms", "10000",
            "heartbeat.interval.ms", "100", "partition.assignment.strategy", assignors));
    }

    private static void poll(Collection<KafkaConsumer<byte[], byte[]>> consumers) {
        for (var it : consumers) {
            it.poll(Duration.ofMillis(20));
        }
    }

    private static List<Integer> counts(Collection<KafkaConsumer<byte[], byte[]>> consumers) {
        return consumers.stream().map(it -> it.assignment().size()).sorted().toList();
    }

    private void shares() throws Exception {
        Records.createTopic(broker, "shares", 6);
        List<KafkaConsumer<byte[], byte[]>> consumers = new ArrayList<>();
        try {
            for (int i = 0; i < 3; i++) {
                consumers.add(consumer("shares", RANGE));
                consumers.get(i).subscribe(List.of("shares"));
            }
            Wait.until("two partitions each", Records.LIMIT, () -> {
                poll(consumers);
                return counts(consumers).equals(List.of(2, 2, 2));
            });
            consumers.remove(2).close();
            Wait.until("three partitions each", Records.LIMIT, () -> {
                poll(consumers);
                return counts(consumers).equals(List.of(3, 3));
            });
            Set<TopicPartition> all = new java.util.HashSet<>(consumers.get(0).assignment());
            all.addAll(consumers.get(1).assignment());
            Wait.equal(6, all.size(), "different partitions");
        } finally {
            consumers.forEach(it -> it.close(org.apache.kafka.clients.consumer.CloseOptions
                .timeout(Duration.ofSeconds(5))));
        }
    }

    /** Who owns what, by what the consumers were told. */
    private static final class Owners {
        private final Map<TopicPartition, String> owners = new HashMap<>();
        private final List<String> twice = new ArrayList<>();

        ConsumerRebalanceListener of(String name) {
            return new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                    for (TopicPartition it : partitions) {
                        String before = owners.put(it, name);
                        if (before != null) {
                            twice.add(it + " of " + before + " given to " + name);
                        }
                    }
                }

                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                    partitions.forEach(owners::remove);
                }
            };
        }
    }

    private void bounced() throws Exception {
        Records.createTopic(broker, "bounced", 6);
        Owners owners = new Owners();
        List<KafkaConsumer<byte[], byte[]>> consumers = new ArrayList<>();
        List<String> steps = List.of(RANGE, COOPERATIVE + "," + RANGE, COOPERATIVE);
        try {
            for (int i = 0; i < 3; i++) {
                consumers.add(consumer("bounced", RANGE));
                consumers.get(i).subscribe(List.of("bounced"), owners.of("0-" + i));
            }
            for (int step = 1; step < steps.size(); step++) {
                for (int i = 0; i < 3; i++) {
                    awaitAll(consumers);
                    consumers.get(i).close();
                    consumers.set(i, consumer("bounced", steps.get(step)));
                    consumers.get(i).subscribe(List.of("bounced"), owners.of(step + "-" + i));
                }
            }
            awaitAll(consumers);
            Wait.equal(List.of(), owners.twice, "partitions owned twice");
            Set<String> names = new TreeSet<>(owners.owners.values());
            Wait.equal(Set.of("2-0", "2-1", "2-2"), names, "the owners at last");
        } finally {
            consumers.forEach(it -> it.close(org.apache.kafka.clients.consumer.CloseOptions
                .timeout(Duration.ofSeconds(5))));
        }
    }

    private static void awaitAll(List<KafkaConsumer<byte[], byte[]>> consumers) throws Exception {
        Wait.until("two partitions each", Records.LIMIT, () -> {
            poll(consumers);
            return counts(consumers).equals(List.of(2, 2, 2));
        });
    }
}
