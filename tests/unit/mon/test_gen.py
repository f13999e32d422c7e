# SPDX-License-Identifier: Apache-2.0
"""schema/gen.py refuses what does not make sense, by name; and the schema that is there says what
it is about: every command, event and HMP command has a doc."""
import glob
import json
import os
import subprocess
import sys
import tempfile

GEN, SCHEMA = sys.argv[1], sys.argv[2]

BAD = [
    ('{"command": "a"}', "list"),
    ('[{"comand": "a"}]', "an entry is one of"),
    ('[{"command": "a"}, {"command": "a"}]', "also in"),
    ('[{"command": "a", "data": {"x": "Nothing"}}]', "command a: no type Nothing"),
    ('[{"command": "a", "returns": ["Nothing"]}]', "no type Nothing"),
    ('[{"command": "a", "argument": {}}]', "unknown key argument"),
    ('[{"struct": "A", "data": {"x": {"typ": "int"}}}]', "member x"),
    ('[{"enum": "K", "data": ["a"]}, {"struct": "S", "data": {}}, {"union": "U", "base": {"k": "K"},'
     ' "discriminator": "k", "data": {"b": "S"}}]', "b is no value of K"),
    ('[{"struct": "S", "data": {}}, {"union": "U", "base": {"k": "str"}, "discriminator": "k",'
     ' "data": {"b": "S"}}]', "discriminator"),
    ('[{"hmp": "a", "args": {"x": "wrd"}}]', "type wrd"),
    ('[{"struct": "S", "base": "T", "data": {}}]', "no type T"),
    ("[", "Expecting"),
]

failed = 0
with tempfile.TemporaryDirectory() as d:
    for text, why in BAD:
        path = os.path.join(d, "bad.json")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        p = subprocess.run([sys.executable, GEN, "--introspection", os.path.join(d, "out"), path],
                           stderr=subprocess.PIPE, text=True, check=False)
        if p.returncode == 0 or why not in p.stderr or "Traceback" in p.stderr:
            print(f"{text}: {p.returncode} {p.stderr}")
            failed += 1

listed = open(os.path.join(SCHEMA, "meson.build"), encoding="utf-8").read()
for path in glob.glob(os.path.join(SCHEMA, "*.json")):
    if f"'{os.path.basename(path)}'" not in listed:
        print(f"{path} is not in meson.build")
        failed += 1
    for entry in json.load(open(path, encoding="utf-8")):
        kind = next(iter(entry))
        if kind in ("command", "event", "hmp") and not entry.get("doc", "").strip().endswith("."):
            print(f"{os.path.basename(path)}: {kind} {entry[kind]}: a doc that is a sentence is missing")
            failed += 1
sys.exit(failed > 0)
