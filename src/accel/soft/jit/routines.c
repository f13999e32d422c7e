/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routines that host code shares: the way in, the ways out, and the jump to a guest address that is
 * known only now. Conventions: jit.h, code.h. System V ABI for the way in. vCPU thread, at start.
 */
#include "accel/soft/jit/code.h"

#define VEC_SIZE sizeof(((struct cpu_state *)0)->vec[0])

/*
 * mov scratch, rax; lahf; seto al; mov [fl], eax; mov rax, scratch: as struct soft_cpu's FL_*, and what was
 * in the upper half of EAX. With 32 bits stored and loaded recent processors do without the memory: there and
 * back takes 5 cycles, and 12 with 16 bits (Zen 5).
 */
void jit_put_flags_out(struct as *a, unsigned scratch)
{
	as_mov(a, scratch, H_RAX);
	AS(a, 0x9f, 0x0f, 0x90, 0xc0);
	as_rm(a, false, AS_STORE, H_RAX, ENV, OFF(fl));
	as_mov(a, H_RAX, scratch);
}

/* add al, 0x7f overflows when bit 0 is set. */
void jit_put_flags_in(struct as *a, unsigned scratch)
{
	as_mov(a, scratch, H_RAX);
	as_rm(a, false, AS_LOAD, H_RAX, ENV, OFF(fl));
	AS(a, 0x04, 0x7f, 0x9e);
	as_mov(a, H_RAX, scratch);
}

/* movups xmm, [env + disp32], behind vzeroupper */
static void put_xmms(struct as *a)
{
	AS(a, 0xc5, 0xf8, 0x77);
	for (unsigned n = 0; n < 16; n++)
		as_rm(a, false, 0x110, n, ENV, OFF(s.vec) + (int32_t)(n * VEC_SIZE));
}

static void put_gprs(struct as *a, unsigned op)
{
	for (unsigned n = 0; n < 16; n++)
		if (host_reg(n) >= 0)
			as_rm(a, true, op, (unsigned)host_reg(n), ENV, OFF_R(n));
}

/* vmovups ymm, [env + disp32] or the other way */
static void put_vecs(struct as *a, unsigned op)
{
	for (unsigned n = 0; n < 16; n++) {
		AS(a, 0xc4, (uint8_t)(n < 8 ? 0xc1 : 0x41), 0x7c, (uint8_t)op);
		as_byte(a, 0x80 | (n & 7) << 3 | (ENV & 7));
		as_u32(a, (uint32_t)(OFF(s.vec) + (int32_t)(n * VEC_SIZE)));
	}
}

/* vmovups zmm, [env + disp32] or the other way, from the first one on */
static void put_zmms(struct as *a, unsigned op, unsigned first)
{
	for (unsigned n = first; n < 32; n++) {
		AS(a, 0x62, (uint8_t)(0x41 | (n & 8 ? 0 : 0x80) | (n & 16 ? 0 : 0x10)), 0x7c, 0x48,
		   (uint8_t)op, (uint8_t)(0x80 | (n & 7) << 3 | (ENV & 7)));
		as_u32(a, (uint32_t)(OFF(s.vec) + (int32_t)(n * VEC_SIZE)));
	}
}

/* kmovq k, [env + disp32] or the other way */
static void put_masks(struct as *a, unsigned op)
{
	for (unsigned n = 0; n < 8; n++) {
		AS(a, 0xc4, 0xc1, 0xf8, (uint8_t)op, (uint8_t)(0x80 | n << 3 | (ENV & 7)));
		as_u32(a, (uint32_t)(OFF(s.k) + (int32_t)(8 * n)));
	}
}

static const uint8_t saved[] = { H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15 };

static void put_push(struct as *a, unsigned reg, bool pop)
{
	if (reg & 8)
		as_byte(a, 0x41);
	as_byte(a, (pop ? 0x58u : 0x50u) | (reg & 7));
}

