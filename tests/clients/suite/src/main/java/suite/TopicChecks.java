package suite;

import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import suite.Proc.Result;

/** 3.1: the topic tool. */
final class TopicChecks {
    private static final Pattern ID = Pattern.compile("TopicId: ([A-Za-z0-9_-]{22})\t");

    private final Suite suite;
    private final Broker broker;

    TopicChecks(Suite suite, Broker broker) {
        this.suite = suite;
        this.broker = broker;
    }

    void run() {
        suite.check("3.1 kafka-topics creates, lists, describes and deletes a topic", at -> {
            Tools tools = new Tools(suite.setup(), broker, at);
            Wait.equal("Created topic test.\n",
                Tools.ok(tools.topics("--create", "--topic", "test")), "--create");
            Wait.equal(List.of("test"), listed(tools), "--list");
            String described = Tools.ok(tools.topics("--describe", "--topic", "test"));
            Wait.equal(describeHead("test", id(described), 1, configs(""))
                + describeLine("test", 0), described, "--describe");
            Wait.equal("", Tools.ok(tools.topics("--delete", "--topic", "test")), "--delete");
            Wait.equal(List.of(), listed(tools), "--list after --delete");
        });
        suite.check("3.1 kafka-topics shows partitions and a config of its own", at -> {
            Tools tools = new Tools(suite.setup(), broker, at);
            Tools.ok(tools.topics("--create", "--topic", "described", "--partitions", "4",
                "--replication-factor", "1", "--config", "retention.ms=86400000"));
            String described = Tools.ok(tools.topics("--describe", "--topic", "described"));
            Wait.equal(
                describeHead("described", id(described), 4, configs("retention.ms=86400000"))
                    + describeLine("described", 0) + describeLine("described", 1)
                    + describeLine("described", 2) + describeLine("described", 3),
                described, "--describe");
        });
        suite.check("3.1 kafka-topics says what is wrong and exits with 1", at -> {
            Tools tools = new Tools(suite.setup(), broker, at);
            Tools.ok(tools.topics("--create", "--topic", "twice"));
            refused(tools.topics("--create", "--topic", "twice"), "Topic 'twice' already exists.");
            Wait.equal("",
                Tools.ok(tools.topics("--create", "--if-not-exists", "--topic", "twice")),
                "--create --if-not-exists");
            refused(tools.topics("--describe", "--topic", "nowhere"),
                "Topic 'nowhere' does not exist as expected");
            refused(tools.topics("--delete", "--topic", "nowhere"),
                "Topic 'nowhere' does not exist as expected");
        });
    }

    private static void refused(Result result, String message) {
        Wait.equal(1, result.exit(), "exit code where <" + message + "> is due");
        String said = result.stdout() + result.stderr();
        Wait.that(said.contains(message), "expected <" + message + "> in <" + said + ">");
    }

    private static List<String> listed(Tools tools) throws Exception {
        return Tools.ok(tools.topics("--list")).lines()
            .filter(topic -> !topic.isBlank() && !topic.startsWith("__")).toList();
    }

    private static String id(String described) {
        Matcher matcher = ID.matcher(described);
        Wait.that(matcher.find(), "no topic id in <" + described + ">");
        return matcher.group(1);
    }

    /**
     * The configs that differ from the default. A cluster formatted by Kafka 4.4 has
     * min.insync.replicas as a cluster-wide dynamic config, so Kafka lists it with every topic.
     */
    private String configs(String own) {
        boolean genuine = suite.setup().kind() == Setup.Kind.KAFKA;
        String cluster = genuine ? "min.insync.replicas=1" : "";
        return cluster + (own.isEmpty() || cluster.isEmpty() ? "" : ",") + own;
    }

    private static String describeHead(String topic, String id, int partitions, String configs) {
        return "Topic: " + topic + "\tTopicId: " + id + "\tPartitionCount: " + partitions
            + "\tReplicationFactor: 1\tConfigs: " + configs + "\n";
    }

    private static String describeLine(String topic, int partition) {
        return "\tTopic: " + topic + "\tPartition: " + partition
            + "\tLeader: 1\tReplicas: 1\tIsr: 1\tElr: \tLastKnownElr: \n";
    }
}
