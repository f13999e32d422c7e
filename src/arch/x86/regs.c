/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers of a vCPU by name, for people ("x $rip" in the monitor). Names are QEMU's and the
 * manuals'; those of general registers mean all 64 bits, as in QEMU, so that "x $sp" is the stack.
 * Control thread; the vCPU is asked on its own. State: none.
 */
#include "base/base.h"
#include "arch/x86/show.h"
#include "core/accel.h"
#include "core/arch.h"
#include "core/vm.h"
#include "isa/x86/cpu_state.h"

struct reg {
	const char *name;
	uint16_t off;
	uint8_t size;  /* of the member */
	uint8_t bytes; /* of it that the name means */
};

#define REG(name, member, bytes)                                                                   \
	{                                                                                          \
		name, offsetof(struct cpu_state, member), sizeof(((struct cpu_state *)0)->member), \
			bytes                                                                      \
	}
#define GPR(letters, index)                                               \
	REG("r" letters, gpr[index], 8), REG("e" letters, gpr[index], 8), \
		REG(letters, gpr[index], 8)
#define SEG(name, member) REG(name, member.sel, 2), REG(name ".base", member.base, 8)

static const struct reg regs[] = {
	GPR("ax", RAX),
	GPR("cx", RCX),
	GPR("dx", RDX),
	GPR("bx", RBX),
	GPR("sp", RSP),
	GPR("bp", RBP),
	GPR("si", RSI),
	GPR("di", RDI),
	REG("r8", gpr[8], 8),
	REG("r9", gpr[9], 8),
	REG("r10", gpr[10], 8),
	REG("r11", gpr[11], 8),
	REG("r12", gpr[12], 8),
	REG("r13", gpr[13], 8),
	REG("r14", gpr[14], 8),
	REG("r15", gpr[15], 8),
	REG("rip", rip, 8),
	REG("pc", rip, 8),
	REG("eip", rip, 8),
	REG("rflags", rflags, 8),
	REG("eflags", rflags, 4),
	SEG("cs", seg[SEG_CS]),
	SEG("ds", seg[SEG_DS]),
	SEG("es", seg[SEG_ES]),
	SEG("fs", seg[SEG_FS]),
	SEG("gs", seg[SEG_GS]),
	SEG("ss", seg[SEG_SS]),
	SEG("ldtr", ldtr),
	SEG("tr", tr),
	REG("gdtr", gdtr.base, 8),
	REG("idtr", idtr.base, 8),
	REG("cr0", cr0, 8),
	REG("cr2", cr2, 8),
	REG("cr3", cr3, 8),
	REG("cr4", cr4, 8),
	REG("cr8", cr8, 8),
	REG("xcr0", xcr0, 8),
	REG("efer", efer, 8),
	REG("dr0", dr[0], 8),
	REG("dr1", dr[1], 8),
	REG("dr2", dr[2], 8),
	REG("dr3", dr[3], 8),
	REG("dr6", dr6, 8),
	REG("dr7", dr7, 8),
};

struct question {
	struct cpu_state state;
	int ret;
};

static void ask(struct vcpu *v, void *arg)
{
	struct question *q = arg;

	q->ret = v->vm->accel->get_state(v, &q->state);
}

struct cpu_state *x86_ask_state(struct vcpu *v, struct err *e)
{
	autofree struct question *q = aligned_alloc(64, align_up(sizeof(*q), 64));

	if (!q) {
		err_set(e, ENOMEM, "no memory for the state of CPU %u", v->index);
		return NULL;
	}
	vm_run_on(v, ask, q);
	if (q->ret < 0) {
		err_set_errno(e, -q->ret, "cannot read the state of CPU %u", v->index);
		return NULL;
	}
	static_assert(offsetof(struct question, state) == 0, "so that free() gets what it gave");
	return &take_ptr(q)->state;
}

int arch_read_register(struct vcpu *v, const char *name, uint64_t *out)
{
	autofree struct cpu_state *s = NULL;
	uint64_t val = 0;
	size_t i = 0;

	while (i < ARRAY_SIZE(regs) && strcmp(regs[i].name, name) != 0)
		i++;
	if (i == ARRAY_SIZE(regs))
		return -ENOENT;
	s = x86_ask_state(v, NULL);
	if (!s)
		return -EIO;
	memcpy(&val, (const uint8_t *)s + regs[i].off, regs[i].size);
	if (regs[i].bytes < 8)
		val &= BIT64(regs[i].bytes * 8) - 1;
	*out = val;
	return 0;
}

const char *arch_register_name(unsigned i)
{
	return i < ARRAY_SIZE(regs) ? regs[i].name : NULL;
}
