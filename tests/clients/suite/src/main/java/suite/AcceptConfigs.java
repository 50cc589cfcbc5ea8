package suite;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.message.AlterConfigsRequestData;
import org.apache.kafka.common.message.AlterConfigsResponseData;
import org.apache.kafka.common.message.DescribeClusterRequestData;
import org.apache.kafka.common.message.DescribeClusterResponseData;
import org.apache.kafka.common.message.DescribeConfigsRequestData;
import org.apache.kafka.common.message.DescribeConfigsRequestData.DescribeConfigsResource;
import org.apache.kafka.common.message.DescribeConfigsResponseData;
import org.apache.kafka.common.message.DescribeConfigsResponseData.DescribeConfigsResourceResult;
import org.apache.kafka.common.message.DescribeConfigsResponseData.DescribeConfigsResult;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterConfigsResource;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterableConfig;
import org.apache.kafka.common.message.IncrementalAlterConfigsResponseData;
import org.apache.kafka.common.message.IncrementalAlterConfigsResponseData.AlterConfigsResourceResponse;
import org.apache.kafka.common.message.ListPartitionReassignmentsRequestData;
import org.apache.kafka.common.message.ListPartitionReassignmentsResponseData;
import org.apache.kafka.common.message.MetadataResponseData;
import org.apache.kafka.common.protocol.Errors;

/** J: configuration and the cluster as tools see it; and the part of trap 6 about configs. */
final class AcceptConfigs extends Acceptance {
    private static final int TOPIC = 2;
    private static final int BROKER = 4;
    private static final int SET = 0;
    private static final int DELETE = 1;
    private static final int APPEND = 2;
    private static final int SUBTRACT = 3;

    /** The topic configs of Kafka 4.4 and their defaults. */
    private static final Map<String, String> DEFAULTS = defaults();

    AcceptConfigs(Suite suite, Broker broker) {
        super(suite, broker);
    }

    @Override
    void run() {
        item("88: a topic has all of Kafka's configs, each with its default and source",
            this::topicDefaults);
        item("88: a config that is set, added to, taken from and deleted", this::changes);
        item("89: the configs of this broker, and of one that is not here", this::brokerConfigs);
        item("93: cluster, reassignments, quorum, log directories and features are told",
            this::cluster);
        item("98: what is not advertised is refused by the client within five seconds",
            this::notAdvertised);
        trap("6: config keys of null or an empty list are all, others only themselves",
            this::keys);
        trap("6: bad changes each have their error, and change nothing", this::badChanges);
        trap("6: AlterConfigs 0 to 2 replace all that was set", this::replaced);
        trap("6: a config is told with its type, synonyms and documentation as asked for",
            this::synonyms);
    }

    private static Map<String, String> defaults() {
        Map<String, String> all = new TreeMap<>();
        for (String line : ("cleanup.policy=delete;compression.gzip.level=-1;"
            + "compression.lz4.level=9;compression.type=producer;compression.zstd.level=3;"
            + "delete.retention.ms=86400000;file.delete.delay.ms=60000;"
            + "flush.messages=9223372036854775807;flush.ms=9223372036854775807;"
            + "follower.replication.throttled.replicas=;index.interval.bytes=4096;"
            + "leader.replication.throttled.replicas=;local.retention.bytes=-2;"
            + "local.retention.ms=-2;max.compaction.lag.ms=9223372036854775807;"
            + "max.decompressed.message.bytes=2147483639;max.message.bytes=1048588;message.timestamp.after.max.ms=3600000;"
            + "message.timestamp.before.max.ms=9223372036854775807;"
            + "message.timestamp.type=CreateTime;min.cleanable.dirty.ratio=0.5;"
            + "min.compaction.lag.ms=0;min.insync.replicas=1;preallocate=false;"
            + "remote.log.copy.disable=false;remote.log.delete.on.disable=false;"
            + "remote.storage.enable=false;retention.bytes=-1;retention.ms=604800000;"
            + "segment.bytes=1073741824;segment.index.bytes=10485760;segment.jitter.ms=0;"
            + "segment.ms=604800000;unclean.leader.election.enable=false;"
            + "errors.deadletterqueue.group.enable=false;remote.copy.lag.ms=0;"
            + "remote.copy.lag.bytes=-1").split(";")) {
            all.put(line.substring(0, line.indexOf('=')), line.substring(line.indexOf('=') + 1));
        }
        return all;
    }

