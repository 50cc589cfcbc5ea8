"""Runs the checks of the client families; `run` beside this folder starts it."""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import shipper
import wire
from basics import Basics
from broker import Broker
from families import Family, all_of
from groups import GroupChecks, restart
from matrix import Matrix
from report import Report
from waiting import until
from worker import Worker

SHIPPER = Family("rsyslog", ())


class World:
    """The broker, a worker per family, and one of librdkafka that helps the others."""

    def __init__(self, report, broker, families, helper):
        self.report, self.broker, self.families = report, broker, families
        self.workers = {}
        self._helper_family = helper
        self.helper = self.worker(helper, "helper")

    def start(self):
        for family in self.families:
            self.workers[family.name] = self.worker(family, "worker")

    def worker(self, family, name):
        return Worker(family, self.broker.address, self.report.evidence(family.name), name)

    def create(self, topic, partitions=1, configs=None):
        self.helper.ask("create", topic=topic, partitions=partitions, configs=configs or {})
        self.settles(f"{topic} is served", lambda: wire.served(self.broker.port, topic, partitions))

    def settles(self, what, seen):
        """What was answered is so: with Gregor at once. Kafka's controller answers, and its broker
        knows of it a moment later."""
        until(what, seen, 0 if self.broker.kind == "gregor" else 20)

    @staticmethod
    def later():
        """A moment further in the future than a broker takes."""
        return int(time.time() * 1000) + 2 * 3_600_000

    def close(self):
        for worker in [*self.workers.values(), self.helper]:
            worker.close()


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("--work", type=Path, required=True)
    asked.add_argument("--broker", choices=("gregor", "kafka"), required=True)
    asked.add_argument("--gregor", type=Path)
    asked.add_argument("--classpath")
    asked.add_argument("names", nargs="+")
    asked = asked.parse_args()

    environment = dict(os.environ, KAFKAJS_NO_PARTITIONER_WARNING="1", NODE_NO_WARNINGS="1")
    known = {family.name: family for family in all_of(asked.work, environment)}
    families = [known[name] for name in asked.names if name in known]
    report = Report(asked.work / asked.broker)
    broker = Broker(asked.broker, report.work / "broker", asked.gregor, asked.classpath)
    try:
        broker.start()
        world = World(report, broker, families, known["librdkafka"])
        try:
            world.start()
            run(report, world, "rsyslog" in asked.names)
        finally:
            world.close()
    finally:
        broker.stop()
    for line in report.table():
        print(line)
    return report.close()


def run(report, world, ships):
    """In lanes, as far as checks do not touch each other: families on their own, then the matrix,
    and last what needs a broker that is killed."""
    families, lanes = world.families, 4
    versions = {one.name: world.workers[one.name].ask("hello")["version"] for one in families}
    for name, version in versions.items():
        print(f"     {name} is {version}")

    def alone(family):
        worker = world.workers[family.name]
        Basics(report, world, family, worker).run()
        GroupChecks(report, world, family, worker).run()

    def ship():
        at = report.evidence(SHIPPER.name)
        report.check(SHIPPER, "a log file comes whole through omkafka", shipper.ships, world, at)

    matrix = Matrix(report, world, families)
    with ThreadPoolExecutor(lanes) as pool:
        tasks = [pool.submit(alone, family) for family in families]
        tasks += [pool.submit(ship)] if ships else []
        for task in tasks:
            task.result()
        for step in (matrix.write, matrix.read):
            list(pool.map(step, families))
    restart(report, world, families)


if __name__ == "__main__":
    sys.exit(main())
