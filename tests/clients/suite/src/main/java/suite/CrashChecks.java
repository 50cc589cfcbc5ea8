package suite;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;

/**
 * 3.5: one broker, killed ten times at random moments while producers and groups of
 * kafka-clients 4.4, kafka-clients 3.9 and kcat work on it.
 *
 * <p>The moments come from the seed, which the check prints; what the clients are doing at that
 * moment is up to them.
 */
final class CrashChecks implements AutoCloseable {
    private static final int KILLS = 10;
    private static final int PARTITIONS = 4;
    private static final String TOPIC = "crash";
    private static final List<String> GROUPS = List.of("java44", "java39", "kcat");

    private final Setup setup;
    private final Path at;
    private final Broker broker;
    private final Map<String, Proc> producers = new LinkedHashMap<>();
    private final Map<String, Proc> consumers = new LinkedHashMap<>();
    private final Map<String, Long> committedFloor = new HashMap<>();
    private int fed;
    private LogCopy log;

    private CrashChecks(Suite suite, Path at) throws Exception {
        this.setup = suite.setup();
        this.at = at;
        this.broker = new Broker(setup, at.resolve("broker"), Broker.freePort(), Map.of());
    }

    static void run(Suite suite) throws Exception {
        String load = "3.5 ten times kill -9 under load (seed " + suite.setup().seed()
            + "): clients carry on by themselves";
        String kept = "3.5 nothing acknowledged is gone or changed";
        String once = "3.5 idempotent producers wrote each record once, in order";
        String groups = "3.5 groups and offsets survive, each record reaches each group";
        if (List.of(load, kept, once, groups).stream().noneMatch(suite.setup()::wants)) {
            return;
        }
        try (CrashChecks checks =
                new CrashChecks(suite, Files.createDirectories(suite.setup().work().resolve("crash")))) {
            suite.check(load, evidence -> checks.killUnderLoad());
            suite.check(kept, evidence -> checks.nothingIsGone());
            suite.check(once, evidence -> checks.eachOnce());
            suite.check(groups, evidence -> checks.groupsAreThere());
        }
    }

    private void killUnderLoad() throws Exception {
        broker.start();
        Records.createTopic(broker, TOPIC, PARTITIONS);
        startClients();
        Random random = new Random(setup.seed());
        for (int kill = 1; kill <= KILLS; kill++) {
            awaitProgress("before kill " + kill);
            note("kill " + kill + ": all clients go on");
            feedFor(random.nextInt(1_200));
            noteCommitted();
            note("kill " + kill + ": now");
            broker.kill();
            broker.start();
            note("kill " + kill + ": started again");
            checkCommitted();
        }
        awaitProgress("after the last kill");
        note("draining");
        drain();
        note("drained");
    }