void jit_put_vec_test(struct as *a, unsigned value)
{
	AS(a, 0x41, 0x80); /* cmp byte [env + vec_live], value */
	as_mem(a, 7, ENV, OFF(hc.vec_live));
	as_byte(a, value);
}

/* Returns the place of a jump that is taken when vector registers are in memory. */
static uint8_t *put_unless_vec(struct as *a)
{
	jit_put_vec_test(a, JIT_VEC_NONE);
	return as_jcc(a, CC_E);
}

/* Vector registers from memory, as hc.vec_live says. */
static void put_vec_fill(struct as *a)
{
	uint8_t *low, *zmm, *zmm_low, *done[3];

	jit_put_vec_test(a, JIT_VEC_XMM);
	low = as_jcc(a, CC_E);
	zmm = as_jcc(a, CC_A);
	put_vecs(a, 0x10);
	done[0] = as_jmp(a);
	as_patch(low, a->p);
	put_xmms(a);
	done[1] = as_jmp(a);
	as_patch(zmm, a->p);
	put_masks(a, 0x90);
	jit_put_vec_test(a, JIT_VEC_ZMM_LOW);
	zmm_low = as_jcc(a, CC_E);
	put_zmms(a, 0x10, 0);
	done[2] = as_jmp(a);
	as_patch(zmm_low, a->p);
	put_xmms(a);
	put_zmms(a, 0x10, 16);
	for (unsigned i = 0; i < ARRAY_SIZE(done); i++)
		as_patch(done[i], a->p);
}

static void put_load_vecs(struct as *a)
{
	uint8_t *skip = put_unless_vec(a);

	put_vec_fill(a);
	as_patch(skip, a->p);
}

/*
 * What a RET finds that has no CALL: an address, whichever it is, and host code (at bottom) that looks for
 * the one that is due. Pairs above are pushed by xflow.c.
 */
static void put_stack_bottom(struct as *a, const uint8_t *bottom)
{
	AS(a, 0x6a, 0);		 /* push 0 */
	AS(a, 0x48, 0x8d, 0x05); /* lea rax, [rip + bottom] */
	as_u32(a, (uint32_t)(bottom - (a->p + 4)));
	put_push(a, H_RAX, false);
	as_rm(a, true, AS_STORE, H_RSP, ENV, OFF(jr.stack));
}

static uint8_t *put_bottom(struct as *a, const uint8_t *lookup)
{
	uint8_t *start = a->p;

	as_rm(a, true, AS_LOAD, H_RSP, ENV, OFF(jr.stack));
	as_jmp_to(a, lookup);
	return start;
}

static uint8_t *put_enter(struct as *a, const uint8_t *bottom)
{
	uint8_t *start = a->p;

	AS(a, 0xf3, 0x0f, 0x1e, 0xfa); /* endbr64 */
	for (unsigned i = 0; i < ARRAY_SIZE(saved); i++)
		put_push(a, saved[i], false);
	AS(a, 0x48, 0x83, 0xec, 0x08); /* sub rsp, 8 */
	as_lea(a, true, ENV, H_RDI, -1, 0, ENV_AT);
	put_stack_bottom(a, bottom);
	as_mov(a, ENT, H_RSI);
	put_load_vecs(a);
	put_gprs(a, AS_LOAD);
	AS(a, 0x41, 0xff, 0xe5); /* jmp r13 */
	return start;
}

/* Vector registers to memory: C code does with them as it likes. */
static void put_vec_store(struct as *a)
{
	uint8_t *zmm, *done;

	jit_put_vec_test(a, JIT_VEC_ZMM);
	zmm = as_jcc(a, CC_AE);
	put_vecs(a, 0x11);
	done = as_jmp(a);
	as_patch(zmm, a->p);
	put_zmms(a, 0x11, 0);
	put_masks(a, 0x91);
	as_patch(done, a->p);
	AS(a, 0xc5, 0xf8, 0x77); /* vzeroupper */
}

