#!/usr/bin/env python3
"""What the kernel of this machine does to a disk that loses power, fails or fills up.

Compares the answers with what the simulated disk (sim/src/disk) assumes, once, on ext4 on a loop
device. Needs root and Linux; touches nothing but files it makes itself, in a mount namespace of its
own. Each line printed is one row: what was tried, what the kernel did, and whether the simulator
does the same. Exit code 0: every row that could be shown agrees; 1: one does not; 2: no root, no
loop device.

A power cut is FS_IOC_SHUTDOWN without a flush of the log, then an unmount: neither the page cache
nor the journal in memory reach the device.
"""
import ctypes
import errno
import fcntl
import os
import subprocess
import sys
import tempfile
import threading
import time

SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN
NO_LOG_FLUSH = (2).to_bytes(4, "little")
MIB = 1 << 20
PAGE = 4096
ROUNDS = 40
LIBC = ctypes.CDLL(None, use_errno=True)
ROWS = []


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def row(tried, found, agrees):
    """agrees: True, False, or None for what this machine cannot show."""
    verdict = {True: "agrees", False: "DIFFERS", None: "not shown"}[agrees]
    ROWS.append(agrees)
    print(f"{tried:<58} | {found:<62} | {verdict}", flush=True)


class Disk:
    """An ext4 on a loop device whose backing file lies in `folder`."""

    def __init__(self, folder, size=64 * MIB):
        self.image = os.path.join(folder, "image")
        self.mount = os.path.join(folder, "mount")
        os.makedirs(self.mount, exist_ok=True)
        with open(self.image, "wb") as image:
            image.truncate(size)
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-b", str(PAGE), self.image)
        self.device = run("losetup", "--find", "--show", self.image)
        self.attach()

    def attach(self):
        # A long commit interval, so that no timer of the journal saves what nobody synced.
        run("mount", "-o", "commit=300", self.device, self.mount)

    def path(self, name):
        return os.path.join(self.mount, name)

    def power_cut(self):
        root = os.open(self.mount, os.O_RDONLY)
        fcntl.ioctl(root, SHUTDOWN, NO_LOG_FLUSH)
        os.close(root)
        run("umount", self.mount)
        self.attach()

    def close(self):
        subprocess.run(["umount", self.mount], capture_output=True)
        subprocess.run(["losetup", "-d", self.device], capture_output=True)


def write(path, data, sync=False, at=0):
    file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    written = os.pwrite(file, data, at)
    if sync:
        os.fsync(file)
    os.close(file)
    return written


