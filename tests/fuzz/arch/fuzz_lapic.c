/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes local APICs: registers, MSRs, messages, timer, paravirtual MSRs and calls. */
#include "base/base.h"
#include "fuzz_input.h"
#include "arch/x86/board.h"
#include "fake_machine.h"
#include "isa/x86/x86.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t now;

static uint64_t fake_now(void)
{
	return now;
}

static uint64_t fake_tsc(const struct vcpu *v)
{
	return now * 2;
}

static void message(struct fm *m, struct fuzz_input *in)
{
	struct apic_msg msg = { .dest = fuzz_u8(in), .vector = fuzz_u8(in) };
	uint8_t bits = fuzz_u8(in);

	msg.mode = bits & 7;
	msg.logical = bits >> 3 & 1;
	msg.level = bits >> 4 & 1;
	apic_bus_send(&x86_board(&m->vm)->bus, &msg);
}

static void step(struct fm *m, struct fuzz_input *in)
{
	uint8_t op = fuzz_u8(in);
	struct vcpu *v = m->v[op >> 4 & 1];
	struct lapic *l = &x86_vcpu(v)->lapic;
	uint64_t val = 0, arg[4];

	switch (op & 15) {
	case 0:
	case 1:
		lapic_mmio_write(l, fuzz_u8(in), fuzz_u32(in));
		break;
	case 2:
		lapic_mmio_read(l, fuzz_u8(in));
		break;
	case 3:
		val = fuzz_u32(in);
		v->ops->write_msr(v, MSR_X2APIC + (op >> 5 & 1 ? LAPIC_ICR : fuzz_u8(in)), val);
		break;
	case 4:
		v->ops->read_msr(v, MSR_X2APIC + fuzz_u8(in), &val);
		break;
	case 5:
		v->ops->write_msr(v, MSR_APIC_BASE, LAPIC_DEFAULT_BASE | (fuzz_u16(in) & 0xfff));
		break;
	case 6:
		v->ops->write_msr(v, MSR_TSC_DEADLINE, now * 2 + fuzz_u32(in));
		break;
	case 7:
		if (v->ops->get_intr(v) > 255)
			__builtin_trap();
		break;
	case 8:
		now += fuzz_ns(in);
		v->ops->timer(v);
		break;
	case 9:
		message(m, in);
		break;
	case 10:
		v->ops->write_msr(v, MSR_KVM_WALL_CLOCK_NEW + fuzz_u8(in) % 6, fuzz_u32(in));
		break;
	case 11:
		for (unsigned i = 0; i < 4; i++)
			arg[i] = fuzz_u16(in);
		v->ops->hypercall(v, fuzz_u8(in) % 12, arg, op >> 5 & 1);
		break;
	case 12:
		v->ops->halt(v, op >> 5 & 1);
		break;
	case 13:
		lapic_lint0(l, op >> 5 & 1);
		break;
	case 14:
		v->ops->set_tpr(v, op >> 4);
		break;
	default:
		if (v->ops->has_intr(v) && v->ops->get_intr(v) < 0 && x86_board(&m->vm)->pic)
			__builtin_trap();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, data + size };
	struct fm *m = fm_new(2, MIB(1), true);
	struct apic_bus *bus = &x86_board(&m->vm)->bus;
	struct lapic other;

	now = 1000000000;
	bus->now_ns = fake_now;
	bus->tsc = fake_tsc;
	while (fuzz_more(&in))
		step(m, &in);
	for (unsigned i = 0; i < 2; i++) {
		other = x86_vcpu(m->v[i])->lapic;
		fuzz_check_state(&lapic_state, &x86_vcpu(m->v[i])->lapic, &other);
	}
	fm_free(m);
	return 0;
}
