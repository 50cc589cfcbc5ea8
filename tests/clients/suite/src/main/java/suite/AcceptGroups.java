package suite;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.message.DescribeGroupsRequestData;
import org.apache.kafka.common.message.DescribeGroupsResponseData;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.FindCoordinatorResponseData;
import org.apache.kafka.common.message.JoinGroupRequestData;
import org.apache.kafka.common.message.JoinGroupResponseData;
import org.apache.kafka.common.message.LeaveGroupRequestData;
import org.apache.kafka.common.message.LeaveGroupRequestData.MemberIdentity;
import org.apache.kafka.common.message.LeaveGroupResponseData;
import org.apache.kafka.common.message.ListGroupsRequestData;
import org.apache.kafka.common.message.ListGroupsResponseData;
import org.apache.kafka.common.message.SyncGroupRequestData;
import org.apache.kafka.common.message.SyncGroupResponseData;
import org.apache.kafka.common.protocol.Errors;

/** G: members of classic groups; and the part of trap 7 that is about them. */
final class AcceptGroups extends Acceptance {
    AcceptGroups(Suite suite, Broker broker) {
        super(suite, broker);
    }

    @Override
    void run() {
        item("68: from JoinGroup 4 a member without an id is given one, before it joins at once",
            this::memberIds);
        item("69: a static member that restarts keeps its generation, the old one is fenced",
            wire -> staticMember());
        item("70: heartbeats of an old generation, an unknown member and in a rebalance",
            wire -> heartbeats());
        item("71: a member with other protocols is inconsistent", wire -> protocols());
        trap("7: a join of no group, of a bad time-out, of an unknown member", this::badJoins);
        trap("7: the leader gets all members, a follower none, both the protocol",
            wire -> leaderAndFollower());
        trap("7: a static leader of JoinGroup 9 skips its assignment, one of 8 is told of the old",
            wire -> skippedAssignment());
        trap("7: a static member leaves by its instance id alone", wire -> leaveByInstance());
        trap("7: LeaveGroup tells each member's error, and before version 3 only one",
            wire -> leaveErrors());
        trap("7: SyncGroup of another generation, member, protocol and time", wire -> syncErrors());
        trap("7: the protocol most members put first is chosen", wire -> vote());
        trap("7: only a changed follower or the leader makes a rebalance", wire -> rejoins());
        trap("7: a silent member is expelled after its session, others are told", wire -> silent());
        trap("7: JoinGroup 0 to 9 with SyncGroup 0 to 5 all work", wire -> everyVersion());
        trap("7: an unknown group is Dead before DescribeGroups 6 and an error from then on",
            this::unknownGroup);
        trap("7: DescribeGroups tells state, protocol, members and metadata",
            wire -> described());
        trap("7: ListGroups filters by state and by type", wire -> listed());
        trap("7: FindCoordinator answers one key before version 4 and each key from then on",
            this::coordinators);
    }

    private JoinGroupResponseData ask(Wire wire, int version, JoinGroupRequestData request)
            throws Exception {
        return wire.ask(version, request, new JoinGroupResponseData());
    }

    private void memberIds(Wire wire) throws Exception {
        for (int version = 0; version <= Member.JOIN; version++) {
            try (Member member = new Member(broker, "member-ids-" + version, null)) {
                var answer = ask(member.wire, version, member.joinRequest());
                boolean required = version >= 4;
                Raw.error(required ? Errors.MEMBER_ID_REQUIRED : Errors.NONE, answer.errorCode(),
                    "v" + version);
                Wait.that(answer.memberId().matches("member-[-0-9a-f]{36}"),
                    "the id " + answer.memberId());
                Wait.equal(required ? -1 : 1, answer.generationId(), "generation");
                if (required) {
                    member.id = answer.memberId();
                    Wait.equal(1, member.joined(version, member.sendJoin(version)).generationId(),
                        "generation with the id");
                }
            }
        }
    }

