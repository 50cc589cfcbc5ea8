package suite;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.apache.kafka.clients.producer.ProducerRecord;
import suite.Proc.Result;

/** 1.5: the tools of those who run a cluster: partitions, directories, quorum, replicas. */
final class OperatorChecks {
    private final Suite suite;
    private final Broker broker;

    OperatorChecks(Suite suite, Broker broker) {
        this.suite = suite;
        this.broker = broker;
    }

    void run() {
        suite.check("1.5 kafka-topics --alter --partitions adds partitions that are used at once",
            at -> addPartitions(at));
        suite.check("1.5 kafka-topics --alter says why partitions are not added", at -> refused(at));
        suite.check("1.5 kafka-log-dirs tells what each partition takes", at -> logDirs(at));
        suite.check("1.5 kafka-metadata-quorum describe --status and --replication",
            at -> quorum(at));
        suite.check("1.5 kafka-cluster cluster-id", at -> clusterId(at));
        suite.check("1.5 kafka-features describe", at -> features(at));
        suite.check("1.5 kafka-broker-api-versions", at -> apiVersions(at));
        suite.check("1.5 kafka-leader-election", at -> elections(at));
        suite.check("1.5 kafka-reassign-partitions", at -> reassign(at));
        suite.check("1.5 kafka-delete-records refuses an offset behind the end", at -> records(at));
        suite.check("1.5 kafka-get-offsets of several topics and times", at -> offsets(at));
    }

    /** Runs a tool; the address of the broker comes behind its first {@code before} arguments. */
    private Result tool(Path at, String main, int before, String... args) throws Exception {
        List<String> all = new ArrayList<>(List.of(args).subList(0, before));
        all.addAll(List.of("--bootstrap-server", broker.bootstrap()));
        all.addAll(List.of(args).subList(before, args.length));
        String label = main.substring(main.lastIndexOf('.') + 1);
        return Proc.run(at, label, Java.command(suite.setup().newClasspath(),
            "org.apache.kafka.tools." + main, all), "");
    }

    private Result topics(Path at, String... args) throws Exception {
        return tool(at, "TopicCommand", 0, args);
    }

    private static void contains(Result result, String text) {
        String said = result.stdout() + result.stderr();
        Wait.that(said.contains(text), "expected <" + text + "> in <" + said + ">");
    }

    private void addPartitions(Path at) throws Exception {
        Records.createTopic(broker, "grown", 1);
        Records.writeNumbers(broker, "grown", 0, 3);
        Wait.equal("", Tools.ok(topics(at, "--alter", "--topic", "grown", "--partitions", "3")),
            "what --alter printed");
        Records.writeNumbers(broker, "grown", 2, 5);
        Records.writeNumbers(broker, "grown", 1, 1);
        Wait.equal("grown:0:3\ngrown:1:1\ngrown:2:5\n",
            Tools.ok(tool(at, "GetOffsetShell", 0, "--topic", "grown")), "ends of all partitions");
        String described = Tools.ok(topics(at, "--describe", "--topic", "grown"));
        Wait.that(described.contains("\tPartitionCount: 3\t"), "three in <" + described + ">");
        for (int partition = 0; partition < 3; partition++) {
            Wait.that(described.contains("\tPartition: " + partition
                + "\tLeader: 1\tReplicas: 1\tIsr: 1\t"), "a leader in <" + described + ">");
        }
        Tools.ok(topics(at, "--alter", "--topic", "grown", "--partitions", "5",
            "--replica-assignment", "1,1,1,1,1"));
        Wait.equal(9, Records.readAll(broker, "grown").size(), "records in five partitions");
        Wait.equal(5, broker.admin().describeTopics(List.of("grown")).allTopicNames().get()
            .get("grown").partitions().size(), "partitions");
    }

    private void refused(Path at) throws Exception {
        Records.createTopic(broker, "steady", 2);
        for (String[] asked : new String[][] {
            {"2", "Topic already has 2 partition(s)."},
            {"1", "The topic steady currently has 2 partition(s); 1 would not be an increase."},
            {"20000", "Excessively large number of additional partitions per request."},
        }) {
            Result result = topics(at, "--alter", "--topic", "steady", "--partitions", asked[0]);
            Wait.equal(1, result.exit(), "exit code with " + asked[0] + " partitions");
            contains(result, asked[1]);
        }
        Result elsewhere = topics(at, "--alter", "--topic", "steady", "--partitions", "3",
            "--replica-assignment", "1,1,9");
        Wait.equal(1, elsewhere.exit(), "exit code with a broker that is not there");
        contains(elsewhere, "The manual partition assignment includes broker 9, but no such broker "
            + "is registered.");
        Result nowhere = topics(at, "--alter", "--topic", "nowhere", "--partitions", "3");
        Wait.equal(1, nowhere.exit(), "exit code of a topic that is not there");
        contains(nowhere, "Topic 'nowhere' does not exist as expected");
        Wait.equal("", Tools.ok(topics(at, "--alter", "--if-exists", "--topic", "nowhere",
            "--partitions", "3")), "--if-exists");
        Wait.equal("steady:0:0\nsteady:1:0\n",
            Tools.ok(tool(at, "GetOffsetShell", 0, "--topic", "steady")), "nothing has changed");
    }

