# SPDX-License-Identifier: Apache-2.0
"""What `make bench` runs: classes with what is wanted of them, and their workloads.

A command is what a shell in the machine gets, in /tmp. Its output, and that of `then` (which is not timed), must be
the same on all machines.
"""
from collections import namedtuple

# floor, aim: how many times as quick as TCG. group: which geometric mean it belongs to.
Class = namedtuple("Class", "name floor aim group")
Workload = namedtuple("Workload", "of name command then")

REAL, KERNELS = "real programs", "kernels"
MEANS = {REAL: (2.2, 4), KERNELS: (4, 8)}

CLASSES = [
    Class("boot", 2, 4, REAL),
    Class("compression", 1.8, 3, REAL),
    Class("interpreters", 2.5, 5, REAL),
    Class("compilers", 2, 4, REAL),
    Class("integer", 3, 6, KERNELS),
    Class("scalar-fp", 5, 12, KERNELS),
    Class("simd-crypto", 8, 30, KERNELS),
    Class("x87", 10, 20, KERNELS),
    Class("memory", 10, 100, KERNELS),
    Class("system", 1.3, 2.5, None),
]

# Once on each machine, before anything is timed.
SETUP = "cp /bench/data data && gzip -kc data >d.gz && xz -1kc data >d.xz && zstd -qkc data >d.zst && cat /usr/bin/python3 >c"

SH_LOOP = "i=0; n=1; while [ $i -lt 60000 ]; do i=$((i + 1)); n=$((n * 31 % 65521)); done; echo $n"
STB = "gcc -O2 -w -D%s_IMPLEMENTATION -c -x c -o %s.o /usr/include/stb/%s.h"


def kernel(of, program, *names):
    return [Workload(of, name, f"exec /bench/{program} {name}", None) for name in names]


WORKLOADS = [
    Workload("compression", "gzip -6", "exec gzip -6nc data >out", "sha256sum out"),
    Workload("compression", "gunzip", "exec gzip -dc d.gz >out", "cmp out data"),
    Workload("compression", "xz -1", "exec xz -1c data >out", "sha256sum out"),
    Workload("compression", "unxz", "exec xz -dc d.xz >out", "cmp out data"),
    Workload("compression", "zstd -9", "exec zstd -9 -q -c --single-thread data >out", "sha256sum out"),
    Workload("compression", "unzstd x4", "for i in 1 2 3 4; do zstd -dqc d.zst >out; done", "cmp out data"),
    Workload("interpreters", "python start x4",
             "for i in 1 2 3 4; do python3 -c 'import json, re; print(json.dumps([1]))'; done", None),
    Workload("interpreters", "python loop", "exec python3 /bench/src/loop.py", None),
    Workload("interpreters", "python objects", "exec python3 /bench/src/objects.py", None),
    Workload("interpreters", "python float", "exec python3 /bench/src/float.py", None),
    Workload("interpreters", "lua", "exec lua5.4 /bench/src/work.lua", None),
    Workload("interpreters", "sh loop", SH_LOOP, None),
    Workload("interpreters", "sqlite", "exec sqlite3 :memory: </bench/src/work.sql", None),
    Workload("compilers", "gcc -O2", "exec " + STB % ("STB_TRUETYPE", "tt", "stb_truetype"), "sha256sum tt.o"),
    Workload("compilers", "make -j2", "rm -f stb_*.o; exec make -s -j2 -f /bench/src/stb.mk", "sha256sum stb_*.o"),
    *kernel("integer", "integer", "mix", "sieve", "qsort", "fib", "interp"),
    *kernel("scalar-fp", "fp", "whetstone", "nbody", "linpack"),
    *kernel("simd-crypto", "fp", "dot"),
    *kernel("simd-crypto", "crypto", "aes-gcm", "sha256", "rsa", "x25519"),
    *kernel("x87", "fp", "x87"),
    *kernel("memory", "system", "memcpy", "clear", "pipe16k"),
    *kernel("system", "system", "getppid", "signal", "fault", "forkexec", "pingpong", "futex"),
]
