package suite;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.config.ConfigResource.Type;
import suite.Proc.Result;

/** 1.4: keys, their sources and their changes, for every kind of resource. */
final class ConfigChecks {
    private static final ConfigResource NODE = new ConfigResource(Type.BROKER, "1");
    private static final ConfigResource ALL = new ConfigResource(Type.BROKER, "");
    private static final Duration LIMIT = Duration.ofSeconds(15);

    private final Suite suite;
    private final Broker broker;
    private final Admin admin;

    private ConfigChecks(Suite suite, Broker broker) {
        this.suite = suite;
        this.broker = broker;
        this.admin = broker.admin();
    }

    /** Runs all of them on a broker of their own, since they change it. */
    static void run(Suite suite) throws Exception {
        Setup setup = suite.setup();
        if (!setup.wants("1.4")) {
            return;
        }
        try (Broker broker = new Broker(
                setup, setup.work().resolve("configs"), Broker.freePort(), Map.of())) {
            broker.start();
            ConfigChecks checks = new ConfigChecks(suite, broker);
            suite.check("1.4 every key of Kafka is described, with its type", at -> checks.keys());
            suite.check("1.4 bad values are refused in Kafka's words", at -> checks.refusals());
            suite.check("1.4 lists grow and shrink, and validateOnly only looks", at -> checks.lists());
            suite.check("1.4 kafka-configs for brokers, loggers and groups", at -> checks.tool(at));
            suite.check("1.4 kafka-configs for client metrics", at -> checks.subscriptions(at));
            new StoredChecks(suite, broker).run();
            suite.check("1.4 a topic's own value wins, then the broker's, then all brokers'",
                at -> checks.sources());
            suite.check("1.4 what is set for brokers holds at once and after kill -9",
                at -> checks.inForce());
        }
    }

    private Map<String, ConfigEntry> described(ConfigResource resource) throws Exception {
        var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        Config config = AdminChecks.get(admin.describeConfigs(List.of(resource), options).all())
            .get(resource);
        Map<String, ConfigEntry> entries = new java.util.TreeMap<>();
        config.entries().forEach(entry -> entries.put(entry.name(), entry));
        return entries;
    }

    private void keys() throws Exception {
        Records.createTopic(broker, "keys", 1);
        Map<String, Map<String, ConfigEntry>> found = Map.of(
            "TOPIC", described(new ConfigResource(Type.TOPIC, "keys")),
            "BROKER", described(NODE),
            "GROUP", described(new ConfigResource(Type.GROUP, "anybody")),
            "CLIENT_METRICS", described(new ConfigResource(Type.CLIENT_METRICS, "anything")));
        List<String> wrong = new ArrayList<>();
        for (String line : resource("keys.txt")) {
            String[] key = line.split(" ");
            ConfigEntry entry = found.get(key[0]).get(key[1]);
            String shown = entry == null ? "missing" : key[0] + " " + key[1] + " " + entry.type()
                + " " + (entry.isReadOnly() ? "read-only" : "-");
            if (!shown.equals(line)) {
                wrong.add(line + " is " + shown);
            } else if (entry.documentation() == null || entry.documentation().isEmpty()) {
                wrong.add(line + " has no documentation");
            }
        }
        Wait.equal(List.of(), wrong, "keys that are not as Kafka's");
        var root = described(new ConfigResource(Type.BROKER_LOGGER, "1")).get("root");
        Wait.equal("DYNAMIC_BROKER_LOGGER_CONFIG", root.source().name(), "source of root's level");
        ConfigEntry password = found.get("BROKER").get("ssl.key.password");
        Wait.that(password.isSensitive() && password.value() == null, "a password is not shown");
    }

    private static List<String> resource(String name) throws IOException {
        try (BufferedReader reader = new BufferedReader(new InputStreamReader(
                ConfigChecks.class.getResourceAsStream("/" + name), StandardCharsets.UTF_8))) {
            return reader.lines().filter(line -> !line.startsWith("#")).toList();
        }
    }

