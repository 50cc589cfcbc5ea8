package suite;

import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import suite.Proc.Result;

/** What administrators do to groups and their offsets, and members that keep their place. */
final class GroupAdminChecks {
    private static final long FIRST = 1_700_000_000_000L;

    private final Suite suite;
    private final Broker broker;

    GroupAdminChecks(Suite suite, Broker broker) {
        this.suite = suite;
        this.broker = broker;
    }

    void run() {
        suite.check("1.5 kafka-consumer-groups --reset-offsets by every strategy", at -> reset(at));
        suite.check("1.5 kafka-consumer-groups --delete-offsets and --delete", at -> delete(at));
        suite.check("1.5 kafka-consumer-groups --describe --members --state --offsets, "
            + "--list --state", at -> describe(at));
        suite.check("1.3 a static member takes its place again without a rebalance", at -> fixed());
        suite.check("1.3 a static member is fenced by its second process, and removed by its name",
            at -> fenced());
        suite.check("1.3 the offsets of a deleted topic are gone", at -> deletedTopic());
        suite.check("1.2 the Java admin finds no quotas and no transactions, and lists resources",
            at -> nothing());
    }

    private Tools tools(Path evidence) {
        return new Tools(suite.setup(), broker, evidence);
    }

    private void commit(String group, Map<TopicPartition, Long> offsets) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> all = new HashMap<>();
        offsets.forEach((place, offset) -> all.put(place, new OffsetAndMetadata(offset)));
        broker.admin().alterConsumerGroupOffsets(group, all).all().get(30, TimeUnit.SECONDS);
    }

    private Map<TopicPartition, Long> committed(String group) throws Exception {
        Map<TopicPartition, Long> found = new HashMap<>();
        broker.admin().listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()
            .get(30, TimeUnit.SECONDS).forEach((place, offset) -> {
                if (offset != null) {
                    found.put(place, offset.offset());
                }
            });
        return found;
    }

    /** A member that has been given its partitions. */
    private KafkaConsumer<byte[], byte[]> member(
            String group, String topic, Map<String, String> more) {
        KafkaConsumer<byte[], byte[]> member = Records.consumer(broker, config(group, more));
        member.subscribe(List.of(topic));
        long deadline = System.nanoTime() + Records.LIMIT.toNanos();
        while (member.assignment().isEmpty()) {
            Wait.that(System.nanoTime() < deadline, "no assignment for " + group);
            member.poll(Duration.ofMillis(100));
        }
        return member;
    }

    private void reset(Path at) throws Exception {
        Records.createTopic(broker, "moved", 2);
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            long second = FIRST + 1000L * (i / 2);
            records.add(new ProducerRecord<>("moved", i % 2, second, null, Records.bytes("v" + i)));
        }
        Records.write(broker, Map.of(), records);
        TopicPartition zero = new TopicPartition("moved", 0);
        TopicPartition one = new TopicPartition("moved", 1);
        commit("movers", Map.of(zero, 5L, one, 6L));
        Tools tools = tools(at);

        expect(tools, Map.of("0", "0", "1", "0"), "--all-topics --to-earliest --dry-run");
        Wait.equal(Map.of(zero, 5L, one, 6L), committed("movers"), "a dry run's doing");
        // From here on each step goes on where the one before has left the group.
        expect(tools, Map.of("0", "8", "1", "9"), "--topic moved --shift-by 3 --execute");
        expect(tools, Map.of("0", "0", "1", "0"), "--topic moved --shift-by -100 --execute");
        expect(tools, Map.of("1", "7"), "--topic moved:1 --to-offset 7 --execute");
        Wait.equal(Map.of(zero, 0L, one, 7L), committed("movers"), "what was moved alone");
        String time = Instant.ofEpochMilli(FIRST + 10_500).toString().replace("Z", "+00:00");
        expect(tools, Map.of("0", "11", "1", "11"),
            "--all-topics --to-datetime " + time + " --execute");
        Map<String, String> end = Map.of("0", "20", "1", "20");
        expect(tools, end, "--all-topics --by-duration PT1H --execute");
        expect(tools, end, "--topic moved --to-latest --execute");
        expect(tools, end, "--topic moved --to-offset 900 --execute");
        Wait.equal(Map.of(zero, 20L, one, 20L), committed("movers"), "what is committed at last");

        try (var member = member("movers", "moved", Map.of())) {
            Result refused = tools.groups("--group", "movers", "--reset-offsets", "--all-topics",
                "--to-earliest", "--execute");
            String said = refused.stdout() + refused.stderr();
            Wait.that(said.contains("is inactive, but the current state is Stable"),
                "a refusal because of members in <" + said + ">");
        }
    }

    /** The new offsets of a run, by partition. */
    private static void expect(Tools tools, Map<String, String> expected, String args)
            throws Exception {
        String all = "--group movers --reset-offsets " + args;
        String table = Tools.ok(tools.groups(all.split(" ")));
        Map<String, String> got = new TreeMap<>();
        for (Map<String, String> row : Tools.rows(table)) {
            Wait.equal("movers moved", row.get("GROUP") + " " + row.get("TOPIC"), "a row");
            got.put(row.get("PARTITION"), row.get("NEW-OFFSET"));
        }
        Wait.equal(new TreeMap<>(expected), got, "new offsets of " + args);
    }

    private void delete(Path at) throws Exception {
        Records.createTopic(broker, "unwanted", 2);
        TopicPartition zero = new TopicPartition("unwanted", 0);
        TopicPartition one = new TopicPartition("unwanted", 1);
        Tools tools = tools(at);
        try (var member = member("leavers", "unwanted", Map.of())) {
            member.commitSync(Map.of(zero, new OffsetAndMetadata(0),
                one, new OffsetAndMetadata(0)));
            said(tools.groups("--delete", "--group", "leavers"),
                "* Group 'leavers' could not be deleted due to: "
                + "org.apache.kafka.common.errors.GroupNotEmptyException: The group is not empty.");
            Result subscribed = tools.groups("--delete-offsets", "--group", "leavers",
                "--topic", "unwanted");
            said(subscribed, "Deleting offsets of a topic is forbidden while the consumer group is"
                + " actively subscribed to it.");
        }
        Wait.equal(Set.of(zero, one), committed("leavers").keySet(), "offsets after two refusals");
        Result some = tools.groups("--delete-offsets", "--group", "leavers", "--topic", "unwanted:1");
        said(some, "Request succeeded for deleting offsets from group leavers.");
        Wait.equal(Set.of(zero), committed("leavers").keySet(), "offsets after --delete-offsets");
        said(tools.groups("--delete-offsets", "--group", "leavers", "--topic", "nowhere"),
            "This server does not host this topic-partition.");
        said(tools.groups("--delete", "--group", "leavers"),
            "Deletion of requested consumer groups ('leavers') was successful.");
        Wait.equal(Map.of(), committed("leavers"), "offsets of a deleted group");
        Wait.that(!names().contains("leavers"), "the group is listed no more");
        said(tools.groups("--delete", "--group", "leavers"),
            "* Group 'leavers' could not be deleted due to: "
            + "org.apache.kafka.common.errors.GroupIdNotFoundException: "
            + "The group id does not exist.");
    }

    private Set<String> names() throws Exception {
        return broker.admin().listGroups().all().get(30, TimeUnit.SECONDS).stream()
            .map(listed -> listed.groupId()).collect(Collectors.toSet());
    }

    private static void said(Result result, String text) {
        String all = result.stdout() + result.stderr();
        Wait.that(all.contains(text), "<" + text + "> in <" + all + ">");
    }

    private void describe(Path at) throws Exception {
        Records.createTopic(broker, "shown", 2);
        Records.writeNumbers(broker, "shown", 0, 4);
        TopicPartition zero = new TopicPartition("shown", 0);
        Tools tools = tools(at);
        commit("shown-simple", Map.of(zero, 1L));
        try (var member = member("shown-full", "shown", Map.of("group.instance.id", "fixed"))) {
            member.commitSync(Map.of(zero, new OffsetAndMetadata(3)));
            List<String> group = List.of("--describe", "--group", "shown-full");
            var members = Tools.rows(Tools.ok(tools.groups(with(group, "--members", "--verbose"))));
            Wait.equal(1, members.size(), "rows of --members");
            Map<String, String> row = members.get(0);
            Wait.that(row.get("CONSUMER-ID").startsWith("fixed-"), "the member's id in " + row);
            Wait.equal("fixed /127.0.0.1 member 2", String.join(" ", row.get("GROUP-INSTANCE-ID"),
                row.get("HOST"), row.get("CLIENT-ID"), row.get("#PARTITIONS")), "the member");
            var state = Tools.rows(Tools.ok(tools.groups(with(group, "--state")))).get(0);
            Wait.equal("range Stable 1", String.join(" ", state.get("ASSIGNMENT-STRATEGY"),
                state.get("STATE"), state.get("#MEMBERS")), "--state");
            var offsets = Tools.rows(Tools.ok(tools.groups(with(group, "--offsets"))));
            Map<String, String> lags = new TreeMap<>();
            offsets.forEach(one -> lags.put(one.get("PARTITION"),
                one.get("CURRENT-OFFSET") + " " + one.get("LOG-END-OFFSET") + " " + one.get("LAG")));
            Wait.equal(Map.of("0", "3 4 1", "1", "- 0 -"), lags, "--offsets");
            Map<String, String> states = states(Tools.ok(tools.groups("--list", "--state")));
            Wait.equal("Stable Empty", states.get("shown-full") + " " + states.get("shown-simple"),
                "--list --state");
            Map<String, String> stable = states(Tools.ok(tools.groups("--list", "--state", "Stable")));
            Wait.that(stable.containsKey("shown-full") && !stable.containsKey("shown-simple"),
                "--list --state Stable: " + stable);
        }
    }

    /** The last column of a list of groups, by group. */
    private static Map<String, String> states(String table) {
        Map<String, String> states = new HashMap<>();
        for (String line : table.lines().skip(1).toList()) {
            String[] cells = line.trim().split("\\s+");
            states.put(cells[0], cells[cells.length - 1]);
        }
        return states;
    }

    private static String[] with(List<String> first, String... more) {
        List<String> all = new ArrayList<>(first);
        all.addAll(List.of(more));
        return all.toArray(String[]::new);
    }

    private void fixed() throws Exception {
        Records.createTopic(broker, "fixed", 4);
        Map<String, String> first = Map.of("group.instance.id", "first");
        Map<String, String> second = Map.of("group.instance.id", "second");
        var one = member("fixed", "fixed", first);
        var two = Records.consumer(broker, config("fixed", second));
        two.subscribe(List.of("fixed"));
        Wait.until("both have two partitions", Records.LIMIT, () -> {
            one.poll(Duration.ofMillis(100));
            two.poll(Duration.ofMillis(100));
            return one.assignment().size() == 2 && two.assignment().size() == 2;
        });
        int generation = two.groupMetadata().generationId();
        Set<TopicPartition> owned = two.assignment();
        String before = two.groupMetadata().memberId();
        // A static member does not leave when it is closed.
        two.close();
        try (var again = member("fixed", "fixed", second)) {
            Wait.equal(owned, again.assignment(), "the partitions after the restart");
            Wait.equal(generation, again.groupMetadata().generationId(), "the generation after it");
            Wait.that(!before.equals(again.groupMetadata().memberId()), "a new id of the member");
            one.poll(Duration.ofMillis(100));
            Wait.equal(generation, one.groupMetadata().generationId(), "the other's generation");
        }
        // The leader, too, keeps what it has assigned before.
        Set<TopicPartition> led = one.assignment();
        one.close();
        try (var again = member("fixed", "fixed", first)) {
            Wait.equal(led, again.assignment(), "the leader's partitions after its restart");
            Wait.equal(generation, again.groupMetadata().generationId(), "the generation after it");
        }
    }

    private static Map<String, String> config(String group, Map<String, String> more) {
        Map<String, String> all = new HashMap<>(Map.of("group.id", group, "client.id", "member",
            "session.timeout.ms", "20000", "heartbeat.interval.ms", "500"));
        all.putAll(more);
        return all;
    }

    private void fenced() throws Exception {
        Records.createTopic(broker, "fenced", 1);
        Map<String, String> name = Map.of("group.instance.id", "only");
        var old = member("fenced", "fenced", name);
        try (var rival = member("fenced", "fenced", name)) {
            Wait.until("the first process is fenced", Records.LIMIT, () -> {
                try {
                    old.poll(Duration.ofMillis(100));
                    old.commitSync();
                    return false;
                } catch (FencedInstanceIdException expected) {
                    return true;
                }
            });
            Wait.equal(1, rival.assignment().size(), "partitions of the second process");
        }
        old.close();
        var removed = new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("only")));
        broker.admin().removeMembersFromConsumerGroup("fenced", removed).all()
            .get(30, TimeUnit.SECONDS);
        var described = broker.admin().describeConsumerGroups(List.of("fenced")).all()
            .get(30, TimeUnit.SECONDS).get("fenced");
        Wait.equal(0, described.members().size(), "members after the last one was removed");
    }

    private void deletedTopic() throws Exception {
        Records.createTopic(broker, "brief-life", 1);
        Records.createTopic(broker, "long-life", 1);
        TopicPartition brief = new TopicPartition("brief-life", 0);
        TopicPartition lasting = new TopicPartition("long-life", 0);
        commit("lives", Map.of(brief, 3L, lasting, 4L));
        broker.admin().deleteTopics(List.of("brief-life")).all().get(30, TimeUnit.SECONDS);
        Wait.until("its offset is gone", Records.LIMIT,
            () -> committed("lives").equals(Map.of(lasting, 4L)));
        Records.createTopic(broker, "brief-life", 1);
        Wait.equal(Map.of(lasting, 4L), committed("lives"), "offsets once the topic is made anew");
    }

    private void nothing() throws Exception {
        Wait.equal(Map.of(), broker.admin().describeClientQuotas(ClientQuotaFilter.all()).entities()
            .get(30, TimeUnit.SECONDS), "quotas");
        Wait.equal(List.of(), List.copyOf(broker.admin().listTransactions().all()
            .get(30, TimeUnit.SECONDS)), "transactions");
        Records.createTopic(broker, "resource", 1);
        var all = broker.admin().listConfigResources().all().get(30, TimeUnit.SECONDS);
        for (ConfigResource wanted : List.of(
                new ConfigResource(ConfigResource.Type.TOPIC, "resource"),
                new ConfigResource(ConfigResource.Type.BROKER, "1"),
                new ConfigResource(ConfigResource.Type.BROKER_LOGGER, "1"))) {
            Wait.that(all.contains(wanted), wanted + " in " + all);
        }
        Set<ConfigResource.Type> metrics = Set.of(ConfigResource.Type.CLIENT_METRICS);
        Wait.equal(0, broker.admin().listConfigResources(metrics,
            new org.apache.kafka.clients.admin.ListConfigResourcesOptions()).all()
            .get(30, TimeUnit.SECONDS).size(), "client metrics");
        try {
            broker.admin().deleteConsumerGroups(List.of("nobody")).all().get(30, TimeUnit.SECONDS);
            Wait.that(false, "a group that never was cannot be deleted");
        } catch (ExecutionException refused) {
            Wait.equal("The group id does not exist.", refused.getCause().getMessage(), "the refusal");
        }
    }
}