    private static DescribeConfigsResult describe(
            Wire wire, int version, int type, String name, List<String> keys) throws Exception {
        return wire.ask(version, new DescribeConfigsRequestData().setIncludeSynonyms(true)
            .setIncludeDocumentation(version >= 3).setResources(List.of(
                new DescribeConfigsResource().setResourceType((byte) type).setResourceName(name)
                    .setConfigurationKeys(keys))), new DescribeConfigsResponseData()).results()
            .get(0);
    }

    private static Map<String, DescribeConfigsResourceResult> byName(DescribeConfigsResult result) {
        Map<String, DescribeConfigsResourceResult> all = new TreeMap<>();
        result.configs().forEach(it -> all.put(it.name(), it));
        return all;
    }

    private void topicDefaults(Wire wire) throws Exception {
        Raw.topic(wire, "config-defaults", 1);
        for (int version = 1; version <= 4; version++) {
            var result = describe(wire, version, TOPIC, "config-defaults", null);
            Raw.error(Errors.NONE, result.errorCode(), "v" + version);
            Map<String, String> got = new TreeMap<>();
            Set<String> others = new TreeSet<>();
            byName(result).forEach((name, it) -> {
                if (name.startsWith("gregor.")) {
                    return;
                }
                got.put(name, it.value());
                if (it.configSource() != 5 || it.readOnly() || it.isSensitive()) {
                    others.add(name + " " + it.configSource());
                }
            });
            Wait.equal(DEFAULTS, got, "configs in v" + version);
            // With eligible leaders, a feature of Kafka's, its controller sets this one itself.
            Wait.equal(genuine() ? Set.of("min.insync.replicas 3") : Set.of(), others,
                "configs that are not defaults");
        }
        Raw.error(Errors.UNKNOWN_TOPIC_OR_PARTITION,
            describe(wire, 4, TOPIC, "config-never", null).errorCode(), "an unknown topic");
        Raw.error(Errors.INVALID_TOPIC_EXCEPTION,
            describe(wire, 4, TOPIC, "config never", null).errorCode(), "no name");
    }

    private static AlterableConfig op(String name, int operation, String value) {
        return new AlterableConfig().setName(name).setConfigOperation((byte) operation)
            .setValue(value);
    }

    private static AlterConfigsResource resource(int type, String name, AlterableConfig... ops) {
        AlterConfigsResource resource =
            new AlterConfigsResource().setResourceType((byte) type).setResourceName(name);
        for (AlterableConfig it : ops) {
            resource.configs().add(it);
        }
        return resource;
    }

    private static AlterConfigsResourceResponse alter(
            Wire wire, boolean validate, AlterConfigsResource resource) throws Exception {
        var request = new IncrementalAlterConfigsRequestData().setValidateOnly(validate);
        request.resources().add(resource);
        return wire.ask(1, request, new IncrementalAlterConfigsResponseData()).responses().get(0);
    }

    private static String config(Wire wire, String topic, String key) throws Exception {
        var found = byName(describe(wire, 4, TOPIC, topic, List.of(key))).get(key);
        return found.value() + " " + found.configSource();
    }

    private void change(Wire wire, String topic, AlterableConfig op, String due) throws Exception {
        var answer = alter(wire, false, resource(TOPIC, topic, op));
        Raw.error(Errors.NONE, answer.errorCode(), op + ", " + answer.errorMessage());
        Wait.until(op + " shows " + due, Records.LIMIT,
            () -> config(wire, topic, op.name()).equals(due));
    }

