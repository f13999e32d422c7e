/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the translator and the interpreter made of the same instructions, compared; and told, when it is not
 * the same. Status flags that an instruction leaves undefined may differ, and those that host code has not
 * kept because they are written before they are read. vCPU thread.
 */
#include "accel/soft/decode/decode.h"
#include "accel/soft/jit/lock_int.h"
#include "accel/soft/mmu.h"
#include "base/bytes.h"
#include <stdio.h>

/* ---- flags ---- */

/* Those that the first nr instructions leave undefined. */
static unsigned undefined_flags(const struct block *b, unsigned nr)
{
	unsigned undefined = 0;

	for (unsigned i = 0; i < nr; i++)
		undefined = op_undefined(&op_descs[b->in[i].op], undefined);
	return undefined & FLAGS_STATUS;
}

static unsigned flags_read_at(struct soft_cpu *c, const struct block *b, int64_t off, unsigned flags,
			      unsigned depth);

/* Of `flags`, those that the instructions from i on read; *left: that are neither read nor written there. */
static unsigned flags_read(struct soft_cpu *c, const struct block *b, unsigned i, unsigned flags,
			   unsigned *left)
{
	unsigned read = 0;

	for (; i < b->nr && flags; i++) {
		const struct op_desc *d = &op_descs[b->in[i].op];

		if (!b->in[i].op || (d->cls == OPC_SYS && lockstep_alone(&b->in[i]))) {
			*left = 0;
			return read | flags;
		}
		read |= flags & d->flags_r;
		flags &= ~(unsigned)d->flags_r;
		if (!(d->attr & OPA_FLCOND))
			flags &= ~(unsigned)(d->flags_w | d->flags_u);
		if (d->mn == MN_JCC && i + 1u < b->nr)
			read |= flags_read_at(c, b, (int64_t)b->in[i].imm + b->in[i].next, flags, LIVE_DEPTH);
	}
	*left = flags;
	return read;
}

static bool is_conditional(const struct insn *in)
{
	return op_descs[in->op].mn == MN_JCC || op_descs[in->op].mn == MN_JCXZ;
}

/* Whether the translator looks at what it branches to. */
static bool goes_to(const struct insn *in)
{
	unsigned mn = op_descs[in->op].mn;

	return op_descs[in->op].operand[0].kind == OPK_REL &&
	       (is_conditional(in) || mn == MN_JMP || mn == MN_CALL);
}

/*
 * The same from an offset in b's page on, over as many blocks as the translator looks at; what is not decided
 * then counts as read.
 */
static unsigned flags_read_at(struct soft_cpu *c, const struct block *b, int64_t off, unsigned flags,
			      unsigned depth)
{
	const struct block *to = NULL;
	const struct insn *last;
	unsigned left, read;

	if (depth && off >= 0 && off < 0x1000)
		to = block_known(c, b, (unsigned)off);
	if (!to)
		return flags;
	read = flags_read(c, to, 0, flags, &left);
	last = &to->in[to->nr - 1];
	if (goes_to(last))
		read |= flags_read_at(c, to, (int64_t)last->imm + last->next, left, depth - 1);
	else if (last->flags & INSN_END)
		return read | left;
	if (!(last->flags & INSN_END) || is_conditional(last))
		read |= flags_read_at(c, to, last->next, left, depth - 1);
	return read;
}

/* Of flags in front of instruction nr, where the run ended, those that may be read. */
static unsigned live_flags(struct soft_cpu *c, const struct lock_run *run, unsigned flags)
{
	const struct block *b = run->b;
	unsigned nr = run->nr;
	const struct insn *last = &b->in[nr == b->nr ? run->t0_nr - 1 : b->nr - 1u];
	const struct op_desc *d = &op_descs[last->op];
	unsigned left, read = flags_read(c, b, nr, flags, &left);

	if (nr == b->nr && !(last->flags & INSN_END && d->operand[0].kind != OPK_REL))
		return flags_read_at(c, b, (int64_t)(run->t1.rip - (run->before.rip & PAGE_ADDR)), flags,
				     LIVE_DEPTH);
	if (!(last->flags & INSN_END))
		return read | flags_read_at(c, b, last->next, left, LIVE_DEPTH);
	if (!goes_to(last))
		return read | left;
	read |= flags_read_at(c, b, (int64_t)last->imm + last->next, left, LIVE_DEPTH);
	if (is_conditional(last))
		read |= flags_read_at(c, b, last->next, left, LIVE_DEPTH);
	return read;
}

/* ---- telling ---- */

static const char *const gpr_names[] = { "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8",
					 "R9", "R10", "R11", "R12", "R13", "R14", "R15" };

struct report {
	char *what; /* the first difference, or NULL: nobody asks */
	size_t size;
	bool differs;
};

__attribute__((format(printf, 2, 3))) static void differ(struct report *r, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("lockstep: %s", text);
	if (!r->differs)
		snprintf(r->what, r->size, "%s", text);
	r->differs = true;
}

static void number(struct report *r, const char *name, uint64_t t1, uint64_t t0, uint64_t before)
{
	if (t1 != t0)
		differ(r, "%s is %#" PRIx64 ", of the interpreter %#" PRIx64 " (was %#" PRIx64 ")", name,
		       t1, t0, before);
}

static size_t first_difference(const void *a, const void *b, size_t size)
{
	const uint8_t *p = a, *q = b;
	size_t i = 0;

	if (!memcmp(a, b, size))
		return size;
	while (i < size && p[i] == q[i])
		i++;
	return i;
}

