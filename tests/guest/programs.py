#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real programs with self-checks in a guest of the soft engine.

    tests/guest/programs.py HANOK CPUS quick|all [NAME...]

The guest is the one of `make bench` (bench/image.sh makes it; skipped, exit code 77, when there is none). A program passes
when it says so itself, or says what it said on this host's processor when the image was made.
"""
import os
import sys
from collections import namedtuple

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "bench"))
import machines  # noqa: E402

SKIP = 77
Program = namedtuple("Program", "name quick seconds command")

PYTHON_TESTS = ("test_array test_audioop test_binascii test_bytes test_cmath test_codecs test_complex test_decimal test_dict "
                "test_float test_fork1 test_fractions test_generators test_hash test_heapq test_int test_json test_list "
                "test_long test_memoryview test_mmap test_pickle test_queue test_random test_re test_set test_sort "
                "test_statistics test_string test_strtod test_struct test_subprocess test_thread test_threading test_tuple "
                "test_unicode test_userstring")
STRINGS = ["-AVX512VL", "-AVX512VL,-AVX2", "-AVX512VL,-AVX2,-AVX,-SSSE3,-SSE4_2,-SSE4_1", "-ERMS,-FSRM", "-RTM,-BMI2"]
STRESS = "stress-ng --quiet --verify --no-rand-seed --oom-avoid --temp-path /tmp"
# Stressors that want kernel modules, hugetlbfs, hours or a quiet machine.
NOT_HERE = "cpu-online,numa,rdrand,uprobe,tsc,oom-pipe,swap,physpage,watchdog,bad-altstack,smi,ipsec-mb,pageswap,null,zero,full"


def stress_class(name, seconds):
    return Program(f"stress-ng {name}", False, 3000,
                   f"exec {STRESS} --class {name} --sequential $(nproc) --timeout {seconds}s --exclude {NOT_HERE}")


PROGRAMS = [
    Program("round trips", True, 120, """
        head -c 1500000 /bench/data >d
        for level in 1 6 9; do gzip -c$level d | gzip -dc | cmp - d || exit 1; done
        for level in 0 3; do xz -c$level d | xz -dc | cmp - d || exit 1; done
        for level in 1 9 16; do zstd -qc -$level d | zstd -dqc | cmp - d || exit 1; done"""),
    Program("zlib", True, 60, """exec python3 -c "
import zlib, bz2, lzma
d = open('/bench/data', 'rb').read(600000)
for s in range(5):
    for level in (1, 6, 9):
        c = zlib.compressobj(level, 8, -15, 9, s)
        assert zlib.decompress(c.compress(d) + c.flush(), -15) == d
