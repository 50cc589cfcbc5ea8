package suite;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.ListOffsetsResponseData;
import org.apache.kafka.common.protocol.ApiKeys;

/** 1.3 as frames show it: fetch sessions, leader epochs, topics by id, offsets by rule. */
final class FetchChecks {
    private static final int BY_NAME = 12;
    private static final int BY_ID = 17;

    private final Suite suite;
    private final Broker broker;

    FetchChecks(Suite suite, Broker broker) {
        this.suite = suite;
        this.broker = broker;
    }

    void run() {
        suite.check("1.3 a fetch session names only what has changed", at -> changes());
        suite.check("1.3 a fetch session serves its partitions in turn", at -> turns());
        suite.check("1.3 a request that does not fit its session is refused", at -> misfits());
        suite.check("1.3 a fetch session forgets partitions, and ends with the last", at -> forgets());
        suite.check("1.3 a full fetch ends the session that it names", at -> ends());
        suite.check("1.3 an overtaken answer of a session says so", at -> overtaken());
        suite.check("1.3 a session by id tells of a topic that is gone", at -> gone());
        suite.check("1.3 an unknown partition is told last and does not end the wait", at -> unknown());
        suite.check("1.3 a partition that is named twice is answered once", at -> twice());
        suite.check("1.3 the first batch is whole whatever the limits", at -> firstWhole());
        suite.check("1.3 offsets by rule, each with its epoch", at -> rules());
        suite.check("1.3 a rule that the version has not is refused", at -> rulesOfVersions());
        suite.check("1.3 a full session cache makes no further session", at -> {
            try (Broker small = new Broker(suite.setup(), at, Broker.freePort(),
                    Map.of("max.incremental.fetch.session.cache.slots", "8"))) {
                small.start();
                full(small);
                small.stop();
            }
        });
        suite.check("1.3 leader epochs are checked by fetches and by questions for offsets", at -> {
            epochs();
        });
    }

    // What is sent.

    private record Want(int partition, long offset) {}

    private static FetchRequestData request(String topic, int id, int epoch, Want... wants) {
        FetchRequestData.FetchTopic named = new FetchRequestData.FetchTopic().setTopic(topic);
        for (Want want : wants) {
            named.partitions().add(new FetchRequestData.FetchPartition()
                .setPartition(want.partition())
                .setFetchOffset(want.offset())
                .setPartitionMaxBytes(1 << 20));
        }
        return new FetchRequestData()
            .setSessionId(id).setSessionEpoch(epoch)
            .setMaxWaitMs(0).setMinBytes(1).setMaxBytes(1 << 20)
            .setTopics(wants.length == 0 ? List.of() : List.of(named));
    }

    private static FetchRequestData forgetting(FetchRequestData request, String topic, Integer... parts) {
        return request.setForgottenTopicsData(List.of(new FetchRequestData.ForgottenTopic()
            .setTopic(topic).setPartitions(List.of(parts))));
    }

    private static FetchRequestData byId(FetchRequestData request, Uuid id) {
        request.topics().forEach(topic -> topic.setTopicId(id));
        return request;
    }

    private static FetchResponseData fetch(RawClient client, int version, FetchRequestData request)
            throws Exception {
        return client.call(ApiKeys.FETCH, version, request, FetchResponseData::new);
    }

    private static FetchResponseData fetch(RawClient client, FetchRequestData request) throws Exception {
        return fetch(client, BY_NAME, request);
    }

    private static FetchResponseData receive(RawClient client) throws Exception {
        return client.receive(ApiKeys.FETCH, BY_NAME, FetchResponseData::new);
    }

    // What is answered.

    private static List<FetchResponseData.PartitionData> parts(FetchResponseData answer) {
        List<FetchResponseData.PartitionData> parts = new ArrayList<>();
        answer.responses().forEach(topic -> parts.addAll(topic.partitions()));
        return parts;
    }

    /** Partition and error, with a plus sign if there are records. */
    private static String named(FetchResponseData answer) {
        StringBuilder text = new StringBuilder();
        for (FetchResponseData.PartitionData part : parts(answer)) {
            boolean records = part.records() != null && part.records().sizeInBytes() > 0;
            text.append(part.partitionIndex()).append(':').append(part.errorCode())
                .append(records ? "+ " : " ");
        }
        return text.toString().trim();
    }

    private void write(String topic, int partition, String value) throws Exception {
        Records.write(broker, Map.of(), List.of(new ProducerRecord<>(topic, partition, null, value.getBytes())));
    }

