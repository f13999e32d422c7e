/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an x86 board does for a vCPU: joins local APIC and paravirtual features to the engine's
 * hooks (core/vcpu.h). All on the vCPU's thread.
 */
#include "base/base.h"
#include "arch/x86/board.h"
#include "base/clock.h"
#include "core/arch.h"
#include "isa/x86/cpuid.h"
#include "isa/x86/x86.h"
#include <x86intrin.h>

#define LEAF_KVM_FEATURES 0x40000001u
#define LEAF_KVM_TIMING	  0x40000010u

uint64_t x86_guest_tsc(const struct vcpu *v)
{
	return __rdtsc() + atomic_load_explicit(&v->tsc_offset, memory_order_relaxed);
}

/* With local APICs of the engine's there is only what our PICs ask for. */
static bool extint_up(struct vcpu *v)
{
	return __atomic_load_n(&x86_vcpu(v)->lapic.lint0, __ATOMIC_ACQUIRE) & LINT0_LINE;
}

static int op_get_intr(struct vcpu *v)
{
	struct x86_vcpu *x = x86_vcpu(v);
	int vector;

	if (v->vm->irqchip)
		return extint_up(v) ? x->lapic.bus->pic_ack(x->lapic.bus->opaque) : -1;
	pv_eoi_sync(v);
	vector = lapic_get_intr(&x->lapic);
	if (vector >= 0)
		pv_eoi_offer(v, vector);
	return vector;
}

static bool op_has_intr(struct vcpu *v)
{
	if (v->vm->irqchip)
		return extint_up(v);
	pv_eoi_sync(v);
	return lapic_has_intr(&x86_vcpu(v)->lapic);
}

static void op_eoi(struct vcpu *v, unsigned vector)
{
	struct apic_bus *bus = x86_vcpu(v)->lapic.bus;

	bus->eoi(bus->opaque, vector);
}

static void op_timer(struct vcpu *v)
{
	lapic_timer(&x86_vcpu(v)->lapic);
	pv_steal_poll(v);
}

static uint64_t op_get_tpr(struct vcpu *v)
{
	return x86_vcpu(v)->lapic.tpr >> 4;
}

static void op_set_tpr(struct vcpu *v, uint64_t tpr)
{
	lapic_set_tpr(&x86_vcpu(v)->lapic, (uint32_t)(tpr & 15) << 4);
}

static int op_read_msr(struct vcpu *v, uint32_t msr, uint64_t *val)
{
	int r;

	pv_eoi_sync(v);
	r = lapic_msr_read(&x86_vcpu(v)->lapic, msr, val);
	return r == -ENOENT ? pv_msr_read(v, msr, val) : r;
}

static int op_write_msr(struct vcpu *v, uint32_t msr, uint64_t val)
{
	int r;

	pv_eoi_sync(v);
	r = lapic_msr_write(&x86_vcpu(v)->lapic, msr, val);
	return r == -ENOENT ? pv_msr_write(v, msr, val) : r;
}

static void op_cpuid(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
	switch (leaf) {
	case 1:
		if (!lapic_hw_enabled(&x86_vcpu(v)->lapic))
			r[3] &= ~BIT32(9);
		break;
	case LEAF_KVM_FEATURES:
		pv_cpuid(r);
		break;
	case LEAF_KVM_TIMING:
		r[0] = (uint32_t)v->vm->tsc_khz;
		r[1] = LAPIC_BUS_KHZ;
		break;
	default:
		break;
	}
}

static void op_thread_start(struct vcpu *v)
{
	if (!v->vm->irqchip) /* such an engine counts stolen time itself */
		pv_thread_start(&x86_vcpu(v)->pv);
}

const struct vcpu_ops x86_vcpu_ops = {
	.thread_start = op_thread_start,
	.get_intr = op_get_intr,
	.has_intr = op_has_intr,
	.eoi = op_eoi,
	.timer = op_timer,
	.get_tpr = op_get_tpr,
	.set_tpr = op_set_tpr,
	.read_msr = op_read_msr,
	.write_msr = op_write_msr,
	.hypercall = pv_hypercall,
	.cpuid = op_cpuid,
	.halt = pv_halt,
};

void x86_vcpu_reset(struct vcpu *v)
{
	lapic_reset(&x86_vcpu(v)->lapic, v->index == 0);
	pv_vcpu_reset(&x86_vcpu(v)->pv);
}

static void ioapic_eoi_hook(void *opaque, unsigned vector)
{
	struct x86_board *b = opaque;

	if (b->ioapic)
		ioapic_dev_eoi(b->ioapic, vector);
}

static int pic_ack_hook(void *opaque)
{
	struct x86_board *b = opaque;

	return b->pic ? pic_dev_ack(b->pic) : -1;
}

/* The board exists from the first vCPU on. */
static struct x86_board *make_board(struct vm *vm)
{
	struct x86_board *b = xnew(struct x86_board);

	b->vm = vm;
	b->bus.lapic = xnew_n(struct lapic *, vm->conf->cpus);
	b->bus.eoi = ioapic_eoi_hook;
	b->bus.pic_ack = pic_ack_hook;
	b->bus.opaque = b;
	b->bus.now_ns = clock_now_ns;
	b->bus.tsc = x86_guest_tsc;
	b->bus.tsc_khz = vm->tsc_khz;
	b->apic_ids = xnew_n(uint32_t, vm->conf->cpus);
	pv_vm_init(&b->pv);
	gsi_init(b);
	vm->board = b;
	return b;
}

int arch_vcpu_init(struct vcpu *v, struct err *e)
{
	const struct vm_conf *c = v->vm->conf;
	struct x86_topology topo = { c->sockets, c->dies, c->cores, c->threads };
	struct x86_board *b = v->vm->board;
	struct x86_vcpu *x;

	if (!b)
		b = make_board(v->vm);
	v->apic_id = x86_apic_id(&topo, v->index);
	if (c->cpus > X86_MAX_VCPUS || v->apic_id >= 255)
		return err_set(e, EINVAL,
			       "%u CPUs in this topology need APIC ids over 254; this board stops "
			       "there",
			       c->cpus);
	x = xnew(struct x86_vcpu);
	x->lapic.vcpu = v;
	x->lapic.bus = &b->bus;
	v->ops = &x86_vcpu_ops;
	v->ops_opaque = x;
	pv_vcpu_init(&x->pv);
	b->apic_ids[v->index] = v->apic_id;
	b->bus.lapic[b->bus.n++] = &x->lapic;
	lapic_reset(&x->lapic, v->index == 0);
	return 0;
}

void arch_vcpu_fini(struct vcpu *v)
{
	struct x86_board *b = v->vm->board;
	struct x86_vcpu *x = v->ops_opaque;

	if (!x)
		return;
	pv_vcpu_fini(&x->pv);
	free(x->saved);
	v->ops_opaque = NULL;
	v->ops = NULL;
	free(x);
	/* The board goes with the last vCPU. */
	if (!--b->bus.n) {
		v->vm->board = NULL;
		pthread_mutex_destroy(&b->gsi.lock);
		free(b->bus.lapic);
		free(b->apic_ids);
		free(b);
	}
}
