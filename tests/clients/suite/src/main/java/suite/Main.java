package suite;

import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Runs four lanes of checks side by side, each with brokers of its own. */
public final class Main {
    private static final int MINUTES_MAX = 20;

    private Main() {}

    public static void main(String[] args) throws Exception {
        Setup setup = Setup.parse(args);
        Suite suite = new Suite(setup);
        startWatchdog();
        List<Thread> lanes = List.of(
            new Thread(() -> suite.lane("main", at -> mainLane(suite))),
            new Thread(() -> suite.lane("demos", at -> DemoChecks.run(suite))),
            new Thread(() -> suite.lane("crash", at -> crashLane(suite))),
            new Thread(() -> suite.lane("acceptance", at -> AcceptLane.run(suite))));
        lanes.forEach(Thread::start);
        for (Thread lane : lanes) {
            lane.join();
        }
        int exit = suite.close();
        System.out.flush();
        System.exit(exit);
    }

    /** The checks that make trouble, each for brokers of its own. */
    private static void crashLane(Suite suite) throws Exception {
        CrashChecks.run(suite);
        CutChecks.run(suite);
        ConfigChecks.run(suite);
    }

    /** The checks that share one broker; each uses topics and groups of its own. */
    private static void mainLane(Suite suite) throws Exception {
        Setup setup = suite.setup();
        if (setup.isFor("1.1 ")) {
            return; // these have a broker of their own
        }
        try (Broker broker =
                new Broker(setup, setup.work().resolve("broker"), Broker.freePort(), Map.of())) {
            suite.check("1.3 the broker starts on an empty directory and stops on SIGTERM", at -> {
                broker.start();
                broker.stop();
            });
            broker.start();
            new TopicChecks(suite, broker).run();
            new ToolChecks(suite, broker).run();
            new KcatChecks(suite, broker).run();
            new CodecChecks(suite, broker).run();
            new GroupChecks(suite, broker).run();
            new GroupAdminChecks(suite, broker).run();
            new AdminChecks(suite, broker).run();
            new FetchChecks(suite, broker).run();
            new OperatorChecks(suite, broker).run();
            new LogChecks(suite, broker).run();
        }
    }

    /** Ends a run that hangs, with a failure, children included (see {@link Proc}). */
    private static void startWatchdog() {
        Thread watchdog = new Thread(() -> {
            try {
                TimeUnit.MINUTES.sleep(MINUTES_MAX);
            } catch (InterruptedException stop) {
                return;
            }
            System.out.println("the run took longer than " + MINUTES_MAX + " minutes");
            System.exit(1);
        });
        watchdog.setDaemon(true);
        watchdog.start();
    }
}
