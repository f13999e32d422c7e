# SPDX-License-Identifier: Apache-2.0
"""A hanok process and its monitor, for tests.

    with Hanok(["-S", "-nodefaults", ...]) as vm:      # -display none and a QMP socket are added
        vm.cmd("query-status")                          # the reply's "return", or QmpError
        vm.cmd("set-action", panic="pause")             # _ in names of arguments becomes -
        vm.event("RESUME")                              # waits for one, and takes it
        vm.hmp("info status")

Qmp alone is a client for a socket that is there already. Errors of the protocol raise; waiting is
bounded by TIMEOUT. At the end the process must have said nothing of replies that do not fit the schema.
"""
import array
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

TIMEOUT = 60


class QmpError(Exception):
    def __init__(self, error):
        super().__init__(f"{error['class']}: {error['desc']}")
        self.cls = error["class"]
        self.desc = error["desc"]


class Qmp:
    def __init__(self, path=None, sock=None, negotiate=True, oob=False, timeout=TIMEOUT):
        self.sock = sock or socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        if path:
            self.sock.connect(path)
        self.buf = b""
        self.events = []
        self.next_id = 0
        self.log = []  # everything received, in order
        self.greeting = self.recv()
        if negotiate:
            self.cmd("qmp_capabilities", **({"enable": ["oob"]} if oob else {}))

    def close(self):
        if self.sock:
            self.sock.close()

    # ---- raw ----

    def send(self, text, fds=()):
        data = text if isinstance(text, bytes) else text.encode()
        if fds:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            sent = self.sock.sendmsg([data], rights)
            data = data[sent:]
        self.sock.sendall(data)

    def recv(self):
        """The next object, whatever it is."""
        while b"\n" not in self.buf:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError("the monitor is gone")
            self.buf += more
        line, self.buf = self.buf.split(b"\n", 1)
        assert line.endswith(b"\r"), line
        obj = json.loads(line)
        self.log.append(obj)
        return obj

    def recv_reply(self, want_id=None):
        """The next object that is no event; events are kept."""
        while True:
            obj = self.recv()
            if "event" not in obj:
                assert want_id is None or obj.get("id") == want_id, obj
                return obj
            self.events.append(obj)

    # ---- commands ----

    def start(self, name, args=None, fds=(), oob=False):
        self.next_id += 1
        req = {"exec-oob" if oob else "execute": name, "id": self.next_id}
        if args:
            req["arguments"] = args
        self.send(json.dumps(req) + "\r\n", fds)
        return self.next_id

    def cmd(self, name, args=None, fds=(), oob=False, **kw):
        args = dict(args or {}, **{k.replace("_", "-"): v for k, v in kw.items()})
        obj = self.recv_reply(self.start(name, args, fds, oob))
        if "error" in obj:
            raise QmpError(obj["error"])
        return obj["return"]

    def error(self, name, args=None, **kw):
        """Like cmd(), for one that has to fail."""
        try:
            ret = self.cmd(name, args, **kw)
        except QmpError as e:
            return e
        raise AssertionError(f"{name} succeeded: {ret}")

    def hmp(self, line):
        """What a line of HMP says, with plain line ends."""
        return self.cmd("human-monitor-command", {"command-line": line}).replace("\r\n", "\n")

    def event(self, name, timeout=TIMEOUT):
        """Takes the first event of that name, waits for it if need be."""
        until = time.monotonic() + timeout
        while True:
            for e in self.events:
                if e["event"] == name:
                    self.events.remove(e)
                    return e
            if time.monotonic() > until:
                raise TimeoutError(f"no event {name}; there were {[e['event'] for e in self.events]}")
            obj = self.recv()
            assert "event" in obj, obj
            self.events.append(obj)


class Hanok(Qmp):
    """binary: the program, by default $HANOK."""

    def __init__(self, args, binary=None, negotiate=True, oob=False, monitor=True, env=None, fds=(),
                 cwd=False):
        """fds: descriptors it inherits; cwd: it runs in self.dir."""
        self.dir = tempfile.mkdtemp(prefix="hanok-test-")
        self.stderr_path = os.path.join(self.dir, "stderr")
        self.socket_path = os.path.join(self.dir, "qmp")
        line = [os.path.abspath(binary or os.environ["HANOK"]), "qemu", *args]
        if monitor:
            line += ["-qmp", f"unix:{self.socket_path},server=on,wait=off"]
        with open(self.stderr_path, "wb") as err:
            self.proc = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=err, env=env, pass_fds=fds,
                                         cwd=self.dir if cwd else None)
        if not monitor:
            self.sock = None
            return
        try:
            super().__init__(sock=self.connect(), negotiate=negotiate, oob=oob)
        except BaseException:
            self.end()
            raise

    def connect(self):
        until = time.monotonic() + TIMEOUT
        while True:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(self.socket_path)
                return s
            except OSError:
                s.close()
                if self.proc.poll() is not None:
                    raise RuntimeError(f"hanok ended: {self.stderr()}") from None
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def stderr(self):
        with open(self.stderr_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait(self, timeout=TIMEOUT):
        return self.proc.wait(timeout)

    def end(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        self.proc.stdout.close()
        text = self.stderr()
        shutil.rmtree(self.dir, ignore_errors=True)
        return text

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()
        text = self.end()
        if kind:
            print(text)
        else:
            assert "what the schema says" not in text, text
            assert "not in the schema" not in text, text
            assert "Sanitizer" not in text and "runtime error:" not in text, text
