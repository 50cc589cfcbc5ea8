package suite;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.CreatePartitionsRequestData;
import org.apache.kafka.common.message.CreatePartitionsRequestData.CreatePartitionsTopic;
import org.apache.kafka.common.message.CreatePartitionsResponseData;
import org.apache.kafka.common.message.CreatePartitionsResponseData.CreatePartitionsTopicResult;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableReplicaAssignment;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopic;
import org.apache.kafka.common.message.CreateTopicsResponseData.CreatableTopicResult;
import org.apache.kafka.common.message.DeleteTopicsRequestData;
import org.apache.kafka.common.message.DeleteTopicsRequestData.DeleteTopicState;
import org.apache.kafka.common.message.DeleteTopicsResponseData;
import org.apache.kafka.common.message.DeleteTopicsResponseData.DeletableTopicResult;
import org.apache.kafka.common.message.DescribeTopicPartitionsRequestData;
import org.apache.kafka.common.message.DescribeTopicPartitionsRequestData.Cursor;
import org.apache.kafka.common.message.DescribeTopicPartitionsRequestData.TopicRequest;
import org.apache.kafka.common.message.DescribeTopicPartitionsResponseData;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.FindCoordinatorResponseData;
import org.apache.kafka.common.message.MetadataRequestData.MetadataRequestTopic;
import org.apache.kafka.common.message.MetadataResponseData;
import org.apache.kafka.common.message.MetadataResponseData.MetadataResponseTopic;
import org.apache.kafka.common.protocol.Errors;

/** B: topics and metadata; and traps 3 and 6. */
final class AcceptTopics extends Acceptance {
    AcceptTopics(Suite suite, Broker broker) {
        super(suite, broker);
    }

    @Override
    void run() {
        item("11: a producer makes its topic, with num.partitions partitions", this::autoCreated);
        item("11: allow.auto.create.topics=false makes no topic", this::notAutoCreated);
        item("12: names that collide or are not names are invalid topics", this::names);
        item("13: a topic made twice, named twice, or only looked at", this::twice);
        item("14: -1 partitions and replicas are the broker's defaults, told with all configs",
            this::defaults);
        item("15: bad replication factors, partition counts and configs each have their error",
            this::badTopics);
        item("16: a topic deleted by id and made again has another id", this::madeAgain);
        item("17: partitions can be added, not kept equal or taken away", this::addPartitions);
        item("17: a running consumer gets the added partitions", wire -> addedToConsumer());
        item("18: metadata of null lists all with internal ones, of none lists none", this::all);
        item("19: authorized operations of a topic without an authorizer are 3576",
            this::operations);
        item("20: DescribeTopicPartitions of limit 1 is walked by its cursor", this::cursor);
        trap("3: ids are stable and not zero, and an unknown id is echoed", this::ids);
        trap("3: a zero id and a null name is a bad request where ids are not served",
            this::noName);
        trap("6: metadata 0 of an empty list is all topics", this::versionZero);
        trap("6: an unknown topic by name is error 3, an illegal name error 17, neither is made",
            this::unknownNames);
        trap("6: cluster id, controller and host are set, operations are not unless asked for",
            this::cluster);
        trap("6: a topic is in the metadata as soon as it is served, with a leader", this::leader);
        trap("6: manual assignments are checked", this::assignments);
        trap("6: more than 10000 partitions in one request are against the policy",
            this::tooMany);
        trap("6: DeleteTopics says who is unknown, named twice or both", this::deleteErrors);
        trap("6: CreatePartitions answers each topic", this::partitionResults);
    }

    private void autoCreated(Wire wire) throws Exception {
        var meta = Records.write(broker, Map.of(),
            List.of(new ProducerRecord<>("auto-made", Records.bytes("v")))).get(0);
        Wait.equal(0L, meta.offset(), "offset of the first record");
        Wait.equal(1, Raw.metadata(wire, "auto-made").partitions().size(), "partitions");
        // Versions before 4 cannot say that no topic is to be made.
        var old = wire.ask(1, Raw.metadataOf("auto-made-too").setAllowAutoTopicCreation(true),
            new MetadataResponseData()).topics().iterator().next();
        Wait.that(old.errorCode() == 0 || old.errorCode() == 3 || old.errorCode() == 5,
            "error " + old.errorCode());
        Wait.until("it is made", Records.LIMIT,
            () -> Raw.metadata(wire, "auto-made-too").errorCode() == 0);
    }

