"""One broker of the kind under test, on a free port and in a directory of its own."""

import os
import random
import signal
import socket
import subprocess
from pathlib import Path

import waiting
import wire


class Broker:
    """Starts, kills and starts again; the port and the data stay."""

    def __init__(self, kind, at, gregor=None, classpath=None):
        self.kind, self.at, self.port = kind, Path(at), _free_port()
        self.at.mkdir(parents=True)
        self._config = self.at / "server.properties"
        self._gregor, self._classpath = gregor, classpath
        self._process = None
        keys = {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": str(self.at / "data"),
            "node.id": "1",
            "auto.create.topics.enable": "false",
            # Records say that they are of 2020.
            "log.retention.ms": "-1",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
        }
        if kind == "kafka":
            keys |= self._own_controller(keys["listeners"])
        lines = [f"{key}={value}\n" for key, value in sorted(keys.items())]
        self._config.write_text("".join(lines))
        if kind == "kafka":
            tool = ["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg"]
            with (self.at / "format.log").open("wb") as log:
                subprocess.run(
                    self._java(*tool, "-c", str(self._config)), check=True, stdout=log, stderr=log
                )

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        with (self.at / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        waiting.until(f"the broker answers (see {self.at})", self._answers)

    def kill(self):
        """`kill -9`."""
        self._process.kill()
        self._process.wait()

    def stop(self):
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self.kill()

    def _answers(self):
        if self._process.poll() is not None:
            raise AssertionError(f"the broker has ended with {self._process.returncode}")
        try:
            return wire.brokers(self.port) == 1
        except OSError:
            return False

    def _command(self):
        if self.kind == "kafka":
            return self._java("kafka.Kafka", str(self._config))
        return [str(self._gregor), "serve", "--config", str(self._config)]

    def _java(self, *arguments):
        flags = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx600m"]
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return ["java", *flags, quiet, "-cp", self._classpath, *arguments]

    @staticmethod
    def _own_controller(listeners):
        """What genuine Kafka needs beyond that, being its own controller."""
        controller = _free_port()
        return {
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
            "process.roles": "broker,controller",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
        }


def _free_port():
    """A port nobody listens on, below those that the kernel gives to outgoing connections: a
    broker that was killed has to get the same port again."""
    draw = random.Random(os.getpid() ^ int.from_bytes(os.urandom(4), "big"))
    while True:
        port = draw.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
