package suite;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.DeleteRecordsRequestData;
import org.apache.kafka.common.message.DeleteRecordsRequestData.DeleteRecordsPartition;
import org.apache.kafka.common.message.DeleteRecordsRequestData.DeleteRecordsTopic;
import org.apache.kafka.common.message.DeleteRecordsResponseData;
import org.apache.kafka.common.message.DeleteRecordsResponseData.DeleteRecordsPartitionResult;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchRequestData.FetchPartition;
import org.apache.kafka.common.message.FetchRequestData.FetchTopic;
import org.apache.kafka.common.message.FetchRequestData.ForgottenTopic;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.FetchResponseData.PartitionData;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsPartition;
import org.apache.kafka.common.message.ListOffsetsResponseData.ListOffsetsPartitionResponse;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData.OffsetForLeaderPartition;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData.OffsetForLeaderTopic;
import org.apache.kafka.common.message.OffsetForLeaderEpochResponseData;
import org.apache.kafka.common.message.OffsetForLeaderEpochResponseData.EpochEndOffset;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.RecordBatch;

/** D: fetching and offsets; and trap 4. */
final class AcceptFetch extends Acceptance {
    AcceptFetch(Suite suite, Broker broker) {
        super(suite, broker);
    }

    @Override
    void run() {
        item("32: a batch larger than every limit is still delivered, whole", this::largeRecord);
        item("33: a fetch waits for its bytes, and no longer than it said", this::longPoll);
        item("34: an offset beyond the end or before the start is out of range, the end is not",
            this::bounds);
        item("35: an offset inside a batch gets the whole batch, a client its own records",
            this::midBatch);
        item("36: a session leaves out what did not change and fences ids and epochs",
            this::session);
        item("37: an older leader epoch is fenced, a newer one unknown", this::leaderEpoch);
        item("38: ListOffsets finds end, start, largest time, first of a time and nothing",
            this::listOffsets);
        item("40: DeleteRecords moves the start, and refuses what it must", this::deleteRecords);
        item("41: OffsetForLeaderEpoch of the current, an unknown and an undefined epoch",
            this::epochEnds);
        trap("4: limits of partition and response hold behind the first batch", this::limits);
        trap("4: a wait of 2147483647 ms ends when bytes come", this::endlessWait);
        trap("4: an error of one partition answers at once", this::errorsDoNotWait);
        trap("4: watermarks and start are in every answer, aborted transactions as asked for",
            this::fields);
        trap("4: Fetch 4 to 18 all deliver", this::everyVersion);
        trap("4: unknown topics and partitions by name and by id", this::unknown);
        trap("4: fetching without a session in every form", this::withoutSession);
        trap("4: an unchanged session waits", this::sessionWaits);
        trap("4: a session forgets partitions and takes new ones", this::sessionChanges);
        trap("4: a last fetched epoch that was never there diverges", this::diverging);
        trap("6: ListOffsets 1 to 11 answer, and refuse what came later", this::listVersions);
        trap("6: ListOffsets of one partition twice, an unknown one, another epoch",
            this::listErrors);
        trap("6: the largest time inside a compressed batch is exact", this::maxTimestamp);
    }

