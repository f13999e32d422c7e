# SPDX-License-Identifier: Apache-2.0
"""A conversation that QEMU 7.2 had (qemu-7.2.txt; C is the client, S what it heard), held again.

The same replies and events come in the same order. hanok may say more: behind QEMU's words of an
error, and fewer where QEMU has dropped a member since.
"""
import json
import os
import unittest

from common import Machine, main

GONE = {"singlestep"}  # of query-status, until QEMU 9


def same(mine, theirs):
    if "error" in theirs:
        return ("error" in mine and mine["error"]["class"] == theirs["error"]["class"]
                and mine["error"]["desc"].startswith(theirs["error"]["desc"])
                and mine.get("id") == theirs.get("id"))
    if isinstance(theirs.get("return"), dict):
        theirs = dict(theirs, **{"return": {k: v for k, v in theirs["return"].items() if k not in GONE}})
    return mine == theirs


class Transcript(unittest.TestCase):
    def test_qemu(self):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "qemu-7.2.txt")
        heard = 0
        with open(path, encoding="utf-8") as f, Machine(negotiate=False) as vm:
            for row in f:
                who, text = row.rstrip("\n").split(" ", 1)
                if who == "C":
                    asked = text
                    vm.send(text + "\n")
                    continue
                mine = vm.recv()
                mine.pop("timestamp", None)
                self.assertTrue(same(mine, json.loads(text)), f"{asked}: {mine}, QEMU: {text}")
                heard += 1
            self.assertEqual(vm.wait(), 0)
        self.assertGreater(heard, 40)


if __name__ == "__main__":
    main()