    private void staticMember() throws Exception {
        try (Member old = new Member(broker, "static", "instance");
                Member young = new Member(broker, "static", "instance")) {
            Wait.that(old.join().memberId().matches("instance-[-0-9a-f]{36}"), "the id " + old.id);
            Wait.equal("mine", old.sync(Map.of(old.id, "mine")), "assignment");
            var again = young.join();
            Wait.equal(1, again.generationId(), "the generation is the same");
            Wait.that(!young.id.equals(old.id), "the id is a new one");
            Wait.equal(Errors.FENCED_INSTANCE_ID, old.heartbeat(), "heartbeat of the old one");
            var sync = old.wire.ask(5, old.syncRequest(Map.of()), new SyncGroupResponseData());
            Raw.error(Errors.FENCED_INSTANCE_ID, sync.errorCode(), "sync of the old one");
            var join = ask(old.wire, Member.JOIN, old.joinRequest());
            Raw.error(Errors.FENCED_INSTANCE_ID, join.errorCode(), "join of the old one");
            Wait.equal("mine", young.sync(Map.of()), "assignment of the new one");
            Wait.equal(Errors.NONE, young.heartbeat(), "heartbeat of the new one");
        }
    }

    private void heartbeats() throws Exception {
        try (Member one = new Member(broker, "heartbeats", null);
                Member two = new Member(broker, "heartbeats", null)) {
            Wait.equal(Errors.UNKNOWN_MEMBER_ID, one.heartbeat(1), "no such group");
            one.join();
            Wait.equal(Errors.NONE, one.heartbeat(), "before the sync");
            one.sync(Map.of(one.id, "all"));
            Wait.equal(Errors.NONE, one.heartbeat(), "stable");
            Wait.equal(Errors.ILLEGAL_GENERATION, one.heartbeat(0), "an old generation");
            Wait.equal(Errors.ILLEGAL_GENERATION, one.heartbeat(2), "one to come");
            String own = one.id;
            one.id = "nobody";
            Wait.equal(Errors.UNKNOWN_MEMBER_ID, one.heartbeat(), "an unknown member");
            one.id = own;
            int joining = two.sendJoin(Member.JOIN);
            Wait.until("the rebalance is told", Records.LIMIT,
                () -> one.heartbeat() == Errors.REBALANCE_IN_PROGRESS);
            one.join();
            two.joined(Member.JOIN, joining);
            Wait.equal("2 2", one.generation + " " + two.generation, "generations");
        }
    }

    private void protocols() throws Exception {
        try (Member one = new Member(broker, "protocols", null, "range", "sticky");
                Member two = new Member(broker, "protocols", null, "roundrobin");
                Member three = new Member(broker, "protocols", null, "sticky")) {
            one.join();
            var answer = ask(two.wire, Member.JOIN, two.joinRequest());
            Raw.error(Errors.INCONSISTENT_GROUP_PROTOCOL, answer.errorCode(), "roundrobin");
            var type = ask(three.wire, Member.JOIN, three.joinRequest().setProtocolType("connect"));
            Raw.error(Errors.INCONSISTENT_GROUP_PROTOCOL, type.errorCode(), "another type");
            var shared = ask(three.wire, Member.JOIN, three.joinRequest());
            Raw.error(Errors.MEMBER_ID_REQUIRED, shared.errorCode(), "one in common");
            try (Member none = new Member(broker, "protocols-none", null)) {
                var empty = none.joinRequest();
                empty.protocols().clear();
                Raw.error(Errors.INCONSISTENT_GROUP_PROTOCOL,
                    ask(none.wire, Member.JOIN, empty).errorCode(), "no protocol");
                Raw.error(Errors.INCONSISTENT_GROUP_PROTOCOL, ask(none.wire, Member.JOIN,
                    none.joinRequest().setProtocolType("")).errorCode(), "no type");
            }
        }
    }

    private void badJoins(Wire wire) throws Exception {
        try (Member member = new Member(broker, "bad-joins", null)) {
            Raw.error(Errors.INVALID_GROUP_ID, ask(member.wire, Member.JOIN,
                member.joinRequest().setGroupId("")).errorCode(), "no group");
            Raw.error(Errors.INVALID_SESSION_TIMEOUT, ask(member.wire, Member.JOIN,
                member.joinRequest().setSessionTimeoutMs(999)).errorCode(), "too short");
            Raw.error(Errors.INVALID_SESSION_TIMEOUT, ask(member.wire, Member.JOIN,
                member.joinRequest().setSessionTimeoutMs(1_800_001)).errorCode(), "too long");
            Raw.error(Errors.UNKNOWN_MEMBER_ID, ask(member.wire, Member.JOIN,
                member.joinRequest().setMemberId("nobody")).errorCode(), "unknown in no group");
            member.join();
            Raw.error(Errors.UNKNOWN_MEMBER_ID, ask(member.wire, Member.JOIN,
                member.joinRequest().setMemberId("nobody")).errorCode(), "unknown in a group");
        }
    }

