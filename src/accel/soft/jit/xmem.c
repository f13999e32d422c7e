/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host code around memory operands: the address, the look into the software TLB (mmu.h), the look at
 * the code watch behind a store (mem/ram.h), and keeping flags and vector registers. vCPU thread.
 */
#include "accel/soft/jit/xlat.h"
#include "accel/soft/mmu.h"

void x_keep_flags(struct xlat *x, unsigned live)
{
	if (!live || x->env_ok)
		return;
	jit_put_flags_out(&x->a, T);
	x->env_ok = true;
}

void x_need_flags(struct xlat *x)
{
	if (x->host_ok)
		return;
	jit_put_flags_in(&x->a, T);
	x->host_ok = true;
}

unsigned x_reg(struct xlat *x, unsigned guest, unsigned scratch)
{
	int h = x->home[guest];

	if (h >= 0)
		return (unsigned)h;
	as_rm(&x->a, true, AS_LOAD, scratch, ENV, OFF_R(guest));
	return scratch;
}

void x_ea_to(struct xlat *x, const struct insn *in, unsigned to, bool w)
{
	unsigned base = in->base / 8, index = in->index / 8;
	int b = -1, n = -1;

	if (base == R_PC) {
		as_rm(&x->a, true, AS_LOAD, EA, ENV, OFF_R(R_PC));
		b = EA;
	} else if (base != R_ZERO) {
		b = (int)x_reg(x, base, EA);
	}
	if (index != R_ZERO)
		n = (int)x_reg(x, index, T);
	if (b >= 0 && n < 0 && !in->disp && w) {
		if (b != (int)to)
			as_mov(&x->a, to, (unsigned)b);
	} else {
		as_lea(&x->a, w, to, b, n, in->scale, in->disp);
	}
	if (x_seg(in) != SEG_NONE)
		as_rm(&x->a, x_wide(x), 0x03, to, ENV, OFF(segbase) + 8 * in->seg);
}

void x_ea(struct xlat *x)
{
	x_ea_to(x, x_insn(x), EA, x_wide(x));
}

void x_find_entry(struct xlat *x, unsigned size, bool write)
{
	const enum tlb_kind kind = write ? TLB_WRITE : TLB_READ;
	struct as *a = &x->a;
	uint8_t *again;
	struct stub *s;

	x->ent = NULL;
	again = a->p;
	if (x->j->bmi2) {
		AS(a, 0xc4, 0x43, 0xfb, 0xf0, 0xee, TLB_SHIFT); /* rorx r13, r14, 8 */
	} else {
		as_mov(a, ENT, EA);
		AS(a, 0x49, 0xc1, 0xed, TLB_SHIFT); /* shr r13, 8 */
	}
	as_alu_imm(a, false, 4, ENT, TLB_MASK);
	as_rm(a, true, 0x03, ENT, ENV, OFF(tlb));
	as_rm(a, true, AS_LOAD, T, ENT, TLB_OFF(kind, tag));
	as_rr(a, true, 0x33, T, EA);
	as_alu_imm(a, true, 7, T, (int32_t)(0x1000 - size));
	s = x_stub(x, STUB_MISS, as_jcc(a, CC_A));
	s->write = write;
	s->back = again;
	if (!x->now)
		return;
	s->shared = true;
	s->off = -x_range_from(x);
}

void x_check_align(struct xlat *x, unsigned align)
{
	if (!align)
		return;
	AS(&x->a, 0x41, 0xf6, 0xc6, (uint8_t)align); /* test r14b, mask */
	x_stub(x, STUB_BAIL, as_jcc(&x->a, CC_NE));
}

void x_check(struct xlat *x, unsigned size, bool write, unsigned align)
{
	x_check_align(x, align);
	x_find_entry(x, size, write);
	x->spot = 0;
	x_add_entry(x, write);
}

void x_add_entry(struct xlat *x, bool write)
{
	as_rm(&x->a, true, 0x03, EA, ENT, TLB_OFF(write ? TLB_WRITE : TLB_READ, addend));
	x->at = (struct as_addr){ EA, -1, 0 };
	x->host_ok = false;
}

static bool goes_on_behind(const struct xlat *x)
{
	const struct insn *in = x_insn(x);
	const struct op_desc *d = &op_descs[in->op];

	if (!x->knows_behind || x->l->behind[x->i].x87_ok || (in->flags & INSN_END) || !x_is_inside(x, x->i))
		return false;
	if (d->cls == OPC_INT)
		return x_is_int(d->mn) || d->mn == MN_STOS || d->mn == MN_MOVS;
	return d->cls == OPC_SSE || d->cls == OPC_AVX || d->cls == OPC_BMI || d->cls == OPC_EVEX;
}