static void put_spill(struct as *a)
{
	uint8_t *skip = put_unless_vec(a);

	put_vec_store(a);
	AS(a, 0x41, 0xc6, 0x87); /* mov byte [env + vec_live], 0 */
	as_u32(a, (uint32_t)OFF(hc.vec_live));
	as_byte(a, JIT_VEC_NONE);
	as_patch(skip, a->p);
}

/* What all ways out end with; the reason is in EAX. Vector registers are in memory then. */
static uint8_t *put_return(struct as *a)
{
	uint8_t *start = a->p;

	put_spill(a);
	as_rm(a, true, AS_LOAD, H_RSP, ENV, OFF(jr.stack));
	as_alu_imm(a, true, 0, H_RSP, 8 + 16);
	for (unsigned i = ARRAY_SIZE(saved); i-- > 0;)
		put_push(a, saved[i], true);
	as_byte(a, 0xc3);
	return start;
}

static void put_leave(struct as *a, enum jit_exit why, const uint8_t *ret)
{
	put_gprs(a, AS_STORE);
	as_mov_imm32(a, H_RAX, why);
	as_jmp_to(a, ret);
}

/* c->rip = linear address of the page + ENT, a signed number of 32 bits */
static void put_rip_from_offset(struct as *a)
{
	as_rr(a, true, 0x63, ENT, ENT); /* movsxd */
	as_rm(a, true, 0x03, ENT, ENV, OFF_R(R_PC));
	as_rm(a, true, AS_STORE, ENT, ENV, OFF(rip));
}

/* At the guest's address in EA. */
static uint8_t *put_leave_to(struct as *a, enum jit_exit why, const uint8_t *ret)
{
	uint8_t *start = a->p;

	as_rm(a, true, AS_STORE, EA, ENV, OFF(rip));
	put_leave(a, why, ret);
	return start;
}

static uint8_t *put_exit_off(struct as *a, const uint8_t *ret)
{
	uint8_t *start = a->p;

	put_rip_from_offset(a);
	put_leave(a, JIT_POLL, ret);
	return start;
}

static uint8_t *put_exit_link(struct as *a, const uint8_t *ret)
{
	uint8_t *start = a->p;

	jit_put_flags_out(a, EA);
	as_rm(a, false, AS_STORE, T, ENV, OFF(jr.site));
	put_rip_from_offset(a);
	put_leave(a, JIT_LINK, ret);
	return start;
}

static uint8_t *put_exit_bail(struct as *a, const uint8_t *ret)
{
	uint8_t *start = a->p;

	as_rm(a, false, AS_STORE, ENT, ENV, OFF(hc.id));
	put_leave(a, JIT_BAIL, ret);
	return start;
}

static uint8_t *put_exit_store(struct as *a, const uint8_t *ret)
{
	uint8_t *start = a->p;

	as_rm(a, false, AS_STORE, ENT, ENV, OFF(hc.id));
	as_rm(a, true, AS_STORE, EA, ENV, OFF(jr.lin));
	put_leave(a, JIT_STORED, ret);
	return start;
}

static uint8_t *put_exit_vec(struct as *a, const uint8_t *ret)
{
	uint8_t *start = a->p;

	as_rm(a, false, AS_STORE, ENT, ENV, OFF(hc.id));
	as_rm(a, true, AS_STORE, T, ENV, OFF(jr.resume));
	put_leave(a, JIT_VEC, ret);
	return start;
}

uint8_t *jit_put_poll(struct as *a, unsigned cc)
{
	as_rm(a, false, 0x83, 5, ENV, OFF(poll)); /* sub dword [poll], 1 */
	as_byte(a, 1);
	return as_jcc(a, cc);
}

/*
 * Called where poll has come to 0. It begins anew at a number that is not the same each time: else the clock
 * would be looked at from the same place of a large loop, and that be taken for all that is hot (hot.c).
 */