    private void notAutoCreated(Wire wire) throws Exception {
        try (var consumer = Records.consumer(broker, Map.of("allow.auto.create.topics", "false"))) {
            consumer.assign(List.of(new TopicPartition("never-made", 0)));
            Wait.equal(0, consumer.poll(Duration.ofMillis(300)).count(), "records");
        }
        for (int version = 4; version <= Raw.METADATA; version++) {
            var topic = wire.ask(version, Raw.metadataOf("never-made"), new MetadataResponseData())
                .topics().iterator().next();
            Raw.error(Errors.UNKNOWN_TOPIC_OR_PARTITION, topic.errorCode(), "in v" + version);
            Wait.equal(0, topic.partitions().size(), "partitions");
        }
    }

    private static CreatableTopicResult create(Wire wire, String name) throws Exception {
        return Raw.create(wire, false, Raw.newTopic(name, 1, Map.of())).get(0);
    }

    private void names(Wire wire) throws Exception {
        Raw.topic(wire, "collide.a", 1);
        var second = create(wire, "collide_a");
        Raw.error(Errors.INVALID_TOPIC_EXCEPTION,
            "Topic 'collide_a' collides with existing topic: collide.a", second.errorCode(),
            second.errorMessage(), "collide_a");
        String rule = " contains one or more characters other than ASCII alphanumerics, '.', "
            + "'_' and '-'";
        Map<String, String> bad = new TreeMap<>(Map.of(
            "", "Topic name is invalid: the empty string is not allowed",
            ".", "Topic name is invalid: '.' is not allowed",
            "..", "Topic name is invalid: '..' is not allowed",
            "x".repeat(250), "Topic name is invalid: the length of '" + "x".repeat(250)
                + "' is longer than the max allowed length 249",
            "a/b", "Topic name is invalid: 'a/b'" + rule,
            "ä", "Topic name is invalid: 'ä'" + rule));
        for (var it : bad.entrySet()) {
            var made = create(wire, it.getKey());
            Raw.error(Errors.INVALID_TOPIC_EXCEPTION, it.getValue(), made.errorCode(),
                made.errorMessage(), it.getKey());
            Wait.equal(Uuid.ZERO_UUID, made.topicId(), "its id");
        }
        Raw.topic(wire, "y".repeat(249), 1);
    }

    private void twice(Wire wire) throws Exception {
        Raw.topic(wire, "twice", 1);
        var again = create(wire, "twice");
        Raw.error(Errors.TOPIC_ALREADY_EXISTS, "Topic 'twice' already exists.", again.errorCode(),
            again.errorMessage(), "the second time");
        Wait.equal("-1 -1", again.numPartitions() + " " + again.replicationFactor(), "its counts");
        var both = Raw.create(wire, false, Raw.newTopic("dupe", 1, Map.of()),
            Raw.newTopic("dupe", 2, Map.of()));
        Wait.equal(1, both.size(), "answers to one name");
        Raw.error(Errors.INVALID_REQUEST, "Duplicate topic name.", both.get(0).errorCode(),
            both.get(0).errorMessage(), "named twice");
        var looked = Raw.create(wire, true, Raw.newTopic("looked-at", 3, Map.of())).get(0);
        Raw.error(Errors.NONE, looked.errorCode(), "validateOnly");
        Wait.equal("3 1", looked.numPartitions() + " " + looked.replicationFactor(), "its counts");
        Raw.error(Errors.UNKNOWN_TOPIC_OR_PARTITION, Raw.metadata(wire, "looked-at").errorCode(),
            "a topic only looked at");
        Raw.error(Errors.UNKNOWN_TOPIC_OR_PARTITION, Raw.metadata(wire, "dupe").errorCode(),
            "a topic named twice");
        Raw.error(Errors.TOPIC_ALREADY_EXISTS,
            Raw.create(wire, true, Raw.newTopic("twice", 3, Map.of())).get(0).errorCode(),
            "validateOnly of what exists");
    }

