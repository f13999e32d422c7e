/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AVX-512: instructions with EVEX, and those on mask registers. They run as themselves (thunk_evex.c);
 * here is which memory they access. Elements that the mask leaves out are not accessed and cannot fault,
 * unless the operation is of those that access all (EV_WHOLE). Intel SDM vol. 2, 2.7 and 2.8.
 *
 * An operand whose bytes are all in one page of plain RAM is used in place, whatever the mask says. Else it
 * is put together from, or taken apart into, the elements that count.
 *
 * bind_evex() puts into fields of struct insn that have no use any more: pad[0] and pad[1] as native.c,
 * cc the register files of the operands, opsize bytes in memory, imm2 bytes of an element, and but for a
 * vector index, vidx the bits of the mask that count. vCPU thread only.
 */
#include "accel/soft/fpu.h"
#include "accel/soft/decode/decode.h"
#include "accel/soft/exec.h"
#include "accel/soft/native.h"
#include "base/bytes.h"
#include "isa/x86/cpuid.h"

#define NEED(in)  ((in)->pad[0])
#define ALIGN(in) ((in)->pad[1])

enum file { F_VEC, F_GPR, F_MASK };

static inline void *file_at(struct soft_cpu *c, unsigned file, unsigned n)
{
	switch (file & 3) {
	case F_VEC:
		return c->s.vec[n];
	case F_GPR:
		return &c->r[n];
	default:
		return &c->s.k[n & 7];
	}
}

/* rm: where the memory operand is; NULL: a register. */
CALLS_MADE_CODE static void run(struct soft_cpu *c, const struct insn *in, void *rm)
{
	void *reg = file_at(c, in->cc, in->reg_n), *vvvv = file_at(c, in->cc >> 4, in->vvvv);

	((thunk_fn)in->native)(reg, rm ? rm : file_at(c, in->cc >> 2, in->rm_n), vvvv,
			       &c->s.k[in->evex & EVEX_MASK], c);
}

HANDLER(run_reg)
{
	fpu_require(c, NEED(in));
	run(c, in, NULL);
	NEXT();
}

/* ---- which elements ---- */

static uint64_t low_bits(unsigned n)
{
	return n < 64 ? BIT64(n) - 1 : UINT64_MAX;
}

/* The mask bits that count; all without a mask. */
static uint64_t mask_of(const struct soft_cpu *c, const struct insn *in, unsigned n)
{
	unsigned k = in->evex & EVEX_MASK;

	return (k ? c->s.k[k] : UINT64_MAX) & low_bits(n);
}

/* Of the elements in memory: fewer than the mask has bits when they are broadcast. */
static uint64_t active(const struct soft_cpu *c, const struct insn *in)
{
	unsigned n = in->opsize / in->imm2;
	uint64_t mask = mask_of(c, in, in->vidx), act = 0;

	for (unsigned at = 0; at < 64; at += n)
		act |= mask >> at & low_bits(n);
	return act;
}

static bool all_active(const struct insn *in)
{
	return !(in->evex & EVEX_MASK) || (op_descs[in->op].evex & EV_WHOLE);
}

/* Linear address of size bytes at an offset from an effective address. */
static uint64_t linear(struct soft_cpu *c, const struct insn *in, uint64_t ea, unsigned size, bool write)
{
	if (in->flags & INSN_A32)
		ea = (uint32_t)ea;
	else if (in->flags & INSN_A16)
		ea = (uint16_t)ea;
	if (in->flags & INSN_SEGCK)
		return seg_linear(c, in->seg, ea, size, write);
	return ea + c->segbase[in->seg];
}

static uint64_t element(struct soft_cpu *c, const struct insn *in, unsigned i, bool write)
{
	return linear(c, in, native_ea(c, in) + i * in->imm2, in->imm2, write);
}

/* The operand in the page itself, or NULL. */
static void *in_place(struct soft_cpu *c, const struct insn *in, enum tlb_kind kind, uint64_t lin)
{
	const struct tlb_entry *t = tlb_slot(c->tlb, kind, lin);

	if ((in->flags & INSN_SEGCK) || !tlb_hit(t, lin, in->opsize))
		return NULL;
	return (void *)(uintptr_t)(lin + t->addend);
}

/*
 * Its address without checks, to look whether it is in place; but for alignment, which matters when any
 * element is accessed.
 */
