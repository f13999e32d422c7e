/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells Linux' perf(1) which host code is which guest code (-perfmap, -jitdump): a block is
 * "guest-ADDRESS", with "-user" behind it at CPL 3. One of a VM; its files are opened before there are
 * threads, and written by those of the vCPUs.
 */
#ifndef SOFT_JIT_PERF_H
#define SOFT_JIT_PERF_H

#include "base/base.h"

struct jit_perf;

/*
 * map: /tmp/perf-PID.map, a line a block (linux/tools/perf/Documentation/jit-interface.txt). dump:
 * jit-PID.dump here, which also has the code and when it was made, for perf inject --jit
 * (jitdump-specification.txt beside that). NULL with e set when a file cannot be made.
 */
struct jit_perf *jit_perf_new(bool map, bool dump, struct err *e);
struct jit_perf *jit_perf_free(struct jit_perf *); /* returns NULL */

/* Host code that runs at `at`, and can be read there. Any thread. */
void jit_perf_note(struct jit_perf *, const char *name, const void *at, size_t size);

#endif
