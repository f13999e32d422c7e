/* SPDX-License-Identifier: Apache-2.0 */
/* What the vCPUs of one VM share: the CPU model and the stop-the-world lock. */
#ifndef SOFT_SOFT_VM_H
#define SOFT_SOFT_VM_H

#include "accel/soft/cpu.h"
#include "mem/map.h"
#include <pthread.h>

struct x86_cpu_model; /* isa/x86/cpuid.h */

struct soft_vm {
	struct vm *vm;
	struct map *map;
	struct x86_cpu_model *model;
	struct soft_cpu **cpus; /* nr_cpus slots by vcpu index; NULL where there is none (yet) */
	unsigned nr_cpus;
	struct map_listener listener; /* drops the TLBs when the map changes */

	/* Stop-the-world: run.c. running counts the vCPUs that execute guest code. */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned running;
	_Atomic bool exclusive;
};

#endif
