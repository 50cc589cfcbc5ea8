package suite;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.message.AddPartitionsToTxnRequestData;
import org.apache.kafka.common.message.AddPartitionsToTxnRequestData.AddPartitionsToTxnTopic;
import org.apache.kafka.common.message.AddPartitionsToTxnRequestData.AddPartitionsToTxnTransaction;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.ApiMessageType.ListenerType;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.message.ApiVersionsResponseData;
import org.apache.kafka.common.message.DescribeAclsRequestData;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.HeartbeatRequestData;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.MetadataResponseData;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.ProduceResponseData;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.SaslHandshakeRequestData;
import org.apache.kafka.common.message.SaslHandshakeResponseData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.types.RawTaggedField;

/** A: first contact, versions, frames, order; and traps 1, 2 and 9. */
final class AcceptProtocol extends Acceptance {
    AcceptProtocol(Suite suite, Broker broker) {
        super(suite, broker);
    }

    @Override
    void run() {
        item("1: ApiVersions 99 is answered in version 0 with the one range to try again",
            this::unknownVersion);
        item("2: a client software name with a blank and a mark is an invalid request",
            this::softwareName);
        item("3: supported features that begin at 0 are left out before ApiVersions 4",
            this::features);
        item("4: a removed key and a removed version end their connection and no other",
            this::removed);
        item("5: a frame of 200 MiB ends the connection before it is sent", this::oversize);
        item("6: pipelined requests are answered in order", this::pipelined);
        item("7: unknown tagged fields in header and body are passed over", this::tagged);
        item("8: every advertised version of every key answers and is decoded to its last byte",
            this::everyVersion);
        item("9: ApiVersions 5 that means another cluster or broker says REBOOTSTRAP_REQUIRED",
            this::otherCluster);
        trap("1: the answer to ApiVersions has header version 0 in every version", this::header);
        trap("1: no feature tag is sent that holds its default", this::defaultTags);
        trap("1: an ApiVersions request of version 0 gets the shape of version 0",
            this::versionZero);
        trap("1: a SASL handshake on a plain listener is refused with an answer",
            this::handshake);
        trap("2: Produce is advertised from 0, but 0 to 2 end the connection",
            this::produceRange);
        trap("2: every range is one that Kafka advertises, Metadata 0 included", this::ranges);
        trap("2: what librdkafka derives its features from is advertised", this::derived);
        trap("9: a body that does not parse ends the connection", this::unparsable);
        trap("9: a count of 2147483647 ends the connection", this::hugeCount);
        trap("9: a negative frame size ends the connection", wire -> {
            wire.sendBytes(ByteBuffer.allocate(4).putInt(-1).array());
            wire.expectClosed("a frame of -1 bytes");
        });
        trap("9: a null client id is served", this::nullClient);
        trap("9: a stalled request of one connection does not stop another", this::stalled);
        trap("9: two frames in one write, and one frame byte by byte", this::pieces);
    }

    private static ApiVersionsRequestData versions() {
        return new ApiVersionsRequestData().setClientSoftwareName("acceptance")
            .setClientSoftwareVersion("1.0");
    }

    static ApiVersionsResponseData versions(Wire wire) throws Exception {
        return wire.ask(4, versions(), new ApiVersionsResponseData());
    }

    private void unknownVersion(Wire wire) throws Exception {
        RequestHeaderData header = wire.header(18, 99);
        ByteBuffer frame = ByteBuffer.wrap(Wire.encode(header, 3, versions()));
        byte[] garbage = new byte[frame.remaining() + 7];
        java.util.Arrays.fill(garbage, (byte) 0xfe);
        frame.get(garbage, 0, frame.remaining());
        wire.sendFrame(garbage);
        ByteBuffer due = ByteBuffer.allocate(16).putInt(header.correlationId()).putShort((short) 35)
            .putInt(1).putShort((short) 18).putShort((short) 0).putShort((short) 5).flip();
        Wait.equal(hex(due), hex(wire.frame()), "the answer");
        Wait.equal((short) 0, versions(wire).errorCode(), "and the connection goes on");
    }

    static String hex(ByteBuffer bytes) {
        StringBuilder text = new StringBuilder();
        for (ByteBuffer rest = bytes.duplicate(); rest.hasRemaining();) {
            text.append(String.format("%02x", rest.get()));
        }
        return text.toString();
    }

    private void softwareName(Wire wire) throws Exception {
        for (String[] bad : new String[][] {{"bad name!", "1"}, {"good", "-1"}, {"", "1"}}) {
            var answer = wire.ask(3, new ApiVersionsRequestData().setClientSoftwareName(bad[0])
                .setClientSoftwareVersion(bad[1]), new ApiVersionsResponseData());
            Raw.error(Errors.INVALID_REQUEST, answer.errorCode(), bad[0] + " " + bad[1]);
            Wait.equal(0, answer.apiKeys().size(), "keys for " + bad[0]);
        }
        var good = wire.ask(3, versions(), new ApiVersionsResponseData());
        Raw.error(Errors.NONE, good.errorCode(), "a good name on the same connection");
    }

