/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MOVS STOS LODS CMPS SCAS with their repeat prefixes. Intel SDM vol. 2. vCPU thread.
 *
 * REP MOVS and REP STOS going up run on host pointers, a page's rest at a time, by the host's own
 * REP instruction of the same element size, so that overlap comes out as on a processor. Between
 * pieces the registers are right and events are looked at: a long one is interrupted and goes on
 * afterwards. The rest is done element by element.
 */
#include "accel/soft/exec.h"
#include "accel/soft/hostops.h"
#include "accel/soft/soft_vm.h"

/* Elements between two looks at events where elements are done one by one. */
#define ELEMS_PER_LOOK 256

struct str {
	unsigned size;	/* of an element */
	unsigned asize; /* of the address registers, bytes */
	uint64_t mask;	/* of the address registers */
	int64_t step;
};

static inline struct str str_of(const struct soft_cpu *c, const struct insn *in)
{
	struct str s = { .size = in->opsize };

	s.asize = in->flags & INSN_A16 ? 2 : in->flags & INSN_A32 ? 4 : 8;
	s.mask = s.asize == 8 ? UINT64_MAX : BIT64(8 * s.asize) - 1;
	s.step = c->rflags & FLAG_DF ? -(int64_t)s.size : (int64_t)s.size;
	return s;
}

static inline uint64_t str_reg(const struct soft_cpu *c, const struct str *s, unsigned reg)
{
	return c->r[reg] & s->mask;
}

static inline void str_add(struct soft_cpu *c, const struct str *s, unsigned reg, uint64_t n)
{
	reg_set(c, R_OFF(reg), s->asize, c->r[reg] + n);
}

/* Source segment: DS or the prefix's; destination: ES. */
static inline uint64_t src_lin(struct soft_cpu *c, const struct insn *in, const struct str *s)
{
	uint64_t off = str_reg(c, s, RSI);

	if (in->flags & INSN_SEGCK)
		return seg_linear(c, in->seg, off, s->size, false);
	return c->segbase[in->seg] + off;
}

static inline uint64_t dst_lin(struct soft_cpu *c, const struct insn *in, const struct str *s,
			       bool write)
{
	uint64_t off = str_reg(c, s, RDI);

	if (in->flags & INSN_SEGCK)
		return seg_linear(c, SEG_ES, off, s->size, write);
	return off;
}

/*
 * How many bytes from off on a segment surely lets through: the rest of a segment that does not
 * expand down. The first element has been checked by seg_linear() already.
 */
static uint64_t seg_room(const struct soft_cpu *c, const struct insn *in, unsigned seg,
			 uint64_t off, const struct str *s)
{
	const struct x86_seg *sg = &c->s.seg[seg];
	uint64_t room = s->mask - off + 1; /* 0 for 2^64 */

	if (!room)
		room = UINT64_MAX;
	if (!(in->flags & INSN_SEGCK))
		return room;
	if ((sg->attr & 0xc) == 0x4 || off > sg->limit)
		return s->size; /* expand-down data */
	return MIN(room, sg->limit - off + 1);
}

static inline uint64_t page_room(uint64_t lin)
{
	return 0x1000 - (lin & PAGE_OFF);
}