void x_step_over(struct xlat *x)
{
	const struct behind *be = &x->l->behind[x->i];

	if (!goes_on_behind(x)) {
		x_put_bail(x);
		return;
	}
	as_mov_imm32(&x->a, ENT, x_id(x));
	x_call(x, x->j->go.step_over);
	for (unsigned i = 0; i < ARRAY_SIZE(be->held); i++)
		if (be->held[i] != NO_GUEST)
			as_rm(&x->a, true, AS_LOAD, x_holder(i), ENV, OFF_R(be->held[i]));
	as_jmp_to(&x->a, be->at);
}

/*
 * An access that leaves its page is the interpreter's, if its first page is there; else that is got. When a
 * share does, its accesses are looked up one by one.
 */
void x_stub_miss(struct xlat *x, const struct stub *s)
{
	struct as *a = &x->a;
	uint8_t *crosses, *elsewhere = NULL;

	as_alu_imm(a, true, 7, T, 0xfff);
	crosses = as_jcc(a, CC_BE);
	if (s->shared) { /* what is accessed may be in another page than what is looked for */
		as_lea(a, true, T, EA, -1, 0, s->off);
		as_rr(a, true, 0x33, T, EA);
		as_alu_imm(a, true, 7, T, 0xfff);
		elsewhere = as_jcc(a, CC_A);
	}
	x_call(x, x->j->go.miss[s->write]);
	as_patch(as_jcc(a, CC_NE), s->back);
	if (!s->shared) {
		as_patch(crosses, a->p);
		x_step_over(x);
		return;
	}
	x_put_bail(x);
	x_set_moved(x, s->moved);
	as_patch(elsewhere, a->p);
	as_patch(crosses, a->p);
	x_stub_careful(x);
}

static unsigned stored_size(const struct insn *in)
{
	unsigned mn = op_descs[in->op].mn;

	return mn == MN_PUSH || mn == MN_PUSHF || mn == MN_CALL ? in->opsize : insn_mem_size(in);
}

static void stored_stub(struct xlat *x, enum stub_kind kind, uint8_t *place)
{
	struct stub *s = x_stub(x, kind, place);

	if (x->now) {
		s->shared = true;
		s->off = x->run_lo - x->off;
		s->size = (uint8_t)(x->run_hi - x->run_lo);
		x->run_lo = x->run_hi = 0;
		return;
	}
	s->spot = x->spot;
	s->fold = x->fold;
	s->size = (uint8_t)stored_size(x_insn(x));
}

/* The same without touching the flags, which are live: by way of RCX. */
static void stored_flagless(struct xlat *x, unsigned watch)
{
	struct as *a = &x->a;

	as_rm(a, true, AS_STORE, H_RCX, ENV, OFF(hc.tmp));
	as_rm(a, true, AS_LOAD, H_RCX, watch, 0);
	AS(a, 0xe3, 0x05); /* jrcxz over the jump */
	stored_stub(x, STUB_STORED_RCX, as_jmp(a));
	as_rm(a, true, AS_LOAD, H_RCX, ENV, OFF(hc.tmp));
}

void x_stored(struct xlat *x)
{
	struct as *a = &x->a;
	unsigned watch = x->spot ? ENT : T;

	if (x->now && x_stored_share(x))
		return;
	if (x->spot)
		as_rm(a, true, AS_LOAD, watch, ENV,
		      x->spot + (int32_t)offsetof(struct spot, watch));
	else if (!x->now)
		as_rm(a, true, AS_LOAD, watch, ENT, TLB_MORE(TLB_WRITE, watch));
	if (x->l->live[x->i + 1] && !x->env_ok) {
		stored_flagless(x, watch);
		return;
	}
	as_rm(a, true, 0x83, 7, watch, 0); /* cmp qword [watch], 0 */
	as_byte(a, 0);
	stored_stub(x, STUB_STORED, as_jcc(a, CC_NE));
	x->host_ok = false;
}

void x_need_vec(struct xlat *x, bool all)
{
	struct as *a = &x->a;
	struct stub *s;

	if (x->vec_ok >= (all ? VEC_ALL : VEC_SOME))
		return;
	x_keep_flags(x, x->l->live[x->i]);
	jit_put_vec_test(a, all ? JIT_VEC_ZMM : JIT_VEC_YMM);
	s = x_stub(x, STUB_VEC, as_jcc(a, CC_B));
	s->back = a->p;
	x->ent = NULL; /* on the way out */
	x->host_ok = false;
	x->vec_ok = all ? VEC_ALL : VEC_SOME;
}
