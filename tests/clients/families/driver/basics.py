"""What every family must be able to do on its own: write and read, administer, and be refused."""

import itertools

import wire
from records import MOMENT, Record, difference, half_noise
from worker import written

KEEP = {"retention.ms": "-1"}
FAR = 10**6


class Basics:
    """The checks of one family, with one worker of its own."""

    def __init__(self, report, world, family, worker):
        self.report, self.world, self.family, self.worker = report, world, family, worker

    def run(self):
        for name, check in (
            ("produce and consume: from the start and from the middle", self.round_trip),
            ("consume: offsets by place and by time", self.lookups),
            ("admin: create, list and describe a topic", self.topics),
            ("admin: alter a topic's settings", self.alter),
            ("admin: add partitions", self.grow),
            ("admin: delete records", self.trim),
            ("admin: delete a topic", self.delete),
        ):
            self.report.check(self.family, name, check)
        for name, code, ask in self.errors():
            name = f"errors: {name}"
            due = self.family.tells.get(name, code)
            self.report.check(self.family, name, self.refused, due, ask)

    @staticmethod
    def refused(due, ask):
        same(due, ask(), "error code")

    def topic(self, name, partitions=1, **configs):
        name = f"{self.family.name}-{name}"
        self.world.create(name, partitions, configs)
        return name

    def round_trip(self):
        topic = self.topic("round", 3)
        sent = [
            Record(f"k{i}".encode(), half_noise(i, i), (("n", b"%d" % i),), self.moment(i), i % 3)
            for i in range(600)
        ]
        offsets = self.worker.produce(topic, sent)
        if offsets:
            same([i // 3 for i in range(600)], offsets, "offsets that the producer was told")
        for partition in range(3):
            due = [record for record in sent if record.partition == partition]
            same_records(due, self.worker.read(topic, 200, partition), 0)
            same_records(due[150:], self.worker.read(topic, 50, partition, 150), 150)

    def moment(self, index):
        return None if "timestamp" in self.family.cannot else MOMENT + index

    def lookups(self):
        topic = self.topic("offsets")
        sent = [Record(value=b"v", timestamp=MOMENT + 10 * i) for i in range(20)]
        self.world.helper.produce(topic, sent)
        told = self.worker.ask("offsets", topic=topic, partition=0, time=MOMENT + 65)
        same({"first": 0, "end": 20, "at": 7}, told, "offsets")

    def topics(self):
        topic = f"{self.family.name}-made"
        configs = {"retention.ms": "86400000", "max.message.bytes": "12345"}
        self.worker.ask("create", topic=topic, partitions=3, configs=configs)
        self.world.settles(f"{topic} is listed", lambda: topic in self.listed())
        self._is(topic, 3, configs | {"cleanup.policy": "delete"})

    def alter(self):
        topic = self.topic("altered", **KEEP)
        changed = {"retention.ms": "3600000"}
        self.worker.ask("alter", topic=topic, configs=changed)
        self._is(topic, 1, changed)

    def grow(self):
        topic = self.topic("grown")
        self.worker.ask("grow", topic=topic, partitions=4)
        self._is(topic, 4, {})
        self.world.settles("four are served", lambda: wire.served(self.world.broker.port, topic, 4))
        record = Record(value=b"in the last one", timestamp=self.moment(0), partition=3)
        self.worker.produce(topic, [record])
        same_records([record], self.worker.read(topic, 1, 3), 0)

    def trim(self):
        topic = self.topic("trimmed")
        self.world.helper.produce(topic, [Record(value=b"%d" % i) for i in range(10)])
        self.worker.ask("trim", topic=topic, partition=0, offset=6)
        same(
            6, self.worker.ask("offsets", topic=topic, partition=0, time=0)["first"], "first offset"
        )
        same(b"6", self.worker.read(topic, 1, 0, 6)[0].value, "first value")

    def delete(self):
        topic = self.topic("deleted")
        self.worker.ask("delete", topic=topic)
        self.world.settles(f"{topic} is gone", lambda: topic not in self.listed())

    def listed(self):
        return self.worker.ask("topics")["topics"]

    def _is(self, topic, partitions, configs):
        told = {}

        def settled():
            told.update(self.worker.ask("describe", topic=topic, keys=list(configs)))
            told["configs"] = {key: told["configs"].get(key) for key in configs}
            return told == {"partitions": partitions, "configs": configs}

        try:
            self.world.settles("it is described so", settled)
        except AssertionError:
            same({"partitions": partitions, "configs": configs}, told, "the description")
            raise

    def errors(self):
        """Names, the code that Kafka answers, and how each is brought about."""
        small = [Record(value=b"v")]
        name = itertools.count()

        def create(topic=None, partitions=1, **configs):
            topic = topic or f"{self.family.name}-refused-{next(name)}"
            configs = {key.replace("_", "."): value for key, value in configs.items()}
            return self.worker.refuses(
                "create", topic=topic, partitions=partitions, configs=configs
            )

        def produce(topic, *records):
            return self.worker.refuses(
                "produce",
                topic=topic,
                codec="none",
                records=[written(record) for record in records],
            )

        def read(topic, start):
            fields = {"topic": topic, "partition": 0, "from": start, "count": 1}
            return self.worker.refuses("read", **fields)

        missing = f"{self.family.name}-missing"
        yield "produce to an unknown topic", 3, lambda: produce(missing, *small)
        yield (
            "produce a record that is too large",
            10,
            lambda: produce(
                self.topic("oversize"), Record(value=half_noise(2_000_000, "oversize"))
            ),
        )
        yield (
            "produce a record from the future",
            32,
            lambda: produce(self.topic("future"), Record(value=b"v", timestamp=self.world.later())),
        )
        yield "consume from an offset out of range", 1, lambda: read(self.topic("range"), FAR)
        yield "create a topic that exists", 36, lambda: create(self.topic("twice"))
        yield "create a topic with a bad name", 17, lambda: create("bad/name")
        yield "create a topic with no partitions", 37, lambda: create(partitions=0)
        yield "create a topic with a bad setting", 40, lambda: create(retention_ms="soon")
        yield "create a topic with an unknown setting", 40, lambda: create(no_such_key="1")
        yield (
            "alter a topic with a bad setting",
            40,
            lambda: self.worker.refuses(
                "alter", topic=self.topic("misaltered"), configs={"retention.ms": "soon"}
            ),
        )
        yield (
            "shrink a topic",
            37,
            lambda: self.worker.refuses("grow", topic=self.topic("shrunk", 3), partitions=2),
        )
        yield (
            "delete records beyond the end",
            1,
            lambda: self.worker.refuses(
                "trim", topic=self.topic("overtrimmed"), partition=0, offset=FAR
            ),
        )
        yield "delete an unknown topic", 3, lambda: self.worker.refuses("delete", topic=missing)
        yield (
            "describe an unknown topic",
            3,
            lambda: self.worker.refuses("describe", topic=missing, keys=["retention.ms"]),
        )
        yield (
            "delete an unknown group",
            69,
            lambda: self.worker.refuses("forget", group=f"{self.family.name}-nobody"),
        )


def same(due, is_, what):
    if due != is_:
        raise AssertionError(f"{what}: expected {due}, got {is_}"[:600])


def same_records(due, got, first):
    same(len(due), len(got), "records")
    for index, (sent, read) in enumerate(zip(due, got, strict=True)):
        same(first + index, read.offset, "offset")
        if differs := difference(sent, read):
            raise AssertionError(f"record {index}: {differs}")