def sync_folder(path):
    folder = os.open(path, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def lost_unsynced(disk):
    write(disk.path("log"), b"a" * PAGE, sync=True)
    sync_folder(disk.mount)
    write(disk.path("log"), b"b" * PAGE, at=PAGE)
    disk.power_cut()
    found = read(disk.path("log"))
    kept = found[:PAGE] == b"a" * PAGE
    gone = b"b" not in found
    row("append synced, append unsynced, power cut", f"{len(found)} bytes, synced kept={kept}, unsynced gone={gone}", kept and gone)


def torn_write(disk):
    # Pages far apart, for the cache keeps neighbours in one folio and writes it as one.
    places = [number * 2 * MIB for number in range(8)]
    for place in places:
        write(disk.path("torn"), b"a" * PAGE, sync=True, at=place)
    sync_folder(disk.mount)
    file = os.open(disk.path("torn"), os.O_WRONLY)
    for place in places:
        os.pwrite(file, b"b" * PAGE, place)
    # The flusher takes what it likes: here the third and the sixth page.
    for number in (2, 5):
        if LIBC.sync_file_range(file, ctypes.c_long(places[number]), ctypes.c_long(PAGE), 7) != 0:
            raise OSError(ctypes.get_errno(), "sync_file_range")
    os.close(file)
    disk.power_cut()
    found = read(disk.path("torn"))
    kept = "".join(chr(found[place]) for place in places)
    row("overwrite of 8 pages, 2 of them written back, power cut", f"pages now: {kept}", kept == "aabaabaa")
    os.unlink(disk.path("torn"))


def length_before_bytes(disk):
    write(disk.path("grown"), b"a" * 100, sync=True)
    sync_folder(disk.mount)
    file = os.open(disk.path("grown"), os.O_WRONLY)
    os.ftruncate(file, 3 * PAGE)
    os.fsync(file)
    os.pwrite(file, b"b" * PAGE, PAGE)
    os.close(file)
    disk.power_cut()
    found = read(disk.path("grown"))
    zeros = len(found) == 3 * PAGE and not any(found[100:])
    row("length synced, bytes in it unsynced, power cut", f"{len(found)} bytes, zeros={zeros}", zeros)


def directory_operations(disk):
    write(disk.path("made"), b"x")
    disk.power_cut()
    row("create without a sync of the directory, power cut", f"exists={os.path.exists(disk.path('made'))}", not os.path.exists(disk.path("made")))

    write(disk.path("made"), b"x", sync=True)
    disk.power_cut()
    exists = os.path.exists(disk.path("made"))
    # The simulator is harsher: there the entry needs a sync of its own.
    row("create, fsync of the file only, power cut", f"exists={exists} (ext4 gives more than it must)", exists)

    write(disk.path("old"), b"old", sync=True)
    write(disk.path("new"), b"new", sync=True)
    sync_folder(disk.mount)
    os.rename(disk.path("new"), disk.path("old"))
    disk.power_cut()
    found = read(disk.path("old"))
    row("rename over a file, no sync, power cut", f"content={found!r}, source exists={os.path.exists(disk.path('new'))}", found == b"old" and os.path.exists(disk.path("new")))

    os.rename(disk.path("new"), disk.path("old"))
    sync_folder(disk.mount)
    disk.power_cut()
    row("rename over a file, sync of the directory, power cut", f"content={read(disk.path('old'))!r}", read(disk.path("old")) == b"new")

    os.unlink(disk.path("old"))
    disk.power_cut()
    row("remove, no sync, power cut", f"exists={os.path.exists(disk.path('old'))}", os.path.exists(disk.path("old")))

    for name in ("a", "b", "c"):
        write(disk.path(name), b"")
    other = os.open(disk.path("b"), os.O_WRONLY)
    os.fsync(other)
    os.close(other)
    disk.power_cut()
    left = [name for name in ("a", "b", "c") if os.path.exists(disk.path(name))]
    row("three creates, a sync that concerns the second, power cut", f"left={left} (one journal: ext4 keeps a prefix, or all)", left in (["a", "b"], ["a", "b", "c"]))


def failed_sync(folder):
    """The device under ext4 has no room any more: writing pages back fails with an I/O error."""
    small = os.path.join(folder, "small")
    os.makedirs(small)
    run("mount", "-t", "tmpfs", "-o", f"size={80 * MIB}", "none", small)
    disk = None
    try:
        disk = Disk(small, size=64 * MIB)
        file = os.open(disk.path("log"), os.O_CREAT | os.O_RDWR, 0o600)
        os.pwrite(file, b"a" * MIB, 8 * MIB)
        os.fsync(file)
        # Everything has room under it, the journal too, but these blocks of the file.
        with open(disk.image, "r+b") as image:
            content = image.read()
            image.seek(0)
            image.write(content)
        extent = run("filefrag", "-e", "-b4096", disk.path("log")).splitlines()[3].split(":")
        first = int(extent[2].split("..")[0])
        run("fallocate", "--punch-hole", "-o", str(first * PAGE), "-l", str(MIB), disk.image)
        room = os.statvfs(small)
        filler = os.open(os.path.join(small, "filler"), os.O_CREAT | os.O_WRONLY, 0o600)
        os.posix_fallocate(filler, 0, room.f_bavail * room.f_frsize)
        os.pwrite(file, b"b" * MIB, 8 * MIB)
        first = attempt(lambda: os.fsync(file))
        cached = os.pread(file, MIB, 8 * MIB) == b"b" * MIB
        second = attempt(lambda: os.fsync(file))
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        with open("/proc/sys/vm/drop_caches", "w") as drop:
            drop.write("1")
        again = attempt(lambda: os.pread(file, MIB, 8 * MIB))
        os.close(filler)
        os.close(file)
        row("fsync whose writeback fails", f"fsync: {first}", first in ("EIO", "ENOSPC"))
        row("... a read right after it", f"the new bytes, from the cache: {cached}", cached)
        row("... the next fsync of the same descriptor", f"fsync: {second}", second == "ok")
        state = "the new bytes" if again == b"b" * MIB else "zeros" if again == b"\0" * MIB else "other bytes" if isinstance(again, bytes) else again
        row("... a read once the page is evicted", state, state != "the new bytes")
    finally:
        if disk is not None:
            disk.close()
        subprocess.run(["umount", "-l", small], capture_output=True)


def attempt(call):
    try:
        result = call()
        return "ok" if result is None else result
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))


