package suite;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.ProduceResponseData;
import org.apache.kafka.common.message.ProduceResponseData.PartitionProduceResponse;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.DefaultRecordBatch;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.RecordBatch;

/** 1.4: what a topic's settings do to the batches that producers send, frame by frame. */
final class StoredChecks {
    private static final int PRODUCE = 12;
    private static final int FETCH = 11;

    private final Suite suite;
    private final Broker broker;

    StoredChecks(Suite suite, Broker broker) {
        this.suite = suite;
        this.broker = broker;
    }

    void run() {
        suite.check("1.4 compression.type gives every batch the topic's codec", at -> codecs());
        suite.check("1.4 LogAppendTime is the broker's, converted or not", at -> appendTime());
        suite.check("1.4 a compacted topic names the records without a key", at -> keys());
        suite.check("1.4 times too far from the broker's are named, each", at -> times());
        suite.check("1.4 max.message.bytes is judged as sent and again as stored", at -> sizes());
        suite.check("1.4 a duplicate is told the time that was stored", at -> duplicate());
    }

    private void topic(String name, String... configs) throws Exception {
        Map<String, String> given = new java.util.HashMap<>();
        for (int i = 0; i < configs.length; i += 2) {
            given.put(configs[i], configs[i + 1]);
        }
        AdminChecks.get(broker.admin().createTopics(List.of(
            new NewTopic(name, Optional.of(1), Optional.empty()).configs(given))).all());
        Wait.until("the topic " + name, Records.LIMIT, () -> !AdminChecks.get(
            broker.admin().describeTopics(List.of(name)).allTopicNames()).isEmpty());
    }