    private void defaults(Wire wire) throws Exception {
        var made = Raw.create(wire, false, Raw.newTopic("defaults", -1, Map.of("retention.ms",
            "86400000")).setReplicationFactor((short) -1)).get(0);
        Raw.error(Errors.NONE, made.errorCode(), "making it");
        Wait.equal("1 1", made.numPartitions() + " " + made.replicationFactor(), "its counts");
        Wait.that(!made.topicId().equals(Uuid.ZERO_UUID), "its id");
        Map<String, String> configs = new TreeMap<>();
        made.configs().forEach(it -> configs.put(it.name(),
            it.value() + " " + it.configSource() + " " + it.readOnly() + " " + it.isSensitive()));
        Wait.equal("86400000 1 false false", configs.get("retention.ms"), "what the topic says");
        Wait.equal("delete 5 false false", configs.get("cleanup.policy"), "the default");
        Wait.equal("1048588 5 false false", configs.get("max.message.bytes"), "the default");
        Wait.that(configs.size() >= 25, "only the configs " + configs.keySet());
    }

    private void badTopic(Wire wire, CreatableTopic topic, Errors error, String message)
            throws Exception {
        var made = Raw.create(wire, false, topic).get(0);
        Raw.error(error, message, made.errorCode(), made.errorMessage(), "making " + topic);
        Raw.error(Errors.UNKNOWN_TOPIC_OR_PARTITION,
            Raw.metadata(wire, topic.name()).errorCode(), "whether it was made");
    }

