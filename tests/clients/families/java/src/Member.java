import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;

/** A member of a group: reads, commits, and then tells what it has read. */
final class Member extends Thread implements ConsumerRebalanceListener {
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final String topic;
    private final Set<Integer> has = new TreeSet<>();

    Member(KafkaConsumer<byte[], byte[]> consumer, String topic) {
        this.consumer = consumer;
        this.topic = topic;
        setDaemon(true);
    }

    void leave() throws InterruptedException {
        consumer.wakeup();
        join();
    }

    @Override
    public void run() {
        try (consumer) {
            consumer.subscribe(List.of(topic), this);
            while (true) {
                List<byte[]> values = new ArrayList<>();
                consumer.poll(Duration.ofMillis(500)).forEach(record -> values.add(record.value()));
                if (!values.isEmpty()) {
                    consumer.commitSync();
                    Lines.records(values);
                }
            }
        } catch (WakeupException left) {
            // The consumer is closed, and with that leaves.
        }
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        partitions.forEach(at -> has.add(at.partition()));
        Lines.assigned(has);
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        partitions.forEach(at -> has.remove(at.partition()));
        Lines.assigned(has);
    }
}
