# SPDX-License-Identifier: Apache-2.0
"""The protocol: greeting, negotiation, framing, errors, out of band, limits, several clients."""
import json
import os
import socket
import subprocess
import time
import unittest

from common import Machine, line, main, strip
from qmp import Hanok, Qmp


def exchange(vm, text, n):
    """Sends text and returns n objects that are no events."""
    vm.send(text)
    return [strip(vm.recv_reply()) for _ in range(n)]


def error(desc, cls="GenericError"):
    return {"error": {"class": cls, "desc": desc}}


class Protocol(unittest.TestCase):
    def test_greeting_and_negotiation(self):
        with Machine(negotiate=False) as vm:
            self.assertEqual(vm.greeting["QMP"]["capabilities"], ["oob"])
            self.assertEqual(vm.greeting["QMP"]["version"]["qemu"],
                             {"major": 10, "minor": 0, "micro": 2})
            replies = exchange(vm, '{"execute":"query-status","id":[1,{"a":null}]}\n'
                               '{"execute":"qmp_capabilities","arguments":{"enable":["nonsense"]}}\n'
                               '{"execute":"qmp_capabilities"}\n{"execute":"qmp_capabilities"}\n', 4)
            self.assertEqual(replies, [
                error("Expecting capabilities negotiation with 'qmp_capabilities'", "CommandNotFound"),
                error("Parameter 'enable[0]' does not accept value 'nonsense'"),
                {"return": {}},
                error("Capabilities negotiation is already complete, command ignored",
                      "CommandNotFound")])
            self.assertEqual(vm.log[1]["id"], [1, {"a": None}])

    def test_errors_like_qemu(self):
        """The first words are those of QEMU 7.2's, recorded."""
        cases = [
            ('{"execute":"qmp-capabilities"}', "The command qmp-capabilities has not been found "
             "(did you mean 'qmp_capabilities'?)"),
            ('{"execute":"stop","arguments":{"x":1}}', "Parameter 'x' is unexpected"),
            ('{"execute":"human-monitor-command"}', "Parameter 'command-line' is missing"),
            ('{"execute":"human-monitor-command","arguments":{"command-line":3}}',
             "Invalid parameter type for 'command-line', expected: string"),
            ('{"execute":"human-monitor-command","arguments":{"command-line":"","cpu-idx":1}}',
             "Parameter 'cpu-idx' is unexpected (did you mean 'cpu-index'?)"),
            ('{"execute":"set-action","arguments":{"panic":"paus"}}',
             "Parameter 'panic' does not accept value 'paus' (did you mean 'pause'?)"),
            ('{"execute":"stop","arguments":[]}', "QMP input member 'arguments' must be an object"),
            ('{"execute":3}', "QMP input member 'execute' must be a string"),
            ('{"exec":"stop"}', "QMP input member 'exec' is unexpected"),
            ('{"id":1}', "QMP input lacks member 'execute'"),
            ('{"execute":"stop","extra":3}', "QMP input member 'extra' is unexpected"),
            ('{"exec-oob":"query-status"}', "QMP input member 'exec-oob' is unexpected"),
            ('[1]', "QMP input must be a JSON object"),
        ]
        with Machine() as vm:
            for text, desc in cases:
                reply = exchange(vm, text + "\r\n", 1)[0]
                self.assertTrue(reply["error"]["desc"].startswith(desc), reply)
            self.assertEqual(vm.error("no-such").cls, "CommandNotFound")

    def test_framing(self):
        with Machine() as vm:
            one = '{"execute":"query-name"}'
            # several in one write, one in many, one over lines, none but blanks
            self.assertEqual(exchange(vm, one * 3, 3), [{"return": {}}] * 3)
            for c in one:
                vm.send(c)
            self.assertEqual(strip(vm.recv_reply()), {"return": {}})
            self.assertEqual(exchange(vm, '{\n "execute"\n:\t"query-name"\r\n}', 1), [{"return": {}}])
            vm.send("\r\n \t\n")
            self.assertEqual(exchange(vm, one, 1), [{"return": {}}])
            self.assertEqual(exchange(vm, "{'execute':'query-name'}", 1), [{"return": {}}])
            self.assertEqual(exchange(vm, '{"execute":"query-name","id":"}{\\"]["}', 1), [{"return": {}}])
            self.assertEqual(vm.log[-1]["id"], '}{"][')

    def test_recovery(self):
        bad = ["nonsense", "{", '{"execute": "query-name"]', '{"execute": "a\tb"}', "}", '"text"', "12", "\x00\x01",
               "{'execute\": 'query-name'}", '{"execute":"query-name",}', '{"a":1,"a":2}',
               '{"execute":"query-name","id":123456789012345678901234567890}',
               "[" * 5000, '{"a":' * 5000, '{"id":"\ud800"}'.encode("utf-8", "surrogatepass"),
               b"\xff\xfe{\x80}"]
        with Machine() as vm:
            for text in bad:
                data = text if isinstance(text, bytes) else text.encode()
                vm.send(data + b"\n")
                if text != "{":
                    self.assertIn("error", vm.recv_reply(), text)
                else:
                    vm.send("]\n")
                    self.assertIn("error", vm.recv_reply())
                self.assertEqual(vm.cmd("query-name"), {}, text)

    def test_size(self):
        with Machine() as vm:
            long = "x" * 900000
            self.assertEqual(vm.cmd("human-monitor-command", {"command-line": "# " + long}), "")
            vm.send('{"execute":"query-name","id":"' + long * 2 + '"}\n')
            self.assertIn("longer than 1 MiB", vm.recv_reply()["error"]["desc"])
            self.assertEqual(vm.cmd("query-name"), {})

    def test_oob(self):
        with Machine(oob=True) as vm:
            self.assertEqual(vm.cmd("query-status", oob=True)["status"], "prelaunch")
            self.assertIn("does not support OOB", self.fail_oob(vm, "query-name"))
            reply = exchange(vm, '{"execute":"stop","exec-oob":"stop"}', 1)[0]
            self.assertIn("clashes", reply["error"]["desc"])
            schema = {e["name"]: e for e in vm.cmd("query-qmp-schema") if e["meta-type"] == "command"}
            self.assertTrue(schema["query-status"]["allow-oob"])
            self.assertNotIn("allow-oob", schema["query-name"])

    def test_oob_overtakes(self):
        """What is out of band is answered while a command goes on and others wait behind it; those
        are answered in their order."""
        with Machine(oob=True) as vm:
            reader, writer = os.pipe()
            vm.cmd("getfd", {"fdname": "core"}, fds=[writer])
            os.close(writer)
            first = vm.start("dump-guest-memory", {"paging": False, "protocol": "fd:core"})
            waiting = [vm.start("query-name") for _ in range(7)]
            for _ in range(3):
                urgent = vm.start("query-status", oob=True)
                self.assertEqual(vm.recv_reply(urgent)["return"]["running"], False)
            # more than the queue takes at once, urgent ones among them: nothing is lost
            lines = [{"execute": "query-name", "id": n} for n in range(1000, 1100)]
            lines.append({"exec-oob": "query-status", "id": 1100})
            vm.send("".join(json.dumps(o) + "\n" for o in lines))
            while os.read(reader, 1 << 20):
                pass
            os.close(reader)
            got = [vm.recv_reply()["id"] for _ in range(1 + 7 + 101)]
            got.remove(1100)
            self.assertEqual(got, [first, *waiting, *range(1000, 1100)])

    def fail_oob(self, vm, name):
        vm.start(name, oob=True)
        return vm.recv_reply()["error"]["desc"]

    def test_client_that_does_not_read(self):
        """It waits for itself: the guest runs, another client is served, memory stays bounded."""
        with Machine("-qmp", "unix:second.sock,server=on,wait=off") as vm:
            vm.running()
            other = Qmp(os.path.join(vm.dir, "second.sock"))
            request = b'{"execute":"query-qmp-schema"}' * 100
            vm.sock.settimeout(0.3)
            sent = 0
            try:
                while sent < 200 << 20:
                    sent += vm.sock.send(request)
            except TimeoutError:
                pass
            self.assertLess(sent, 8 << 20)
            for _ in range(20):
                other.cmd("stop")
                other.cmd("cont")
            vm.serial.tell("x")
            vm.serial.expect("x")
            with open(f"/proc/{vm.proc.pid}/status", encoding="ascii") as f:
                rss = next(int(row.split()[1]) for row in f if row.startswith("VmRSS"))
            self.assertLess(rss, 200 << 10)
            other.close()

    def test_reconnect(self):
        with Machine() as vm:
            for _ in range(3):
                vm.sock.sendall(b'{"execute":')
                vm.sock.close()
                vm.buf, vm.events, vm.sock = b"", [], vm.connect()
                self.assertIn("QMP", vm.recv())
                self.assertEqual(vm.error("query-status").cls, "CommandNotFound")
                vm.cmd("qmp_capabilities")

    def test_two_clients_hear_both(self):
        with Machine("-qmp", "unix:second.sock,server=on,wait=off") as vm:
            other = Qmp(os.path.join(vm.dir, "second.sock"))
            vm.cmd("cont")
            other.event("RESUME")
            other.cmd("stop")
            self.assertEqual([strip(e) for e in (vm.event("RESUME"), vm.event("STOP"))],
                             [{"event": "RESUME"}, {"event": "STOP"}])
            other.close()

    def test_no_events_before_negotiation(self):
        with Machine("-qmp", "unix:second.sock,server=on,wait=off") as vm:
            other = Qmp(os.path.join(vm.dir, "second.sock"), negotiate=False)
            vm.cmd("cont")
            other.cmd("qmp_capabilities")
            vm.cmd("stop")
            self.assertEqual(other.recv()["event"], "STOP")
            other.close()

    def test_timestamps(self):
        with Machine() as vm:
            before = time.time()
            vm.cmd("cont")
            stamp = vm.event("RESUME")["timestamp"]
            self.assertTrue(before - 1 <= stamp["seconds"] + stamp["microseconds"] / 1e6
                            <= time.time() + 1)

    def test_stdio_and_pretty(self):
        requests = '{"execute":"qmp_capabilities"}{"execute":"query-name"}{"execute":"quit"}'
        for option in (["-qmp", "stdio"], ["-qmp-pretty", "stdio"],
                       ["-chardev", "stdio,id=c", "-mon", "chardev=c,mode=control,pretty=on"]):
            with subprocess.Popen([os.environ["HANOK"], "qemu", *line("-S", *option)], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
                out, _ = p.communicate(requests, timeout=60)
            self.assertEqual(p.returncode, 0)
            self.assertEqual("    " in out, "pretty" in " ".join(option))
            objects, at = [], 0
            while at < len(out):
                obj, at = json.JSONDecoder().raw_decode(out, at)
                objects.append(obj)
                while at < len(out) and out[at].isspace():
                    at += 1
            self.assertEqual([list(strip(o))[0] for o in objects],
                             ["QMP", "return", "return", "event", "return"])

    def test_tcp_and_client_and_inherited(self):
        server = socket.create_server(("127.0.0.1", 0))
        server.settimeout(60)
        port = server.getsockname()[1]
        with Hanok(line("-S", "-qmp", f"tcp:127.0.0.1:{port}")) as vm:
            tcp = Qmp(sock=server.accept()[0])
            self.assertEqual(tcp.cmd("query-status"), vm.cmd("query-status"))
            tcp.close()
        server.close()
        listener = socket.create_server(os.path.join("/tmp", f"hanok-test-{os.getpid()}.sock"),
                                        family=socket.AF_UNIX)
        path = listener.getsockname()
        early = socket.socket(socket.AF_UNIX)  # connects and speaks before the process is there
        early.connect(path)
        early.sendall(b'{"execute":"qmp_capabilities"}\r\n')
        fd = listener.fileno()
        try:
            with Hanok(line("-S", "-chardev", f"socket,id=m,fd={fd},server=on,wait=off", "-mon",
                            "chardev=m,id=monitor,mode=control"), monitor=False, fds=(fd,)) as vm:
                client = Qmp(sock=early, negotiate=False)
                self.assertEqual(client.recv(), {"return": {}})
                self.assertEqual(client.cmd("query-status")["status"], "prelaunch")
                client.cmd("quit")
                self.assertEqual(vm.wait(), 0)
                client.close()
        finally:
            listener.close()
            os.unlink(path)


class Schema(unittest.TestCase):
    """query-qmp-schema against itself and against what the process does."""

    @classmethod
    def setUpClass(cls):
        with Machine() as vm:
            cls.entries = vm.cmd("query-qmp-schema")
            cls.commands = [c["name"] for c in vm.cmd("query-commands")]

    def test_closed(self):
        kinds = {e["name"]: e for e in self.entries if e["meta-type"] not in ("command", "event")}
        builtin = {"str", "int", "number", "bool", "null", "any"}
        for e in self.entries:
            used = [e.get("arg-type"), e.get("ret-type"), e.get("element-type")]
            used += [m["type"] for m in e.get("members", []) if "type" in m]
            used += [v["type"] for v in e.get("variants", [])]
            for t in used:
                self.assertTrue(t is None or t in kinds, f"{e['name']} uses {t}")
            if e["meta-type"] == "enum":
                self.assertEqual(e["values"], [m["name"] for m in e["members"]])
            if e["meta-type"] == "builtin":
                self.assertIn(e["name"], builtin)
            if e["meta-type"] in ("object", "enum"):
                self.assertTrue(e["name"].isdigit(), e["name"])
            if "tag" in e:
                tag = next(m for m in e["members"] if m["name"] == e["tag"])
                self.assertEqual(sorted(v["case"] for v in e["variants"]),
                                 sorted(kinds[tag["type"]]["values"]))

    def test_commands(self):
        listed = [e["name"] for e in self.entries if e["meta-type"] == "command"]
        self.assertEqual(sorted(listed), sorted(self.commands))
        self.assertEqual(len(set(listed)), len(listed))

    def test_optional(self):
        kinds = {e["name"]: e for e in self.entries}
        args = kinds[kinds["human-monitor-command"]["arg-type"]]["members"]
        self.assertEqual({m["name"]: "default" in m for m in args},
                         {"command-line": False, "cpu-index": True})
        self.assertEqual(kinds[kinds["stop"]["arg-type"]]["members"], [])

    def test_missing_arguments_are_named(self):
        """Every command that needs an argument says which when there is none."""
        kinds = {e["name"]: e for e in self.entries}
        with Machine() as vm:
            for name in self.commands:
                args = kinds[kinds[name]["arg-type"]]
                need = [m["name"] for m in args["members"] if "default" not in m]
                if not need:
                    continue
                desc = vm.error(name).desc
                self.assertTrue(any(f"'{n}' is missing" in desc for n in need), f"{name}: {desc}")


if __name__ == "__main__":
    main()
