package suite;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import suite.Proc.Result;

/** Debian's kcat. */
final class Kcat {
    /** A record as kcat printed it; bytes are null for null. */
    record Printed(long offset, String headers, byte[] key, byte[] value) {}

    private final Broker broker;
    private final Path evidence;

    Kcat(Broker broker, Path evidence) {
        this.broker = broker;
        this.evidence = evidence;
    }

    static List<String> command(Broker broker, String... args) {
        List<String> command = new ArrayList<>(List.of("kcat", "-b", broker.bootstrap()));
        command.addAll(List.of(args));
        return command;
    }

    Result run(String input, String... args) throws Exception {
        Result result = Proc.run(evidence, "kcat", command(broker, args), input);
        Tools.ok(result);
        return result;
    }

    /** Reads a whole partition. */
    List<Printed> read(String topic) throws Exception {
        byte[] out = run("", "-C", "-q", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-f",
            "%o %K %S %h\\n%k%s\\n").bytes();
        List<Printed> printed = new ArrayList<>();
        int at = 0;
        while (at < out.length) {
            int end = at;
            while (out[end] != '\n') {
                end++;
            }
            String[] head =
                new String(out, at, end - at, StandardCharsets.UTF_8).split(" ", 4);
            at = end + 1;
            byte[] key = slice(out, at, Integer.parseInt(head[1]));
            at += key == null ? 0 : key.length;
            byte[] value = slice(out, at, Integer.parseInt(head[2]));
            at += value == null ? 0 : value.length;
            Wait.that(out[at] == '\n', "a line feed after the record");
            at++;
            printed.add(new Printed(Long.parseLong(head[0]), head[3], key, value));
        }
        return printed;
    }

    private static byte[] slice(byte[] bytes, int at, int length) {
        return length < 0 ? null : Arrays.copyOfRange(bytes, at, at + length);
    }
}
