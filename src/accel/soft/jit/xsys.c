/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System instructions. What kernels do on each way in and out, and in each critical section, is done here.
 * The rest, and all else that the translator does not know, is executed by the interpreter's handler, called
 * from host code, which goes on behind it (step.c). vCPU thread.
 */
#include "accel/soft/jit/xlat.h"

/* Group 1 operation (1 OR, 4 AND) on 32 bits of soft_cpu. */
static void put_env_op(struct xlat *x, unsigned op, int32_t field, uint32_t imm)
{
	as_byte(&x->a, 0x41);
	as_byte(&x->a, 0x81);
	as_mem(&x->a, op, ENV, field);
	as_u32(&x->a, imm);
}

static void put_flag(struct xlat *x, uint32_t flag, bool on)
{
	put_env_op(x, on ? 1 : 4, OFF(rflags), on ? flag : ~flag);
}

/*
 * An interrupt that is pending now is taken where the block ends, which looks at poll. One that comes from
 * here on sets that itself (soft_kick()).
 */
static void put_pending(struct xlat *x)
{
	struct as *a = &x->a;
	uint8_t *none;

	as_rm(a, true, AS_LOAD, T, ENV, OFF(vcpu));
	as_rm(a, false, AS_LOAD, T, T, (int32_t)offsetof(struct vcpu, events));
	as_rm(a, false, 0x85, T, ENV, OFF(ev_mask)); /* test */
	none = as_jcc(a, CC_E);
	as_store_imm32(a, ENV, OFF(poll), 1);
	as_patch(none, a->p);
}

static void put_if(struct xlat *x, bool on)
{
	put_flag(x, FLAG_IF, on);
	put_env_op(x, on ? 1 : 4, OFF(ev_mask), on ? VCPU_EV_INTR : ~VCPU_EV_INTR);
	if (on)
		put_pending(x);
}

/* At CPL 0 EFLAGS.AC is there for SMAP alone. */
static void put_ac(struct xlat *x, bool on)
{
	enum tlb_priv priv = on ? TLB_SUPER_AC : TLB_SUPER;
	struct as *a = &x->a;

	put_flag(x, FLAG_AC, on);
	as_byte(a, 0x41); /* mov byte [env + smap_lifted], imm8 */
	as_byte(a, 0xc6);
	as_mem(a, 0, ENV, OFF(smap_lifted));
	as_byte(a, on);
	as_lea(a, true, T, ENV, -1, 0, OFF(tlbs) + (int32_t)(priv * sizeof(struct soft_tlb)));
	as_rm(a, true, AS_STORE, T, ENV, OFF(tlb));
}

#define GS_BASE (OFF(s.seg) + (int32_t)(SEG_GS * sizeof(struct x86_seg) + offsetof(struct x86_seg, base)))

static void put_swapgs(struct xlat *x)
{
	struct as *a = &x->a;

	as_rm(a, true, AS_LOAD, T, ENV, OFF(s.kernel_gs_base));
	as_rm(a, true, AS_LOAD, ENT, ENV, GS_BASE);
	as_rm(a, true, AS_STORE, T, ENV, GS_BASE);
	as_rm(a, true, AS_STORE, T, ENV, OFF(segbase) + 8 * SEG_GS);
	as_rm(a, true, AS_STORE, ENT, ENV, OFF(s.kernel_gs_base));
}

static void put_rdtsc(struct xlat *x, bool aux)
{
	struct as *a = &x->a;

	if (x->c->cpl) { /* test byte [cr4], TSD */
		AS(a, 0x41, 0xf6);
		as_mem(a, 0, ENV, OFF(s.cr4));
		as_byte(a, CR4_TSD);
		x_stub(x, STUB_BAIL, as_jcc(a, CC_NE));
	}
	AS(a, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20); /* rdtsc; shl rdx, 32 */
	as_rr(a, true, 0x0b, H_RDX, H_RAX);	   /* or */
	as_rm(a, true, 0x03, H_RDX, ENV, OFF(s.tsc_offset));
	as_rr(a, false, AS_LOAD, H_RAX, H_RDX);
	AS(a, 0x48, 0xc1, 0xea, 0x20); /* shr rdx, 32 */
	if (aux)
		as_rm(a, false, AS_LOAD, H_RCX, ENV, OFF(s.tsc_aux));
}

