"""A consumer group of each family: it shares, gives back, survives a kill and a broker's restart.

Records are written only while the group stands still, so that each must arrive exactly once. A
member tells what it has read after it has committed it; the committed offsets are asked of the
broker besides.
"""

import wire
from basics import same
from records import Record
from waiting import until

PARTITIONS = 4


class Group:
    """One group of one family, and the values sent to its topic so far."""

    def __init__(self, world, family, name):
        self.world, self.family = world, family
        self.topic = self.group = f"{family.name}-{name}"
        self.sent, self.members = [], []
        world.create(self.topic, PARTITIONS)

    def send(self, count):
        values = [b"value %d" % (len(self.sent) + i) for i in range(count)]
        self.world.helper.produce(
            self.topic,
            [Record(value=value, partition=i % PARTITIONS) for i, value in enumerate(values)],
        )
        self.sent += values
        return values

    def join(self):
        name = f"{self.group}-member-{len(self.members)}"
        member = self.world.worker(self.family, name)
        self.members.append(member)
        member.ask("join", group=self.group, topic=self.topic)
        return member

    def shared(self, *members):
        """Waits until these members have all partitions, each at least one."""

        def seen():
            has = [member.assigned or [] for member in members]
            return all(has) and sorted(sum(has, [])) == list(range(PARTITIONS))

        until(f"{len(members)} members share {PARTITIONS} partitions", seen)

    def receives(self, values, *members, before=()):
        """Waits until these members have read exactly these values, and committed them."""
        base = [len(list_) for list_ in before] or [0] * len(members)

        def news():
            return [one.received[start:] for one, start in zip(members, base, strict=True)]

        until(f"{len(values)} records are read", lambda: len(sum(news(), [])) >= len(values))
        same(sorted(values), sorted(sum(news(), [])), "records of the group")
        self.committed()
        return news()

    def committed(self):
        """Waits until the broker knows that everything was read."""

        def seen():
            offsets = wire.committed(self.world.broker.port, self.group, self.topic, PARTITIONS)
            return sum(max(offset, 0) for offset in offsets) == len(self.sent)

        until("everything is committed", seen)

    def close(self):
        for member in self.members:
            member.close()


class GroupChecks:
    """The checks of one family; each goes on where the one before it stopped."""

    def __init__(self, report, world, family, worker):
        self.report, self.world, self.family, self.worker = report, world, family, worker

    def run(self):
        self.group = Group(self.world, self.family, "group")
        steps = (
            ("group: one member reads all partitions", self.alone),
            ("group: a second member gets its share, and both read", self.two),
            ("group: one leaves, and the other goes on alone", self.leaves),
            ("group: all are killed, and a new member reads only what is new", self.restarted),
            ("admin: list and describe a group and its offsets", self.told),
            ("admin: delete a group", self.deleted),
        )
        try:
            for done, (name, step) in enumerate(steps):
                if not self.report.check(self.family, name, step):
                    for rest, _ in steps[done + 1 :]:
                        self.report.check(self.family, rest, self._not_reached)
                    break
        finally:
            self.group.close()

    @staticmethod
    def _not_reached():
        raise AssertionError("not reached, for the check before it failed")

    def alone(self):
        self.first = self.group.join()
        self.group.shared(self.first)
        self.group.receives(self.group.send(40), self.first)

    def two(self):
        self.second = self.group.join()
        self.group.shared(self.first, self.second)
        before = self.first.received, self.second.received
        news = self.group.receives(self.group.send(40), self.first, self.second, before=before)
        if not all(news):
            raise AssertionError(f"one member read nothing: {[len(one) for one in news]}")

    def leaves(self):
        self.first.ask("leave")
        self.group.shared(self.second)
        before = (self.second.received,)
        self.group.receives(self.group.send(40), self.second, before=before)

    def restarted(self):
        self.second.kill()
        values = self.group.send(40)
        self.third = self.group.join()
        self.group.shared(self.third)
        self.group.receives(values, self.third)

    def told(self):
        name, ask = self.group.group, self.worker.ask
        if name not in (listed := ask("groups")["groups"]):
            raise AssertionError(f"{name} is not listed: {listed}")
        same({"state": "Stable", "members": 1}, ask("group", group=name), "the group")
        told = ask("committed", group=name, topic=self.group.topic)["offsets"]
        due = {str(partition): 40 for partition in range(PARTITIONS)}
        same(due, {str(key): value for key, value in told.items()}, "committed offsets")

    def deleted(self):
        if "admin: list and describe a group and its offsets" in self.family.cannot:
            self.worker.ask("forget", group=self.group.group)
        same(
            68, self.worker.refuses("forget", group=self.group.group), "error while it has a member"
        )
        self.third.ask("leave")
        self.worker.ask("forget", group=self.group.group)
        if self.group.group in self.worker.ask("groups")["groups"]:
            raise AssertionError(f"{self.group.group} is still listed")


def restart(report, world, families):
    """The broker is killed under a reading member and an idle producer of every family at once,
    and started again. Each producer goes on by itself, and each group where it was."""
    name = "restart: reads and writes on through a kill of the broker"
    groups = {}

    def begin(family):
        group = groups[family.name] = Group(world, family, "restart")
        member = group.join()
        group.shared(member)
        group.receives(group.send(20), member)

    for family in families:
        if not report.check(
            family, "restart: a group reads before the broker is killed", begin, family
        ):
            group = groups.pop(family.name, None)
            if group:
                group.close()
    world.broker.kill()
    world.broker.start()

    def goes_on(family):
        group = groups[family.name]
        (member,) = group.members
        values = [b"after %d" % i for i in range(20)]
        writer = world.workers[family.name]
        writer.produce(
            group.topic,
            [Record(value=value, partition=i % PARTITIONS) for i, value in enumerate(values)],
        )
        group.sent += values
        until("the records are read", lambda: set(values) <= set(member.received))
        # One that was read may come again, for its commit may have been under way; none is lost.
        same(set(group.sent), set(member.received), "records of the group")
        group.committed()

    for family in families:
        if family.name in groups:
            report.check(family, name, goes_on, family)
            groups[family.name].close()
