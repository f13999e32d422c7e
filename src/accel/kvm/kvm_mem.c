/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's memory slots follow the address map: after each commit the RAM and ROM of the new view,
 * neighbours joined, are compared with the slots there are; what is equal stays untouched, so that
 * a moved BAR costs no slot. On the thread that commits (map.h). Source: api.rst 4.35, 8.x
 * (KVM_CAP_MULTI_ADDRESS_SPACE).
 *
 * In system management mode KVM looks at an address space of its own. It gets the same slots, but
 * not before a vCPU is to enter that mode, as most guests never do.
 *
 * Memory of a guest_memfd KVM can find without this process's page tables. It does so for slots
 * that are written, whose pages nobody logs, and for a page once; the others are slots of the
 * mapping of the same file. Such a slot cannot change, so it is removed and made anew.
 */
#include "base/base.h"
#include "accel/kvm/kvm_int.h"
#include "base/log.h"
#include "base/trace.h"
#include "base/uapi.h"

/* #syscalls control vcpu: ioctl(KVM_SET_USER_MEMORY_REGION)
 * ioctl(HK_KVM_SET_USER_MEMORY_REGION2) */
/* #syscalls control: ioctl(HK_KVM_CREATE_GUEST_MEMFD) */

/* One piece of RAM or ROM at a time out of a view; false at its end. */
static bool next_piece(const struct map_view *view, size_t *i, struct kvm_slot *out)
{
	for (out->size = 0; *i < view->n[MAP_MEM]; (*i)++) {
		const struct map_range *r = &view->range[MAP_MEM][*i];
		const struct map_region *g = r->region;
		const uint8_t *host;

		if (g->kind == MAP_IO) {
			if (out->size)
				return true;
			continue;
		}
		host = g->rb->host + g->rb_off + (r->first - r->addr);
		if (out->size &&
		    (out->gpa + out->size != r->first || out->host + out->size != host ||
		     out->read_only != (g->kind == MAP_ROM)))
			return true;
		if (!out->size)
			*out = (struct kvm_slot){ .gpa = r->first,
						  .host = host,
						  .rb = g->rb,
						  .read_only = g->kind == MAP_ROM };
		out->size += r->last - r->first + 1;
	}
	return out->size;
}

static bool same_slot(const struct kvm_slot *a, const struct kvm_slot *b)
{
	return a->gpa == b->gpa && a->size == b->size && a->host == b->host &&
	       a->read_only == b->read_only;
}

/* space: 0, or 1 in system management mode. */
static int tell_space(struct kvm_vm *kv, unsigned space, unsigned n, const struct kvm_slot *s)
{
	struct kvm_userspace_memory_region r = {
		.slot = space << 16 | n,
		.flags = !s->size	? 0u
			 : s->read_only ? KVM_MEM_READONLY
			 : kv->logging	? KVM_MEM_LOG_DIRTY_PAGES
					: 0u,
		.guest_phys_addr = s->gpa,
		.memory_size = s->size,
		.userspace_addr = (uintptr_t)s->host,
	};
	int ret = kvm_ioctl(kv->fd, KVM_SET_USER_MEMORY_REGION, &r);

	trace_kvm_set_user_memory(r.slot, r.flags, s->gpa, s->size, r.userspace_addr, ret);
	return ret;
}

static int tell_bound(struct kvm_vm *kv, unsigned n, const struct kvm_slot *s)
{
	uint64_t off = (uint64_t)(s->host - s->rb->host);
	struct hk_kvm_memory_region2 r = {
		.slot = n,
		.flags = HK_KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = s->gpa,
		.memory_size = s->size,
		.userspace_addr = (uintptr_t)s->host,
		.guest_memfd = (uint32_t)s->rb->fd,
		.guest_memfd_offset = s->rb->fd_off + off,
	};
	int ret = kvm_ioctl(kv->fd, HK_KVM_SET_USER_MEMORY_REGION2, &r);

	trace_kvm_set_user_memory(n, r.flags, s->gpa, s->size, r.userspace_addr, ret);
	return ret;
}

/* Whether slot n can have its pages from its guest_memfd, each of which KVM binds once. */
static bool can_bind(const struct kvm_vm *kv, unsigned n)
{
	const struct kvm_slot *s = &kv->slots[n];

	if (!s->rb->engines || s->read_only || kv->logging)
		return false;
	for (unsigned i = 0; i < kv->nr_slots; i++) {
		const struct kvm_slot *o = &kv->slots[i];

		if (i != n && o->bound && o->host < s->host + s->size &&
		    s->host < o->host + o->size)
			return false;
	}
	return true;
}

