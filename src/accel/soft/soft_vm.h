/* SPDX-License-Identifier: Apache-2.0 */
/* What the vCPUs of one VM share: the CPU model and the stop-the-world lock. */
#ifndef SOFT_SOFT_VM_H
#define SOFT_SOFT_VM_H

#include "accel/soft/cpu.h"
#include "isa/x86/cpuid.h"
#include "mem/map.h"
#include <pthread.h>

struct soft_vm {
	struct vm *vm;
	struct map *map;
	struct x86_cpu_model *model;
	struct soft_cpu **cpus; /* nr_cpus slots by vcpu index; NULL where there is none (yet) */
	unsigned nr_cpus;
	struct jit_perf *perf; /* jit/perf.h, or NULL: nobody wants to know */
	struct map_listener listener; /* drops the TLBs when the map changes */

	/* Stop-the-world: run.c. running counts the vCPUs that execute guest code. */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned running;
	_Atomic bool exclusive;
};

/* Whose way the guest sees where the vendors differ; a model has the vendor of the host. */
static inline bool cpu_is_amd(const struct soft_cpu *c)
{
	return c->vm->model->vendor == X86_VENDOR_AMD;
}

#endif