    /** A topic whose partitions all have their leader, which Kafka takes a moment to see. */
    private static void topic(Broker broker, String name, int partitions) throws Exception {
        Records.createTopic(broker, name, partitions);
        Want[] all = new Want[partitions];
        for (int partition = 0; partition < partitions; partition++) {
            all[partition] = new Want(partition, 0);
        }
        try (RawClient client = new RawClient(broker)) {
            Wait.until("every partition of " + name + " has its leader", Records.LIMIT, () ->
                parts(fetch(client, request(name, 0, -1, all))).stream()
                    .allMatch(part -> part.errorCode() == 0));
        }
    }

    // The checks.

    private void changes() throws Exception {
        topic(broker, "session-changes", 3);
        String t = "session-changes";
        try (RawClient client = new RawClient(broker)) {
            var all = new Want[] {new Want(0, 0), new Want(1, 0), new Want(2, 0)};
            var full = fetch(client, request(t, 0, 0, all));
            int id = full.sessionId();
            Wait.that(id > 0, "the session's id is positive: " + id);
            Wait.equal("0:0 1:0 2:0", named(full), "a full answer");
            Wait.equal("", named(fetch(client, request(t, id, 1))), "nothing has changed");
            write(t, 1, "a");
            var news = fetch(client, request(t, id, 2));
            Wait.equal(id, news.sessionId(), "session");
            Wait.equal("1:0+", named(news), "what has changed");
            Wait.equal("1:0+", named(fetch(client, request(t, id, 3))), "asked for again");
            Wait.equal("", named(fetch(client, request(t, id, 4, new Want(1, 1)))), "read on");
            write(t, 2, "b");
            Wait.equal("2:0", named(fetch(client, request(t, id, 5, new Want(2, 1)))),
                "a new high watermark without records");
            Wait.equal("", named(fetch(client, request(t, id, 6))), "told");
            AdminChecks.get(broker.admin().deleteRecords(Map.of(
                new TopicPartition(t, 1), RecordsToDelete.beforeOffset(1))).all());
            Wait.equal("1:0", named(fetch(client, request(t, id, 7))), "a new log start");
            Wait.equal("1:1", named(fetch(client, request(t, id, 8, new Want(1, 99)))), "an error");
            Wait.equal("1:1", named(fetch(client, request(t, id, 9))), "the error again");
            Wait.equal("1:0", named(fetch(client, request(t, id, 10, new Want(1, 1)))), "its end");
            Wait.equal("", named(fetch(client, request(t, id, 11))), "told");
        }
    }

    private void turns() throws Exception {
        String t = "session-turns";
        topic(broker, t, 2);
        for (String value : List.of("a", "b", "c")) {
            write(t, 0, value);
            write(t, 1, value);
        }
        try (RawClient client = new RawClient(broker)) {
            var first = fetch(client,
                request(t, 0, 0, new Want(0, 0), new Want(1, 0)).setMaxBytes(1));
            Wait.equal("0:0+ 1:0", named(first), "the first answer");
            long[] next = {1, 0};
            Want want = new Want(0, 1);
            StringBuilder served = new StringBuilder();
            for (int epoch = 1; epoch <= 4; epoch++) {
                var answer = fetch(client,
                    request(t, first.sessionId(), epoch, want).setMaxBytes(1));
                Wait.equal(1, parts(answer).size(), "partitions in answer " + epoch);
                int partition = parts(answer).get(0).partitionIndex();
                served.append(partition);
                want = new Want(partition, ++next[partition]);
            }
            Wait.equal("0101", served.toString(), "who was served");
        }
    }

    private void misfits() throws Exception {
        String t = "session-misfits";
        topic(broker, t, 1);
        try (RawClient client = new RawClient(broker)) {
            int id = fetch(client, request(t, 0, 0, new Want(0, 0))).sessionId();
            refused(fetch(client, request(t, id == 1 ? 2 : 1, 1)), 70);
            refused(fetch(client, request(t, 0, 1)), 70);
            refused(fetch(client, request(t, -1, 1)), 70);
            refused(fetch(client, request(t, id, 2)), 71);
            refused(fetch(client, request(t, id, -2)), 71);
            refused(fetch(client, BY_ID, request(t, id, 1)), 106);
            var right = fetch(client, request(t, id, 1));
            Wait.equal(id, right.sessionId(), "the session after all that");
            Wait.equal((short) 0, right.errorCode(), "error");
            refused(fetch(client, request(t, id, 1)), 71);
        }
    }

