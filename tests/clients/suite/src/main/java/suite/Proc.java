package suite;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/** A program started by a check. Its output goes to files, which stay behind as evidence. */
final class Proc implements AutoCloseable {
    private static final Set<Process> RUNNING = ConcurrentHashMap.newKeySet();

    static {
        Runtime.getRuntime().addShutdownHook(
            new Thread(() -> RUNNING.forEach(Process::destroyForcibly)));
    }

    /** How a program ended. */
    record Result(int exit, byte[] bytes, String stderr) {
        String stdout() {
            return new String(bytes, StandardCharsets.UTF_8);
        }
    }

    private final Process process;
    private final String label;
    private final Path out;
    private final Path err;

    private Proc(Process process, String label, Path out, Path err) {
        this.process = process;
        this.label = label;
        this.out = out;
        this.err = err;
    }

    /** Starts a program whose standard input stays open for {@link #say} and {@link #endInput}. */
    static Proc start(Path dir, String label, List<String> command) throws IOException {
        Files.createDirectories(dir);
        int number = 1;
        while (Files.exists(dir.resolve(label + "." + number + ".out"))) {
            number++;
        }
        Path out = dir.resolve(label + "." + number + ".out");
        Path err = dir.resolve(label + "." + number + ".err");
        Files.writeString(dir.resolve(label + "." + number + ".cmd"), String.join(" ", command));
        Process process = new ProcessBuilder(command)
            .directory(dir.toFile())
            .redirectOutput(out.toFile())
            .redirectError(err.toFile())
            .start();
        RUNNING.add(process);
        process.onExit().thenAccept(RUNNING::remove);
        return new Proc(process, label, out, err);
    }

    /** Runs a program to its end, with the given standard input. */
    static Result run(Path dir, String label, List<String> command, String input)
            throws Exception {
        try (Proc proc = start(dir, label, command)) {
            proc.say(input);
            proc.endInput();
            return proc.finish(Duration.ofSeconds(90));
        }
    }

    void say(String text) throws IOException {
        OutputStream stdin = process.getOutputStream();
        stdin.write(text.getBytes(StandardCharsets.UTF_8));
        stdin.flush();
    }

    void endInput() throws IOException {
        process.getOutputStream().close();
    }

    /** Waits for the end of the program. */
    Result finish(Duration limit) throws Exception {
        if (!process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS)) {
            process.destroyForcibly();
            throw new AssertionError(label + " did not end within " + limit.toSeconds() + " s");
        }
        return new Result(process.exitValue(), Files.readAllBytes(out), Files.readString(err));
    }

    /** The whole lines on standard output so far. */
    List<String> lines() throws IOException {
        String text = new String(Files.readAllBytes(out), StandardCharsets.UTF_8);
        List<String> lines = new ArrayList<>(List.of(text.split("\n", -1)));
        lines.remove(lines.size() - 1); // what follows the last line feed is not a line yet
        return lines;
    }

    /** The lines that open with a word, without that word. */
    List<String> lines(String word) throws IOException {
        return lines().stream()
            .filter(line -> line.startsWith(word + " "))
            .map(line -> line.substring(word.length() + 1))
            .toList();
    }

    long outBytes() throws IOException {
        return Files.size(out);
    }

    boolean alive() {
        return process.isAlive();
    }

    /** SIGTERM. */
    void terminate() {
        process.destroy();
    }

    /** SIGKILL, and waits until the process is gone. */
    void kill() throws InterruptedException {
        process.destroyForcibly();
        process.waitFor();
    }

    @Override
    public void close() throws InterruptedException {
        if (process.isAlive()) {
            kill();
        }
    }
}
