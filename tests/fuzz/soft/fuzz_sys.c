/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random code on a machine with random tables and control state: whatever a guest does, the
 * engine neither crashes nor hangs nor aborts, and events keep being noticed.
 *
 * Input: a header, then patches of the low 64 KiB (descriptor tables, TSS, page tables), then
 * code.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "soft_vm.h"

#define RUN_NS (300 * NS_PER_US)

struct header {
	uint8_t mode; /* bits 0-1: 16, 32, 64; bit 2: user; bit 3: an interrupt; 4: SMI; 5: NMI */
	uint8_t patches;
	uint8_t vector;
	uint8_t seg;	   /* whose attributes are mixed up */
	uint32_t cr0, cr4; /* bits to flip */
	uint32_t rflags;
	uint16_t attr;
	uint16_t efer;
	uint32_t dr7, gpr;
};

static void on_timer(struct vcpu *v)
{
	vcpu_kick(v, VCPU_EV_REQ);
}

static struct tvm *machine(void)
{
	static struct tvm *t;

	if (!t) {
		t = tvm_new(1, "max");
		t->ops.timer = on_timer;
	}
	return t;
}

static const uint8_t *take(const uint8_t **p, const uint8_t *end, size_t n)
{
	const uint8_t *at = *p;

	if ((size_t)(end - at) < n)
		return NULL;
	*p += n;
	return at;
}

static void patch_memory(struct tvm *t, unsigned n, const uint8_t **p, const uint8_t *end)
{
	while (n--) {
		const uint8_t *q = take(p, end, 11);
		unsigned off;

		if (!q)
			return;
		off = ld_le16(q) % 0xa000;
		tvm_put(t, off, q + 3, MIN(q[2] & 7u, 7u) + 1);
	}
}

static bool mix_state(struct tvm *t, const struct header *h)
{
	static struct cpu_state s;
	struct err e = { 0 };

	tvm_get(t, 0, &s);
	s.cr0 ^= h->cr0 & (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_PG);
	s.cr4 ^= h->cr4 & 0x377fff;
	s.efer ^= h->efer;
	s.rflags ^= h->rflags & 0x3f7fd5;
	s.seg[h->seg % SEG_NR].attr ^= h->attr & 0x1fff;
	s.dr7 = 0x400 | (h->dr7 & 0xffff23ff);
	for (unsigned i = 0; i < 4; i++)
		s.dr[i] = TVM_CODE + (h->gpr >> (8 * i) & 0xff);
	for (unsigned i = 0; i < 16; i++)
		if (i != RSP)
			s.gpr[i] = i & 1 ? h->gpr : h->gpr & 0xff;
	return !accel_soft.set_state(t->v[0], &s, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t bits[] = { 16, 32, 64, 64 };
	const uint8_t *p = data, *end = data + size, *q;
	struct tvm *t = machine();
	struct header h;

	q = take(&p, end, sizeof(h));
	if (!q)
		return 0;
	memcpy(&h, q, sizeof(h));
	memset(tvm_mem(t, 0), 0, 0xa000);
	ram_written(t->ram, 0, 0xa000);
	(h.mode & 4 && h.mode & 3 ? tvm_setup_user : tvm_setup)(t, 0, bits[h.mode & 3], TVM_CODE);
	patch_memory(t, h.patches % 32, &p, end);
	tvm_put(t, TVM_CODE, p, MIN((size_t)(end - p), (size_t)1024));
	if (!mix_state(t, &h))
		return 0;
	atomic_store(&t->v[0]->events, 0);
	if (h.mode & 8) {
		atomic_store(&t->intr[0], h.vector + 1);
		vcpu_kick(t->v[0], VCPU_EV_INTR);
	}
	if (h.mode & 0x30)
		vcpu_kick(t->v[0], h.mode & 0x10 ? VCPU_EV_SMI : VCPU_EV_NMI);
	atomic_store(&t->v[0]->deadline_ns, clock_now_ns() + RUN_NS);
	tvm_run(t, 0);
	return 0;
}