    private void badTopics(Wire wire) throws Exception {
        Map<String, String> none = Map.of();
        badTopic(wire, Raw.newTopic("bad", 3, none).setReplicationFactor((short) 3),
            Errors.INVALID_REPLICATION_FACTOR, "Unable to replicate the partition 3 time(s): The "
            + "target replication factor of 3 cannot be reached because only 1 broker(s) are "
            + "registered or some brokers have all their log directories cordoned.");
        badTopic(wire, Raw.newTopic("bad", 1, none).setReplicationFactor((short) 0),
            Errors.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.");
        badTopic(wire, Raw.newTopic("bad", 1, none).setReplicationFactor((short) -2),
            Errors.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.");
        badTopic(wire, Raw.newTopic("bad", 0, none), Errors.INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.");
        badTopic(wire, Raw.newTopic("bad", 1, Map.of("foo", "bar")), Errors.INVALID_CONFIG,
            "Unknown topic config name: foo");
        badTopic(wire, Raw.newTopic("bad", 1, Map.of("segment.bytes", "100")),
            Errors.INVALID_CONFIG, "Invalid value 100 for configuration segment.bytes: Value must "
            + "be at least 1048576");
        badTopic(wire, Raw.newTopic("bad", 1, Map.of("retention.ms", "soon")),
            Errors.INVALID_CONFIG,
            "Invalid value soon for configuration retention.ms: Not a number of type LONG");
        badTopic(wire, Raw.newTopic("bad", 1, Map.of("message.downconversion.enable", "true")),
            Errors.INVALID_CONFIG, "Unknown topic config name: message.downconversion.enable");
        var ok = Raw.create(wire, false, Raw.newTopic("bad", 0, none),
            Raw.newTopic("good-beside-bad", 1, none));
        Wait.equal(2, ok.size(), "answers");
        Raw.awaitServed(wire, new Raw.Topic("good-beside-bad", Uuid.ZERO_UUID), 1);
    }

    private static List<DeletableTopicResult> delete(Wire wire, DeleteTopicState... topics)
            throws Exception {
        return new ArrayList<>(wire.ask(6, new DeleteTopicsRequestData().setTimeoutMs(30_000)
            .setTopics(List.of(topics)), new DeleteTopicsResponseData()).responses().valuesList());
    }

    private static DeleteTopicState id(Uuid id) {
        return new DeleteTopicState().setTopicId(id).setName(null);
    }

    private static DeleteTopicState name(String name) {
        return new DeleteTopicState().setName(name);
    }

    private void madeAgain(Wire wire) throws Exception {
        Raw.Topic old = Raw.topic(wire, "reborn", 1);
        Raw.appended(wire, old, Raw.batch("a", "b"));
        var gone = delete(wire, id(old.id())).get(0);
        Raw.error(Errors.NONE, gone.errorCode(), "deleting by id");
        Wait.equal("reborn", gone.name(), "the name in the answer");
        Wait.until("it is gone", Records.LIMIT,
            () -> Raw.metadata(wire, "reborn").errorCode() == 3);
        Raw.Topic young = Raw.topic(wire, "reborn", 1);
        Wait.that(!young.id().equals(old.id()), "the id is another");
        Raw.error(Errors.UNKNOWN_TOPIC_ID, Raw.fetched(wire, old, 0).errorCode(), "fetch by old id");
        Raw.error(Errors.UNKNOWN_TOPIC_ID, Raw.append(wire, old, Raw.batch("c")).errorCode(),
            "produce by old id");
        for (int version = 4; version <= Raw.FETCH_BY_NAME; version++) {
            var part = Raw.partitions(
                Raw.fetch(wire, version, Raw.fetch(old, Raw.at(0, 0)))).get(0);
            Raw.error(Errors.NONE, part.errorCode(), "fetch by name in v" + version);
            Wait.equal(0L, part.highWatermark(), "the end of the new log");
        }
    }

    private static List<CreatePartitionsTopicResult> add(
            Wire wire, boolean validate, CreatePartitionsTopic... topics) throws Exception {
        var request = new CreatePartitionsRequestData().setTimeoutMs(30_000)
            .setValidateOnly(validate);
        for (CreatePartitionsTopic topic : topics) {
            request.topics().add(topic);
        }
        return wire.ask(3, request, new CreatePartitionsResponseData()).results();
    }

    private static CreatePartitionsTopic partitions(String name, int count) {
        return new CreatePartitionsTopic().setName(name).setCount(count).setAssignments(null);
    }

    private void addPartitions(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "grown", 1);
        Raw.error(Errors.NONE, add(wire, true, partitions("grown", 2)).get(0).errorCode(),
            "only looked at");
        Raw.error(Errors.NONE, add(wire, false, partitions("grown", 3)).get(0).errorCode(), "1 to 3");
        Raw.awaitServed(wire, topic, 3);
        var same = add(wire, false, partitions("grown", 3)).get(0);
        Raw.error(Errors.INVALID_PARTITIONS, "Topic already has 3 partition(s).", same.errorCode(),
            same.errorMessage(), "3 to 3");
        var fewer = add(wire, false, partitions("grown", 2)).get(0);
        Raw.error(Errors.INVALID_PARTITIONS,
            "The topic grown currently has 3 partition(s); 2 would not be an increase.",
            fewer.errorCode(), fewer.errorMessage(), "3 to 2");
        Wait.equal(3, Raw.metadata(wire, "grown").partitions().size(), "partitions");
    }

    private void addedToConsumer() throws Exception {
        Records.createTopic(broker, "grown-while-read", 1);
        try (var consumer = Records.consumer(broker, Map.of("group.id", "grown-while-read",
                "metadata.max.age.ms", "200"))) {
            consumer.subscribe(List.of("grown-while-read"));
            Wait.until("one partition is assigned", Records.LIMIT, () -> {
                consumer.poll(Duration.ofMillis(50));
                return consumer.assignment().size() == 1;
            });
            broker.admin().createPartitions(Map.of("grown-while-read",
                org.apache.kafka.clients.admin.NewPartitions.increaseTo(3))).all()
                .get(10, TimeUnit.SECONDS);
            Wait.until("three partitions are assigned", Records.LIMIT, () -> {
                consumer.poll(Duration.ofMillis(50));
                return consumer.assignment().size() == 3;
            });
        }
    }

    private void partitionResults(Wire wire) throws Exception {
        Raw.topic(wire, "grown-a", 1);
        var results = add(wire, false, partitions("grown-a", 2), partitions("grown-unknown", 2));
        Map<String, Errors> got = new TreeMap<>();
        results.forEach(it -> got.put(it.name(), Errors.forCode(it.errorCode())));
        Wait.equal(new TreeMap<>(Map.of("grown-a", Errors.NONE,
            "grown-unknown", Errors.UNKNOWN_TOPIC_OR_PARTITION)), got, "results");
    }

    private void all(Wire wire) throws Exception {
        Raw.topic(wire, "listed", 1);
        Wait.until("the offsets topic is there", Records.LIMIT, () -> wire.ask(4,
            new FindCoordinatorRequestData().setKeyType((byte) 0)
                .setCoordinatorKeys(List.of("listing")),
            new FindCoordinatorResponseData()).coordinators().get(0).errorCode() == 0);
        for (int version = 1; version <= Raw.METADATA; version++) {
            var request = Raw.metadataOf().setTopics(null);
            if (version < 4) {
                request.setAllowAutoTopicCreation(true);
            }
            Map<String, Boolean> internal = new TreeMap<>();
            wire.ask(version, request, new MetadataResponseData()).topics()
                .forEach(it -> internal.put(it.name(), it.isInternal()));
            Wait.equal(false, internal.get("listed"), "listed in v" + version);
            Wait.equal(true, internal.get("__consumer_offsets"), "internal in v" + version);
            Wait.that(!internal.containsKey("__cluster_metadata"), "the metadata log");
            request.setTopics(List.of());
            Wait.equal(0, wire.ask(version, request, new MetadataResponseData()).topics().size(),
                "topics of an empty list in v" + version);
        }
    }

    private void versionZero(Wire wire) throws Exception {
        Raw.topic(wire, "listed-in-0", 1);
        var request = Raw.metadataOf().setAllowAutoTopicCreation(true);
        Wait.that(wire.ask(0, request, new MetadataResponseData()).topics()
            .find("listed-in-0") != null, "an empty list lists all in version 0");
    }

    private void operations(Wire wire) throws Exception {
        Raw.topic(wire, "operations", 1);
        for (int version = 8; version <= Raw.METADATA; version++) {
            var asked = wire.ask(version, Raw.metadataOf("operations")
                .setIncludeTopicAuthorizedOperations(true), new MetadataResponseData());
            Wait.equal(3576, asked.topics().iterator().next().topicAuthorizedOperations(),
                "operations in v" + version);
            var not = wire.ask(version, Raw.metadataOf("operations"), new MetadataResponseData());
            Wait.equal(Integer.MIN_VALUE,
                not.topics().iterator().next().topicAuthorizedOperations(), "not asked for");
        }
        for (int version = 8; version <= 10; version++) {
            Wait.equal(8096, wire.ask(version, Raw.metadataOf()
                .setIncludeClusterAuthorizedOperations(true), new MetadataResponseData())
                .clusterAuthorizedOperations(), "operations of the cluster");
        }
    }

    private void cursor(Wire wire) throws Exception {
        Raw.topic(wire, "walked", 3);
        var request = new DescribeTopicPartitionsRequestData().setResponsePartitionLimit(1)
            .setTopics(List.of(new TopicRequest().setName("walked")));
        List<Integer> seen = new ArrayList<>();
        for (int step = 0; step < 3; step++) {
            var answer = wire.ask(0, request, new DescribeTopicPartitionsResponseData());
            var topic = answer.topics().iterator().next();
            Wait.equal(3576, topic.topicAuthorizedOperations(), "operations");
            topic.partitions().forEach(it -> seen.add(it.partitionIndex()));
            Wait.equal(step + 1, seen.size(), "partitions so far");
            Wait.equal(step == 2, answer.nextCursor() == null, "cursor after step " + step);
            if (step < 2) {
                Wait.equal("walked " + (step + 1), answer.nextCursor().topicName() + " "
                    + answer.nextCursor().partitionIndex(), "cursor");
                request.setCursor(new Cursor().setTopicName(answer.nextCursor().topicName())
                    .setPartitionIndex(answer.nextCursor().partitionIndex()));
            }
        }
        Wait.equal(List.of(0, 1, 2), seen, "partitions");
        var unknown = wire.ask(0, new DescribeTopicPartitionsRequestData()
            .setTopics(List.of(new TopicRequest().setName("walked-unknown"))),
            new DescribeTopicPartitionsResponseData()).topics().iterator().next();
        Raw.error(Errors.UNKNOWN_TOPIC_OR_PARTITION, unknown.errorCode(), "an unknown topic");
    }

    private void ids(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "by-id", 1);
        Uuid unknown = Uuid.randomUuid();
        for (int version = 10; version <= Raw.METADATA; version++) {
            var named = wire.ask(version, Raw.metadataOf("by-id"), new MetadataResponseData());
            Wait.equal(topic.id(), named.topics().iterator().next().topicId(), "the id");
        }
        for (int version = 12; version <= Raw.METADATA; version++) {
            var request = Raw.metadataOf();
            request.topics().add(new MetadataRequestTopic().setName(null).setTopicId(topic.id()));
            request.topics().add(new MetadataRequestTopic().setName(null).setTopicId(unknown));
            List<MetadataResponseTopic> got = new ArrayList<>(wire.ask(version, request,
                new MetadataResponseData()).topics().valuesList());
            got.sort(java.util.Comparator.comparing(MetadataResponseTopic::errorCode));
            Wait.equal("by-id " + topic.id(), got.get(0).name() + " " + got.get(0).topicId(), "by id");
            Raw.error(Errors.UNKNOWN_TOPIC_ID, got.get(1).errorCode(), "an unknown id");
            Wait.equal("null " + unknown, got.get(1).name() + " " + got.get(1).topicId(), "its echo");
        }
    }

    private void noName(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "by-id-too-early", 1);
        for (int version = 10; version <= 11; version++) {
            var request = Raw.metadataOf();
            request.topics().add(new MetadataRequestTopic().setName("by-id-too-early")
                .setTopicId(topic.id()));
            var answer = wire.ask(version, request, new MetadataResponseData());
            Wait.equal(1, answer.topics().size(), "topics");
            Raw.error(Errors.INVALID_REQUEST, answer.topics().iterator().next().errorCode(),
                "an id in v" + version);
        }
    }