static uint8_t *put_lull(struct as *a)
{
	uint8_t *start = a->p, *due[3], *out;

	put_push(a, H_RAX, false);
	put_push(a, H_RDX, false);
	AS(a, 0x0f, 0x31);		       /* rdtsc */
	AS(a, 0x48, 0xc1, 0xe2, 0x20);	       /* shl rdx, 32 */
	as_rr(a, true, 0x0b, H_RAX, H_RDX);    /* or */
	as_rm(a, true, 0x3b, H_RAX, ENV, OFF(jr.lull_until));
	due[0] = as_jcc(a, CC_AE);
	as_rm(a, true, AS_LOAD, H_RAX, ENV, OFF(vcpu));
	as_rm(a, false, AS_LOAD, H_RAX, H_RAX, offsetof(struct vcpu, events));
	as_rm(a, false, 0x85, H_RAX, ENV, OFF(ev_mask)); /* test */
	due[1] = as_jcc(a, CC_NE);
	as_rm(a, false, 0x83, 5, ENV, OFF(jr.lulls)); /* sub dword [lulls], 1 */
	as_byte(a, 1);
	due[2] = as_jcc(a, CC_E);
	AS(a, 0x0f, 0x31); /* rdtsc */
	as_alu_imm(a, false, 4, H_RAX, POLL_BLOCKS / 8 - 1);
	as_alu_imm(a, false, 0, H_RAX, POLL_BLOCKS - POLL_BLOCKS / 8);
	as_rm(a, false, AS_STORE, H_RAX, ENV, OFF(poll));
	as_rr(a, false, 0x33, H_RAX, H_RAX); /* ZF */
	out = a->p;
	put_push(a, H_RDX, true);
	put_push(a, H_RAX, true);
	as_byte(a, 0xc3);
	for (unsigned i = 0; i < ARRAY_SIZE(due); i++)
		as_patch(due[i], a->p);
	as_rr(a, true, 0x85, ENV, ENV); /* not ZF */
	as_jmp_to(a, out);
	return start;
}

/* The vCPU is the first argument. */
static void put_call_c(struct as *a, uintptr_t fn)
{
	as_lea(a, true, H_RDI, ENV, -1, 0, -(int32_t)ENV_AT);
	AS(a, 0x48, 0xb8); /* mov rax, imm64 */
	as_u32(a, (uint32_t)fn);
	as_u32(a, (uint32_t)((uint64_t)fn >> 32));
	AS(a, 0xff, 0xd0); /* call rax */
}

/* Vector registers to memory, to be loaded again. */
static void put_lend_vecs(struct as *a)
{
	uint8_t *skip = put_unless_vec(a);

	put_vec_store(a);
	as_patch(skip, a->p);
}

/* C finds out where to go on; flags are in c->fl. */
static void put_go_by(struct as *a, const void *(*fn)(struct soft_cpu *))
{
	put_gprs(a, AS_STORE);
	put_lend_vecs(a);
	put_call_c(a, (uintptr_t)fn);
	as_mov(a, ENT, H_RAX);
	put_load_vecs(a);
	put_gprs(a, AS_LOAD);
	AS(a, 0x41, 0xff, 0xe5); /* jmp r13 */
}

static uint8_t *put_careful(struct as *a)
{
	uint8_t *start = a->p;

	as_rm(a, false, AS_STORE, ENT, ENV, OFF(hc.id));
	as_rm(a, false, AS_STORE, T, ENV, OFF(jr.site));
	put_go_by(a, jit_careful);
	return start;
}

/* ENT = the entry of the jump cache that an address in EA would have. */
static void put_jump_slot(struct as *a)
{
	AS(a, 0x4d, 0x69, 0xee); /* imul r13, r14, imm32 */
	as_u32(a, JUMP_HASH_FACTOR);
	AS(a, 0x49, 0xc1, 0xed, JUMP_HASH_SHIFT - 6); /* shr r13, imm8 */
	as_alu_imm(a, false, 4, ENT, (JUMP_CACHE_SIZE - 1) << 6);
	_Static_assert(sizeof(struct jump_entry) == 64, "the shift");
	_Static_assert(offsetof(struct block_cache, jump) == 0, "the base");
	as_rm(a, true, 0x03, ENT, ENV, OFF(blocks));
}

