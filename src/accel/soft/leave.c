/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other engines leave the guest for, counted as exits of this one: accesses to registers of
 * devices, MSRs, CPUID, halts. There is no way out and in to pay here, so only handling costs. On
 * the vCPU's thread; the counters are in struct vcpu (core/exits.h).
 */
#include "accel/soft/cpu.h"
#include <x86intrin.h>

void cpu_note_exit(struct soft_cpu *c, enum exit_reason reason, uint64_t where, uint64_t start)
{
	uint64_t rip = c->cur ? cpu_cur_rip(c) : c->rip;

	exits_note(&c->vcpu->exits, reason, where, rip, __rdtsc() - start);
}

void cpu_access(struct soft_cpu *c, enum map_space space, uint64_t addr, void *data, unsigned size,
		bool write)
{
	uint64_t start = __rdtsc();

	map_access(c->map, space, addr, data, size, write);
	cpu_note_exit(c,
		      space == MAP_PIO ? EXIT_PORT_READ + write : EXIT_MMIO_READ + write, addr,
		      start);
}
