/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REP STOS and REP MOVS that go up, of as much as is in one page: what compilers put where little is cleared
 * or copied. They are the host's own, on the host's addresses, so what overlaps comes out as on a processor.
 * The rest is the interpreter's, as are those that find code in the page. vCPU thread.
 */
#include "accel/soft/jit/xlat.h"
#include "accel/soft/mmu.h"

/* From here on the interpreter's; the block goes on behind it. */
static void leave_if(struct xlat *x, unsigned cc)
{
	x_stub(x, STUB_STEP_OVER, as_jcc(&x->a, cc));
}

/*
 * EA = the host's address of RCX elements from the register's address on, if all are in its page; ENT as for
 * x_find_entry().
 */
static void reach(struct xlat *x, unsigned reg, unsigned size, bool write)
{
	struct as *a = &x->a;

	as_mov(a, EA, reg);
	x_find_entry(x, size, write);
	as_rr(a, false, AS_LOAD, T, EA);
	as_alu_imm(a, false, 4, T, 0xfff);
	as_lea(a, true, T, T, H_RCX, (unsigned)__builtin_ctz(size), 0);
	as_alu_imm(a, true, 7, T, 0x1000);
	leave_if(x, CC_A);
	as_rm(a, true, 0x03, EA, ENT, TLB_OFF(write ? TLB_WRITE : TLB_READ, addend));
}

/* F3 and the opcode, of so many bytes. */
static void put_rep(struct as *a, bool movs, unsigned size)
{
	if (size == 2)
		as_byte(a, 0x66);
	as_byte(a, 0xf3);
	if (size == 8)
		as_byte(a, 0x48);
	as_byte(a, (movs ? 0xa4u : 0xaau) | (size > 1));
}

/* RSI is the host's address meanwhile, and hc.tmp what it is less than the guest's. */
static void reach_source(struct xlat *x, unsigned size)
{
	struct as *a = &x->a;

	reach(x, H_RSI, size, false);
	as_mov(a, T, H_RSI);
	as_rr(a, true, 0x2b, T, EA);
	as_rm(a, true, AS_STORE, T, ENV, OFF(hc.tmp));
}

static bool fits(const struct xlat *x, const struct insn *in, bool movs)
{
	if (!x_wide(x) || !(in->flags & (INSN_REP | INSN_REPNE)))
		return false;
	if (in->flags & (INSN_A32 | INSN_A16 | INSN_SEGCK))
		return false;
	return x->home[RDI] == H_RDI && (!movs || (x->home[RSI] == H_RSI && x_seg(in) == SEG_NONE));
}

bool x_string(struct xlat *x)
{
	const struct insn *in = x_insn(x);
	const bool movs = op_descs[in->op].mn == MN_MOVS;
	const unsigned size = in->opsize;
	struct as *a = &x->a;
	uint8_t *none;

	if ((!movs && op_descs[in->op].mn != MN_STOS) || !fits(x, in, movs))
		return false;
	x_keep_flags(x, x->l->live[x->i]);
	as_rr(a, true, 0x85, H_RCX, H_RCX); /* test */
	none = as_jcc(a, CC_E);
	as_alu_imm(a, true, 7, H_RCX, (int32_t)(0x1000 / size)); /* what follows cannot wrap then */
	leave_if(x, CC_A);
	as_rm(a, false, 0xf7, 0, ENV, OFF(rflags)); /* test dword [rflags], DF */
	as_u32(a, FLAG_DF);
	leave_if(x, CC_NE);
	if (movs)
		reach_source(x, size);
	reach(x, H_RDI, size, true);
	as_rm(a, true, AS_LOAD, ENT, ENT, TLB_MORE(TLB_WRITE, watch));
	as_rm(a, true, 0x83, 7, ENT, 0); /* cmp qword [watch], 0 */
	as_byte(a, 0);
	leave_if(x, CC_NE);
	as_mov(a, T, H_RDI);
	as_rr(a, true, 0x2b, T, EA);
	as_mov(a, H_RDI, EA);
	if (movs)
		as_rm(a, true, 0x2b, H_RSI, ENV, OFF(hc.tmp));
	put_rep(a, movs, size);
	as_lea(a, true, H_RDI, H_RDI, T, 0, 0);
	if (movs)
		as_rm(a, true, 0x03, H_RSI, ENV, OFF(hc.tmp));
	as_rm(a, true, 0x83, 7, ENT, 0); /* meanwhile */
	as_byte(a, 0);
	x_stub(x, STUB_STORED_STRING, as_jcc(a, CC_NE));
	as_patch(none, a->p);
	x->ent = NULL;
	x->host_ok = false;
	return true;
}

void x_stub_stored_string(struct xlat *x)
{
	struct as *a = &x->a;

	as_lea(a, true, EA, EA, T, 0, 0); /* where it began */
	as_mov(a, T, H_RDI);
	as_rr(a, true, 0x2b, T, EA);
	as_rm(a, false, AS_STORE, T, ENV, OFF(jr.stored));
	x_move_out(x);
	as_mov_imm32(a, ENT, x_id(x));
	as_jmp_to(a, x->j->go.exit_store);
}