    /** Two members in one generation: the first of them leads. */
    private static List<JoinGroupResponseData> joinBoth(Member one, Member two) throws Exception {
        one.join();
        int joining = two.sendJoin(Member.JOIN);
        Wait.until("the rebalance is told", Records.LIMIT,
            () -> one.heartbeat() == Errors.REBALANCE_IN_PROGRESS);
        var first = one.join();
        return List.of(first, two.joined(Member.JOIN, joining));
    }

    private void leaderAndFollower() throws Exception {
        try (Member one = new Member(broker, "leading", null);
                Member two = new Member(broker, "leading", null)) {
            var answers = joinBoth(one, two);
            for (var answer : answers) {
                Wait.equal("2 consumer range false " + one.id, answer.generationId() + " "
                    + answer.protocolType() + " " + answer.protocolName() + " "
                    + answer.skipAssignment() + " " + answer.leader(), "what all are told");
            }
            Map<String, String> members = new TreeMap<>();
            answers.get(0).members().forEach(it -> members.put(it.memberId(),
                it.groupInstanceId() + " " + Records.text(it.metadata())));
            Wait.equal(new TreeMap<>(Map.of(one.id, "null metadata of range", two.id,
                "null metadata of range")), members, "members told to the leader");
            Wait.equal(List.of(), answers.get(1).members(), "members told to the follower");
            int waiting = two.wire.send(5, two.syncRequest(Map.of()));
            Wait.equal("a", one.sync(Map.of(one.id, "a", two.id, "b")), "the leader's");
            Wait.equal("b", two.synced(waiting), "the follower's");
        }
    }

    private void skippedAssignment() throws Exception {
        try (Member old = new Member(broker, "skipped", "leader");
                Member nine = new Member(broker, "skipped", "leader");
                Member eight = new Member(broker, "skipped", "leader")) {
            old.join();
            old.sync(Map.of(old.id, "all"));
            var skip = nine.join();
            Wait.equal("true 1 " + nine.id, skip.skipAssignment() + " " + skip.members().size()
                + " " + skip.leader(), "version 9");
            var told = eight.joined(8, eight.sendJoin(8));
            Wait.equal("false 0 " + nine.id, told.skipAssignment() + " " + told.members().size()
                + " " + told.leader(), "version 8 is told of the leader before it");
            Wait.equal("1 all", told.generationId() + " " + eight.sync(Map.of()), "the assignment");
        }
    }

    private static List<Errors> leave(Wire wire, int version, String group, MemberIdentity... who)
            throws Exception {
        var answer = wire.ask(version, new LeaveGroupRequestData().setGroupId(group)
            .setMembers(List.of(who)), new LeaveGroupResponseData());
        Raw.error(Errors.NONE, answer.errorCode(), "top level");
        return answer.members().stream().map(it -> Errors.forCode(it.errorCode())).toList();
    }

    private static MemberIdentity identity(String id, String instance) {
        return new MemberIdentity().setMemberId(id).setGroupInstanceId(instance);
    }

    private void leaveByInstance() throws Exception {
        try (Member member = new Member(broker, "leave-instance", "here")) {
            member.join();
            member.sync(Map.of(member.id, "all"));
            Wait.equal(List.of(Errors.FENCED_INSTANCE_ID), leave(member.wire, 5, member.group,
                identity("other", "here")), "another id");
            Wait.equal(List.of(Errors.UNKNOWN_MEMBER_ID), leave(member.wire, 5, member.group,
                identity("", "elsewhere")), "another instance");
            Wait.equal(List.of(Errors.NONE), leave(member.wire, 3, member.group,
                identity("", "here")), "the instance alone");
            Wait.equal(Errors.UNKNOWN_MEMBER_ID, member.heartbeat(), "afterwards");
        }
    }

