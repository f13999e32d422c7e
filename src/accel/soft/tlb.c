/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software TLB's contents: filling and flushing.
 *
 * A flush touches only what was filled since the last one: a log keeps the slots in use, so that a
 * guest that switches address spaces often does not pay for the whole array. When the log is full
 * the next flush goes over everything. Each flush also makes the jump cache of block.c stale (a
 * new generation in soft_cpu.stamp). vCPU thread only.
 */
#include "accel/soft/jit/jit.h"
#include "accel/soft/mmu.h"

#define LOG_SIZE 2048

struct soft_tlb_log {
	unsigned n; /* > LOG_SIZE: overflowed */
	uint16_t slot[LOG_SIZE]; /* (priv * TLB_KINDS + kind) * TLB_SIZE + index */
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

static void flush_all_slots(struct soft_cpu *c)
{
	memset(c->tlbs, 0xff, sizeof(c->tlbs));
	for (unsigned set = 0; set < TLB_PRIVS * TLB_KINDS; set++)
		empty_slot(c, set * TLB_SIZE + TLB_SIZE - 1);
	c->tlb_log->n = 0;
}

/*
 * The arrays come zeroed, and most of their pages need never be touched: a tag of 0 can match only
 * an access to page 0, or one that crosses into it at the top of the address space.
 */
static void first_slots(struct soft_cpu *c)
{
	for (unsigned set = 0; set < TLB_PRIVS * TLB_KINDS; set++) {
		empty_slot(c, set * TLB_SIZE);
		empty_slot(c, set * TLB_SIZE + TLB_SIZE - 1);
	}
}

void mmu_trim(struct soft_cpu *c)
{
	c->n.tlb_flushes[TLB_WHY_IDLE]++;
	mmu_new_generation(c, true);
	c->large_seen = 0;
	zero_and_release(c->tlbs, sizeof(c->tlbs));
	first_slots(c);
	c->tlb_log->n = 0;
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

/* Bits 63:33 of the two stamps count, bit 32 tells them apart. */
void mmu_new_generation(struct soft_cpu *c, bool global_too)
{
	spots_drop(c);
	c->stamp += BIT64(33);
	if (global_too)
		c->stamp_global += BIT64(33);
}

/* Drops what is not global; keeps the log of the rest. */
static void flush_logged_local(struct soft_cpu *c)
{
	struct soft_tlb_log *log = c->tlb_log;
	unsigned kept = 0;

	for (unsigned i = 0; i < log->n; i++) {
		struct tlb_entry *e = slot_entry(c, log->slot[i]);

		if (slot_is_empty(e))
			continue;
		if (e->gpa & TLBE_GLOBAL)
			log->slot[kept++] = log->slot[i];
		else
			empty_slot(c, log->slot[i]);
	}
	log->n = kept;
}

static void flush_logged(struct soft_cpu *c)
{
	struct soft_tlb_log *log = c->tlb_log;

	for (unsigned i = 0; i < log->n; i++)
		empty_slot(c, log->slot[i]);
	log->n = 0;
}

void mmu_flush(struct soft_cpu *c, bool global_too, enum tlb_why why)
{
	c->n.tlb_flushes[why]++;
	mmu_new_generation(c, global_too);
	if (global_too)
		c->large_seen = 0;
	if (c->tlb_log->n > LOG_SIZE)
		flush_all_slots(c);
	else if (global_too)
		flush_logged(c);
	else
		flush_logged_local(c);
}

static bool has_large(const struct tlb_entry *e)
{
	return !slot_is_empty(e) && (e->gpa & TLBE_LARGE);
}

/*
 * INVLPG of any address of a large page drops all of it. The 4 KiB pieces of a large page are
 * spread over the sets, so when the slot hit is a piece of one, everything goes. A piece of the
 * same large page may be cached where this address has no entry: then the log is searched.
 */
static bool large_page_cached(struct soft_cpu *c, uint64_t lin)
{
	const struct soft_tlb_log *log = c->tlb_log;

	if (!(c->large_seen >> (lin >> 30 & 63) & 1))
		return false;
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

void mmu_flush_page(struct soft_cpu *c, uint64_t lin)
{
	uint64_t page = lin & PAGE_ADDR;

	if (large_page_cached(c, lin)) {
		mmu_flush(c, true, TLB_WHY_LARGE);
		return;
	}
	c->n.invlpg++;
	mmu_new_generation(c, true);
	for (unsigned p = 0; p < TLB_PRIVS; p++) {
		for (unsigned k = 0; k < TLB_KINDS; k++) {
			struct tlb_entry *e = tlb_slot(&c->tlbs[p], k, lin);

			if (e->tag == page)
				e->tag = tlb_no_tag(lin >> 12 & (TLB_SIZE - 1));
		}
	}
}

static void log_slot(struct soft_cpu *c, unsigned slot)
{
	struct soft_tlb_log *log = c->tlb_log;

	if (log->n < LOG_SIZE)
		log->slot[log->n++] = (uint16_t)slot;
	else
		log->n = LOG_SIZE + 1;
}

void tlb_fill(struct soft_cpu *c, enum tlb_kind kind, enum tlb_priv priv, uint64_t lin,
	      const struct walk *w, const struct mmu_page *pg)
{
	struct tlb_entry *e = tlb_slot(&c->tlbs[priv], kind, lin);
	uint64_t page = lin & PAGE_ADDR;

	/* A slot in use is in the log already (that of page 0 may be in it twice, which is fine). */
	if (slot_is_empty(e) || !e->tag)
		log_slot(c, (unsigned)((priv * TLB_KINDS + kind) * TLB_SIZE +
				       (unsigned)(e - c->tlbs[priv].e[kind])));
	c->n.fills[kind]++;
	if (w->large)
		c->large_seen |= BIT64(lin >> 30 & 63);
	e->tag = page;
	e->addend = (uint64_t)(uintptr_t)pg->host - lin;
	e->watch = &pg->rb->watch[pg->rb_off >> RAM_PAGE_SHIFT];
	e->gpa = (pg->gpa & PAGE_ADDR) | (w->global ? TLBE_GLOBAL : 0) |
		 (w->large ? TLBE_LARGE : 0);
}
