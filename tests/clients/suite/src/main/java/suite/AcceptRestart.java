package suite;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.InitProducerIdRequestData;
import org.apache.kafka.common.message.InitProducerIdResponseData;
import org.apache.kafka.common.message.JoinGroupResponseData;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * Items for which a broker is killed or replaced. It has Kafka's delay of a first rebalance, which
 * the other brokers of the suite have not.
 */
final class AcceptRestart extends Acceptance {
    private static final int MANY = 500;
    /** Of the records with a sequence: a producer whose records are old is soon forgotten. */
    private static final long TIME = System.currentTimeMillis();

    AcceptRestart(Suite suite, Broker broker) {
        super(suite, broker);
    }

    @Override
    void run() {
        item("67: members that come within group.initial.rebalance.delay.ms share one generation",
            wire -> together());
        item("74: 500 members that come together are in one or two generations, all told to the "
            + "leader", wire -> many());
        item("49: nothing acknowledged is lost by kill -9, and the last batch is known again",
            wire -> killed());
        item("76: a group goes on in its generation after kill -9, with its offsets",
            wire -> groupGoesOn());
        suite.check("1.1 item 9: a Java client whose broker is another cluster's now goes there",
            at -> replaced(at));
        suite.check("1.1 trap 9: an idle connection is closed after connections.max.idle.ms",
            at -> idle(at));
    }

    private void idle(Path at) throws Exception {
        try (Broker quick = new Broker(suite.setup(), at.resolve("broker"), Broker.freePort(),
                Map.of("connections.max.idle.ms", "2000"))) {
            quick.start();
            try (Wire wire = new Wire(quick)) {
                AcceptProtocol.versions(wire);
                long start = System.nanoTime();
                wire.expectClosed("an answer and two seconds");
                long took = (System.nanoTime() - start) / 1_000_000;
                Wait.that(took >= 1900 && took < 8000, "closed after " + took + " ms");
            }
        }
    }

    private void together() throws Exception {
        try (Member one = new Member(broker, "together", null);
                Member two = new Member(broker, "together", null);
                Member three = new Member(broker, "together", null)) {
            long start = System.nanoTime();
            int[] joining = {one.sendJoin(Member.JOIN), two.sendJoin(Member.JOIN),
                three.sendJoin(Member.JOIN)};
            JoinGroupResponseData leader = one.joined(Member.JOIN, joining[0]);
            two.joined(Member.JOIN, joining[1]);
            three.joined(Member.JOIN, joining[2]);
            long took = (System.nanoTime() - start) / 1_000_000;
            Wait.that(took >= 1_450, "answered after " + took + " ms, before the delay");
            Wait.equal("1 1 1 3", one.generation + " " + two.generation + " " + three.generation
                + " " + leader.members().size(), "generations, and members told to the leader");
        }
    }

    private void many() throws Exception {
        List<Member> members = new ArrayList<>();
        try {
            for (int i = 0; i < MANY; i++) {
                members.add(new Member(broker, "many", null));
            }
            List<Integer> joining = new ArrayList<>();
            for (Member it : members) {
                joining.add(it.wire.send(Member.JOIN, it.joinRequest()));
            }
            // All ids first: members that are known and have not come keep the group waiting.
            for (int i = 0; i < MANY; i++) {
                var answer = members.get(i).wire.receive(
                    Member.JOIN, joining.get(i), new JoinGroupResponseData());
                Raw.error(Errors.MEMBER_ID_REQUIRED, answer.errorCode(), "the first join");
                members.get(i).id = answer.memberId();
            }
            for (int i = 0; i < MANY; i++) {
                joining.set(i, members.get(i).sendJoin(Member.JOIN));
            }
            Set<Integer> generations = new TreeSet<>();
            int told = 0;
            for (int i = 0; i < MANY; i++) {
                var answer = members.get(i).joined(Member.JOIN, joining.get(i));
                generations.add(answer.generationId());
                told = Math.max(told, answer.members().size());
            }
            Wait.that(generations.size() <= 2, "generations " + generations);
            Wait.equal(MANY, told, "members told to the leader");
        } finally {
            for (Member it : members) {
                it.close();
            }
        }
    }

    private static MemoryRecords sequenced(long id, int sequence, String value) {
        return MemoryRecords.withIdempotentRecords(
            Compression.NONE, id, (short) 0, sequence, Raw.record(TIME, "k", value));
    }

    private void restart() throws Exception {
        broker.kill();
        broker.start();
    }

