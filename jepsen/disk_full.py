#!/usr/bin/env python3
"""Fills the disk under a real broker, takes one of its disks away, and replaces one.

  full      `gregor serve` on a small file system of its own; while a producer runs a filler takes
            all of its room. The producer must be told KAFKA_STORAGE_ERROR and nothing worse, every
            acknowledged record must be readable, a topic must be deletable; once the filler is gone
            the same process must take records again. Then a clean stop, a clean start, and every
            acknowledged record is there.
  failed    two log directories, each on a file system of its own; one is shut down under the broker
            (FS_IOC_SHUTDOWN, from then on every write fails). Its partitions must answer
            KAFKA_STORAGE_ERROR, those of the other must go on. After a repair and a start
            everything acknowledged is there.
  replaced  the second directory comes up empty: the start must be refused, as often as it is tried,
            until its loss is accepted; the first directory's records are all there.

Ends with `disks: N scenes, M failed`. Exit code 0: passed, 1: a promise was broken, 2: wrong usage,
77: this machine lacks root or the tools, nothing was checked.

Everything happens in a mount namespace of its own, in a directory of its own, on loopback.
"""
import argparse
import fcntl
import os
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

import power_cut
from power_cut import NO_LOG_FLUSH, NOT_RUN, SHUTDOWN, Broken, produce, run

TOPIC = power_cut.TOPIC
STORAGE_ERROR = 56
PATIENCE_S = 60


class Producer(threading.Thread):
    """Writes numbered records to a partition, and keeps what was acknowledged and what was not."""

    def __init__(self, port, partition, size):
        super().__init__(daemon=True)
        self.port, self.partition, self.size = port, partition, size
        self.acked, self.codes, self.stopped = {}, [], False
        self.broke = None

    def run(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=30) as sock:
                count = 0
                while not self.stopped:
                    value = f"{self.partition}-{count}-".encode().ljust(self.size, b".")
                    error, offset = produce(sock, count, self.partition, value)
                    if error == 0:
                        self.acked[offset] = value.decode()
                    else:
                        time.sleep(0.02)
                    self.codes.append(error)
                    count += 1
        except (OSError, ConnectionError, struct.error) as broke:
            self.broke = broke

    def wait_for(self, what, holds):
        wait_for(f"producer of partition {self.partition}: {what}", lambda: holds() or self.broke)
        if self.broke is not None:
            raise Broken(f"the connection broke while waiting for: {what} ({self.broke})")

    def stop(self):
        self.stopped = True
        self.join(timeout=30)


def wait_for(what, holds):
    until = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > until:
            raise Broken(f"{what}: not within {PATIENCE_S} s")
        time.sleep(0.02)


