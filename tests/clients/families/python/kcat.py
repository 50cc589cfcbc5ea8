"""Worker of family kcat: each operation is a run of Debian's kcat."""

import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import lines

NO_ADMIN = "kcat has no commands for administration"
TIMEOUTS = ["-X", "message.timeout.ms=15000", "-X", "topic.metadata.propagation.max.ms=4000"]
ERRORS = {
    "Broker: Message size too large": 10,
    "Broker: Unknown topic or partition": 3,
    "Local: Unknown topic": 3,
    "Local: Unknown partition": 3,
    "Broker: Offset out of range": 1,
    "Unknown topic or partition": 3,
}
HEAD = "%T %o %K %S %p %h\\n"


class Kcat:
    def __init__(self, address):
        self.address = address
        self.member = None

    def hello(self):
        told = subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=True).stdout
        version = told.split("Version ")[1].split(" ")[0]
        return {"version": f"{version} (librdkafka {told.split('librdkafka ')[1].split(' ')[0]})"}

    def produce(self, topic, codec, records):
        """One run of kcat for all records that follow each other and are shaped alike: it takes
        key and headers from its command line, and each value from a file."""
        for one in records:
            if one["timestamp"] is not None:
                raise lines.Unsupported("kcat cannot set timestamps")
        with tempfile.TemporaryDirectory() as folder:
            runs = []
            for index, one in enumerate(records):
                shape = (one["partition"], one["key"], one["value"] is None, str(one["headers"]))
                if not runs or runs[-1][0] != shape or one["value"] is None:
                    runs.append((shape, one, []))
                if one["value"] is not None:
                    file = Path(folder) / str(index)
                    file.write_bytes(lines.data(one["value"]))
                    runs[-1][2].append(str(file))
            for _, one, files in runs:
                self._write(topic, codec, one, files)
        return {"offsets": []}

    def _write(self, topic, codec, one, files):
        arguments = [
            "-P",
            "-t",
            topic,
            "-p",
            str(one["partition"]),
            "-X",
            f"compression.codec={codec}",
        ]
        arguments += [*TIMEOUTS, "-X", "message.max.bytes=8000000"]
        for name, value in one["headers"]:
            content = lines.data(value)
            arguments += ["-H", name.encode() + (b"" if content is None else b"=" + content)]
        key, given = lines.data(one["key"]), b""
        if one["value"] is None or b"" in [Path(file).read_bytes() for file in files]:
            # From a line of its input, which is cut at a text that no record has.
            arguments += ["-K", "|SPLIT|"] + (["-Z"] if one["value"] is None or key is None else [])
            given, files = (key or b"") + b"|SPLIT|\n", []
        elif key is not None:
            arguments += ["-k", key]
        self._run([*arguments, *files], given)

    def read(self, topic, partition, start, count):
        arguments = [
            "-C",
            "-q",
            "-t",
            topic,
            "-p",
            str(partition),
            "-o",
            str(start),
            "-c",
            str(count),
        ]
        arguments += ["-X", "auto.offset.reset=error", "-X", "check.crcs=true"]
        out = self._run([*arguments, "-f", HEAD + "%k%s\\n"])
        got, at = [], 0
        while at < len(out):
            end = out.index(b"\n", at)
            head = out[at:end].split(b" ", 5)
            at = end + 1
            key, at = _cut(out, at, int(head[2]))
            value, at = _cut(out, at, int(head[3]))
            if out[at : at + 1] != b"\n":
                raise lines.Failed(None, "kcat printed something else")
            at += 1
            got.append(lines.record(int(head[1]), int(head[0]), key, value, _headers(head[5])))
        return {"records": got}

    def offsets(self, topic, partition, time):
        def query(moment):
            told = self._run(["-Q", "-t", f"{topic}:{partition}:{moment}"])
            return int(told.split()[-1])

        return {"first": query(-2), "end": query(-1), "at": query(time)}

    def topics(self):
        told = self._run(["-L"]).decode().splitlines()
        return {"topics": [line.split('"')[1] for line in told if line.startswith('  topic "')]}

    def create(self, **_):
        raise lines.Unsupported(NO_ADMIN)

    describe = alter = grow = trim = delete = groups = group = committed = forget = create

    def join(self, group, topic):
        arguments = ["-G", group, "-u", "-E", "-f", "%S\\n%s\\n", *self._settings(), topic]
        self.member = subprocess.Popen(
            ["kcat", "-b", self.address, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for run in (self._values, self._rebalances):
            threading.Thread(target=run, daemon=True).start()

    def leave(self):
        self.member.terminate()
        self.member.wait(timeout=30)

    @staticmethod
    def _settings():
        keys = [
            "auto.offset.reset=earliest",
            "session.timeout.ms=6000",
            "heartbeat.interval.ms=500",
        ]
        keys += ["auto.commit.interval.ms=100", "fetch.wait.max.ms=100"]
        return [word for key in keys for word in ("-X", key)]

    def _values(self):
        out = self.member.stdout
        while size := out.readline():
            value = out.read(int(size))
            out.read(1)
            lines.records([value])

    def _rebalances(self):
        for line in self.member.stderr:
            sys.stderr.write(told := line.decode())
            if "rebalanced" in told:
                _, _, list_ = told.partition("assigned: ")
                lines.assigned(int(part.split("]")[0]) for part in list_.split("[")[1:])

    def _run(self, arguments, given=b""):
        done = subprocess.run(
            ["kcat", "-b", self.address, *arguments], input=given, capture_output=True, timeout=60
        )
        told = done.stderr.decode(errors="replace")
        sys.stderr.write(told)
        code = next((code for words, code in ERRORS.items() if words in told), None)
        if done.returncode or code is not None:
            raise lines.Failed(code, told.strip())
        return done.stdout


def _cut(out, at, size):
    return (None, at) if size < 0 else (out[at : at + size], at + size)


def _headers(printed):
    """The checks send no comma and no equals sign in a header."""
    pairs = [part.partition(b"=") for part in printed.split(b",") if part]
    return [(name.decode(), None if value == b"NULL" else value) for name, _, value in pairs]


lines.serve(Kcat(sys.argv[1]))
