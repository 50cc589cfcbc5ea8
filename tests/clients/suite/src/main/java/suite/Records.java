package suite;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Making topics, writing records and reading them back, with kafka-clients 4.4 in this process. */
final class Records {
    static final Duration LIMIT = Duration.ofSeconds(30);

    private Records() {}

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    static void createTopic(Broker broker, String topic, int partitions) throws Exception {
        broker.admin().createTopics(List.of(new NewTopic(topic, partitions, (short) 1)))
            .all().get(30, TimeUnit.SECONDS);
    }

    static KafkaProducer<byte[], byte[]> producer(Broker broker, Map<String, String> extra) {
        Properties props = new Properties();
        props.put("bootstrap.servers", broker.bootstrap());
        props.putAll(extra);
        return new KafkaProducer<>(props, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Broker broker, Map<String, String> extra) {
        Properties props = new Properties();
        props.put("bootstrap.servers", broker.bootstrap());
        props.put("enable.auto.commit", "false");
        props.put("auto.offset.reset", "earliest");
        props.putAll(extra);
        return new KafkaConsumer<>(props, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Writes all, and answers what the broker said of each. */
    static List<RecordMetadata> write(
            Broker broker, Map<String, String> extra, List<ProducerRecord<byte[], byte[]>> records)
            throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(broker, extra)) {
            var futures = records.stream().map(producer::send).toList();
            producer.flush();
            List<RecordMetadata> answers = new ArrayList<>();
            for (var future : futures) {
                answers.add(future.get(30, TimeUnit.SECONDS));
            }
            return answers;
        }
    }

    /** Writes {@code count} records {@code n} = {@code n} to one partition. */
    static void writeNumbers(Broker broker, String topic, int partition, int count)
            throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            byte[] number = bytes(Integer.toString(i));
            records.add(new ProducerRecord<>(topic, partition, number, number));
        }
        write(broker, Map.of(), records);
    }

    /** Everything in a topic from the first offset to the end offsets of this moment, in order. */
    static List<ConsumerRecord<byte[], byte[]>> readAll(Broker broker, String topic) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(broker, Map.of())) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                .map(info -> new TopicPartition(topic, info.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            List<ConsumerRecord<byte[], byte[]>> all = new ArrayList<>();
            long deadline = System.nanoTime() + LIMIT.toNanos();
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                Wait.that(System.nanoTime() < deadline, "reading " + topic + " took too long");
                consumer.poll(Duration.ofMillis(200)).forEach(all::add);
            }
            return all;
        }
    }

    /** What a group has committed on one partition, or null. */
    static Long committed(Admin admin, String group, TopicPartition partition) throws Exception {
        var offset = admin.listConsumerGroupOffsets(group)
            .partitionsToOffsetAndMetadata().get(10, TimeUnit.SECONDS).get(partition);
        return offset == null ? null : offset.offset();
    }
}
