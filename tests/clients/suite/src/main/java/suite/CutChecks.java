package suite;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** 3.5: connections reset in the middle of a request or an answer. */
final class CutChecks {
    private static final String TOPIC = "cut";
    private static final int CUTS = 60;
    private static final int BYTES_MAX = 12_000;

    private CutChecks() {}

    static void run(Suite suite) {
        suite.check("3.5 connections cut at random bytes: each record once, in order", at -> {
            cut(suite.setup(), at);
        });
    }

    private static void cut(Setup setup, Path at) throws Exception {
        int port = Broker.freePort();
        try (Cutter cutter = new Cutter(port, BYTES_MAX, setup.seed());
                Broker broker = new Broker(setup, at.resolve("broker"), port, Map.of(
                    "advertised.listeners", "PLAINTEXT://127.0.0.1:" + cutter.port()))) {
            broker.start();
            Records.createTopic(broker, TOPIC, 2);
            cutter.cut(true);
            try (Proc java44 = producer(at, "java44", setup.newClasspath(), broker);
                    Proc java39 = producer(at, "java39", setup.oldClasspath(), broker);
                    Proc kcat = Proc.start(at, "kcat", Kcat.command(broker, "-P", "-E", "-t", TOPIC,
                        "-K", ":", "-X", "enable.idempotence=true", "-X", "linger.ms=5",
                        "-X", "reconnect.backoff.max.ms=300"))) {
                int[] fed = {0};
                Wait.until(CUTS + " cuts, and 500 records acknowledged to each",
                    Duration.ofSeconds(90), () -> {
                        for (int i = 0; i < 20; i++, fed[0]++) {
                            kcat.say("kcat-" + fed[0] + ":value of kcat-" + fed[0] + "\n");
                        }
                        return cutter.cuts() >= CUTS && java44.lines("ACK").size() >= 500
                            && java39.lines("ACK").size() >= 500 && fed[0] >= 500;
                    });
                cutter.cut(false);
                for (Proc producer : List.of(java44, java39, kcat)) {
                    producer.endInput();
                    Wait.equal(0, producer.finish(Duration.ofSeconds(60)).exit(), "exit code");
                }
                LogCopy log = LogCopy.read(broker, TOPIC);
                log.expectAcknowledged("java44", java44.lines("ACK"));
                log.expectAcknowledged("java39", java39.lines("ACK"));
                int sent44 = Integer.parseInt(java44.lines("END").get(0));
                int sent39 = Integer.parseInt(java39.lines("END").get(0));
                log.expectEachOnce("java44", sent44);
                log.expectEachOnce("java39", sent39);
                log.expectEachOnce("kcat", fed[0]);
                Wait.equal(sent44 + sent39 + fed[0], log.size(), "records in the log");
            }
        }
    }

    private static Proc producer(Path at, String name, String classpath, Broker broker)
            throws Exception {
        return Proc.start(at, name, Java.command(classpath, "worker.Worker",
            List.of("produce", broker.bootstrap(), TOPIC, name)));
    }
}