static void host_rep_movs(void *dst, const void *src, uint64_t n, unsigned size)
{
	switch (size) {
	case 1:
		asm volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
		break;
	case 2:
		asm volatile("rep movsw" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
		break;
	case 4:
		asm volatile("rep movsl" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
		break;
	default:
		asm volatile("rep movsq" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
		break;
	}
}

static void host_rep_stos(void *dst, uint64_t v, uint64_t n, unsigned size)
{
	switch (size) {
	case 1:
		asm volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(v) : "memory");
		break;
	case 2:
		asm volatile("rep stosw" : "+D"(dst), "+c"(n) : "a"(v) : "memory");
		break;
	case 4:
		asm volatile("rep stosl" : "+D"(dst), "+c"(n) : "a"(v) : "memory");
		break;
	default:
		asm volatile("rep stosq" : "+D"(dst), "+c"(n) : "a"(v) : "memory");
		break;
	}
}

/* One element each. Registers move after the accesses. */
static inline void movs_one(struct soft_cpu *c, const struct insn *in, const struct str *s)
{
	uint64_t from = src_lin(c, in, s), to = dst_lin(c, in, s, true);

	mmu_st(c, to, mmu_ld(c, from, s->size), s->size);
	str_add(c, s, RSI, (uint64_t)s->step);
	str_add(c, s, RDI, (uint64_t)s->step);
}

static inline void stos_one(struct soft_cpu *c, const struct insn *in, const struct str *s)
{
	mmu_st(c, dst_lin(c, in, s, true), c->r[RAX], s->size);
	str_add(c, s, RDI, (uint64_t)s->step);
}

static inline void lods_one(struct soft_cpu *c, const struct insn *in, const struct str *s,
			    uint32_t *fl)
{
	uint64_t v = mmu_ld(c, src_lin(c, in, s), s->size);

	reg_set(c, R_OFF(RAX), s->size, v);
	str_add(c, s, RSI, (uint64_t)s->step);
}

static inline void compare(uint32_t *fl, uint64_t a, uint64_t b, unsigned size)
{
	switch (size) {
	case 1:
		op_cmp_8(fl, (uint8_t)a, (uint8_t)b);
		break;
	case 2:
		op_cmp_16(fl, (uint16_t)a, (uint16_t)b);
		break;
	case 4:
		op_cmp_32(fl, (uint32_t)a, (uint32_t)b);
		break;
	default:
		op_cmp_64(fl, a, b);
		break;
	}
}

static inline void cmps_one(struct soft_cpu *c, const struct insn *in, const struct str *s,
			    uint32_t *fl)
{
	uint64_t a = mmu_ld(c, src_lin(c, in, s), s->size);
	uint64_t b = mmu_ld(c, dst_lin(c, in, s, false), s->size);

	compare(fl, a, b, s->size);
	str_add(c, s, RSI, (uint64_t)s->step);
	str_add(c, s, RDI, (uint64_t)s->step);
}

static inline void scas_one(struct soft_cpu *c, const struct insn *in, const struct str *s,
			    uint32_t *fl)
{
	uint64_t b = mmu_ld(c, dst_lin(c, in, s, false), s->size);

	compare(fl, c->r[RAX], b, s->size);
	str_add(c, s, RDI, (uint64_t)s->step);
}

/* A piece of REP MOVS on host memory; returns elements done, 0: do one the slow way. */
static uint64_t movs_piece(struct soft_cpu *c, const struct insn *in, const struct str *s,
			   uint64_t count)
{
	uint64_t from, to, n;
	void *dst, *src;

	if (s->step < 0 || c->has_watch || c->align_check)
		return 0;
	from = src_lin(c, in, s);
	to = dst_lin(c, in, s, true);
	n = MIN(page_room(from), page_room(to));
	n = MIN(n, seg_room(c, in, in->seg, str_reg(c, s, RSI), s));
	n = MIN(n, seg_room(c, in, SEG_ES, str_reg(c, s, RDI), s));
	n = MIN(n / s->size, count);
	if (!n)
		return 0;
	src = mmu_ptr(c, from, (unsigned)(n * s->size), false);
	dst = mmu_ptr(c, to, (unsigned)(n * s->size), true);
	if (!src || !dst)
		return 0;
	host_rep_movs(dst, src, n, s->size);
	mmu_wrote(c, to, (unsigned)(n * s->size));
	str_add(c, s, RSI, n * s->size);
	str_add(c, s, RDI, n * s->size);
	return n;
}

static uint64_t stos_piece(struct soft_cpu *c, const struct insn *in, const struct str *s,
			   uint64_t count)
{
	uint64_t to, n;
	void *dst;

	if (s->step < 0 || c->has_watch || c->align_check)
		return 0;
	to = dst_lin(c, in, s, true);
	n = MIN(page_room(to), seg_room(c, in, SEG_ES, str_reg(c, s, RDI), s));
	n = MIN(n / s->size, count);
	if (!n)
		return 0;
	dst = mmu_ptr(c, to, (unsigned)(n * s->size), true);
	if (!dst)
		return 0;
	host_rep_stos(dst, c->r[RAX], n, s->size);
	mmu_wrote(c, to, (unsigned)(n * s->size));
	str_add(c, s, RDI, n * s->size);
	return n;
}

/* Whether a repeated instruction has to let go now, to be continued. */
static bool must_pause(struct soft_cpu *c)
{
	if (vcpu_events(c->vcpu) & c->ev_mask)
		return true;
	if (c->poll > 1) {
		c->poll--;
		return c->slow;
	}
	return true;
}

/*
 * Leaves with rip at this instruction: it goes on when the run loop comes back. RF is set meanwhile,
 * so that what is pushed in between says so and its own breakpoint does not hit again.
 */
static const struct insn *come_back(struct soft_cpu *c)
{
	c->rflags |= FLAG_RF;
	END_BLOCK(cpu_cur_rip(c));
}

static inline bool finished(struct soft_cpu *c, const struct str *s)
{
	return !str_reg(c, s, RCX);
}

/*
 * A zero count does nothing, and a count of 32 bits does not touch its upper half - but on Intel's
 * processors, which clear that of RCX first, and of regs too (with MOVS and STOS only).
 */
static inline void narrow(struct soft_cpu *c, const struct str *s, unsigned regs)
{
	if (s->asize != 4 || c->code_bits != 64 || cpu_is_amd(c))
		return;
	for (unsigned r = RCX; r <= RDI; r++)
		if (BIT32(r) & (regs | BIT32(RCX)))
			c->r[r] = (uint32_t)c->r[r];
}

#define REP_PIECES(name, regs)                                                           \
	HANDLER(rep_##name)                                                              \
	{                                                                                \
		const struct str s = str_of(c, in);                                      \
		unsigned ones = 0;                                                       \
                                                                                         \
		narrow(c, &s, regs);                                                     \
		while (!finished(c, &s)) {                                               \
			uint64_t n = c->slow ? 0                                         \
					     : name##_piece(c, in, &s, str_reg(c, &s, RCX)); \
                                                                                         \
			if (n) {                                                         \
				str_add(c, &s, RCX, -n);                                 \
			} else {                                                         \
				name##_one(c, in, &s);                                   \
				str_add(c, &s, RCX, UINT64_MAX);                         \
				if (++ones % ELEMS_PER_LOOK && !c->slow)                 \
					continue;                                        \
			}                                                                \
			if (!finished(c, &s) && must_pause(c))                           \
				return come_back(c);                                     \
		}                                                                        \
		return in + 1;                                                           \
	}                                                                                \
	HANDLER(one_##name)                                                              \
	{                                                                                \
		const struct str s = str_of(c, in);                                      \
                                                                                         \
		name##_one(c, in, &s);                                                   \
		return in + 1;                                                           \
	}
REP_PIECES(movs, BIT32(RSI) | BIT32(RDI))
REP_PIECES(stos, BIT32(RDI))

/*
 * Element by element; stop says when a repetition ends early. A fault leaves the flags of the
 * elements before on AMD's processors, and those from before the instruction on Intel's.
 */
#define REP_ELEMENTS(name, stop)                                                         \
	HANDLER(rep_##name)                                                              \
	{                                                                                \
		const struct str s = str_of(c, in);                                      \
		uint32_t own = c->fl, *fl = cpu_is_amd(c) ? &c->fl : &own;               \
		unsigned ones = 0;                                                       \
		bool pause = false;                                                      \
                                                                                         \
		narrow(c, &s, 0);                                                        \
		while (!pause && !finished(c, &s)) {                                     \
			name##_one(c, in, &s, fl);                                       \
			str_add(c, &s, RCX, UINT64_MAX);                                 \
			if (stop)                                                        \
				break;                                                   \
			pause = (!(++ones % ELEMS_PER_LOOK) || c->slow) &&               \
				!finished(c, &s) && must_pause(c);                       \
		}                                                                        \
		c->fl = *fl;                                                             \
		if (pause)                                                               \
			return come_back(c);                                             \
		return in + 1;                                                           \
	}                                                                                \
	HANDLER(one_##name)                                                              \
	{                                                                                \
		const struct str s = str_of(c, in);                                      \
                                                                                         \
		name##_one(c, in, &s, &c->fl);                                           \
		return in + 1;                                                           \
	}
/* REPE goes on while ZF is set, REPNE while it is clear. */
#define ZF_STOPS (!(*fl & FL_ZF) == !(in->flags & INSN_REPNE))

REP_ELEMENTS(lods, false)
REP_ELEMENTS(cmps, ZF_STOPS)
REP_ELEMENTS(scas, ZF_STOPS)

insn_fn bind_string(struct soft_cpu *c, struct insn *in)
{
	bool rep = in->flags & (INSN_REP | INSN_REPNE);

	switch (op_descs[in->op].mn) {
	case MN_MOVS:
		return rep ? rep_movs : one_movs;
	case MN_STOS:
		return rep ? rep_stos : one_stos;
	case MN_LODS:
		return rep ? rep_lods : one_lods;
	case MN_CMPS:
		return rep ? rep_cmps : one_cmps;
	case MN_SCAS:
		return rep ? rep_scas : one_scas;
	default:
		return NULL;
	}
}