void jit_put_go(struct as *a, bool call)
{
	as_rm(a, false, 0xff, call ? 2 : 4, ENT, offsetof(struct jump_entry, code));
}

unsigned jit_put_lookup(struct as *a, enum jit_whose whose, uint8_t *miss[JIT_LOOKUP_MISSES])
{
	uint8_t *same = NULL;
	unsigned n = 0;

	put_jump_slot(a);
	as_rm(a, true, 0x3b, EA, ENT, offsetof(struct jump_entry, lin));
	miss[n++] = as_jcc(a, CC_NE);
	as_rm(a, true, AS_LOAD, T, ENT, offsetof(struct jump_entry, stamp));
	if (whose != JIT_GLOBAL)
		as_rm(a, true, 0x3b, T, ENV, OFF(stamp));
	if (whose == JIT_ANY)
		same = as_jcc(a, CC_E);
	if (whose != JIT_LOCAL)
		as_rm(a, true, 0x3b, T, ENV, OFF(stamp_global));
	miss[n++] = as_jcc(a, CC_NE);
	if (same)
		as_patch(same, a->p);
	as_rm(a, true, AS_LOAD, T, ENT, offsetof(struct jump_entry, gen_at));
	as_rm(a, false, AS_LOAD, T, T, 0);
	as_rm(a, false, 0x3b, T, ENT, offsetof(struct jump_entry, gen));
	miss[n++] = as_jcc(a, CC_NE);
	miss[n++] = jit_put_poll(a, CC_E);
	as_rm(a, true, AS_LOAD, T, ENT, offsetof(struct jump_entry, page));
	as_rm(a, true, AS_STORE, T, ENV, OFF_R(R_PC));
	return n;
}

static uint8_t *put_lookup(struct as *a, const struct jit *j, uint8_t *from_known)
{
	uint8_t *start = a->p, *miss[JIT_LOOKUP_MISSES];
	unsigned n;

	as_store_imm32(a, ENV, OFF(hc.id), JIT_NO_ID);
	as_patch(from_known, a->p);
	n = jit_put_lookup(a, JIT_ANY, miss);
	jit_put_go(a, false);
	as_patch(miss[--n], j->go.poll);
	while (n)
		as_patch(miss[--n], a->p);
	as_rm(a, true, AS_STORE, EA, ENV, OFF(rip)); /* not known */
	put_go_by(a, jit_find);
	return start;
}

static uint8_t *put_link(struct as *a)
{
	uint8_t *start = a->p;

	as_rm(a, false, AS_STORE, T, ENV, OFF(jr.site));
	as_rm(a, false, AS_STORE, ENT, ENV, OFF(hc.id));
	as_rm(a, true, AS_STORE, EA, ENV, OFF(rip));
	put_go_by(a, jit_link);
	return start;
}

/* Host code is in the middle of an instruction that has done nothing yet. */
static uint8_t *put_miss(struct as *a, enum tlb_kind kind)
{
	uint8_t *start = a->p;

	as_alu_imm(a, true, 5, H_RSP, 8);
	put_gprs(a, AS_STORE);
	put_lend_vecs(a);
	as_mov(a, H_RSI, EA);
	as_mov_imm32(a, H_RDX, kind);
	put_call_c(a, (uintptr_t)jit_miss);
	as_rr(a, false, 0x1b6, ENT, H_RAX); /* movzx r13d, al */
	put_load_vecs(a);
	put_gprs(a, AS_LOAD);
	as_alu_imm(a, true, 0, H_RSP, 8);
	as_rr(a, false, 0x85, ENT, ENT); /* test */
	as_byte(a, 0xc3);
	return start;
}

