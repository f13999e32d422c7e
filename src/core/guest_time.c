/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's time while its machine stands still (vm.h). Devices keep moments as the host's clocks
 * read; when the machine goes on they are moved by as much as those ran on meanwhile, so that the
 * guest finds no gap. Control thread, everything at a stand. State: vm->stopped_ns and stopped_tsc.
 */
#include "base/base.h"
#include "core/accel.h"
#include "core/arch.h"
#include "core/dev.h"
#include "core/vm.h"

void vm_time_stops(struct vm *vm)
{
	struct host_moment now = host_now();

	vm->stopped_ns = now.ns;
	vm->stopped_tsc = now.tsc;
}

void vm_time_goes_on(struct vm *vm)
{
	struct host_moment now = host_now();
	uint64_t ns = now.ns - vm->stopped_ns, tsc = now.tsc - vm->stopped_tsc;

	if (vm->bare || !vm->accel->hold_time)
		return;
	vm->accel->hold_time(vm, ns, tsc);
	arch_time_moved(vm, ns, tsc);
	for (struct dev *d = vm->devs; d; d = d->next) {
		if (d->type->state)
			state_shift(d->type->state, d, ns, tsc);
	}
}