    private void changes(Wire wire) throws Exception {
        Raw.topic(wire, "config-changes", 1);
        change(wire, "config-changes", op("retention.ms", SET, "86400000"), "86400000 1");
        change(wire, "config-changes", op("cleanup.policy", APPEND, "compact"),
            "delete,compact 1");
        change(wire, "config-changes", op("cleanup.policy", APPEND, "compact"),
            "delete,compact 1");
        change(wire, "config-changes", op("cleanup.policy", SUBTRACT, "delete"), "compact 1");
        change(wire, "config-changes", op("cleanup.policy", DELETE, null), "delete 5");
        change(wire, "config-changes", op("retention.ms", DELETE, null), "604800000 5");
        var looked = alter(wire, true,
            resource(TOPIC, "config-changes", op("retention.ms", SET, "5")));
        Raw.error(Errors.NONE, looked.errorCode(), "validateOnly");
        Wait.equal("604800000 5", config(wire, "config-changes", "retention.ms"), "unchanged");
    }

    private void badChanges(Wire wire) throws Exception {
        Raw.topic(wire, "config-bad", 1);
        Object[][] cases = {
            {op("no.such.key", SET, "1"), Errors.INVALID_CONFIG,
                "Unknown topic config name: no.such.key"},
            {op("retention.ms", SET, "soon"), Errors.INVALID_CONFIG,
                "Invalid value soon for configuration retention.ms: Not a number of type LONG"},
            {op("segment.bytes", SET, "1"), Errors.INVALID_CONFIG,
                "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576"},
            {op("retention.ms", SET, null), Errors.INVALID_REQUEST,
                "Null value not supported for : retention.ms"},
            {op("retention.ms", APPEND, "1"), Errors.INVALID_CONFIG,
                "Can't APPEND to key retention.ms because its type is not LIST."},
            {op("retention.ms", 9, "1"), Errors.UNKNOWN_SERVER_ERROR, null},
            {op("cleanup.policy", SET, "shred"), Errors.INVALID_CONFIG, "Invalid value shred for "
                + "configuration cleanup.policy: String must be one of: compact, delete"}};
        List<String> due = new ArrayList<>();
        List<String> got = new ArrayList<>();
        for (Object[] it : cases) {
            var answer =
                alter(wire, false, resource(TOPIC, "config-bad", (AlterableConfig) it[0]));
            due.add(it[1] + ": " + it[2]);
            got.add(Errors.forCode(answer.errorCode()) + ": " + answer.errorMessage());
        }
        Wait.equal(String.join("\n", due), String.join("\n", got), "what is told");
        Raw.error(Errors.UNKNOWN_TOPIC_OR_PARTITION, alter(wire, false,
            resource(TOPIC, "config-never", op("retention.ms", SET, "1"))).errorCode(), "no topic");
        var half = alter(wire, false, resource(TOPIC, "config-bad", op("retention.ms", SET, "1"),
            op("segment.bytes", SET, "x")));
        Raw.error(Errors.INVALID_CONFIG, half.errorCode(), "one good and one bad");
        Wait.equal("604800000 5", config(wire, "config-bad", "retention.ms"), "unchanged");
    }

    private void keys(Wire wire) throws Exception {
        Raw.topic(wire, "config-keys", 1);
        int all = describe(wire, 4, TOPIC, "config-keys", null).configs().size();
        Wait.equal(all, describe(wire, 4, TOPIC, "config-keys", List.of()).configs().size(),
            "configs of an empty list");
        Wait.equal(Set.of("retention.ms"), byName(describe(wire, 4, TOPIC, "config-keys",
            List.of("retention.ms", "no.such.key"))).keySet(), "configs of two keys");
    }

