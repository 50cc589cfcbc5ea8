package suite;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** What a program expects of the protocol beyond the tools: admin answers, errors, fetching. */
final class AdminChecks {
    private final Suite suite;
    private final Broker broker;
    private final Admin admin;

    AdminChecks(Suite suite, Broker broker) {
        this.suite = suite;
        this.broker = broker;
        this.admin = broker.admin();
    }

    void run() {
        suite.check("4.3 describeCluster and describeConfigs", at -> cluster());
        suite.check("4.3 createTopics refuses with the right error", at -> refusals());
        suite.check("4.3 a topic made again has a new id and no records", at -> recreated());
        suite.check("4.3 a producer makes a missing topic, a consumer need not", at -> autoCreate());
        suite.check("4.3 acks=0, acks=1 and acks=all", at -> acks());
        suite.check("4.3 fetch waits for data and never splits the first batch", at -> fetching());
        suite.check("4.3 a record beyond max.message.bytes is refused", at -> tooLarge());
        suite.check("4.3 a transactional producer is answered at once", at -> transactional());
    }

    static <T> T get(Future<T> future) throws Exception {
        return future.get(30, TimeUnit.SECONDS);
    }

    private static void refused(Class<? extends Exception> error, Future<?> future)
            throws Exception {
        try {
            get(future);
        } catch (ExecutionException thrown) {
            Wait.equal(error, thrown.getCause().getClass(), "the error");
            return;
        }
        throw new AssertionError("not refused with " + error.getSimpleName());
    }

