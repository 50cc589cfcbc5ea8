package suite;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.DeleteGroupsRequestData;
import org.apache.kafka.common.message.DeleteGroupsResponseData;
import org.apache.kafka.common.message.OffsetCommitRequestData;
import org.apache.kafka.common.message.OffsetCommitRequestData.OffsetCommitRequestPartition;
import org.apache.kafka.common.message.OffsetCommitRequestData.OffsetCommitRequestTopic;
import org.apache.kafka.common.message.OffsetCommitResponseData;
import org.apache.kafka.common.message.OffsetDeleteRequestData;
import org.apache.kafka.common.message.OffsetDeleteRequestData.OffsetDeleteRequestPartition;
import org.apache.kafka.common.message.OffsetDeleteRequestData.OffsetDeleteRequestTopic;
import org.apache.kafka.common.message.OffsetDeleteResponseData;
import org.apache.kafka.common.message.OffsetFetchRequestData;
import org.apache.kafka.common.message.OffsetFetchRequestData.OffsetFetchRequestGroup;
import org.apache.kafka.common.message.OffsetFetchRequestData.OffsetFetchRequestTopic;
import org.apache.kafka.common.message.OffsetFetchRequestData.OffsetFetchRequestTopics;
import org.apache.kafka.common.message.OffsetFetchResponseData;
import org.apache.kafka.common.protocol.Errors;

/** G: committed offsets of groups; and the part of trap 7 that is about them. */
final class AcceptOffsets extends Acceptance {
    AcceptOffsets(Suite suite, Broker broker) {
        super(suite, broker);
    }

    @Override
    void run() {
        item("72: a commit of an old generation, of no group, and beside an active group",
            this::commits);
        item("73: nothing committed is -1 without an error, metadata of 4097 bytes too large",
            this::nothing);
        item("75: offsets are described, reset and deleted, and an active group is not",
            this::administration);
        trap("7: a commit between join and sync is a rebalance in progress", wire -> inRebalance());
        trap("7: a commit to no group is an error only with a generation", this::missingGroup);
        trap("7: OffsetCommit 2 to 10 all commit, by name and from 10 by id", this::commitVersions);
        trap("7: OffsetFetch 1 to 10 all tell offset, epoch and metadata", this::fetchVersions);
        trap("7: null topics fetch all offsets, an empty list none", this::allOffsets);
        trap("7: a commit of an unknown topic, id or partition fails alone", this::unknown);
        trap("7: offsets of a deleted topic are gone, and do not come back with its name",
            this::deletedTopic);
        trap("7: DeleteGroups of an unknown, an active and an empty group", this::deleteGroups);
        trap("7: OffsetDelete keeps what is subscribed", this::offsetDelete);
        trap("7: the empty group id may commit by itself", this::emptyGroup);
    }

    private static OffsetCommitRequestPartition at(int partition, long offset, String metadata) {
        return new OffsetCommitRequestPartition().setPartitionIndex(partition)
            .setCommittedOffset(offset).setCommittedMetadata(metadata);
    }

    private static OffsetCommitRequestData commit(
            String group, Raw.Topic topic, OffsetCommitRequestPartition... partitions) {
        return new OffsetCommitRequestData().setGroupId(group).setTopics(List.of(
            new OffsetCommitRequestTopic().setName(topic.name()).setTopicId(topic.id())
                .setPartitions(List.of(partitions))));
    }

    private static Errors commit(Wire wire, int version, OffsetCommitRequestData request)
            throws Exception {
        return Errors.forCode(wire.ask(version, request, new OffsetCommitResponseData()).topics()
            .get(0).partitions().get(0).errorCode());
    }

    /** What a group has committed, as {@code topic/partition -> error offset epoch metadata}. */
    private static Map<String, String> committed(
            Wire wire, int version, String group, List<OffsetFetchRequestTopics> topics)
            throws Exception {
        var answer = wire.ask(version, new OffsetFetchRequestData().setGroups(List.of(
            new OffsetFetchRequestGroup().setGroupId(group).setTopics(topics))),
            new OffsetFetchResponseData()).groups().get(0);
        Raw.error(Errors.NONE, answer.errorCode(), "fetching the offsets of " + group);
        Map<String, String> found = new TreeMap<>();
        answer.topics().forEach(topic -> topic.partitions().forEach(it -> found.put(
            (version < 10 ? topic.name() : topic.topicId()) + "/" + it.partitionIndex(),
            Errors.forCode(it.errorCode()) + " " + it.committedOffset() + " "
                + it.committedLeaderEpoch() + " " + it.metadata())));
        return found;
    }

