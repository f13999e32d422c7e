# SPDX-License-Identifier: Apache-2.0
"""Machines that run commands: guests of hanok and of QEMU's TCG on the same kernel and root, and this
host in the same root (chroot). All have guest/agent.c in them, which says what it speaks.
"""
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections import namedtuple

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
START_SECONDS = 300  # until a machine is ready; a busy host under sanitizers takes its time

# wall: by the machine's monotonic clock; cpu: of the process that is the machine, or of the command on
# the host itself. Seconds.
Result = namedtuple("Result", "status wall cpu text")


class Failed(Exception):
    """A machine that does not do what it is asked."""


def cpu_of(pid):
    """CPU seconds of a live process with all its threads, also those that ended (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def qemu(build):
    """(command, version) of the newest QEMU there is: what image.sh unpacked, or the installed one."""
    own = os.path.join(build, "bench", "qemu", "usr")
    found = [[f"{own}/bin/qemu-system-x86_64", "-L", f"{own}/share/qemu", "-L", f"{own}/share/seabios"],
             [shutil.which("qemu-system-x86_64") or ""]]
    for command in found:
        try:
            text = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=True)
            return command, text.stdout.splitlines()[0]
        except (OSError, subprocess.CalledProcessError):
            continue
    raise Failed("no qemu-system-x86_64 (tools/need.sh bench installs one)")


def engine(build, which, program=None):
    """The command of an engine without its machine: hanok's (or that program's) or QEMU's translator."""
    if which == "hanok":
        return [program or os.path.join(build, "hanok"), "qemu", "-accel", "tcg", "-cpu", "max"]
    return qemu(build)[0] + ["-accel", "tcg,thread=multi", "-cpu", "max"]


class Machine:
    """A process whose standard input and output are an agent's."""

    def __init__(self, name, command):
        self.name = name
        self.proc = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, bufsize=0)
        self.buffer = b""
        try:
            while self.line(START_SECONDS) != b"ready":
                pass
        except Failed:
            self.close()
            raise

    def more(self, until):
        """Takes in what has come, or waits for it until that time."""
        left = until - time.monotonic()
        if left <= 0 or not select.select([self.proc.stdout], [], [], left)[0]:
            raise Failed(f"{self.name}: no answer in time; so far {self.buffer[-300:]}")
        data = os.read(self.proc.stdout.fileno(), 65536)
        if not data:
            raise Failed(f"{self.name}: ended with {self.proc.wait()}: {self.buffer[-2000:].decode(errors='replace')}")
        self.buffer += data

    def line(self, seconds):
        until = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            self.more(until)
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def used(self):
        """CPU seconds so far, or None where the agent knows better."""
        return cpu_of(self.proc.pid)

    def run(self, command, seconds=300):
        """Runs a shell command: a Result. The status is 124 when it took longer than that."""
        before = self.used()
        self.proc.stdin.write((f"{seconds} " + command.replace("\n", "\x1e") + "\n").encode())
        words = self.line(seconds + 60).split()
        after = self.used()
        if len(words) != 6 or words[0] != b"done":
            raise Failed(f"{self.name}: '{command}' answered {words}")
        status, wall, user, system, length = map(int, words[1:])
        until = time.monotonic() + 60
        while len(self.buffer) < length:
            self.more(until)
        text, self.buffer = self.buffer[:length], self.buffer[length:]
        cpu = (user + system) / 1e9 if before is None else after - before
        return Result(status, wall / 1e9, cpu, text.decode(errors="replace"))

    def close(self):
        self.proc.terminate()
        try:
            self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()


class Guest(Machine):
    """A guest on hanok or TCG. Its console is in a file, COM2 is the agent's."""

    def __init__(self, build, which, cpus=2, memory="2G", program=None):
        self.console = tempfile.NamedTemporaryFile(prefix=f"hanok-{which}-console.")
        self.work = tempfile.TemporaryDirectory(prefix=f"hanok-{which}.")
        super().__init__(which, engine(build, which, program) + board(build, cpus, memory) + root(build) + [
            "-serial", f"file:{self.console.name}", "-serial", "stdio", "-monitor",
            f"unix:{self.work.name}/monitor,server=on,wait=off", "-append",
            "console=ttyS0 quiet panic=-1 hanok.do=root hanok.init=/bench/init"])

    def monitor(self, command):
        """What the monitor for people says to a command."""
        text = b""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(20)
            monitor.connect(f"{self.work.name}/monitor")
            for say in (b"", command.encode() + b"\n"):
                monitor.sendall(say)
                text = b""
                while not text.endswith(b"(qemu) "):
                    text += monitor.recv(65536)
        return text.decode(errors="replace")


class Native(Machine):
    """This host's processor and kernel, in the same root."""

    def __init__(self, build):
        root_dir = os.path.join(build, "bench", "root")
        script = f"""mount --rbind /dev {root_dir}/dev; mount -t proc proc {root_dir}/proc
                     mount -t tmpfs tmp {root_dir}/tmp; cd {root_dir}
                     exec env -i HOME=/root LC_ALL=C.UTF-8 PATH=/usr/bin:/bin:/usr/sbin:/sbin \
                     chroot . /usr/bin/env -C /tmp /bench/agent -"""
        sudo = [] if os.getuid() == 0 else ["sudo"]
        super().__init__("native", sudo + ["unshare", "--mount", "--propagation", "private", "sh", "-euc", script])

    def used(self):
        return None

    def close(self):
        self.proc.stdin.close()  # the agent's end
        self.proc.wait(20)


def board(build, cpus, memory):
    return ["-M", "q35", "-m", memory, "-smp", str(cpus), "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", f"{build}/guest/native/vmlinuz"]


def root(build):
    """Initrd and disk of the system that image.sh makes; nothing is written to the disk."""
    return ["-initrd", f"{build}/bench/initrd.cpio", "-drive",
            f"file={build}/bench/root.img,if=virtio,format=raw,readonly=on"]


def boot(command, marker, seconds=START_SECONDS):
    """Starts a machine with its console on standard output: (wall, CPU) seconds from exec to the marker."""
    start = time.monotonic()
    proc = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
    text = b""
    try:
        while marker not in text:
            left = start + seconds - time.monotonic()
            if left <= 0 or not select.select([proc.stdout], [], [], left)[0]:
                raise Failed(f"{command[0]}: no {marker} within {seconds} s: {text[-1000:].decode(errors='replace')}")
            data = os.read(proc.stdout.fileno(), 65536)
            if not data:
                raise Failed(f"{command[0]}: ended before {marker}: {text[-1000:].decode(errors='replace')}")
            text += data
        return time.monotonic() - start, cpu_of(proc.pid)
    finally:
        proc.terminate()
        try:
            proc.wait(20)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.wait()