    private void unknownNames(Wire wire) throws Exception {
        var answer = wire.ask(12, Raw.metadataOf("not there", "not-there")
            .setAllowAutoTopicCreation(false), new MetadataResponseData()).topics();
        Raw.error(Errors.INVALID_TOPIC_EXCEPTION, answer.find("not there").errorCode(), "a blank");
        Raw.error(Errors.UNKNOWN_TOPIC_OR_PARTITION, answer.find("not-there").errorCode(), "a name");
        var making = wire.ask(12, Raw.metadataOf("not there").setAllowAutoTopicCreation(true),
            new MetadataResponseData()).topics().iterator().next();
        Raw.error(Errors.INVALID_TOPIC_EXCEPTION, making.errorCode(), "an illegal name to make");
        Wait.equal(Uuid.ZERO_UUID, answer.find("not-there").topicId(), "its id");
    }

    private void cluster(Wire wire) throws Exception {
        for (int version = 2; version <= Raw.METADATA; version++) {
            var request = Raw.metadataOf();
            if (version < 4) {
                request.setAllowAutoTopicCreation(true);
            }
            var answer = wire.ask(version, request, new MetadataResponseData());
            Wait.equal(22, answer.clusterId().length(), "letters of " + answer.clusterId());
            Wait.equal(1, answer.controllerId(), "controller");
            Wait.equal(Integer.MIN_VALUE, answer.clusterAuthorizedOperations(), "operations");
            Wait.equal(1, answer.brokers().size(), "brokers");
            Wait.equal("1 127.0.0.1", answer.brokers().iterator().next().nodeId() + " "
                + answer.brokers().iterator().next().host(), "broker");
        }
    }

