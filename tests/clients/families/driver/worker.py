"""One process of a client family, and the line protocol that the driver speaks with it.

A request is one line of JSON on the worker's standard input, an answer one line on its standard
output: `{"ok": {...}}`, `{"error": code, "text": "..."}` with Kafka's error code (or null where the
library hides it), or `{"unsupported": "why"}`. Between answers a group member tells events,
`{"event": "assigned" | "records", ...}`. README.md lists the operations. Everything is written
to the worker's evidence: `lines` (shortened) and `stderr`.
"""

import base64
import json
import os
import queue
import signal
import subprocess
import threading
import time

from records import Record


class Refused(Exception):
    """The library answered with an error."""

    def __init__(self, code, text):
        super().__init__(f"error {code}: {text}")
        self.code, self.text = code, text


class Unsupported(Exception):
    """The library cannot do that; the text says why."""


class Worker:
    """A running worker. Every request has a deadline."""

    def __init__(self, family, address, evidence, name):
        self.family, self.name = family, name
        evidence.mkdir(parents=True, exist_ok=True)
        self._lines = (evidence / f"{name}.lines").open("w")
        self._stderr = (evidence / f"{name}.stderr").open("wb")
        self._process = subprocess.Popen(
            [*family.command, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=family.environment,
            start_new_session=True,
        )
        self._answers = queue.Queue()
        self._changed = threading.Condition()
        self._assigned, self._records = None, []
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def ask(self, op, seconds=90.0, **fields):
        """One request and its answer."""
        line = json.dumps({"op": op, **fields})
        self._note(">", line)
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"{self.name}: no answer to {op} in {seconds:.0f} s") from None
        if answer is None:
            raise AssertionError(f"{self.name} ended during {op}; see its .stderr")
        if "unsupported" in answer:
            raise Unsupported(answer["unsupported"])
        if "error" in answer:
            raise Refused(answer["error"], answer.get("text", ""))
        return answer["ok"]

    def refuses(self, op, **fields):
        """The error code with which a request is refused."""
        try:
            answer = self.ask(op, **fields)
        except Refused as error:
            return error.code
        raise AssertionError(f"{op} was not refused: {json.dumps(answer)[:200]}")

    def produce(self, topic, records, codec="none"):
        lines = [written(record) for record in records]
        return self.ask("produce", topic=topic, codec=codec, records=lines)["offsets"]

    def read(self, topic, count, partition=0, start=0):
        fields = {"topic": topic, "partition": partition, "from": start, "count": count}
        return [understood(record) for record in self.ask("read", **fields)["records"]]

    @property
    def assigned(self):
        """The partitions that this group member says it has."""
        with self._changed:
            return self._assigned

    @property
    def received(self):
        """The values that this group member has read and committed, in order."""
        with self._changed:
            return list(self._records)

    def kill(self):
        """`kill -9` of it and of what it started."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()

    def close(self):
        if self._process.poll() is None:
            self._process.stdin.close()
            try:
                self._process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.kill()
        self._reader.join()
        self._lines.close()
        self._stderr.close()

    def _listen(self):
        for line in self._process.stdout:
            self._note("<", line.decode(errors="replace"))
            try:
                said = json.loads(line)
            except ValueError:
                continue  # a library that prints; it stands in the evidence
            if "event" not in said:
                self._answers.put(said)
                continue
            with self._changed:
                if said["event"] == "assigned":
                    self._assigned = sorted(said["partitions"])
                elif said["event"] == "records":
                    self._records += [base64.b64decode(value) for value in said["values"]]
        self._answers.put(None)

    def _note(self, way, line):
        line = line.rstrip("\n")
        if len(line) > 2000:
            line = f"{line[:1900]} ... {len(line)} characters"
        if not self._lines.closed:
            self._lines.write(f"{time.strftime('%H:%M:%S')} {way} {line}\n")
            self._lines.flush()


def _text(value):
    return None if value is None else base64.b64encode(value).decode()


def _bytes(text):
    return None if text is None else base64.b64decode(text)


def written(record):
    """A record as a request carries it."""
    return {
        "partition": record.partition,
        "key": _text(record.key),
        "value": _text(record.value),
        "headers": [[name, _text(value)] for name, value in record.headers],
        "timestamp": record.timestamp,
    }


def understood(line):
    """A record as an answer carries it."""
    headers = tuple((name, _bytes(value)) for name, value in line["headers"])
    return Record(
        key=_bytes(line["key"]),
        value=_bytes(line["value"]),
        headers=headers,
        timestamp=line["timestamp"],
        offset=line["offset"],
    )
