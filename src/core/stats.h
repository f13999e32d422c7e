/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that a CPU engine keeps about a VM or a vCPU, with what they mean: each engine has its
 * own. Control thread; the vCPUs may run.
 */
#ifndef CORE_STATS_H
#define CORE_STATS_H

#include "base/base.h"

struct vm;
struct vcpu;

enum stat_type { STAT_CUMULATIVE, STAT_INSTANT, STAT_PEAK, STAT_LINEAR_HIST, STAT_LOG2_HIST };
enum stat_unit { STAT_NO_UNIT, STAT_BYTES, STAT_SECONDS, STAT_CYCLES, STAT_BOOLEAN };

/* A value v counts v * base^exponent units; several are the buckets of a histogram. */
struct stat {
	char *name;
	enum stat_type type;
	enum stat_unit unit;
	unsigned base; /* 2 or 10 */
	int exponent;
	uint32_t bucket_size; /* STAT_LINEAR_HIST */
	size_t n;
	uint64_t *val; /* n of them */
};

struct stats {
	size_t n;
	struct stat *s;
};

/* Of one vCPU, or with v NULL of the VM. None when the engine keeps none. stats_fini() in any case.
 */
int stats_read(struct vm *, struct vcpu *v, struct stats *out, struct err *e) MUST_CHECK;
void stats_fini(struct stats *);

#endif