    private void leaveErrors() throws Exception {
        try (Member one = new Member(broker, "leave-errors", null);
                Member two = new Member(broker, "leave-errors", null)) {
            joinBoth(one, two);
            Wait.equal(List.of(Errors.UNKNOWN_MEMBER_ID, Errors.NONE), leave(one.wire, 5, one.group,
                identity("nobody", null), identity(two.id, null)), "two at once");
            for (int version = 0; version < 3; version++) {
                var answer = one.wire.ask(version, new LeaveGroupRequestData().setGroupId(one.group)
                    .setMemberId("nobody"), new LeaveGroupResponseData());
                Raw.error(Errors.UNKNOWN_MEMBER_ID, answer.errorCode(), "v" + version);
            }
            Wait.equal(List.of(Errors.UNKNOWN_MEMBER_ID), leave(one.wire, 5, "never-a-group",
                identity("nobody", null)), "of no group");
            var single = one.wire.ask(2, new LeaveGroupRequestData().setGroupId(one.group)
                .setMemberId(one.id), new LeaveGroupResponseData());
            Raw.error(Errors.NONE, single.errorCode(), "the last member");
            Wait.equal("Empty", describe(one.wire, one.group).groupState(), "state");
        }
    }

    private static Errors sync(Member member, int version, SyncGroupRequestData request)
            throws Exception {
        return Errors.forCode(
            member.wire.ask(version, request, new SyncGroupResponseData()).errorCode());
    }

    private void syncErrors() throws Exception {
        try (Member one = new Member(broker, "sync-errors", null);
                Member two = new Member(broker, "sync-errors", null)) {
            Wait.equal(Errors.UNKNOWN_MEMBER_ID,
                sync(one, 5, one.syncRequest(Map.of()).setProtocolName("range")), "no group");
            one.join();
            Wait.equal(Errors.ILLEGAL_GENERATION,
                sync(one, 5, one.syncRequest(Map.of()).setGenerationId(7)), "generation 7");
            Wait.equal(Errors.UNKNOWN_MEMBER_ID,
                sync(one, 5, one.syncRequest(Map.of()).setMemberId("nobody")), "nobody");
            Wait.equal(Errors.INCONSISTENT_GROUP_PROTOCOL,
                sync(one, 5, one.syncRequest(Map.of()).setProtocolName("sticky")), "sticky");
            Wait.equal(Errors.INCONSISTENT_GROUP_PROTOCOL,
                sync(one, 5, one.syncRequest(Map.of()).setProtocolType("connect")), "connect");
            Wait.equal(Errors.INCONSISTENT_GROUP_PROTOCOL,
                sync(one, 5, one.syncRequest(Map.of()).setProtocolName(null)), "no name");
            Wait.equal(Errors.INVALID_GROUP_ID,
                sync(one, 5, one.syncRequest(Map.of()).setGroupId("")), "no group id");
            int joining = two.sendJoin(Member.JOIN);
            Wait.until("the rebalance is told", Records.LIMIT,
                () -> one.heartbeat() == Errors.REBALANCE_IN_PROGRESS);
            Wait.equal(Errors.REBALANCE_IN_PROGRESS, sync(one, 5, one.syncRequest(Map.of())),
                "in a rebalance");
            one.join();
            two.joined(Member.JOIN, joining);
        }
    }

    private void vote() throws Exception {
        try (Member one = new Member(broker, "vote", null, "range", "sticky", "own");
                Member two = new Member(broker, "vote", null, "sticky", "range")) {
            joinBoth(one, two);
            try (Member three = new Member(broker, "vote", null, "sticky", "range")) {
                int joining = three.sendJoin(Member.JOIN);
                Wait.until("the rebalance is told", Records.LIMIT,
                    () -> one.heartbeat() == Errors.REBALANCE_IN_PROGRESS);
                int first = one.sendJoin(Member.JOIN);
                two.join();
                one.joined(Member.JOIN, first);
                three.joined(Member.JOIN, joining);
                Wait.equal("sticky sticky sticky", one.protocol + " " + two.protocol + " "
                    + three.protocol, "the protocol");
            }
        }
    }

    private void rejoins() throws Exception {
        try (Member one = new Member(broker, "rejoins", null);
                Member two = new Member(broker, "rejoins", null)) {
            joinBoth(one, two);
            int waiting = two.wire.send(5, two.syncRequest(Map.of()));
            one.sync(Map.of(one.id, "a", two.id, "b"));
            two.synced(waiting);
            Wait.equal(2, two.join().generationId(), "an unchanged follower");
            var changed = two.joinRequest();
            changed.protocols().forEach(it -> it.setMetadata(Records.bytes("other")));
            int joining = two.wire.send(Member.JOIN, changed);
            Wait.until("the rebalance is told", Records.LIMIT,
                () -> one.heartbeat() == Errors.REBALANCE_IN_PROGRESS);
            Wait.equal(3, one.join().generationId(), "a changed follower");
            two.joined(Member.JOIN, joining);
            waiting = two.wire.send(5, two.syncRequest(Map.of()));
            one.sync(Map.of(one.id, "a", two.id, "b"));
            two.synced(waiting);
            joining = one.sendJoin(Member.JOIN);
            Wait.until("the rebalance is told", Records.LIMIT,
                () -> two.heartbeat() == Errors.REBALANCE_IN_PROGRESS);
            two.join();
            Wait.equal(4, one.joined(Member.JOIN, joining).generationId(), "the leader");
        }
    }

