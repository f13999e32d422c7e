#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The gates of CI beside the tests: both compilers, sanitizers, analysers, layers, state, sizes.

    tools/gates.py [NAME...]     all, or the named ones

Each prints "gate NAME: ok" or its output and "gate NAME: FAILED".
The last line is "N passed, N failed, N skipped".
"""
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


SKIPPED = 77  # exit code of a test that lacks what it needs


def run(command, env=None, log=None, may_skip=False):
    """True when command succeeds; its output is shown only when it does not. None: it was skipped."""
    proc = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, **(env or {})})
    text = proc.stdout.decode(errors="replace")
    if may_skip and proc.returncode == SKIPPED:
        return None
    ok = proc.returncode == 0
    if not ok:
        print("\n".join(text.splitlines()[-80:]))
    elif log:
        print(text, end="")
    return ok


def configure(build, cc, *options, env=None):
    if not os.path.exists(f"{TOP}/{build}/build.ninja"):
        return run(["meson", "setup", build, *options], env={"CC": cc, **(env or {})})
    return True


def gate_gcc():
    """gcc, release flags, no warning under -Werror."""
    return configure("build-gcc", "gcc") and run(["ninja", "-C", "build-gcc"])


def gate_clang():
    """clang, the same."""
    return configure("build-clang", "clang") and run(["ninja", "-C", "build-clang"])


def gate_sanitizers():
    """All but the guest tests under ASan and UBSan."""
    options = ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Doptimization=1"]
    return (configure("build-asan", "gcc", *options) and run(["ninja", "-C", "build-asan"]) and
            run(["meson", "test", "-C", "build-asan", "--no-rebuild", "--no-suite", "guest",
                 "--no-suite", "long", "--no-suite", "truth", "--print-errorlogs", "-t", "4"],
                env={"UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
                     "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=0"}))


def gate_cfi():
    """clang with its check of indirect calls: Linux boots on a build that traps on a call of a wrong type."""
    if not (configure("build-cfi", "clang", "-Dcfi=true", env={"CC_LD": "lld"}) and
            run(["ninja", "-C", "build-cfi", "hanok"])):
        return False
    guests = {"HANOK_GUESTS": f"{TOP}/build/guest"}  # make check has fetched them
    boots = [run(["tests/guest/boot.py", "build-cfi/hanok", "native", cpus, what], env=guests, may_skip=True)
             for cpus, what in (("1", "check"), ("2", "reboot"), ("1", "panic"))]
    return False if False in boots else None if None in boots else True


def gate_fuzz_build():
    """The fuzz targets build, and each runs its committed corpus once."""
    if not (configure("build-fuzz", "clang", "-Dfuzzing=true", "-Db_lundef=false") and
            run(["ninja", "-C", "build-fuzz"])):
        return False
    ok = True
    for target in sorted(glob.glob(f"{TOP}/build-fuzz/tests/fuzz/*/fuzz-*")):
        if not os.access(target, os.X_OK) or os.path.isdir(target):
            continue
        area, name = target.split("/")[-2], os.path.basename(target)[len("fuzz-"):]
        corpus = f"{TOP}/tests/fuzz/{area}/corpus-{name}"
        with tempfile.TemporaryDirectory(prefix="hanok-fuzz.") as found:  # else it would grow the corpus
            ok &= run([target, "-runs=2000", "-rss_limit_mb=4096", f"-artifact_prefix={TOP}/build-fuzz/{name}-",
                       found] + ([corpus] if os.path.isdir(corpus) else []))
    return ok


def c_sources():
    return sorted(glob.glob(f"{TOP}/src/**/*.c", recursive=True))


def gate_clang_tidy():
    """clang-tidy with the checks of .clang-tidy, warnings as errors."""
    if not gate_clang():
        return False
    files = "\n".join(c_sources())
    proc = subprocess.run(["xargs", "-P", "2", "-n", "6", "clang-tidy", "-p", f"{TOP}/build-clang", "--quiet"],
                          input=files.encode(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=TOP)
    if proc.returncode:
        print("\n".join(proc.stdout.decode(errors="replace").splitlines()[-80:]))
    return proc.returncode == 0


def gate_cppcheck():
    """cppcheck: warnings, performance, portability."""
    return run(["cppcheck", "-q", "-j", "2", "--enable=warning,performance,portability", "--std=c11",
                "--inline-suppr", "--error-exitcode=1", "--suppressions-list=tools/cppcheck.txt",
                "-I", "src", "-I", "build-gcc/src/accel/soft/decode", "src"])


def gate_layers():
    """Includes only go down (docs/layers.txt)."""
    return run([f"{TOP}/tools/check_layers.py"])


def gate_state():
    """Every member of a struct with a state table is accounted for (compared with DWARF)."""
    return gate_gcc() and run([f"{TOP}/tools/check_state.py", "build-gcc/hanok"])


def gate_style():
    """Lengths, headers that compile alone, names that must not appear."""
    return run([f"{TOP}/tools/style.py"], log=True)


def gate_size():
    """The size report: the stripped binary stays small."""
    if not gate_gcc():
        return False
    binary = f"{TOP}/build-gcc/hanok"
    stripped = binary + ".stripped"
    if not run(["strip", "-o", stripped, binary]):
        return False
    size = os.path.getsize(stripped)
    print(f"size: hanok stripped is {size / 1024:.0f} KiB")
    run(["size", binary], log=True)
    return size < 4 << 20


GATES = [("gcc", gate_gcc), ("layers", gate_layers), ("style", gate_style), ("state", gate_state),
         ("size", gate_size), ("clang", gate_clang), ("cfi", gate_cfi), ("fuzz-build", gate_fuzz_build),
         ("cppcheck", gate_cppcheck), ("clang-tidy", gate_clang_tidy), ("sanitizers", gate_sanitizers)]


def main():
    names = sys.argv[1:]
    passed = failed = skipped = 0
    for name, gate in GATES:
        if names and name not in names:
            continue
        start = time.monotonic()
        ok = gate()
        result = {True: "ok", False: "FAILED", None: "skipped"}[ok]
        print(f"gate {name}: {result} ({time.monotonic() - start:.0f} s)", flush=True)
        passed += ok is True
        failed += ok is False
        skipped += ok is None
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
