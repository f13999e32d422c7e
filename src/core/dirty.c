/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dirty pages (dirty.h): each block of RAM has one bitmap (mem/ram.h), which devices' writes and
 * those of an interpreting engine reach by themselves; an engine that runs guests on the processor
 * adds what it was told. Control thread.
 */
#include "base/base.h"
#include "core/accel.h"
#include "core/dirty.h"
#include "core/vm.h"

int dirty_start(struct vm *vm, struct err *e)
{
	const struct map_view *view = map_view(vm->map);

	for (size_t i = 0; i < view->n[MAP_MEM]; i++) {
		const struct map_region *r = view->range[MAP_MEM][i].region;
		bool seen = r->kind != MAP_RAM;
		int ret;

		for (size_t k = 0; k < i && !seen; k++)
			seen = view->range[MAP_MEM][k].region->rb == r->rb;
		ret = seen ? 0 : ram_dirty_start(r->rb, e);
		if (ret < 0)
			return ret;
	}
	return vm->accel->dirty_start ? vm->accel->dirty_start(vm, e) : 0;
}

int dirty_fetch(struct vm *vm, struct ram_block *rb, uint64_t *bitmap, uint64_t *pages,
		struct err *e)
{
	int r = vm->accel->dirty_sync ? vm->accel->dirty_sync(vm, rb, e) : 0;

	*pages = r < 0 ? 0 : ram_dirty_fetch(rb, bitmap);
	return r;
}

void dirty_stop(struct vm *vm)
{
	if (vm->accel->dirty_stop)
		vm->accel->dirty_stop(vm);
}
