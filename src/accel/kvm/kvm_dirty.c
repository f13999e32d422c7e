/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages a KVM guest writes (core/dirty.h): by a bitmap of each memory slot, or by a ring of
 * each vCPU (-accel kvm,dirty-ring-size=N) that costs what was written and not what there is.
 * Writes by devices are seen by mem/ram.h and come to the same bitmap.
 *
 * Control thread; a vCPU's thread when its ring is full, or when it changes the map. All under
 * slots_lock. Source: api.rst 4.8 (KVM_GET_DIRTY_LOG), 4.117 (KVM_CLEAR_DIRTY_LOG), 8.29 (ring).
 */
#include "base/base.h"
#include "accel/kvm/kvm_int.h"
#include "base/log.h"
#include "base/trace.h"
#include <sys/mman.h>

/* #syscalls control vcpu migr: ioctl(KVM_CLEAR_DIRTY_LOG) ioctl(KVM_GET_DIRTY_LOG)
 * ioctl(KVM_RESET_DIRTY_RINGS) */
/* #syscalls control vcpu: ioctl(KVM_ENABLE_CAP) */

/* KVM keeps some entries of a ring back for what one exit may still write. */
#define MIN_RING 1024u

/* ---- setting up ---- */

static int enable(struct kvm_vm *kv, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { arg } };

	return kvm_ioctl(kv->fd, KVM_ENABLE_CAP, &c);
}

/* The newer one is the same with ordered accesses spelled out, as other hosts need. */
static uint32_t ring_cap(const struct kvm_vm *kv, int *max)
{
	*max = kvm_cap(kv, KVM_CAP_DIRTY_LOG_RING_ACQ_REL);
	if (*max > 0)
		return KVM_CAP_DIRTY_LOG_RING_ACQ_REL;
	*max = kvm_cap(kv, KVM_CAP_DIRTY_LOG_RING);
	return KVM_CAP_DIRTY_LOG_RING;
}

int kvm_dirty_init(struct kvm_vm *kv, struct err *e)
{
	uint32_t len = kv->vm->conf ? kv->vm->conf->dirty_ring_size : 0, cap;
	int max, r;

	if (!len)
		return 0;
	cap = ring_cap(kv, &max);
	if (max <= 0)
		return err_set(e, ENOTSUP,
			       "dirty-ring-size=%u: this host's KVM has no dirty rings, which "
			       "Linux has since 5.11; leave it out",
			       len);
	if (len < MIN_RING || !is_pow2(len) || len > (unsigned)max / sizeof(struct kvm_dirty_gfn))
		return err_set(e, EINVAL,
			       "dirty-ring-size=%u: a power of two from %u to %zu is needed", len,
			       MIN_RING, (size_t)max / sizeof(struct kvm_dirty_gfn));
	r = enable(kv, cap, len * sizeof(struct kvm_dirty_gfn));
	if (r < 0)
		return err_set_errno(e, -r, "KVM refuses dirty rings of %u entries", len);
	kv->ring_len = len;
	return 0;
}

static size_t ring_bytes(const struct kvm_vm *kv)
{
	return kv->ring_len * sizeof(struct kvm_dirty_gfn);
}

int kvm_dirty_vcpu_init(struct kvm_vcpu *c, struct err *e)
{
	void *at;

	if (!c->kv->ring_len)
		return 0;
	at = mmap(NULL, ring_bytes(c->kv), PROT_READ | PROT_WRITE, MAP_SHARED, c->fd,
		  KVM_DIRTY_LOG_PAGE_OFFSET * 4096l);
	if (at == MAP_FAILED)
		return err_set_errno(e, errno, "the dirty ring of vCPU %u", c->vcpu->index);
	pthread_mutex_lock(&c->kv->slots_lock);
	c->ring = at;
	pthread_mutex_unlock(&c->kv->slots_lock);
	return 0;
}

void kvm_dirty_vcpu_fini(struct kvm_vcpu *c)
{
	if (c->ring)
		munmap(c->ring, ring_bytes(c->kv));
	c->ring = NULL;
}

/* ---- what was written, into the blocks' own bitmaps; with slots_lock ---- */

static void mark_slot(const struct kvm_slot *s, uint64_t first_page, uint64_t pages)
{
	ram_mark_dirty(s->rb, (uint64_t)(s->host - s->rb->host) + first_page * RAM_PAGE_SIZE,
		       pages * RAM_PAGE_SIZE);
}

static void mark_gfn(struct kvm_vm *kv, uint32_t slot, uint64_t page)
{
	/* Above is the address space: that of system management mode has the same slots. */
	unsigned n = slot & 0xffff;
	const struct kvm_slot *s = n < kv->nr_slots ? &kv->slots[n] : NULL;

	if (s && s->size && page < s->size / RAM_PAGE_SIZE)
		mark_slot(s, page, 1);
}