assert bz2.decompress(bz2.compress(d)) == d and lzma.decompress(lzma.compress(d, preset=1)) == d
" """),
    Program("long round trips", False, 1800, """
        for level in 1 2 3 4 5 6 7 8 9; do gzip -c$level /bench/data | gzip -dc | cmp - /bench/data || exit 1; done
        for level in 0 1 2 4 6 9e; do xz -c -T0 -$level /bench/data | xz -dc | cmp - /bench/data || exit 1; done
        for level in $(seq 1 19); do zstd -qc -T0 -$level /bench/data | zstd -dqc | cmp - /bench/data || exit 1; done"""),
    Program("openssl", True, 120, """
        head -c 300000 /bench/data >d; k=000102030405060708090a0b0c0d0e0f
        for c in aes-128-cbc aes-128-ctr camellia-128-cbc aria-128-ctr chacha20; do
            openssl enc -$c -K $k$(case $c in chacha20) echo $k;; esac) -iv $k -in d -out e &&
            openssl enc -d -$c -K $k$(case $c in chacha20) echo $k;; esac) -iv $k -in e | cmp - d || exit 1
        done
        openssl dgst -sha256 -sign /bench/rsa.pem -out s d && openssl rsa -in /bench/rsa.pem -pubout -out p 2>/dev/null &&
            openssl dgst -sha256 -verify p -signature s d || exit 1
        for g in "EC -pkeyopt ec_paramgen_curve:P-256" "EC -pkeyopt ec_paramgen_curve:P-521" ED25519 ED448; do
            openssl genpkey -algorithm $g -out k && openssl pkey -in k -pubout -out p &&
            openssl pkeyutl -sign -inkey k -rawin -in /etc/hostname -out s &&
            openssl pkeyutl -verify -pubin -inkey p -rawin -in /etc/hostname -sigfile s || exit 1
        done
        openssl prime 170141183460469231731687303715884105727 | grep -q "is prime"
        for h in md5 sha1 sha256 sha512 sha3-256 blake2b512 sm3; do openssl dgst -$h d; done | cmp - /bench/expected/dgst"""),
    Program("openssl by Python", False, 900, """
        grep -qs localhost /etc/hosts || echo 127.0.0.1 localhost >>/etc/hosts
        ip link set lo up && exec python3 -m test test_hashlib test_hmac test_ssl test_secrets"""),
    Program("sqlite", True, 60, "sqlite3 :memory: </bench/src/work.sql | cmp - /bench/expected/sql"),
    Program("dbm by Python", False, 900, "exec python3 -m test test_dbm"), # Debian's Python has no test_sqlite3
    Program("gcc", True, 300, """
        gcc -O2 -w -DSTB_RECT_PACK_IMPLEMENTATION -S -x c -o - /usr/include/stb/stb_rect_pack.h | cmp - /bench/expected/asm &&
        for o in 0 2; do
            gcc -O$o -march=x86-64-v3 -o i /bench/src/integer.c && ./i qsort 1 >a && /bench/integer qsort 1 | cmp - a || exit 1
            gcc -O$o -o i /bench/src/integer.c && ./i mix 50 >a && /bench/integer mix 50 | cmp - a || exit 1
        done"""),
    Program("make", False, 900, """
        make -s -j$(nproc) -f /bench/src/stb.mk && sha256sum stb_*.o | cmp - /bench/expected/stb"""),
    Program("kernels", True, 120, """
        for k in "integer mix 50" "integer sieve 1" "integer qsort 1" "integer interp 50000" "fp whetstone 100" "fp nbody 2000" \
            "fp linpack 3" "fp x87 20000" "fp dot 100" "crypto aes-gcm 20" "crypto sha256 20" "crypto rsa 2" \
            "crypto x25519 10" "system fault 2" "system signal 100" "system pipe16k 100" "system forkexec 5" \
            "system pingpong 200"; do /bench/$k || exit 1; done | cmp - /bench/expected/kernels"""),
    Program("python", True, 240, "exec python3 -m test test_float test_struct test_zlib"),
    Program("python's tests", False, 3000, f"exec python3 -m test -j$(nproc) {PYTHON_TESTS}"),
    Program("lua", True, 60, "lua5.4 /bench/src/work.lua | cmp - /bench/expected/lua"),
    Program("strings", True, 120, "exec /bench/strings"),
    Program("strings, all", False, 600, " && ".join(
        f"GLIBC_TUNABLES=glibc.cpu.hwcaps={without} /bench/strings" for without in STRINGS)),
    Program("stress-ng", True, 90, f"exec {STRESS} --cpu 1 --cpu-method all --vm 1 --vm-bytes 16M --atomic 2 --matrix 1 "
            "--qsort 1 --memcpy 1 --futex 1 --timeout 6s"),
    stress_class("cpu", 3),
    stress_class("vm", 3),
    stress_class("memory", 3),
    Program("node", True, 120, "node /bench/src/load.js >a && cmp a /bench/expected/js"),
    Program("node, no compiler", False, 600, "node --jitless /bench/src/load.js >a && cmp a /bench/expected/js"),
    Program("java", True, 180, "java -Xmx256m -cp /bench/java Load >a && cmp a /bench/expected/java"),
    Program("java, all", False, 1800, """
        javac -d j /bench/src/Load.java || exit 1
        for o in -Xint -Xcomp "-XX:+UseSerialGC -XX:TieredStopAtLevel=1" "-XX:+UseParallelGC -Xmx64m" "-XX:+UseShenandoahGC"; do
            java $o -cp j Load >a && cmp a /bench/expected/java || exit 1
        done"""),
]

# What the guest's kernel says of itself, but for what stress-ng is after: to be out of memory.
COMPLAINTS = ("dmesg | awk '/invoked oom-killer/ { oom = 1 } !oom { print } /Killed process/ { oom = 0 }' | "
              "grep -E -A12 'BUG:|WARNING:|Oops|Call Trace|stuck for|segfault|trap |general protection'")


def main():
    hanok, cpus, which, names = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
    build = os.path.dirname(hanok)
    if not os.path.exists(f"{build}/bench/root.img") or not os.path.exists(f"{build}/guest/native/vmlinuz"):
        print(f"skipped: no root in '{build}/bench' (bench/image.sh makes it)")
        return SKIP
    failed = 0
    guest = machines.Guest(build, "hanok", cpus)
    try:
        for program in PROGRAMS:
            if program.name not in names if names else which == "quick" and not program.quick:
                continue
            result = guest.run(program.command, program.seconds)
            print(f"{program.name}: {'passed' if result.status == 0 else 'FAILED'} after {result.wall:.1f} s", flush=True)
            if result.status:
                failed += 1
                print(f"status {result.status}\n{result.text[-4000:]}", flush=True)
        said = guest.run(COMPLAINTS)
        if said.text and not names:
            failed += 1
            print(f"the guest's kernel complains: {said.text[-4000:]}")
    finally:
        guest.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
