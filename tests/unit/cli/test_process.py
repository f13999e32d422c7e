#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The process as its caller sees it before any guest runs: limits and signals.

    test_process.py HANOK
"""
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time

HANOK = sys.argv[1]


def run_kernel(work, *options, memory=("-m", "64M"), **popen):
    """Starts QEMU's personality on a file that is no kernel."""
    qemu = os.path.join(work, "qemu-system-x86_64")
    if not os.path.exists(qemu):
        os.symlink(os.path.abspath(HANOK), qemu)
    line = [qemu, *memory, "-kernel", "/dev/null", "-display", "none", "-nodefaults"]
    return subprocess.Popen(line + list(options), stderr=subprocess.PIPE, text=True, **popen)


def file_size_limit(work):
    """What hits ulimit -f is an error with a reason, not a death by SIGXFSZ."""
    limit = 1 << 20
    shared = ("-object", "memory-backend-memfd,id=m,size=64M", "-machine", "q35,memory-backend=m")
    proc = run_kernel(work, memory=shared, preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_FSIZE, (limit, limit)))
    err = proc.communicate(timeout=30)[1]
    assert proc.returncode == 1, (proc.returncode, err)
    assert "memory" in err and "File too large" in err, err


def name_of_a_guest(work):
    """-msg guest-name=on: also in front of why there is no guest."""
    proc = run_kernel(work, "-msg", "guest-name=on", "-name", "web server")
    err = proc.communicate(timeout=30)[1]
    assert proc.returncode == 1, (proc.returncode, err)
    assert all(line.startswith("web server qemu-system-x86_64: ") for line in err.splitlines()), err


def wait_for_peer_ends(work):
    """A machine that waits for its chardev's peer can be told to stop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        path = os.path.join(work, "peer")
        proc = run_kernel(work, "-chardev", f"socket,id=c,path={path},server=on",
                          "-serial", "chardev:c")
        while not os.path.exists(path):
            time.sleep(0.01)
        proc.send_signal(number)
        err = proc.communicate(timeout=30)[1]
        assert proc.returncode == 1, (proc.returncode, err)
        assert "signal" in err, err
        assert not os.path.exists(path)


with tempfile.TemporaryDirectory() as folder:
    for test in (file_size_limit, name_of_a_guest, wait_for_peer_ends):
        test(folder)
        print("ok", test.__name__)
