#!/usr/bin/env python3
"""Cuts the power under a real broker, over and over, and holds it to what it acknowledged.

`gregor serve` runs on a file system of its own on a loop device, writers with acks=all run against
it, and in the middle of that the file system is shut down without writing its cache or its journal
(FS_IOC_SHUTDOWN): to everything on it, that is the power going. Then the broker is killed, the file
system mounted again, the broker started under another boot id, and every record read back.

  --mode fsync        nothing that was acknowledged may be gone
  --mode replicated   what is gone was acknowledged less than the bound of the background flush
                      before the cut, and the start says that the machine may have stopped
  --control           the mode `replicated` held to the promise of `fsync`: a broker that
                      acknowledges before it flushes. Shows that the cut is one, and the check too:
                      passes if at least a tenth of the rounds lost something

Ends with `power cuts: N rounds, M failed, K lost records`. Exit code 0: passed, 1: a promise was
broken, 2: wrong usage, 77: this machine lacks root, loop devices or the tools, nothing was checked.

Everything happens in a mount namespace of its own, in a directory of its own, on loopback.
"""
import argparse
import fcntl
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid

SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN, the same for ext4 and xfs
NO_LOG_FLUSH = (2).to_bytes(4, "little")
MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-m", "0"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
}
# ext4's own timer would otherwise save after 5 s what nobody synced.
MOUNT = {"ext4": ["-o", "commit=300"], "xfs": []}
IMAGE_BYTES = 1 << 30
TOPIC = "cut"
PARTITIONS = 4
WRITERS = 8
# The background flush is due after 200 ms; this machine may be slow on top of that.
FLUSH_BOUND_S = 2.0
BOOT_ID = "/proc/sys/kernel/random/boot_id"
NOT_RUN = 77


def crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC32C = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def varint(number):
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number >= 0x80:
        out.append((number & 0x7F) | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def batch(value):
    """A record batch (format v2) of one record without a key."""
    body = b"\0" + varint(0) + varint(0) + varint(-1) + varint(len(value)) + value + varint(0)
    record = varint(len(body)) + body
    now = int(time.time() * 1000)
    tail = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1) + record
    head = struct.pack(">ibI", -1, 2, crc32c(tail))
    return struct.pack(">qi", 0, len(head) + len(tail)) + head + tail


def produce(sock, correlation, partition, value):
    """Produce v7 with acks=all: error code and offset."""
    records = batch(value)
    name = TOPIC.encode()
    body = struct.pack(">hhi", 0, 7, correlation) + struct.pack(">h", 3) + b"cut"
    body += struct.pack(">hhi", -1, -1, 10_000)
    body += struct.pack(">ih", 1, len(name)) + name
    body += struct.pack(">iii", 1, partition, len(records)) + records
    sock.sendall(struct.pack(">i", len(body)) + body)
    answer = receive(sock, struct.unpack(">i", receive(sock, 4))[0])
    at = 4 + 4 + 2 + len(name) + 4
    _, error, offset = struct.unpack_from(">ihq", answer, at)
    return error, offset


def receive(sock, size):
    out = bytearray()
    while len(out) < size:
        more = sock.recv(size - len(out))
        if not more:
            raise ConnectionError("closed")
        out += more
    return bytes(out)


class Writer(threading.Thread):
    """Writes numbered records one after the other until its connection ends."""

    def __init__(self, port, number, label, acked):
        super().__init__(daemon=True)
        self.port, self.number, self.label, self.acked = port, number, label, acked

    def run(self):
        partition = self.number % PARTITIONS
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=30) as sock:
                count = 0
                while True:
                    value = f"{self.label}-{self.number}-{count}".encode() + b"." * 100
                    error, offset = produce(sock, count, partition, value)
                    if error == 0:
                        self.acked.append((time.monotonic(), partition, offset, value.decode()))
                    count += 1
        except (OSError, ConnectionError, struct.error):
            return


