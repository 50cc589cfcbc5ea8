import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.protocol.Errors;

/** The line protocol: requests in, answers and events out. */
final class Lines {
    /** Carries out a request; null is an empty answer. */
    interface Operation {
        Map<String, ?> run(JsonObject request) throws Exception;
    }

    private static final Gson GSON = new GsonBuilder().serializeNulls().create();
    private static final PrintStream OUT =
        new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);

    private Lines() {}

    /** Answers until the input ends. */
    static void serve(Map<String, Operation> operations) throws Exception {
        System.setOut(System.err);
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonObject request = GSON.fromJson(line, JsonObject.class);
            try {
                var answer = operations.get(request.get("op").getAsString()).run(request);
                say(Map.of("ok", answer == null ? Map.of() : answer));
            } catch (Exception error) {
                error.printStackTrace();
                Map<String, Object> told = new LinkedHashMap<>();
                told.put("error", code(error));
                told.put("text", String.valueOf(error));
                say(told);
            }
        }
        System.exit(0);
    }

    /** Tells what a group member has now. */
    static void assigned(Collection<Integer> partitions) {
        say(Map.of("event", "assigned", "partitions", partitions));
    }

    /** Tells what a group member has read and committed. */
    static void records(List<byte[]> values) {
        say(Map.of("event", "records",
            "values", values.stream().map(Lines::text).collect(Collectors.toList())));
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }

    static byte[] data(JsonElement text) {
        return text.isJsonNull() ? null : Base64.getDecoder().decode(text.getAsString());
    }

    private static synchronized void say(Object line) {
        OUT.println(GSON.toJson(line));
        OUT.flush();
    }

    /** The code of the innermost of Kafka's exceptions that has one. */
    private static Integer code(Throwable error) {
        Integer code = null;
        for (Throwable one = error; one != null; one = one.getCause()) {
            if (one instanceof OffsetOutOfRangeException) {
                code = Integer.valueOf(Errors.OFFSET_OUT_OF_RANGE.code());
            } else if (one instanceof ApiException) {
                short known = Errors.forException(one).code();
                code = known > 0 && !(one instanceof TimeoutException)
                    ? Integer.valueOf(known) : code;
            }
        }
        return code;
    }
}