def no_space(disk):
    file = os.open(disk.path("full"), os.O_CREAT | os.O_WRONLY, 0o600)
    free = os.statvfs(disk.mount).f_bavail * PAGE
    os.posix_fallocate(file, 0, max(free - 64 * PAGE, PAGE))
    log = os.open(disk.path("log2"), os.O_CREAT | os.O_WRONLY, 0o600)
    at, short, failed = 0, None, None
    data = b"x" * (16 * PAGE + 100)
    while failed is None and at < 64 * MIB:
        try:
            count = os.pwrite(log, data, at)
            if count < len(data):
                short = count
            at += count
        except OSError as error:
            failed = errno.errorcode[error.errno]
    row("writes into the last free blocks", f"a short write={short is not None}, then {failed}", short is not None and failed == "ENOSPC")
    inside = attempt(lambda: os.pwrite(log, b"y" * 100, 0) and None)
    row("overwrite within a file while the disk is full", inside, inside == "ok")
    renamed = attempt(lambda: os.rename(disk.path("log2"), disk.path("log3")))
    row("rename while the disk is full", renamed, renamed == "ok")
    os.ftruncate(file, 0)
    os.fsync(file)
    more = attempt(lambda: os.pwrite(log, data, at) and None)
    row("write once space was given back", more, more == "ok")
    os.close(file)
    os.close(log)


def unreadable(folder):
    """A device that ends early: reads beyond its end fail."""
    own = os.path.join(folder, "unreadable")
    os.makedirs(own)
    disk = Disk(own)
    try:
        file = os.open(disk.path("log"), os.O_CREAT | os.O_RDWR, 0o600)
        os.pwrite(file, b"a" * 32 * MIB, 0)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.truncate(disk.image, 20 * MIB)
        run("losetup", "-c", disk.device)
        results = [attempt(lambda at=at: os.pread(file, PAGE, at)) for at in range(0, 32 * MIB, MIB)]
        os.close(file)
        failed = [result for result in results if isinstance(result, str)]
        sound = [result for result in results if result == b"a" * PAGE]
        row("reads of sectors that the device does not give", f"{len(failed)} reads: {set(failed)}, {len(sound)} sound ones", set(failed) == {"EIO"} and len(sound) > 0)
    finally:
        disk.close()


def sync_while_going(folder):
    """Syncs one page after the other until the file system is shut down in the middle of it."""
    for name, room in (("reserved", None), ("written", b"\0" * (8 * MIB))):
        gone = sum(page_lost(folder, room, number) for number in range(ROUNDS))
        shown = f"the last one said to be done is lost in {gone} of {ROUNDS} rounds"
        row(f"fdatasync of pages only {name} before, shutdown in its middle", shown, gone == 0 if room else None)


def page_lost(folder, room, number):
    """Whether a page is gone although its sync returned without an error."""
    disk = Disk(folder)
    file = os.open(disk.path("pages"), os.O_RDWR | os.O_CREAT, 0o600)
    if room is None:
        os.posix_fallocate(file, 0, 8 * MIB)
    else:
        os.write(file, room)
    os.fsync(file)
    done = []

    def writes():
        try:
            for page in range(2000):
                os.pwrite(file, (page + 1).to_bytes(8, "little") * 512, page * PAGE)
                os.fdatasync(file)
                done.append(page)
        except OSError:
            pass

    writer = threading.Thread(target=writes)
    writer.start()
    # Not always at the same moment of a sync.
    time.sleep(0.05 + 0.003 * (number % 17))
    root = os.open(disk.mount, os.O_RDONLY)
    fcntl.ioctl(root, SHUTDOWN, NO_LOG_FLUSH)
    os.close(root)
    writer.join()
    os.close(file)
    run("umount", disk.mount)
    disk.attach()
    last = done[-1]
    lost = read(disk.path("pages"))[last * PAGE : last * PAGE + 8] != (last + 1).to_bytes(8, "little")
    disk.close()
    return lost


def main():
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        print("needs root and loop devices")
        return 2
    if os.environ.get("GREGOR_NAMESPACE") != "1":
        os.environ["GREGOR_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, __file__])
    print(f"{os.uname().sysname} {os.uname().release}, ext4 on a loop device")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        disk = Disk(folder)
        try:
            for check in (lost_unsynced, torn_write, length_before_bytes, directory_operations, no_space):
                check(disk)
        finally:
            disk.close()
        sync_while_going(folder)
        failed_sync(folder)
        unreadable(folder)
    row("sectors of 512 bytes torn, dropped or kept on their own", "the kernel writes pages; needs a device that tears sectors", None)
    row("directory changes reordered, lying sync, bit rot, misdirected", "needs dm-flakey, dm-log-writes or dm-dust, or real hardware", None)
    return 1 if False in ROWS else 0


if __name__ == "__main__":
    sys.exit(main())