class Disk:
    """A file system on a loop device."""

    def __init__(self, kind, folder):
        self.kind = kind
        self.mount = os.path.join(folder, "mount")
        os.makedirs(self.mount)
        image = os.path.join(folder, "image")
        with open(image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        run(MAKE[kind] + [image])
        self.device = run(["losetup", "--find", "--show", image])
        self.attach()

    def attach(self):
        run(["mount", *MOUNT[self.kind], self.device, self.mount])

    def cut(self):
        root = os.open(self.mount, os.O_RDONLY)
        fcntl.ioctl(root, SHUTDOWN, NO_LOG_FLUSH)
        os.close(root)

    def back(self):
        run(["umount", self.mount])
        self.attach()
        self.boot()

    def boot(self):
        """As the kernel says of itself after a machine has stopped: with a new boot id."""
        subprocess.run(["umount", BOOT_ID], capture_output=True)
        name = os.path.join(os.path.dirname(self.mount), "boot_id")
        with open(name, "w", encoding="ascii") as file:
            file.write(f"{uuid.uuid4()}\n")
        run(["mount", "--bind", name, BOOT_ID])

    def close(self):
        subprocess.run(["umount", BOOT_ID], capture_output=True)
        subprocess.run(["umount", self.mount], capture_output=True)
        subprocess.run(["losetup", "-d", self.device], capture_output=True)


class Broker:
    def __init__(self, args, folder, mount):
        self.args, self.port = args, free_port()
        self.log = os.path.join(folder, "broker.log")
        self.command = [
            args.gregor, "serve", "--data", os.path.join(mount, "data"),
            "--override", f"listeners=PLAINTEXT://127.0.0.1:{self.port}",
        ]
        self.process = None

    def start(self):
        """Returns what it logs until it is ready."""
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return open(self.log, encoding="utf-8").read()
            except OSError:
                time.sleep(0.01)
        raise Broken("the broker did not start:\n" + open(self.log, encoding="utf-8").read())

    def tool(self, *words):
        done = subprocess.run(
            [self.args.gregor, *words, "-b", f"127.0.0.1:{self.port}"],
            capture_output=True, text=True, timeout=120,
        )
        if done.returncode != 0:
            raise Broken(f"gregor {' '.join(words)}: {done.stderr}")
        return done.stdout

    def records(self):
        lines = self.tool("consume", TOPIC, "--json").splitlines()
        found = map(json.loads, lines)
        return {(record["partition"], record["offset"]): record["value"] for record in found}

    def signal(self, number):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def wait(self):
        self.process.wait(timeout=30)
        self.process = None


class Broken(Exception):
    """A promise that was not kept."""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def run(words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def one_round(args, dice, disk, broker, number, kept):
    """One power cut: records acknowledged, those of them that are gone, and the age of the oldest."""
    acked = []
    writers = [Writer(broker.port, n, f"r{number}", acked) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    time.sleep(dice.uniform(0.05, 1.0))
    # First of all nothing more is acknowledged; then nothing more reaches the disk.
    broker.signal(signal.SIGSTOP)
    cut_at = time.monotonic()
    disk.cut()
    broker.signal(signal.SIGKILL)
    broker.wait()
    for writer in writers:
        writer.join(timeout=30)
    disk.back()
    said = broker.start()
    if not args.control and not re.search("the system may have gone down", said):
        raise Broken(f"round {number}: the start does not say that the machine stopped:\n{said}")
    found = broker.records()
    gone = []
    for at, partition, offset, value in acked:
        have = found.get((partition, offset))
        if have is not None and have != value:
            # Offsets that were lost are given out again; an offset that is kept is for ever.
            have = None
        if have is None:
            gone.append((cut_at - at, partition, offset))
        else:
            kept[(partition, offset)] = value
    for place, value in kept.items():
        if found.get(place) != value:
            raise Broken(f"round {number}: {place} had survived a cut and is gone now")
    late = [one for one in gone if one[0] > FLUSH_BOUND_S]
    if args.mode == "replicated" and not args.control and late:
        raise Broken(f"round {number}: gone although acknowledged {late[0][0]:.3f} s before the cut")
    if args.mode == "fsync" and gone:
        raise Broken(f"round {number}: {len(gone)} acknowledged records are gone, as {gone[0]}")
    # What was read back must stay: the background flush gets its time before the next cut.
    time.sleep(FLUSH_BOUND_S / 4)
    return len(acked), len(gone), max((one[0] for one in gone), default=0.0)


def main(args):
    dice = random.Random(args.seed)
    folder = tempfile.mkdtemp(prefix="gregor-cut-", dir=args.dir)
    disk = None
    broker = None
    failed, lossy, lost, written, oldest = 0, 0, 0, 0, 0.0
    try:
        disk = Disk(args.fs, folder)
        broker = Broker(args, folder, disk.mount)
        broker.start()
        config = ["-c", f"gregor.durability={args.mode}"] if args.mode == "fsync" else []
        broker.tool("topic", "create", TOPIC, "-p", str(PARTITIONS), *config)
        kept = {}
        for number in range(1, args.rounds + 1):
            acked, gone, age = one_round(args, dice, disk, broker, number, kept)
            written, lost, lossy = written + acked, lost + gone, lossy + bool(gone)
            oldest = max(oldest, age)
            print(f"round {number}: {acked} acknowledged, {gone} gone", flush=True)
    except Broken as broken:
        print(f"FAILED: {broken}", flush=True)
        failed = 1
    finally:
        if broker is not None:
            broker.signal(signal.SIGKILL)
            if broker.process is not None:
                broker.wait()
        if disk is not None:
            disk.close()
        shutil.rmtree(folder, ignore_errors=True)
    if args.control and not failed:
        failed = int(lossy * 10 < args.rounds)
    mode = "control" if args.control else args.mode
    print(f"{args.fs}, {mode}, seed {args.seed}: {written} acknowledged, {lossy} rounds lost some, "
          f"the oldest of it {oldest * 1000:.0f} ms before the cut")
    print(f"power cuts: {args.rounds} rounds, {failed} failed, {lost} lost records")
    return failed


def lacking(args):
    """Why nothing can be checked here, if so."""
    if os.geteuid() != 0:
        return "needs root, to make a file system and to cut its power"
    if not os.path.exists("/dev/loop-control"):
        return "needs loop devices"
    for tool in [MAKE[args.fs][0], "losetup", "mount", "unshare"]:
        if shutil.which(tool) is None:
            return f"needs {tool}"
    return None


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gregor", required=True, help="the binary")
    parser.add_argument("--fs", choices=sorted(MAKE), default="ext4")
    parser.add_argument("--mode", choices=["fsync", "replicated"], default="fsync")
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--dir", help="where the image lies [default: the temporary directory]")
    args = parser.parse_args()
    args.gregor = os.path.abspath(args.gregor)
    if args.control:
        args.mode = "replicated"
    return args


if __name__ == "__main__":
    ARGS = arguments()
    WHY = lacking(ARGS)
    if WHY is not None:
        print(f"power cuts: not run: {WHY}")
        sys.exit(NOT_RUN)
    if os.environ.get("GREGOR_CUT_NAMESPACE") is None:
        os.environ["GREGOR_CUT_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv])
    sys.exit(main(ARGS))
