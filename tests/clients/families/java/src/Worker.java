import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Worker of the families java-4.4 and java-2.8. */
public final class Worker {
    private final String address;
    private final Admin admin;
    private final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
    private Member member;

    private Worker(String address) {
        this.address = address;
        this.admin = Admin.create(common());
    }

    public static void main(String[] args) throws Exception {
        Worker worker = new Worker(args[0]);
        Map<String, Lines.Operation> operations = new HashMap<>();
        operations.put("hello", request -> Map.of("version", version()));
        operations.put("produce", worker::produce);
        operations.put("read", worker::read);
        operations.put("offsets", worker::offsets);
        operations.put("join", worker::join);
        operations.put("leave", worker::leave);
        operations.putAll(worker.administration());
        Lines.serve(operations);
    }

    private static String version() throws IOException {
        Properties told = new Properties();
        told.load(Admin.class.getResourceAsStream("/kafka/kafka-version.properties"));
        return told.getProperty("version");
    }

    private Properties common() {
        Properties keys = new Properties();
        keys.put("bootstrap.servers", address);
        keys.put("default.api.timeout.ms", "20000");
        keys.put("request.timeout.ms", "10000");
        keys.put("reconnect.backoff.max.ms", "500");
        return keys;
    }

    private Map<String, ?> produce(JsonObject request) throws Exception {
        String topic = request.get("topic").getAsString();
        var producer = producers.computeIfAbsent(request.get("codec").getAsString(), codec -> {
            Properties keys = common();
            keys.put("compression.type", codec);
            keys.put("max.request.size", "8000000");
            keys.put("max.block.ms", "5000");
            keys.put("delivery.timeout.ms", "15000");
            keys.put("linger.ms", "20");
            return new KafkaProducer<>(keys, new ByteArraySerializer(), new ByteArraySerializer());
        });
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (JsonElement element : request.getAsJsonArray("records")) {
            sent.add(producer.send(record(topic, element.getAsJsonObject())));
        }
        List<Long> offsets = new ArrayList<>();
        for (var future : sent) {
            offsets.add(future.get().offset());
        }
        return Map.of("offsets", offsets);
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, JsonObject one) {
        JsonElement time = one.get("timestamp");
        var record = new ProducerRecord<>(topic, one.get("partition").getAsInt(),
            time.isJsonNull() ? null : time.getAsLong(),
            Lines.data(one.get("key")), Lines.data(one.get("value")));
        for (JsonElement header : one.getAsJsonArray("headers")) {
            var pair = header.getAsJsonArray();
            record.headers().add(pair.get(0).getAsString(), Lines.data(pair.get(1)));
        }
        return record;
    }

    private Map<String, ?> read(JsonObject request) {
        int count = request.get("count").getAsInt();
        var at = partition(request);
        List<Map<String, ?>> got = new ArrayList<>();
        try (var consumer = consumer(null, "none")) {
            consumer.assign(List.of(at));
            consumer.seek(at, request.get("from").getAsLong());
            while (got.size() < count) {
                consumer.poll(Duration.ofMillis(500)).forEach(record -> got.add(understood(record)));
            }
        }
        return Map.of("records", got.subList(0, count));
    }

    private static Map<String, ?> understood(ConsumerRecord<byte[], byte[]> record) {
        List<List<String>> headers = new ArrayList<>();
        for (var header : record.headers()) {
            List<String> pair = new ArrayList<>();
            pair.add(header.key());
            pair.add(Lines.text(header.value()));
            headers.add(pair);
        }
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("offset", record.offset());
        line.put("timestamp", record.timestamp());
        line.put("key", Lines.text(record.key()));
        line.put("value", Lines.text(record.value()));
        line.put("headers", headers);
        return line;
    }

    private Map<String, ?> offsets(JsonObject request) throws Exception {
        long time = request.get("time").getAsLong();
        return Map.of(
            "first", offset(request, OffsetSpec.earliest()),
            "end", offset(request, OffsetSpec.latest()),
            "at", offset(request, OffsetSpec.forTimestamp(time)));
    }

    private long offset(JsonObject request, OffsetSpec spec) throws Exception {
        var at = partition(request);
        return admin.listOffsets(Map.of(at, spec)).partitionResult(at).get().offset();
    }

