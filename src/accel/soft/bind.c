/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binding: which handler executes a decoded instruction in the current mode. What the CPU model
 * hides, what the mode forbids and what nobody knows is #UD. vCPU thread, at decode time.
 */
#include "accel/soft/block.h"
#include "accel/soft/decode/decode.h"
#include "accel/soft/exec.h"

insn_fn bind_int(struct soft_cpu *c, struct insn *in)
{
	static insn_fn (*const binders[])(struct soft_cpu *, struct insn *) = {
		bind_mov,  bind_alu,   bind_flow,   bind_stack, bind_shift,
		bind_xchg, bind_string, bind_bit,   bind_misc,	bind_muldiv,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(binders); i++) {
		insn_fn fn = binders[i](c, in);

		if (fn)
			return fn;
	}
	return NULL;
}

static insn_fn bind_class(struct soft_cpu *c, struct insn *in, const uint8_t *bytes)
{
	switch (op_descs[in->op].cls) {
	case OPC_INT:
		return bind_int(c, in);
	case OPC_SYS:
		return bind_sys(c, in);
	case OPC_FPSTATE:
		return bind_fpstate(c, in);
	default:
		return bind_native(c, in, bytes);
	}
}

/* What is hidden may mean something else: TZCNT is BSF on a CPU without it. */
static bool hidden(const struct soft_cpu *c, struct insn *in)
{
	bool real = !(c->s.cr0 & CR0_PE) || (c->rflags & FLAG_VM);

	if (!cpu_has(c, op_descs[in->op].feature))
		in->op = (uint16_t)op_without_feature(in->op);
	return !in->op || ((op_descs[in->op].attr & OPA_PE) && real);
}

void bind_insn(struct soft_cpu *c, struct insn *in, const uint8_t *bytes)
{
	in->fn = hidden(c, in) ? NULL : bind_class(c, in, bytes);
	if (!in->fn)
		in->fn = exec_ud;
	if (in->fn == exec_ud)
		in->flags |= INSN_END;
}