    private void silent() throws Exception {
        try (Member one = new Member(broker, "silent", null);
                Member two = new Member(broker, "silent", null)) {
            two.sessionMs = 1_000;
            joinBoth(one, two);
            int waiting = two.wire.send(5, two.syncRequest(Map.of()));
            one.sync(Map.of(one.id, "a", two.id, "b"));
            two.synced(waiting);
            Wait.equal(Errors.NONE, one.heartbeat(), "both are there");
            Wait.until("the silent one is expelled", Duration.ofSeconds(10),
                () -> one.heartbeat() == Errors.REBALANCE_IN_PROGRESS);
            Wait.equal(1, one.join().members().size(), "members left");
            Wait.equal(Errors.UNKNOWN_MEMBER_ID, two.heartbeat(), "the silent one");
        }
    }

    private void everyVersion() throws Exception {
        int[] syncs = {0, 0, 1, 1, 2, 3, 4, 4, 5, 5};
        for (int version = 0; version <= Member.JOIN; version++) {
            try (Member member = new Member(broker, "join-v" + version, null)) {
                var answer = member.joined(version, member.sendJoin(version));
                Wait.equal("1 1 " + member.id, answer.generationId() + " "
                    + answer.members().size() + " " + answer.leader(), "v" + version);
                Wait.equal(version < 7 ? null : "consumer", answer.protocolType(), "type");
                var sync = member.wire.ask(syncs[version],
                    member.syncRequest(Map.of(member.id, "all")), new SyncGroupResponseData());
                Wait.equal("NONE all", Errors.forCode(sync.errorCode()) + " "
                    + Records.text(sync.assignment()), "SyncGroup " + syncs[version]);
                Wait.equal(syncs[version] < 5 ? null : "consumer", sync.protocolType(), "type");
            }
        }
    }

    static DescribeGroupsResponseData.DescribedGroup describe(Wire wire, String group)
            throws Exception {
        return wire.ask(6, new DescribeGroupsRequestData().setGroups(List.of(group)),
            new DescribeGroupsResponseData()).groups().get(0);
    }

    private void unknownGroup(Wire wire) throws Exception {
        Member.awaitCoordinator(wire, "unknown-group");
        for (int version = 0; version <= 6; version++) {
            var group = wire.ask(version, new DescribeGroupsRequestData()
                .setGroups(List.of("unknown-group")), new DescribeGroupsResponseData()).groups()
                .get(0);
            Wait.equal("Dead", group.groupState(), "state in v" + version);
            if (version < 6) {
                Raw.error(Errors.NONE, group.errorCode(), "v" + version);
            } else {
                Raw.error(Errors.GROUP_ID_NOT_FOUND, "Group unknown-group not found.",
                    group.errorCode(), group.errorMessage(), "v6");
            }
        }
    }

    private void described() throws Exception {
        try (Member member = new Member(broker, "described", "instance")) {
            member.join();
            var joining = describe(member.wire, "described");
            Wait.equal("CompletingRebalance consumer  1", joining.groupState() + " "
                + joining.protocolType() + " " + joining.protocolData() + " "
                + joining.members().size(), "before the sync");
            Wait.equal("0 0", joining.members().get(0).memberMetadata().length + " "
                + joining.members().get(0).memberAssignment().length, "bytes before the sync");
            member.sync(Map.of(member.id, "mine"));
            for (int version = 0; version <= 6; version++) {
                var group = member.wire.ask(version, new DescribeGroupsRequestData()
                    .setGroups(List.of("described")), new DescribeGroupsResponseData()).groups()
                    .get(0);
                Wait.equal("Stable consumer range", group.groupState() + " " + group.protocolType()
                    + " " + group.protocolData(), "v" + version);
                var one = group.members().get(0);
                Wait.equal(member.id + " " + (version < 4 ? null : "instance")
                    + " member /127.0.0.1 metadata of range mine", one.memberId() + " "
                    + one.groupInstanceId() + " " + one.clientId() + " " + one.clientHost() + " "
                    + Records.text(one.memberMetadata()) + " "
                    + Records.text(one.memberAssignment()), "the member");
                Wait.equal(Integer.MIN_VALUE, group.authorizedOperations(), "not asked for");
            }
            var operations = member.wire.ask(6, new DescribeGroupsRequestData()
                .setGroups(List.of("described")).setIncludeAuthorizedOperations(true),
                new DescribeGroupsResponseData()).groups().get(0);
            Wait.equal(3400, operations.authorizedOperations(), "operations");
        }
    }

