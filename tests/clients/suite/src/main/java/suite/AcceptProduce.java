package suite;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.FindCoordinatorResponseData;
import org.apache.kafka.common.message.InitProducerIdRequestData;
import org.apache.kafka.common.message.InitProducerIdResponseData;
import org.apache.kafka.common.message.ProduceResponseData;
import org.apache.kafka.common.message.ProduceResponseData.PartitionProduceResponse;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;

/** C: producing; F: idempotent producers; and trap 5. */
final class AcceptProduce extends Acceptance {
    /** Of the records with a sequence: a producer whose records are old is soon forgotten. */
    private static final long TIME = System.currentTimeMillis();

    AcceptProduce(Suite suite, Broker broker) {
        super(suite, broker);
    }

    @Override
    void run() {
        item("21: a batch gets the end as its base offset; acks=0 is never answered",
            this::baseOffsets);
        item("22: a flipped byte is a corrupt message, two batches or magic 1 an invalid record",
            this::badBatches);
        item("23: a batch of one byte too many is too large, the one beside it is written",
            this::tooLarge);
        item("24: a record two hours ahead is refused by its index, one ten years back is not",
            this::timestamps);
        item("25: a LogAppendTime topic stamps every record and tells the time", this::appendTime);
        item("26: a record without a key is refused by a compacted topic", this::withoutKey);
        item("27: a topic of compression.type=gzip stores gzip, whatever comes", this::converted);
        item("28: acks=2 is refused; min.insync.replicas=2 asks one replica for no more than one",
            this::acks);
        item("29: a client may not write the offsets topic", this::internal);
        item("30: an unknown partition is error 3, an unknown topic id error 100", this::unknown);
        item("51: each of the last five batches sent again gets its first offset",
            this::sentAgain);
        item("52: a gap is out of order, an older epoch is fenced", this::sequences);
        trap("5: count, last delta, control and log-append bits of a batch are checked",
            this::headers);
        trap("5: base offset and leader epoch of the client are written over, the CRC stays",
            this::rewritten);
        trap("5: all records at fault are named, and the older versions name none",
            this::recordErrors);
        trap("5: zstd is refused before Produce 7", this::earlyZstd);
        trap("5: every codec is stored as it came", this::codecs);
        trap("5: raw snappy and xerial snappy are both read", this::snappy);
        trap("5: acks=0 with a bad batch ends the connection", this::silentFailure);
        trap("5: acks of 2 does not hide what the batch says of itself", this::acksOrder);
        trap("5: a sequence wraps from 2147483647 to 0", this::wrap);
        trap("5: an unknown producer may begin anywhere, a new epoch only at 0", this::newEpoch);
        trap("5: a batch older than the last five and a part of one are out of order",
            this::oldDuplicate);
        trap("5: producer ids are handed out once, with epoch 0", this::producerIds);
        trap("5: empty records are an invalid record", this::noRecords);
        trap("5: Produce 3 to 13 all append", this::everyVersion);
        trap("5: old message sets are refused", this::oldSets);
    }

    private static String told(PartitionProduceResponse answer) {
        return Errors.forCode(answer.errorCode()) + " " + answer.baseOffset() + " "
            + answer.logAppendTimeMs() + " " + answer.logStartOffset();
    }

