/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floating point that has state of its own: x87 instructions, and MXCSR. Registers, which are MMX's too, are
 * the host's (fpu.h); the pointers FOP, FIP and FDP are kept by hand, as the host's would tell of us. vCPU
 * thread.
 */
#include "accel/soft/fpu.h"
#include "accel/soft/jit/xlat.h"

bool x_is_mxcsr(const struct insn *in)
{
	unsigned mn = op_descs[in->op].mn;

	return mn == MN_LDMXCSR || mn == MN_VLDMXCSR || mn == MN_STMXCSR || mn == MN_VSTMXCSR;
}

/*
 * With its vector registers the guest's MXCSR is the host's too. One that would let the host raise
 * exceptions, or that is none, is the interpreter's; memory is read once.
 */
bool x_mxcsr(struct xlat *x)
{
	const struct insn *in = x_insn(x);
	unsigned mn = op_descs[in->op].mn;
	bool store = mn == MN_STMXCSR || mn == MN_VSTMXCSR;
	struct as *a = &x->a;

	if (!x_plain_address(x, in) ||
	    fpu_denied(x->c, in->flags & INSN_VEX ? FPN_AVX : FPN_SSE) >= 0)
		return false;
	x_need_vec(x, false);
	x_keep_flags(x, x->l->live[x->i]);
	x_ea(x);
	x_check(x, 4, store, 0);
	if (store) {
		as_rm(a, false, 0x1ae, 3, EA, 0);
		x_stored(x);
		return true;
	}
	as_rm(a, false, AS_LOAD, T, EA, 0);
	as_rm(a, false, AS_STORE, T, ENV, OFF(hc.tmp));
	as_alu_imm(a, false, 4, T, (int32_t)(~MXCSR_MASK | MXCSR_MASKS));
	as_alu_imm(a, false, 7, T, MXCSR_MASKS);
	x_stub(x, STUB_BAIL, as_jcc(a, CC_NE));
	as_rm(a, false, 0x1ae, 2, ENV, OFF(hc.tmp));
	return true;
}

/* ---- x87 ---- */

enum x87_kind { X87_NONE, X87_CONTROL, X87_DATA };

static enum x87_kind kind_of(const struct op_desc *d)
{
	if (d->cls != OPC_X87)
		return X87_NONE;
	switch (d->mn) {
	case MN_FNINIT: case MN_FWAIT: case MN_FNENI: case MN_FNDISI: case MN_FNSETPM:
	case MN_FNSTENV: case MN_FLDENV: case MN_FNSAVE: case MN_FRSTOR:
		return X87_NONE;
	case MN_FNCLEX: case MN_FLDCW: case MN_FNSTCW: case MN_FNSTSW:
		return X87_CONTROL;
	default:
		return X87_DATA;
	}
}

bool x_is_x87(const struct insn *in)
{
	return kind_of(&op_descs[in->op]) != X87_NONE;
}

void x_need_x87(struct xlat *x)
{
	struct as *a = &x->a;
	struct stub *s;

	if (x->x87_ok)
		return;
	x_keep_flags(x, x->l->live[x->i]);
	as_rm(a, true, AS_LOAD, T, ENV, OFF(fpu));
	AS(a, 0x41, 0xf6); /* test byte [fpu + live], x87 */
	as_mem(a, 0, T, (int32_t)offsetof(struct fpu, live));
	as_byte(a, FPU_LIVE_X87);
	s = x_stub(x, STUB_VEC, as_jcc(a, CC_E));
	s->back = a->p;
	x->host_ok = false;
	x->x87_ok = true;
	x->ent = NULL;
	x->vec_ok = VEC_NONE; /* the way out and in again leaves them in memory */
}

bool x_emms(struct xlat *x)
{
	if (fpu_denied(x->c, FPN_MMX) >= 0)
		return false;
	x_need_x87(x);
	AS(&x->a, 0x0f, 0x77);
	return true;
}

static void copy_sel(struct xlat *x, unsigned seg, int32_t to)
{
	as_rm(&x->a, false, 0x1b7, T, ENV, OFF(s.seg) + (int32_t)(seg * sizeof(struct x86_seg) +
							       offsetof(struct x86_seg, sel)));
	as_byte(&x->a, 0x66);
	as_rm(&x->a, false, AS_STORE, T, ENV, to);
}

/* Without touching flags, EA and ENT. */
static void note_pointers(struct xlat *x, const uint8_t *op)
{
	const struct insn *in = x_insn(x);
	struct as *a = &x->a;
	unsigned fop = (op[0] & 7u) << 8 | op[1];

	AS(a, 0x66, 0x41, 0xc7); /* mov word [fop], imm16 */
	as_mem(a, 0, ENV, OFF(s.fop));
	AS(a, (uint8_t)fop, (uint8_t)(fop >> 8));
	as_rm(a, true, AS_LOAD, T, ENV, OFF_R(R_PC));
	as_lea(a, true, T, T, -1, 0, in->next - in->len);
	as_rm(a, true, AS_STORE, T, ENV, OFF(s.fip));
	copy_sel(x, SEG_CS, OFF(s.fcs));
	if (!(in->flags & INSN_MEM))
		return;
	as_rm(a, true, AS_LOAD, T, ENV, OFF(hc.tmp));
	as_rm(a, true, AS_STORE, T, ENV, OFF(s.fdp));
	copy_sel(x, in->seg == SEG_NONE ? SEG_DS : in->seg, OFF(s.fds));
}

/* The operand's address, its offset in the segment kept in hc.tmp. */
static void check_operand(struct xlat *x, bool store)
{
	const struct insn *in = x_insn(x);
	struct insn flat = *in;

	flat.seg = SEG_NONE;
	x_keep_flags(x, x->l->live[x->i]);
	x_ea_to(x, &flat, EA, x_wide(x));
	as_rm(&x->a, true, AS_STORE, EA, ENV, OFF(hc.tmp));
	if (x_seg(in) != SEG_NONE)
		as_rm(&x->a, x_wide(x), 0x03, EA, ENV, OFF(segbase) + 8 * in->seg);
	x_check(x, insn_mem_size(in), store, 0);
}

bool x_x87(struct xlat *x)
{
	const struct insn *in = x_insn(x);
	const struct op_desc *d = &op_descs[in->op];
	bool mem = in->flags & INSN_MEM;
	bool store = mem && d->operand[0].kind == OPK_M && (d->operand[0].rw & 2);
	const uint8_t *op = x_bytes(x, x_insn(x));

	if ((mem && (!x_plain_address(x, in) || !insn_mem_size(in))) || fpu_denied(x->c, FPN_X87) >= 0)
		return false;
	while ((*op & 0xf8) != 0xd8)
		op++;
	x_need_x87(x);
	if (mem)
		check_operand(x, store);
	if (d->flags_r & FLAGS_STATUS || (d->flags_w && x->l->live[x->i]))
		x_need_flags(x);
	x->op_flags = x->host_ok;
	if (mem)
		as_rm(&x->a, false, op[0], op[1] >> 3 & 7, EA, 0);
	else
		as_bytes(&x->a, op, 2);
	if (kind_of(d) == X87_DATA)
		note_pointers(x, op);
	x_flags_done(x);
	if (store)
		x_stored(x);
	return true;
}