static uint64_t operand(struct soft_cpu *c, const struct insn *in)
{
	uint64_t lin = native_ea(c, in) + c->segbase[in->seg];

	if (unlikely(lin & ALIGN(in)) && active(c, in))
		cpu_raise_err(c, X86_GP, 0);
	return lin;
}

/* ---- loads and stores ---- */

HANDLER(run_load)
{
	fpu_require(c, NEED(in));
	uint64_t lin = operand(c, in);
	void *p = in_place(c, in, TLB_READ, lin);

	if (likely(p)) {
		run(c, in, p);
		NEXT();
	}
	p = c->fpu->bounce;
	if (all_active(in)) {
		mmu_read(c, native_linear(c, in, in->opsize, false), p, in->opsize);
	} else {
		uint64_t act = active(c, in);

		memset(p, 0, in->opsize);
		for (unsigned i = 0; act >> i; i++) {
			if (act >> i & 1)
				st_le((uint8_t *)p + i * in->imm2,
				      mmu_ld_slow(c, element(c, in, i, false), in->imm2), in->imm2);
			if (i == 63)
				break;
		}
	}
	run(c, in, p);
	NEXT();
}

/* Elements of the bounce buffer to memory; commit: not only to see whether they fault. */
static void put_elements(struct soft_cpu *c, const struct insn *in, uint64_t act, bool commit)
{
	for (unsigned i = 0; i < 64; i++) {
		if (!(act >> i & 1))
			continue;
		uint64_t lin = element(c, in, i, true);

		if (commit)
			mmu_st_slow(c, lin, ld_le(c->fpu->bounce + i * in->imm2, in->imm2), in->imm2);
		else
			mmu_probe_write(c, lin, in->imm2);
	}
}

HANDLER(run_store)
{
	fpu_require(c, NEED(in));
	uint64_t lin = operand(c, in), act;
	void *p = in_place(c, in, TLB_WRITE, lin);

	if (likely(p)) {
		run(c, in, p);
		mmu_wrote(c, lin, in->opsize);
		NEXT();
	}
	p = c->fpu->bounce;
	if (!(in->evex & EVEX_MASK)) {
		lin = native_linear(c, in, in->opsize, true);
		mmu_probe_write(c, lin, in->opsize);
		run(c, in, p);
		mmu_write(c, lin, p, in->opsize);
		NEXT();
	}
	act = active(c, in);
	if (all_active(in))
		mmu_probe_write(c, native_linear(c, in, in->opsize, true), in->opsize);
	else
		put_elements(c, in, act, false);
	run(c, in, p);
	put_elements(c, in, act, true);
	NEXT();
}

/* ---- expand and compress: in memory are only the elements that the mask has ---- */

static unsigned packed_size(const struct soft_cpu *c, const struct insn *in)
{
	return (unsigned)__builtin_popcountll(mask_of(c, in, in->vidx)) * in->imm2;
}

HANDLER(run_expand)
{
	fpu_require(c, NEED(in));
	unsigned size = packed_size(c, in);

	if (size)
		mmu_read(c, native_linear(c, in, size, false), c->fpu->bounce, size);
	memset(c->fpu->bounce + size, 0, 64 - size);
	run(c, in, c->fpu->bounce);
	NEXT();
}

HANDLER(run_compress)
{
	fpu_require(c, NEED(in));
	unsigned size = packed_size(c, in);
	uint64_t lin;

	if (!size)
		NEXT();
	lin = native_linear(c, in, size, true);
	mmu_probe_write(c, lin, size);
	run(c, in, c->fpu->bounce);
	mmu_write(c, lin, c->fpu->bounce, size);
	NEXT();
}

/* ---- gather and scatter ---- */

/* opsize is the element's size, imm the index's. */
static uint64_t indexed(struct soft_cpu *c, const struct insn *in, unsigned i, bool write)
{
	const uint8_t *index = c->s.vec[in->vidx];
	uint64_t idx = in->imm == 4 ? (uint64_t)(int32_t)ld_le32(index + 4 * i) : ld_le64(index + 8 * i);
	uint64_t ea = R64(c, in->base) + (uint64_t)(int64_t)in->disp + (idx << in->scale);

	return linear(c, in, ea, in->opsize, write);
}

static unsigned nr_indexed(const struct insn *in)
{
	return insn_vl(in) / MAX((unsigned)in->opsize, (unsigned)in->imm);
}