class Disk:
    """A small file system of its own."""

    def __init__(self, kind, folder, name, megabytes):
        self.kind, self.device = kind, None
        self.mount = os.path.join(folder, name)
        os.makedirs(self.mount)
        if kind == "tmpfs":
            run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", self.mount])
            return
        image = os.path.join(folder, f"{name}.image")
        with open(image, "wb") as file:
            file.truncate(megabytes << 20)
        run(power_cut.MAKE[kind] + [image])
        self.device = run(["losetup", "--find", "--show", image])
        run(["mount", self.device, self.mount])

    def fill(self):
        """Takes all room there is."""
        with open(os.path.join(self.mount, "filler"), "ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    pass

    def free(self):
        os.remove(os.path.join(self.mount, "filler"))

    def fail(self):
        root = os.open(self.mount, os.O_RDONLY)
        fcntl.ioctl(root, SHUTDOWN, NO_LOG_FLUSH)
        os.close(root)

    def repair(self):
        run(["umount", self.mount])
        run(["mount", self.device, self.mount])

    def close(self):
        subprocess.run(["umount", self.mount], capture_output=True)
        if self.device is not None:
            subprocess.run(["losetup", "-d", self.device], capture_output=True)


class Broker(power_cut.Broker):
    """A broker on several directories."""

    def __init__(self, args, folder, dirs):
        super().__init__(args, folder, "/")
        self.command = [args.gregor, "serve"]
        overrides = {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": ",".join(dirs),
            "gregor.journal.file.bytes": "1048576",
            "log.segment.bytes": "1048576",
        }
        for key, value in overrides.items():
            self.command += ["--override", f"{key}={value}"]

    def said(self):
        return open(self.log, encoding="utf-8").read()

    def says(self, pattern, times=1):
        found = re.findall(pattern, self.said())
        if len(found) != times:
            raise Broken(f"the log says {len(found)} times, not {times}: {pattern}\n{self.said()}")

    def refused(self, *more):
        done = subprocess.run(self.command + list(more), capture_output=True, text=True, timeout=60)
        if done.returncode != 1:
            raise Broken(f"a start that should be refused ended with {done.returncode}")
        return done.stderr.strip().splitlines()[-1]

    def stop(self):
        self.signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.process = None
        return code


def must_hold(broker, producers, when):
    found = broker.records()
    for producer in producers:
        for offset, value in list(producer.acked.items()):
            if found.get((producer.partition, offset)) != value:
                raise Broken(f"{when}: {producer.partition}/{offset} was acknowledged and is gone")


def scene_full(args, folder):
    disk = Disk(args.fs, folder, "small", 32)
    broker = Broker(args, folder, [os.path.join(disk.mount, "data")])
    try:
        broker.start()
        broker.tool("topic", "create", TOPIC, "-p", "1", "-c", f"gregor.durability={args.mode}")
        broker.tool("topic", "create", "other", "-p", "3")
        producer = Producer(broker.port, 0, 2000)
        producer.start()
        producer.wait_for("200 records", lambda: len(producer.acked) > 200)
        disk.fill()
        producer.wait_for("a storage error", lambda: STORAGE_ERROR in producer.codes)
        time.sleep(2)
        refusals = len([code for code in producer.codes if code])
        if not producer.codes[-1] or set(producer.codes) != {0, STORAGE_ERROR}:
            raise Broken(f"a full disk is answered with {sorted(set(producer.codes))}")
        must_hold(broker, [producer], "while the disk is full")
        broker.tool("topic", "delete", "other")
        create = subprocess.run(
            [args.gregor, "topic", "create", "more", "-b", f"127.0.0.1:{broker.port}"],
            capture_output=True, text=True, timeout=60,
        )
        before = len(producer.acked)
        disk.free()
        producer.wait_for("records after the disk has room", lambda: len(producer.acked) > before + 50)
        wait_for("the log says that it is over", lambda: "has room again" in broker.said())
        producer.stop()
        broker.says(r"WARN .*the disk of .* is full")
        broker.says(r"WARN .*the disk of .* has room again")
        must_hold(broker, [producer], "after the disk was full")
        lines = [line for line in broker.said().splitlines() if "the disk of" in line]
        if broker.stop() != 0:
            raise Broken("the stop was not clean:\n" + broker.said())
        if "it was closed cleanly" not in broker.start():
            raise Broken("the start was not clean:\n" + broker.said())
        must_hold(broker, [producer], "after a restart")
        broker.stop()
        print("\n".join(lines))
        print(f"CreateTopics while full: {create.stderr.strip() or 'created'}")
        print(f"full, {args.fs}, {args.mode}: {len(producer.acked)} acknowledged, {refusals} refused")
    finally:
        end(broker, [disk])


def two_disks(args, folder):
    disks = [Disk("ext4", folder, name, 64) for name in ("one", "two")]
    broker = Broker(args, folder, [os.path.join(disk.mount, "data") for disk in disks])
    return disks, broker


def scene_failed(args, folder):
    disks, broker = two_disks(args, folder)
    try:
        broker.start()
        broker.tool("topic", "create", TOPIC, "-p", "2", "-c", "gregor.durability=fsync")
        producers = [Producer(broker.port, partition, 500) for partition in range(2)]
        for producer in producers:
            producer.start()
        for producer in producers:
            producer.wait_for("50 records", lambda producer=producer: len(producer.acked) > 50)
        disks[1].fail()
        producers[1].wait_for("a storage error", lambda: STORAGE_ERROR in producers[1].codes)
        before = len(producers[0].acked)
        producers[0].wait_for("the other goes on", lambda: len(producers[0].acked) > before + 50)
        time.sleep(0.5)
        if producers[1].codes[-1] != STORAGE_ERROR or any(producers[0].codes):
            raise Broken("the wrong partition is refused")
        shown = broker.tool("topic", "describe", TOPIC)
        for producer in producers:
            producer.stop()
        broker.says(r"ERROR .*its partitions are offline, others go on")
        lines = [line for line in broker.said().splitlines() if "offline" in line]
        broker.stop()
        disks[1].repair()
        broker.start()
        must_hold(broker, producers, "after the repair")
        broker.stop()
        print("\n".join(lines) + "\n" + shown.strip())
        print(f"failed: {[len(producer.acked) for producer in producers]} acknowledged")
    finally:
        end(broker, disks)


def scene_replaced(args, folder):
    disks, broker = two_disks(args, folder)
    try:
        broker.start()
        broker.tool("topic", "create", TOPIC, "-p", "2")
        producers = [Producer(broker.port, partition, 500) for partition in range(2)]
        for producer in producers:
            producer.start()
            producer.wait_for("50 records", lambda producer=producer: len(producer.acked) > 50)
            producer.stop()
        broker.stop()
        shutil.rmtree(os.path.join(disks[1].mount, "data"))
        line = broker.refused()
        if broker.refused() != line:
            raise Broken("the second start is answered in another way")
        lost = re.search(r"--accept-lost-dir (\S{22})", line)
        if lost is None:
            raise Broken(f"the refusal does not say what to do: {line}")
        broker.command += ["--accept-lost-dir", lost.group(1)]
        broker.start()
        must_hold(broker, producers[:1], "after the loss was accepted")
        error, offset = after_loss(broker)
        if (error, offset) != (0, 0):
            raise Broken(f"the lost partition answers {error} at {offset}")
        broker.stop()
        broker.command = broker.command[:-2]
        broker.start()
        broker.stop()
        print(line)
        print("replaced: refused twice, then accepted")
    finally:
        end(broker, disks)


def after_loss(broker):
    with socket.create_connection(("127.0.0.1", broker.port), timeout=30) as sock:
        return produce(sock, 1, 1, b"new")


def end(broker, disks):
    broker.signal(signal.SIGKILL)
    if broker.process is not None:
        broker.wait()
    for disk in disks:
        disk.close()


SCENES = {"full": scene_full, "failed": scene_failed, "replaced": scene_replaced}


def main(args):
    failed = 0
    scenes = [args.scene] if args.scene else list(SCENES)
    for scene in scenes:
        folder = tempfile.mkdtemp(prefix="gregor-disk-", dir=args.dir)
        try:
            SCENES[scene](args, folder)
        except Broken as broken:
            print(f"FAILED: {scene}: {broken}", flush=True)
            failed += 1
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"disks: {len(scenes)} scenes, {failed} failed")
    return int(failed > 0)


def lacking():
    """Why nothing can be checked here, if so."""
    if os.geteuid() != 0:
        return "needs root, to make file systems"
    if not os.path.exists("/dev/loop-control"):
        return "needs loop devices"
    for tool in ["mkfs.ext4", "losetup", "mount", "unshare"]:
        if shutil.which(tool) is None:
            return f"needs {tool}"
    return None


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gregor", required=True, help="the binary")
    parser.add_argument("--scene", choices=sorted(SCENES), help="only this one")
    parser.add_argument("--fs", choices=["ext4", "tmpfs", "xfs"], default="ext4", help="of `full`")
    parser.add_argument("--mode", choices=["fsync", "replicated"], default="replicated")
    parser.add_argument("--dir", help="where images lie [default: the temporary directory]")
    args = parser.parse_args()
    args.gregor = os.path.abspath(args.gregor)
    return args


if __name__ == "__main__":
    ARGS = arguments()
    WHY = lacking()
    if WHY is not None:
        print(f"disks: not run: {WHY}")
        sys.exit(NOT_RUN)
    if os.environ.get("GREGOR_DISK_NAMESPACE") is None:
        os.environ["GREGOR_DISK_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv])
    sys.exit(main(ARGS))
