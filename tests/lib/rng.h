/* SPDX-License-Identifier: Apache-2.0 */
/* Repeatable random numbers for tests (splitmix64): the same seed gives the same run. */
#ifndef TEST_RNG_H
#define TEST_RNG_H

#include "base/base.h"

struct rng {
	uint64_t state;
};

static inline uint64_t rng_u64(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* 0 .. n-1 */
static inline unsigned rng_below(struct rng *r, unsigned n)
{
	return (unsigned)(((rng_u64(r) >> 32) * n) >> 32);
}

/* true once in n */
static inline bool rng_one_in(struct rng *r, unsigned n)
{
	return rng_below(r, n) == 0;
}

#endif