/* rcx = entry of a TLB for EA, rax = offset in the page; returns the place of a jump if there is none. */
static uint8_t *put_entry(struct as *a, enum tlb_kind kind)
{
	as_mov(a, H_RCX, EA);
	AS(a, 0x48, 0xc1, 0xe9, TLB_SHIFT); /* shr rcx, 8 */
	as_alu_imm(a, false, 4, H_RCX, TLB_MASK);
	as_rm(a, true, 0x03, H_RCX, ENV, OFF(tlb));
	as_rm(a, true, AS_LOAD, H_RAX, H_RCX, TLB_OFF(kind, tag));
	as_rr(a, true, 0x33, H_RAX, EA);
	as_alu_imm(a, true, 7, H_RAX, 0x1000);
	return as_jcc(a, CC_AE);
}

#define INFO_OFF(field) \
	(OFF(spot_infos) - OFF(spots) + (int32_t)offsetof(struct spot_info, field))

#define SOON	 48 /* turns of loops between two misses */
#define RESTLESS 16 /* so many that came soon */

/*
 * A spot that misses again and again is no use, and may cost a wrong guess of the host each time. Returns
 * the place of a jump that is taken then.
 */
static uint8_t *put_score(struct as *a)
{
	uint8_t *never, *late, *restless;

	_Static_assert(sizeof(struct spot) == sizeof(struct spot_info), "one offset for all");
	as_rm(a, false, 0x83, 7, ENT, INFO_OFF(place)); /* cmp dword [place], 0 */
	as_byte(a, 0);
	never = as_jcc(a, CC_E);
	as_rm(a, false, AS_LOAD, H_RAX, ENT, INFO_OFF(missed));
	put_push(a, H_RCX, false);
	as_rm(a, false, AS_LOAD, H_RCX, ENV, OFF(poll));
	as_rm(a, false, AS_STORE, H_RCX, ENT, INFO_OFF(missed));
	as_rr(a, false, 0x2b, H_RAX, H_RCX);
	put_push(a, H_RCX, true);
	as_alu_imm(a, false, 7, H_RAX, SOON);
	as_rm(a, false, AS_LOAD, H_RAX, ENT, INFO_OFF(score));
	late = as_jcc(a, CC_A);
	as_lea(a, false, H_RAX, H_RAX, H_RAX, 0, 2);
	as_patch(late, a->p);
	AS(a, 0xd1, 0xe8); /* shr eax, 1: one more, or half as many */
	as_rm(a, false, AS_STORE, H_RAX, ENT, INFO_OFF(score));
	as_alu_imm(a, false, 7, H_RAX, RESTLESS);
	restless = as_jcc(a, CC_AE);
	as_patch(never, a->p);
	return restless;
}

/* Puts the spot into the list of those in use. */
static void put_use_spot(struct as *a)
{
	uint8_t *used;

	as_rm(a, true, 0x83, 7, ENT, offsetof(struct spot, limit)); /* cmp qword [limit], 0 */
	as_byte(a, 0);
	used = as_jcc(a, CC_NE);
	as_rm(a, false, AS_LOAD, H_RAX, ENV, OFF(spots_used));
	as_rm(a, false, AS_STORE, H_RAX, ENT, INFO_OFF(next));
	as_mov(a, H_RAX, ENT);
	as_rr(a, true, 0x2b, H_RAX, ENV);
	as_rm(a, false, AS_STORE, H_RAX, ENV, OFF(spots_used));
	as_patch(used, a->p);
}