    private static OffsetFetchRequestTopics wanted(Raw.Topic topic, Integer... partitions) {
        return new OffsetFetchRequestTopics().setName(topic.name()).setTopicId(topic.id())
            .setPartitionIndexes(List.of(partitions));
    }

    private void commits(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "commits", 1);
        try (Member member = new Member(broker, "commits", null)) {
            Wait.equal(Errors.NONE, commit(wire, 9, commit("commits", topic, at(0, 1, ""))),
                "without members");
            member.join();
            member.sync(Map.of(member.id, "all"));
            OffsetCommitRequestData good = commit("commits", topic, at(0, 2, ""))
                .setMemberId(member.id).setGenerationIdOrMemberEpoch(1);
            Wait.equal(Errors.NONE, commit(wire, 9, good), "of the member");
            Wait.equal(Errors.ILLEGAL_GENERATION,
                commit(wire, 9, good.duplicate().setGenerationIdOrMemberEpoch(0)), "generation 0");
            Wait.equal(Errors.ILLEGAL_GENERATION,
                commit(wire, 9, good.duplicate().setGenerationIdOrMemberEpoch(2)), "generation 2");
            Wait.equal(Errors.UNKNOWN_MEMBER_ID,
                commit(wire, 9, good.duplicate().setMemberId("nobody")), "nobody");
            Wait.equal(Errors.UNKNOWN_MEMBER_ID,
                commit(wire, 9, commit("commits", topic, at(0, 3, ""))), "beside the members");
            Wait.equal(Map.of("commits/0", "NONE 2 -1 "),
                committed(wire, 9, "commits", null), "what is committed");
        }
        try (var consumer = Records.consumer(broker, Map.of("group.id", "commits-assigned"))) {
            TopicPartition partition = new TopicPartition("commits", 0);
            consumer.assign(List.of(partition));
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(7, "by hand")));
            Wait.equal(new OffsetAndMetadata(7, "by hand"),
                consumer.committed(Set.of(partition)).get(partition), "of a consumer by assign()");
        }
    }

    private void nothing(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "nothing", 2);
        Member.awaitCoordinator(wire, "nothing");
        Wait.equal(Map.of("nothing/0", "NONE -1 -1 ", "nothing/7", "NONE -1 -1 "),
            committed(wire, 9, "nothing", List.of(wanted(topic, 0, 7))), "of no group");
        String most = "m".repeat(4096);
        var answer = wire.ask(9, commit("nothing", topic, at(0, 5, most), at(1, 6, most + "m")),
            new OffsetCommitResponseData()).topics().get(0).partitions();
        Wait.equal("NONE OFFSET_METADATA_TOO_LARGE", Errors.forCode(answer.get(0).errorCode()) + " "
            + Errors.forCode(answer.get(1).errorCode()), "4096 and 4097 bytes");
        Wait.equal(Map.of("nothing/0", "NONE 5 -1 " + most, "nothing/1", "NONE -1 -1 "),
            committed(wire, 9, "nothing", List.of(wanted(topic, 0, 1))), "what is committed");
    }

    private void inRebalance() throws Exception {
        try (Member member = new Member(broker, "commit-early", null)) {
            Raw.Topic topic = Raw.topic(member.wire, "commit-early", 1);
            member.join();
            Wait.equal(Errors.REBALANCE_IN_PROGRESS, commit(member.wire, 9,
                commit("commit-early", topic, at(0, 1, "")).setMemberId(member.id)
                    .setGenerationIdOrMemberEpoch(1)), "between join and sync");
        }
    }

    private void missingGroup(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "missing-group", 1);
        Member.awaitCoordinator(wire, "missing-group");
        for (int version = 2; version <= 10; version++) {
            var request = commit("missing-group", topic, at(0, 1, "")).setMemberId("m")
                .setGenerationIdOrMemberEpoch(3);
            Wait.equal(version < 9 ? Errors.ILLEGAL_GENERATION : Errors.GROUP_ID_NOT_FOUND,
                commit(wire, version, request), "generation 3 in v" + version);
        }
    }

    private void commitVersions(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "commit-versions", 1);
        Member.awaitCoordinator(wire, "commit-versions");
        for (int version = 2; version <= 10; version++) {
            Wait.equal(Errors.NONE, commit(wire, version, commit("commit-versions", topic,
                at(0, version, "v" + version).setCommittedLeaderEpoch(version < 6 ? -1 : 0))),
                "v" + version);
            Wait.equal(Map.of("commit-versions/0", "NONE " + version + " "
                + (version < 6 ? -1 : 0) + " v" + version),
                committed(wire, 9, "commit-versions", null), "in v" + version);
        }
    }

    private void fetchVersions(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "fetch-offsets", 2);
        Member.awaitCoordinator(wire, "fetch-offsets");
        commit(wire, 9, commit("fetch-offsets", topic,
            at(1, 42, "mark ä").setCommittedLeaderEpoch(0)));
        for (int version = 1; version <= 7; version++) {
            var answer = wire.ask(version, new OffsetFetchRequestData().setGroupId("fetch-offsets")
                .setTopics(List.of(new OffsetFetchRequestTopic().setName("fetch-offsets")
                    .setPartitionIndexes(List.of(0, 1)))), new OffsetFetchResponseData());
            Raw.error(Errors.NONE, answer.errorCode(), "v" + version);
            Map<Integer, String> got = new TreeMap<>();
            answer.topics().get(0).partitions().forEach(it -> got.put(it.partitionIndex(),
                Errors.forCode(it.errorCode()) + " " + it.committedOffset() + " "
                    + it.committedLeaderEpoch() + " " + it.metadata()));
            Wait.equal(Map.of(0, "NONE -1 -1 ", 1, "NONE 42 " + (version < 5 ? -1 : 0) + " mark ä"),
                got, "v" + version);
        }
        for (int version = 8; version <= 10; version++) {
            String name = version < 10 ? "fetch-offsets" : topic.id().toString();
            Wait.equal(Map.of(name + "/0", "NONE -1 -1 ", name + "/1", "NONE 42 0 mark ä"),
                committed(wire, version, "fetch-offsets", List.of(wanted(topic, 0, 1))),
                "v" + version);
        }
        Uuid unknown = Uuid.randomUuid();
        Wait.equal(Map.of(unknown + "/0", "UNKNOWN_TOPIC_ID -1 -1 "), committed(wire, 10,
            "fetch-offsets", List.of(wanted(new Raw.Topic("", unknown), 0))), "an unknown id");
        var two = wire.ask(8, new OffsetFetchRequestData().setGroups(List.of(
            new OffsetFetchRequestGroup().setGroupId("fetch-offsets").setTopics(null),
            new OffsetFetchRequestGroup().setGroupId("fetch-offsets-too").setTopics(null))),
            new OffsetFetchResponseData());
        List<String> told = new ArrayList<>();
        two.groups().forEach(it -> told.add(it.groupId() + " " + it.topics().size()));
        Wait.equal(List.of("fetch-offsets 1", "fetch-offsets-too 0"), told, "two groups at once");
    }

    private void allOffsets(Wire wire) throws Exception {
        Raw.Topic one = Raw.topic(wire, "all-offsets-1", 1);
        Raw.Topic two = Raw.topic(wire, "all-offsets-2", 1);
        Member.awaitCoordinator(wire, "all-offsets");
        commit(wire, 9, commit("all-offsets", one, at(0, 1, "")));
        commit(wire, 9, commit("all-offsets", two, at(0, 2, "")));
        Wait.equal(Set.of("all-offsets-1/0", "all-offsets-2/0"),
            committed(wire, 9, "all-offsets", null).keySet(), "of null");
        Wait.equal(Map.of(), committed(wire, 9, "all-offsets", List.of()), "of an empty list");
        for (int version = 2; version <= 7; version++) {
            var all = wire.ask(version, new OffsetFetchRequestData().setGroupId("all-offsets")
                .setTopics(null), new OffsetFetchResponseData());
            Wait.equal(2, all.topics().size(), "topics of null in v" + version);
        }
    }

    private void unknown(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "commit-unknown", 1);
        Member.awaitCoordinator(wire, "commit-unknown");
        var request = new OffsetCommitRequestData().setGroupId("commit-unknown").setTopics(List.of(
            new OffsetCommitRequestTopic().setName(topic.name()).setTopicId(topic.id())
                .setPartitions(List.of(at(0, 1, ""), at(9, 1, ""))),
            new OffsetCommitRequestTopic().setName("commit-never").setTopicId(Uuid.randomUuid())
                .setPartitions(List.of(at(0, 1, "")))));
        for (int version = 2; version <= 10; version++) {
            Map<String, Errors> got = new TreeMap<>();
            wire.ask(version, request, new OffsetCommitResponseData()).topics().forEach(
                it -> it.partitions().forEach(part -> got.put(
                    (it.name().equals(topic.name()) || it.topicId().equals(topic.id())) + "/"
                    + part.partitionIndex(), Errors.forCode(part.errorCode()))));
            Wait.equal(new TreeMap<>(Map.of("true/0", Errors.NONE,
                "true/9", Errors.UNKNOWN_TOPIC_OR_PARTITION, "false/0", version < 10
                    ? Errors.UNKNOWN_TOPIC_OR_PARTITION : Errors.UNKNOWN_TOPIC_ID)), got,
                "v" + version);
        }
    }

    private void deletedTopic(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "forgotten", 1);
        Raw.Topic kept = Raw.topic(wire, "not-forgotten", 1);
        Member.awaitCoordinator(wire, "forgetting");
        commit(wire, 9, commit("forgetting", topic, at(0, 1, "")));
        commit(wire, 9, commit("forgetting", kept, at(0, 2, "")));
        broker.admin().deleteTopics(List.of("forgotten")).all().get(10, TimeUnit.SECONDS);
        Wait.until("the offset is gone", Records.LIMIT, () -> committed(wire, 9, "forgetting", null)
            .equals(Map.of("not-forgotten/0", "NONE 2 -1 ")));
        Raw.Topic again = Raw.topic(wire, "forgotten", 1);
        Wait.equal(Map.of("forgotten/0", "NONE -1 -1 "),
            committed(wire, 9, "forgetting", List.of(wanted(again, 0))), "of the new topic");
    }

    private static Map<String, Errors> delete(Wire wire, String... groups) throws Exception {
        Map<String, Errors> got = new TreeMap<>();
        wire.ask(2, new DeleteGroupsRequestData().setGroupsNames(List.of(groups)),
            new DeleteGroupsResponseData()).results()
            .forEach(it -> got.put(it.groupId(), Errors.forCode(it.errorCode())));
        return got;
    }

    private void deleteGroups(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "delete-groups", 1);
        try (Member member = new Member(broker, "delete-active", null)) {
            member.join();
            member.sync(Map.of(member.id, "all"));
            Member.awaitCoordinator(wire, "delete-empty");
            commit(wire, 9, commit("delete-empty", topic, at(0, 1, "")));
            Wait.equal(new TreeMap<>(Map.of("delete-active", Errors.NON_EMPTY_GROUP,
                "delete-empty", Errors.NONE, "delete-unknown", Errors.GROUP_ID_NOT_FOUND)),
                delete(wire, "delete-active", "delete-empty", "delete-unknown"), "three groups");
            Wait.equal(Map.of("delete-groups/0", "NONE -1 -1 "), committed(wire, 9, "delete-empty",
                List.of(wanted(topic, 0))), "offsets of the deleted one");
            Wait.equal(Map.of("delete-empty", Errors.GROUP_ID_NOT_FOUND),
                delete(wire, "delete-empty"), "once more");
            Wait.equal(Errors.NONE, member.heartbeat(), "the active one lives");
        }
    }

    private static OffsetDeleteResponseData offsetDelete(
            Wire wire, String group, String topic, int... partitions) throws Exception {
        List<OffsetDeleteRequestPartition> all = new ArrayList<>();
        for (int partition : partitions) {
            all.add(new OffsetDeleteRequestPartition().setPartitionIndex(partition));
        }
        var request = new OffsetDeleteRequestData().setGroupId(group);
        request.topics().add(new OffsetDeleteRequestTopic().setName(topic).setPartitions(all));
        return wire.ask(0, request, new OffsetDeleteResponseData());
    }

    private static Errors first(OffsetDeleteResponseData answer) {
        Raw.error(Errors.NONE, answer.errorCode(), "top level");
        return Errors.forCode(
            answer.topics().iterator().next().partitions().iterator().next().errorCode());
    }

    private void offsetDelete(Wire wire) throws Exception {
        Raw.Topic read = Raw.topic(wire, "offset-delete", 1);
        Raw.Topic other = Raw.topic(wire, "offset-delete-other", 1);
        Member.awaitCoordinator(wire, "offset-delete");
        Raw.error(Errors.GROUP_ID_NOT_FOUND,
            offsetDelete(wire, "offset-delete", "offset-delete", 0).errorCode(), "no group");
        commit(wire, 9, commit("offset-delete", read, at(0, 1, "")));
        commit(wire, 9, commit("offset-delete", other, at(0, 2, "")));
        try (var consumer = Records.consumer(broker, Map.of("group.id", "offset-delete"))) {
            consumer.subscribe(List.of("offset-delete"));
            Wait.until("it has its partition", Records.LIMIT, () -> {
                consumer.poll(java.time.Duration.ofMillis(50));
                return consumer.assignment().size() == 1;
            });
            Wait.equal(Errors.GROUP_SUBSCRIBED_TO_TOPIC,
                first(offsetDelete(wire, "offset-delete", "offset-delete", 0)), "subscribed");
            Wait.equal(Errors.NONE,
                first(offsetDelete(wire, "offset-delete", "offset-delete-other", 0)), "not");
            Wait.equal(Map.of("offset-delete/0", "NONE 1 -1 "),
                committed(wire, 9, "offset-delete", null), "what is left");
        }
        Wait.equal(Errors.UNKNOWN_TOPIC_OR_PARTITION,
            first(offsetDelete(wire, "offset-delete", "offset-never", 0)), "an unknown topic");
    }

    private void emptyGroup(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "empty-group", 1);
        Member.awaitCoordinator(wire, "");
        Wait.equal(Errors.NONE, commit(wire, 9, commit("", topic, at(0, 4, "mine"))), "a commit");
        Wait.equal("NONE 4 -1 mine", committed(wire, 9, "", null).get("empty-group/0"), "it");
    }

    private void administration(Wire wire) throws Exception {
        Raw.topic(wire, "administered", 2);
        String group = "administered";
        TopicPartition zero = new TopicPartition("administered", 0);
        TopicPartition one = new TopicPartition("administered", 1);
        Member.awaitCoordinator(wire, group);
        AdminChecks.get(broker.admin().alterConsumerGroupOffsets(group,
            Map.of(zero, new OffsetAndMetadata(3), one, new OffsetAndMetadata(4))).all());
        Wait.equal(3L, Records.committed(broker.admin(), group, zero), "after the reset");
        AdminChecks.get(broker.admin().deleteConsumerGroupOffsets(group, Set.of(one)).all());
        Wait.equal(null, Records.committed(broker.admin(), group, one), "after the deletion");
        try (var consumer = Records.consumer(broker, Map.of("group.id", group))) {
            consumer.subscribe(List.of("administered"));
            Wait.until("it has its partitions", Records.LIMIT, () -> {
                consumer.poll(java.time.Duration.ofMillis(50));
                return consumer.assignment().size() == 2;
            });
            Wait.equal("GroupNotEmptyException", failure(() -> AdminChecks.get(
                broker.admin().deleteConsumerGroups(List.of(group)).all())), "deleting it");
            Wait.equal("UnknownMemberIdException", failure(() -> AdminChecks.get(
                broker.admin().alterConsumerGroupOffsets(group,
                    Map.of(zero, new OffsetAndMetadata(0))).all())), "resetting it");
            Wait.equal("GroupSubscribedToTopicException", failure(() -> AdminChecks.get(
                broker.admin().deleteConsumerGroupOffsets(group, Set.of(zero)).all())),
                "deleting its offsets");
        }
        AdminChecks.get(broker.admin().deleteConsumerGroups(List.of(group)).all());
        Wait.equal(null, Records.committed(broker.admin(), group, zero), "of the deleted group");
    }

    private interface Attempt {
        void run() throws Exception;
    }

    private static String failure(Attempt attempt) throws Exception {
        try {
            attempt.run();
            return "none";
        } catch (ExecutionException failed) {
            return failed.getCause().getClass().getSimpleName();
        }
    }
}
