/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software TLB's contents: filling and flushing.
 *
 * A flush touches only what was filled since the last one: logs keep the slots in use, so that a
 * guest that switches address spaces often does not pay for whole arrays. When a log is full
 * the next flush goes over everything. Each flush also makes the jump cache of block.c stale (a
 * new generation in soft_cpu.stamp). vCPU thread only.
 *
 * Address spaces with a PCID keep what user code has looked up, TLB_CONTEXTS of them: an array each, and a
 * generation of the jump cache. Of the supervisor's arrays only global entries outlive a switch.
 */
#include "accel/soft/jit/jit.h"
#include "accel/soft/mmu.h"

#define LOG_SIZE 4096

struct slot_log {
	unsigned n; /* > LOG_SIZE: overflowed */
	uint32_t slot[LOG_SIZE]; /* (array * TLB_KINDS + kind) * TLB_SIZE + index */
};

/* A slot in use is in one of its array's logs at least: entries that are not global are in local, if any. */
struct soft_tlb_log {
	struct slot_log super, local, user[TLB_CONTEXTS];
};

static struct tlb_entry *slot_entry(struct soft_cpu *c, unsigned slot)
{
	unsigned set = slot / TLB_SIZE;

	return &c->tlbs[set / TLB_KINDS].e[set % TLB_KINDS][slot % TLB_SIZE];
}

static void empty_slot(struct soft_cpu *c, unsigned slot)
{
	slot_entry(c, slot)->tag = tlb_no_tag(slot % TLB_SIZE);
}

static bool slot_is_empty(const struct tlb_entry *e)
{
	return e->tag & PAGE_OFF;
}

static void empty_arrays(struct soft_cpu *c, unsigned first, unsigned n)
{
	for (unsigned i = first; i < first + n; i++)
		memset(c->tlbs[i].e, 0xff, sizeof(c->tlbs[i].e));
	for (unsigned set = first * TLB_KINDS; set < (first + n) * TLB_KINDS; set++)
		empty_slot(c, set * TLB_SIZE + TLB_SIZE - 1);
}

static void flush_log(struct soft_cpu *c, struct slot_log *log, unsigned first, unsigned n)
{
	if (log->n > LOG_SIZE)
		empty_arrays(c, first, n);
	for (unsigned i = 0; log->n <= LOG_SIZE && i < log->n; i++)
		empty_slot(c, log->slot[i]);
	log->n = 0;
}

static void flush_user(struct soft_cpu *c, unsigned ctx)
{
	flush_log(c, &c->tlb_log->user[ctx], TLB_USER + ctx, 1);
}

static void empty_if_local(struct soft_cpu *c, unsigned slot)
{
	const struct tlb_entry *e = slot_entry(c, slot);

	if (!slot_is_empty(e) && !(tlb_more(e)->gpa & TLBE_GLOBAL))
		empty_slot(c, slot);
}

/* What the supervisor has looked up and is not global. */
static void flush_local(struct soft_cpu *c)
{
	struct slot_log *log = &c->tlb_log->local;
	bool all = log->n > LOG_SIZE;
	unsigned n = all ? TLB_USER * TLB_KINDS * TLB_SIZE : log->n;

	for (unsigned i = 0; i < n; i++)
		empty_if_local(c, all ? i : log->slot[i]);
	log->n = 0;
}

static void flush_all(struct soft_cpu *c)
{
	flush_log(c, &c->tlb_log->super, TLB_SUPER, TLB_USER);
	flush_log(c, &c->tlb_log->local, TLB_SUPER, TLB_USER);
	for (unsigned i = 0; i < TLB_CONTEXTS; i++)
		flush_user(c, i);
}

/*
 * The arrays come zeroed, and most of their pages need never be touched: a tag of 0 can match only
 * an access to page 0, or one that crosses into it at the top of the address space.
 */
static void first_slots(struct soft_cpu *c)
{
	for (unsigned set = 0; set < ARRAY_SIZE(c->tlbs) * TLB_KINDS; set++) {
		empty_slot(c, set * TLB_SIZE);
		empty_slot(c, set * TLB_SIZE + TLB_SIZE - 1);
	}
}

/* Bits 63:33 of the two stamps count, bit 32 tells them apart. No two local generations are the same. */
static void new_local(struct soft_cpu *c)
{
	c->stamps += BIT64(33);
	c->stamp = c->stamps | c->mode_key;
}