    private static void refused(FetchResponseData answer, int error) {
        Wait.equal((short) error, answer.errorCode(), "error");
        Wait.equal(0, answer.sessionId(), "session of error " + error);
        Wait.equal("", named(answer), "partitions of error " + error);
    }

    private void forgets() throws Exception {
        String t = "session-forgets";
        topic(broker, t, 2);
        try (RawClient client = new RawClient(broker)) {
            int id = fetch(client, request(t, 0, 0, new Want(0, 0), new Want(1, 0))).sessionId();
            write(t, 0, "a");
            write(t, 1, "a");
            Wait.equal("1:0+", named(fetch(client, forgetting(request(t, id, 1), t, 0, 7))), "the rest");
            var none = fetch(client, forgetting(request(t, id, 2), t, 1));
            Wait.equal("", named(none), "nothing is left");
            Wait.equal(0, none.sessionId(), "session");
            Wait.equal((short) 0, none.errorCode(), "error");
            refused(fetch(client, request(t, id, 3)), 70);
        }
    }

    private void ends() throws Exception {
        String t = "session-ends";
        topic(broker, t, 1);
        try (RawClient client = new RawClient(broker)) {
            int first = fetch(client, request(t, 0, 0, new Want(0, 0))).sessionId();
            int second = fetch(client, request(t, first, 0, new Want(0, 0))).sessionId();
            Wait.that(second > 0 && second != first, "another session: " + second);
            refused(fetch(client, request(t, first, 1)), 70);
            var last = fetch(client, request(t, second, -1, new Want(0, 0)));
            Wait.equal("0:0", named(last), "the last answer");
            Wait.equal(0, last.sessionId(), "session");
            refused(fetch(client, request(t, second, 1)), 70);
            int empty = fetch(client, request(t, 0, 0)).sessionId();
            Wait.that(empty > 0, "a session may begin with nothing: " + empty);
            Wait.equal("0:0", named(fetch(client, request(t, empty, 1, new Want(0, 0)))), "added");
        }
    }

    private void overtaken() throws Exception {
        String t = "session-overtaken";
        topic(broker, t, 1);
        try (RawClient slow = new RawClient(broker); RawClient quick = new RawClient(broker)) {
            int id = fetch(quick, request(t, 0, 0, new Want(0, 0))).sessionId();
            slow.send(ApiKeys.FETCH, BY_NAME, request(t, id, 1).setMaxWaitMs(20_000));
            Wait.until("the first request is taken in", Records.LIMIT,
                () -> fetch(quick, request(t, id, 2)).errorCode() == 0);
            write(t, 0, "a");
            var late = receive(slow);
            Wait.equal((short) 71, late.errorCode(), "error");
            Wait.equal(id, late.sessionId(), "session");
            Wait.equal("", named(late), "partitions");
        }
    }

    private void gone() throws Exception {
        String t = "session-gone";
        topic(broker, t, 1);
        Uuid id = AdminChecks.topicId(broker.admin(), t);
        try (RawClient client = new RawClient(broker)) {
            var full = byId(request(t, 0, 0, new Want(0, 0)), id);
            int session = fetch(client, BY_ID, full).sessionId();
            AdminChecks.get(broker.admin().deleteTopics(List.of(t)).all());
            Wait.until("the topic is gone", Records.LIMIT,
                () -> named(fetch(client, BY_ID, full)).equals("0:100"));
            var told = fetch(client, BY_ID, request(t, session, 1));
            Wait.equal("0:3", named(told), "the deleted topic in a session");
            Wait.equal(id, told.responses().get(0).topicId(), "its id");
            Records.createTopic(broker, t, 1);
            int[] epoch = {1};
            Wait.until("another topic has its name", Records.LIMIT,
                () -> named(fetch(client, BY_ID, request(t, session, ++epoch[0]))).equals("0:103"));
        }
    }