    private void baseOffsets(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "based", 1);
        Wait.equal("NONE 0 -1 0", told(Raw.append(wire, topic, Raw.batch("a", "b"))), "the first");
        Wait.equal("NONE 2 -1 0", told(Raw.append(wire, topic, Raw.batch("c"))), "the second");
        Wait.equal("NONE 3 -1 0",
            told(Raw.append(wire, Raw.PRODUCE, 1, topic, Raw.batch("d"))), "acks=1");
        wire.send(Raw.PRODUCE, Raw.produce(0, topic.batches(0, Raw.batch("silent"))));
        Wait.equal("NONE 5 -1 0", told(Raw.append(wire, topic, Raw.batch("e"))), "after acks=0");
        wire.expectSilent();
        Wait.equal(List.of("4:null=silent", "5:null=e"), Raw.texts(Raw.fetched(wire, topic, 4)),
            "the records");
    }

    /** Refused with this error, without a word, and with this start of the log. */
    private void refused(Wire wire, Raw.Topic topic, MemoryRecords records, Errors error,
            long start) throws Exception {
        long end = Raw.end(wire, topic);
        PartitionProduceResponse answer = Raw.append(wire, topic, records);
        Wait.equal(error + " -1 -1 " + start, told(answer), "the answer");
        Wait.equal(null, answer.errorMessage(), "the message");
        Wait.equal(end, Raw.end(wire, topic), "the end of the log");
    }

    private void badBatches(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "bad-batches", 1);
        refused(wire, topic, Raw.flipped(Raw.batch("flipped"), 70), Errors.CORRUPT_MESSAGE, -1);
        refused(wire, topic, MemoryRecords.readableRecords(Raw.copy(Raw.batch("1"), Raw.batch("2"))),
            Errors.INVALID_RECORD, -1);
        refused(wire, topic, magicOne(), Errors.INVALID_RECORD, -1);
    }

    private static MemoryRecords magicOne() {
        return MemoryRecords.withRecords(RecordBatch.MAGIC_VALUE_V1, Compression.NONE,
            Raw.record("k", "v"));
    }

    private void oldSets(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "old-sets", 1);
        for (byte magic = 0; magic < 2; magic++) {
            var answer = Raw.append(wire, 3, -1, topic, MemoryRecords.withRecords(magic,
                Compression.NONE, new SimpleRecord(magic == 0 ? -1 : 5, Records.bytes("v"))));
            Raw.error(Errors.INVALID_RECORD, answer.errorCode(), "magic " + magic);
        }
        Wait.equal(0L, Raw.end(wire, topic), "the end");
    }

    private void tooLarge(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "too-large", 2, "max.message.bytes", "1000");
        int overhead = Raw.batch("").sizeInBytes();
        // A value of this length takes one byte more to tell its own length, and so its record.
        MemoryRecords most = Raw.batch("x".repeat(1000 - overhead - 2));
        Wait.equal(1000, most.sizeInBytes(), "bytes of the largest batch");
        MemoryRecords more = Raw.batch("x".repeat(1000 - overhead - 1));
        Wait.equal(1001, more.sizeInBytes(), "bytes of the batch");
        var answers = Raw.answers(wire.ask(Raw.PRODUCE,
            Raw.produce(-1, topic.batches(0, more, most)), new ProduceResponseData()));
        Raw.error(Errors.MESSAGE_TOO_LARGE, null, answers.get(0).errorCode(),
            answers.get(0).errorMessage(), "one byte too many");
        Wait.equal("NONE 0 -1 0", told(answers.get(1)), "the partition beside it");
        try (var producer = Records.producer(broker, Map.of("max.request.size", "100000"))) {
            String failure = null;
            try {
                producer.send(new org.apache.kafka.clients.producer.ProducerRecord<>("too-large", 0,
                    null, new byte[5000])).get();
            } catch (java.util.concurrent.ExecutionException refused) {
                failure = refused.getCause().getClass().getSimpleName();
            }
            Wait.equal("RecordTooLargeException", failure, "what a Java producer says");
        }
        // Two records that together are too large are split by the producer and sent again.
        List<org.apache.kafka.clients.producer.ProducerRecord<byte[], byte[]>> two =
            new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            two.add(new org.apache.kafka.clients.producer.ProducerRecord<>("too-large", 0, null,
                new byte[400]));
        }
        Records.write(broker, Map.of("linger.ms", "200"), two);
        Wait.equal(4L, Raw.end(wire, topic), "records of the batch that was split");
    }

    private void timestamps(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "timestamps", 1);
        long now = System.currentTimeMillis();
        long ahead = now + 2 * 3_600_000L;
        PartitionProduceResponse answer = Raw.append(wire, topic,
            Raw.batch(Raw.record(now, "k", "good"), Raw.record(ahead, "k", "early")));
        Raw.error(Errors.INVALID_TIMESTAMP, answer.errorCode(), "two hours ahead");
        Wait.equal(1, answer.recordErrors().size(), "records at fault");
        Wait.equal(1, answer.recordErrors().get(0).batchIndex(), "index of the record at fault");
        String told = answer.recordErrors().get(0).batchIndexErrorMessage();
        Wait.that(told.matches("Timestamp " + ahead + " of message with offset 1 is out of range\\. "
            + "The timestamp should be within \\[-?\\d+, \\d+]"), "message of the record: " + told);
        Wait.equal("One or more records have been rejected due to invalid timestamp",
            answer.errorMessage(), "message of the batch");
        Wait.equal(0L, Raw.end(wire, topic), "the whole batch is refused, the end is");
        long past = now - 10L * 365 * 86_400_000;
        Wait.equal(0L, Raw.appended(wire, topic, Raw.batch(Raw.record(past, "k", "old"))), "old");
        Wait.equal(1L, Raw.appended(wire, topic, Raw.batch(Raw.record(-1, "k", "none"))),
            "without a time");
    }

    private void appendTime(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "append-time", 1, "message.timestamp.type",
            "LogAppendTime");
        long before = System.currentTimeMillis();
        var answer = Raw.append(wire, topic,
            Raw.batch(Raw.record(5, "k", "a"), Raw.record(before + 86_400_000, "k", "b")));
        Raw.error(Errors.NONE, answer.errorCode(), "writing");
        long after = System.currentTimeMillis();
        Wait.that(answer.logAppendTimeMs() >= before && answer.logAppendTimeMs() <= after,
            "the time of the append is " + answer.logAppendTimeMs());
        RecordBatch batch = Raw.batches(Raw.fetched(wire, topic, 0)).get(0);
        Wait.equal(TimestampType.LOG_APPEND_TIME, batch.timestampType(), "its kind of time");
        Wait.equal(answer.logAppendTimeMs(), batch.maxTimestamp(), "its time");
        batch.forEach(it -> Wait.equal(answer.logAppendTimeMs(), it.timestamp(), "time of a record"));
    }

    private void withoutKey(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "keyed-only", 1, "cleanup.policy", "compact");
        var answer = Raw.append(wire, topic,
            Raw.batch(Raw.record("k", "v"), Raw.record(null, "x"), Raw.record("k", null)));
        Raw.error(Errors.INVALID_RECORD, "One or more records have been rejected due to 1 record "
            + "errors in total, and only showing the first three errors at most: [RecordError("
            + "batchIndex=1, message='Compacted topic cannot accept message without key in topic "
            + "partition keyed-only-0')]", answer.errorCode(), answer.errorMessage(), "the batch");
        Wait.equal(1, answer.recordErrors().size(), "records at fault");
        Wait.equal("1 Compacted topic cannot accept message without key in topic partition "
            + "keyed-only-0", answer.recordErrors().get(0).batchIndex() + " "
            + answer.recordErrors().get(0).batchIndexErrorMessage(), "the record");
        Wait.equal(0L, Raw.end(wire, topic), "the end");
    }

    private void recordErrors(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "many-faults", 1, "cleanup.policy", "compact");
        MemoryRecords batch = Raw.batch(Raw.record(null, "a"), Raw.record("k", "v"),
            Raw.record(null, "b"), Raw.record(null, "c"));
        for (int version = 3; version <= Raw.PRODUCE; version++) {
            var answer = Raw.append(wire, version, -1, topic, batch);
            Raw.error(Errors.INVALID_RECORD, answer.errorCode(), "in v" + version);
            List<Integer> due = version < 8 ? List.of() : List.of(0, 2, 3);
            Wait.equal(due, answer.recordErrors().stream().map(it -> it.batchIndex()).toList(),
                "records at fault in v" + version);
        }
    }

    private void converted(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "converted", 1, "compression.type", "gzip");
        SimpleRecord[] records = new SimpleRecord[20];
        List<String> due = new ArrayList<>();
        for (int i = 0; i < records.length; i++) {
            records[i] = Raw.record(1_000_000 + i, "key-" + i, "value ".repeat(10) + i);
            due.add(i + ":key-" + i + "=" + "value ".repeat(10) + i);
        }
        Raw.appended(wire, topic, MemoryRecords.withRecords(Compression.zstd().build(), records));
        Raw.appended(wire, topic, MemoryRecords.withRecords(Compression.NONE, records[0]));
        var data = Raw.fetched(wire, topic, 0);
        for (RecordBatch batch : Raw.batches(data)) {
            Wait.equal(CompressionType.GZIP, batch.compressionType(), "codec in the log");
        }
        due.add("20:key-0=" + "value ".repeat(10) + "0");
        Wait.equal(due, Raw.texts(data), "records");
        Wait.equal(1_000_019L, Raw.batches(data).get(0).maxTimestamp(), "the latest time");
        Raw.Topic plain = Raw.topic(wire, "converted-back", 1, "compression.type", "uncompressed");
        Raw.appended(wire, plain, MemoryRecords.withRecords(Compression.lz4().build(), records));
        Wait.equal(CompressionType.NONE,
            Raw.batches(Raw.fetched(wire, plain, 0)).get(0).compressionType(), "uncompressed");
    }

    private void acks(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "acks", 2);
        for (int acks : new int[] {2, -2, 7}) {
            var answers = Raw.answers(wire.ask(Raw.PRODUCE, Raw.produce(acks,
                topic.batches(0, Raw.batch("a"), Raw.batch("b"))), new ProduceResponseData()));
            for (var answer : answers) {
                Wait.equal("INVALID_REQUIRED_ACKS -1 -1 -1", told(answer), "acks " + acks);
            }
        }
        Wait.equal(0L, Raw.end(wire, topic), "the end");
        Raw.Topic two = Raw.topic(wire, "two-in-sync", 1, "min.insync.replicas", "2");
        Wait.equal("NONE 0 -1 0", told(Raw.append(wire, two, Raw.batch("a"))), "acks=all");
        Wait.equal("NONE 1 -1 0", told(Raw.append(wire, Raw.PRODUCE, 1, two, Raw.batch("b"))),
            "acks=1");
    }

    private void internal(Wire wire) throws Exception {
        Wait.until("the offsets topic is there", Records.LIMIT, () -> wire.ask(4,
            new FindCoordinatorRequestData().setKeyType((byte) 0)
                .setCoordinatorKeys(List.of("internal")),
            new FindCoordinatorResponseData()).coordinators().get(0).errorCode() == 0);
        Uuid id = Raw.metadata(wire, "__consumer_offsets").topicId();
        for (int version : new int[] {3, 9, 12, 13}) {
            var answer = Raw.append(wire, version, -1, new Raw.Topic("__consumer_offsets", id),
                Raw.batch(Raw.record("k", "v")));
            Raw.error(Errors.INVALID_TOPIC_EXCEPTION, answer.errorCode(), "in v" + version);
        }
    }

    private void unknown(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "one-partition", 1);
        for (int version : new int[] {3, 12, 13}) {
            var answer = Raw.answers(wire.ask(version, Raw.produce(-1, topic.batches(1,
                Raw.batch("a"))), new ProduceResponseData())).get(0);
            Wait.equal("1 UNKNOWN_TOPIC_OR_PARTITION -1 -1 -1", answer.index() + " " + told(answer),
                "partition 1 in v" + version);
        }
        var byId = Raw.append(wire, new Raw.Topic("", Uuid.randomUuid()), Raw.batch("a"));
        Wait.equal("UNKNOWN_TOPIC_ID -1 -1 -1", told(byId), "an unknown id");
        var byName = Raw.append(wire, 12, -1, new Raw.Topic("never-heard-of", Uuid.ZERO_UUID),
            Raw.batch("a"));
        Wait.equal("UNKNOWN_TOPIC_OR_PARTITION -1 -1 -1", told(byName), "an unknown name");
    }

    private static MemoryRecords sequenced(long producer, int epoch, int sequence, String... values) {
        SimpleRecord[] records = new SimpleRecord[values.length];
        for (int i = 0; i < values.length; i++) {
            records[i] = Raw.record(TIME, "k", values[i]);
        }
        return MemoryRecords.withIdempotentRecords(
            Compression.NONE, producer, (short) epoch, sequence, records);
    }

    private static long producerId(Wire wire) throws Exception {
        return Wait.value("a producer id", Records.LIMIT, () -> {
            var answer = wire.ask(4, new InitProducerIdRequestData().setTransactionalId(null)
                .setTransactionTimeoutMs(60_000), new InitProducerIdResponseData());
            Wait.equal(0, (int) answer.producerEpoch(), "its epoch");
            return answer.errorCode() == 0 ? answer.producerId() : null;
        });
    }

    private void sentAgain(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "sent-again", 1);
        long id = producerId(wire);
        List<MemoryRecords> batches = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            batches.add(sequenced(id, 0, 2 * i, "a" + i, "b" + i));
            Wait.equal(2L * i, Raw.appended(wire, topic, batches.get(i)), "offset");
        }
        for (int i = 4; i >= 0; i--) {
            // For a batch that it has, genuine Kafka tells the batch's own time.
            Wait.equal("NONE " + 2 * i + " " + TIME + " 0", told(Raw.append(wire, topic, batches.get(i))),
                "batch " + i + " again");
        }
        Wait.equal(10L, Raw.end(wire, topic), "the end");
    }

    private void sequences(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "sequences", 1);
        long id = producerId(wire);
        Raw.appended(wire, topic, sequenced(id, 1, 0, "a"));
        refused(wire, topic, sequenced(id, 1, 2, "c"), Errors.OUT_OF_ORDER_SEQUENCE_NUMBER, 0);
        refused(wire, topic, sequenced(id, 0, 1, "b"), Errors.INVALID_PRODUCER_EPOCH, 0);
        Wait.equal(1L, Raw.appended(wire, topic, sequenced(id, 1, 1, "b")), "the next one");
    }

    private void wrap(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "wrapped", 1);
        long id = producerId(wire);
        Raw.appended(wire, topic, sequenced(id, 0, Integer.MAX_VALUE - 1, "a", "b"));
        Wait.equal(2L, Raw.appended(wire, topic, sequenced(id, 0, 0, "c")), "after 2147483647");
        Raw.Topic inside = Raw.topic(wire, "wrapped-inside", 1);
        Raw.appended(wire, inside, sequenced(id, 0, Integer.MAX_VALUE, "a", "b", "c"));
        Wait.equal(3L, Raw.appended(wire, inside, sequenced(id, 0, 2, "d")), "after a wrap inside");
        Wait.equal(0L, Raw.appended(wire, inside,
            sequenced(id, 0, Integer.MAX_VALUE, "a", "b", "c")), "the wrapped one again");
    }

    private void newEpoch(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "new-epoch", 1);
        long id = producerId(wire);
        Wait.equal(0L, Raw.appended(wire, topic, sequenced(id, 0, 77, "a")), "begun at 77");
        refused(wire, topic, sequenced(id, 1, 78, "b"), Errors.OUT_OF_ORDER_SEQUENCE_NUMBER, 0);
        Wait.equal(1L, Raw.appended(wire, topic, sequenced(id, 1, 0, "b")), "a new epoch at 0");
    }

    private void oldDuplicate(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "old-duplicate", 1);
        long id = producerId(wire);
        for (int i = 0; i < 6; i++) {
            Raw.appended(wire, topic, sequenced(id, 0, 2 * i, "a", "b"));
        }
        for (int sequence : new int[] {0, 9}) {
            var answer = Raw.append(wire, topic, sequenced(id, 0, sequence, "a", "b"));
            Raw.error(Errors.OUT_OF_ORDER_SEQUENCE_NUMBER, answer.errorCode(), "at " + sequence);
        }
        Wait.equal(12L, Raw.end(wire, topic), "the end");
    }

    private void producerIds(Wire wire) throws Exception {
        long first = producerId(wire);
        long second = producerId(wire);
        Wait.that(first >= 0 && second != first, "the ids " + first + " and " + second);
        long[][] given = {{5, -1}, {-1, 5}};
        for (long[] it : given) {
            var answer = wire.ask(4, new InitProducerIdRequestData().setTransactionalId(null)
                .setProducerId(it[0]).setProducerEpoch((short) it[1]),
                new InitProducerIdResponseData());
            Raw.error(Errors.INVALID_REQUEST, answer.errorCode(), it[0] + " " + it[1]);
        }
        var empty = wire.ask(4, new InitProducerIdRequestData().setTransactionalId(""),
            new InitProducerIdResponseData());
        Raw.error(Errors.INVALID_REQUEST, empty.errorCode(), "an empty transactional id");
    }

    private void headers(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "headers", 1);
        Map<String, MemoryRecords> cases = new TreeMap<>(Map.of(
            "last delta", Raw.forged(Raw.batch("a", "b"), it -> it.putInt(23, 5)),
            "count", Raw.forged(Raw.batch("a", "b"), it -> it.putInt(57, 3)),
            "no records", Raw.forged(Raw.batch("a"), it -> it.putInt(57, 0).putInt(23, -1)),
            "control", Raw.forged(Raw.batch("a"), it -> it.putShort(21, (short) 0x20)),
            "codec 7", Raw.forged(Raw.batch("a"), it -> it.putShort(21, (short) 0x07)),
            "base offset", Raw.forged(Raw.batch("a"), it -> it.putLong(0, 5)),
            "sequence", Raw.forged(Raw.batch("a"),
                it -> it.putLong(43, 7).putShort(51, (short) 0))));
        Map<String, String> due = new TreeMap<>();
        Map<String, String> got = new TreeMap<>();
        for (var it : cases.entrySet()) {
            due.put(it.getKey(), (it.getKey().equals("codec 7") ? Errors.UNKNOWN_SERVER_ERROR
                : Errors.INVALID_RECORD) + ": null");
            var answer = Raw.append(wire, topic, it.getValue());
            got.put(it.getKey(), Errors.forCode(answer.errorCode()) + ": " + answer.errorMessage());
        }
        Wait.equal(due, got, "what is told");
        Wait.equal(0L, Raw.end(wire, topic), "the end");
        MemoryRecords stamped = Raw.forged(Raw.batch("a"), it -> it.putShort(21, (short) 0x08));
        Wait.equal("NONE 0 -1 0", told(Raw.append(wire, topic, stamped)),
            "a claim to an append time, where records keep their own");
        Raw.Topic stamping = Raw.topic(wire, "headers-stamped", 1, "message.timestamp.type",
            "LogAppendTime");
        Raw.error(Errors.INVALID_TIMESTAMP, Raw.append(wire, stamping, stamped).errorCode(),
            "the same, where the broker stamps them");
    }

    private void rewritten(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "rewritten", 1);
        Raw.appended(wire, topic, Raw.batch("first"));
        MemoryRecords sent = Raw.batch("a", "b");
        ByteBuffer copy = Raw.copy(sent);
        copy.putInt(12, 99); // the leader epoch lies outside of the checksum
        Wait.equal(1L, Raw.appended(wire, topic, MemoryRecords.readableRecords(copy)), "offset");
        var data = Raw.fetched(wire, topic, 1);
        RecordBatch batch = Raw.batches(data).get(0);
        Wait.equal("1 2 0", batch.baseOffset() + " " + batch.lastOffset() + " "
            + batch.partitionLeaderEpoch(), "offsets and epoch");
        ByteBuffer stored = ((MemoryRecords) data.records()).buffer();
        Wait.equal(AcceptProtocol.hex(Raw.copy(sent).position(16)),
            AcceptProtocol.hex(stored.duplicate().position(stored.position() + 16)),
            "all bytes behind the leader epoch");
    }

    private void earlyZstd(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "zstd", 1);
        MemoryRecords batch = MemoryRecords.withRecords(
            Compression.zstd().build(), Raw.record("k", "v"));
        for (int version = 3; version <= 8; version++) {
            var answer = Raw.append(wire, version, -1, topic, batch);
            Raw.error(version < 7 ? Errors.UNSUPPORTED_COMPRESSION_TYPE : Errors.NONE,
                answer.errorCode(), "in v" + version);
        }
    }

    private void codecs(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "codecs", 1);
        List<Compression> all = List.of(Compression.NONE, Compression.gzip().build(),
            Compression.snappy().build(), Compression.lz4().build(), Compression.zstd().build());
        long end = 0;
        for (Compression codec : all) {
            MemoryRecords sent = MemoryRecords.withRecords(codec, Raw.record("k", "v".repeat(500)),
                Raw.record("k", "w"));
            Wait.equal(end, Raw.appended(wire, topic, sent), "offset of " + codec.type());
            var data = Raw.fetched(wire, topic, end);
            Wait.equal(codec.type(), Raw.batches(data).get(0).compressionType(), "codec");
            ByteBuffer stored = ((MemoryRecords) data.records()).buffer();
            Wait.equal(AcceptProtocol.hex(Raw.copy(sent).position(16)),
                AcceptProtocol.hex(stored.duplicate().position(stored.position() + 16)),
                "bytes of " + codec.type());
            end += 2;
        }
    }

    private void snappy(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "raw-snappy", 1);
        MemoryRecords xerial = MemoryRecords.withRecords(
            Compression.snappy().build(), Raw.record("k", "v"));
        Wait.equal(0L, Raw.appended(wire, topic, xerial), "framed");
        MemoryRecords plain = Raw.batch(Raw.record("k", "v"));
        ByteBuffer all = Raw.copy(plain);
        byte[] body = new byte[all.limit() - 61];
        all.get(61, body);
        byte[] packed = org.xerial.snappy.Snappy.compress(body);
        ByteBuffer raw = ByteBuffer.allocate(61 + packed.length);
        raw.put(all.duplicate().limit(61)).put(packed).flip();
        raw.putInt(8, raw.limit() - 12).putShort(21, (short) 2);
        var answer = Raw.append(wire, topic, Raw.forged(MemoryRecords.readableRecords(raw), it -> { }));
        Raw.error(Errors.NONE, answer.errorCode(), "a raw block, " + answer.errorMessage());
    }

    private void silentFailure(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "silent-failure", 1);
        try (Wire silent = new Wire(broker)) {
            silent.send(Raw.PRODUCE,
                Raw.produce(0, topic.batches(0, Raw.flipped(Raw.batch("a"), 66))));
            silent.expectClosed("a corrupt batch with acks=0");
        }
        Wait.equal(0L, Raw.end(wire, topic), "the end");
    }

    private void acksOrder(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "acks-order", 1);
        var two = Raw.append(wire, Raw.PRODUCE, 2, topic, magicOne());
        Raw.error(Errors.INVALID_RECORD, two.errorCode(), "magic 1 with acks=2");
        var zeros = Raw.append(wire, Raw.PRODUCE, 2, topic,
            MemoryRecords.readableRecords(ByteBuffer.allocate(61)));
        Raw.error(Errors.CORRUPT_MESSAGE, zeros.errorCode(), "zeros with acks=2");
        var flipped = Raw.append(wire, Raw.PRODUCE, 2, topic, Raw.flipped(Raw.batch("a"), 66));
        Raw.error(Errors.INVALID_REQUIRED_ACKS, flipped.errorCode(), "a bad checksum with acks=2");
    }

    private void noRecords(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "no-records", 1);
        var answer = Raw.append(wire, topic, MemoryRecords.EMPTY);
        Raw.error(Errors.INVALID_RECORD, null, answer.errorCode(), answer.errorMessage(),
            "no batch");
    }

    private void everyVersion(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "every-version", 1);
        for (int version = 3; version <= Raw.PRODUCE; version++) {
            var answer = Raw.append(wire, version, -1, topic, Raw.batch("v" + version));
            Raw.error(Errors.NONE, answer.errorCode(), "v" + version);
            Wait.equal(version - 3L, answer.baseOffset(), "offset of v" + version);
            Wait.equal(version < 5 ? -1L : 0L, answer.logStartOffset(), "start in v" + version);
        }
    }
}
