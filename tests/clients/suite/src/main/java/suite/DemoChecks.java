package suite;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import javax.tools.ToolProvider;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import java.util.concurrent.TimeUnit;

/**
 * 3.2: the user's two programs, as they stand (with the import they need), on both client
 * libraries.
 *
 * <p>They name localhost:9092, so a broker is put there. Where another program has that port, the
 * copy that is compiled names a free one instead.
 */
final class DemoChecks {
    private static final int DEMO_PORT = 9092;
    private static final TopicPartition TEST = new TopicPartition("test", 0);

    private final Suite suite;
    private final String version;
    private final String classpath;

    private DemoChecks(Suite suite, String version, String classpath) {
        this.suite = suite;
        this.version = version;
        this.classpath = classpath;
    }

    static void run(Suite suite) {
        Setup setup = suite.setup();
        new DemoChecks(suite, "kafka-clients-3.9", setup.oldClasspath()).checks();
        new DemoChecks(suite, "kafka-clients-4.4", setup.newClasspath()).checks();
    }

    private void checks() {
        String client = version.replace("s-", "s ");
        suite.check("3.2 " + client + ": ConsumerDemo prints the 100 records of ProducerDemo", at -> {
            try (Demo demo = new Demo(at)) {
                try (Proc consumer = demo.startConsumer()) {
                    demo.awaitCommitted(0); // the position is settled: nothing sent now is missed
                    demo.produce();
                    demo.awaitLines(consumer, 0, 100);
                }
            }
        });
        suite.check("3.2 " + client + ": ConsumerDemo resumes after SIGKILL", at -> {
            try (Demo demo = new Demo(at)) {
                try (Proc consumer = demo.startConsumer()) {
                    demo.awaitCommitted(0);
                    demo.produce();
                    demo.awaitCommitted(100);
                    demo.awaitLines(consumer, 0, 100);
                    consumer.kill();
                }
                demo.produce();
                Wait.equal(100L, Records.committed(demo.broker.admin(), "test", TEST),
                    "the committed offset after the kill");
                // The dead member's session (45 s by default) has to run out first.
                try (Proc consumer = demo.startConsumer()) {
                    demo.awaitCommitted(200);
                    demo.awaitLines(consumer, 100, 200);
                }
            }
        });
    }

    /** A broker with the topic of the demos, and the demos compiled to reach it. */
    private final class Demo implements AutoCloseable {
        private final Path at;
        private final Broker broker;

        Demo(Path at) throws Exception {
            this.at = at;
            int port = Broker.isFree(DEMO_PORT) ? DEMO_PORT : Broker.freePort();
            compile(port);
            broker = new Broker(suite.setup(), at.resolve("broker"), port, Map.of());
            broker.start();
            Tools tools = new Tools(suite.setup(), broker, at);
            Tools.ok(tools.topics("--create", "--topic", "test"));
        }

        private void compile(int port) throws Exception {
            Path sources = suite.setup().base().resolve("demos").resolve(version);
            Path copies = Files.createDirectories(at.resolve("source"));
            List<String> args = new ArrayList<>(List.of("-nowarn", "-cp", jars(), "-d", at.toString()));
            for (String name : List.of("ProducerDemo.java", "ConsumerDemo.java")) {
                String source = Files.readString(sources.resolve(name));
                Path copy = copies.resolve(name);
                Files.writeString(copy, source.replace("localhost:9092", "localhost:" + port));
                args.add(copy.toString());
            }
            var said = new java.io.ByteArrayOutputStream();
            int exit = ToolProvider.getSystemJavaCompiler()
                .run(null, said, said, args.toArray(String[]::new));
            Wait.equal(0, exit, "exit code of javac: " + said);
        }

        /** The compiler, unlike the virtual machine, is given each jar by name. */
        private String jars() throws Exception {
            Path lib = Path.of(classpath.substring(classpath.indexOf(':') + 1).replace("/*", ""));
            try (Stream<Path> files = Files.list(lib)) {
                return String.join(":", files.map(Path::toString).sorted().toList());
            }
        }

        private List<String> command(String main) {
            return Java.command(at + ":" + classpath, main, List.of());
        }

        void produce() throws Exception {
            Wait.equal(0, Proc.run(at, "ProducerDemo", command("ProducerDemo"), "").exit(),
                "exit code of ProducerDemo");
        }

        /** Starts the consumer and waits until the group has it as its one member. */
        Proc startConsumer() throws Exception {
            Proc consumer = Proc.start(at, "ConsumerDemo", command("ConsumerDemo"));
            Wait.until("the group is stable with one member", Duration.ofSeconds(90), () -> {
                var group = broker.admin().describeConsumerGroups(List.of("test")).all()
                    .get(10, TimeUnit.SECONDS).get("test");
                return group.groupState() == GroupState.STABLE && group.members().size() == 1
                    && group.members().iterator().next().assignment().topicPartitions()
                        .contains(TEST);
            });
            return consumer;
        }

        void awaitCommitted(long offset) throws Exception {
            Wait.until("group test has committed " + offset, Duration.ofSeconds(60), () ->
                Long.valueOf(offset).equals(Records.committed(broker.admin(), "test", TEST)));
        }

        /** Every line of that range has been printed, in order, and nothing else. */
        void awaitLines(Proc consumer, int from, int to) throws Exception {
            Wait.until("the consumer prints " + (to - from) + " lines", Duration.ofSeconds(60),
                () -> consumer.lines().size() >= to - from);
            List<String> expected = new ArrayList<>();
            for (int offset = from; offset < to; offset++) {
                int number = offset % 100;
                expected.add(
                    "offset = " + offset + ", key = " + number + ", value = " + number);
            }
            Wait.equal(expected, consumer.lines(), "what the consumer printed");
        }

        @Override
        public void close() throws Exception {
            broker.close();
        }
    }
}