    private void leader(Wire wire) throws Exception {
        Raw.topic(wire, "led", 2);
        for (int version = 1; version <= Raw.METADATA; version++) {
            var request = Raw.metadataOf("led");
            if (version < 4) {
                request.setAllowAutoTopicCreation(true);
            }
            var topic = wire.ask(version, request, new MetadataResponseData()).topics()
                .iterator().next();
            Wait.equal(2, topic.partitions().size(), "partitions");
            for (var part : topic.partitions()) {
                Wait.equal("0 1 [1] [1] [] " + (version < 7 ? -1 : 0), part.errorCode() + " "
                    + part.leaderId() + " " + part.replicaNodes() + " " + part.isrNodes() + " "
                    + part.offlineReplicas() + " " + part.leaderEpoch(), "partition in v" + version);
            }
        }
    }

    private static CreatableTopic assigned(String name, int partition, List<Integer> brokers) {
        CreatableTopic topic = Raw.newTopic(name, -1, Map.of()).setReplicationFactor((short) -1);
        topic.assignments().add(new CreatableReplicaAssignment().setPartitionIndex(partition)
            .setBrokerIds(brokers));
        return topic;
    }

    private void assignments(Wire wire) throws Exception {
        badTopic(wire, assigned("by-hand", 0, List.of(1)).setNumPartitions(1),
            Errors.INVALID_REQUEST, "A manual partition assignment was specified, but numPartitions "
            + "was not set to -1.");
        badTopic(wire, assigned("by-hand", 0, List.of(1)).setReplicationFactor((short) 1),
            Errors.INVALID_REQUEST, "A manual partition assignment was specified, but replication "
            + "factor was not set to -1.");
        badTopic(wire, assigned("by-hand", 1, List.of(1)), Errors.INVALID_REPLICA_ASSIGNMENT,
            "partitions should be a consecutive 0-based integer sequence");
        badTopic(wire, assigned("by-hand", 0, List.of()), Errors.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes an empty replica list.");
        badTopic(wire, assigned("by-hand", 0, List.of(1, 1)), Errors.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes the broker 1 more than once.");
        badTopic(wire, assigned("by-hand", 0, List.of(9)), Errors.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes broker 9, but no such broker is registered.");
        var made = Raw.create(wire, false, assigned("by-hand", 0, List.of(1))).get(0);
        Raw.error(Errors.NONE, made.errorCode(), "a good one");
        Wait.equal("1 1", made.numPartitions() + " " + made.replicationFactor(), "its counts");
    }

    private void tooMany(Wire wire) throws Exception {
        var both = Raw.create(wire, true, Raw.newTopic("too-many-a", 6000, Map.of()),
            Raw.newTopic("too-many-b", 4001, Map.of()));
        for (CreatableTopicResult it : both) {
            Raw.error(Errors.POLICY_VIOLATION,
                "Excessively large number of partitions per request.", it.errorCode(),
                it.errorMessage(), it.name());
        }
    }

    private void deleteErrors(Wire wire) throws Exception {
        Uuid unknown = Uuid.randomUuid();
        Raw.Topic topic = Raw.topic(wire, "kept", 1);
        Raw.error(Errors.UNKNOWN_TOPIC_OR_PARTITION,
            delete(wire, name("kept-unknown")).get(0).errorCode(), "an unknown name");
        Raw.error(Errors.UNKNOWN_TOPIC_ID, delete(wire, id(unknown)).get(0).errorCode(),
            "an unknown id");
        var both = delete(wire, new DeleteTopicState().setName("kept").setTopicId(topic.id()));
        Raw.error(Errors.INVALID_REQUEST, "You may not specify both topic name and topic id.",
            both.get(0).errorCode(), both.get(0).errorMessage(), "name and id");
        var neither = delete(wire, id(Uuid.ZERO_UUID)).get(0);
        Raw.error(Errors.INVALID_REQUEST, "Neither topic name nor id were specified.",
            neither.errorCode(), neither.errorMessage(), "neither");
        var twice = delete(wire, name("kept"), name("kept")).get(0);
        Raw.error(Errors.INVALID_REQUEST, "Duplicate topic name.", twice.errorCode(),
            twice.errorMessage(), "named twice");
        Wait.equal((short) 0, Raw.metadata(wire, "kept").errorCode(), "it is still there");
    }
}