static unsigned current_pcid(const struct soft_cpu *c)
{
	return c->s.cr4 & CR4_PCIDE ? c->s.cr3 & 0xfff : 0;
}

/* All address spaces but the current one are forgotten. */
static void forget_contexts(struct soft_cpu *c)
{
	for (unsigned i = 0; i < TLB_CONTEXTS; i++)
		c->contexts[i].used = 0;
	c->contexts[c->context].used = ++c->context_uses;
	c->contexts[c->context].pcid = (uint16_t)current_pcid(c);
}

void mmu_new_generation(struct soft_cpu *c)
{
	spots_drop(c);
	links_drop(c, true);
	new_local(c);
	c->stamp_global += BIT64(33);
	memset(c->jump_pages, 0, sizeof(c->jump_pages));
	for (unsigned i = 0; i < TLB_CONTEXTS; i++)
		c->contexts[i].stamp = 0;
}

void mmu_trim(struct soft_cpu *c)
{
	c->n.tlb_flushes[TLB_WHY_IDLE]++;
	mmu_new_generation(c);
	c->large_seen = 0;
	zero_and_release(c->tlbs, sizeof(c->tlbs));
	first_slots(c);
	memset(c->tlb_log, 0, sizeof(*c->tlb_log));
	forget_contexts(c);
}

int mmu_init(struct soft_cpu *c)
{
	c->tlb_log = xnew(struct soft_tlb_log);
	c->walk_ram.first = 1;
	c->walk_ram.last = 0;
	first_slots(c);
	c->tlb = &c->tlbs[TLB_SUPER];
	return 0;
}

void mmu_fini(struct soft_cpu *c)
{
	free(c->tlb_log);
	c->tlb_log = NULL;
}

void mmu_flush(struct soft_cpu *c, bool global_too, enum tlb_why why)
{
	c->n.tlb_flushes[why]++;
	if (global_too) {
		mmu_new_generation(c);
		c->large_seen = 0;
		flush_all(c);
		forget_contexts(c);
		return;
	}
	spots_drop(c);
	links_drop(c, false);
	new_local(c);
	flush_local(c);
	flush_user(c, c->context);
}

/* The place of an address space, or of the one that was used longest ago. */
static unsigned find_context(const struct soft_cpu *c, unsigned pcid)
{
	unsigned oldest = 0;

	for (unsigned i = 0; i < TLB_CONTEXTS; i++) {
		if (c->contexts[i].used && c->contexts[i].pcid == pcid)
			return i;
		if (c->contexts[i].used < c->contexts[oldest].used)
			oldest = i;
	}
	return oldest;
}

void mmu_switch(struct soft_cpu *c, unsigned pcid)
{
	unsigned i = find_context(c, pcid);
	struct tlb_context *to = &c->contexts[i];
	bool known = to->used && to->pcid == pcid;

	if (known && i == c->context)
		return;
	spots_drop(c);
	links_drop(c, false);
	flush_local(c);
	c->contexts[c->context].stamp = c->stamp & ~(uint64_t)UINT32_MAX;
	c->context = i;
	to->used = ++c->context_uses;
	to->pcid = (uint16_t)pcid;
	if (!known)
		flush_user(c, i);
	if (known && to->stamp)
		c->stamp = to->stamp | c->mode_key;
	else
		new_local(c);
}

void mmu_forget(struct soft_cpu *c, unsigned pcid)
{
	unsigned i = find_context(c, pcid);

	if (!c->contexts[i].used || c->contexts[i].pcid != pcid)
		return;
	if (i == c->context) {
		mmu_flush(c, false, TLB_WHY_INVPCID);
		return;
	}
	flush_user(c, i);
	c->contexts[i].used = 0;
}

void mmu_forget_others(struct soft_cpu *c)
{
	for (unsigned i = 0; i < TLB_CONTEXTS; i++)
		if (i != c->context)
			flush_user(c, i);
	forget_contexts(c);
}

/* Of soft_cpu.large_seen; a hash, as kernels have their large pages at multiples of 64 GiB. */
static uint64_t large_bit(uint64_t lin)
{
	return BIT64((lin >> 30) * 0x9e3779b97f4a7c15ull >> 58);
}

static bool has_large(const struct tlb_entry *e)
{
	return !slot_is_empty(e) && (tlb_more(e)->gpa & TLBE_LARGE);
}

