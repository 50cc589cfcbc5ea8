package suite;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * 1.1: the acceptance behaviours. What only asks and is answered, what waits for the broker's
 * background work, and what needs whole clients run side by side against one broker; what kills a
 * broker has its own.
 */
final class AcceptLane {
    private AcceptLane() {}

    static void run(Suite suite) throws Exception {
        Setup setup = suite.setup();
        try (Broker shared = broker(setup, "acceptance", "0", "30000");
                Broker killed = broker(setup, "acceptance-killed", "1500", "1500")) {
            List<Thread> threads = new ArrayList<>();
            threads.add(lane(suite, "asks", List.of(new AcceptProtocol(suite, shared),
                new AcceptTopics(suite, shared), new AcceptProduce(suite, shared),
                new AcceptFetch(suite, shared), new AcceptGroups(suite, shared),
                new AcceptOffsets(suite, shared), new AcceptConfigs(suite, shared))));
            threads.add(lane(suite, "waits",
                List.of(new AcceptLog(suite, shared), new AcceptClients(suite, shared))));
            threads.add(lane(suite, "kills", List.of(new AcceptRestart(suite, killed))));
            for (Thread thread : threads) {
                thread.join();
            }
        }
    }

    private static Thread lane(Suite suite, String name, List<Acceptance> themes) {
        Thread thread = new Thread(() -> suite.lane("acceptance-" + name, at -> {
            for (Acceptance theme : themes) {
                theme.run();
            }
        }));
        thread.start();
        return thread;
    }

    /** What runs in the background does so often, and sessions may be short. */
    private static Broker broker(Setup setup, String name, String delay, String genuineSession)
            throws Exception {
        Map<String, String> keys = new TreeMap<>(Map.of(
            "log.retention.check.interval.ms", "300",
            "log.cleaner.backoff.ms", "200",
            "group.min.session.timeout.ms", "1000",
            "group.initial.rebalance.delay.ms", delay));
        if (setup.kind() == Setup.Kind.KAFKA) {
            keys.put("log.initial.task.delay.ms", "500");
            // Where it is not killed, its controller is not to take it for dead on a busy machine.
            keys.put("broker.session.timeout.ms", genuineSession);
        }
        Path dir = setup.work().resolve(name);
        return new Broker(setup, dir, Broker.freePort(), keys);
    }
}
