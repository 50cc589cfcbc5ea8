"""A log shipper: rsyslog with omkafka, both from Debian, delivers a real log file into a topic."""

import subprocess
from pathlib import Path

import wire
from basics import same
from waiting import until

REAL = ("/var/log/dpkg.log", "/var/log/alternatives.log", "/var/log/apt/term.log")
CONFIG = """\
global(workDirectory="{at}" parser.escapeControlCharactersOnReceive="off")
module(load="imfile")
module(load="omkafka")
template(name="line" type="string" string="%msg%")
ruleset(name="ship") {{
  action(type="omkafka" broker=["{address}"] topic="{topic}" partitions.number="1" template="line"
         confParam=["compression.codec=lz4", "enable.idempotence=true"]
         resubmitOnFailure="on" keepFailedMessages="on" failedMsgFile="{at}/failed")
}}
input(type="imfile" file="{file}" tag="shipped" ruleset="ship")
"""


def ships(world, at):
    """Half of the file lies there when the shipper starts, the rest is appended while it runs."""
    lines = _real_log(world)
    topic, file = "shipped", at / "shipped.log"
    world.create(topic, 1)
    half = len(lines) // 2
    file.write_bytes(b"".join(line + b"\n" for line in lines[:half]))
    config = at / "rsyslog.conf"
    config.write_text(CONFIG.format(at=at, address=world.broker.address, topic=topic, file=file))
    with (at / "rsyslog.log").open("wb") as log:
        shipper = subprocess.Popen(
            ["rsyslogd", "-n", "-f", str(config), "-i", str(at / "rsyslog.pid")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until("the first half is shipped", lambda: _shipped(world, topic) >= half)
        with file.open("ab") as more:
            more.write(b"".join(line + b"\n" for line in lines[half:]))
        until("all of it is shipped", lambda: _shipped(world, topic) >= len(lines))
    finally:
        shipper.terminate()
        shipper.wait(timeout=30)
    same(len(lines), _shipped(world, topic), "records in the topic")
    got = [record.value for record in world.helper.read(topic, len(lines))]
    for number, (due, is_) in enumerate(zip(lines, got, strict=True), 1):
        same(due, is_, f"line {number}")


def _shipped(world, topic):
    return sum(batch.records for batch in wire.batches(world.broker.port, topic))


def _real_log(world):
    """The lines of a log of this machine. rsyslog ships no empty lines, so none are in it."""
    for path in map(Path, REAL):
        if path.is_file() and path.stat().st_size > 5_000:
            lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
            return [line[:2000] for line in lines[-2000:]]
    raise AssertionError(f"none of {', '.join(REAL)} has anything to ship")