    private void features(Wire wire) throws Exception {
        Map<String, String> three = features(wire, 3);
        Map<String, String> four = features(wire, 4);
        Wait.that(three.values().stream().noneMatch(range -> range.startsWith("0-")),
            "features of version 3: " + three);
        Map<String, String> fromOne = new TreeMap<>(four);
        fromOne.values().removeIf(range -> range.startsWith("0-"));
        Wait.equal(fromOne, three, "features of version 3");
        // Nothing here hangs on a feature yet, so none is named.
        Wait.equal(genuine(), four.size() > three.size(), "version 4 names more, " + four);
    }

    private static Map<String, String> features(Wire wire, int version) throws Exception {
        Map<String, String> found = new TreeMap<>();
        wire.ask(version, versions(), new ApiVersionsResponseData()).supportedFeatures()
            .forEach(it -> found.put(it.name(), it.minVersion() + "-" + it.maxVersion()));
        return found;
    }

    private void removed(Wire other) throws Exception {
        for (int[] key : new int[][] {{4, 0}, {5, 0}, {6, 0}, {7, 0}, {1, 3}, {2, 0}, {999, 0}}) {
            try (Wire wire = new Wire(broker)) {
                RequestHeaderData header = wire.header(key[0], key[1]);
                ByteBuffer frame = org.apache.kafka.common.protocol.MessageUtil
                    .toByteBufferAccessor(header, (short) 1).buffer();
                byte[] bytes = new byte[frame.remaining() + 40];
                frame.get(bytes, 0, frame.remaining());
                wire.sendFrame(bytes);
                wire.expectClosed("key " + key[0] + " version " + key[1]);
            }
            Raw.error(Errors.NONE, versions(other).errorCode(), "another connection");
        }
    }

    private void oversize(Wire wire) throws Exception {
        wire.sendBytes(ByteBuffer.allocate(4).putInt(200 << 20).array());
        wire.expectClosed("a frame of 200 MiB");
        try (Wire next = new Wire(broker)) {
            next.sendBytes(ByteBuffer.allocate(4).putInt((100 << 20) + 1).array());
            next.expectClosed("a frame of one byte too many");
        }
    }