    private String said(ConfigResource resource, OpType op, String key, String value)
            throws Exception {
        var change = new AlterConfigOp(new ConfigEntry(key, value), op);
        Map<ConfigResource, Collection<AlterConfigOp>> all = Map.of(resource, List.of(change));
        try {
            AdminChecks.get(admin.incrementalAlterConfigs(all).all());
            return "";
        } catch (ExecutionException thrown) {
            return thrown.getCause().getClass().getSimpleName() + ": "
                + thrown.getCause().getMessage();
        }
    }

    private void set(ConfigResource resource, String key, String value) throws Exception {
        Wait.equal("", said(resource, OpType.SET, key, value), key + "=" + value);
    }

    private void unset(ConfigResource resource, String key) throws Exception {
        Wait.equal("", said(resource, OpType.DELETE, key, ""), "deleting " + key);
    }

    private void refusals() throws Exception {
        Records.createTopic(broker, "refusing", 1);
        ConfigResource topic = new ConfigResource(Type.TOPIC, "refusing");
        ConfigResource group = new ConfigResource(Type.GROUP, "refusing");
        ConfigResource metrics = new ConfigResource(Type.CLIENT_METRICS, "refusing");
        String config = "InvalidConfigurationException: ";
        String request = "InvalidRequestException: ";
        Object[][] table = {
            {topic, "foo", "bar", config + "Unknown topic config name: foo"},
            {topic, "segment.bytes", "abc",
                config + "Invalid value abc for configuration segment.bytes: Not a number of type INT"},
            {topic, "segment.bytes", "1",
                config + "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576"},
            {topic, "compression.type", "zip", config + "Invalid value zip for configuration "
                + "compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
            {topic, "cleanup.policy", "shred", config + "Invalid value shred for configuration "
                + "cleanup.policy: String must be one of: compact, delete"},
            {topic, "min.cleanable.dirty.ratio", "2", config + "Invalid value 2.0 for configuration "
                + "min.cleanable.dirty.ratio: Value must be no more than 1"},
            {topic, "compression.gzip.level", "0", config + "Invalid value 0 for configuration "
                + "compression.gzip.level: Value must be between 1 and 9 or equal to -1"},
            {topic, "remote.storage.enable", "true", config + "Tiered Storage functionality is "
                + "disabled in the broker. Topic cannot be configured with remote log storage."},
            {topic, "message.downconversion.enable", "true",
                config + "Unknown topic config name: message.downconversion.enable"},
            {NODE, "node.id", "2", request + "Cannot update these configs dynamically: [node.id]"},
            {ALL, "log.retention.ms", "abc", request
                + "Invalid value abc for configuration log.retention.ms: Not a number of type LONG"},
            {ALL, "log.roll.ms", "0", request
                + "requirement failed: log.roll.ms must be greater than or equal to 1"},
            {ALL, "max.connections.per.ip.overrides", "127.0.0.1:x",
                request + "For input string: \"x\""},
            {ALL, "sasl.jaas.config", "x", request + "Cannot update these configs at default cluster "
                + "level, broker id must be specified: [sasl.jaas.config]"},
            {group, "consumer.session.timeout.ms", "1", config
                + "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive."},
            {group, "foo", "x", config + "Unknown group config name: foo"},
            {metrics, "interval.ms", "1", request + "Invalid value 1 for interval.ms, interval must be "
                + "between 100 and 3600000 (1 hour)"},
            {metrics, "match", "bogus", config + "Illegal client matching pattern: bogus"},
        };
        for (Object[] row : table) {
            Wait.equal(row[3], said((ConfigResource) row[0], OpType.SET, (String) row[1],
                (String) row[2]), row[1] + "=" + row[2]);
        }
        Wait.equal(config + "Can't APPEND to key retention.ms because its type is not LIST.",
            said(topic, OpType.APPEND, "retention.ms", "5"), "appending to a number");
        Wait.equal(config + "Config value append is not allowed for config key: log.retention.ms",
            said(NODE, OpType.APPEND, "log.retention.ms", "5"), "the same of a broker");
        set(topic, "max.compaction.lag.ms", "5");
        Wait.equal(config + "conflict topic config setting min.compaction.lag.ms (10) > "
            + "max.compaction.lag.ms (5)", said(topic, OpType.SET, "min.compaction.lag.ms", "10"),
            "two values that contradict each other");
    }

    private void lists() throws Exception {
        Records.createTopic(broker, "listed", 1);
        ConfigResource topic = new ConfigResource(Type.TOPIC, "listed");
        String key = "cleanup.policy";
        Wait.equal("", said(topic, OpType.APPEND, key, "compact"), "append");
        becomes(topic, key, "delete,compact");
        Wait.equal("", said(topic, OpType.SUBTRACT, key, "delete"), "subtract");
        becomes(topic, key, "compact");
        var change = new AlterConfigOp(new ConfigEntry(key, "delete"), OpType.SET);
        Map<ConfigResource, Collection<AlterConfigOp>> all = Map.of(topic, List.of(change));
        AdminChecks.get(admin.incrementalAlterConfigs(
            all, new AlterConfigsOptions().validateOnly(true)).all());
        becomes(topic, key, "compact");
        unset(topic, key);
        becomes(topic, key, "delete");
    }

    private void becomes(ConfigResource resource, String key, String value) throws Exception {
        Wait.until(key + " is " + value, LIMIT,
            () -> value.equals(described(resource).get(key).value()));
    }

    private void tool(java.nio.file.Path at) throws Exception {
        Tools tools = new Tools(suite.setup(), broker, at);
        Wait.equal("Completed updating default config for brokers in the cluster.\n",
            Tools.ok(tools.configs("--entity-type", "brokers", "--entity-default", "--alter",
                "--add-config", "log.cleaner.backoff.ms=14000")), "--alter of all brokers");
        shows(tools, "  log.cleaner.backoff.ms=14000 sensitive=false synonyms="
            + "{DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleaner.backoff.ms=14000}",
            "--entity-type", "brokers", "--entity-default");
        Wait.equal("Completed updating config for broker 1.\n",
            Tools.ok(tools.configs("--entity-type", "brokers", "--entity-name", "1", "--alter",
                "--add-config", "log.cleaner.backoff.ms=13000")), "--alter of a broker");
        shows(tools, "  log.cleaner.backoff.ms=13000 sensitive=false synonyms="
            + "{DYNAMIC_BROKER_CONFIG:log.cleaner.backoff.ms=13000, "
            + "DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleaner.backoff.ms=14000, "
            + "DEFAULT_CONFIG:log.cleaner.backoff.ms=15000}",
            "--entity-type", "brokers", "--entity-name", "1");
        for (String[] entity : new String[][] {{"--entity-default"}, {"--entity-name", "1"}}) {
            List<String> arguments = new ArrayList<>(List.of("--entity-type", "brokers"));
            arguments.addAll(List.of(entity));
            arguments.addAll(List.of("--alter", "--delete-config", "log.cleaner.backoff.ms"));
            Tools.ok(tools.configs(arguments.toArray(String[]::new)));
        }
        Result refused = tools.configs("--entity-type", "brokers", "--entity-name", "1", "--alter",
            "--add-config", "node.id=3");
        Wait.that(refused.exit() != 0 && (refused.stdout() + refused.stderr())
            .contains("Cannot update these configs dynamically: [node.id]"), "a read-only key");
        shows(tools, "  root=", "--entity-type", "broker-loggers", "--entity-name", "1");
        Wait.equal("Completed updating config for group readers.\n",
            Tools.ok(tools.configs("--entity-type", "groups", "--entity-name", "readers", "--alter",
                "--add-config", "consumer.session.timeout.ms=50000")), "--alter of a group");
        shows(tools, "  consumer.session.timeout.ms=50000 sensitive=false synonyms="
            + "{DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=50000, ",
            "--entity-type", "groups", "--entity-name", "readers");
    }

    private void subscriptions(java.nio.file.Path at) throws Exception {
        Tools tools = new Tools(suite.setup(), broker, at);
        Wait.equal("Completed updating config for client-metric watched.\n",
            Tools.ok(tools.configs("--entity-type", "client-metrics", "--entity-name", "watched",
                "--alter", "--add-config", "interval.ms=1000,match=[client_id=a]")),
            "--alter of a subscription");
        shows(tools, "  interval.ms=1000 sensitive=false synonyms="
            + "{DYNAMIC_CLIENT_METRICS_CONFIG:interval.ms=1000",
            "--entity-type", "client-metrics", "--entity-name", "watched");
        Tools.ok(tools.configs("--entity-type", "client-metrics", "--entity-name", "watched",
            "--alter", "--delete-config", "interval.ms,match"));
    }

    private static void shows(Tools tools, String expected, String... entity) throws Exception {
        List<String> arguments = new ArrayList<>(List.of(entity));
        arguments.add("--describe");
        String[] args = arguments.toArray(String[]::new);
        String shown = Tools.ok(tools.configs(args));
        for (long end = System.nanoTime() + LIMIT.toNanos();
                !shown.contains(expected) && System.nanoTime() < end;) {
            shown = Tools.ok(tools.configs(args)); // genuine Kafka answers before it is in force
        }
        Wait.that(shown.contains(expected), "expected <" + expected + "> in <" + shown + ">");
    }

    private void sources() throws Exception {
        Records.createTopic(broker, "sourced", 1);
        ConfigResource topic = new ConfigResource(Type.TOPIC, "sourced");
        set(ALL, "log.retention.ms", "80000000000");
        set(NODE, "log.retention.ms", "70000000000");
        becomes(topic, "retention.ms", "70000000000");
        set(topic, "retention.ms", "999");
        becomes(topic, "retention.ms", "999");
        Wait.equal("DYNAMIC_TOPIC_CONFIG retention.ms=999, "
            + "DYNAMIC_BROKER_CONFIG log.retention.ms=70000000000, "
            + "DYNAMIC_DEFAULT_BROKER_CONFIG log.retention.ms=80000000000, "
            + "DEFAULT_CONFIG log.retention.hours=168",
            shown(described(topic).get("retention.ms")), "the synonyms");
        unset(NODE, "log.retention.ms");
        unset(topic, "retention.ms");
        becomes(topic, "retention.ms", "80000000000");
        unset(ALL, "log.retention.ms");
        becomes(topic, "retention.ms", "604800000");
        Wait.equal("", shown(described(topic).get("retention.ms")), "synonyms of nothing set");
    }

    private static String shown(ConfigEntry entry) {
        return String.join(", ", entry.synonyms().stream().map(synonym ->
            synonym.source() + " " + synonym.name() + "=" + synonym.value()).toList());
    }

    private void inForce() throws Exception {
        Records.createTopic(broker, "forced", 1);
        ConfigResource topic = new ConfigResource(Type.TOPIC, "forced");
        set(ALL, "message.max.bytes", "3000");
        becomes(topic, "max.message.bytes", "3000");
        refused("forced", 5000);
        broker.kill();
        broker.start();
        becomes(topic, "max.message.bytes", "3000");
        refused("forced", 5000);
        set(topic, "max.message.bytes", "9000");
        becomes(topic, "max.message.bytes", "9000");
        Records.write(broker, Map.of(), List.of(new org.apache.kafka.clients.producer
            .ProducerRecord<>("forced", 0, null, new byte[5000])));
        unset(ALL, "message.max.bytes");
        becomes(NODE, "message.max.bytes", "1048588");
    }

    private void refused(String topic, int bytes) throws Exception {
        try (var producer = Records.producer(broker, Map.of())) {
            AdminChecks.get(producer.send(new org.apache.kafka.clients.producer
                .ProducerRecord<>(topic, 0, null, new byte[bytes])));
        } catch (ExecutionException thrown) {
            Wait.equal("RecordTooLargeException", thrown.getCause().getClass().getSimpleName(),
                "the error");
            return;
        }
        throw new AssertionError(bytes + " bytes were let in");
    }
}