    private void logDirs(Path at) throws Exception {
        Records.createTopic(broker, "sized", 2);
        Records.writeNumbers(broker, "sized", 1, 100);
        String said = Tools.ok(tool(at, "LogDirsCommand", 0, "--describe", "--topic-list", "sized"));
        List<String> lines = said.lines().toList();
        Wait.equal("Querying brokers for log directories information", lines.get(0), "first line");
        Wait.equal("Received log directory information from brokers 1", lines.get(1), "second line");
        String json = lines.get(2);
        Wait.that(json.startsWith("{\"brokers\":[{\"broker\":1,\"logDirs\":[{"), "<" + json + ">");
        Wait.that(json.contains("\"error\":null"), "no error in <" + json + ">");
        Wait.that(Pattern.compile("\"logDir\":\"/[^\"]*/broker/data\"").matcher(json).find(),
            "an absolute path in <" + json + ">");
        Wait.that(json.contains("{\"partition\":\"sized-0\",\"size\":0,\"offsetLag\":0,"
            + "\"isFuture\":false}"), "an empty partition in <" + json + ">");
        Wait.that(Pattern.compile("\\{\"partition\":\"sized-1\",\"size\":[1-9][0-9]{2,4},"
            + "\"offsetLag\":0,\"isFuture\":false\\}").matcher(json).find(),
            "a partition with 100 records in <" + json + ">");
        Wait.that(!json.contains("steady"), "only what was asked for in <" + json + ">");
    }

    private void quorum(Path at) throws Exception {
        String status = Tools.ok(
            tool(at, "MetadataQuorumCommand", 0, "describe", "--status"));
        String id = broker.admin().describeCluster().clusterId().get();
        Wait.that(Pattern.compile("(?m)^ClusterId: +" + Pattern.quote(id) + "$").matcher(status)
            .find(), "the cluster in <" + status + ">");
        for (String line : List.of("LeaderId: +1", "LeaderEpoch: +[1-9][0-9]*",
                "HighWatermark: +[1-9][0-9]*", "MaxFollowerLag: +0", "MaxFollowerLagTimeMs: +0",
                "CurrentVoters: +\\[\\{\"id\": 1, .*\\}\\]", "CurrentObservers: +\\[\\]")) {
            Wait.that(Pattern.compile("(?m)^" + line + "$").matcher(status).find(),
                "<" + line + "> in <" + status + ">");
        }
        List<String> table = Tools.ok(
            tool(at, "MetadataQuorumCommand", 0, "describe", "--replication")).lines().toList();
        Wait.equal("NodeId DirectoryId LogEndOffset Lag LastFetchTimestamp LastCaughtUpTimestamp "
            + "Status", String.join(" ", table.get(0).trim().split("\\s+")), "the header");
        String[] row = table.get(1).trim().split("\\s+");
        Wait.equal("1 0 Leader", row[0] + " " + row[3] + " " + row[row.length - 1],
            "node, lag and status of the one voter");
        Wait.equal(2, table.size(), "lines of the table");
    }

    private void clusterId(Path at) throws Exception {
        Wait.equal("Cluster ID: " + broker.admin().describeCluster().clusterId().get() + "\n",
            Tools.ok(tool(at, "ClusterTool", 1, "cluster-id")), "what it printed");
    }

    private void features(Path at) throws Exception {
        String said = Tools.ok(tool(at, "FeatureCommand", 0, "describe"));
        boolean genuine = suite.setup().kind() == Setup.Kind.KAFKA;
        // Ours: nothing hangs on a feature, so that none is there.
        Wait.equal(genuine, said.contains("Feature: metadata.version"), "features <" + said + ">");
    }

    private void apiVersions(Path at) throws Exception {
        String said = Tools.ok(tool(at, "BrokerApiVersionsCommand", 0));
        Wait.that(said.contains(" (id: 1 rack: null isFenced: false) -> ("), "<" + said + ">");
        for (String line : List.of("OffsetForLeaderEpoch(23): 2 to 4 [usable: 4]",
                "DescribeLogDirs(35): 1 to 5 [usable: 5]",
                "CreatePartitions(37): 0 to 3 [usable: 3]", "ElectLeaders(43): 0 to 2 [usable: 2]",
                "AlterPartitionReassignments(45): 0 to 1 [usable: 1]",
                "ListPartitionReassignments(46): 0 [usable: 0]",
                "DescribeQuorum(55): 0 to 2 [usable: 2]", "DescribeProducers(61): 0 [usable: 0]")) {
            Wait.that(said.contains("\t" + line), "<" + line + "> in <" + said + ">");
        }
    }