    private Map<String, Lines.Operation> administration() {
        Map<String, Lines.Operation> operations = new HashMap<>();
        operations.put("create", this::create);
        operations.put("topics", request -> Map.of("topics", admin.listTopics().names().get()));
        operations.put("describe", this::describe);
        operations.put("alter", this::alter);
        operations.put("grow", request -> {
            var to = NewPartitions.increaseTo(request.get("partitions").getAsInt());
            admin.createPartitions(Map.of(topic(request), to)).all().get();
            return null;
        });
        operations.put("trim", request -> {
            var upto = RecordsToDelete.beforeOffset(request.get("offset").getAsLong());
            admin.deleteRecords(Map.of(partition(request), upto)).all().get();
            return null;
        });
        operations.put("delete", request -> {
            admin.deleteTopics(Set.of(topic(request))).all().get();
            return null;
        });
        operations.put("groups", request -> Map.of("groups", Line.groups(admin)));
        operations.put("group", request -> {
            String group = request.get("group").getAsString();
            var told = admin.describeConsumerGroups(Set.of(group)).all().get().get(group);
            return Map.of("state", Line.state(admin, group), "members", told.members().size());
        });
        operations.put("committed", this::committed);
        operations.put("forget", request -> {
            admin.deleteConsumerGroups(Set.of(request.get("group").getAsString())).all().get();
            return null;
        });
        return operations;
    }

    private Map<String, ?> create(JsonObject request) throws Exception {
        var topic = new NewTopic(topic(request), request.get("partitions").getAsInt(), (short) 1);
        topic.configs(configs(request));
        admin.createTopics(Set.of(topic)).all().get();
        return null;
    }

    private Map<String, ?> describe(JsonObject request) throws Exception {
        var description = Line.describe(admin, topic(request));
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic(request));
        var configs = admin.describeConfigs(Set.of(resource)).all().get().get(resource);
        Map<String, String> asked = new LinkedHashMap<>();
        for (JsonElement key : request.getAsJsonArray("keys")) {
            asked.put(key.getAsString(), configs.get(key.getAsString()).value());
        }
        return Map.of("partitions", description.partitions().size(), "configs", asked);
    }

    private Map<String, ?> alter(JsonObject request) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic(request));
        var changes = configs(request).entrySet().stream()
            .map(one -> new AlterConfigOp(
                new ConfigEntry(one.getKey(), one.getValue()), AlterConfigOp.OpType.SET))
            .collect(Collectors.toList());
        admin.incrementalAlterConfigs(Map.of(resource, changes)).all().get();
        return null;
    }

    private Map<String, ?> committed(JsonObject request) throws Exception {
        Map<Integer, Long> offsets = new HashMap<>();
        admin.listConsumerGroupOffsets(request.get("group").getAsString())
            .partitionsToOffsetAndMetadata().get().forEach((at, offset) -> {
                if (at.topic().equals(topic(request))) {
                    offsets.put(at.partition(), offset.offset());
                }
            });
        return Map.of("offsets", offsets);
    }

    private Map<String, ?> join(JsonObject request) {
        String group = request.get("group").getAsString();
        member = new Member(consumer(group, "earliest"), topic(request));
        member.start();
        return null;
    }

    private Map<String, ?> leave(JsonObject request) throws Exception {
        member.leave();
        return null;
    }

    private KafkaConsumer<byte[], byte[]> consumer(String group, String reset) {
        Properties keys = common();
        if (group != null) {
            keys.put("group.id", group);
        }
        keys.put("auto.offset.reset", reset);
        keys.put("enable.auto.commit", "false");
        keys.put("session.timeout.ms", "6000");
        keys.put("heartbeat.interval.ms", "500");
        keys.put("fetch.max.wait.ms", "100");
        return new KafkaConsumer<>(keys, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static String topic(JsonObject request) {
        return request.get("topic").getAsString();
    }

    private static TopicPartition partition(JsonObject request) {
        return new TopicPartition(topic(request), request.get("partition").getAsInt());
    }

    private static Map<String, String> configs(JsonObject request) {
        return StreamSupport.stream(
                request.getAsJsonObject("configs").entrySet().spliterator(), false)
            .collect(Collectors.toMap(Map.Entry::getKey, one -> one.getValue().getAsString()));
    }
}
