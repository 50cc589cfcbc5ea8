package suite;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.CreateTopicsRequestData;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopic;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopicConfig;
import org.apache.kafka.common.message.CreateTopicsResponseData;
import org.apache.kafka.common.message.CreateTopicsResponseData.CreatableTopicResult;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchRequestData.FetchPartition;
import org.apache.kafka.common.message.FetchRequestData.FetchTopic;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.FetchResponseData.PartitionData;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsPartition;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsTopic;
import org.apache.kafka.common.message.ListOffsetsResponseData;
import org.apache.kafka.common.message.ListOffsetsResponseData.ListOffsetsPartitionResponse;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.MetadataRequestData.MetadataRequestTopic;
import org.apache.kafka.common.message.MetadataResponseData;
import org.apache.kafka.common.message.MetadataResponseData.MetadataResponseTopic;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.ProduceRequestData.PartitionProduceData;
import org.apache.kafka.common.message.ProduceRequestData.TopicProduceData;
import org.apache.kafka.common.message.ProduceResponseData;
import org.apache.kafka.common.message.ProduceResponseData.PartitionProduceResponse;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;

/** Requests about topics and records, put together for one {@link Wire}. */
final class Raw {
    static final int PRODUCE = 13;
    static final int FETCH = 18;
    static final int LIST = 11;
    static final int METADATA = 13;
    /** The last versions that name topics instead of giving their ids. */
    static final int PRODUCE_BY_NAME = 12;
    static final int FETCH_BY_NAME = 12;

    private Raw() {}

    /** A topic by both of its names. */
    record Topic(String name, Uuid id) {
        TopicProduceData batches(int first, MemoryRecords... records) {
            List<PartitionProduceData> partitions = new ArrayList<>();
            for (int i = 0; i < records.length; i++) {
                partitions.add(
                    new PartitionProduceData().setIndex(first + i).setRecords(records[i]));
            }
            return new TopicProduceData().setName(name).setTopicId(id)
                .setPartitionData(partitions);
        }
    }

    static void error(Errors expected, short got, String what) {
        Wait.equal(expected, Errors.forCode(got), what);
    }

    static void error(Errors expected, String message, short got, String gotMessage, String what) {
        Wait.equal(expected + ": " + message, Errors.forCode(got) + ": " + gotMessage, what);
    }

    // Topics.

    static CreatableTopic newTopic(String name, int partitions, Map<String, String> configs) {
        CreatableTopic topic = new CreatableTopic().setName(name).setNumPartitions(partitions)
            .setReplicationFactor((short) 1);
        configs.forEach((key, value) ->
            topic.configs().add(new CreatableTopicConfig().setName(key).setValue(value)));
        return topic;
    }

    static List<CreatableTopicResult> create(Wire wire, boolean validate, CreatableTopic... topics)
            throws IOException {
        CreateTopicsRequestData request =
            new CreateTopicsRequestData().setTimeoutMs(30_000).setValidateOnly(validate);
        for (CreatableTopic topic : topics) {
            request.topics().add(topic);
        }
        return new ArrayList<>(
            wire.ask(7, request, new CreateTopicsResponseData()).topics().valuesList());
    }

    /** Makes a topic, and waits until all of its partitions are served. */
    static Topic topic(Wire wire, String name, int partitions, String... configs)
            throws Exception {
        Map<String, String> map = new java.util.TreeMap<>();
        for (int i = 0; i < configs.length; i += 2) {
            map.put(configs[i], configs[i + 1]);
        }
        CreatableTopicResult made = create(wire, false, newTopic(name, partitions, map)).get(0);
        error(Errors.NONE, made.errorCode(), "making " + name + ", " + made.errorMessage());
        Topic topic = new Topic(name, made.topicId());
        awaitServed(wire, topic, partitions);
        return topic;
    }

    /** Genuine Kafka tells its broker of a new topic only after it has answered. */
    static void awaitServed(Wire wire, Topic topic, int partitions) throws Exception {
        Wait.until(topic.name() + " is served", Records.LIMIT, () -> {
            boolean served = true;
            for (int i = 0; i < partitions; i++) {
                served &= list(wire, topic, i, -1).errorCode() == 0;
            }
            return served;
        });
    }

    static MetadataRequestData metadataOf(String... names) {
        MetadataRequestData request =
            new MetadataRequestData().setTopics(new ArrayList<>()).setAllowAutoTopicCreation(false);
        for (String name : names) {
            request.topics().add(new MetadataRequestTopic().setName(name));
        }
        return request;
    }

    static MetadataResponseTopic metadata(Wire wire, String name) throws IOException {
        return wire.ask(METADATA, metadataOf(name), new MetadataResponseData()).topics().iterator()
            .next();
    }

    // Produce.

    static SimpleRecord record(String key, String value) {
        return record(System.currentTimeMillis(), key, value);
    }

    static SimpleRecord record(long timestamp, String key, String value) {
        return new SimpleRecord(timestamp, key == null ? null : Records.bytes(key),
            value == null ? null : Records.bytes(value));
    }

    /** One batch of records without a key. */
    static MemoryRecords batch(String... values) {
        SimpleRecord[] records = new SimpleRecord[values.length];
        for (int i = 0; i < values.length; i++) {
            records[i] = record(null, values[i]);
        }
        return batch(records);
    }

    static MemoryRecords batch(SimpleRecord... records) {
        return MemoryRecords.withRecords(Compression.NONE, records);
    }

    /** A copy whose byte at this place is another. */
    static MemoryRecords flipped(MemoryRecords records, int place) {
        ByteBuffer copy = copy(records);
        copy.put(place, (byte) (copy.get(place) ^ 0x55));
        return MemoryRecords.readableRecords(copy);
    }