    private void cluster() throws Exception {
        var cluster = admin.describeCluster();
        var nodes = get(cluster.nodes());
        Wait.equal(1, nodes.size(), "nodes");
        var node = nodes.iterator().next();
        Wait.equal("1 127.0.0.1 " + broker.bootstrap().split(":")[1],
            node.id() + " " + node.host() + " " + node.port(), "the node");
        Wait.equal(1, get(cluster.controller()).id(), "the controller");
        Wait.that(get(cluster.clusterId()).length() == 22, "a cluster id of 22 characters");

        get(admin.createTopics(List.of(new NewTopic("configured", Optional.of(2), Optional.empty())
            .configs(Map.of("retention.ms", "123456", "cleanup.policy", "compact")))).all());
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, "configured");
        var configs = get(admin.describeConfigs(List.of(resource)).all()).get(resource);
        Wait.equal("123456", configs.get("retention.ms").value(), "retention.ms");
        Wait.equal("DYNAMIC_TOPIC_CONFIG", configs.get("retention.ms").source().name(), "source");
        Wait.equal("compact", configs.get("cleanup.policy").value(), "cleanup.policy");
        Wait.equal("1048588", configs.get("max.message.bytes").value(), "max.message.bytes");
        Wait.equal("DEFAULT_CONFIG", configs.get("max.message.bytes").source().name(), "source");
    }

    private void refusals() throws Exception {
        Records.createTopic(broker, "existing", 1);
        refused(TopicExistsException.class,
            admin.createTopics(List.of(new NewTopic("existing", 1, (short) 1))).all());
        refused(InvalidTopicException.class,
            admin.createTopics(List.of(new NewTopic("not/a/name", 1, (short) 1))).all());
        refused(InvalidPartitionsException.class,
            admin.createTopics(List.of(new NewTopic("none", 0, (short) 1))).all());
        refused(UnknownTopicOrPartitionException.class,
            admin.describeTopics(List.of("nowhere")).allTopicNames());
        refused(UnknownTopicOrPartitionException.class,
            admin.deleteTopics(List.of("nowhere")).all());
        refused(InvalidReplicationFactorException.class,
            admin.createTopics(List.of(new NewTopic("three", 1, (short) 3))).all());
    }

    static Uuid topicId(Admin admin, String topic) throws Exception {
        return get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic).topicId();
    }

    private void recreated() throws Exception {
        Records.createTopic(broker, "again", 1);
        Records.writeNumbers(broker, "again", 0, 10);
        Uuid first = topicId(admin, "again");
        Wait.that(!first.equals(Uuid.ZERO_UUID), "a topic id is never zero");
        get(admin.deleteTopics(List.of("again")).all());
        Wait.until("the topic is gone", Records.LIMIT,
            () -> !get(admin.listTopics().names()).contains("again"));
        Records.createTopic(broker, "again", 1);
        Wait.that(!topicId(admin, "again").equals(first), "the second topic has an id of its own");
        Wait.equal(0, Records.readAll(broker, "again").size(), "records in the second topic");
        Records.writeNumbers(broker, "again", 0, 3);
        Wait.equal(3, Records.readAll(broker, "again").size(), "records after writing three");
    }

    private void autoCreate() throws Exception {
        Records.write(broker, Map.of(),
            List.of(new ProducerRecord<>("made-by-producer", null, Records.bytes("v"))));
        Wait.equal(1, Records.readAll(broker, "made-by-producer").size(), "records");
        try (KafkaConsumer<byte[], byte[]> consumer = Records.consumer(broker,
                Map.of("allow.auto.create.topics", "false"))) {
            Wait.equal(List.of(), consumer.partitionsFor("not-made"), "partitions");
        }
        Wait.that(!get(admin.listTopics().names()).contains("not-made"), "no topic is made");
    }

    private void acks() throws Exception {
        Records.createTopic(broker, "acked", 1);
        List<String> written = new ArrayList<>();
        for (String acks : List.of("1", "0", "all")) { // nobody waits for an answer with 0
            var answers = Records.write(broker,
                Map.of("acks", acks, "enable.idempotence", "false"),
                List.of(new ProducerRecord<>("acked", 0, null, Records.bytes(acks))));
            Wait.equal(!acks.equals("0"), answers.get(0).hasOffset(), "an offset with " + acks);
            written.add(acks);
            Wait.until("the log holds " + written, Records.LIMIT, () ->
                Records.readAll(broker, "acked").stream().map(r -> Records.text(r.value()))
                    .toList().equals(written));
        }
    }

    private void fetching() throws Exception {
        Records.createTopic(broker, "fetched", 1);
        TopicPartition partition = new TopicPartition("fetched", 0);
        try (KafkaConsumer<byte[], byte[]> consumer = Records.consumer(broker,
                Map.of("fetch.max.wait.ms", "8000", "max.partition.fetch.bytes", "1024",
                    "fetch.max.bytes", "1024"));
                KafkaProducer<byte[], byte[]> producer = Records.producer(broker, Map.of())) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 0);
            producer.partitionsFor("fetched");
            for (int length : List.of(10, 300_000, 900 * 1024)) {
                consumer.poll(Duration.ofMillis(300)); // leaves a fetch waiting at the broker
                long start = System.nanoTime();
                producer.send(new ProducerRecord<>("fetched", 0, null, new byte[length]));
                producer.flush();
                var records = consumer.poll(Duration.ofSeconds(15));
                long millis = (System.nanoTime() - start) / 1_000_000;
                Wait.equal(1, records.count(), "records");
                Wait.equal(length, records.iterator().next().value().length, "bytes of the value");
                Wait.that(millis < 4_000, "a waiting fetch was answered only after " + millis);
            }
        }
    }

    private void tooLarge() throws Exception {
        Records.createTopic(broker, "limited", 1);
        try (KafkaProducer<byte[], byte[]> producer =
                Records.producer(broker, Map.of("max.request.size", "10000000"))) {
            refused(RecordTooLargeException.class,
                producer.send(new ProducerRecord<>("limited", 0, null, new byte[1_100_000])));
            get(producer.send(new ProducerRecord<>("limited", 0, null, new byte[1_000_000])));
        }
        Wait.equal(1, Records.readAll(broker, "limited").size(), "records");
    }

    private void transactional() throws Exception {
        long start = System.nanoTime();
        try (KafkaProducer<byte[], byte[]> producer =
                Records.producer(broker, Map.of("transactional.id", "mine"))) {
            String failure = null;
            try {
                producer.initTransactions();
            } catch (Exception refused) {
                failure = String.valueOf(refused);
            }
            long seconds = (System.nanoTime() - start) / 1_000_000_000L;
            Wait.that(seconds < 20, "answered only after " + seconds + " s");
            boolean genuine = suite.setup().kind() == Setup.Kind.KAFKA;
            Wait.equal(genuine, failure == null, "transactions are served, where <" + failure + ">");
            Wait.that(genuine || !failure.contains("Timeout"), "not a time-out: " + failure);
            producer.close(Duration.ZERO);
        }
    }
}