    private void replaced(Wire wire) throws Exception {
        Raw.topic(wire, "config-replaced", 1, "retention.ms", "1000");
        for (int version = 0; version <= 2; version++) {
            var resource = new AlterConfigsRequestData.AlterConfigsResource()
                .setResourceType((byte) TOPIC).setResourceName("config-replaced");
            String value = Integer.toString(5000 + version);
            resource.configs().add(new AlterConfigsRequestData.AlterableConfig()
                .setName("max.message.bytes").setValue(value));
            var request = new AlterConfigsRequestData();
            request.resources().add(resource);
            var answer = wire.ask(version, request, new AlterConfigsResponseData()).responses()
                .get(0);
            Raw.error(Errors.NONE, answer.errorCode(), "v" + version);
            Wait.until("it is replaced", Records.LIMIT, () ->
                config(wire, "config-replaced", "max.message.bytes").equals(value + " 1")
                && config(wire, "config-replaced", "retention.ms").equals("604800000 5"));
        }
    }

    private void synonyms(Wire wire) throws Exception {
        Raw.topic(wire, "config-synonyms", 1, "max.message.bytes", "5000");
        for (int version = 1; version <= 4; version++) {
            var it = byName(describe(wire, version, TOPIC, "config-synonyms",
                List.of("max.message.bytes"))).get("max.message.bytes");
            List<String> told = new ArrayList<>();
            it.synonyms().forEach(one -> told.add(one.name() + "=" + one.value() + " "
                + one.source()));
            Wait.equal(List.of("max.message.bytes=5000 1", "message.max.bytes=1048588 5"), told,
                "synonyms in v" + version);
            Wait.equal(version < 3 ? 0 : 3, (int) it.configType(), "type in v" + version);
            Wait.equal(version >= 3, !it.documentation().isEmpty(), "documentation in v" + version);
        }
        var plain = wire.ask(4, new DescribeConfigsRequestData().setResources(List.of(
            new DescribeConfigsResource().setResourceType((byte) TOPIC)
                .setResourceName("config-synonyms").setConfigurationKeys(null))),
            new DescribeConfigsResponseData()).results().get(0);
        for (var it : plain.configs()) {
            Wait.equal("0 null", it.synonyms().size() + " " + it.documentation(), "not asked for");
        }
    }

    private void brokerConfigs(Wire wire) throws Exception {
        var result = describe(wire, 4, BROKER, "1", null);
        Raw.error(Errors.NONE, result.errorCode(), "this broker");
        Map<String, String> due = new TreeMap<>(Map.of("delete.topic.enable", "true 5",
            "default.replication.factor", "1 5", "auto.create.topics.enable", "true 4",
            "num.partitions", "1 4", "message.max.bytes", "1048588 5", "node.id", "1 4",
            "log.retention.hours", "168 5", "group.initial.rebalance.delay.ms", "0 4"));
        Map<String, String> got = new TreeMap<>();
        byName(result).forEach((name, it) -> {
            if (due.containsKey(name)) {
                got.put(name, it.value() + " " + it.configSource());
            }
        });
        Wait.equal(due, got, "configs of the broker");
        var other = describe(wire, 4, BROKER, "7", null);
        Raw.error(Errors.INVALID_REQUEST,
            "Unexpected broker id, expected 1 or empty string, but received 7", other.errorCode(),
            other.errorMessage(), "broker 7");
        var word = describe(wire, 4, BROKER, "seven", null);
        Raw.error(Errors.INVALID_REQUEST, "Broker id must be an integer, but it is: seven",
            word.errorCode(), word.errorMessage(), "broker seven");
        Raw.error(Errors.NONE, describe(wire, 4, BROKER, "", null).errorCode(), "all brokers");
    }