/* Elements before one that faults are done, and their mask bits clear. */
HANDLER(gather)
{
	uint64_t *k = &c->s.k[in->evex & EVEX_MASK];
	uint8_t *to = c->s.vec[in->reg_n];
	unsigned n = nr_indexed(in), size = in->opsize;

	fpu_require(c, FPN_EVEX);
	for (unsigned i = 0; i < n; i++) {
		if (*k >> i & 1)
			st_le(to + i * size, mmu_ld_slow(c, indexed(c, in, i, false), size), size);
		*k &= ~BIT64(i);
	}
	*k = 0;
	memset(to + n * size, 0, 64 - n * size);
	NEXT();
}

HANDLER(scatter)
{
	uint64_t *k = &c->s.k[in->evex & EVEX_MASK];
	const uint8_t *from = c->s.vec[in->reg_n];
	unsigned n = nr_indexed(in), size = in->opsize;

	fpu_require(c, FPN_EVEX);
	for (unsigned i = 0; i < n; i++) {
		if (*k >> i & 1)
			mmu_st_slow(c, indexed(c, in, i, true), ld_le(from + i * size, size), size);
		*k &= ~BIT64(i);
	}
	*k = 0;
	NEXT();
}

/* ---- binding ---- */

/* Whether the CPU model has the instruction: its feature, the foundation, and its vector length. */
static bool offered(const struct soft_cpu *c, const struct insn *in)
{
	const struct op_desc *d = &op_descs[in->op];
	bool rounds = !(in->flags & INSN_MEM) && (in->evex & EVEX_B);

	if (!cpu_has(c, X86F_AVX512F) || !cpu_has(c, d->feature))
		return false;
	if (!(in->flags & INSN_EVEX) || (d->evex & EV_NOVL) || rounds || insn_vl(in) == 64)
		return true;
	return cpu_has(c, X86F_AVX512VL);
}

static void note_file(struct insn *in, const struct op_operand *o)
{
	switch (o->kind) {
	case OPK_REG:
		in->cc |= F_GPR;
		break;
	case OPK_KREG:
		in->cc |= F_MASK;
		break;
	case OPK_RM:
	case OPK_R:
		in->cc |= F_GPR << 2;
		break;
	case OPK_KRM:
	case OPK_KR:
		in->cc |= F_MASK << 2;
		break;
	case OPK_KVVVV:
		in->cc |= F_MASK << 4;
		break;
	default:
		break;
	}
}

static bool is_memory_kind(unsigned kind)
{
	return kind == OPK_M || kind == OPK_W || kind == OPK_RM || kind == OPK_KRM;
}

/* Bits of the mask that a memory operand has to do with. */
static unsigned mask_bits(const struct insn *in)
{
	const char *name = op_name(in->op);
	struct insn full = *in;

	full.evex &= (uint8_t)~EVEX_B;
	if (!strncmp(name, "vbroadcast", 10) || !strncmp(name, "vpbroadcast", 11))
		return insn_vl(in) / in->imm2;
	return insn_mem_size(&full) / in->imm2;
}

static insn_fn bind_memory(struct insn *in)
{
	const struct op_desc *d = &op_descs[in->op];
	bool store = is_memory_kind(d->operand[0].kind) && (d->operand[0].rw & 2);

	in->opsize = (uint8_t)insn_mem_size(in);
	in->imm2 = d->esize ? d->esize : in->opsize;
	in->vidx = (uint8_t)mask_bits(in);
	ALIGN(in) = d->attr & OPA_ALIGN ? (uint8_t)(in->opsize - 1) : 0;
	if (d->evex & EV_PACKED)
		return store ? run_compress : run_expand;
	return store ? run_store : run_load;
}

insn_fn bind_evex(struct soft_cpu *c, struct insn *in, const uint8_t *bytes)
{
	const struct op_desc *d = &op_descs[in->op];
	insn_fn fn = run_reg;

	if (!offered(c, in))
		return exec_ud;
	NEED(in) = d->attr & OPA_MXCSR ? FPN_EVEX_MX : FPN_EVEX;
	for (unsigned i = 0; i < d->nr_operands; i++) {
		if (d->operand[i].kind == OPK_VSIB) {
			in->opsize = d->esize;
			in->imm = strstr(op_name(in->op), "gatherd") || strstr(op_name(in->op), "scatterd") ?
					  4 : 8;
			return i ? gather : scatter;
		}
		note_file(in, &d->operand[i]);
	}
	thunk_fn thunk = thunk_get(c->fpu->thunks, in, bytes, c->code_bits);

	if (!thunk)
		return exec_ud;
	if (in->flags & INSN_MEM)
		fn = bind_memory(in);
	in->native = (void *)thunk;
	return fn;
}