    private void pipelined(Wire wire) throws Exception {
        int first = wire.send(12, Raw.metadataOf());
        int second = wire.send(3, versions());
        int third = wire.send(0, Raw.metadataOf().setAllowAutoTopicCreation(true));
        wire.receive(12, first, new MetadataResponseData());
        wire.receive(3, second, new ApiVersionsResponseData());
        wire.receive(0, third, new MetadataResponseData());
        List<Integer> many = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            many.add(wire.send(12, Raw.metadataOf()));
        }
        for (int correlation : many) {
            wire.receive(12, correlation, new MetadataResponseData());
        }
    }

    private void tagged(Wire wire) throws Exception {
        RawTaggedField field = new RawTaggedField(1000, new byte[] {1, 2, 3});
        RequestHeaderData header = wire.header(3, 12);
        header.unknownTaggedFields().add(field);
        MetadataRequestData request = Raw.metadataOf("unknown-tags");
        request.unknownTaggedFields().add(field);
        request.topics().get(0).unknownTaggedFields().add(new RawTaggedField(77, new byte[300]));
        wire.sendFrame(Wire.encode(header, 12, request));
        var answer = wire.receive(12, header.correlationId(), new MetadataResponseData());
        var topic = answer.topics().iterator().next();
        Wait.equal("unknown-tags", topic.name(), "the topic that was asked for");
        Raw.error(Errors.UNKNOWN_TOPIC_OR_PARTITION, topic.errorCode(), "its error");
    }

    /** The smallest request that has an answer: mostly one that leaves everything empty. */
    private static ApiMessage smallest(ApiKeys key, int version) {
        ApiMessage request = ApiMessageType.fromApiKey(key.id).newRequest();
        if (request instanceof ProduceRequestData produce) {
            produce.setAcks((short) 1);
        } else if (request instanceof FetchRequestData fetch) {
            fetch.setSessionEpoch(-1);
        } else if (request instanceof ListOffsetsRequestData list) {
            list.setReplicaId(-1);
        } else if (request instanceof ApiVersionsRequestData versions) {
            versions.setClientSoftwareName("a").setClientSoftwareVersion("1");
        } else if (request instanceof DescribeAclsRequestData acls) {
            byte any = 1;
            acls.setResourceTypeFilter(any).setPatternTypeFilter(any).setOperation(any)
                .setPermissionType(any);
        } else if (request instanceof AddPartitionsToTxnRequestData add && version >= 4) {
            AddPartitionsToTxnTransaction one = new AddPartitionsToTxnTransaction()
                .setTransactionalId("t").setProducerId(1);
            one.topics().add(new AddPartitionsToTxnTopic().setName("t").setPartitions(List.of(0)));
            add.transactions().add(one);
        }
        return request;
    }

    private void everyVersion(Wire asking) throws Exception {
        List<String> failures = new ArrayList<>();
        int versions = 0;
        for (var range : versions(asking).apiKeys()) {
            ApiKeys key = ApiKeys.forId(range.apiKey());
            int oldest = Math.max(range.minVersion(), key == ApiKeys.PRODUCE ? 3 : 0);
            for (int version = oldest; version <= range.maxVersion(); version++) {
                versions++;
                // A connection each: genuine Kafka ends it after a failed SASL handshake.
                try (Wire wire = new Wire(broker)) {
                    wire.ask(version, smallest(key, version),
                        ApiMessageType.fromApiKey(key.id).newResponse());
                } catch (Exception | AssertionError failure) {
                    failures.add(key + " v" + version + ": " + failure);
                }
            }
        }
        Wait.equal(List.of(), failures, "versions that failed of " + versions);
        Wait.that(versions > 100, "only " + versions + " versions");
    }

    private void otherCluster(Wire wire) throws Exception {
        String cluster =
            wire.ask(12, Raw.metadataOf(), new MetadataResponseData()).clusterId();
        Object[][] cases = {{null, -1, Errors.NONE}, {cluster, 1, Errors.NONE},
            {null, 7, Errors.INVALID_REQUEST}, {cluster, -1, Errors.INVALID_REQUEST},
            {"another-cluster-of-22ch", 1, Errors.REBOOTSTRAP_REQUIRED},
            {cluster, 2, Errors.REBOOTSTRAP_REQUIRED}};
        for (Object[] it : cases) {
            var answer = wire.ask(5, versions().setClusterId((String) it[0])
                .setNodeId((Integer) it[1]), new ApiVersionsResponseData());
            Raw.error((Errors) it[2], answer.errorCode(), it[0] + " " + it[1]);
            Wait.equal(it[2] == Errors.NONE, !answer.apiKeys().isEmpty(), "keys for " + it[0]);
        }
    }

    private void header(Wire wire) throws Exception {
        for (int version = 0; version <= 5; version++) {
            RequestHeaderData header = wire.header(18, version);
            wire.sendFrame(Wire.encode(header, version, versions()));
            ByteBuffer answer = wire.frame();
            Wait.equal(header.correlationId(), answer.getInt(), "correlation id");
            Wait.equal((short) 0, answer.getShort(), "error right behind it in v" + version);
        }
    }

    private void defaultTags(Wire wire) throws Exception {
        RequestHeaderData header = wire.header(18, 3);
        wire.sendFrame(Wire.encode(header, 3, versions()));
        ByteBuffer bytes = wire.frame();
        var answer = new ApiVersionsResponseData(
            new org.apache.kafka.common.protocol.ByteBufferAccessor(bytes.position(4)), (short) 3);
        ByteBuffer again = org.apache.kafka.common.protocol.MessageUtil
            .toByteBufferAccessor(answer, (short) 3).buffer();
        Wait.equal(hex(again), hex(bytes.position(4)), "as Kafka's own encoder writes it");
        if (!genuine()) {
            Wait.equal((byte) 0, bytes.get(bytes.limit() - 1), "number of tags");
        }
    }

    private void versionZero(Wire wire) throws Exception {
        RequestHeaderData header = wire.header(18, 0);
        wire.sendFrame(Wire.encode(header, 0, new ApiVersionsRequestData()));
        ByteBuffer answer = wire.frame();
        int keys = answer.getInt(6);
        Wait.equal(10 + 6 * keys, answer.limit(), "bytes of an answer with " + keys + " keys");
    }

    private void handshake(Wire wire) throws Exception {
        for (int version = 0; version <= 1; version++) {
            var answer = wire.ask(version, new SaslHandshakeRequestData().setMechanism("PLAIN"),
                new SaslHandshakeResponseData());
            Raw.error(Errors.ILLEGAL_SASL_STATE, answer.errorCode(), "on a plain listener");
        }
    }

    private void produceRange(Wire asking) throws Exception {
        var range = versions(asking).apiKeys().find((short) 0);
        Wait.equal("0-13", range.minVersion() + "-" + range.maxVersion(), "versions of Produce");
        for (int version = 0; version <= 2; version++) {
            try (Wire wire = new Wire(broker)) {
                RequestHeaderData header = wire.header(0, version);
                ByteBuffer frame = org.apache.kafka.common.protocol.MessageUtil
                    .toByteBufferAccessor(header, (short) 1).buffer();
                byte[] bytes = new byte[frame.remaining() + 10]; // acks 0, timeout 0, no topics
                frame.get(bytes, 0, frame.remaining());
                wire.sendFrame(bytes);
                wire.expectClosed("Produce " + version);
            }
        }
        var answer = asking.ask(3, Raw.produce(1), new ProduceResponseData());
        Wait.equal(0, answer.responses().size(), "answers to Produce 3 without topics");
    }

    private void ranges(Wire wire) throws Exception {
        Map<Short, String> due = new HashMap<>();
        for (ApiKeys key : ApiKeys.apisForListener(ListenerType.BROKER)) {
            key.toApiVersionForApiResponse(false, ListenerType.BROKER).ifPresent(
                it -> due.put(it.apiKey(), it.minVersion() + "-" + it.maxVersion()));
        }
        Map<Short, String> got = new TreeMap<>();
        versions(wire).apiKeys().forEach(
            it -> got.put(it.apiKey(), it.minVersion() + "-" + it.maxVersion()));
        got.forEach((key, range) -> Wait.equal(due.get(key), range, "range of " + key));
        Wait.equal("0-13", got.get((short) 3), "Metadata");
        Wait.that(!got.containsKey((short) 71) && !got.containsKey((short) 72), "telemetry");
        Set<Short> missing = new TreeSet<>(due.keySet());
        missing.removeAll(got.keySet());
        Wait.that(!genuine() || missing.equals(Set.of((short) 71, (short) 72)), "without " + missing);
    }

    private void derived(Wire wire) throws Exception {
        var keys = versions(wire).apiKeys();
        int[][] needed = {{10, 0}, {8, 1}, {9, 1}, {11, 0}, {12, 0}, {13, 0}, {14, 0}, {17, 0},
            {0, 3}, {0, 7}, {1, 4}, {1, 10}, {2, 1}, {2, 7}, {8, 9}, {9, 9}, {22, 0}, {60, 0}};
        for (int[] it : needed) {
            var range = keys.find((short) it[0]);
            Wait.that(range != null && range.maxVersion() >= it[1], "key " + it[0] + " to " + it[1]);
        }
    }

    private void unparsable(Wire wire) throws Exception {
        byte[] frame = Wire.encode(wire.header(12, 4), 4,
            new HeartbeatRequestData().setGroupId("g").setMemberId("m"));
        wire.sendFrame(java.util.Arrays.copyOf(frame, frame.length - 3));
        wire.expectClosed("a heartbeat that is cut off");
    }

    private void hugeCount(Wire wire) throws Exception {
        ByteBuffer head = org.apache.kafka.common.protocol.MessageUtil
            .toByteBufferAccessor(wire.header(3, 1), (short) 1).buffer();
        ByteBuffer frame = ByteBuffer.allocate(head.remaining() + 4);
        wire.sendFrame(frame.put(head).putInt(Integer.MAX_VALUE).array());
        wire.expectClosed("Metadata of 2147483647 topics");
    }

    private void nullClient(Wire wire) throws Exception {
        RequestHeaderData header = wire.header(3, 12).setClientId(null);
        wire.sendFrame(Wire.encode(header, 12, Raw.metadataOf()));
        wire.receive(12, header.correlationId(), new MetadataResponseData());
    }

    private void stalled(Wire wire) throws Exception {
        Raw.Topic topic = Raw.topic(wire, "stalled", 1);
        int waiting = wire.send(Raw.FETCH,
            Raw.fetch(topic, Raw.at(0, 0)).setMaxWaitMs(60_000).setMinBytes(1));
        try (Wire half = new Wire(broker); Wire other = new Wire(broker)) {
            half.sendBytes(new byte[] {0, 0, 1}); // part of a length
            Raw.appended(other, topic, Raw.batch("go"));
        }
        var answer = wire.receive(Raw.FETCH, waiting,
            new org.apache.kafka.common.message.FetchResponseData());
        Wait.equal(List.of("0:null=go"), Raw.texts(Raw.partitions(answer).get(0)), "records");
    }

    private void pieces(Wire wire) throws Exception {
        byte[] one = Wire.encode(wire.header(3, 12), 12, Raw.metadataOf());
        byte[] two = Wire.encode(wire.header(3, 12).setCorrelationId(7), 12, Raw.metadataOf());
        wire.sendBytes(ByteBuffer.allocate(8 + one.length + two.length).putInt(one.length).put(one)
            .putInt(two.length).put(two).array());
        wire.frame();
        wire.receive(12, 7, new MetadataResponseData());
        byte[] all = ByteBuffer.allocate(4 + two.length).putInt(two.length).put(two).array();
        for (byte piece : all) {
            wire.sendBytes(new byte[] {piece});
        }
        wire.receive(12, 7, new MetadataResponseData());
    }
}
