package suite;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.producer.ProducerRecord;
import suite.Proc.Result;

/** 3.4: the console clients, the group tool, the offset tool and the load generator. */
final class ToolChecks {
    private final Suite suite;
    private final Broker broker;

    ToolChecks(Suite suite, Broker broker) {
        this.suite = suite;
        this.broker = broker;
    }

    private Tools tools(java.nio.file.Path evidence) {
        return new Tools(suite.setup(), broker, evidence);
    }

    void run() {
        suite.check("3.4 kafka-console-producer and kafka-console-consumer", at -> console(at));
        suite.check("3.4 kafka-console-consumer ends at its time-out", at -> {
            Records.createTopic(broker, "console-short", 1);
            Records.writeNumbers(broker, "console-short", 0, 3);
            Result result = tools(at).consoleConsumer("--topic", "console-short",
                "--from-beginning", "--timeout-ms", "4000");
            Wait.equal("0\n1\n2\n", result.stdout(), "what it printed");
            Wait.that(result.stderr().contains("Processed a total of 3 messages"),
                "its count in <" + result.stderr() + ">");
        });
        suite.check("3.4 kafka-consumer-groups lists, describes and resets a group", at -> group(at));
        suite.check("3.4 kafka-get-offsets: latest, earliest, by time", at -> offsets(at));
        suite.check("3.4 kafka-configs alters a topic in use and takes it back", at -> configs(at));
        suite.check("3.4 kafka-delete-records", at -> deleteRecords(at));
        suite.check("3.4 kafka-producer-perf-test", at -> {
            Records.createTopic(broker, "perf", 2);
            String said = Tools.ok(tools(at).producerPerfTest("--topic", "perf", "--num-records",
                "20000", "--record-size", "100", "--throughput", "-1"));
            Wait.that(said.startsWith("20000 records sent, "), "its summary: <" + said + ">");
            var all = Records.readAll(broker, "perf");
            Wait.equal(20_000, all.size(), "records in the log");
            Wait.that(all.stream().allMatch(record -> record.value().length == 100),
                "every value has 100 bytes");
        });
    }

    private void console(java.nio.file.Path at) throws Exception {
        Records.createTopic(broker, "console", 1);
        String input = IntStream.range(0, 200)
            .mapToObj(i -> "key " + i + "\tGrüße, 世界 " + i + "\n").collect(Collectors.joining());
        Tools.ok(tools(at).consoleProducer(input, "--topic", "console",
            "--reader-property", "parse.key=true"));
        Result result = tools(at).consoleConsumer("--topic", "console", "--from-beginning",
            "--max-messages", "200", "--formatter-property", "print.key=true",
            "--formatter-property", "print.offset=true");
        String expected = IntStream.range(0, 200)
            .mapToObj(i -> "Offset:" + i + "\tkey " + i + "\tGrüße, 世界 " + i + "\n")
            .collect(Collectors.joining());
        Wait.equal(expected, Tools.ok(result), "what the consumer printed");
        Wait.that(result.stderr().contains("Processed a total of 200 messages"),
            "its count in <" + result.stderr() + ">");
    }

    private void configs(java.nio.file.Path at) throws Exception {
        Tools tools = tools(at);
        Records.createTopic(broker, "altered", 1);
        List<String> topic = List.of("--entity-type", "topics", "--entity-name", "altered");
        Wait.equal("Completed updating config for topic altered.\n", Tools.ok(tools.configs(
            with(topic, "--alter", "--add-config", "flush.messages=1,cleanup.policy=[compact,delete]"))),
            "what --add-config printed");
        String shown = Tools.ok(tools.configs(with(topic, "--describe")));
        Wait.that(shown.contains("  flush.messages=1 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:"),
            "flush.messages in <" + shown + ">");
        Wait.that(shown.contains("  cleanup.policy=compact,delete "), "the list in <" + shown + ">");
        Tools.ok(tools.configs(with(topic, "--alter", "--delete-config", "flush.messages,cleanup.policy")));
        Wait.equal("Dynamic configs for topic altered are:\n",
            Tools.ok(tools.configs(with(topic, "--describe"))), "what is left");
        Result wrong = tools.configs(with(topic, "--alter", "--add-config", "segment.bytes=1"));
        Wait.that(wrong.exit() != 0 && (wrong.stdout() + wrong.stderr()).contains("segment.bytes"),
            "a refusal that names the key in <" + wrong.stdout() + wrong.stderr() + ">");
    }

