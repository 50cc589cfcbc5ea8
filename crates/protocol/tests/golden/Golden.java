// Reads samples (name, version, style, bytes) from standard input, lets the message classes of
// kafka-clients decode them, and prints for each what they encode to and hold as JSON.
// Fails if Kafka's classes refuse a sample, leave bytes of it, or encode it to other bytes.

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.Readable;

class Golden {
    private static final String PACKAGE = "org.apache.kafka.common.message.";

    /** Arguments: the "Name version" pairs to print; all are checked. */
    public static void main(String[] args) throws Exception {
        Set<String> wanted = new TreeSet<>(Set.of(args));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        int checked = 0;
        int differing = 0;
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ", -1);
            short version = Short.parseShort(words[1]);
            checked++;
            try {
                JsonNode json = check(words[0], version, words[3]);
                if (wanted.contains(words[0] + " " + version)) {
                    System.out.println(words[0] + " " + version + " " + words[3] + " " + json);
                }
            } catch (Throwable e) {
                differing++;
                System.err.println(words[0] + " " + version + " style " + words[2] + ": " + e + " " + e.getCause());
            }
        }
        System.err.println("checked " + checked + ", differing " + differing);
        System.exit(differing == 0 ? 0 : 1);
    }

    private static JsonNode check(String name, short version, String hex) throws Exception {
        // Requests and responses end with Data; the messages within group messages do not.
        String suffix = name.startsWith("ConsumerProtocol") ? "" : "Data";
        Class<?> type = Class.forName(PACKAGE + name + suffix);
        ByteBuffer buffer = ByteBuffer.wrap(HexFormat.of().parseHex(hex));
        Message message = (Message) type.getConstructor(Readable.class, short.class)
            .newInstance(new ByteBufferAccessor(buffer), version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException(buffer.remaining() + " bytes left");
        }
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer out = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(out), cache, version);
        String again = HexFormat.of().formatHex(out.array());
        if (!again.equals(hex)) {
            throw new IllegalStateException("encodes to " + again + " not " + hex);
        }
        return (JsonNode) Class.forName(PACKAGE + name + suffix + "JsonConverter")
            .getMethod("write", type, short.class)
            .invoke(null, message, version);
    }
}
