#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Paths that are taken rarely, under the sandbox: a call that its notes lack would end the process
(SIGSYS). Each step asks whether the machine still answers."""
import os
import pty
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from common import GUEST, Machine, line, main
from qmp import Hanok, Qmp, QmpError, TIMEOUT

HMP = ["help", "info", "info status", "info version", "info name", "info uuid", "info kvm", "info chardev",
       "info block", "info blockstats", "info pci", "info exits", "info balloon", "info migrate",
       "info migrate_capabilities", "info migrate_parameters", "cpu 0", "log debug", "log none",
       "info cpus", "info registers", "info mtree", "info mem", "info tlb", "info qtree", "info irq",
       "info pic", "info lapic", "info network", "info jit", "x /4x 0", "xp /4x 0x1000000", "print 1",
       "sendkey a", "trace-event * off", "nmi", "stop", "cont", "no such line"]


class Sandbox(unittest.TestCase):
    def alive(self, vm, what=""):
        try:
            vm.cmd("query-status")
        except (EOFError, OSError):
            self.fail(f"hanok ended ({vm.proc.wait(10)}) behind {what}: {vm.stderr()}")

    def ask(self, vm, name, args=None, **kw):
        """Whether it was done: for those that may be refused, or are to be."""
        try:
            vm.cmd(name, args, **kw)
            return True
        except QmpError:
            return False
        except (EOFError, OSError):
            return self.fail(f"hanok ended ({vm.proc.wait(10)}) at {name} {args}: {vm.stderr()}")

    def settled(self, vm, what, cancel=False):
        """Until the migration is over."""
        until = time.monotonic() + TIMEOUT
        while vm.cmd("query-migrate").get("status") in ("setup", "active", "cancelling", "device"):
            if cancel:
                self.ask(vm, "migrate_cancel")
            self.assertLess(time.monotonic(), until, what)
            time.sleep(0.02)

    def test_every_query_and_line(self):
        with Machine("-device", "virtio-balloon-pci") as vm:
            vm.running()
            for c in vm.cmd("query-commands"):
                if c["name"].startswith(("query-", "x-query-", "x-exits", "qom-list-types")):
                    self.ask(vm, c["name"])
            for text in HMP:
                self.ask(vm, "human-monitor-command", {"command-line": text})
            self.alive(vm)

    def test_objects(self):
        with Machine() as vm:
            for name in ("file", "short"):
                with open(os.path.join(vm.dir, name), "wb") as f:
                    f.truncate(1 << 20 if name == "file" else 4096)
            path = {name: os.path.join(vm.dir, name) for name in ("file", "short", "new")}
            size = {"size": 1 << 20}
            good = [("memory-backend-ram", {**size, "prealloc": True}),
                    ("memory-backend-ram", {**size, "merge": True, "dump": False}),
                    ("memory-backend-ram", {"size": 8 << 20, "prealloc": True, "prealloc-threads": 4}),
                    ("memory-backend-memfd", {**size, "share": True, "seal": True}),
                    ("memory-backend-file", {**size, "mem-path": path["file"], "share": True}),
                    ("memory-backend-file", {**size, "mem-path": path["new"]}),
                    ("memory-backend-file", {**size, "mem-path": vm.dir}),
                    ("rng-random", {"filename": "/dev/urandom"}), ("rng-builtin", {}), ("iothread", {}),
                    ("secret", {"data": "x"}), ("secret", {"file": path["short"]})]
            bad = [("memory-backend-file", {**size, "mem-path": path["short"]}),
                   ("memory-backend-file", {**size, "mem-path": "/proc/nothing"}),
                   ("rng-random", {"filename": "/nothing"}), ("secret", {"file": path["file"]})]
            host = [("memory-backend-memfd", {"size": 2 << 20, "hugetlb": True}),
                    ("memory-backend-ram", {**size, "host-nodes": [0], "policy": "bind"})]
            for i, (kind, more) in enumerate(good + bad + host):
                done = self.ask(vm, "object-add", {"qom-type": kind, "id": f"o{i}", **more})
                if i < len(good) + len(bad):
                    self.assertEqual(done, i < len(good), (kind, more))
                self.assertEqual(self.ask(vm, "object-del", {"id": f"o{i}"}), done, (kind, more))
                self.alive(vm, f"{kind} {more}")

    def test_blocks(self):
        with Machine(run=True) as vm:
            path = os.path.join(vm.dir, "disk")
            with open(path, "wb") as f:
                f.truncate(1 << 20)
            good = [{}, {"read-only": True}, {"aio": "threads"}, {"cache": {"direct": True}}, {"locking": "on"},
                    {"discard": "unmap"}, {"auto-read-only": True}]
            bad = [{"filename": "/nothing"}, {"filename": vm.dir}, {"filename": "/dev/null"}]
            host = [{"aio": "io_uring"}]
            for i, more in enumerate(good + bad + host):
                node = {"node-name": f"f{i}"}
                done = self.ask(vm, "blockdev-add", {"driver": "file", "filename": path, **node, **more})
                if i < len(good) + len(bad):
                    self.assertEqual(done, i < len(good), more)
                if done:
                    vm.cmd("blockdev-add", {"driver": "raw", "node-name": f"r{i}", "file": f"f{i}",
                                            "read-only": "read-only" in more})
                    vm.cmd("blockdev-del", {"node-name": f"r{i}"})
                    vm.cmd("blockdev-del", node)
                self.alive(vm, f"blockdev-add {more}")

    def test_netdevs(self):
        with Machine() as vm:
            r, w = os.pipe()
            for args in ({"type": "tap", "ifname": "hanok-none"}, {"type": "user"}, {"type": "tap", "fd": "pipe"}):
                vm.cmd("getfd", {"fdname": "pipe"}, fds=[w])
                done = self.ask(vm, "netdev_add", {"id": "n", **args})  # root without a sandbox may
                self.assertEqual(self.ask(vm, "netdev_del", {"id": "n"}), done)
                self.alive(vm, f"netdev_add {args}")
            os.close(r)
            os.close(w)

    def test_descriptors(self):
        with Machine() as vm:
            fd = os.memfd_create("disk")
            os.truncate(fd, 1 << 20)
            vm.cmd("getfd", {"fdname": "a"}, fds=[fd])
            vm.cmd("getfd", {"fdname": "a"}, fds=[fd])
            vm.cmd("closefd", {"fdname": "a"})
            vm.cmd("add-fd", {"fdset-id": 3}, fds=[fd])
            vm.cmd("blockdev-add", {"driver": "file", "node-name": "f", "filename": "/dev/fdset/3"})
            vm.cmd("query-fdsets")
            vm.cmd("remove-fd", {"fdset-id": 3})
            vm.cmd("blockdev-del", {"node-name": "f"})
            os.close(fd)
            self.alive(vm)

    def test_saving(self):
        with Machine(run=True) as vm:
            vm.cmd("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})
            listener = socket.socket(socket.AF_INET)
            listener.bind(("127.0.0.1", 0))
            listener.listen(4)
            port = listener.getsockname()[1]
            os.mkfifo(os.path.join(vm.dir, "fifo"))
            for uri in ["file:saved", "file:saved,offset=4096", "file:/nothing/there", "file:fifo", "exec:cat >/dev/null",
                        "fd:none", "unix:none", "tcp:127.0.0.1:1", "tcp:localhost:1", f"tcp:127.0.0.1:{port}",
                        f"tcp:localhost:{port}", "tcp:nowhere.invalid:1", "rubbish"]:
                self.ask(vm, "migrate", {"uri": uri})
                self.alive(vm, uri)
                time.sleep(0.1)  # some begin, some wait for the other end
                self.ask(vm, "migrate_cancel")
                self.settled(vm, uri)
                self.ask(vm, "cont")
                self.alive(vm, uri)
            listener.close()

    def test_loading(self):
        with Machine(run=True) as vm:
            vm.cmd("migrate", uri=f"file:{vm.dir}/saved")
            self.settled(vm, "a save")
            with open(f"{vm.dir}/saved", "rb") as f:
                whole = f.read()
        with Machine("-incoming", "defer", run=True) as vm:
            path = os.path.join(vm.dir, "saved")
            os.mkfifo(os.path.join(vm.dir, "fifo"))
            for uri in ["file:/nothing", "fd:none", "unix:gone", "tcp:127.0.0.1:0", "tcp:localhost:0",
                        "exec:false", "file:fifo"]:
                self.ask(vm, "migrate-incoming", {"uri": uri, "exit-on-error": False})
                self.alive(vm, uri)
                self.settled(vm, uri, cancel=True)
            for cut in [b"", whole[:10], whole[:100], whole[:len(whole) // 2], whole[:-1], whole]:
                with open(path, "wb") as f:
                    f.write(cut)
                self.ask(vm, "migrate-incoming", {"uri": f"file:{path}", "exit-on-error": False})
                self.settled(vm, f"{len(cut)} bytes")
                self.alive(vm, f"{len(cut)} bytes")
            self.assertEqual(vm.cmd("query-migrate")["status"], "completed")
            self.assertEqual(vm.cmd("query-status")["status"], "running")

    def test_clients_that_come_back(self):
        probe = socket.socket(socket.AF_INET)
        probe.bind(("127.0.0.1", 0))  # has a port, and does not listen yet
        port = probe.getsockname()[1]
        later = os.path.join(tempfile.mkdtemp(prefix="hanok-test-"), "later")
        clients = [("path", later), ("tcp", f"localhost,port={port}"), ("ip", f"127.0.0.1,port={port}")]
        more = ["-device", "virtio-serial-pci"]
        for name, where in clients:
            key = "path" if name == "path" else "host"
            more += ["-chardev", f"socket,id={name},{key}={where},reconnect=1",
                     "-device", f"virtconsole,chardev={name}"]
        with Machine(*more, run=True) as vm:
            time.sleep(1.5)  # they try again at least once
            self.alive(vm, "clients that nobody wants")
            probe.listen(4)
            unix = socket.socket(socket.AF_UNIX)
            unix.bind(later)
            unix.listen(1)
            until = time.monotonic() + TIMEOUT
            while any("disconnected" in c["filename"] for c in vm.cmd("query-chardev")
                      if c["label"] in ("path", "tcp", "ip")):
                self.assertLess(time.monotonic(), until)
                time.sleep(0.05)
        unix.close()
        probe.close()
        shutil.rmtree(os.path.dirname(later))

    def test_pty_and_logs(self):
        with Machine("-chardev", "pty,id=p,logfile=p.log", "-device", "virtio-serial-pci",
                     "-device", "virtconsole,chardev=p", "-D", "log", run=True) as vm:
            name = next(c["filename"] for c in vm.cmd("query-chardev") if c["label"] == "p")
            for _ in range(2):
                fd = os.open(name.split(":", 1)[1], os.O_RDWR | os.O_NOCTTY)
                os.write(fd, b"x")
                self.alive(vm, "a pty")
                os.close(fd)
                time.sleep(0.3)
                self.alive(vm, "a pty that was left")

    def test_reset_reads_again(self):
        """Also a kernel that was replaced meanwhile, and one that is gone."""
        with Machine() as vm:
            vm.running()
            vm.cmd("system_reset")
            vm.serial.expect("ready\n")
            vm.serial.tell("t")
            vm.serial.expect("ready\n")
        with tempfile.TemporaryDirectory(prefix="hanok-test-") as tmp:
            path = os.path.join(tmp, "kernel")
            shutil.copy(GUEST, path)
            with Machine("-kernel", path) as vm:
                vm.running()
                shutil.copy(GUEST, path)
                vm.cmd("system_reset")
                vm.serial.expect("ready\n")
                os.unlink(path)
                self.ask(vm, "system_reset")
                status = 0
                try:
                    vm.cmd("query-status")
                except (EOFError, OSError):
                    status = vm.proc.wait(TIMEOUT)
                self.assertIn(status, (0, 1))

    def test_terminal(self):
        """Ctrl-Z, going on, a new size, Ctrl-A keys and the human monitor on a terminal."""
        master, slave = pty.openpty()
        with open(os.devnull, "wb") as err:
            p = subprocess.Popen([os.environ["HANOK"], "qemu", *line("-serial", "mon:stdio")], stdin=slave,
                                 stdout=slave, stderr=err, start_new_session=True)
        os.close(slave)
        try:
            time.sleep(1)
            for sig in (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH):
                os.kill(p.pid, sig)
                time.sleep(0.2)
            os.kill(p.pid, signal.SIGCONT)
            for keys in (b"\x01h", b"\x01c", b"info st\t\r", b"help\r", b"\x1b[A\r", b"quit\r"):
                os.write(master, keys)
                time.sleep(0.1)
            until = time.monotonic() + 30
            while p.poll() is None and time.monotonic() < until:
                try:
                    os.read(master, 65536)
                except OSError:
                    pass
            self.assertEqual(p.wait(5), 0)
        finally:
            p.kill()
            p.wait()
            os.close(master)

    def test_daemon(self):
        with Hanok(line("-S"), monitor=True) as vm:
            pid, sock = os.path.join(vm.dir, "pid"), os.path.join(vm.dir, "daemon")
            subprocess.run([os.environ["HANOK"], "qemu", *line("-daemonize", "-pidfile", pid, "-D", sock + ".log",
                                                               "-qmp", f"unix:{sock},server=on,wait=off")],
                           check=True, timeout=60)
            q = Qmp(sock)
            q.cmd("query-status")
            q.cmd("quit")
            q.close()
            until = time.monotonic() + 30
            while os.path.exists(pid) and time.monotonic() < until:
                time.sleep(0.05)
            self.assertFalse(os.path.exists(pid), "it did not end in good order")


if __name__ == "__main__":
    main()
