#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Saves a Debian guest in the middle of its work, again and again, and goes on in a new process.

    tests/guest/migrate.py HANOK SUITE CPUS ROUNDS [ACCEL[,ACCEL...] [OPTION...]]

The guest (hanok.do=work of tools/guest/init) checks a large file in its memory, writes to its disk
and reads back, fetches over the network, looks at its clocks, reads random numbers, writes to a
console and feeds a watchdog where there is one, all at once. Each round saves it at a moment of no
choice of its own, and starts the next process on the file (or the pipe); before every third the
guest goes on from a save that was given up. A balloon is on its way to another size meanwhile. At the
end the guest's own counts, its kernel's log and the disk as the host sees it must be right. The
engines are taken in turns: "kvm,soft" moves the guest between them. A first OPTION
machine=NAME[,KEYVALS] says on which board; q35 without. Exit code 77: no kernel was fetched.
"""
import hashlib
import os
import queue
import random
import re
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from qmp import Qmp  # noqa: E402
from web import serve  # noqa: E402

SKIP = 77
MIB = 1 << 20
# A loaded host stretches everything; this only ends what hangs.
TIMEOUT = int(os.environ.get("HANOK_BOOT_TIMEOUT", "400"))


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


class Process:
    """One process of the machine; its console is its stdin and stdout."""

    def __init__(self, test, accel, incoming=None, fds=()):
        self.qmp_path = os.path.join(test.work, f"qmp{test.count}")
        test.count += 1
        line = test.line(accel) + ["-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
        if incoming:
            line += ["-incoming", incoming]
        self.proc = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, pass_fds=fds)
        self.lines = queue.Queue()
        self.tail = []
        threading.Thread(target=self.read, daemon=True).start()
        self.qmp = None
        while not self.qmp:
            try:
                self.qmp = Qmp(self.qmp_path, timeout=TIMEOUT)
            except (FileNotFoundError, ConnectionRefusedError):
                expect(self.proc.poll() is None, f"hanok ended: {self.text()}")
                time.sleep(0.02)
        if incoming in (None, "defer"):
            self.qmp.cmd("migrate-set-capabilities",
                         capabilities=[{"capability": "events", "state": True}])

    def read(self):
        for line in self.proc.stdout:
            text = line.decode(errors="replace").strip()
            print(text, flush=True)
            self.tail = self.tail[-20:] + [text]
            self.lines.put(text)
        self.lines.put(None)

    def text(self):
        return " | ".join(self.tail)

    def line(self, pattern, timeout=TIMEOUT):
        """The match of the first line that has pattern; a failure that the guest reports raises."""
        until = time.monotonic() + timeout
        while True:
            try:
                text = self.lines.get(timeout=max(0.1, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line '{pattern}' in {timeout} s: {self.text()}") from None
            expect(text is not None, f"the machine ended: {self.text()}")
            expect("guest: FAILED" not in text, text)
            found = re.search(pattern, text)
            if found:
                return found

    def status(self):
        return self.qmp.cmd("query-migrate")

    def wait_job(self, wanted="completed"):
        while True:
            status = self.qmp.event("MIGRATION", TIMEOUT)["data"]["status"]
            if status in ("completed", "failed", "cancelled"):
                expect(status == wanted, f"{status}: {self.status()}")
                return

    def end(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()


class Test:
    def __init__(self, hanok, guest, cpus, accels, options, work):
        self.guest, self.cpus, self.work, self.accels = guest, cpus, work, accels
        machine = [o[8:] for o in options if o.startswith("machine=")]
        self.machine = machine[-1] if machine else "q35"
        self.options = [o for o in options if not o.startswith("machine=")]
        self.balloon = any("virtio-balloon" in o for o in self.options)
        self.count = 0
        self.qemu = os.path.join(work, "qemu-system-x86_64")
        os.symlink(os.path.abspath(hanok), self.qemu)
        self.body = os.urandom(100000)
        self.server = serve(self.body)
        self.disk = os.path.join(work, "disk.img")
        with open(self.disk, "wb") as disk:
            disk.truncate(64 * MIB)
        self.net = not os.environ.get("HANOK_NO_NET")
        self.random = random.Random(os.environ.get("SEED", "1"))

    def line(self, accel):
        fetch = f" hanok.fetch=10.0.2.2:{self.server.server_address[1]}/" if self.net else ""
        accel = accel.split(";")
        return [self.qemu, "-M", self.machine + "".join("," + a for a in accel[1:]), "-accel", accel[0],
                "-smp", self.cpus, "-m", "256M",
                "-kernel", f"{self.guest}/vmlinuz", "-initrd", f"{self.guest}/initrd.cpio",
                "-append", f"console=ttyS0 quiet panic=-1 hanok.do=work{fetch}",
                "-nographic", "-nodefaults", "-serial", "stdio",
                "-drive", f"file={self.disk},format=raw,if=virtio",
                *(["-nic", "user,model=virtio"] if self.net else []),
                "-device", "virtio-rng", *self.options]

    def given_up(self, p, number):
        """A save that is cancelled, or whose reader goes away: the guest goes on here."""
        r, w = os.pipe()
        p.qmp.cmd("getfd", {"fdname": "out"}, fds=[w])
        os.close(w)
        p.qmp.cmd("migrate", uri="fd:out")
        while p.status()["status"] != "active":
            time.sleep(0.01)
        if number % 2:
            p.qmp.cmd("migrate_cancel")
            p.wait_job("cancelled")
        os.close(r)
        if not number % 2:
            p.wait_job("failed")
        self.wait_running(p)
        p.line(self.tick())

    def resize(self, p, number):
        if self.balloon:
            p.qmp.cmd("balloon", value=(192 if number % 2 else 256) * MIB)

    def wait_size(self, p, mib):
        until = time.monotonic() + TIMEOUT
        while self.balloon and p.qmp.cmd("query-balloon")["actual"] != mib * MIB:
            expect(time.monotonic() < until, f"the balloon does not come to {mib} MiB")
            time.sleep(0.1)

    def next_process(self, old, number):
        """Saves old, ends it, and returns the process that goes on; by a file or by a pipe."""
        accel = self.accels[number % len(self.accels)]
        if number % 2:
            path = os.path.join(self.work, "saved")
            old.qmp.cmd("migrate", uri=f"file:{path}")
            old.wait_job()
            expect(old.qmp.cmd("query-status")["status"] == "postmigrate", "run state")
            old.end()
            new = Process(self, accel, f"file:{path}")
            self.wait_running(new)
            new.qmp.cmd("migrate-set-capabilities",
                        capabilities=[{"capability": "events", "state": True}])
            os.unlink(path)
            return new
        # As libvirt's helper does it: pipes at both ends, and nobody has the disk twice.
        r, w = os.pipe()
        old.qmp.cmd("getfd", {"fdname": "out"}, fds=[w])
        os.close(w)
        old.qmp.cmd("migrate", uri="fd:out")
        with open(r, "rb") as pipe:
            saved = pipe.read()
        old.wait_job()
        expect(old.status()["ram"]["transferred"] == len(saved), "transferred is not what came")
        old.end()
        r, w = os.pipe()
        new = Process(self, accel, "defer", fds=(r,))
        os.close(r)
        threading.Thread(target=self.feed, args=(w, saved), daemon=True).start()
        expect(new.qmp.cmd("query-status")["status"] == "inmigrate", "run state")
        new.qmp.cmd("migrate-incoming", uri=f"fd:{r}")
        new.wait_job()
        self.wait_running(new)
        return new

    @staticmethod
    def feed(fd, data):
        with open(fd, "wb") as pipe:
            pipe.write(data)

    def wait_running(self, p):
        until = time.monotonic() + TIMEOUT
        while p.qmp.cmd("query-status")["status"] != "running":
            expect(p.proc.poll() is None and time.monotonic() < until,
                   f"it does not run: {p.status()} {p.text()}")
            time.sleep(0.02)

    def check_end(self, p):
        sums = {}
        p.proc.stdin.write(b"stop\n")
        p.proc.stdin.flush()
        while True:
            m = p.line(r"^guest: (disk-sum (\d+) (\w+)|kernel-errors (\d+)|failures (\d+)|done)")
            if m.group(2):
                sums[int(m.group(2))] = m.group(3)
            elif m.group(4):
                expect(m.group(4) == "0", "the guest's kernel complained")
            elif m.group(5):
                expect(m.group(5) == "0", "the guest counted failures")
            else:
                break
        expect(p.proc.wait(TIMEOUT) == 0, "exit code")
        with open(self.disk, "rb") as image:
            for place, want in sums.items():
                image.seek(place * MIB // 4)
                expect(hashlib.md5(image.read(MIB // 4)).hexdigest() == want,
                       f"the host sees other data at place {place} than the guest wrote last")
        expect(sums, "nothing was written")

    def run(self, rounds):
        p = Process(self, self.accels[0])
        try:
            p.line("guest: working")
            counts = [int(n) for n in p.line(self.tick()).groups()]
            for number in range(1, rounds + 1):
                if number % 3 == 0:
                    self.given_up(p, number)
                self.resize(p, number)
                # Not in step with anything that the guest does.
                time.sleep(self.random.random() * 0.5)
                started = time.monotonic()
                p = self.next_process(p, number)
                m = [int(n) for n in p.line(self.tick()).groups()]
                expect(m[0] > counts[0] and m[-2] >= counts[-2], f"{m} after {counts}")
                counts = m
                print(f"round {number}: {time.monotonic() - started:.1f} s, {counts}", flush=True)
            before = counts
            while any(a <= b for a, b in zip(counts, before)):
                counts = [int(n) for n in p.line(self.tick()).groups()]
            for mib in (192, 256):
                self.resize(p, mib == 192)
                self.wait_size(p, mib)
            self.check_end(p)
        finally:
            p.end()

    def tick(self):
        net = r"(\d+)" if self.net else ""
        return rf"tick (\d+) memory (\d+) disk (\d+) net {net} clock (\d+) (\d+) others (\d+)"


def main():
    hanok, suite, cpus, rounds = sys.argv[1:5]
    accels = (sys.argv[5] if len(sys.argv) > 5 else "tcg").split(",")
    guest = os.path.join(os.environ.get("HANOK_GUESTS", ""), suite)
    if not os.path.exists(f"{guest}/initrd.cpio"):
        print(f"skipped: no guest in '{guest}' (tools/check.py fetches them)")
        return SKIP
    with tempfile.TemporaryDirectory(prefix="hanok-migrate.") as work:
        Test(hanok, guest, cpus, accels, sys.argv[6:], work).run(int(rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