    private void elections(Path at) throws Exception {
        Records.createTopic(broker, "elected", 2);
        String said = Tools.ok(tool(at, "LeaderElectionCommand", 0, "--election-type", "preferred",
            "--topic", "elected", "--partition", "1"));
        Wait.equal("Valid replica already elected for partitions elected-1\n", said, "one of them");
        Tools.ok(tool(at, "LeaderElectionCommand", 0, "--election-type", "preferred",
            "--all-topic-partitions"));
        Result nowhere = tool(at, "LeaderElectionCommand", 0, "--election-type", "unclean",
            "--topic", "nowhere", "--partition", "0");
        Wait.equal(1, nowhere.exit(), "exit code of a topic that is not there");
        contains(nowhere, "No such topic as nowhere");
    }

    private void reassign(Path at) throws Exception {
        Records.createTopic(broker, "relocated", 2);
        Path wish = at.resolve("topics.json");
        Files.writeString(wish, "{\"version\":1,\"topics\":[{\"topic\":\"relocated\"}]}");
        String main = "reassign.ReassignPartitionsCommand";
        List<String> plans = Tools.ok(tool(at, main, 0, "--generate", "--broker-list", "1",
            "--topics-to-move-json-file", wish.toString())).lines().toList();
        Wait.equal("Current partition replica assignment", plans.get(0), "first line");
        Wait.equal("Proposed partition reassignment configuration", plans.get(3), "fourth line");
        // What is proposed leaves the directory open.
        String now = plans.get(1).replaceAll("\"log_dirs\":\\[\"[^\"]*\"\\]", "\"log_dirs\":[\"any\"]");
        Wait.equal(now, plans.get(4), "there is one broker, so that nothing is proposed");
        Path plan = at.resolve("plan.json");
        Files.writeString(plan, plans.get(4));
        String started = Tools.ok(tool(at, main, 0, "--execute", "--reassignment-json-file",
            plan.toString()));
        Wait.that(started.contains("Successfully started partition reassignments for relocated-0,relocated-1"),
            "what --execute printed <" + started + ">");
        Wait.equal("No partition reassignments found.\n", Tools.ok(tool(at, main, 0, "--list")),
            "--list");
        String verified = Tools.ok(tool(at, main, 0, "--verify", "--preserve-throttles",
            "--reassignment-json-file", plan.toString()));
        for (int partition = 0; partition < 2; partition++) {
            Wait.that(verified.contains("Reassignment of partition relocated-" + partition
                + " is completed."), "what --verify printed <" + verified + ">");
        }
        String canceled = Tools.ok(tool(at, main, 0, "--cancel", "--preserve-throttles",
            "--reassignment-json-file", plan.toString()));
        Wait.that(canceled.contains("None of the specified partition reassignments are active."),
            "what --cancel printed <" + canceled + ">");
        Files.writeString(plan, plans.get(4).replace("[1]", "[9]"));
        Result elsewhere = tool(at, main, 0, "--execute", "--reassignment-json-file",
            plan.toString());
        Wait.equal(1, elsewhere.exit(), "exit code with a broker that is not there");
        contains(elsewhere, "Unknown broker id 9");
    }

    private void records(Path at) throws Exception {
        Records.createTopic(broker, "cut-short", 1);
        Records.writeNumbers(broker, "cut-short", 0, 4);
        Path file = at.resolve("offsets.json");
        Files.writeString(file, "{\"version\":1,\"partitions\":[{\"topic\":\"cut-short\","
            + "\"partition\":0,\"offset\":5}]}");
        Result result = tool(at, "DeleteRecordsCommand", 0, "--offset-json-file", file.toString());
        contains(result, "partition: cut-short-0\terror: org.apache.kafka.common.errors."
            + "OffsetOutOfRangeException: The requested offset is not within the "
            + "range of offsets maintained by the server.");
        Wait.equal("cut-short:0:0\n", Tools.ok(tool(at, "GetOffsetShell", 0, "--topic", "cut-short",
            "--time", "earliest")), "the first offset");
    }

    private void offsets(Path at) throws Exception {
        for (String topic : List.of("told-a", "told-b")) {
            Records.createTopic(broker, topic, 2);
            Records.write(broker, Map.of(), List.of(
                new ProducerRecord<>(topic, 1, 1_000L, null, Records.bytes("a")),
                new ProducerRecord<>(topic, 1, 3_000L, null, Records.bytes("b")),
                new ProducerRecord<>(topic, 1, 2_000L, null, Records.bytes("c"))));
        }
        String main = "GetOffsetShell";
        Wait.equal("told-a:0:0\ntold-a:1:3\ntold-b:0:0\ntold-b:1:3\n",
            Tools.ok(tool(at, main, 0, "--topic", "told-.*")), "latest");
        Wait.equal("told-a:1:0\ntold-b:1:0\n", Tools.ok(tool(at, main, 0, "--topic-partitions",
            "told-.*:1", "--time", "earliest")), "earliest");
        Wait.equal("told-a:1:1\n", Tools.ok(tool(at, main, 0, "--topic-partitions", "told-a:1",
            "--time", "max-timestamp")), "the largest timestamp");
        Wait.equal(new TreeSet<>(List.of("told-b:1:1")), new TreeSet<>(Tools.ok(tool(at, main, 0,
            "--topic", "told-b", "--time", "1500")).lines()
            .filter(line -> line.startsWith("told-b:1:")).toList()), "by time");
    }
}
