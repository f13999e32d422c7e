/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rate of the host's time stamp counter, on x86 hosts: as its kernel says, or from CPUID where
 * it says (leaf 15h, Intel SDM vol. 2A; a hypervisor's leaf 40000010h), else measured against
 * CLOCK_MONOTONIC, which takes as long as a start.
 */
#include "base/base.h"
#include "base/clock.h"
#include "core/vm.h"
#include <cpuid.h>
#include <x86intrin.h>

#define MEASURE_NS     (20 * NS_PER_MS)
#define LEAF_TSC       0x15u
#define LEAF_HV_BASE   0x40000000u
#define LEAF_HV_TIMING 0x40000010u
#define HYPERVISOR_BIT BIT32(31) /* CPUID.1:ECX */

uint64_t host_tsc(void)
{
	return __rdtsc();
}

static uint64_t khz_from_cpuid(void)
{
	uint32_t a, b, c, d;

	if (__get_cpuid_count(LEAF_TSC, 0, &a, &b, &c, &d) && a && b && c)
		return mul_div_u64(c, b, a) / 1000;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & HYPERVISOR_BIT))
		return 0;
	__cpuid(LEAF_HV_BASE, a, b, c, d);
	if (a < LEAF_HV_TIMING || a > LEAF_HV_BASE + 0xffff)
		return 0;
	__cpuid(LEAF_HV_TIMING, a, b, c, d);
	return a;
}

/* The best of a few tries: the thread may lose its processor between the two. */
struct host_moment host_now(void)
{
	struct host_moment m = { 0 };
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 8; i++) {
		uint64_t before = __rdtsc(), now = clock_now_ns(), after = __rdtsc();

		if (after - before < best) {
			best = after - before;
			m = (struct host_moment){ .ns = now, .tsc = before + best / 2 };
		}
	}
	return m;
}

static uint64_t khz_measured(void)
{
	struct timespec nap = { .tv_nsec = MEASURE_NS };
	struct host_moment from = host_now(), to;

	nanosleep(&nap, NULL);
	to = host_now();
	return mul_div_u64(to.tsc - from.tsc, NS_PER_SEC / 1000, MAX(to.ns - from.ns, (uint64_t)1));
}

uint64_t host_tsc_khz(uint64_t known)
{
	uint64_t khz = known ? known : khz_from_cpuid();

	return khz ? khz : khz_measured();
}
