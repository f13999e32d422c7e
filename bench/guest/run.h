/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernels of `make bench` share: each program holds some of them and runs the named one. A
 * kernel does all its work n times and returns a value that depends on it, which is printed:
 * engines whose guests print different values compute different things (../compare.py looks).
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kernel {
	const char *name;
	uint64_t (*run)(unsigned n);
	unsigned n; /* how often without a second argument */
};

/* A step of xorshift64 (Marsaglia, Journal of Statistical Software 8 (14), 2003). */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline int run_main(const struct kernel *list, size_t nr, int argc, char **argv)
{
	for (size_t i = 0; i < nr && argc > 1; i++) {
		if (!strcmp(list[i].name, argv[1])) {
			unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : list[i].n;

			printf("%s %016llx\n", argv[1], (unsigned long long)list[i].run(n));
			return 0;
		}
	}
	fprintf(stderr, "usage: %s KERNEL [times]\n", argv[0]);
	return 2;
}

#define RUN_MAIN(list)                                                             \
	int main(int argc, char **argv)                                            \
	{                                                                          \
		return run_main(list, sizeof(list) / sizeof(*(list)), argc, argv); \
	}

#endif
