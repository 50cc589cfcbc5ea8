package suite;

import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;

/** Waiting on something that can be seen from outside, with a deadline; and plain comparisons. */
final class Wait {
    private Wait() {}

    /** What a probe may do. */
    interface Probe {
        boolean holds() throws Exception;
    }

    /**
     * Looks again and again until the condition holds.
     *
     * <p>An exception of the probe counts as "not yet", since a broker that is being restarted
     * answers with all kinds of them; the last one is told if the deadline passes.
     */
    static void until(String what, Duration limit, Probe probe) throws Exception {
        value(what, limit, () -> probe.holds() ? Boolean.TRUE : null);
    }

    /** Like {@link #until}, for a probe that answers null until it has a value. */
    static <T> T value(String what, Duration limit, Callable<T> probe) throws Exception {
        long end = System.nanoTime() + limit.toNanos();
        Exception last = null;
        while (true) {
            try {
                T found = probe.call();
                if (found != null) {
                    return found;
                }
                last = null;
            } catch (InterruptedException stop) {
                throw stop;
            } catch (Exception notYet) {
                last = notYet;
            }
            if (System.nanoTime() > end) {
                throw new AssertionError(
                    "waited " + limit.toSeconds() + " s in vain: " + what, last);
            }
            TimeUnit.MILLISECONDS.sleep(40); // the pause between two looks
        }
    }

    static void equal(Object expected, Object got, String what) {
        if (!Objects.equals(expected, got)) {
            throw new AssertionError(
                what + ": expected <" + cut(expected) + ">, got <" + cut(got) + ">");
        }
    }

    static void that(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    private static String cut(Object value) {
        String text = String.valueOf(value);
        return text.length() <= 1500 ? text : text.substring(0, 1500) + "...";
    }
}
