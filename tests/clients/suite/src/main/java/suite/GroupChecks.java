package suite;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.utils.Utils;

/** 3.3: partitions shared by the members of a group, and order by key. */
final class GroupChecks {
    private final Suite suite;
    private final Broker broker;

    GroupChecks(Suite suite, Broker broker) {
        this.suite = suite;
        this.broker = broker;
    }

    void run() {
        suite.check("3.3 keyed records stay in one partition, in order", at -> keyed());
        suite.check("3.3 two consumers share four partitions, the survivor takes over", at -> {
            String now = suite.setup().newClasspath();
            takeOver(at, "taken-44", now, now);
        });
        suite.check("3.3 kafka-clients 3.9 takes over from 4.4", at -> {
            takeOver(at, "taken-39", suite.setup().oldClasspath(), suite.setup().newClasspath());
        });
        suite.check("3.3 cooperative members keep what they need not give up", at -> {
            cooperative(at);
        });
        suite.check("3.4 kafka-consumer-groups shows active members", at -> active(at));
        suite.check("3.3 kafka-clients 4.4, 3.9 and kcat share one group", at -> mixed(at));
    }

    private void keyed() throws Exception {
        Records.createTopic(broker, "keyed", 4);
        write("keyed", 20, 50);
        Map<String, Integer> partitionOf = new HashMap<>();
        Map<String, Integer> next = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> record : Records.readAll(broker, "keyed")) {
            String key = Records.text(record.key());
            Integer before = partitionOf.putIfAbsent(key, record.partition());
            Wait.that(before == null || before == record.partition(), key + " is in two partitions");
            Wait.equal(Utils.toPositive(Utils.murmur2(record.key())) % 4, record.partition(),
                "the partition of " + key);
            Wait.equal(Integer.toString(next.merge(key, 1, Integer::sum) - 1),
                Records.text(record.value()), "the next value of " + key);
        }
        Wait.equal(20, next.size(), "keys");
        Wait.that(next.values().stream().allMatch(count -> count == 50), "50 records each: " + next);
        Wait.equal(Set.of(0, 1, 2, 3), new HashSet<>(partitionOf.values()), "partitions used");
    }

    /** Writes {@code each} records for each of {@code keys} keys, values counting up per key. */
    private List<RecordMetadata> write(String topic, int keys, int each) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < keys * each; i++) {
            records.add(new ProducerRecord<>(topic, Records.bytes("key-" + i % keys),
                Records.bytes(Integer.toString(i / keys))));
        }
        return Records.write(broker, Map.of(), records);
    }

    private void takeOver(Path at, String name, String survivorPath, String victimPath)
            throws Exception {
        Records.createTopic(broker, name, 4);
        try (Proc survivor = member(at, "survivor", survivorPath, name);
                Proc victim = member(at, "victim", victimPath, name)) {
            awaitShares(name, Map.of("survivor", 2, "victim", 2));
            List<RecordMetadata> first = write(name, 40, 10);
            awaitRead(first, List.of(survivor, victim));
            Set<String> all = new HashSet<>(survivor.lines("REC"));
            Wait.equal(2L, partitionsRead(survivor.lines("REC")), "partitions the one read");
            Wait.equal(2L, partitionsRead(victim.lines("REC")), "partitions the other read");
            all.retainAll(victim.lines("REC"));
            Wait.equal(Set.of(), all, "records that both read");
            awaitCommitted(name, first);

            victim.kill();
            List<RecordMetadata> second = write(name, 40, 10);
            awaitShares(name, Map.of("survivor", 4));
            awaitRead(second, List.of(survivor));
            awaitCommitted(name, second);
            for (int partition = 0; partition < 4; partition++) {
                ascending(survivor.lines("REC"), partition);
            }
            survivor.endInput();
            Wait.equal(0, survivor.finish(Duration.ofSeconds(30)).exit(), "exit of the survivor");
            Wait.until("the group is empty once its last member has left", Records.LIMIT,
                () -> describe(name).groupState() == GroupState.EMPTY);
        }
    }

    private Proc member(Path at, String client, String classpath, String name, String... extra)
            throws Exception {
        List<String> args = new ArrayList<>(List.of("consume", broker.bootstrap(), name, name,
            "client.id=" + client, "session.timeout.ms=6000", "heartbeat.interval.ms=1000"));
        args.addAll(List.of(extra));
        return Proc.start(at, client, Java.command(classpath, "worker.Worker", args));
    }

    private ConsumerGroupDescription describe(String group) throws Exception {
        return broker.admin().describeConsumerGroups(List.of(group)).all()
            .get(10, TimeUnit.SECONDS).get(group);
    }

    /** The group is stable, and each client has so many partitions, all of them different. */
    private void awaitShares(String group, Map<String, Integer> shares) throws Exception {
        Map<String, Integer> expected = new TreeMap<>(shares);
        Wait.until("the group shares its partitions as " + expected, Duration.ofSeconds(60), () -> {
            ConsumerGroupDescription seen = describe(group);
            Map<String, Integer> got = new TreeMap<>();
            Set<TopicPartition> owned = new HashSet<>();
            for (var member : seen.members()) {
                got.put(member.clientId(), member.assignment().topicPartitions().size());
                owned.addAll(member.assignment().topicPartitions());
            }
            int all = got.values().stream().mapToInt(Integer::intValue).sum();
            return seen.groupState() == GroupState.STABLE && got.equals(expected)
                && owned.size() == all;
        });
    }

    /** Together, the members have printed every one of these records. */
    private static void awaitRead(List<RecordMetadata> written, List<Proc> members)
            throws Exception {
        Wait.until("all " + written.size() + " records are read", Duration.ofSeconds(60), () -> {
            Set<String> read = new HashSet<>();
            for (Proc member : members) {
                for (String line : member.lines("REC")) {
                    read.add(line.substring(0, line.lastIndexOf(' ')));
                }
            }
            return written.stream()
                .allMatch(meta -> read.contains(meta.partition() + " " + meta.offset()));
        });
    }

    private void awaitCommitted(String name, List<RecordMetadata> written) throws Exception {
        Wait.until("all of it is committed", Records.LIMIT, () -> {
            for (RecordMetadata meta : written) {
                Long offset = Records.committed(broker.admin(), name,
                    new TopicPartition(name, meta.partition()));
                if (offset == null || offset <= meta.offset()) {
                    return false;
                }
            }
            return true;
        });
    }

    private static long partitionsRead(List<String> records) {
        return records.stream().map(line -> line.split(" ")[0]).distinct().count();
    }

    private static void ascending(List<String> records, int partition) {
        long last = -1;
        for (String line : records) {
            String[] words = line.split(" ");
            if (Integer.parseInt(words[0]) == partition) {
                long offset = Long.parseLong(words[1]);
                Wait.that(offset == last + 1 || last == -1, "offset " + offset + " after " + last);
                last = offset;
            }
        }
    }

    /** The first member never loses all four partitions, as it would with an eager assignor. */
    private void cooperative(Path at) throws Exception {
        Records.createTopic(broker, "shifted", 4);
        String now = suite.setup().newClasspath();
        String assignor = "partition.assignment.strategy="
            + "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
        try (Proc first = member(at, "first", now, "shifted", assignor)) {
            awaitShares("shifted", Map.of("first", 4));
            List<RecordMetadata> before = write("shifted", 40, 2);
            awaitRead(before, List.of(first));
            try (Proc second = member(at, "second", now, "shifted", assignor)) {
                awaitShares("shifted", Map.of("first", 2, "second", 2));
                List<RecordMetadata> after = write("shifted", 40, 2);
                awaitRead(after, List.of(first, second));
                awaitCommitted("shifted", after);
                List<String> revoked = first.lines("REVOKED");
                Wait.equal(1, revoked.size(), "times the first member gave up partitions");
                Wait.equal(2, revoked.get(0).split(",").length, "partitions in " + revoked);
                Wait.equal(2L, partitionsRead(second.lines("REC")), "partitions of the second");
            }
        }
    }

    private void active(Path at) throws Exception {
        Records.createTopic(broker, "active", 2);
        List<RecordMetadata> written = write("active", 10, 2);
        try (Proc member = member(at, "reader", suite.setup().newClasspath(), "active")) {
            awaitRead(written, List.of(member));
            awaitCommitted("active", written);
            Tools tools = new Tools(suite.setup(), broker, at);
            String table = Tools.ok(tools.groups("--describe", "--group", "active"));
            Wait.equal(2, Tools.rows(table).size(), "rows of <" + table + ">");
            for (Map<String, String> row : Tools.rows(table)) {
                Wait.that(row.get("CONSUMER-ID").startsWith("reader-"), "the member in " + row);
                Wait.equal("/127.0.0.1 reader 0",
                    row.get("HOST") + " " + row.get("CLIENT-ID") + " " + row.get("LAG"), "a row");
            }
            var members = Tools.rows(
                Tools.ok(tools.groups("--describe", "--group", "active", "--members")));
            Wait.equal(List.of("2"),
                members.stream().map(row -> row.get("#PARTITIONS")).toList(), "--members");
            var state = Tools.rows(
                Tools.ok(tools.groups("--describe", "--group", "active", "--state"))).get(0);
            Wait.equal("range Stable 1", state.get("ASSIGNMENT-STRATEGY") + " "
                + state.get("STATE") + " " + state.get("#MEMBERS"), "--state");
        }
    }

    private void mixed(Path at) throws Exception {
        Records.createTopic(broker, "mixed", 6);
        try (Proc java44 = member(at, "java44", suite.setup().newClasspath(), "mixed");
                Proc java39 = member(at, "java39", suite.setup().oldClasspath(), "mixed");
                Proc kcat = Proc.start(at, "kcat", Kcat.command(broker, "-G", "mixed", "-u", "-E",
                    "-X", "client.id=kcat", "-X", "auto.offset.reset=earliest",
                    "-X", "session.timeout.ms=6000", "-X", "auto.commit.interval.ms=500",
                    "-f", "REC %p %o %k\\n", "mixed"))) {
            awaitShares("mixed", Map.of("java44", 2, "java39", 2, "kcat", 2));
            List<RecordMetadata> written = write("mixed", 60, 5);
            awaitRead(written, List.of(java44, java39, kcat));
            awaitCommitted("mixed", written);
            for (Proc member : List.of(java44, java39, kcat)) {
                Wait.equal(2L, partitionsRead(member.lines("REC")), "partitions of one member");
            }
        }
    }
}
