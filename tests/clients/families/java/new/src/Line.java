import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.TopicDescription;

/** What kafka-clients 4 calls otherwise than kafka-clients 2. */
final class Line {
    private Line() {}

    static TopicDescription describe(Admin admin, String topic) throws Exception {
        return admin.describeTopics(Set.of(topic)).allTopicNames().get().get(topic);
    }

    static Set<String> groups(Admin admin) throws Exception {
        return admin.listGroups().all().get().stream()
            .map(group -> group.groupId()).collect(Collectors.toSet());
    }

    static String state(Admin admin, String group) throws Exception {
        return admin.describeConsumerGroups(Set.of(group)).all().get().get(group)
            .groupState().toString();
    }
}
