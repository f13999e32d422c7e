/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's binary statistics: a file of a VM or of a vCPU that says what is in it. A vCPU's is opened
 * with it, since KVM opens none while the vCPU runs or halts: whoever asks would wait until it
 * comes out. Control thread. Source: api.rst 4.134 (KVM_GET_STATS_FD), Linux 5.14.
 */
#include "base/base.h"
#include "accel/kvm/kvm_int.h"
#include "core/stats.h"
#include <unistd.h>

/* #syscalls control vcpu: ioctl(KVM_GET_STATS_FD) */
/* #syscalls control: pread64 */

#define MAX_STATS  4096u
#define MAX_NAME   256u
#define MAX_VALUES 4096u

static int read_at(int fd, void *to, size_t len, uint64_t off, struct err *e)
{
	ssize_t n = pread(fd, to, len, (off_t)off);

	if (n == (ssize_t)len)
		return 0;
	return err_set_errno(e, n < 0 ? errno : EIO, "KVM's statistics (%zu bytes at %" PRIu64 ")",
			     len, off);
}

static enum stat_type type_of(uint32_t flags)
{
	switch (flags & KVM_STATS_TYPE_MASK) {
	case KVM_STATS_TYPE_INSTANT:
		return STAT_INSTANT;
	case KVM_STATS_TYPE_PEAK:
		return STAT_PEAK;
	case KVM_STATS_TYPE_LINEAR_HIST:
		return STAT_LINEAR_HIST;
	case KVM_STATS_TYPE_LOG_HIST:
		return STAT_LOG2_HIST;
	default:
		return STAT_CUMULATIVE;
	}
}

static enum stat_unit unit_of(uint32_t flags)
{
	switch (flags & KVM_STATS_UNIT_MASK) {
	case KVM_STATS_UNIT_BYTES:
		return STAT_BYTES;
	case KVM_STATS_UNIT_SECONDS:
		return STAT_SECONDS;
	case KVM_STATS_UNIT_CYCLES:
		return STAT_CYCLES;
	case KVM_STATS_UNIT_BOOLEAN:
		return STAT_BOOLEAN;
	default:
		return STAT_NO_UNIT;
	}
}

static int read_one(int fd, const struct kvm_stats_header *h, const struct kvm_stats_desc *d,
		    struct stats *out, struct err *e)
{
	struct stat *s = &out->s[out->n];

	if (d->size > MAX_VALUES)
		return err_set(e, EPROTO, "KVM's statistics: one has %u values", d->size);
	*s = (struct stat){ .name = xasprintf("%.*s", (int)h->name_size, d->name),
			    .type = type_of(d->flags),
			    .unit = unit_of(d->flags),
			    .base = (d->flags & KVM_STATS_BASE_MASK) == KVM_STATS_BASE_POW2 ? 2
											    : 10,
			    .exponent = d->exponent,
			    .bucket_size = d->bucket_size,
			    .n = d->size,
			    .val = xcalloc(d->size ?: 1, sizeof(uint64_t)) };
	out->n++;
	return read_at(fd, s->val, s->n * sizeof(uint64_t), (uint64_t)h->data_offset + d->offset,
		       e);
}

static int read_all(int fd, struct stats *out, struct err *e)
{
	autofree struct kvm_stats_desc *d = NULL;
	struct kvm_stats_header h;
	size_t desc_len;
	int r = read_at(fd, &h, sizeof(h), 0, e);

	if (r)
		return r;
	if (h.num_desc > MAX_STATS || h.name_size > MAX_NAME)
		return err_set(e, EPROTO, "KVM's statistics: %u of them with names of %u bytes",
			       h.num_desc, h.name_size);
	desc_len = sizeof(*d) + h.name_size;
	d = xcalloc(1, desc_len);
	out->s = xcalloc(h.num_desc ?: 1, sizeof(*out->s));
	for (uint32_t i = 0; i < h.num_desc && !r; i++) {
		r = read_at(fd, d, desc_len, h.desc_offset + (uint64_t)i * desc_len, e);
		if (!r)
			r = read_one(fd, &h, d, out, e);
	}
	return r;
}

/* Outside the guest: KVM makes who asks for a vCPU's wait as long as that one runs or halts. */
static void open_stats(struct vcpu *v, void *arg)
{
	kvm_vcpu(v)->stats_fd = kvm_ioctl(kvm_vcpu(v)->fd, KVM_GET_STATS_FD, NULL);
}

static int vcpu_stats(struct vcpu *v, struct stats *out, struct err *e)
{
	struct kvm_vcpu *c = kvm_vcpu(v);

	if (c->stats_fd < 0)
		vm_run_on(v, open_stats, NULL);
	return c->stats_fd < 0 ? 0 : read_all(c->stats_fd, out, e);
}

int kvm_stats(struct vm *vm, struct vcpu *v, struct stats *out, struct err *e)
{
	const struct kvm_vm *kv = vm->accel_state;
	autoclose int vm_fd = -1;
	int r;

	if (v)
		return vcpu_stats(v, out, e);
	if (kvm_cap(kv, KVM_CAP_BINARY_STATS_FD) <= 0)
		return 0;
	vm_fd = r = kvm_ioctl(kv->fd, KVM_GET_STATS_FD, NULL);
	if (r < 0)
		return err_set_errno(e, -r, "KVM does not open its statistics");
	return read_all(vm_fd, out, e);
}