/*
 * INVLPG of any address of a large page drops all of it. The 4 KiB pieces of a large page are
 * spread over the sets, so when the slot hit is a piece of one, everything goes. A piece of the
 * same large page may be cached where this address has no entry: then the log is searched.
 */
static bool log_has_large(struct soft_cpu *c, const struct slot_log *log, uint64_t lin)
{
	if (log->n > LOG_SIZE)
		return true;
	for (unsigned i = 0; i < log->n; i++) {
		const struct tlb_entry *e = slot_entry(c, log->slot[i]);

		/* the largest page is 1 GiB */
		if (has_large(e) && (e->tag >> 30) == (lin >> 30))
			return true;
	}
	return false;
}

static bool large_page_cached(struct soft_cpu *c, uint64_t lin)
{
	const struct soft_tlb_log *log = c->tlb_log;
	bool found;

	if (!(c->large_seen & large_bit(lin)))
		return false;
	found = log_has_large(c, &log->super, lin) || log_has_large(c, &log->local, lin);
	for (unsigned i = 0; !found && i < TLB_CONTEXTS; i++)
		found = log_has_large(c, &log->user[i], lin);
	return found;
}

/* Another address space keeps its own. */
static void drop_page(struct soft_cpu *c, unsigned array, uint64_t page)
{
	bool other = array >= TLB_USER && array != TLB_USER + c->context;

	for (unsigned k = 0; k < TLB_KINDS; k++) {
		struct tlb_entry *e = tlb_slot(&c->tlbs[array], k, page);

		if (e->tag == page && (!other || (tlb_more(e)->gpa & TLBE_GLOBAL)))
			e->tag = tlb_no_tag(page >> 12 & (TLB_SIZE - 1));
	}
}

void mmu_flush_page(struct soft_cpu *c, uint64_t lin)
{
	if (large_page_cached(c, lin)) {
		mmu_flush(c, true, TLB_WHY_LARGE);
		return;
	}
	c->n.invlpg++;
	spots_drop(c);
	if (jump_page_seen(c, lin)) {
		jump_drop_page(c, lin);
		links_drop_page(c, lin);
		c->unmapped++;
	}
	for (unsigned i = 0; i < TLB_ARRAYS; i++)
		drop_page(c, i, lin & PAGE_ADDR);
}

static void log_slot(struct slot_log *log, unsigned slot)
{
	if (log->n < LOG_SIZE)
		log->slot[log->n++] = slot;
	else
		log->n = LOG_SIZE + 1;
}

/* Which log says that a slot is in use, for an entry that comes into it now; NULL: it is there already. */
static struct slot_log *log_for(struct soft_cpu *c, const struct tlb_entry *e, enum tlb_priv priv,
				bool global)
{
	bool empty = slot_is_empty(e) || !e->tag; /* page 0's may be in it twice, which is fine */

	if (priv == TLB_USER)
		return empty ? &c->tlb_log->user[c->context] : NULL;
	if (!global)
		return empty || (tlb_more(e)->gpa & TLBE_GLOBAL) ? &c->tlb_log->local : NULL;
	return empty ? &c->tlb_log->super : NULL;
}

void tlb_fill(struct soft_cpu *c, enum tlb_kind kind, enum tlb_priv priv, uint64_t lin,
	      const struct walk *w, const struct mmu_page *pg)
{
	unsigned array = tlb_array(c, priv);
	struct tlb_entry *e = tlb_slot(&c->tlbs[array], kind, lin);
	struct slot_log *log = log_for(c, e, priv, w->global);

	if (log)
		log_slot(log, (unsigned)((array * TLB_KINDS + kind) * TLB_SIZE +
					 (unsigned)(e - c->tlbs[array].e[kind])));
	c->n.fills[kind]++;
	if (w->large)
		c->large_seen |= large_bit(lin);
	e->tag = lin & PAGE_ADDR;
	e->addend = (uint64_t)(uintptr_t)pg->host - lin;
	if (kind == TLB_EXEC)
		tlb_more(e)->gen_at = &pg->rb->gen[pg->rb_off >> RAM_PAGE_SHIFT];
	else
		tlb_more(e)->watch = &pg->rb->watch[pg->rb_off >> RAM_PAGE_SHIFT];
	tlb_more(e)->gpa = (pg->gpa & PAGE_ADDR) | (w->global ? TLBE_GLOBAL : 0) |
		 (w->large ? TLBE_LARGE : 0);
}
