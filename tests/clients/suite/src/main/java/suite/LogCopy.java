package suite;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** All of a topic that {@code Worker produce} and kcat wrote, to hold against their histories. */
final class LogCopy {
    private final Map<String, String> keyAt = new HashMap<>();
    private final Map<String, List<String>> placesOf = new HashMap<>();
    private final Map<Integer, Long> ends = new HashMap<>();

    private LogCopy() {}

    /** Reads the topic from its beginning, and holds its offsets dense and its values right. */
    static LogCopy read(Broker broker, String topic) {
        LogCopy log = new LogCopy();
        for (ConsumerRecord<byte[], byte[]> record : Records.readAll(broker, topic)) {
            String place = record.partition() + " " + record.offset();
            String key = Records.text(record.key());
            Wait.equal("value of " + key, Records.text(record.value()), "the value at " + place);
            Wait.equal(log.ends.getOrDefault(record.partition(), 0L), record.offset(),
                "the next offset of partition " + record.partition());
            log.ends.put(record.partition(), record.offset() + 1);
            log.keyAt.put(place, key);
            log.placesOf.computeIfAbsent(key, any -> new ArrayList<>()).add(place);
        }
        return log;
    }

    Map<Integer, Long> ends() {
        return ends;
    }

    int size() {
        return keyAt.size();
    }

    /** Each place as "partition offset". */
    Set<String> places() {
        return keyAt.keySet();
    }

    String keyAt(String partition, String offset) {
        return keyAt.get(partition + " " + offset);
    }

    void expectPresent(String key) {
        Wait.that(placesOf.containsKey(key), key + " was acknowledged and is gone");
    }

    /** Every record that a producer was told of (lines "number partition offset") is there. */
    void expectAcknowledged(String producer, List<String> acknowledgements) {
        for (String line : acknowledgements) {
            String[] words = line.split(" ");
            String key = producer + "-" + words[0];
            if (words[2].equals("-1")) { // a duplicate older than the broker remembers
                expectPresent(key);
            } else {
                Wait.equal(key, keyAt(words[1], words[2]),
                    "the record acknowledged at " + words[1] + " " + words[2]);
            }
        }
    }

    /** The first {@code count} records of a producer are there once each, in order. */
    void expectEachOnce(String producer, int count) {
        Map<String, Long> last = new HashMap<>();
        for (int number = 0; number < count; number++) {
            String key = producer + "-" + number;
            List<String> places = placesOf.getOrDefault(key, List.of());
            Wait.equal(1, places.size(), "places of " + key + " in the log " + places);
            String[] words = places.get(0).split(" ");
            long offset = Long.parseLong(words[1]);
            Long before = last.put(words[0], offset);
            Wait.that(before == null || before < offset, key + " stands before an earlier record");
        }
    }
}