    private void killed() throws Exception {
        Raw.Topic topic;
        MemoryRecords last;
        try (Wire wire = new Wire(broker)) {
            topic = Raw.topic(wire, "killed", 1);
            long id = Wait.value("a producer id", Records.LIMIT, () -> {
                var answer = wire.ask(4, new InitProducerIdRequestData().setTransactionalId(null),
                    new InitProducerIdResponseData());
                return answer.errorCode() == 0 ? answer.producerId() : null;
            });
            for (int i = 0; i < 10; i++) {
                Wait.equal((long) i, Raw.appended(wire, topic, sequenced(id, i, "v" + i)), "offset");
            }
            last = sequenced(id, 9, "v9");
        }
        List<RecordMetadata> acknowledged = new ArrayList<>();
        Records.createTopic(broker, "killed-stream", 1);
        try (var producer = Records.producer(broker, Map.of("acks", "all", "linger.ms", "0",
                "reconnect.backoff.max.ms", "100", "delivery.timeout.ms", "60000",
                "request.timeout.ms", "20000"))) {
            List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < 2000; i++) {
                sent.add(producer.send(new ProducerRecord<>("killed-stream", 0, null,
                    Records.bytes("n" + i))));
                if (i == 1000) {
                    sent.get(500).get();
                    restart();
                }
            }
            producer.flush();
            for (var it : sent) {
                acknowledged.add(it.get());
            }
        }
        var read = Records.readAll(broker, "killed-stream");
        Wait.equal(2000, read.size(), "records, each once");
        for (int i = 0; i < 2000; i++) {
            Wait.equal("n" + i + " at " + i, Records.text(read.get(i).value()) + " at "
                + acknowledged.get(i).offset(), "record " + i);
        }
        try (Wire wire = new Wire(broker)) {
            Raw.awaitServed(wire, topic, 1);
            Wait.equal(9L, Raw.appended(wire, topic, last), "the last batch again");
            Wait.equal(10L, Raw.end(wire, topic), "the end");
        }
    }

    private void groupGoesOn() throws Exception {
        Records.createTopic(broker, "goes-on", 1);
        Records.writeNumbers(broker, "goes-on", 0, 10);
        TopicPartition partition = new TopicPartition("goes-on", 0);
        String id;
        try (Member member = new Member(broker, "goes-on-raw", null);
                var consumer = Records.consumer(broker, Map.of("group.id", "goes-on",
                    "max.poll.records", "4", "reconnect.backoff.max.ms", "100"))) {
            member.join();
            Wait.equal("mine", member.sync(Map.of(member.id, "mine")), "assignment");
            id = member.id;
            consumer.subscribe(List.of("goes-on"));
            List<Long> read = new ArrayList<>();
            Wait.until("the first records", Records.LIMIT, () -> {
                consumer.poll(Duration.ofMillis(50)).forEach(it -> read.add(it.offset()));
                return !read.isEmpty();
            });
            consumer.commitSync();
            int before = consumer.groupMetadata().generationId();
            restart();
            Wait.until("all records", Records.LIMIT, () -> {
                consumer.poll(Duration.ofMillis(50)).forEach(it -> read.add(it.offset()));
                return read.size() >= 10;
            });
            consumer.commitSync();
            Wait.equal(List.of(0L, 1L, 2L, 3L, 4L, 5L, 6L, 7L, 8L, 9L), read, "each record once");
            Wait.equal(before, consumer.groupMetadata().generationId(), "generation");
        }
        try (Member same = new Member(broker, "goes-on-raw", null)) {
            same.id = id;
            same.generation = 1;
            same.protocol = "range";
            Wait.equal(Errors.NONE, same.heartbeat(), "heartbeat in the old generation");
            Wait.equal("mine", same.sync(Map.of()), "the old assignment");
        }
        Wait.equal(10L, Records.committed(broker.admin(), "goes-on", partition), "committed");
    }

    private void replaced(Path at) throws Exception {
        int port = Broker.freePort();
        try (Broker first = new Broker(suite.setup(), at.resolve("first"), port, Map.of());
                Broker second = new Broker(suite.setup(), at.resolve("second"), port,
                    Map.of("auto.create.topics.enable", "false"))) {
            first.start();
            Records.createTopic(first, "replaced", 1);
            try (var producer = Records.producer(first, Map.of("reconnect.backoff.max.ms", "100",
                    "metadata.recovery.strategy", "rebootstrap", "max.block.ms", "30000"))) {
                Wait.equal(0L, producer.send(new ProducerRecord<>("replaced", 0, null,
                    Records.bytes("one"))).get().offset(), "at the first cluster");
                first.kill();
                second.start();
                Records.createTopic(second, "replaced", 1);
                Wait.equal(0L, producer.send(new ProducerRecord<>("replaced", 0, null,
                    Records.bytes("two"))).get().offset(), "at the second cluster");
            }
            Wait.equal("two", Records.text(Records.readAll(second, "replaced").get(0).value()),
                "the record there");
        }
    }
}