static void bytes(struct report *r, const char *name, unsigned n, const uint8_t *t1, const uint8_t *t0,
		  size_t size)
{
	size_t i = first_difference(t1, t0, size);

	if (i < size)
		differ(r, "%s %u differs from byte %zu on: %#" PRIx64 ", of the interpreter %#" PRIx64,
		       name, n, i, ld_le64(t1 + (i & ~7ul)), ld_le64(t0 + (i & ~7ul)));
}

/* ---- comparing ---- */

static void diff_vectors(struct report *r, const struct lock_run *run)
{
	const struct cpu_state *t1 = &run->t1.s, *t0 = &run->t0.s;

	for (unsigned i = 0; i < ARRAY_SIZE(t1->vec); i++)
		bytes(r, "vector register", i, t1->vec[i], t0->vec[i], sizeof(t1->vec[i]));
	for (unsigned i = 0; i < ARRAY_SIZE(t1->st); i++)
		bytes(r, "x87 register", i, t1->st[i], t0->st[i], sizeof(t1->st[i]));
	number(r, "MXCSR", t1->mxcsr, t0->mxcsr, run->before.s.mxcsr);
	number(r, "FCW", t1->fcw, t0->fcw, run->before.s.fcw);
	number(r, "FSW", t1->fsw, t0->fsw, run->before.s.fsw);
	number(r, "FTW", t1->ftw, t0->ftw, run->before.s.ftw);
	number(r, "FOP", t1->fop, t0->fop, run->before.s.fop);
	number(r, "FIP", t1->fip, t0->fip, run->before.s.fip);
	number(r, "FDP", t1->fdp, t0->fdp, run->before.s.fdp);
}

static void diff_state(struct report *r, const struct lock_run *run)
{
	size_t at = first_difference(&run->t1.s, &run->t0.s, sizeof(run->t1.s));

	if (at == sizeof(run->t1.s))
		return;
	diff_vectors(r, run);
	if (!r->differs)
		differ(r, "the processor's state differs from byte %zu on", at);
}

static void diff_flags(struct soft_cpu *c, struct report *r, const struct lock_run *run)
{
	uint32_t t1 = fl_to_flags(run->t1.fl), t0 = fl_to_flags(run->t0.fl);
	unsigned flags = (t1 ^ t0) & ~undefined_flags(run->b, run->t0_nr);

	if (flags && live_flags(c, run, flags))
		differ(r, "flags are %#x, of the interpreter %#x (were %#x); of these count %#x", t1, t0,
		       fl_to_flags(run->before.fl), live_flags(c, run, flags));
}

static void diff_memory(struct report *r, const struct lock_run *run)
{
	for (unsigned i = 0; i < run->nr_pages; i++) {
		const struct lock_page *pg = &run->pages[i];
		size_t at = first_difference(pg->t1, pg->t0, sizeof(pg->t1));

		if (at == sizeof(pg->t1))
			continue;
		differ(r, "memory at %#" PRIx64 " is %#x, of the interpreter %#x (was %#x)", pg->lin + at,
		       pg->t1[at], pg->t0[at], pg->host[at]);
	}
}

static void log_block(const struct lock_run *run)
{
	const struct block *b = run->b;
	const uint8_t *code = block_bytes(b);

	log_error("lockstep: %u of %u instructions at RIP %#" PRIx64 ", physical %#" PRIx64, run->nr, b->nr,
		  run->before.rip, b->gpa);
	for (unsigned i = 0; i < b->nr; i++) {
		const struct insn *in = &b->in[i];
		char hex[2 * 15 + 1] = "";

		for (unsigned n = 0; n < in->len && n < 15; n++)
			snprintf(hex + 2 * n, 3, "%02x", code[n]);
		code += in->len;
		log_error("lockstep: %4x %-30s %s%s", in->next - in->len, hex, op_name(in->op),
			  i == run->nr ? " (not done)" : "");
	}
	for (unsigned i = 0; i < 16; i++)
		log_error("lockstep: %-3s was %016" PRIx64 ", is %016" PRIx64 ", of the interpreter %016"
			  PRIx64, gpr_names[i], run->before.r[i], run->t1.r[i], run->t0.r[i]);
}

/* Where host code goes on: behind what was done, when the rest is the interpreter's. */
static uint64_t t1_rip(const struct lock_run *run)
{
	if (run->nr == run->b->nr)
		return run->t1.rip;
	return (run->before.rip & PAGE_ADDR) + run->b->in[run->nr - 1].next;
}

bool lock_differs(struct soft_cpu *c, const struct lock_run *run, char *what, size_t size)
{
	struct report r = { .what = what, .size = size };

	if (run->t0_faulted)
		differ(&r, "the interpreter raises exception %u", c->fault.vector);
	for (unsigned i = 0; i < 16; i++)
		number(&r, gpr_names[i], run->t1.r[i], run->t0.r[i], run->before.r[i]);
	if (!run->t0_faulted)
		number(&r, "RIP", t1_rip(run), run->t0.rip, run->before.rip);
	number(&r, "RFLAGS", run->t1.rflags, run->t0.rflags, run->before.rflags);
	number(&r, "the mask of events", run->t1.ev_mask, run->t0.ev_mask, run->before.ev_mask);
	diff_flags(c, &r, run);
	diff_state(&r, run);
	diff_memory(&r, run);
	if (r.differs)
		log_block(run);
	return r.differs;
}
