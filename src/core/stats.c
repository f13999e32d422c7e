/* SPDX-License-Identifier: Apache-2.0 */
/* An engine's numbers (stats.h): asked for through core/accel.h. Control thread. */
#include "base/base.h"
#include "core/accel.h"
#include "core/stats.h"
#include "core/vm.h"

int stats_read(struct vm *vm, struct vcpu *v, struct stats *out, struct err *e)
{
	*out = (struct stats){ 0 };
	return vm->accel && vm->accel->stats ? vm->accel->stats(vm, v, out, e) : 0;
}

void stats_fini(struct stats *all)
{
	for (size_t i = 0; i < all->n; i++) {
		free(all->s[i].name);
		free(all->s[i].val);
	}
	free(all->s);
	*all = (struct stats){ 0 };
}
