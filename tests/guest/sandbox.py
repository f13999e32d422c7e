#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The sandbox of a running VM: what its threads hold, and that a forbidden call ends the process.

    tests/guest/sandbox.py HANOK INJECT

INJECT is built from inject.c. Exit code 77 (skipped) without a kernel to boot.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

SKIP = 77
OPENAT, SOCKET, EXECVE, GETTID = 257, 41, 59, 186

with open("/proc/self/status", encoding="utf-8") as own:
    FILTERS_HERE = re.search(r"^Seccomp:\s*(\d)", own.read(), re.M)[1]


class Vm:
    def __init__(self, hanok, work, *options):
        guest = os.path.join(os.path.dirname(hanok), "guest", "native")
        kernel = os.path.join(guest, "vmlinuz")
        if not os.path.exists(kernel):
            print("no kernel was fetched")
            sys.exit(SKIP)
        self.serial = os.path.join(work, "serial")
        if os.path.exists(self.serial):
            os.unlink(self.serial)
        self.log = open(os.path.join(work, "log"), "w+b")
        self.vm = subprocess.Popen(
            [os.path.join(os.path.dirname(hanok), "qemu-system-x86_64"), "-accel", "tcg", "-m", "256M",
             "-smp", "2", "-kernel", kernel, "-append", "console=ttyS0", "-display", "none",
             "-serial", "file:" + self.serial, "-monitor", "none", "-net", "none", *options],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def __enter__(self):
        deadline = time.monotonic() + 120
        while not os.path.exists(self.serial) or not os.path.getsize(self.serial):
            if self.vm.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                sys.exit("the guest did not start: " + self.log.read().decode(errors="replace"))
            time.sleep(0.05)
        return self

    def __exit__(self, *args):
        self.vm.kill()
        self.vm.wait()
        self.log.close()

    def threads(self):
        """Name -> thread id."""
        base = f"/proc/{self.vm.pid}/task"
        found = {}
        for tid in os.listdir(base):
            with open(f"{base}/{tid}/comm", encoding="utf-8") as f:
                found[f.read().strip()] = int(tid)
        return found

    def status(self, tid):
        with open(f"/proc/{self.vm.pid}/task/{tid}/status", encoding="utf-8") as f:
            return dict(re.findall(r"^(\w+):\s*(.*)$", f.read(), re.M))


def check(what, truth):
    print(("ok: " if truth else "FAILED: ") + what)
    if not truth:
        sys.exit(1)


def vcpu_of(vm):
    return next(tid for name, tid in vm.threads().items() if re.match(r"vcpu0|CPU 0", name))


def inject(tool, tid, number):
    """A vCPU is in a system call only now and then: until it is caught in one."""
    for _ in range(200):
        done = subprocess.run([tool, str(tid), str(number)], capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            return done.stdout.strip()
        time.sleep(0.05)
    sys.exit("no system call was caught: " + done.stderr)


def check_threads(vm):
    """What the kernel says of each thread."""
    names = vm.threads()
    check(f"a thread for each vCPU: {sorted(names)}", len(names) >= 3)
    for name, tid in names.items():
        status = vm.status(tid)
        check(f"{name}: filtered", status["Seccomp"] == "2")
        check(f"{name}: no new privileges", status["NoNewPrivs"] == "1")
        check(f"{name}: no capabilities", int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0)


def main():
    hanok, tool = map(os.path.abspath, sys.argv[1:3])
    with tempfile.TemporaryDirectory() as work:
        with Vm(hanok, work) as vm:
            check_threads(vm)
        for number, name in ((OPENAT, "openat"), (SOCKET, "socket"), (EXECVE, "execve")):
            with Vm(hanok, work) as vm:
                said = inject(tool, vcpu_of(vm), number)
                check(f"{name} on a vCPU: {said}", said == f"signal {int(signal.SIGSYS)}")
        with Vm(hanok, work) as vm:
            said = inject(tool, vm.vm.pid, EXECVE)
            check(f"execve on the control thread: {said}", said == f"signal {int(signal.SIGSYS)}")
        with Vm(hanok, work) as vm:
            tid = vcpu_of(vm)
            said = inject(tool, tid, GETTID)
            check(f"gettid on a vCPU: {said}", said == f"returned {tid}")
        with Vm(hanok, work, "-sandbox", "off") as vm:
            check("-sandbox off: no filter", vm.status(vcpu_of(vm))["Seccomp"] == FILTERS_HERE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