    private void unknown() throws Exception {
        String t = "fetch-unknown";
        topic(broker, t, 1);
        try (RawClient client = new RawClient(broker)) {
            client.send(ApiKeys.FETCH, BY_NAME,
                request(t, 0, -1, new Want(5, 0), new Want(0, 0)).setMaxWaitMs(20_000));
            write(t, 0, "a");
            Wait.equal("0:0+ 5:3", named(receive(client)), "after the wait");
            var alone = request(t, 0, -1, new Want(5, 0)).setMaxWaitMs(20_000);
            long before = System.nanoTime();
            var answer = fetch(client, alone);
            Wait.that(System.nanoTime() - before < 10_000_000_000L, "there is nothing to wait for");
            Wait.equal("5:3", named(answer), "alone");
            var part = parts(answer).get(0);
            Wait.equal(List.of(-1L, -1L, -1L),
                List.of(part.highWatermark(), part.lastStableOffset(), part.logStartOffset()), "marks");
        }
    }

    private void twice() throws Exception {
        String t = "fetch-twice";
        topic(broker, t, 2);
        write(t, 0, "a");
        try (RawClient client = new RawClient(broker)) {
            var answer = fetch(client,
                request(t, 0, -1, new Want(0, 9), new Want(1, 0), new Want(0, 0)));
            Wait.equal("0:0+ 1:0", named(answer), "as it was named last");
        }
    }

    private void firstWhole() throws Exception {
        String t = "fetch-whole";
        topic(broker, t, 2);
        write(t, 0, "x".repeat(5_000));
        write(t, 1, "x".repeat(5_000));
        try (RawClient client = new RawClient(broker)) {
            var small = request(t, 0, -1, new Want(0, 0), new Want(1, 0)).setMaxBytes(10);
            small.topics().get(0).partitions().forEach(part -> part.setPartitionMaxBytes(10));
            var answer = fetch(client, small);
            Wait.equal("0:0+ 1:0", named(answer), "one batch, and no part of another");
            Wait.that(parts(answer).get(0).records().sizeInBytes() > 5_000, "it is whole");
        }
    }

    // Offsets.

    private static ListOffsetsResponseData.ListOffsetsPartitionResponse offset(
            RawClient client, int version, String topic, long rule, int epoch) throws Exception {
        var request = new ListOffsetsRequestData().setReplicaId(-1).setTopics(List.of(
            new ListOffsetsRequestData.ListOffsetsTopic().setName(topic).setPartitions(List.of(
                new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(0)
                    .setTimestamp(rule).setCurrentLeaderEpoch(epoch)))));
        var answer = client.call(ApiKeys.LIST_OFFSETS, version, request, ListOffsetsResponseData::new);
        return answer.topics().get(0).partitions().get(0);
    }

    /** Error, offset, timestamp and epoch. */
    private static String told(RawClient client, int version, String topic, long rule) throws Exception {
        var part = offset(client, version, topic, rule, -1);
        return part.errorCode() + " " + part.offset() + " " + part.timestamp() + " " + part.leaderEpoch();
    }

    private void rules() throws Exception {
        String t = "offset-rules";
        topic(broker, t, 1);
        try (RawClient client = new RawClient(broker)) {
            Wait.equal("0 0 -1 0", told(client, 10, t, -1), "latest of an empty log");
            Wait.equal("0 0 -1 0", told(client, 10, t, -2), "earliest of an empty log");
            Wait.equal("0 -1 -1 -1", told(client, 10, t, -3), "largest timestamp of an empty log");
            Wait.equal("0 0 -1 0", told(client, 10, t, -4), "earliest local of an empty log");
            Wait.equal("0 -1 -1 -1", told(client, 10, t, -5), "latest tiered of an empty log");
            Wait.equal("0 -1 -1 -1", told(client, 10, t, 0), "by time in an empty log");
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (long time : new long[] {1_000, 3_000, 3_000, 2_000}) {
                records.add(new ProducerRecord<>(t, 0, time, null, "v".getBytes()));
            }
            Records.write(broker, Map.of("linger.ms", "100"), records);
            Wait.equal("0 4 -1 0", told(client, 10, t, -1), "latest");
            Wait.equal("0 0 -1 0", told(client, 10, t, -2), "earliest");
            Wait.equal("0 1 3000 0", told(client, 10, t, -3), "the first with the largest timestamp");
            Wait.equal("0 0 -1 0", told(client, 10, t, -4), "earliest local");
            Wait.equal("0 -1 -1 -1", told(client, 10, t, -5), "latest tiered");
            Wait.equal("0 1 3000 0", told(client, 10, t, 1_500), "by time");
            Wait.equal("0 -1 -1 -1", told(client, 10, t, 3_001), "later than all");
            AdminChecks.get(broker.admin().deleteRecords(Map.of(
                new TopicPartition(t, 0), RecordsToDelete.beforeOffset(4))).all());
            Wait.equal("0 4 -1 0", told(client, 10, t, -2), "earliest, all deleted");
            Wait.equal("0 4 -1 0", told(client, 10, t, -4), "earliest local, all deleted");
        }
    }

