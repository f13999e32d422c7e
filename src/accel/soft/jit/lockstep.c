/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of blocks by the translator and the interpreter on copies of memory (lockstep.h). The copies are in
 * a software TLB of their own: what a try misses there and would have found in the vCPU's is copied, and
 * the try begins again, until it gets to the end or to what is the interpreter's. vCPU thread.
 */
#include "accel/soft/decode/decode.h"
#include "accel/soft/exec.h"
#include "accel/soft/fpu.h"
#include "accel/soft/jit/code.h"
#include "accel/soft/jit/lock_int.h"
#include <stdio.h>

/* How often a block is compared each time that it runs; then once in so many runs of any (a prime). */
#define ALWAYS 24
#define SELDOM 61

/* Runs by the interpreter before, for jit_longer() to see which block follows which. */
#define SOON_HOT 2

#define SEEN_SIZE  BIT32(17)
#define SEEN_SHIFT 6 /* blocks are larger */

struct lockstep {
	struct soft_cpu *c;
	bool failed, trying;
	uint64_t compared, insns, runs;
	uint64_t flushes;	 /* of the block cache, when seen[] was empty */
	uint8_t seen[SEEN_SIZE]; /* runs compared, by where the block is */
	_Atomic uint64_t no_watch; /* always 0 */
	unsigned nr_entries;
	struct tlb_entry *entries[2 * LOCK_PAGES];
	struct soft_tlb tlb; /* of the copies */
	struct lock_run run;
};

struct lockstep *lockstep_new(struct soft_cpu *c)
{
	struct lockstep *l = xnew_aligned(struct lockstep);

	l->c = c;
	for (unsigned kind = 0; kind < TLB_KINDS; kind++)
		for (unsigned i = 0; i < TLB_SIZE; i++)
			l->tlb.e[kind][i].tag = tlb_no_tag(i);
	jit_set_hot(c->jit, SOON_HOT);
	return l;
}

struct lockstep *lockstep_free(struct lockstep *l)
{
	if (!l)
		return NULL;
	log_info("lockstep: vCPU %u: translator and interpreter compared in %" PRIu64
		 " runs of blocks (%" PRIu64 " instructions) of %" PRIu64 ": %s",
		 l->c->vcpu->index, l->compared, l->insns, l->runs,
		 l->failed ? "they differ" : "no difference");
	free(l);
	return NULL;
}

bool lockstep_failed(const struct lockstep *l)
{
	return l->failed;
}

bool lockstep_trying(const struct lockstep *l)
{
	return l->trying;
}

bool lockstep_alone(const struct insn *in)
{
	const struct op_desc *d = &op_descs[in->op];

	switch (d->mn) {
	case MN_CLI: case MN_STI: case MN_PUSHF: case MN_PAUSE:
		return false;
	case MN_MOVS: case MN_STOS: case MN_LODS: case MN_CMPS: case MN_SCAS:
		return true;
	default:
		return d->cls == OPC_SYS || d->cls == OPC_FPSTATE;
	}
}

uint64_t lockstep_compared(const struct lockstep *l)
{
	return l->compared;
}

/* ---- states ---- */

/* Nothing may be live. */
static void save(const struct soft_cpu *c, struct lock_state *to)
{
	memcpy(to->r, c->r, sizeof(to->r));
	to->rip = c->rip;
	to->rflags = c->rflags;
	to->fl = c->fl;
	to->poll = c->poll;
	to->ev_mask = c->ev_mask;
	to->s = c->s;
}

static void restore(struct soft_cpu *c, const struct lock_state *from)
{
	memcpy(c->r, from->r, sizeof(from->r));
	c->rip = from->rip;
	c->rflags = from->rflags;
	c->fl = from->fl;
	c->poll = from->poll;
	c->ev_mask = from->ev_mask;
	c->s = from->s;
}

/* ---- copies of memory ---- */

static struct lock_page *find_page(struct lockstep *l, uint8_t *host, uint64_t lin)
{
	struct lock_run *run = &l->run;
	struct lock_page *pg;

	for (unsigned i = 0; i < run->nr_pages; i++)
		if (run->pages[i].host == host)
			return &run->pages[i];
	if (run->nr_pages == LOCK_PAGES)
		return NULL;
	pg = &run->pages[run->nr_pages++];
	pg->host = host;
	pg->lin = lin;
	return pg;
}

