package suite;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import suite.Proc.Result;

/** Kafka's command line tools, each run as a process of its own just as its shell script does. */
final class Tools {
    private final Setup setup;
    private final Broker broker;
    private final Path evidence;

    Tools(Setup setup, Broker broker, Path evidence) {
        this.setup = setup;
        this.broker = broker;
        this.evidence = evidence;
    }

    Result topics(String... args) throws Exception {
        return run("kafka-topics", "TopicCommand", "", args);
    }

    Result groups(String... args) throws Exception {
        return run("kafka-consumer-groups", "consumer.group.ConsumerGroupCommand", "", args);
    }

    Result configs(String... args) throws Exception {
        return run("kafka-configs", "ConfigCommand", "", args);
    }

    Result getOffsets(String... args) throws Exception {
        return run("kafka-get-offsets", "GetOffsetShell", "", args);
    }

    Result deleteRecords(String... args) throws Exception {
        return run("kafka-delete-records", "DeleteRecordsCommand", "", args);
    }

    Result consoleConsumer(String... args) throws Exception {
        return run("kafka-console-consumer", "consumer.ConsoleConsumer", "", args);
    }

    Result consoleProducer(String input, String... args) throws Exception {
        return run("kafka-console-producer", "ConsoleProducer", input, args);
    }

    Result producerPerfTest(String... args) throws Exception {
        return run("kafka-producer-perf-test", "ProducerPerformance", "", args);
    }

    private Result run(String script, String main, String input, String... args) throws Exception {
        List<String> all = new ArrayList<>(List.of("--bootstrap-server", broker.bootstrap()));
        all.addAll(List.of(args));
        return Proc.run(evidence, script,
            Java.command(setup.newClasspath(), "org.apache.kafka.tools." + main, all), input);
    }

    /** Standard output of a run that has to succeed. */
    static String ok(Result result) {
        Wait.equal(0, result.exit(), "exit code, with <" + result.stdout() + result.stderr() + ">");
        return result.stdout();
    }

    /** The rows of a table with a header line, each as column name to cell. */
    static List<Map<String, String>> rows(String table) {
        List<Map<String, String>> rows = new ArrayList<>();
        String[] header = null;
        for (String line : table.lines().toList()) {
            String[] cells = line.trim().split("\\s+");
            if (line.startsWith("GROUP ")) {
                header = cells;
            } else if (header != null && !line.isBlank()) {
                Wait.equal(header.length, cells.length, "cells of the row <" + line + ">");
                Map<String, String> row = new HashMap<>();
                for (int i = 0; i < cells.length; i++) {
                    row.put(header[i], cells[i]);
                }
                rows.add(row);
            }
        }
        return rows;
    }
}
