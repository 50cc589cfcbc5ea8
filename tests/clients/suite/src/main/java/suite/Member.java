package suite;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.FindCoordinatorResponseData;
import org.apache.kafka.common.message.HeartbeatRequestData;
import org.apache.kafka.common.message.HeartbeatResponseData;
import org.apache.kafka.common.message.JoinGroupRequestData;
import org.apache.kafka.common.message.JoinGroupRequestData.JoinGroupRequestProtocol;
import org.apache.kafka.common.message.JoinGroupResponseData;
import org.apache.kafka.common.message.OffsetFetchRequestData;
import org.apache.kafka.common.message.OffsetFetchRequestData.OffsetFetchRequestGroup;
import org.apache.kafka.common.message.OffsetFetchResponseData;
import org.apache.kafka.common.message.SyncGroupRequestData;
import org.apache.kafka.common.message.SyncGroupRequestData.SyncGroupRequestAssignment;
import org.apache.kafka.common.message.SyncGroupResponseData;
import org.apache.kafka.common.protocol.Errors;

/** A member of a classic group that does what a check says and nothing by itself. */
final class Member implements AutoCloseable {
    static final int JOIN = 9;

    final Wire wire;
    final String group;
    final String instance;
    final List<String> protocols;
    String id = "";
    int generation = -1;
    String protocol;
    int sessionMs = 20_000;
    int rebalanceMs = 20_000;

    Member(Broker broker, String group, String instance, String... protocols) throws Exception {
        this.wire = new Wire(broker, "member");
        this.group = group;
        this.instance = instance;
        this.protocols = protocols.length == 0 ? List.of("range") : List.of(protocols);
        awaitCoordinator(wire, group);
    }

    /** The offsets topic is made when a group is first looked for, and then loaded. */
    static void awaitCoordinator(Wire wire, String group) throws Exception {
        Wait.until("the coordinator of " + group, Records.LIMIT, () ->
            wire.ask(4, new FindCoordinatorRequestData().setKeyType((byte) 0)
                .setCoordinatorKeys(List.of(group)), new FindCoordinatorResponseData())
                .coordinators().get(0).errorCode() == 0
            && wire.ask(8, new OffsetFetchRequestData().setGroups(List.of(
                new OffsetFetchRequestGroup().setGroupId(group).setTopics(null))),
                new OffsetFetchResponseData()).groups().get(0).errorCode() == 0);
    }

    JoinGroupRequestData joinRequest() {
        JoinGroupRequestData request = new JoinGroupRequestData().setGroupId(group)
            .setMemberId(id).setGroupInstanceId(instance).setProtocolType("consumer")
            .setSessionTimeoutMs(sessionMs).setRebalanceTimeoutMs(rebalanceMs);
        for (String name : protocols) {
            request.protocols().add(new JoinGroupRequestProtocol().setName(name)
                .setMetadata(Records.bytes("metadata of " + name)));
        }
        return request;
    }

    /** Asks to join, with an id got before if that is how this version does it. */
    int sendJoin(int version) throws IOException {
        if (id.isEmpty() && instance == null && version >= 4) {
            JoinGroupResponseData first =
                wire.ask(version, joinRequest(), new JoinGroupResponseData());
            Raw.error(Errors.MEMBER_ID_REQUIRED, first.errorCode(), "joining without an id");
            id = first.memberId();
        }
        return wire.send(version, joinRequest());
    }

    /** Waits until the rebalance is through. */
    JoinGroupResponseData joined(int version, int correlation) throws IOException {
        JoinGroupResponseData answer =
            wire.receive(version, correlation, new JoinGroupResponseData());
        Raw.error(Errors.NONE, answer.errorCode(), "joining " + group);
        id = answer.memberId();
        generation = answer.generationId();
        protocol = answer.protocolName();
        return answer;
    }

    JoinGroupResponseData join() throws IOException {
        return joined(JOIN, sendJoin(JOIN));
    }

    SyncGroupRequestData syncRequest(Map<String, String> assignments) {
        List<SyncGroupRequestAssignment> all = new ArrayList<>();
        assignments.forEach((member, bytes) -> all.add(new SyncGroupRequestAssignment()
            .setMemberId(member).setAssignment(Records.bytes(bytes))));
        return new SyncGroupRequestData().setGroupId(group).setMemberId(id)
            .setGroupInstanceId(instance).setGenerationId(generation)
            .setProtocolType("consumer").setProtocolName(protocol).setAssignments(all);
    }

    /** Hands in assignments, if any, and answers the own one. */
    String sync(Map<String, String> assignments) throws IOException {
        return synced(wire.send(5, syncRequest(assignments)));
    }

    String synced(int correlation) throws IOException {
        SyncGroupResponseData answer = wire.receive(5, correlation, new SyncGroupResponseData());
        Raw.error(Errors.NONE, answer.errorCode(), "synchronizing " + group);
        return Records.text(answer.assignment());
    }

    Errors heartbeat() throws IOException {
        return heartbeat(generation);
    }

    Errors heartbeat(int inGeneration) throws IOException {
        return Errors.forCode(wire.ask(4, new HeartbeatRequestData().setGroupId(group)
            .setMemberId(id).setGroupInstanceId(instance).setGenerationId(inGeneration),
            new HeartbeatResponseData()).errorCode());
    }

    @Override
    public void close() throws IOException {
        wire.close();
    }
}