/* Called by host code. get: what gets EA into the TLB. */
static uint8_t *put_fill(struct as *a, bool write, bool flat, const uint8_t *get)
{
	const enum tlb_kind kind = write ? TLB_WRITE : TLB_READ;
	uint8_t *start = a->p, *miss, *over, *restless, *out;

	put_push(a, H_RAX, false);
	put_push(a, H_RCX, false);
	miss = put_entry(a, kind);
	as_rm(a, false, 0x3b, H_RAX, ENT, INFO_OFF(full));
	over = as_jcc(a, CC_AE); /* the page's end */
	restless = put_score(a);
	put_use_spot(a);
	as_rm(a, true, 0xff, 0, ENV, OFF(n.spot_fills)); /* inc qword [spot_fills] */
	as_rm(a, true, AS_LOAD, H_RAX, H_RCX, TLB_MORE(kind, watch));
	as_rm(a, true, AS_STORE, H_RAX, ENT, offsetof(struct spot, watch));
	as_rm(a, true, AS_LOAD, H_RCX, H_RCX, TLB_OFF(kind, addend));
	as_mov(a, H_RAX, EA);
	as_alu_imm(a, true, 4, H_RAX, -4096);
	if (!flat)
		as_rr(a, true, 0x03, H_RCX, H_RAX);
	as_rm(a, true, AS_STORE, H_RCX, ENT, offsetof(struct spot, add));
	as_rr(a, true, 0x2b, EA, H_RAX);
	as_rr(a, true, 0x2b, H_RAX, T);
	as_rm(a, true, AS_STORE, H_RAX, ENT, offsetof(struct spot, base));
	as_rm(a, false, AS_LOAD, H_RAX, ENT, INFO_OFF(full));
	as_rm(a, true, AS_STORE, H_RAX, ENT, offsetof(struct spot, limit));
	as_rr(a, false, 0x33, H_RAX, H_RAX); /* ZF */
	out = a->p;
	put_push(a, H_RCX, true);
	put_push(a, H_RAX, true);
	as_byte(a, 0xc3);
	as_patch(restless, a->p);
	as_mov(a, H_RAX, ENT);
	as_rr(a, true, 0x2b, H_RAX, ENV);
	as_rm(a, false, AS_STORE, H_RAX, ENV, OFF(jr.restless));
	as_patch(over, a->p);
	as_rr(a, true, 0x85, ENV, ENV); /* not ZF */
	as_jmp_to(a, out);
	as_patch(miss, a->p);
	put_push(a, H_RCX, true);
	put_push(a, H_RAX, true);
	put_push(a, ENT, false);
	put_push(a, T, false);
	put_push(a, T, false); /* the stack is aligned in host code */
	as_call(a, get);
	put_push(a, T, true);
	put_push(a, T, true);
	put_push(a, ENT, true);
	as_patch(as_jcc(a, CC_NE), start);
	as_rr(a, true, 0x85, ENV, ENV);
	as_byte(a, 0xc3);
	return start;
}

/*
 * The pair that RET found is used up, as it most often is one of its CALL (which a "call; ret" to
 * elsewhere has, too); the last one stays.
 */
static uint8_t *put_unpaired(struct as *a, const uint8_t *lookup)
{
	uint8_t *start = a->p, *last;

	as_rm(a, true, 0x3b, H_RSP, ENV, OFF(jr.stack));
	last = as_jcc(a, CC_E);
	as_alu_imm(a, true, 0, H_RSP, 16);
	as_patch(last, a->p);
	as_jmp_to(a, lookup);
	return start;
}

/* Comes back with the result in ENT. */
static void put_call_step(struct as *a, const void *(*step)(struct soft_cpu *, uint32_t))
{
	put_gprs(a, AS_STORE);
	put_lend_vecs(a);
	as_rr(a, false, AS_LOAD, H_RSI, ENT);
	put_call_c(a, (uintptr_t)step);
	as_mov(a, ENT, H_RAX);
	put_load_vecs(a);
	put_gprs(a, AS_LOAD);
}

