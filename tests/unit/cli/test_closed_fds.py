#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Started with 0, 1 or 2 closed, hanok opens nothing of its own in their place.

    test_closed_fds.py HANOK

A message or the guest's output would land in it. A socket that waits for its peer keeps the
process at its start; SIGTERM ends the waiting.
"""
import os
import subprocess
import sys
import tempfile
import time


def wait_for(path):
    end = time.monotonic() + 30
    while not os.path.exists(path):
        if time.monotonic() > end:
            sys.exit(f"{path} did not appear")
        time.sleep(0.01)


def main():
    hanok = os.path.abspath(sys.argv[1])
    for closed in ((0,), (1,), (2,), (0, 1, 2)):
        with tempfile.TemporaryDirectory(prefix="hanok-fds.") as work:
            line = 'exec "$0" qemu -chardev "socket,id=c,path=$1,server=on" ' + \
                " ".join(f"{n}>&-" for n in closed)
            proc = subprocess.Popen(["sh", "-c", line, hanok, f"{work}/sock"],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)
            wait_for(f"{work}/sock")
            links = [os.readlink(f"/proc/{proc.pid}/fd/{n}") for n in closed]
            proc.terminate()
            code = proc.wait(20)
            if links != ["/dev/null"] * len(closed) or code != 1:
                print(f"with {closed} closed: {links}, exit code {code}")
                return 1
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
