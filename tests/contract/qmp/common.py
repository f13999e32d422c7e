# SPDX-License-Identifier: Apache-2.0
"""What the conversations share: the small guest (guest.S) with its serial port."""
import os
import socket
import sys
import unittest

from qmp import Hanok, TIMEOUT

GUEST = os.environ.get("GUEST", "")
ACCEL = os.environ.get("ACCEL", "tcg")


def line(*more):
    return ["-accel", ACCEL, "-m", "64", "-display", "none", "-nodefaults", "-kernel", GUEST, *more]


class Serial:
    """The other end of COM1, a unix socket."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(path)
        self.buf = b""

    def tell(self, text):
        self.sock.sendall(text.encode())

    def expect(self, text):
        """Waits until the guest has said text; what came before it is gone."""
        want = text.encode()
        while want not in self.buf:
            more = self.sock.recv(4096)
            assert more, f"the serial port is gone; it said {self.buf}"
            self.buf += more
        self.buf = self.buf.split(want, 1)[1]

    def quiet(self, seconds=0.2):
        """Whether nothing comes for a while."""
        self.sock.settimeout(seconds)
        try:
            more = self.sock.recv(4096)
            self.buf += more
            return not more
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(TIMEOUT)


class Machine(Hanok):
    """The small guest, reachable through self.serial; started paused unless run."""

    def __init__(self, *more, run=False, **kw):
        super().__init__(line("-serial", "unix:serial.sock,server=on,wait=off", "-device", "pvpanic,events=7",
                              *(() if run else ("-S",)), *more), cwd=True, **kw)
        try:
            self.serial = Serial(os.path.join(self.dir, "serial.sock"))
            if kw.get("negotiate", True):
                self.cmd("query-status")  # behind this, the serial port's peer was seen
        except BaseException:
            self.end()
            raise

    def close(self):
        self.serial.sock.close()
        super().close()

    def running(self):
        """Continues the guest and waits until it has said so."""
        self.cmd("cont")
        self.event("RESUME")
        self.serial.expect("ready\n")


def strip(obj):
    """Without what differs from run to run."""
    return {k: v for k, v in obj.items() if k not in ("timestamp", "id")}


def main():
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]], verbosity=2)
