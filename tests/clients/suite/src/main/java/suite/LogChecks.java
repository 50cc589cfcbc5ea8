package suite;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;

/** 5.1 and 5.2 as a client sees them: a log of many segments, and a clean stop. */
final class LogChecks {
    private static final int RECORDS = 12_000;

    private final Suite suite;
    private final Broker broker;
    private final Admin admin;

    LogChecks(Suite suite, Broker broker) {
        this.suite = suite;
        this.broker = broker;
        this.admin = broker.admin();
    }

    void run() {
        suite.check("5.1 a log of many segments is read from anywhere", at -> {
            writeSegments("rolled");
            readSegments("rolled");
        });
        suite.check("5.2 many segments are there after kill -9", at -> {
            writeSegments("rolled-killed");
            broker.kill();
            broker.start();
            readSegments("rolled-killed");
        });
        suite.check("5.2 topics, records and offsets are there after a clean stop", at -> {
            cleanStop();
        });
    }

    /** Twelve megabytes, in segments of one. Record n is 1,000 bytes long and n ms old. */
    private void writeSegments(String topic) throws Exception {
        AdminChecks.get(admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1).configs(
            Map.of("segment.bytes", "1048576", "retention.ms", "-1")))).all());
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < RECORDS; i++) {
            records.add(new ProducerRecord<>(topic, 0, 1_000_000L + i, null, value(i)));
        }
        Records.write(broker, Map.of("batch.size", "8000"), records);
    }

    private static byte[] value(int number) {
        byte[] value = new byte[1_000];
        new Random(number).nextBytes(value);
        return value;
    }

    private void readSegments(String topic) throws Exception {
        var all = Records.readAll(broker, topic);
        Wait.equal(RECORDS, all.size(), "records");
        for (int i = 0; i < RECORDS; i++) {
            Wait.equal((long) i, all.get(i).offset(), "offset");
            Wait.that(java.util.Arrays.equals(value(i), all.get(i).value()), "value " + i);
        }
        TopicPartition partition = new TopicPartition(topic, 0);
        Random random = new Random(suite.setup().seed());
        try (KafkaConsumer<byte[], byte[]> consumer = Records.consumer(broker,
                Map.of("max.poll.records", "1"))) {
            consumer.assign(List.of(partition));
            for (int i = 0; i < 100; i++) {
                long offset = random.nextInt(RECORDS);
                consumer.seek(partition, offset);
                var first = consumer.poll(Duration.ofSeconds(10)).iterator().next();
                Wait.equal(offset, first.offset(), "the first offset after seeking there");
                var found = consumer.offsetsForTimes(Map.of(partition, 1_000_000L + offset));
                Wait.equal(offset, found.get(partition).offset(), "the offset of that time");
            }
        }
    }

    private void cleanStop() throws Exception {
        Records.createTopic(broker, "kept", 3);
        Records.writeNumbers(broker, "kept", 0, 100);
        Records.writeNumbers(broker, "kept", 2, 7);
        TopicPartition partition = new TopicPartition("kept", 0);
        AdminChecks.get(admin.alterConsumerGroupOffsets("keepers",
            Map.of(partition, new OffsetAndMetadata(42, "a note"))).all());
        Uuid id = AdminChecks.topicId(admin, "kept");
        var before = AdminChecks.get(admin.listTopics().names());

        broker.stop();
        broker.start();

        Wait.equal(before, AdminChecks.get(admin.listTopics().names()), "topics");
        Wait.equal(id, AdminChecks.topicId(admin, "kept"), "the id of the topic");
        var records = Records.readAll(broker, "kept");
        Wait.equal(107, records.size(), "records");
        Wait.equal(100L, records.stream().filter(r -> r.partition() == 0).count(), "in partition 0");
        var offsets = Wait.value("the offsets of the group", Records.LIMIT,
            () -> AdminChecks.get(admin.listConsumerGroupOffsets("keepers").partitionsToOffsetAndMetadata()));
        Wait.equal(Map.of(partition, new OffsetAndMetadata(42, "a note")), offsets, "offsets");
    }
}