static unsigned drain_ring(struct kvm_vcpu *c)
{
	unsigned n;

	for (n = 0; n < c->kv->ring_len; n++) {
		struct kvm_dirty_gfn *g = &c->ring[c->ring_at & (c->kv->ring_len - 1)];

		if (!(__atomic_load_n(&g->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
			break;
		mark_gfn(c->kv, g->slot, g->offset);
		__atomic_store_n(&g->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		c->ring_at++;
	}
	return n;
}

static void drain_rings(struct kvm_vm *kv)
{
	const struct vm *vm = kv->vm;
	unsigned n = 0;

	for (unsigned i = 0; i < vm->nr_vcpus; i++) {
		struct kvm_vcpu *c = vm->vcpus[i] ? kvm_vcpu(vm->vcpus[i]) : NULL;

		if (c && c->ring)
			n += drain_ring(c);
	}
	if (n)
		kvm_ioctl(kv->fd, KVM_RESET_DIRTY_RINGS, NULL);
	trace_kvm_dirty_ring_reap(n);
}

/* Of the bitmap only what is told to be clear again; what is written meanwhile stays. */
static int read_bitmap(struct kvm_vm *kv, unsigned space, unsigned n, struct err *e)
{
	const struct kvm_slot *s = &kv->slots[n];
	uint64_t pages = s->size / RAM_PAGE_SIZE, words = (pages + 63) / 64;
	autofree uint64_t *bits = xcalloc(words, sizeof(*bits));
	struct kvm_dirty_log get = { .slot = space << 16 | n, .dirty_bitmap = bits };
	struct kvm_clear_dirty_log clear = { .slot = get.slot,
					     .num_pages = (uint32_t)pages,
					     .dirty_bitmap = bits };
	int r = kvm_ioctl(kv->fd, KVM_GET_DIRTY_LOG, &get);

	if (r >= 0 && kv->clears_bits)
		r = kvm_ioctl(kv->fd, KVM_CLEAR_DIRTY_LOG, &clear);
	trace_kvm_clear_dirty_log(n, 0, clear.num_pages);
	if (r < 0)
		return err_set_errno(e, -r, "KVM does not tell which pages of slot %u are dirty",
				     n);
	for (uint64_t i = 0; i < words; i++)
		for (uint64_t w = bits[i]; w; w &= w - 1)
			mark_gfn(kv, n, i * 64 + (uint64_t)__builtin_ctzll(w));
	return 0;
}

/* ---- for core ---- */

int kvm_dirty_start(struct vm *vm, struct err *e)
{
	struct kvm_vm *kv = vm->accel_state;
	int r;

	/* Without it a bitmap's pages are protected again as they are read, all at once. */
	kv->clears_bits = !kv->ring_len && kvm_cap(kv, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) & 1 &&
			  enable(kv, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1) >= 0;
	r = kvm_slots_set_logging(kv, true);
	return r < 0 ? err_set_errno(e, -r, "KVM does not log dirty pages") : 0;
}

void kvm_dirty_stop(struct vm *vm)
{
	int r = kvm_slots_set_logging(vm->accel_state, false);

	if (r < 0)
		log_warn("KVM goes on logging dirty pages: %s", strerror(-r));
}

static void nothing(struct vcpu *v, void *arg)
{
}

/* What a processor has logged and not yet put into its vCPU's ring is there when it comes out. */
static void flush_vcpus(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nr_vcpus; i++)
		vm_run_on(vm->vcpus[i], nothing, NULL);
}

int kvm_dirty_sync(struct vm *vm, struct ram_block *rb, struct err *e)
{
	struct kvm_vm *kv = vm->accel_state;
	int r = 0;

	if (kv->ring_len)
		flush_vcpus(vm);
	pthread_mutex_lock(&kv->slots_lock);
	if (kv->ring_len)
		drain_rings(kv);
	for (unsigned n = 0; !kv->ring_len && n < kv->nr_slots && !r; n++) {
		if (!kv->slots[n].size || kv->slots[n].rb != rb || kv->slots[n].read_only)
			continue;
		for (unsigned space = 0; space < (kv->smm_memory ? 2u : 1u) && !r; space++)
			r = read_bitmap(kv, space, n, e);
	}
	pthread_mutex_unlock(&kv->slots_lock);
	return r;
}

void kvm_dirty_ring_full(struct kvm_vm *kv)
{
	pthread_mutex_lock(&kv->slots_lock);
	drain_rings(kv);
	pthread_mutex_unlock(&kv->slots_lock);
}

/* A bitmap is gone with its slot, so every page may have been written. Rings still say which. */
void kvm_dirty_slot_gone(struct kvm_vm *kv, const struct kvm_slot *s)
{
	if (!kv->logging || s->read_only)
		return;
	if (kv->ring_len)
		drain_rings(kv);
	else
		mark_slot(s, 0, s->size / RAM_PAGE_SIZE);
}