    private void rulesOfVersions() throws Exception {
        String t = "offset-versions";
        topic(broker, t, 1);
        try (RawClient client = new RawClient(broker)) {
            long[][] since = {{-3, 7}, {-4, 8}, {-5, 9}};
            for (long[] rule : since) {
                Wait.equal((short) 35, offset(client, (int) rule[1] - 1, t, rule[0], -1).errorCode(),
                    "error of rule " + rule[0] + " before its version");
                Wait.equal((short) 0, offset(client, (int) rule[1], t, rule[0], -1).errorCode(),
                    "error of rule " + rule[0] + " in its version");
            }
            Wait.equal("35 -1 -1 -1", told(client, 10, t, -9), "a rule that is none");
            Wait.equal((short) 35, offset(client, 10, "nobody", -9, -1).errorCode(),
                "error of a rule that is none, of a topic that is none");
            Wait.equal("3 -1 -1 -1", told(client, 10, "nobody", -1), "a topic that is none");
            Wait.equal(-1, offset(client, 3, t, -1, -1).leaderEpoch(), "the epoch in version 3");
        }
    }

    private void full(Broker small) throws Exception {
        topic(small, "t", 1);
        try (RawClient client = new RawClient(small)) {
            int first = 0;
            for (int i = 0; i < 8; i++) {
                int id = fetch(client, request("t", 0, 0, new Want(0, 0))).sessionId();
                Wait.that(id > 0, "session " + i + " is made: " + id);
                first = i == 0 ? id : first;
            }
            var none = fetch(client, request("t", 0, 0, new Want(0, 0)));
            Wait.equal(0, none.sessionId(), "the session of a full cache");
            Wait.equal("0:0", named(none), "its answer");
            Wait.equal("", named(fetch(client, request("t", first, 1))), "the first goes on");
            fetch(client, request("t", first, -1));
            Wait.equal((short) 0, fetch(client, request("t", 0, 0, new Want(0, 0))).errorCode(), "error");
        }
    }

    private void epochs() throws Exception {
        String t = "leader-epochs";
        topic(broker, t, 1);
        // A clean stop and start goes on in the same epoch here, and in the next one with Kafka.
        broker.kill();
        broker.start();
        try (RawClient client = new RawClient(broker)) {
            int now = Wait.value("an epoch after the restart", Records.LIMIT, () -> {
                int epoch = offset(client, 10, t, -1, -1).leaderEpoch();
                return epoch > 0 ? epoch : null;
            });
            Wait.equal((short) 0, offset(client, 10, t, -1, now).errorCode(), "this epoch");
            Wait.equal((short) 74, offset(client, 10, t, -1, now - 1).errorCode(), "an older epoch");
            Wait.equal((short) 75, offset(client, 10, t, -1, now + 1).errorCode(), "a newer epoch");
            Wait.equal("0:0", named(fetch(client, of(t, now))), "a fetch in this epoch");
            Wait.equal("0:74", named(fetch(client, of(t, now - 1))), "a fetch in an older epoch");
            Wait.equal("0:75", named(fetch(client, of(t, now + 1))), "a fetch in a newer epoch");
            var fenced = fetch(client, BY_ID,
                byId(of(t, now - 1), AdminChecks.topicId(broker.admin(), t)));
            Wait.equal("0:74", named(fenced), "by id");
            Wait.equal(now, parts(fenced).get(0).currentLeader().leaderEpoch(), "the epoch it tells");
            Wait.equal(1, fenced.nodeEndpoints().size(), "where the leader is");
            int id = fetch(client, of(t, now).setSessionEpoch(0)).sessionId();
            Wait.equal("0:75", named(fetch(client, of(t, now + 1).setSessionId(id).setSessionEpoch(1))),
                "a newer epoch in a session");
            Wait.equal("0:75", named(fetch(client, request(t, id, 2))), "which the session keeps");
        }
    }

    private static FetchRequestData of(String topic, int epoch) {
        FetchRequestData request = request(topic, 0, -1, new Want(0, 0));
        request.topics().get(0).partitions().get(0).setCurrentLeaderEpoch(epoch);
        return request;
    }
}
