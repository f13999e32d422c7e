/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private views of a kernel's file over guest memory. Pages that the guest reads are the host's
 * page cache, which all guests of one kernel share; pages that it writes are copied.
 *
 * What makes that safe is a read lease (core/lease.h): whoever opens the file for writing or
 * truncates it waits until we have taken copies of all pages and given the lease back. An upgrade
 * that puts a new file in the old one's place does not concern us. Where there is no lease the
 * kernel is copied as ever.
 *
 * Control thread. State: none of the machine's.
 */
#include "base/base.h"

#include "base/log.h"
#include "core/vm.h"
#include "fw/kernel_map.h"
#include "mem/map.h"
#include <string.h>

/* Somebody wants to write: the lease goes back when nothing of the file is in use any more. */
static void give_back(struct lease *l)
{
	struct vm *vm = l->vm;
	bool ran = vm->state == VM_RUNNING;
	int ret;

	log_debug("somebody opens the kernel's file for writing: its pages are copied");
	if (ran)
		vm_pause(vm);
	ret = ram_own_files(vm->ram);
	if (ran)
		vm_resume(vm);
	if (ret < 0) {
		log_error("the kernel's file is about to be changed, and there is no memory for a "
			  "copy: %s",
			  strerror(-ret));
		vm_request_shutdown(vm, VM_CAUSE_ENGINE_FAILURE);
	}
	lease_give_back(l);
}

bool kernel_map_lease(struct kernel_map *k, struct vm *vm, int fd)
{
	if (k->lease.held)
		return true;
	k->lease.broken = give_back;
	return vm->ram && vm->ram->anonymous && lease_take(&k->lease, vm, fd);
}

/* Where [gpa, gpa + len) lies in the machine's RAM, if that is one piece of it. */
static bool ram_offset(struct kernel_map *k, uint64_t gpa, uint64_t len, uint64_t *off)
{
	const struct map_range *r = map_find(map_view(k->lease.vm->map), MAP_MEM, gpa);

	if (!r || r->region->kind != MAP_RAM || r->region->rb != k->lease.vm->ram ||
	    len - 1 > r->last - gpa)
		return false;
	*off = r->region->rb_off + (gpa - r->addr);
	return true;
}

uint64_t kernel_map_segment(struct kernel_map *k, uint64_t gpa, uint64_t off, uint64_t len)
{
	uint64_t whole = align_down(len, RAM_PAGE_SIZE), at;

	if (!k->lease.held || whole < KERNEL_MAP_MIN || ((gpa | off) & (RAM_PAGE_SIZE - 1)) ||
	    !ram_offset(k, gpa, whole, &at))
		return 0;
	return ram_map_file(k->lease.vm->ram, at, k->lease.fd, off, whole) ? 0 : whole;
}

/* The guest's memory goes too. */
void kernel_map_fini(struct kernel_map *k)
{
	lease_give_back(&k->lease);
}