static uint64_t no_tag(const struct lockstep *l, const struct tlb_entry *e)
{
	return tlb_no_tag((unsigned)(e - l->tlb.e[0]) % TLB_SIZE);
}

/*
 * Whether lin is found now where it was not before. real: the vCPU's TLB. What another page of the block is
 * in stays: where two pages have one slot, the try ends in front of the second.
 */
static bool take_page(struct lockstep *l, struct soft_tlb *real, uint64_t lin)
{
	uint64_t page = lin & PAGE_ADDR;
	bool taken = false;

	for (unsigned kind = TLB_READ; kind <= TLB_WRITE; kind++) {
		const struct tlb_entry *from = tlb_slot(real, kind, lin);
		struct tlb_entry *to = tlb_slot(&l->tlb, kind, lin);
		struct lock_page *pg;

		/* Host code reads by what it looked up to write to (xshare.c); the interpreter does not. */
		if (kind == TLB_READ && from->tag != page)
			from = tlb_slot(real, TLB_WRITE, lin);
		if (from->tag != page || to->tag != no_tag(l, to))
			continue;
		pg = find_page(l, (uint8_t *)(uintptr_t)(page + from->addend), page);
		if (!pg || l->nr_entries == ARRAY_SIZE(l->entries))
			return false;
		*to = *from;
		*tlb_more(to) = *tlb_more(from);
		to->addend = (uint64_t)(uintptr_t)pg->t1 - page;
		l->entries[l->nr_entries++] = to;
		taken = true;
	}
	return taken;
}

/* All that an instruction may access, by the registers in front of it. */
static bool take_operands(struct lockstep *l, struct soft_tlb *real, const struct insn *in)
{
	struct soft_cpu *c = l->c;
	unsigned mn = op_descs[in->op].mn;
	bool taken = false, wide = c->code_bits == 64;
	const uint64_t mask = wide ? UINT64_MAX : UINT32_MAX;

	if ((in->flags & INSN_MEM) && (ea_is_fast(in) || !wide))
		taken |= take_page(l, real, (ea_offset(c, in, 0) + c->segbase[in->seg]) & mask);
	if (mn == MN_PUSH || mn == MN_PUSHF || mn == MN_CALL)
		taken |= take_page(l, real, (c->r[RSP] - in->opsize) & mask);
	else if (mn == MN_POP || mn == MN_RET)
		taken |= take_page(l, real, c->r[RSP] & mask);
	else if (mn == MN_LEAVE)
		taken |= take_page(l, real, c->r[RBP] & mask);
	return taken;
}

/* Both get the same, whatever devices write to the page meanwhile. */
static void copy_pages(struct lockstep *l)
{
	for (unsigned i = 0; i < l->run.nr_pages; i++) {
		struct lock_page *pg = &l->run.pages[i];

		memcpy(pg->t1, pg->host, sizeof(pg->t1));
		memcpy(pg->t0, pg->t1, sizeof(pg->t0));
	}
}

/* From the copies for host code to those for the interpreter, which must not find code to be changed. */
static void turn_pages(struct lockstep *l)
{
	for (unsigned i = 0; i < l->nr_entries; i++) {
		l->entries[i]->addend += offsetof(struct lock_page, t0) - offsetof(struct lock_page, t1);
		tlb_more(l->entries[i])->watch = &l->no_watch;
	}
}

static void drop_pages(struct lockstep *l)
{
	for (unsigned i = 0; i < l->nr_entries; i++)
		l->entries[i]->tag = no_tag(l, l->entries[i]);
	l->nr_entries = 0;
	l->run.nr_pages = 0;
}

/* What the next instruction wants, or, if that is nothing, one behind it: it may be looked up early. */
static bool take_more(struct lockstep *l, struct soft_tlb *real, const struct block *b, unsigned nr)
{
	bool taken = false;

	while (nr < b->nr && !taken)
		taken = take_operands(l, real, &b->in[nr++]);
	return taken;
}

/* ---- tries ---- */