    private void cluster(Wire wire) throws Exception {
        String id = wire.ask(12, Raw.metadataOf(), new MetadataResponseData()).clusterId();
        for (int version = 0; version <= 2; version++) {
            var answer = wire.ask(version, new DescribeClusterRequestData(),
                new DescribeClusterResponseData());
            var node = answer.brokers().iterator().next();
            Wait.equal("NONE " + id + " 1 1 1 127.0.0.1 null " + Integer.MIN_VALUE,
                Errors.forCode(answer.errorCode()) + " " + answer.clusterId() + " "
                + answer.controllerId() + " " + answer.brokers().size() + " " + node.brokerId()
                + " " + node.host() + " " + node.rack() + " "
                + answer.clusterAuthorizedOperations(), "v" + version);
        }
        var operations = wire.ask(2, new DescribeClusterRequestData()
            .setIncludeClusterAuthorizedOperations(true), new DescribeClusterResponseData());
        Wait.equal(8096, operations.clusterAuthorizedOperations(), "operations");
        Object[][] types = {{0, Errors.UNSUPPORTED_ENDPOINT_TYPE}, {2, Errors.MISMATCHED_ENDPOINT_TYPE}};
        for (Object[] it : types) {
            int type = (Integer) it[0];
            var answer = wire.ask(1, new DescribeClusterRequestData().setEndpointType((byte) type),
                new DescribeClusterResponseData());
            Raw.error((Errors) it[1], answer.errorCode(), "endpoint type " + type);
        }
        var moves = wire.ask(0, new ListPartitionReassignmentsRequestData().setTopics(null)
            .setTimeoutMs(10_000), new ListPartitionReassignmentsResponseData());
        Wait.equal("NONE 0", Errors.forCode(moves.errorCode()) + " " + moves.topics().size(),
            "reassignments");
        Admin admin = broker.admin();
        var quorum = AdminChecks.get(admin.describeMetadataQuorum().quorumInfo());
        Wait.equal("1 1", quorum.leaderId() + " " + quorum.voters().size(), "the quorum");
        var dirs = AdminChecks.get(admin.describeLogDirs(List.of(1)).allDescriptions()).get(1);
        Wait.equal(1, dirs.size(), "log directories");
        dirs.values().forEach(it -> Wait.that(it.error() == null && it.totalBytes().isPresent(),
            "a log directory " + it));
        AdminChecks.get(admin.describeFeatures().featureMetadata());
    }

    private void notAdvertised(Wire wire) throws Exception {
        Admin admin = broker.admin();
        Map<Integer, Callable<KafkaFuture<?>>> calls = new LinkedHashMap<>();
        calls.put(29, () -> admin.describeAcls(
            org.apache.kafka.common.acl.AclBindingFilter.ANY).values());
        calls.put(48, () -> admin.describeClientQuotas(
            org.apache.kafka.common.quota.ClientQuotaFilter.all()).entities());
        calls.put(50, () -> admin.describeUserScramCredentials().description("nobody"));
        calls.put(41, () -> admin.describeDelegationToken().delegationTokens());
        calls.put(57, () -> admin.updateFeatures(Map.of("no.such", new
            org.apache.kafka.clients.admin.FeatureUpdate((short) 1, org.apache.kafka.clients.admin
                .FeatureUpdate.UpgradeType.UPGRADE)), new
            org.apache.kafka.clients.admin.UpdateFeaturesOptions()).all());
        calls.put(55, () -> admin.describeMetadataQuorum().quorumInfo());
        calls.put(66, () -> admin.listTransactions().all());
        calls.put(74, () -> admin.listConfigResources().all());
        calls.put(77, () -> admin.describeShareGroups(List.of("none")).all());
        var keys = AcceptProtocol.versions(wire).apiKeys();
        for (var call : calls.entrySet()) {
            long start = System.nanoTime();
            Throwable failure = null;
            try {
                call.getValue().call().get(20, TimeUnit.SECONDS);
            } catch (ExecutionException failed) {
                failure = failed.getCause();
            }
            Wait.that(System.nanoTime() - start < 5_000_000_000L, "key " + call.getKey() + " is slow");
            boolean advertised = keys.find((short) (int) call.getKey()) != null;
            Wait.equal(!advertised, failure instanceof UnsupportedVersionException,
                "refusal of key " + call.getKey() + ", " + failure);
        }
    }
}