    private void largeRecord(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "large-record", 2, "max.message.bytes", "12000000");
        byte[] value = new byte[10_000_000];
        new java.util.Random(1).nextBytes(value);
        MemoryRecords large = MemoryRecords.withRecords(Compression.NONE,
            new org.apache.kafka.common.record.internal.SimpleRecord(value));
        Raw.appended(wire, topic, large);
        Raw.appended(wire, topic, Raw.batch("behind"));
        FetchRequestData request = Raw.fetch(topic, Raw.at(0, 0).setPartitionMaxBytes(1000))
            .setMaxBytes(1000);
        PartitionData data = Raw.partitions(Raw.fetch(wire, Raw.FETCH, request)).get(0);
        Wait.equal(large.sizeInBytes(), data.records().sizeInBytes(), "bytes");
        Wait.equal(1, Raw.batches(data).size(), "batches");
        try (var consumer = Records.consumer(broker, Map.of("max.partition.fetch.bytes", "1000"))) {
            TopicPartition partition = new TopicPartition("large-record", 0);
            consumer.assign(List.of(partition));
            consumer.seek(partition, 0);
            List<Integer> sizes = new ArrayList<>();
            Wait.until("both records", Records.LIMIT, () -> {
                consumer.poll(java.time.Duration.ofMillis(200))
                    .forEach(it -> sizes.add(it.value().length));
                return sizes.size() == 2;
            });
            Wait.equal(List.of(10_000_000, 6), sizes, "bytes of the values");
        }
    }

    private void longPoll(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "long-poll", 1);
        FetchRequestData request =
            Raw.fetch(topic, Raw.at(0, 0)).setMinBytes(1 << 20).setMaxWaitMs(500);
        long start = System.nanoTime();
        PartitionData data = Raw.partitions(Raw.fetch(wire, Raw.FETCH, request)).get(0);
        long took = (System.nanoTime() - start) / 1_000_000;
        Wait.that(took >= 495 && took < 3000, "answered after " + took + " ms");
        Wait.equal("NONE 0 0", Errors.forCode(data.errorCode()) + " "
            + Raw.texts(data).size() + " " + data.highWatermark(), "an empty answer");
        int waiting = wire.send(Raw.FETCH, Raw.fetch(topic, Raw.at(0, 0)).setMinBytes(1000)
            .setMaxWaitMs(25_000));
        try (Wire other = new Wire(broker)) {
            Raw.appended(other, topic, Raw.batch("few"));
            Wait.equal(0, Raw.batches(Raw.fetched(other, topic, 1)).size(), "answers at 1");
            wire.expectSilent();
            Raw.appended(other, topic, Raw.batch("x".repeat(1000)));
        }
        start = System.nanoTime();
        var answer = wire.receive(Raw.FETCH, waiting, new FetchResponseData());
        took = (System.nanoTime() - start) / 1_000_000;
        Wait.equal(2, Raw.texts(Raw.partitions(answer).get(0)).size(), "records");
        Wait.that(took < 5000, "answered only after " + took + " ms");
    }

    private void endlessWait(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "endless", 1);
        int waiting = wire.send(Raw.FETCH, Raw.fetch(topic, Raw.at(0, 0)).setMinBytes(1)
            .setMaxWaitMs(Integer.MAX_VALUE).setMaxBytes(Integer.MAX_VALUE));
        try (Wire other = new Wire(broker)) {
            Raw.appended(other, topic, Raw.batch("here"));
        }
        var answer = wire.receive(Raw.FETCH, waiting, new FetchResponseData());
        Wait.equal(List.of("0:null=here"), Raw.texts(Raw.partitions(answer).get(0)), "records");
    }

    private void errorsDoNotWait(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "no-wait", 2);
        long start = System.nanoTime();
        var parts = Raw.partitions(Raw.fetch(wire, Raw.FETCH, Raw.fetch(topic, Raw.at(0, 0),
            Raw.at(1, 9)).setMinBytes(1).setMaxWaitMs(20_000)));
        Wait.that(System.nanoTime() - start < 5_000_000_000L, "the answer came late");
        Raw.error(Errors.NONE, parts.get(0).errorCode(), "partition 0");
        Raw.error(Errors.OFFSET_OUT_OF_RANGE, parts.get(1).errorCode(), "partition 1");
    }

    private static String told(PartitionData data) {
        return Errors.forCode(data.errorCode()) + " " + data.highWatermark() + " "
            + data.lastStableOffset() + " " + data.logStartOffset();
    }

    private void bounds(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "bounds", 1);
        Raw.appended(wire, topic, Raw.batch("a", "b", "c"));
        Wait.equal("OFFSET_OUT_OF_RANGE -1 -1 -1", told(Raw.fetched(wire, topic, 4)), "beyond");
        Wait.equal("OFFSET_OUT_OF_RANGE -1 -1 -1", told(Raw.fetched(wire, topic, -1)), "before");
        PartitionData end = Raw.fetched(wire, topic, 3);
        Wait.equal("NONE 3 3 0", told(end), "the end");
        Wait.equal(0, end.records() == null ? 0 : end.records().sizeInBytes(), "bytes at the end");
        deleteTo(wire, topic, 2);
        Wait.equal("OFFSET_OUT_OF_RANGE -1 -1 -1", told(Raw.fetched(wire, topic, 1)),
            "before the new start");
        Wait.equal("NONE 3 3 2", told(Raw.fetched(wire, topic, 2)), "the new start");
    }

    private void midBatch(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "mid-batch", 1);
        Raw.appended(wire, topic, Raw.batch("a", "b", "c"));
        Raw.appended(wire, topic, MemoryRecords.withRecords(Compression.gzip().build(),
            Raw.record(null, "d"), Raw.record(null, "e"), Raw.record(null, "f")));
        PartitionData data = Raw.fetched(wire, topic, 4);
        Wait.equal(List.of("3:null=d", "4:null=e", "5:null=f"), Raw.texts(data), "records at 4");
        Wait.equal(2, Raw.batches(Raw.fetched(wire, topic, 2)).size(), "batches from 2");
        try (var consumer = Records.consumer(broker, Map.of())) {
            TopicPartition partition = new TopicPartition("mid-batch", 0);
            consumer.assign(List.of(partition));
            consumer.seek(partition, 4);
            List<Long> got = new ArrayList<>();
            Wait.until("two records", Records.LIMIT, () -> {
                consumer.poll(java.time.Duration.ofMillis(100)).forEach(it -> got.add(it.offset()));
                return got.size() >= 2;
            });
            Wait.equal(List.of(4L, 5L), got, "what the client delivers");
        }
    }

    // Sessions.

    private static FetchRequestData sessioned(int id, int epoch, FetchTopic... topics) {
        return new FetchRequestData().setMaxWaitMs(0).setMinBytes(0).setMaxBytes(1 << 20)
            .setSessionId(id).setSessionEpoch(epoch).setTopics(new ArrayList<>(List.of(topics)));
    }

    private static FetchTopic wanted(Raw.Topic topic, FetchPartition... partitions) {
        return new FetchTopic().setTopic(topic.name()).setTopicId(topic.id())
            .setPartitions(new ArrayList<>(List.of(partitions)));
    }

    private static String topLevel(FetchResponseData answer) {
        return Errors.forCode(answer.errorCode()) + " " + answer.sessionId() + " "
            + answer.responses().size();
    }

    private void session(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "session", 2);
        Raw.appended(wire, topic, Raw.batch("a"));
        for (int version : new int[] {7, 12, 13, Raw.FETCH}) {
            var full = Raw.fetch(wire, version, sessioned(0, 0,
                wanted(topic, Raw.at(0, Raw.end(wire, topic)), Raw.at(1, 0))));
            int id = full.sessionId();
            Wait.that(id > 0, "the id of a new session is " + id);
            Wait.equal(2, Raw.partitions(full).size(), "partitions of a full answer");
            var same = Raw.fetch(wire, version, sessioned(id, 1));
            Wait.equal("NONE " + id + " 0", topLevel(same), "nothing changed");
            Raw.appended(wire, topic, Raw.batch("more"));
            var one = Raw.fetch(wire, version, sessioned(id, 2));
            Wait.equal(List.of(0), Raw.partitions(one).stream().map(it -> it.partitionIndex())
                .toList(), "partitions that changed");
            Wait.equal(1, Raw.texts(Raw.partitions(one).get(0)).size(), "records");
            Wait.equal("INVALID_FETCH_SESSION_EPOCH 0 0",
                topLevel(Raw.fetch(wire, version, sessioned(id, 7))), "a wrong epoch");
            Wait.equal("FETCH_SESSION_ID_NOT_FOUND 0 0",
                topLevel(Raw.fetch(wire, version, sessioned(id == 5 ? 6 : 5, 3))), "an unknown id");
            var closed = Raw.fetch(wire, version, sessioned(id, -1));
            Wait.equal("NONE 0 0", topLevel(closed), "closing it");
            Wait.equal("FETCH_SESSION_ID_NOT_FOUND 0 0",
                topLevel(Raw.fetch(wire, version, sessioned(id, 3))), "a closed one");
        }
    }

    private void sessionWaits(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "session-waits", 1);
        int id = Raw.fetch(wire, Raw.FETCH, sessioned(0, 0, wanted(topic, Raw.at(0, 0)))).sessionId();
        Wait.that(id > 0, "the id of a new session is " + id);
        long start = System.nanoTime();
        var same = Raw.fetch(wire, Raw.FETCH, sessioned(id, 1).setMinBytes(1).setMaxWaitMs(300));
        long took = (System.nanoTime() - start) / 1_000_000;
        Wait.that(took >= 295, "answered after " + took + " ms");
        Wait.equal("NONE " + id + " 0", topLevel(same), "nothing changed");
        int waiting = wire.send(Raw.FETCH, sessioned(id, 2).setMinBytes(1).setMaxWaitMs(20_000));
        try (Wire other = new Wire(broker)) {
            Raw.appended(other, topic, Raw.batch("x"));
        }
        var answer = wire.receive(Raw.FETCH, waiting, new FetchResponseData());
        Wait.equal(List.of("0:null=x"), Raw.texts(Raw.partitions(answer).get(0)), "records");
    }

    private void sessionChanges(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "session-changes", 3);
        int id = Raw.fetch(wire, Raw.FETCH,
            sessioned(0, 0, wanted(topic, Raw.at(0, 0), Raw.at(1, 0)))).sessionId();
        Wait.that(id > 0, "the id of a new session is " + id);
        var added = Raw.fetch(wire, Raw.FETCH, sessioned(id, 1, wanted(topic, Raw.at(2, 0))));
        Wait.equal(List.of(2), Raw.partitions(added).stream().map(it -> it.partitionIndex())
            .toList(), "what is new");
        for (int i = 0; i < 3; i++) {
            wire.ask(Raw.PRODUCE, Raw.produce(-1, topic.batches(i, Raw.batch("p" + i))),
                new org.apache.kafka.common.message.ProduceResponseData());
        }
        var less = Raw.fetch(wire, Raw.FETCH, sessioned(id, 2).setForgottenTopicsData(List.of(
            new ForgottenTopic().setTopic(topic.name()).setTopicId(topic.id())
                .setPartitions(List.of(0, 1)))));
        Wait.equal(List.of(2), Raw.partitions(less).stream().map(it -> it.partitionIndex()).toList(),
            "what is left");
        var empty = Raw.fetch(wire, Raw.FETCH, sessioned(id, 3).setForgottenTopicsData(List.of(
            new ForgottenTopic().setTopic(topic.name()).setTopicId(topic.id())
                .setPartitions(List.of(2)))));
        Wait.equal("NONE 0 0", topLevel(empty), "a session without partitions ends");
        Wait.equal("FETCH_SESSION_ID_NOT_FOUND 0 0",
            topLevel(Raw.fetch(wire, Raw.FETCH, sessioned(id, 4))), "and is gone");
        // Ids cannot be mixed with names.
        int named = Raw.fetch(wire, 12, sessioned(0, 0, wanted(topic, Raw.at(0, 0)))).sessionId();
        Wait.equal("FETCH_SESSION_TOPIC_ID_ERROR 0 0",
            topLevel(Raw.fetch(wire, 13, sessioned(named, 1))), "a session by names used by ids");
    }

    private void withoutSession(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "no-session", 1);
        Raw.appended(wire, topic, Raw.batch("a"));
        for (int i = 0; i < 2; i++) {
            var answer = Raw.fetch(wire, Raw.FETCH, Raw.fetch(topic, Raw.at(0, 1)));
            Wait.equal("NONE 0 1", topLevel(answer), "epoch -1 is sessionless and always full");
        }
        var none = Raw.fetch(wire, Raw.FETCH, sessioned(0, -1));
        Wait.equal("NONE 0 0", topLevel(none), "no partitions at all");
        var empty = Raw.fetch(wire, Raw.FETCH, sessioned(0, 0));
        Wait.that(empty.sessionId() > 0 && empty.errorCode() == 0,
            "a full one of nothing begins a session, " + topLevel(empty));
    }

    private void leaderEpoch(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "leader-epoch", 1);
        Raw.appended(wire, topic, Raw.batch("a"));
        for (int version = 9; version <= Raw.FETCH; version++) {
            PartitionData newer = Raw.partitions(Raw.fetch(wire, version,
                Raw.fetch(topic, Raw.at(0, 0).setCurrentLeaderEpoch(5)))).get(0);
            Wait.equal("UNKNOWN_LEADER_EPOCH -1 -1 -1", told(newer), "epoch 5 in v" + version);
            PartitionData same = Raw.partitions(Raw.fetch(wire, version,
                Raw.fetch(topic, Raw.at(0, 0).setCurrentLeaderEpoch(0)))).get(0);
            Raw.error(Errors.NONE, same.errorCode(), "epoch 0 in v" + version);
        }
        var listed = Raw.list(wire, Raw.LIST, 0, topic, new ListOffsetsPartition()
            .setPartitionIndex(0).setTimestamp(-1).setCurrentLeaderEpoch(5)).get(0);
        Raw.error(Errors.UNKNOWN_LEADER_EPOCH, listed.errorCode(), "ListOffsets of epoch 5");
        Raw.error(Errors.UNKNOWN_LEADER_EPOCH, epochEnd(wire, topic, 5, 0).errorCode(),
            "OffsetForLeaderEpoch of epoch 5");
    }

    private void listOffsets(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "list-offsets", 1);
        Wait.equal("NONE -1 -1 -1", told(Raw.list(wire, topic, 0, -3)), "largest time of nothing");
        Wait.equal("NONE 0 -1 0", told(Raw.list(wire, topic, 0, -1)), "end of nothing");
        Raw.appended(wire, topic, Raw.batch(Raw.record(1000, "k", "a"), Raw.record(3000, "k", "b"),
            Raw.record(2000, "k", "c")));
        Raw.appended(wire, topic, Raw.batch(Raw.record(3000, "k", "d"), Raw.record(4000, "k", "e"),
            Raw.record(3500, "k", "f")));
        Object[][] cases = {{-1L, "NONE 6 -1 0"}, {-2L, "NONE 0 -1 0"}, {-3L, "NONE 4 4000 0"},
            {-4L, "NONE 0 -1 0"}, {-5L, "NONE -1 -1 -1"}, {0L, "NONE 0 1000 0"},
            {1000L, "NONE 0 1000 0"}, {1001L, "NONE 1 3000 0"}, {1500L, "NONE 1 3000 0"},
            {3001L, "NONE 4 4000 0"}, {4000L, "NONE 4 4000 0"}, {4001L, "NONE -1 -1 -1"}};
        for (Object[] it : cases) {
            Wait.equal(it[1], told(Raw.list(wire, topic, 0, (Long) it[0])), "at " + it[0]);
        }
        deleteTo(wire, topic, 2);
        Wait.equal("NONE 2 -1 0", told(Raw.list(wire, topic, 0, -2)), "start after deletion");
        Wait.equal("NONE 2 2000 0", told(Raw.list(wire, topic, 0, 0)), "first after deletion");
    }

    private static String told(ListOffsetsPartitionResponse answer) {
        return Errors.forCode(answer.errorCode()) + " " + answer.offset() + " "
            + answer.timestamp() + " " + answer.leaderEpoch();
    }

    private static ListOffsetsPartition wantedTime(long timestamp) {
        return new ListOffsetsPartition().setPartitionIndex(0).setCurrentLeaderEpoch(-1)
            .setTimestamp(timestamp);
    }

    private void listVersions(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "list-versions", 1);
        Raw.appended(wire, topic, Raw.batch(Raw.record(1000, "k", "a"), Raw.record(3000, "k", "b")));
        int[][] since = {{-1, 1}, {-2, 1}, {2000, 1}, {-3, 7}, {-4, 8}, {-5, 9}, {-6, 11},
            {-7, 99}};
        for (int version = 1; version <= Raw.LIST; version++) {
            for (int[] it : since) {
                var answer = Raw.list(wire, version, 0, topic, wantedTime(it[0])).get(0);
                Raw.error(version >= it[1] ? Errors.NONE : Errors.UNSUPPORTED_VERSION,
                    answer.errorCode(), it[0] + " in v" + version);
                if (it[0] == -1) {
                    Wait.equal("2 " + (version < 4 ? -1 : 0), answer.offset() + " "
                        + answer.leaderEpoch(), "end in v" + version);
                }
            }
        }
    }

    private void listErrors(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "list-errors", 1);
        var twice = Raw.list(wire, Raw.LIST, 0, topic, wantedTime(-1), wantedTime(-2));
        for (var answer : twice) {
            Raw.error(Errors.INVALID_REQUEST, answer.errorCode(), "one partition twice");
        }
        var unknown = Raw.list(wire, Raw.LIST, 0, topic, wantedTime(-1).setPartitionIndex(3)).get(0);
        Wait.equal("UNKNOWN_TOPIC_OR_PARTITION -1 -1 -1", told(unknown), "partition 3");
        var never = Raw.list(wire, Raw.LIST, 0, new Raw.Topic("list-never", Uuid.ZERO_UUID),
            wantedTime(-1)).get(0);
        Wait.equal("UNKNOWN_TOPIC_OR_PARTITION -1 -1 -1", told(never), "an unknown topic");
        var committed = Raw.list(wire, Raw.LIST, 1, topic, wantedTime(-1)).get(0);
        Wait.equal("NONE 0 -1 0", told(committed), "read_committed");
    }

    private void maxTimestamp(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "max-timestamp", 1);
        for (Compression codec : List.of(Compression.gzip().build(), Compression.snappy().build(),
                Compression.lz4().build(), Compression.zstd().build())) {
            long end = Raw.end(wire, topic);
            long time = 10_000 * (end + 1);
            Raw.appended(wire, topic, MemoryRecords.withRecords(codec, Raw.record(time, "k", "a"),
                Raw.record(time + 500, "k", "b"), Raw.record(time + 100, "k", "c")));
            Wait.equal("NONE " + (end + 1) + " " + (time + 500) + " 0",
                told(Raw.list(wire, topic, 0, -3)), "largest with " + codec.type());
            Wait.equal("NONE " + (end + 1) + " " + (time + 500) + " 0",
                told(Raw.list(wire, topic, 0, time + 50)), "by time with " + codec.type());
        }
    }

    // Deletion and epochs.

    private static DeleteRecordsPartitionResult deleteTo(Wire wire, Raw.Topic topic, long offset)
            throws Exception {
        var request = new DeleteRecordsRequestData().setTimeoutMs(10_000).setTopics(List.of(
            new DeleteRecordsTopic().setName(topic.name()).setPartitions(List.of(
                new DeleteRecordsPartition().setPartitionIndex(0).setOffset(offset)))));
        return wire.ask(2, request, new DeleteRecordsResponseData()).topics().iterator().next()
            .partitions().iterator().next();
    }

    private void deleteRecords(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "delete-records", 1);
        Raw.appended(wire, topic, Raw.batch("0", "1", "2", "3", "4", "5", "6", "7"));
        Object[][] cases = {{5L, "NONE 5"}, {3L, "NONE 5"}, {9L, "OFFSET_OUT_OF_RANGE -1"},
            {-2L, "OFFSET_OUT_OF_RANGE -1"}};
        for (Object[] it : cases) {
            var answer = deleteTo(wire, topic, (Long) it[0]);
            Wait.equal(it[1], Errors.forCode(answer.errorCode()) + " " + answer.lowWatermark(),
                "to " + it[0]);
        }
        Wait.equal(5L, Raw.list(wire, topic, 0, -2).offset(), "the start");
        Raw.error(Errors.OFFSET_OUT_OF_RANGE, Raw.fetched(wire, topic, 4).errorCode(), "fetch of 4");
        Wait.equal("0:null=0", Raw.texts(Raw.fetched(wire, topic, 5)).get(0),
            "the batch around the start is whole");
        Wait.equal(8L, deleteTo(wire, topic, -1).lowWatermark(), "to the end");
        Wait.equal("8 8", Raw.list(wire, topic, 0, -2).offset() + " " + Raw.end(wire, topic),
            "start and end");
        Wait.equal(8L, Raw.appended(wire, topic, Raw.batch("next")), "the next offset");
        Raw.Topic compact = Raw.topic(wire, "delete-compact", 1, "cleanup.policy", "compact");
        Raw.appended(wire, compact, Raw.batch(Raw.record("k", "v")));
        Raw.error(Errors.POLICY_VIOLATION, deleteTo(wire, compact, 1).errorCode(), "compacted");
        Raw.error(Errors.UNKNOWN_TOPIC_OR_PARTITION, deleteTo(wire,
            new Raw.Topic("delete-unknown", Uuid.ZERO_UUID), 1).errorCode(), "an unknown topic");
    }

    private static EpochEndOffset epochEnd(Wire wire, Raw.Topic topic, int current, int epoch)
            throws Exception {
        var request = new OffsetForLeaderEpochRequestData().setReplicaId(-1);
        request.topics().add(new OffsetForLeaderTopic().setTopic(topic.name()).setPartitions(
            List.of(new OffsetForLeaderPartition().setPartition(0).setCurrentLeaderEpoch(current)
                .setLeaderEpoch(epoch))));
        return wire.ask(4, request, new OffsetForLeaderEpochResponseData()).topics().iterator()
            .next().partitions().get(0);
    }

    private void epochEnds(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "epoch-ends", 1);
        Object[][] cases = {{0, "NONE 0 3"}, {1, "NONE -1 -1"}, {-1, "NONE -1 -1"}};
        Raw.appended(wire, topic, Raw.batch("a", "b", "c"));
        for (Object[] it : cases) {
            var answer = epochEnd(wire, topic, -1, (Integer) it[0]);
            Wait.equal(it[1], Errors.forCode(answer.errorCode()) + " " + answer.leaderEpoch() + " "
                + answer.endOffset(), "end of epoch " + it[0]);
        }
        Raw.error(Errors.UNKNOWN_TOPIC_OR_PARTITION, epochEnd(wire,
            new Raw.Topic("epoch-unknown", Uuid.ZERO_UUID), -1, 0).errorCode(), "an unknown topic");
    }

    private void diverging(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "diverging", 1);
        Raw.appended(wire, topic, Raw.batch("a", "b", "c"));
        for (int version = 12; version <= Raw.FETCH; version++) {
            PartitionData good = Raw.partitions(Raw.fetch(wire, version,
                Raw.fetch(topic, Raw.at(0, 1).setLastFetchedEpoch(0)))).get(0);
            Raw.error(Errors.NONE, good.errorCode(), "the epoch of the log in v" + version);
            Wait.equal(3, Raw.texts(good).size(), "records");
            PartitionData bad = Raw.partitions(Raw.fetch(wire, version,
                Raw.fetch(topic, Raw.at(0, 1).setLastFetchedEpoch(3)))).get(0);
            Wait.equal("OFFSET_OUT_OF_RANGE -1 -1 0", Errors.forCode(bad.errorCode()) + " "
                + bad.divergingEpoch().epoch() + " " + bad.divergingEpoch().endOffset() + " "
                + Raw.texts(bad).size(), "epoch 3 in v" + version);
        }
    }

    // Limits and fields.

    private void limits(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "limits", 2);
        for (int i = 0; i < 6; i++) {
            for (int p = 0; p < 2; p++) {
                wire.ask(Raw.PRODUCE, Raw.produce(-1, topic.batches(p, Raw.batch("x".repeat(1000)))),
                    new org.apache.kafka.common.message.ProduceResponseData());
            }
        }
        int size = Raw.batch("x".repeat(1000)).sizeInBytes();
        var partition = Raw.partitions(Raw.fetch(wire, Raw.FETCH, Raw.fetch(topic,
            Raw.at(0, 0).setPartitionMaxBytes(3 * size), Raw.at(1, 0).setPartitionMaxBytes(size))));
        Wait.equal("3 1", Raw.batches(partition.get(0)).size() + " "
            + Raw.batches(partition.get(1)).size(), "batches within the limits of partitions");
        var response = Raw.partitions(Raw.fetch(wire, Raw.FETCH,
            Raw.fetch(topic, Raw.at(0, 0), Raw.at(1, 0)).setMaxBytes(2 * size)));
        Wait.equal("2 0", Raw.batches(response.get(0)).size() + " "
            + Raw.batches(response.get(1)).size(), "batches within the limit of the response");
    }

    private void fields(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "fields", 1);
        Raw.appended(wire, topic, Raw.batch("a", "b"));
        for (int version = 4; version <= Raw.FETCH; version++) {
            for (int isolation = 0; isolation < 2; isolation++) {
                PartitionData data = Raw.partitions(Raw.fetch(wire, version, Raw.fetch(topic,
                    Raw.at(0, 0)).setIsolationLevel((byte) isolation))).get(0);
                Wait.equal("NONE 2 2 " + (version < 5 ? -1 : 0), told(data), "in v" + version);
                Wait.equal(-1, data.preferredReadReplica(), "preferred replica");
                Wait.equal(isolation == 0 ? null : List.of(), data.abortedTransactions(),
                    "aborted transactions in v" + version + " at isolation " + isolation);
            }
        }
    }

    private void everyVersion(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "fetch-versions", 1);
        Raw.appended(wire, topic, Raw.batch(Raw.record("k", "v"), Raw.record(null, null)));
        for (int version = 4; version <= Raw.FETCH; version++) {
            PartitionData data = Raw.partitions(
                Raw.fetch(wire, version, Raw.fetch(topic, Raw.at(0, 0)))).get(0);
            Wait.equal(List.of("0:k=v", "1:null=null"), Raw.texts(data), "records in v" + version);
            RecordBatch batch = Raw.batches(data).get(0);
            Wait.equal("2 0", batch.magic() + " " + batch.partitionLeaderEpoch(), "magic and epoch");
        }
    }

    private void unknown(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "fetch-unknown", 1);
        Raw.Topic never = new Raw.Topic("fetch-never", Uuid.randomUuid());
        for (int version : new int[] {4, 11, 12, 13, Raw.FETCH}) {
            var partition = Raw.partitions(
                Raw.fetch(wire, version, Raw.fetch(topic, Raw.at(4, 0)))).get(0);
            Wait.equal("4 UNKNOWN_TOPIC_OR_PARTITION -1 -1 -1",
                partition.partitionIndex() + " " + told(partition), "partition 4 in v" + version);
            var answer = Raw.fetch(wire, version, Raw.fetch(never, Raw.at(0, 0)));
            Raw.error(version < 13 ? Errors.UNKNOWN_TOPIC_OR_PARTITION : Errors.UNKNOWN_TOPIC_ID,
                Raw.partitions(answer).get(0).errorCode(), "topic in v" + version);
            Raw.error(Errors.NONE, answer.errorCode(), "top level");
        }
    }
}
