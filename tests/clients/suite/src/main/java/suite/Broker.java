package suite;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;

/** One broker of the kind under test, on its own port and in its own directory. */
final class Broker implements AutoCloseable {
    private final Setup setup;
    private final Path dir;
    private final int port;
    private final Path config;
    private final Admin admin;
    private Proc process;

    Broker(Setup setup, Path dir, int port, Map<String, String> extra) throws Exception {
        this.setup = setup;
        this.dir = dir;
        this.port = port;
        this.config = dir.resolve("server.properties");
        Files.createDirectories(dir);
        Map<String, String> keys = new TreeMap<>(Map.of(
            "listeners", "PLAINTEXT://127.0.0.1:" + port,
            "advertised.listeners", "PLAINTEXT://127.0.0.1:" + port,
            "log.dirs", dir.resolve("data").toString(),
            "node.id", "1",
            "num.partitions", "1",
            "auto.create.topics.enable", "true",
            "offsets.topic.replication.factor", "1",
            "offsets.topic.num.partitions", "4",
            "group.initial.rebalance.delay.ms", "0"));
        keys.putAll(extra);
        if (setup.kind() == Setup.Kind.KAFKA) {
            addGenuine(keys);
        }
        List<String> lines = new ArrayList<>();
        keys.forEach((key, value) -> lines.add(key + "=" + value));
        Files.write(config, lines);
        Properties client = new Properties();
        client.put("bootstrap.servers", bootstrap());
        client.put("reconnect.backoff.max.ms", "200");
        client.put("default.api.timeout.ms", "30000");
        client.put("request.timeout.ms", "10000");
        this.admin = Admin.create(client);
    }

    /** What genuine Kafka needs beyond that, being its own controller. */
    private static void addGenuine(Map<String, String> keys) throws IOException {
        int controller = freePort();
        keys.merge("listeners", ",CONTROLLER://127.0.0.1:" + controller, String::concat);
        keys.put("process.roles", "broker,controller");
        keys.put("controller.listener.names", "CONTROLLER");
        keys.put("controller.quorum.voters", "1@127.0.0.1:" + controller);
        // Otherwise a killed broker is taken back only after nine seconds.
        keys.putIfAbsent("broker.session.timeout.ms", "1500");
        keys.put("broker.heartbeat.interval.ms", "500");
        keys.put("transaction.state.log.replication.factor", "1");
        keys.put("transaction.state.log.min.isr", "1");
        keys.put("transaction.state.log.num.partitions", "4");
        keys.put("share.coordinator.state.topic.replication.factor", "1");
    }

    private void format() throws Exception {
        List<String> command = Java.command(setup.serverClasspath(), "kafka.tools.StorageTool",
            List.of("format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", config.toString()));
        Wait.equal(0, Proc.run(dir, "format", command, "").exit(), "exit code of the formatting");
    }

    /** Starts it unless it runs already. */
    synchronized void ensureStarted() throws Exception {
        if (process == null) {
            start();
        }
    }

    /** Starts it and waits until it answers. */
    void start() throws Exception {
        if (setup.kind() == Setup.Kind.KAFKA && process == null) {
            format();
        }
        List<String> command = setup.kind() == Setup.Kind.KAFKA
            ? Java.command(setup.serverClasspath(), "kafka.Kafka", List.of(config.toString()))
            : List.of(setup.gregor().toString(), "serve", "--config", config.toString());
        process = Proc.start(dir, "broker", command);
        Proc started = process;
        Wait.until("the broker answers on port " + port, Duration.ofSeconds(60), () -> {
            Wait.that(started.alive(), "the broker has ended; see " + dir);
            return admin.describeCluster().nodes().get(5, TimeUnit.SECONDS).size() == 1;
        });
    }

    /** {@code kill -9}. */
    void kill() throws InterruptedException {
        process.kill();
    }

    boolean alive() {
        return process.alive();
    }

    String bootstrap() {
        return "localhost:" + port;
    }

    Admin admin() {
        return admin;
    }

    /** SIGTERM, which has to end it cleanly and in time. */
    void stop() throws Exception {
        process.terminate();
        int due = setup.kind() == Setup.Kind.KAFKA ? 128 + 15 : 0; // Java shows the signal
        Wait.equal(due, process.finish(Duration.ofSeconds(40)).exit(), "exit code after SIGTERM");
    }

    @Override
    public void close() throws Exception {
        admin.close(Duration.ZERO);
        if (process != null) {
            process.close();
        }
    }

    /**
     * A port nobody listens on, below the range from which the kernel takes the ports of outgoing
     * connections: a broker that was killed has to get the same port again.
     */
    static int freePort() throws IOException {
        while (true) {
            int port = ThreadLocalRandom.current().nextInt(20_000, 32_000);
            if (isFree(port)) {
                return port;
            }
        }
    }

    static boolean isFree(int port) {
        try (ServerSocket socket = new ServerSocket()) {
            socket.setReuseAddress(true);
            socket.bind(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), port));
            return true;
        } catch (IOException taken) {
            return false;
        }
    }
}