static int remove_slot(struct kvm_vm *kv, unsigned n)
{
	struct kvm_slot gone = { .gpa = kv->slots[n].gpa };
	int r = tell_space(kv, 0, n, &gone);

	kv->slots[n].bound &= r < 0;
	return r < 0 || !kv->smm_memory ? r : tell_space(kv, 1, n, &gone);
}

/* Tells KVM of a slot that it does not have, or that changes in no more than its logging. */
static int tell_slot(struct kvm_vm *kv, unsigned n)
{
	struct kvm_slot *s = &kv->slots[n];
	int r;

	s->bound = can_bind(kv, n);
	r = s->bound ? tell_bound(kv, n, s) : tell_space(kv, 0, n, s);
	s->bound &= r >= 0;
	return r < 0 || !kv->smm_memory ? r : tell_space(kv, 1, n, s);
}

static bool wanted(const struct map_view *now, const struct kvm_slot *slot)
{
	struct kvm_slot piece;

	for (size_t i = 0; next_piece(now, &i, &piece);)
		if (same_slot(&piece, slot))
			return true;
	return false;
}

static int remove_stale(struct kvm_vm *kv, const struct map_view *now, struct err *e)
{
	static const struct kvm_slot none;

	for (unsigned n = 0; n < kv->nr_slots; n++) {
		const struct kvm_slot *s = &kv->slots[n];
		int r;

		if (!s->size || wanted(now, s))
			continue;
		r = remove_slot(kv, n);
		if (r < 0)
			return err_set_errno(
				e, -r,
				"KVM does not let go of memory slot %u (guest address "
				"%#" PRIx64 ", %" PRIu64
				" KiB; KVM_SET_USER_MEMORY_REGION): the guest would go "
				"on using memory that is no longer its own",
				n, s->gpa, s->size >> 10);
		kvm_dirty_slot_gone(kv, s);
		kv->slots[n] = none;
	}
	return 0;
}

static bool have(const struct kvm_vm *kv, const struct kvm_slot *piece)
{
	for (unsigned n = 0; n < kv->nr_slots; n++)
		if (kv->slots[n].size && same_slot(&kv->slots[n], piece))
			return true;
	return false;
}

/* Hosts have as many at the least; how many more is asked when it matters. */
#define SLOTS_EVERYWHERE 32u

static int free_slot(struct kvm_vm *kv)
{
	unsigned n = 0;

	while (n < kv->nr_slots && kv->slots[n].size)
		n++;
	if (n >= SLOTS_EVERYWHERE && !kv->max_slots)
		kv->max_slots = MAX((unsigned)kvm_cap(kv, KVM_CAP_NR_MEMSLOTS), SLOTS_EVERYWHERE);
	if (n >= SLOTS_EVERYWHERE && n >= kv->max_slots)
		return -ENOSPC;
	if (n == kv->nr_slots) {
		kv->slots = xrealloc(kv->slots, n + 1, sizeof(*kv->slots));
		kv->nr_slots++;
	}
	return (int)n;
}

static int add_piece(struct kvm_vm *kv, const struct kvm_slot *piece, struct err *e)
{
	int n = free_slot(kv), r;

	if (n < 0)
		return err_set(e, ENOSPC,
			       "KVM has %u memory slots, and all are taken: this machine has more "
			       "pieces of RAM and ROM than this host's KVM can keep apart",
			       kv->max_slots);
	kv->slots[n] = *piece;
	r = tell_slot(kv, (unsigned)n);
	if (r < 0)
		kv->slots[n] = (struct kvm_slot){ .size = 0 };
	if (r < 0)
		return err_set_errno(e, -r,
				     "KVM refuses memory slot %d (guest address %#" PRIx64
				     ", %" PRIu64
				     " KiB, KVM_SET_USER_MEMORY_REGION): the host may be short of "
				     "memory for it, or limit it (cgroup, RLIMIT_MEMLOCK)",
				     n, piece->gpa, piece->size >> 10);
	return 0;
}

static int change(struct kvm_vm *kv, const struct map_view *now, struct err *e)
{
	struct kvm_slot piece;
	/* Slots may not overlap at any moment, so the old go first. */
	int r = remove_stale(kv, now, e);

	for (size_t i = 0; !r && next_piece(now, &i, &piece);)
		if (!have(kv, &piece))
			r = add_piece(kv, &piece, e);
	return r;
}

static bool overlap(const struct kvm_slot *a, const struct kvm_slot *b)
{
	return a->gpa < b->gpa + b->size && b->gpa < a->gpa + a->size;
}

/* Whether memory that is there before and behind the change is gone in between. */
static bool has_gap(const struct kvm_vm *kv, const struct map_view *now)
{
	struct kvm_slot piece;

	for (size_t i = 0; next_piece(now, &i, &piece);) {
		if (have(kv, &piece))
			continue;
		for (unsigned n = 0; n < kv->nr_slots; n++)
			if (kv->slots[n].size && overlap(&kv->slots[n], &piece))
				return true;
	}
	return false;
}

