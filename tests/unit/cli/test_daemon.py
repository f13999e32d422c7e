#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a management tool does to learn what the emulator has, and -daemonize and -pidfile.

    test_daemon.py HANOK
"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

HANOK = os.path.abspath(sys.argv[1])


def start(work, *options, **popen):
    qemu = os.path.join(work, "qemu-system-x86_64")
    if not os.path.exists(qemu):
        os.symlink(HANOK, qemu)
    return subprocess.run([qemu, *options], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, cwd=work, check=False, **popen)


PROBE = ("-S", "-no-user-config", "-nodefaults", "-nographic")


def gone(pid):
    """Waits for the end of a process that is not a child."""
    end = time.monotonic() + 30
    while os.path.exists(f"/proc/{pid}"):
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                return
        assert time.monotonic() < end, f"{pid} does not end"
        time.sleep(0.01)


def probe(work):
    """The parent returns when the socket listens and the pidfile is written, and not before."""
    pidfile, path = os.path.join(work, "qmp.pid"), os.path.join(work, "qmp.monitor")
    done = start(work, *PROBE, "-machine", "none,accel=kvm:mshv:tcg", "-qmp",
                 f"unix:{path},server=on,wait=off", "-pidfile", pidfile, "-daemonize")
    assert done.returncode == 0, done
    with open(pidfile, encoding="ascii") as text:
        pid = int(text.read())
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(path)
        with sock.makefile("rw") as stream:
            assert "QMP" in json.loads(stream.readline())
            for n, command in enumerate(("qmp_capabilities", "query-version", "query-status")):
                stream.write(json.dumps({"execute": command, "id": n}) + "\r\n")
                stream.flush()
                reply = json.loads(stream.readline())
                assert reply["id"] == n and "return" in reply, reply
            assert reply["return"]["status"] == "prelaunch", reply
    # A session of its own without a terminal, in no folder that somebody may want to unmount.
    assert os.getsid(pid) not in (os.getsid(0), pid), pid
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert [os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)] == ["/dev/null"] * 3
    # The file is a lock: no second one, until this one has ended and taken it away.
    second = start(work, *PROBE, "-machine", "none", "-pidfile", pidfile, "-daemonize")
    assert second.returncode == 1 and "another process" in second.stderr, second
    os.kill(pid, signal.SIGTERM)
    gone(pid)
    assert not os.path.exists(pidfile) and not os.path.exists(path)


def stale_pidfile(work):
    """What a killed one left behind is taken over; a relative name stays the same file."""
    name = os.path.join(work, "left.pid")
    with open(name, "w", encoding="ascii") as text:
        text.write("999999999999999999999999999\n")
    done = start(work, *PROBE, "-machine", "none", "-pidfile", "left.pid", "-daemonize")
    assert done.returncode == 0, done
    with open(name, encoding="ascii") as text:
        pid = int(text.read())
    os.kill(pid, signal.SIGTERM)
    gone(pid)
    assert not os.path.exists(name)


def log_and_user(work):
    """Messages with dates in a file; another user, and another root, where we may do so."""
    log = os.path.join(work, "log")
    root = os.geteuid() == 0
    os.chmod(work, 0o755)
    confine = ("-run-with", f"user=65534:65533,chroot={work}") if root else ()
    done = start(work, *PROBE, "-machine", "none", "-accel", "tcg", "-pidfile", "log.pid", "-D",
                 log, "-d", "debug", "-msg", "timestamp=on,guest-name=on", "-name", "g1", *confine,
                 "-daemonize")
    assert done.returncode == 0 and not done.stderr, done
    with open(os.path.join(work, "log.pid"), encoding="ascii") as text:
        pid = int(text.read())
    if root:
        assert os.readlink(f"/proc/{pid}/root") == work
        with open(f"/proc/{pid}/status", encoding="ascii") as text:
            rows = dict(row.split(":", 1) for row in text)
        assert rows["Uid"].split() == ["65534"] * 4 and rows["Gid"].split() == ["65533"] * 4, rows
        assert rows["Groups"].split() == ["65533"], rows
    os.kill(pid, signal.SIGTERM)
    gone(pid)
    with open(log, encoding="ascii") as text:
        rows = text.readlines()
    assert rows and "signal 15" in rows[-1], rows
    for row in rows:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z g1 ", row), row


def failures(work):
    """They reach the caller: text on its standard error, and a code."""
    for options, word in (
            (("-machine", "none", "-chardev", "socket,id=c,path=/no/such/x,server=on,wait=off"),
             "cannot listen"),
            (("-machine", "none", "-pidfile", "/no/such/x"), "/no/such/x"),
            (("-m", "64M", "-kernel", "/dev/null"), "not a regular file"),
            (("-serial", "stdio", "-machine", "none"), "no terminal"),
            (("-machine", "none", "-device", "virtio-rng-pci"), "no bus"),
            (("-machine", "none", "-object", "rng-random,id=r,filename=/no/such/x"), "/no/such/x")):
        done = start(work, *PROBE, *options, "-daemonize")
        assert done.returncode == 1, (options, done)
        assert word in done.stderr, (options, done)


with tempfile.TemporaryDirectory() as folder:
    for test in (probe, stale_pidfile, log_and_user, failures):
        test(folder)
        print("ok", test.__name__)