    private static MemoryRecords batch(CompressionType codec, long producer, long[] times,
            String[] keys, int length) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 21),
            RecordBatch.MAGIC_VALUE_V2, Compression.of(codec).build(), TimestampType.CREATE_TIME, 0L,
            -1L, producer, (short) (producer < 0 ? -1 : 0), producer < 0 ? -1 : 0, false, -1);
        for (int i = 0; i < times.length; i++) {
            byte[] key = keys[i] == null ? null : Records.bytes(keys[i]);
            builder.append(times[i], key, new byte[length]);
        }
        return builder.build();
    }

    private PartitionProduceResponse produce(Frames frames, String topic, MemoryRecords records)
            throws Exception {
        var partition = new ProduceRequestData.PartitionProduceData().setIndex(0).setRecords(records);
        var data = new ProduceRequestData.TopicProduceData().setName(topic);
        data.partitionData().add(partition);
        var request = new ProduceRequestData().setAcks((short) -1).setTimeoutMs(10_000);
        request.topicData().add(data);
        ProduceResponseData answer = frames.ask(ApiKeys.PRODUCE, PRODUCE, request);
        return answer.responses().iterator().next().partitionResponses().get(0);
    }

    private List<DefaultRecordBatch> fetch(Frames frames, String topic) throws Exception {
        var partition = new FetchRequestData.FetchPartition().setPartition(0).setFetchOffset(0)
            .setPartitionMaxBytes(1 << 24).setCurrentLeaderEpoch(-1).setLastFetchedEpoch(-1);
        var data = new FetchRequestData.FetchTopic().setTopic(topic);
        data.partitions().add(partition);
        var request = new FetchRequestData().setMaxWaitMs(100).setMinBytes(1).setMaxBytes(1 << 25);
        request.topics().add(data);
        FetchResponseData answer = frames.ask(ApiKeys.FETCH, FETCH, request);
        List<DefaultRecordBatch> batches = new ArrayList<>();
        MemoryRecords records =
            (MemoryRecords) answer.responses().get(0).partitions().get(0).records();
        records.batches().forEach(found -> batches.add((DefaultRecordBatch) found));
        return batches;
    }

    private static final String[] ABC = {"a", "b", "c"};

    private void codecs() throws Exception {
        long now = System.currentTimeMillis();
        long[] times = {now - 50, now - 10, now - 30};
        Map<String, CompressionType> targets = Map.of("uncompressed", CompressionType.NONE,
            "gzip", CompressionType.GZIP, "snappy", CompressionType.SNAPPY,
            "lz4", CompressionType.LZ4, "zstd", CompressionType.ZSTD);
        try (Frames frames = new Frames(broker)) {
            for (var target : targets.entrySet()) {
                String topic = "stored-" + target.getKey();
                topic(topic, "compression.type", target.getKey());
                for (CompressionType codec : CompressionType.values()) {
                    var answer = produce(frames, topic, batch(codec, -1, times, ABC, 300));
                    Wait.equal((short) 0, answer.errorCode(), codec + " to " + topic);
                }
                for (DefaultRecordBatch found : fetch(frames, topic)) {
                    found.ensureValid();
                    Wait.equal(target.getValue(), found.compressionType(), "codec in " + topic);
                    Wait.equal(now - 10, found.maxTimestamp(), "the latest time");
                    Wait.equal(now - 50, found.baseTimestamp(), "the first time");
                    int count = 0;
                    for (var record : found) {
                        Wait.equal(times[count], record.timestamp(), "a time");
                        Wait.equal(300, record.valueSize(), "a value");
                        count++;
                    }
                    Wait.equal(3, count, "records");
                }
            }
        }
    }

    private void appendTime() throws Exception {
        topic("appended", "message.timestamp.type", "LogAppendTime");
        topic("appended-zstd", "message.timestamp.type", "LogAppendTime", "compression.type", "zstd");
        long before = System.currentTimeMillis();
        long[] times = {7, 9, 8};
        try (Frames frames = new Frames(broker)) {
            for (String topic : List.of("appended", "appended-zstd")) {
                for (CompressionType codec : CompressionType.values()) {
                    var answer = produce(frames, topic, batch(codec, -1, times, ABC, 30));
                    Wait.equal((short) 0, answer.errorCode(), codec + " to " + topic);
                    Wait.that(answer.logAppendTimeMs() >= before, "a time of the append");
                }
                for (DefaultRecordBatch found : fetch(frames, topic)) {
                    found.ensureValid();
                    Wait.equal(TimestampType.LOG_APPEND_TIME, found.timestampType(), "its kind");
                    Wait.equal(7L, found.baseTimestamp(), "what the records are relative to");
                    for (var record : found) {
                        Wait.equal(found.maxTimestamp(), record.timestamp(), "a record's time");
                    }
                }
            }
        }
    }

    private void keys() throws Exception {
        topic("keyed", "cleanup.policy", "compact");
        long now = System.currentTimeMillis();
        try (Frames frames = new Frames(broker)) {
            for (CompressionType codec : CompressionType.values()) {
                var answer = produce(frames, "keyed", batch(codec, -1, new long[] {now, now, now},
                    new String[] {null, "k", null}, 5));
                String why = "Compacted topic cannot accept message without key in topic partition "
                    + "keyed-0";
                Wait.equal((short) 87, answer.errorCode(), "the error");
                Wait.equal("0: " + why + ", 2: " + why, errors(answer), "the records");
                Wait.equal("One or more records have been rejected due to 2 record errors in total, "
                    + "and only showing the first three errors at most: [RecordError(batchIndex=0, "
                    + "message='" + why + "'), RecordError(batchIndex=2, message='" + why + "')]",
                    answer.errorMessage(), "the message");
                Wait.equal(0L, answer.logStartOffset(), "the log's start");
            }
            Wait.equal(0, fetch(frames, "keyed").size(), "batches in the log");
        }
    }

    private static String errors(PartitionProduceResponse answer) {
        return String.join(", ", answer.recordErrors().stream().map(error ->
            error.batchIndex() + ": " + error.batchIndexErrorMessage()).toList());
    }

    private void times() throws Exception {
        topic("timely", "message.timestamp.before.max.ms", "100000",
            "message.timestamp.after.max.ms", "200000");
        long now = System.currentTimeMillis();
        try (Frames frames = new Frames(broker)) {
            var answer = produce(frames, "timely", batch(CompressionType.NONE, -1,
                new long[] {now - 900_000, now, now + 900_000}, ABC, 5));
            Wait.equal((short) 32, answer.errorCode(), "the error");
            Wait.equal("One or more records have been rejected due to invalid timestamp",
                answer.errorMessage(), "the message");
            Wait.equal(2, answer.recordErrors().size(), "records");
            String second = answer.recordErrors().get(1).batchIndexErrorMessage();
            String start = "Timestamp " + (now + 900_000) + " of message with offset 2 is out of "
                + "range. The timestamp should be within [";
            Wait.that(second.startsWith(start), "<" + second + "> begins with <" + start + ">");
            String[] range = second.substring(start.length(), second.length() - 1).split(", ");
            Wait.equal(300_000L, Long.parseLong(range[1]) - Long.parseLong(range[0]), "the range");
            var none = produce(frames, "timely", batch(CompressionType.NONE, -1, new long[] {-1},
                new String[] {"k"}, 5));
            Wait.equal((short) 0, none.errorCode(), "no time at all");
        }
    }

    private void sizes() throws Exception {
        topic("small", "max.message.bytes", "500");
        topic("small-plain", "max.message.bytes", "500", "compression.type", "uncompressed");
        topic("small-records", "max.decompressed.message.bytes", "1000");
        long[] now = {System.currentTimeMillis()};
        String[] key = {"k"};
        try (Frames frames = new Frames(broker)) {
            var large = batch(CompressionType.NONE, -1, now, key, 500);
            Wait.equal((short) 10, produce(frames, "small", large).errorCode(), "too large");
            var packed = batch(CompressionType.GZIP, -1, now, key, 5000);
            Wait.equal((short) 0, produce(frames, "small", packed).errorCode(), "packed");
            packed = batch(CompressionType.GZIP, -1, now, key, 5000);
            var answer = produce(frames, "small-plain", packed);
            Wait.equal((short) 10, answer.errorCode(), "too large once it is unpacked");
            Wait.equal(-1L, answer.logStartOffset(), "the log's start is not told");
            Wait.equal(null, answer.errorMessage(), "nor anything else");
            packed = batch(CompressionType.GZIP, -1, now, key, 5000);
            Wait.equal((short) 87, produce(frames, "small-records", packed).errorCode(),
                "a record that inflates too far");
            var plain = batch(CompressionType.NONE, -1, now, key, 5000);
            Wait.equal((short) 0, produce(frames, "small-records", plain).errorCode(),
                "one that came as it is");
        }
    }

    private void duplicate() throws Exception {
        topic("twice", "compression.type", "gzip");
        long now = System.currentTimeMillis();
        long[] times = {now - 50, now - 10};
        String[] keys = {"a", "b"};
        try (Frames frames = new Frames(broker)) {
            var first = produce(frames, "twice",
                batch(CompressionType.SNAPPY, 4242, times, keys, 9));
            var again = produce(frames, "twice",
                batch(CompressionType.SNAPPY, 4242, times, keys, 9));
            Wait.equal("0 0 -1", first.errorCode() + " " + first.baseOffset() + " "
                + first.logAppendTimeMs(), "the first");
            Wait.equal((short) 0, again.errorCode(), "the second");
            Wait.equal(0L, again.baseOffset(), "its offset");
            Wait.that(again.logAppendTimeMs() > 0, "a time");
            Wait.equal(1, fetch(frames, "twice").size(), "batches in the log");
        }
    }
}
