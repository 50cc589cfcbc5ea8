package suite;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/** Runs checks, prints a line for each, and counts. Lanes call it from their own threads. */
final class Suite {
    /** What a check does; it fails by throwing. */
    interface Body {
        void run(Path evidence) throws Exception;
    }

    private final Setup setup;
    private int passed;
    private int failed;

    Suite(Setup setup) {
        this.setup = setup;
    }

    Setup setup() {
        return setup;
    }

    /** Runs one check, unless the command line asked for others only. */
    void check(String name, Body body) {
        if (!setup.wants(name)) {
            return;
        }
        Path evidence = setup.work().resolve(
            name.toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9.]+", "-"));
        long start = System.nanoTime();
        Throwable failure = null;
        try {
            Files.createDirectories(evidence);
            body.run(evidence);
        } catch (Throwable thrown) {
            failure = thrown;
        }
        report(name, evidence, (System.nanoTime() - start) / 1e9, failure);
    }

    /** Runs a lane; what it throws outside of a check is a failure with the lane's name. */
    void lane(String name, Body body) {
        Path evidence = setup.work().resolve("lane-" + name);
        long start = System.nanoTime();
        try {
            Files.createDirectories(evidence);
            body.run(evidence);
        } catch (Throwable thrown) {
            report("lane " + name, evidence, (System.nanoTime() - start) / 1e9, thrown);
        }
    }

    private synchronized void report(String name, Path evidence, double seconds, Throwable why) {
        String took = String.format(Locale.ROOT, "(%.1f s)", seconds);
        if (why == null) {
            passed++;
            System.out.println("ok   " + name + " " + took);
            return;
        }
        failed++;
        System.out.println("FAIL " + name + " " + took + ": " + firstLine(why));
        System.out.println("     evidence: " + evidence);
        StringWriter trace = new StringWriter();
        why.printStackTrace(new PrintWriter(trace));
        try {
            Files.writeString(evidence.resolve("failure.txt"), trace.toString());
        } catch (Exception unwritable) {
            System.out.println(trace);
        }
    }

    private static String firstLine(Throwable why) {
        String text = String.valueOf(why.getMessage()).lines().findFirst().orElse("");
        String cause = why.getCause() == null ? "" : " (" + why.getCause() + ")";
        String kind = why instanceof AssertionError ? "" : why.getClass().getSimpleName() + ": ";
        return kind + text + cause;
    }

    /** Prints the closing line and answers the exit code. */
    synchronized int close() throws Exception {
        boolean whole = setup.only().isEmpty();
        if (whole && passed < setup.expected()) {
            System.out.println("fewer checks passed than tests/clients/EXPECTED asks for: "
                + passed + " of " + setup.expected());
        }
        System.out.println("clients: " + passed + " passed, " + failed + " failed, 0 skipped");
        boolean enough = whole ? passed >= setup.expected() : passed > 0;
        return failed == 0 && enough ? 0 : 1;
    }
}
