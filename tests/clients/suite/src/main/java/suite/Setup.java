package suite;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** What one run was asked to do, and where its pieces lie. */
record Setup(Kind kind, Path base, Path work, Path gregor, long seed, List<String> only) {
    /** The broker under test. */
    enum Kind { GREGOR, KAFKA }

    /** Reads the command line that the {@code run} script puts together. */
    static Setup parse(String[] args) {
        Kind kind = Kind.GREGOR;
        Path base = null;
        Path gregor = null;
        long seed = System.nanoTime() % 1_000_000_007L;
        List<String> only = new ArrayList<>();
        for (int i = 0; i < args.length; i++) {
            switch (args[i]) {
                case "--broker" -> kind = Kind.valueOf(args[++i].toUpperCase());
                case "--base" -> base = Path.of(args[++i]).toAbsolutePath();
                case "--gregor" -> gregor = Path.of(args[++i]).toAbsolutePath();
                case "--seed" -> seed = Long.parseLong(args[++i]);
                case "--only" -> {
                    while (i + 1 < args.length && !args[i + 1].startsWith("--")) {
                        only.add(args[++i]);
                    }
                }
                default -> throw new IllegalArgumentException("unknown argument " + args[i]);
            }
        }
        Path work = base.resolve(".work/" + kind.name().toLowerCase());
        return new Setup(kind, base, work, gregor, seed, only);
    }

    /** The lowest number of passed checks that counts as a whole run. */
    int expected() throws Exception {
        return Integer.parseInt(Files.readString(base.resolve("EXPECTED")).trim());
    }

    /** Class path of kafka-clients and kafka-tools 4.4 with the programs of this suite. */
    String newClasspath() {
        return classpath("suite");
    }

    /** Class path of kafka-clients 3.9 with the worker program. */
    String oldClasspath() {
        return classpath("old");
    }

    /** Class path of the genuine Kafka server. */
    String serverClasspath() {
        return classpath("kafka");
    }

    private String classpath(String module) {
        Path build = base.resolve(".work/build/" + module);
        return build.resolve("classes") + ":" + build.resolve("lib") + "/*";
    }

    /** Whether nothing is asked for but checks whose names open with this. */
    boolean isFor(String number) {
        return !only.isEmpty() && only.stream().allMatch(it -> (it + " ").startsWith(number));
    }

    boolean wants(String name) {
        return only.isEmpty() || only.stream().anyMatch(name::contains);
    }
}