    static ByteBuffer copy(MemoryRecords... parts) {
        int size = 0;
        for (MemoryRecords part : parts) {
            size += part.sizeInBytes();
        }
        ByteBuffer all = ByteBuffer.allocate(size);
        for (MemoryRecords part : parts) {
            all.put(part.buffer().duplicate());
        }
        return all.flip();
    }

    /** A copy with a changed header and the checksum that goes with it. */
    static MemoryRecords forged(MemoryRecords records, java.util.function.Consumer<ByteBuffer> how) {
        ByteBuffer copy = copy(records);
        how.accept(copy);
        java.util.zip.CRC32C crc = new java.util.zip.CRC32C();
        crc.update(copy.array(), 21, copy.limit() - 21);
        copy.putInt(17, (int) crc.getValue());
        return MemoryRecords.readableRecords(copy);
    }

    static ProduceRequestData produce(int acks, TopicProduceData... topics) {
        ProduceRequestData request =
            new ProduceRequestData().setAcks((short) acks).setTimeoutMs(10_000);
        for (TopicProduceData topic : topics) {
            request.topicData().add(topic);
        }
        return request;
    }

    static List<PartitionProduceResponse> answers(ProduceResponseData response) {
        List<PartitionProduceResponse> all = new ArrayList<>();
        response.responses().forEach(topic -> all.addAll(topic.partitionResponses()));
        // Genuine Kafka answers in the order of a map.
        all.sort(java.util.Comparator.comparing(PartitionProduceResponse::index));
        return all;
    }

    /** Writes to partition 0 in the newest version, with acks=all. */
    static PartitionProduceResponse append(Wire wire, Topic topic, MemoryRecords records)
            throws IOException {
        return append(wire, PRODUCE, -1, topic, records);
    }

    static PartitionProduceResponse append(
            Wire wire, int version, int acks, Topic topic, MemoryRecords records)
            throws IOException {
        return answers(wire.ask(version, produce(acks, topic.batches(0, records)),
            new ProduceResponseData())).get(0);
    }

    /** Writes, and answers the offset. */
    static long appended(Wire wire, Topic topic, MemoryRecords records) throws IOException {
        PartitionProduceResponse answer = append(wire, topic, records);
        error(Errors.NONE, answer.errorCode(), "writing, " + answer.errorMessage());
        return answer.baseOffset();
    }

    static long end(Wire wire, Topic topic) throws IOException {
        return list(wire, topic, 0, -1).offset();
    }

    // Fetch.

    static FetchPartition at(int partition, long offset) {
        return new FetchPartition().setPartition(partition).setFetchOffset(offset)
            .setCurrentLeaderEpoch(-1).setLogStartOffset(-1).setPartitionMaxBytes(1 << 20);
    }

    /** A full fetch that does not wait. */
    static FetchRequestData fetch(Topic topic, FetchPartition... partitions) {
        FetchTopic wanted = new FetchTopic().setTopic(topic.name()).setTopicId(topic.id())
            .setPartitions(new ArrayList<>(List.of(partitions)));
        return new FetchRequestData().setMaxWaitMs(0).setMinBytes(0).setMaxBytes(50 << 20)
            .setSessionId(0).setSessionEpoch(-1).setTopics(new ArrayList<>(List.of(wanted)));
    }

    static FetchResponseData fetch(Wire wire, int version, FetchRequestData request)
            throws IOException {
        return wire.ask(version, request, new FetchResponseData());
    }

    static List<PartitionData> partitions(FetchResponseData response) {
        return response.responses().stream().flatMap(topic -> topic.partitions().stream()).toList();
    }

    static PartitionData fetched(Wire wire, Topic topic, long offset) throws IOException {
        return partitions(fetch(wire, FETCH, fetch(topic, at(0, offset)))).get(0);
    }

    /** The batches of an answer, each checked. */
    static List<RecordBatch> batches(PartitionData data) {
        List<RecordBatch> all = new ArrayList<>();
        if (data.records() instanceof MemoryRecords records) {
            records.batches().forEach(batch -> {
                batch.ensureValid();
                all.add(batch);
            });
        }
        return all;
    }

    /** The records of an answer as {@code offset:key=value}. */
    static List<String> texts(PartitionData data) {
        List<String> all = new ArrayList<>();
        for (RecordBatch batch : batches(data)) {
            batch.forEach(record -> all.add(record.offset() + ":" + text(record.key()) + "="
                + text(record.value())));
        }
        return all;
    }

    static String text(ByteBuffer bytes) {
        if (bytes == null) {
            return "null";
        }
        byte[] copy = new byte[bytes.remaining()];
        bytes.duplicate().get(copy);
        return Records.text(copy);
    }

    // Offsets.

    static ListOffsetsPartitionResponse list(Wire wire, Topic topic, int partition, long timestamp)
            throws IOException {
        return list(wire, LIST, 0, topic, new ListOffsetsPartition().setPartitionIndex(partition)
            .setCurrentLeaderEpoch(-1).setTimestamp(timestamp)).get(0);
    }

    static List<ListOffsetsPartitionResponse> list(
            Wire wire, int version, int isolation, Topic topic, ListOffsetsPartition... partitions)
            throws IOException {
        ListOffsetsRequestData request = new ListOffsetsRequestData().setReplicaId(-1)
            .setIsolationLevel((byte) isolation).setTopics(List.of(new ListOffsetsTopic()
                .setName(topic.name()).setPartitions(List.of(partitions))));
        return wire.ask(version, request, new ListOffsetsResponseData()).topics().get(0)
            .partitions();
    }
}