/* RFLAGS as PUSHF stores them, into T; status flags are in c->fl. */
static void put_rflags(struct xlat *x)
{
	struct as *a = &x->a;

	as_rm(a, false, 0x1b7, T, ENV, OFF(fl)); /* movzx */
	as_rr(a, false, AS_LOAD, ENT, T);
	AS(a, 0x41, 0xc1, 0xeb, 0x08); /* shr r11d, 8 */
	as_alu_imm(a, false, 4, T, FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF);
	as_alu_imm(a, false, 4, ENT, FL_OF);
	AS(a, 0x41, 0xc1, 0xe5, 0x0b); /* shl r13d, 11 */
	as_rr(a, false, 0x0b, T, ENT);
	as_rm(a, false, 0x0b, T, ENV, OFF(rflags));
	as_alu_imm(a, false, 4, T, 0xfcffff);
}

static bool put_pushf(struct xlat *x)
{
	if (x_insn(x)->opsize != x_word(x))
		return false;
	x_keep_flags(x, FLAGS_ALL);
	x_close_shares(x);
	put_rflags(x);
	as_rm(&x->a, true, AS_STORE, T, ENV, OFF(hc.tmp));
	x->host_ok = false;
	x_push_tmp(x);
	return true;
}

bool x_sys_inline(const struct xlat *x, const struct insn *in)
{
	switch (op_descs[in->op].mn) {
	case MN_CLI:
	case MN_STI:
	case MN_CLAC:
	case MN_STAC:
	case MN_SWAPGS:
		return !x->c->cpl && !(in->flags & INSN_END);
	case MN_RDTSC:
	case MN_RDTSCP:
	case MN_CLD:
	case MN_STD:
	case MN_PAUSE:
		return true;
	default:
		return false;
	}
}

static void put_inline(struct xlat *x, unsigned mn)
{
	switch (mn) {
	case MN_CLI:
	case MN_STI:
		put_if(x, mn == MN_STI);
		break;
	case MN_CLAC:
	case MN_STAC:
		put_ac(x, mn == MN_STAC);
		break;
	case MN_CLD:
	case MN_STD:
		put_flag(x, FLAG_DF, mn == MN_STD);
		break;
	case MN_RDTSC:
	case MN_RDTSCP:
		put_rdtsc(x, mn == MN_RDTSCP);
		break;
	case MN_SWAPGS:
		put_swapgs(x);
		break;
	default:
		AS(&x->a, 0xf3, 0x90); /* pause */
		break;
	}
}

bool x_sys(struct xlat *x)
{
	const struct insn *in = x_insn(x);
	unsigned mn = op_descs[in->op].mn;

	if (mn == MN_PUSHF)
		return put_pushf(x);
	if (!x_sys_inline(x, in))
		return false;
	x_keep_flags(x, x->l->live[x->i]);
	x_close_shares(x);
	put_inline(x, mn);
	x->host_ok = false;
	return true;
}

bool x_step(struct xlat *x)
{
	bool end = x_insn(x)->flags & INSN_END;

	x_close_shares(x);
	x_keep_flags(x, x->l->live[x->i]);
	as_mov_imm32(&x->a, ENT, x_id(x));
	if (end) {
		x_move_out(x);
		as_jmp_to(&x->a, x->j->go.step_end);
		return false;
	}
	x_call(x, x->j->go.step);
	x->env_ok = true;
	x->host_ok = x->x87_ok = false;
	x->vec_ok = VEC_NONE;
	return true;
}

bool x_behind_sti(const struct xlat *x)
{
	const struct block *b = x->b;

	return b->nr > 1 && op_descs[b->in[b->nr - 2].op].mn == MN_STI;
}
