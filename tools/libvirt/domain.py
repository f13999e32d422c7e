# SPDX-License-Identifier: Apache-2.0
"""The domain that the libvirt test runs, its guest's shell on `virsh console`, and expectations."""
import os
import pty
import re
import select
import subprocess
import threading
import time

# Disk, network, balloon, random numbers, serial console and channel: what hanok has for libvirt.
XML = """\
<domain type='{type}'>
  <name>{name}</name>
  <memory unit='MiB'>512</memory>
  <vcpu placement='static'>2</vcpu>
  <iothreads>1</iothreads>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{guest}/vmlinuz</kernel>
    <initrd>{guest}/initrd.cpio</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 hanok.do=serve hanok.fetch=10.0.2.2:{port}/</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <cpu mode='{cpu}'/>
  <clock offset='utc'>
    <timer name='rtc' tickpolicy='catchup'/>
    <timer name='pit' tickpolicy='delay'/>
    <timer name='hpet' present='no'/>
  </clock>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>
  <devices>
    <emulator>{emulator}</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' discard='unmap' iothread='1'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
      <serial>hanok-disk</serial>
    </disk>
    <controller type='usb' model='none'/>
    <interface type='user'>
      <mac address='52:54:00:12:34:56'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'><log file='{work}/serial.log' append='off'/><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <channel type='unix'><target type='virtio' name='org.hanok.test.0'/></channel>
    <memballoon model='virtio'><stats period='1'/></memballoon>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
"""


class Failure(Exception):
    pass


def expect(condition, message):
    if not condition:
        raise Failure(message)


def until(predicate, message, seconds):
    """The first true value of predicate(); a Failure when none came in time."""
    end = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(message)
        time.sleep(0.2)


def domain_xml(name, kind, emulator, guest, disk, work, port):
    cpu = "host-passthrough" if kind == "kvm" else "maximum"
    return XML.format(name=name, type=kind, emulator=emulator, guest=guest, disk=disk, work=work, port=port, cpu=cpu)


class Console:
    """The guest's shell through `virsh console` on a terminal, as a person has it."""

    BOOT_SECONDS = 120

    def __init__(self, daemons, name):
        self.daemons, self.name = daemons, name
        self.text = ""
        self.lock = threading.Condition()
        self.proc = None
        self.fd = -1
        self.serial = 0
        self.boots = 0  # guests' greetings already waited for

    def attach(self):
        self.detach()
        self.fd, other = pty.openpty()
        self.proc = subprocess.Popen(["virsh", "console", self.name, "--force"], stdin=other, stdout=other,
                                     stderr=other, env=self.daemons.env, start_new_session=True)
        os.close(other)
        threading.Thread(target=self.read, args=(self.fd,), daemon=True).start()

    def detach(self):
        if self.proc is None:
            return
        try:
            os.write(self.fd, b"\x1d")
            self.proc.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            self.proc.kill()
            self.proc.wait()
        os.close(self.fd)
        self.proc = None

    def read(self, fd):
        while True:
            try:
                if not select.select([fd], [], [], 1)[0]:
                    continue
                data = os.read(fd, 65536)
            except (OSError, ValueError):
                return
            if not data:
                return
            with self.lock:
                self.text += data.decode(errors="replace").replace("\r", "")
                self.lock.notify_all()

    def find(self, pattern, start, seconds):
        """The match of pattern in what came since offset start, or None."""
        end = time.monotonic() + seconds
        with self.lock:
            while True:
                found = re.compile(pattern, re.S).search(self.text, start)
                left = end - time.monotonic()
                if found or left <= 0:
                    return found
                self.lock.wait(min(left, 1))

    def wait_text(self, pattern, seconds):
        expect(self.find(pattern, 0, seconds), f"the console does not show '{pattern}'")

    def answers(self, seconds):
        """Whether the shell answers within seconds. Several tries: a booting guest drops input."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.serial += 1
            with self.lock:
                start = len(self.text)
            try:
                os.write(self.fd, f"echo here-$(({self.serial}))-\n".encode())
            except OSError:
                return False
            if self.find(f"here-{self.serial}-", start, min(3, max(0.1, end - time.monotonic()))):
                return True
        return False

    def wait_shell(self, fresh=False):
        """Waits until the shell answers; fresh: the one of a guest that has booted since the last time."""
        if fresh:
            found = None
            end = time.monotonic() + self.BOOT_SECONDS
            while time.monotonic() < end and not found:
                with self.lock:
                    boots = self.text.count("guest: serving")
                    if boots > self.boots:
                        found = True
                    else:
                        self.lock.wait(1)
            expect(found, "the guest did not boot again")
        expect(self.answers(self.BOOT_SECONDS), "the guest's shell does not answer")
        with self.lock:
            self.boots = self.text.count("guest: serving")

    def command(self, command, seconds=30):
        """Output of a command in the guest, without the last newline."""
        self.serial += 1
        with self.lock:
            start = len(self.text)
        os.write(self.fd, f"echo begin-$(({self.serial}))-; {command}\necho end-$(({self.serial}))-\n".encode())
        found = self.find(f"begin-{self.serial}-\n(.*?)end-{self.serial}-", start, seconds)
        expect(found, f"the guest did not finish '{command}': {self.text[start:][-500:]!r}")
        return re.sub(r"(?m)^(~? ?[/~]? ?# ?)+", "", found.group(1)).strip()

    def tail(self):
        with self.lock:
            return self.text[-3000:]