    /** Adds a line to the diary of the run: when, what, and what each client had done by then. */
    private void note(String what) throws Exception {
        StringBuilder line = new StringBuilder(java.time.LocalTime.now() + " " + what + ";");
        for (String name : GROUPS) {
            int sent = name.equals("kcat") ? fed : producers.get(name).lines("ACK").size();
            line.append(" ").append(name).append(name.equals("kcat") ? " given " : " acked ")
                .append(sent).append(" read ").append(readBySource(name)).append(";");
        }
        Files.writeString(at.resolve("diary.txt"), line + "\n",
            StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    private void startClients() throws Exception {
        for (String name : List.of("java44", "java39")) {
            String classpath = name.equals("java44") ? setup.newClasspath() : setup.oldClasspath();
            producers.put(name, Proc.start(at, "produce-" + name, Java.command(classpath,
                "worker.Worker", List.of("produce", broker.bootstrap(), TOPIC, name))));
            consumers.put(name, Proc.start(at, "consume-" + name, Java.command(classpath,
                "worker.Worker", List.of("consume", broker.bootstrap(), TOPIC, name))));
        }
        producers.put("kcat", Proc.start(at, "produce-kcat", Kcat.command(broker, "-P", "-E",
            "-t", TOPIC, "-K", ":", "-X", "enable.idempotence=true",
            "-X", "reconnect.backoff.max.ms=300", "-X", "linger.ms=5")));
        consumers.put("kcat", Proc.start(at, "consume-kcat", Kcat.command(broker, "-G", "kcat",
            "-E", "-u", "-f", "REC %p %o %k\\n", "-X", "auto.offset.reset=earliest",
            "-X", "auto.commit.interval.ms=300", "-X", "reconnect.backoff.max.ms=300", TOPIC)));
    }

    /** kcat gets its records from here, five at a time. */
    private void feed() throws Exception {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 5; i++) {
            lines.append("kcat-").append(fed).append(":value of kcat-").append(fed).append('\n');
            fed++;
        }
        producers.get("kcat").say(lines.toString());
    }

    private void feedFor(long millis) throws Exception {
        long end = System.nanoTime() + millis * 1_000_000;
        while (System.nanoTime() < end) {
            feed();
            TimeUnit.MILLISECONDS.sleep(Math.min(20, millis)); // the pace of the load
        }
    }

    /** Every producer gets fresh acknowledgements and every consumer fresh records of each. */
    private void awaitProgress(String when) throws Exception {
        Map<String, Integer> acked = new HashMap<>();
        for (String name : List.of("java44", "java39")) {
            acked.put(name, producers.get(name).lines("ACK").size());
        }
        Map<String, Map<String, Long>> seen = new HashMap<>();
        for (String name : GROUPS) {
            seen.put(name, readBySource(name));
        }
        Wait.until("all clients carry on " + when, Duration.ofSeconds(90), () -> {
            feed();
            for (String name : GROUPS) {
                Wait.that(producers.get(name).alive(), "the producer " + name + " has ended");
                Wait.that(consumers.get(name).alive(), "the consumer " + name + " has ended");
                Map<String, Long> now = readBySource(name);
                for (String source : GROUPS) {
                    if (now.getOrDefault(source, 0L)
                            < seen.get(name).getOrDefault(source, 0L) + 10) {
                        return false;
                    }
                }
            }
            for (var before : acked.entrySet()) {
                int now = producers.get(before.getKey()).lines("ACK").size();
                if (now < before.getValue() + 10) {
                    return false;
                }
            }
            return true;
        });
    }

    /** How many records of each producer a consumer has printed. */
    private Map<String, Long> readBySource(String consumer) throws Exception {
        Map<String, Long> counts = new HashMap<>();
        for (String line : consumers.get(consumer).lines("REC")) {
            String key = line.substring(line.lastIndexOf(' ') + 1);
            counts.merge(key.substring(0, key.indexOf('-')), 1L, Long::sum);
        }
        return counts;
    }

    /** Remembers what the broker, and what the clients say it acknowledged, as committed. */
    private void noteCommitted() throws Exception {
        for (String group : GROUPS) {
            var offsets = broker.admin().listConsumerGroupOffsets(group)
                .partitionsToOffsetAndMetadata().get(10, TimeUnit.SECONDS);
            offsets.forEach((partition, offset) -> committedFloor.merge(
                group + " " + partition.partition(), offset.offset(), Math::max));
            for (String line : consumers.get(group).lines("COMMIT")) {
                String[] words = line.split(" ");
                committedFloor.merge(group + " " + words[0], Long.parseLong(words[1]), Math::max);
            }
        }
    }

    /** Nothing that was committed before the kill has gone back. */
    private void checkCommitted() throws Exception {
        for (var floor : committedFloor.entrySet()) {
            String[] words = floor.getKey().split(" ");
            var partition = new TopicPartition(TOPIC, Integer.parseInt(words[1]));
            Long now = Wait.value("the committed offset of " + floor.getKey(), Records.LIMIT,
                () -> Records.committed(broker.admin(), words[0], partition));
            Wait.that(now >= floor.getValue(), "group and partition " + floor.getKey()
                + " went back from " + floor.getValue() + " to " + now);
        }
    }

    /** Stops the producers, and waits until every group has read and committed everything. */
    private void drain() throws Exception {
        for (Proc producer : producers.values()) {
            producer.endInput();
        }
        for (var producer : producers.entrySet()) {
            Wait.equal(0, producer.getValue().finish(Duration.ofSeconds(60)).exit(),
                "exit code of the producer " + producer.getKey());
        }
        log = LogCopy.read(broker, TOPIC);
        for (String group : GROUPS) {
            for (var end : log.ends().entrySet()) {
                Wait.until(group + " has committed all of partition " + end.getKey(),
                    Duration.ofSeconds(60), () -> end.getValue().equals(Records.committed(
                        broker.admin(), group, new TopicPartition(TOPIC, end.getKey()))));
            }
        }
    }

    private void reached() {
        Wait.that(log != null, "not reached: the clients did not come through the kills");
    }

    private void nothingIsGone() throws Exception {
        reached();
        for (String name : List.of("java44", "java39")) {
            Wait.equal(List.of(), producers.get(name).lines("ERR"), "errors of " + name);
            log.expectAcknowledged(name, producers.get(name).lines("ACK"));
        }
        for (int number = 0; number < fed; number++) { // kcat exits with 0 only if all were acked
            log.expectPresent("kcat-" + number);
        }
        for (String name : GROUPS) {
            for (String line : consumers.get(name).lines("REC")) {
                String[] words = line.split(" ");
                Wait.equal(log.keyAt(words[0], words[1]), words[2],
                    "what " + name + " read at " + words[0] + " " + words[1]);
            }
        }
    }

    private void eachOnce() throws Exception {
        reached();
        Map<String, Integer> sent = new HashMap<>(Map.of("kcat", fed));
        for (String name : List.of("java44", "java39")) {
            sent.put(name, Integer.parseInt(producers.get(name).lines("END").get(0)));
        }
        sent.forEach(log::expectEachOnce);
        int all = sent.values().stream().mapToInt(Integer::intValue).sum();
        Wait.equal(all, log.size(), "records in the log");
    }

    private void groupsAreThere() throws Exception {
        reached();
        for (String name : GROUPS) {
            Set<String> read = new HashSet<>();
            for (String line : consumers.get(name).lines("REC")) {
                read.add(line.substring(0, line.lastIndexOf(' ')));
            }
            Set<String> missed = new HashSet<>(log.places());
            missed.removeAll(read);
            Wait.equal(Set.of(), missed, "records that never reached " + name);
            var group = broker.admin().describeConsumerGroups(List.of(name)).all()
                .get(10, TimeUnit.SECONDS).get(name);
            Wait.equal(GroupState.STABLE, group.groupState(), "the state of group " + name);
            Wait.equal(1, group.members().size(), "members of " + name);
        }
        broker.kill();
        broker.start();
        noteCommitted();
        checkCommitted();
    }

    @Override
    public void close() throws Exception {
        for (Proc client : producers.values()) {
            client.close();
        }
        for (Proc client : consumers.values()) {
            client.close();
        }
        broker.close();
    }
}
