/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events between guests and file descriptors that KVM passes on by itself: writes that signal an
 * eventfd (ioeventfd). They follow the address map as memory slots do. On the thread that commits.
 * Source: api.rst 4.59 (KVM_IOEVENTFD).
 */
#include "base/base.h"
#include "accel/kvm/kvm_int.h"
#include "base/log.h"
#include "base/trace.h"

/* #syscalls control vcpu io: ioctl(KVM_IOEVENTFD) */

static bool same_bell(const struct kvm_bell *a, const struct kvm_bell *b)
{
	return a->space == b->space && a->addr == b->addr && a->size == b->size &&
	       a->match == b->match && a->val == b->val && a->fd == b->fd;
}

static bool has(const struct kvm_bell *list, unsigned n, const struct kvm_bell *bell)
{
	for (unsigned i = 0; i < n; i++)
		if (same_bell(&list[i], bell))
			return true;
	return false;
}

/* What the guest sees of a range's doorbells; returns how many there are then. */
static unsigned add_range(enum map_space space, const struct map_range *r, struct kvm_bell *out,
			  unsigned n)
{
	for (unsigned i = 0; i < r->region->nr_doorbells; i++) {
		const struct map_doorbell *d = &r->region->doorbells[i];
		uint64_t addr = r->addr + d->off;

		if (addr < r->first || addr > r->last)
			continue;
		if (out)
			out[n] = (struct kvm_bell){ space, addr, d->val, d->size, d->match, d->fd };
		n++;
	}
	return n;
}

/* All of a view; out NULL: only counts. */
static unsigned list_bells(const struct map_view *now, struct kvm_bell *out)
{
	unsigned n = 0;

	for (unsigned space = 0; space < MAP_NR; space++)
		for (size_t i = 0; i < now->n[space]; i++)
			n = add_range((enum map_space)space, &now->range[space][i], out, n);
	return n;
}

static void tell(struct kvm_vm *kv, const struct kvm_bell *b, bool add)
{
	struct kvm_ioeventfd k = {
		.addr = b->addr,
		.len = b->size,
		.datamatch = b->val,
		.fd = b->fd,
		.flags = (b->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0u) |
			 (b->space == MAP_PIO ? KVM_IOEVENTFD_FLAG_PIO : 0u) |
			 (add ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};
	int r = kvm_ioctl(kv->fd, KVM_IOEVENTFD, &k);

	if (b->space == MAP_PIO)
		trace_kvm_set_ioeventfd_pio(b->fd, b->addr, b->val, add, b->size, b->match);
	else
		trace_kvm_set_ioeventfd_mmio(b->fd, b->addr, b->val, add, b->size, b->match);
	if (r < 0)
		log_warn("KVM does not %s eventfd %d for writes to guest address %#" PRIx64
			 " (KVM_IOEVENTFD: %s); they reach the device by exits, which are slower",
			 add ? "signal" : "let go of", b->fd, b->addr, strerror(-r));
}

void kvm_doorbells_follow(struct kvm_vm *kv, const struct map_view *now)
{
	unsigned n = list_bells(now, NULL);
	struct kvm_bell *want;

	if (!n && !kv->nr_bells)
		return;
	want = xnew_n(struct kvm_bell, n ? n : 1);
	list_bells(now, want);
	for (unsigned i = 0; i < kv->nr_bells; i++)
		if (!has(want, n, &kv->bells[i]))
			tell(kv, &kv->bells[i], false);
	for (unsigned i = 0; i < n; i++)
		if (!has(kv->bells, kv->nr_bells, &want[i]))
			tell(kv, &want[i], true);
	free(kv->bells);
	kv->bells = want;
	kv->nr_bells = n;
}