    private static String[] with(List<String> first, String... more) {
        List<String> all = new ArrayList<>(first);
        all.addAll(List.of(more));
        return all.toArray(String[]::new);
    }

    private void group(java.nio.file.Path at) throws Exception {
        Tools tools = tools(at);
        Records.createTopic(broker, "counted", 2);
        Records.writeNumbers(broker, "counted", 0, 30);
        Records.writeNumbers(broker, "counted", 1, 12);
        Tools.ok(tools.consoleConsumer("--topic", "counted", "--from-beginning",
            "--max-messages", "42", "--group", "counters"));
        Records.writeNumbers(broker, "counted", 1, 5);

        Wait.that(Tools.ok(tools.groups("--list")).lines().toList().contains("counters"),
            "--list names the group");
        expectRows(Tools.ok(tools.groups("--describe", "--group", "counters")),
            Map.of("0", List.of("30", "30", "0"), "1", List.of("12", "17", "5")));
        String state = Tools.ok(tools.groups("--describe", "--group", "counters", "--state"));
        Wait.equal("Empty", Tools.rows(state).get(0).get("STATE"), "--describe --state");
        Tools.ok(tools.groups("--group", "counters", "--topic", "counted", "--reset-offsets",
            "--to-offset", "7", "--execute"));
        expectRows(Tools.ok(tools.groups("--describe", "--group", "counters")),
            Map.of("0", List.of("7", "30", "23"), "1", List.of("7", "17", "10")));
    }

    private static void expectRows(String table, Map<String, List<String>> expected) {
        var rows = Tools.rows(table);
        Wait.equal(expected.size(), rows.size(), "rows of <" + table + ">");
        for (Map<String, String> row : rows) {
            Wait.equal("counters counted - - -", String.join(" ", row.get("GROUP"),
                row.get("TOPIC"), row.get("CONSUMER-ID"), row.get("HOST"), row.get("CLIENT-ID")),
                "the row of partition " + row.get("PARTITION"));
            Wait.equal(expected.get(row.get("PARTITION")),
                List.of(row.get("CURRENT-OFFSET"), row.get("LOG-END-OFFSET"), row.get("LAG")),
                "CURRENT-OFFSET, LOG-END-OFFSET and LAG of partition " + row.get("PARTITION"));
        }
    }

    private void deleteRecords(java.nio.file.Path at) throws Exception {
        Records.createTopic(broker, "shortened", 2);
        Records.writeNumbers(broker, "shortened", 0, 10);
        Records.writeNumbers(broker, "shortened", 1, 5);
        java.nio.file.Path file = at.resolve("offsets.json");
        java.nio.file.Files.writeString(file, """
            {"version": 1, "partitions": [
              {"topic": "shortened", "partition": 0, "offset": 3},
              {"topic": "shortened", "partition": 1, "offset": -1}]}
            """);
        Tools tools = tools(at);
        String said = Tools.ok(tools.deleteRecords("--offset-json-file", file.toString()));
        Wait.that(said.contains("partition: shortened-0\tlow_watermark: 3"),
            "the first partition in <" + said + ">");
        Wait.that(said.contains("partition: shortened-1\tlow_watermark: 5"),
            "the second partition in <" + said + ">");
        Wait.equal("shortened:0:3\nshortened:1:5\n",
            Tools.ok(tools.getOffsets("--topic", "shortened", "--time", "earliest")), "earliest");
        Wait.equal(7, Records.readAll(broker, "shortened").size(), "records that are left");
    }

    private void offsets(java.nio.file.Path at) throws Exception {
        Records.createTopic(broker, "timed", 2);
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < 50; i++) {
            records.add(new ProducerRecord<>("timed", 0, 1_000_000L + 10 * i, null,
                Records.bytes("v" + i)));
        }
        Records.write(broker, Map.of(), records);
        Tools tools = tools(at);
        Wait.equal("timed:0:50\ntimed:1:0\n",
            Tools.ok(tools.getOffsets("--topic", "timed")), "latest");
        Wait.equal("timed:0:0\ntimed:1:0\n",
            Tools.ok(tools.getOffsets("--topic", "timed", "--time", "earliest")), "earliest");
        Wait.equal("timed:0:21\n",
            Tools.ok(tools.getOffsets("--topic-partitions", "timed:0", "--time", "1000201")),
            "the first record at 1000201 ms or later");
        Wait.equal("timed:0:49\n",
            Tools.ok(tools.getOffsets("--topic-partitions", "timed:0", "--time", "-3")),
            "the record with the largest timestamp");
    }
}
