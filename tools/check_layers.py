#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The include-layer gate: #include lines in src/ only point to lower layers (docs/layers.txt).

    tools/check_layers.py [--top DIR]

Prints each offence as file:line and exits 1 when there is one. Also refused: a header named
*_int.h included from another folder, a folder that docs/layers.txt does not list, and an include
of hanok's own headers with <>. A header that the build generates counts by its path.
"""
import argparse
import os
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def read_layers(path):
    """Folder -> level."""
    level_of = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            words = line.split("#", 1)[0].split()
            if words:
                for folder in words[1:]:
                    level_of[folder] = int(words[0])
    return level_of


def sources(src):
    for root, dirs, names in os.walk(src):
        dirs.sort()
        for name in sorted(names):
            if name.endswith((".c", ".h", ".S", ".def")):
                yield os.path.join(root, name)


def resolve(src, path, kind, target, level_of):
    """The included file relative to src, or None when it is not one of ours."""
    for base in (src, os.path.dirname(path)) if kind == '"' else (src,):
        full = os.path.normpath(os.path.join(base, target))
        if os.path.isfile(full) and full.startswith(src + os.sep):
            return os.path.relpath(full, src)
    if kind == '"':  # generated: by its path, or beside the file that includes it
        return target if target.split("/")[0] in level_of else os.path.relpath(path, src)
    return None


def check_include(src, path, kind, target, level_of):
    """What is wrong with this include, or None."""
    own = os.path.relpath(path, src)
    folder = own.split(os.sep)[0]
    found = resolve(src, path, kind, target, level_of)
    if found is None:
        return None
    if kind == "<":
        return f"<{target}> is hanok's own: use quotes"
    to = found.split(os.sep)[0]
    if to == folder:
        return None
    for name in (folder, to):
        if name not in level_of:
            return f"folder '{name}' has no layer in docs/layers.txt"
    if level_of[to] >= level_of[folder]:
        return (f"{folder} (layer {level_of[folder]}) includes {found} "
                f"(layer {level_of[to]}): only lower layers may be included")
    if found.endswith("_int.h"):
        return f"{found} is for its own folder only"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--top", default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    top = os.path.abspath(parser.parse_args().top)
    src = os.path.join(top, "src")
    level_of = read_layers(os.path.join(top, "docs", "layers.txt"))
    bad = files = 0
    for path in sources(src):
        files += 1
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                m = INCLUDE.match(line)
                why = m and check_include(src, path, m.group(1), m.group(2), level_of)
                if why:
                    bad += 1
                    print(f"{os.path.relpath(path, top)}:{number}: {why}")
    print(f"layers: {files} files, {bad} offences")
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main())