/* The stack is aligned in host code, so not behind a call. */
static uint8_t *put_step(struct as *a, const void *(*step)(struct soft_cpu *, uint32_t))
{
	uint8_t *start = a->p, *leave;

	as_alu_imm(a, true, 5, H_RSP, 8);
	put_call_step(a, step);
	as_alu_imm(a, true, 0, H_RSP, 8);
	as_rr(a, true, 0x85, ENT, ENT); /* test */
	leave = as_jcc(a, CC_NE);
	if (step == jit_step_over)
		jit_put_flags_in(a, T);
	as_byte(a, 0xc3);
	as_patch(leave, a->p);
	as_rm(a, true, AS_LOAD, H_RSP, ENV, OFF(jr.stack));
	AS(a, 0x41, 0xff, 0xe5); /* jmp r13 */
	return start;
}

static uint8_t *put_step_end(struct as *a)
{
	uint8_t *start = a->p;

	put_call_step(a, jit_step);
	as_rm(a, true, AS_LOAD, H_RSP, ENV, OFF(jr.stack)); /* what calls left may be of another mode */
	AS(a, 0x41, 0xff, 0xe5);			     /* jmp r13 */
	return start;
}

static uint8_t *put_leave_only(struct as *a, enum jit_exit why, const uint8_t *ret)
{
	uint8_t *start = a->p;

	put_leave(a, why, ret);
	return start;
}

static void tell_part(const struct jit *j, const char *name, const uint8_t *from, const uint8_t *to)
{
	jit_perf_note(j->perf, name, j->rx + (from - j->rw), (size_t)(to - from));
}

/* What is in front of the blocks, as four: much time is spent in the last three. */
static void tell_perf(const struct jit *j)
{
	tell_part(j, "hanok-jit-enter-leave", j->rw, j->go.lookup_from);
	tell_part(j, "hanok-jit-lookup", j->go.lookup_from, j->go.cold);
	tell_part(j, "hanok-jit-tlb", j->go.cold, j->go.step);
	tell_part(j, "hanok-jit-step", j->go.step, j->rw + j->used);
}

void jit_put_routines(struct jit *j)
{
	struct as a = { .p = j->rw, .end = j->rw + JIT_CODE_SIZE };
	uint8_t *ret = put_return(&a);

	j->go.exit_off = put_exit_off(&a, ret);
	j->go.exit_link = put_exit_link(&a, ret);
	j->go.exit_bail = put_exit_bail(&a, ret);
	j->go.exit_store = put_exit_store(&a, ret);
	j->go.exit_vec = put_exit_vec(&a, ret);
	j->go.poll = put_leave_to(&a, JIT_POLL, ret);
	j->go.lull = put_lull(&a);
	j->go.lookup_from = a.p;
	as_rm(&a, false, AS_STORE, T, ENV, OFF(hc.id));
	j->go.lookup = put_lookup(&a, j, as_jmp(&a));
	j->go.link = put_link(&a);
	j->go.enter = put_enter(&a, put_bottom(&a, j->go.lookup));
	j->go.cold = put_leave_to(&a, JIT_RIP, ret);
	j->go.unpaired = put_unpaired(&a, j->go.lookup_from);
	j->go.careful = put_careful(&a);
	for (unsigned i = 0; i < 2; i++)
		j->go.miss[i] = put_miss(&a, i ? TLB_WRITE : TLB_READ);
	for (unsigned i = 0; i < 4; i++)
		j->go.fill[i >> 1][i & 1] = put_fill(&a, i >> 1, i & 1, j->go.miss[i >> 1]);
	j->go.step = put_step(&a, jit_step);
	j->go.step_over = put_step(&a, jit_step_over);
	j->go.step_end = put_step_end(&a);
	j->go.leave_rip = put_leave_only(&a, JIT_RIP, ret);
	j->go.leave_poll = put_leave_only(&a, JIT_POLL, ret);
	j->go.leave_bail = put_leave_only(&a, JIT_BAIL, ret);
	j->used = j->first = align_up((uint64_t)(a.p - j->rw), 16);
	if (j->perf)
		tell_perf(j);
}
