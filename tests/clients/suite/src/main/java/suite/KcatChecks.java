package suite;

import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** 3.4: kcat in each of its modes. */
final class KcatChecks {
    private final Suite suite;
    private final Broker broker;

    KcatChecks(Suite suite, Broker broker) {
        this.suite = suite;
        this.broker = broker;
    }

    void run() {
        suite.check("3.4 kcat -L and -L -J list a topic", at -> {
            Records.createTopic(broker, "kcat-listed", 2);
            Kcat kcat = new Kcat(broker, at);
            String address = "127.0.0.1:" + broker.bootstrap().split(":")[1];
            String plain = kcat.run("", "-L", "-t", "kcat-listed").stdout();
            Wait.equal(List.of(
                    " 1 brokers:",
                    "  broker 1 at " + address + " (controller)",
                    " 1 topics:",
                    "  topic \"kcat-listed\" with 2 partitions:",
                    "    partition 0, leader 1, replicas: 1, isrs: 1",
                    "    partition 1, leader 1, replicas: 1, isrs: 1"),
                plain.lines().skip(1).toList(), "-L");
            String json = kcat.run("", "-L", "-J", "-t", "kcat-listed").stdout();
            Wait.that(json.contains("\"controllerid\":1,\"brokers\":[{\"id\":1,\"name\":\"" + address
                + "\"}],\"topics\":[{\"topic\":\"kcat-listed\",\"partitions\":[{\"partition\":0,"
                + "\"leader\":1,\"replicas\":[{\"id\":1}],\"isrs\":[{\"id\":1}]},{\"partition\":1,"
                + "\"leader\":1,\"replicas\":[{\"id\":1}],\"isrs\":[{\"id\":1}]}]}]}"),
                "-L -J: " + json);
        });
        suite.check("3.4 kcat -P writes and kcat -C reads, to the byte", at -> {
            Records.createTopic(broker, "kcat-lines", 1);
            Kcat kcat = new Kcat(broker, at);
            kcat.run(lines("k", 0, 500), "-P", "-t", "kcat-lines", "-K", ":");
            kcat.run(lines("k", 500, 600), "-P", "-t", "kcat-lines", "-K", ":",
                "-X", "enable.idempotence=true");
            Wait.equal(lines("k", 0, 600), kcat.run("", "-C", "-q", "-t", "kcat-lines", "-K", ":",
                "-o", "beginning", "-e").stdout(), "everything");
            Wait.equal(lines("k", 590, 600), kcat.run("", "-C", "-q", "-t", "kcat-lines", "-p", "0",
                "-K", ":", "-o", "-10", "-e").stdout(), "the last ten");
            Wait.equal(lines("k", 123, 126), kcat.run("", "-C", "-q", "-t", "kcat-lines", "-p", "0",
                "-K", ":", "-o", "123", "-c", "3").stdout(), "three from offset 123");
        });
        suite.check("3.4 kcat -Q finds an offset by time", at -> {
            Records.createTopic(broker, "kcat-timed", 1);
            Records.write(broker, java.util.Map.of(), IntStream.range(0, 20)
                .mapToObj(i -> new ProducerRecord<byte[], byte[]>(
                    "kcat-timed", 0, 5_000L + i, null, Records.bytes("v")))
                .toList());
            Wait.equal("kcat-timed [0] offset 7\n",
                new Kcat(broker, at).run("", "-Q", "-t", "kcat-timed:0:5007").stdout(), "-Q");
        });
        suite.check("3.4 kcat -G reads as a group, commits and resumes", at -> {
            Records.createTopic(broker, "kcat-group", 1);
            Kcat kcat = new Kcat(broker, at);
            kcat.run(lines("k", 0, 100), "-P", "-t", "kcat-group", "-K", ":");
            String[] join = {"-G", "kcat-readers", "-q", "-e", "-K", ":", "-X",
                "auto.offset.reset=earliest", "kcat-group"};
            Wait.equal(lines("k", 0, 100), kcat.run("", join).stdout(), "the first hundred");
            Wait.equal(100L, Records.committed(broker.admin(), "kcat-readers",
                new TopicPartition("kcat-group", 0)), "the committed offset");
            kcat.run(lines("k", 100, 150), "-P", "-t", "kcat-group", "-K", ":");
            Wait.equal(lines("k", 100, 150), kcat.run("", join).stdout(), "only the new ones");
        });
    }

    private static String lines(String key, int from, int to) {
        return IntStream.range(from, to)
            .mapToObj(i -> key + i + ":value " + i + "\n").collect(Collectors.joining());
    }
}
