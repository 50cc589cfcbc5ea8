package suite;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.internals.RecordHeader;
import suite.Proc.Result;

/** 3.4: each codec written by one client and read by another, to the byte. */
final class CodecChecks {
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static final int BIG = 900 * 1024;

    private final Suite suite;
    private final Broker broker;

    CodecChecks(Suite suite, Broker broker) {
        this.suite = suite;
        this.broker = broker;
    }

    void run() {
        for (String codec : CODECS) {
            suite.check("3.4 codec " + codec + ": Java writes, kcat and Java read", at -> {
                javaWrites(codec, at);
            });
            suite.check("3.4 codec " + codec + ": kcat writes, Java reads", at -> {
                kcatWrites(codec, at);
            });
        }
        suite.check("3.4 kafka-clients 3.9 writes and reads all codecs", at -> {
            worker(suite.setup().oldClasspath(), "codecs-old", at);
        });
        suite.check("3.4 kafka-clients 4.4 writes and reads all codecs", at -> {
            worker(suite.setup().newClasspath(), "codecs-new", at);
        });
    }

    private void worker(String classpath, String topic, Path at) throws Exception {
        Records.createTopic(broker, topic, 1);
        Result result = Proc.run(at, "worker", Java.command(classpath, "worker.Worker",
            List.of("roundtrip", broker.bootstrap(), topic)), "");
        Wait.equal("SAME 250\n", Tools.ok(result), "what the worker said");
    }

    /** Half noise and half filler, so that compression has something to do. */
    private static byte[] value(int length, long seed) {
        byte[] value = new byte[length];
        new Random(seed).nextBytes(value);
        Arrays.fill(value, length / 2, length, (byte) 'g');
        return value;
    }

    private void javaWrites(String codec, Path at) throws Exception {
        String topic = "java-" + codec;
        Records.createTopic(broker, topic, 1);
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            sent.add(new ProducerRecord<>(topic, 0, Records.bytes("k" + i), value(50 * i, i)));
        }
        sent.add(new ProducerRecord<>(topic, 0, null, value(10, 1)));
        sent.add(new ProducerRecord<>(topic, 0, Records.bytes("gone"), null));
        sent.add(new ProducerRecord<>(topic, 0, null, null, null, List.of(
            new RecordHeader("a", Records.bytes("1")), new RecordHeader("a", Records.bytes("2")),
            new RecordHeader("empty", new byte[0]))));
        sent.add(new ProducerRecord<>(topic, 0, Records.bytes("big"), value(BIG, 2)));

        try (KafkaProducer<byte[], byte[]> producer = Records.producer(broker,
                Map.of("compression.type", codec, "linger.ms", "20"))) {
            for (var record : sent) {
                producer.send(record);
            }
            producer.flush();
            double rate = producer.metrics().entrySet().stream()
                .filter(metric -> metric.getKey().name().equals("compression-rate-avg")
                    && metric.getKey().group().equals("producer-metrics"))
                .mapToDouble(metric -> (double) metric.getValue().metricValue())
                .findFirst().orElseThrow();
            Wait.equal(codec.equals("none"), rate >= 1.0, "not compressed at a rate of " + rate);
        }

        List<Kcat.Printed> printed = new Kcat(broker, at).read(topic);
        List<ConsumerRecord<byte[], byte[]>> read = Records.readAll(broker, topic);
        Wait.equal(sent.size(), printed.size(), "records printed by kcat");
        Wait.equal(sent.size(), read.size(), "records read by Java");
        for (int i = 0; i < sent.size(); i++) {
            var was = sent.get(i);
            Wait.equal((long) i, printed.get(i).offset(), "kcat's offset");
            same(was.key(), printed.get(i).key(), "kcat's key of record " + i);
            same(was.value(), printed.get(i).value(), "kcat's value of record " + i);
            Wait.equal((long) i, read.get(i).offset(), "offset");
            same(was.key(), read.get(i).key(), "key of record " + i);
            same(was.value(), read.get(i).value(), "value of record " + i);
            Wait.equal(was.headers(), read.get(i).headers(), "headers of record " + i);
        }
        Wait.equal("a=1,a=2,empty=", printed.get(102).headers(), "headers printed by kcat");
    }

    private void kcatWrites(String codec, Path at) throws Exception {
        String topic = "kcat-" + codec;
        Records.createTopic(broker, topic, 1);
        List<byte[]> values = List.of(value(1, 1), value(3000, 2), value(70_000, 3), value(BIG, 4));
        List<String> args = new ArrayList<>(List.of("-P", "-t", topic, "-p", "0", "-k", "the key",
            "-H", "a=1", "-H", "a=2", "-X", "compression.codec=" + codec));
        for (int i = 0; i < values.size(); i++) {
            Path file = at.resolve("value-" + i);
            Files.write(file, values.get(i));
            args.add(file.toString());
        }
        Kcat kcat = new Kcat(broker, at);
        kcat.run("", args.toArray(String[]::new));
        kcat.run("gone:\n", "-P", "-t", topic, "-p", "0", "-Z", "-K", ":",
            "-X", "compression.codec=" + codec);
        kcat.run("no key\n", "-P", "-t", topic, "-p", "0", "-X", "compression.codec=" + codec);

        List<ConsumerRecord<byte[], byte[]>> read = Records.readAll(broker, topic);
        Wait.equal(6, read.size(), "records read by Java");
        for (int i = 0; i < values.size(); i++) {
            var got = read.get(i);
            Wait.equal("the key", Records.text(got.key()), "key of record " + i);
            same(values.get(i), got.value(), "value of record " + i);
            Wait.equal(List.of(new RecordHeader("a", Records.bytes("1")),
                    new RecordHeader("a", Records.bytes("2"))),
                List.of(got.headers().toArray()), "headers of record " + i);
        }
        Wait.equal("gone", Records.text(read.get(4).key()), "key of the tombstone");
        same(null, read.get(4).value(), "value of the tombstone");
        same(null, read.get(5).key(), "key where none was given");
        Wait.equal("no key", Records.text(read.get(5).value()), "the last value");
    }

    private static void same(byte[] expected, byte[] got, String what) {
        Wait.that(Arrays.equals(expected, got), what + " differs: expected "
            + length(expected) + ", got " + length(got));
    }

    private static String length(byte[] bytes) {
        return bytes == null ? "null" : bytes.length + " bytes";
    }
}