    private static Map<String, String> list(Wire wire, int version, List<String> states,
            List<String> types) throws Exception {
        Map<String, String> found = new TreeMap<>();
        var answer = wire.ask(version, new ListGroupsRequestData().setStatesFilter(states)
            .setTypesFilter(types), new ListGroupsResponseData());
        Raw.error(Errors.NONE, answer.errorCode(), "listing");
        answer.groups().stream().filter(it -> it.groupId().startsWith("listed-")).forEach(
            it -> found.put(it.groupId(),
                it.protocolType() + " " + it.groupState() + " " + it.groupType()));
        return found;
    }

    private void listed() throws Exception {
        try (Member stable = new Member(broker, "listed-stable", null);
                Member empty = new Member(broker, "listed-empty", null)) {
            stable.join();
            stable.sync(Map.of(stable.id, "all"));
            empty.join();
            leave(empty.wire, 5, empty.group, identity(empty.id, null));
            for (int version = 0; version <= 5; version++) {
                var all = list(stable.wire, version, List.of(), List.of());
                String rest = version < 4 ? "  " : version < 5 ? " Stable " : " Stable classic";
                Wait.equal("consumer" + rest, all.get("listed-stable"), "v" + version);
                Wait.equal(Set.of("listed-stable", "listed-empty"), all.keySet(), "all groups");
            }
            Wait.equal(Set.of("listed-empty"),
                list(stable.wire, 4, List.of("Empty"), List.of()).keySet(), "empty ones");
            Wait.equal(Set.of("listed-stable"),
                list(stable.wire, 5, List.of("stable"), List.of("Classic")).keySet(),
                "in any case of letters");
            Wait.equal(Set.of(),
                list(stable.wire, 5, List.of(), List.of("consumer")).keySet(), "of another type");
        }
    }

    private void coordinators(Wire wire) throws Exception {
        Member.awaitCoordinator(wire, "coordinated");
        for (int version = 0; version <= 3; version++) {
            var answer = wire.ask(version, new FindCoordinatorRequestData().setKey("coordinated"),
                new FindCoordinatorResponseData());
            Wait.equal("NONE 1 127.0.0.1", Errors.forCode(answer.errorCode()) + " "
                + answer.nodeId() + " " + answer.host(), "v" + version);
        }
        for (int version = 4; version <= 6; version++) {
            var answer = wire.ask(version, new FindCoordinatorRequestData()
                .setCoordinatorKeys(List.of("coordinated", "other")),
                new FindCoordinatorResponseData());
            Set<String> told = new TreeSet<>();
            answer.coordinators().forEach(it -> told.add(it.key() + " "
                + Errors.forCode(it.errorCode()) + " " + it.nodeId() + " " + it.host()));
            Wait.equal(Set.of("coordinated NONE 1 127.0.0.1", "other NONE 1 127.0.0.1"), told,
                "v" + version);
            Wait.equal("NONE 0 ", Errors.forCode(answer.errorCode()) + " " + answer.nodeId() + " "
                + answer.host(), "the old fields");
        }
        var share = wire.ask(5, new FindCoordinatorRequestData().setKeyType((byte) 2)
            .setCoordinatorKeys(List.of("g")), new FindCoordinatorResponseData());
        Raw.error(Errors.INVALID_REQUEST, share.coordinators().get(0).errorCode(), "share before 6");
        var other = wire.ask(4, new FindCoordinatorRequestData().setKeyType((byte) 7)
            .setCoordinatorKeys(List.of("g")), new FindCoordinatorResponseData());
        Raw.error(Errors.INVALID_REQUEST, other.coordinators().get(0).errorCode(), "type 7");
    }
}
