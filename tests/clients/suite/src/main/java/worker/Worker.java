package worker;

import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/**
 * A client program that works until its standard input ends, and tells on standard output what it
 * was told. It is compiled twice: against kafka-clients 4.4 and against 3.9.
 *
 * <p>{@code produce BOOTSTRAP TOPIC PREFIX [name=value...]} prints {@code ACK number partition
 * offset} for each acknowledged record, whose key is {@code PREFIX-number}.
 * {@code consume BOOTSTRAP TOPIC GROUP [name=value...]} prints {@code REC partition offset key}
 * and, once committed, {@code COMMIT partition offset}.
 * {@code roundtrip BOOTSTRAP TOPIC} writes and reads back with each codec and ends by itself.
 */
public final class Worker {
    private static final PrintStream OUT = System.out;

    private Worker() {}

    public static void main(String[] args) throws Exception {
        Properties props = new Properties();
        props.put("bootstrap.servers", args[1]);
        props.put("reconnect.backoff.max.ms", "300");
        for (String setting : Arrays.asList(args).subList(Math.min(4, args.length), args.length)) {
            props.put(setting.substring(0, setting.indexOf('=')),
                setting.substring(setting.indexOf('=') + 1));
        }
        switch (args[0]) {
            case "produce" -> produce(props, args[2], args[3]);
            case "consume" -> consume(props, args[2], args[3]);
            case "roundtrip" -> roundtrip(props, args[2]);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** Becomes false when standard input ends. */
    private static final class Work {
        private volatile boolean wanted = true;

        Work() {
            Thread reader = new Thread(() -> {
                try {
                    while (System.in.read() >= 0) {
                        continue;
                    }
                } catch (java.io.IOException closed) {
                    OUT.println("ERR standard input " + closed);
                }
                wanted = false;
            });
            reader.setDaemon(true);
            reader.start();
        }
    }

    private static void produce(Properties props, String topic, String prefix) throws Exception {
        String serializer = "org.apache.kafka.common.serialization.StringSerializer";
        props.put("key.serializer", serializer);
        props.put("value.serializer", serializer);
        Work work = new Work();
        AtomicLong number = new AtomicLong();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(props)) {
            while (work.wanted) {
                long mine = number.getAndIncrement();
                String key = prefix + "-" + mine;
                producer.send(new ProducerRecord<>(topic, key, "value of " + key), (meta, error) -> {
                    if (error == null) {
                        long offset = meta.hasOffset() ? meta.offset() : -1;
                        OUT.println("ACK " + mine + " " + meta.partition() + " " + offset);
                    } else {
                        OUT.println("ERR " + mine + " " + error);
                    }
                });
                TimeUnit.MILLISECONDS.sleep(2); // the pace of the load
            }
        }
        OUT.println("END " + number.get());
    }

    private static Properties reading(Properties props, String kind) {
        String deserializer = "org.apache.kafka.common.serialization." + kind + "Deserializer";
        props.put("key.deserializer", deserializer);
        props.put("value.deserializer", deserializer);
        props.putIfAbsent("auto.offset.reset", "earliest");
        props.put("enable.auto.commit", "false");
        return props;
    }

    private static void consume(Properties props, String topic, String group) {
        props.put("group.id", group);
        Work work = new Work();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(reading(props, "String"))) {
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> gone) {
                    OUT.println("REVOKED " + gone);
                }

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> got) {
                    OUT.println("ASSIGNED " + got);
                }
            });
            while (work.wanted) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                StringBuilder text = new StringBuilder();
                for (ConsumerRecord<String, String> record : records) {
                    text.append("REC ").append(record.partition()).append(' ')
                        .append(record.offset()).append(' ').append(record.key()).append('\n');
                }
                OUT.print(text);
                OUT.flush();
                if (!records.isEmpty()) {
                    commit(consumer, records);
                }
            }
        }
        OUT.println("END");
    }

    private static void commit(
            KafkaConsumer<String, String> consumer, ConsumerRecords<String, String> records) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new java.util.HashMap<>();
        for (TopicPartition partition : records.partitions()) {
            List<ConsumerRecord<String, String>> of = records.records(partition);
            offsets.put(partition, new OffsetAndMetadata(of.get(of.size() - 1).offset() + 1));
        }
        try {
            consumer.commitSync(offsets);
            offsets.forEach((partition, offset) ->
                OUT.println("COMMIT " + partition.partition() + " " + offset.offset()));
        } catch (KafkaException refused) { // a rebalance came first: another member reads on
            OUT.println("UNCOMMITTED " + refused);
        }
    }

    private static void roundtrip(Properties props, String topic) throws Exception {
        String serializer = "org.apache.kafka.common.serialization.ByteArraySerializer";
        props.put("key.serializer", serializer);
        props.put("value.serializer", serializer);
        Random random = new Random(1);
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            Properties mine = new Properties();
            mine.putAll(props);
            mine.put("compression.type", codec);
            mine.put("linger.ms", "20");
            try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(mine)) {
                for (int i = 0; i < 50; i++) {
                    byte[] value = new byte[i * i];
                    random.nextBytes(value);
                    Arrays.fill(value, value.length / 2, value.length, (byte) 'x');
                    byte[] key = i % 5 == 0 ? null : (codec + i).getBytes();
                    List<Header> headers = List.of(
                        new RecordHeader("codec", codec.getBytes()), new RecordHeader("none", null));
                    ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                        topic, 0, 1000L + i, key, i % 7 == 3 ? null : value, headers);
                    producer.send(record);
                    sent.add(record);
                }
                producer.flush();
            }
        }
        compare(sent, props, topic);
        OUT.println("SAME " + sent.size());
    }

    private static void compare(
            List<ProducerRecord<byte[], byte[]>> sent, Properties props, String topic) {
        TopicPartition partition = new TopicPartition(topic, 0);
        int next = 0;
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(reading(props, "ByteArray"))) {
            consumer.assign(Collections.singleton(partition));
            consumer.seekToBeginning(Collections.singleton(partition));
            while (next < sent.size()) {
                for (ConsumerRecord<byte[], byte[]> got : consumer.poll(Duration.ofSeconds(5))) {
                    ProducerRecord<byte[], byte[]> was = sent.get(next);
                    boolean same = got.offset() == next
                        && got.timestamp() == was.timestamp()
                        && Arrays.equals(got.key(), was.key())
                        && Arrays.equals(got.value(), was.value())
                        && Arrays.equals(got.headers().toArray(), was.headers().toArray());
                    if (!same) {
                        throw new AssertionError("record " + next + " came back as " + got);
                    }
                    next++;
                }
            }
        }
    }
}