/* Returns how many instructions host code has done. */
static unsigned try_t1(struct lockstep *l, struct block *b)
{
	struct soft_cpu *c = l->c;
	struct soft_tlb *real = c->tlb;
	unsigned nr;

	for (;;) {
		restore(c, &l->run.before);
		copy_pages(l);
		spots_drop(c);
		c->tlb = &l->tlb;
		l->trying = true;
		nr = jit_try(c, b);
		l->trying = false;
		c->tlb = real;
		fpu_spill(c);
		if (nr >= b->nr || !take_more(l, real, b, nr))
			break;
	}
	spots_drop(c);
	save(c, &l->run.t1);
	return nr;
}

/* Whether the interpreter left at a branch that was not taken, and behind which the block goes on. */
static bool passes(const struct soft_cpu *c, const struct block *b)
{
	const struct insn *in = c->cur;

	return in < &b->in[b->nr - 1] && (in->flags & INSN_END) && op_descs[in->op].mn == MN_JCC &&
	       c->rip == c->r[R_PC] + in->next;
}

static void run_t0(struct soft_cpu *c, struct block *b, struct lock_run *run)
{
	const struct insn *in = b->in;

	c->blk = b;
	c->r[R_PC] = c->rip & PAGE_ADDR;
	do {
		c->cur = in;
		in = in->fn(c, in);
		if (!in && passes(c, b))
			in = c->cur + 1;
	} while (in);
	run->t0_nr = MIN((unsigned)(c->cur - b->in) + 1, run->nr);
}

/* The first nr instructions of b by the interpreter. Its faults come here. */
static void try_t0(struct lockstep *l, const struct block *b, unsigned nr)
{
	_Alignas(struct block) uint8_t room[sizeof(*b) + (LONG_MAX + 1) * sizeof(b->in[0])];
	struct block *part = (struct block *)(void *)room;
	struct soft_cpu *c = l->c;
	struct soft_tlb *real = c->tlb;
	jmp_buf on_fault;

	memcpy(room, b, sizeof(*b) + (b->nr + 1u) * sizeof(b->in[0]));
	if (nr < b->nr)
		part->in[nr].fn = exec_leave;
	restore(c, &l->run.before);
	turn_pages(l);
	memcpy(&on_fault, &c->on_fault, sizeof(on_fault));
	c->tlb = &l->tlb;
	l->run.t0_faulted = true;
	if (!_setjmp(c->on_fault)) {
		run_t0(c, part, &l->run);
		l->run.t0_faulted = false;
	}
	if (c->exclusive)
		cpu_exclusive_end(c);
	c->tlb = real;
	memcpy(&c->on_fault, &on_fault, sizeof(on_fault));
	c->cur = NULL;
	c->blk = NULL;
	fpu_spill(c);
	save(c, &l->run.t0);
}

static void fail(struct lockstep *l, const char *what)
{
	struct vcpu *v = l->c->vcpu;

	l->failed = true;
	snprintf(v->fail, sizeof(v->fail), "the translator and the interpreter differ at RIP %#" PRIx64
		 ": %s", l->run.before.rip, what);
}

static void compare(struct lockstep *l, struct block *b)
{
	struct soft_cpu *c = l->c;
	struct lock_run *run = &l->run;
	char what[200];

	fpu_spill(c);
	save(c, &run->before);
	run->b = b;
	run->nr = try_t1(l, b);
	if (run->nr) {
		try_t0(l, b, run->nr);
		if (lock_differs(c, run, what, sizeof(what)))
			fail(l, what);
		l->compared++;
		l->insns += run->t0_nr;
	}
	restore(c, &run->before);
	drop_pages(l);
}

static bool due(struct lockstep *l, const struct block *b)
{
	const struct block_cache *bc = l->c->blocks;
	uint8_t *seen = &l->seen[((uintptr_t)b - (uintptr_t)bc->arena) >> SEEN_SHIFT & (SEEN_SIZE - 1)];

	if (l->flushes != bc->flushes) {
		l->flushes = bc->flushes;
		memset(l->seen, 0, sizeof(l->seen));
	}
	if (*seen < ALWAYS) {
		(*seen)++;
		return true;
	}
	return l->runs % SELDOM == 0;
}

bool lockstep_run(struct soft_cpu *c, struct block *b)
{
	struct lockstep *l = c->lockstep;

	l->runs++;
	if (due(l, b) && !lockstep_alone(&b->in[0]))
		compare(l, jit_whole(c, b));
	return !l->failed && jit_run_once(c, b);
}