static int follow(struct kvm_vm *kv, const struct map_view *now, struct err *e)
{
	bool hold = has_gap(kv, now);
	int r;

	/* An instruction fetched in the gap would be an error inside KVM. */
	if (hold)
		kvm_hold(kv);
	r = change(kv, now, e);
	if (hold)
		kvm_release(kv);
	return r;
}

static void map_changed(struct map_listener *l, const struct map_view *old,
			const struct map_view *now)
{
	struct kvm_vm *kv = container_of(l, struct kvm_vm, listener);
	struct err e = { 0 };
	int r;

	pthread_mutex_lock(&kv->slots_lock);
	r = follow(kv, now, &e);
	kvm_doorbells_follow(kv, now);
	pthread_mutex_unlock(&kv->slots_lock);
	if (r) {
		log_error("%s", e.msg);
		vm_request_shutdown(kv->vm, VM_CAUSE_ENGINE_FAILURE);
	}
}

static int retell_slot(struct kvm_vm *kv, unsigned n)
{
	bool bound = kv->slots[n].bound, bind = can_bind(kv, n);
	int r = 0;

	if (bound && bind)
		return 0;
	if (bound || bind)
		r = remove_slot(kv, n);
	return r < 0 ? r : tell_slot(kv, n);
}

static int retell_slots(struct kvm_vm *kv)
{
	int r = 0;

	for (unsigned n = 0; n < kv->nr_slots && r >= 0; n++)
		if (kv->slots[n].size && !kv->slots[n].read_only)
			r = retell_slot(kv, n);
	return r;
}

int kvm_slots_set_logging(struct kvm_vm *kv, bool on)
{
	int r;

	pthread_mutex_lock(&kv->slots_lock);
	if (kv->has_memfd) /* such slots are gone for a moment */
		kvm_hold(kv);
	kv->logging = on;
	r = retell_slots(kv);
	if (r < 0 && on) {
		kv->logging = false;
		retell_slots(kv);
	}
	if (kv->has_memfd)
		kvm_release(kv);
	pthread_mutex_unlock(&kv->slots_lock);
	return r;
}

int kvm_memory_fd(struct vm *vm, uint64_t size, struct err *e)
{
	struct kvm_vm *kv = vm->accel_state;
	struct hk_kvm_create_guest_memfd g = {
		.size = size, .flags = HK_KVM_GUEST_MEMFD_MMAP | HK_KVM_GUEST_MEMFD_INIT_SHARED
	};
	int flags = kvm_cap(kv, HK_KVM_CAP_GUEST_MEMFD_FLAGS);
	int fd;

	if (((uint64_t)flags & g.flags) != g.flags)
		return err_set(
			e, ENOTSUP,
			"guest_memfd: this host's KVM makes none that the host may touch too "
			"(capability %u is %#x, and %#x is needed), which Linux has since "
			"6.18: use a newer kernel, or leave guest-memfd=on out",
			HK_KVM_CAP_GUEST_MEMFD_FLAGS, (unsigned)flags, (unsigned)g.flags);
	fd = kvm_ioctl(kv->fd, HK_KVM_CREATE_GUEST_MEMFD, &g);
	if (fd < 0)
		return err_set_errno(e, -fd,
				     "KVM makes no guest_memfd of %" PRIu64
				     " bytes (KVM_CREATE_GUEST_MEMFD): try less memory, or leave "
				     "guest-memfd=on out",
				     size);
	kv->has_memfd = true;
	return fd;
}

int kvm_mem_smm(struct kvm_vm *kv)
{
	int r = 0;

	pthread_mutex_lock(&kv->slots_lock);
	if (!kv->smm_memory && kvm_cap(kv, KVM_CAP_MULTI_ADDRESS_SPACE) > 1) {
		kv->smm_memory = true;
		for (unsigned n = 0; n < kv->nr_slots && r >= 0; n++)
			if (kv->slots[n].size)
				r = tell_space(kv, 1, n, &kv->slots[n]);
	}
	pthread_mutex_unlock(&kv->slots_lock);
	return r;
}

int kvm_mem_init(struct kvm_vm *kv, struct err *e)
{
	kv->listener.commit = map_changed;
	map_add_listener(kv->vm->map, &kv->listener);
	return follow(kv, map_view(kv->vm->map), e);
}

void kvm_mem_fini(struct kvm_vm *kv)
{
	if (kv->listener.commit)
		map_del_listener(kv->vm->map, &kv->listener);
	kv->listener.commit = NULL;
	free(kv->bells);
	kv->bells = NULL;
	kv->nr_bells = 0;
	free(kv->slots);
	kv->slots = NULL;
	kv->nr_slots = 0;
}
