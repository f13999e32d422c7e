/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guests leave the engine for, and what that costs: a counter for each reason, and bounded
 * tables of which device or MSR it was about and which guest code did it. An exit costs
 *
 *	C_exit + C_entry	the way out of the guest and back in
 *	C_emulate		what is done here meanwhile
 *
 * and a reason with the rate lambda takes lambda * (C_exit + C_emulate + C_entry) of a processor.
 *
 * The vCPU's thread alone writes, with plain loads and stores; anybody reads, with no lock. Costs
 * are in cycles of the host's time stamp counter, which the engine reads.
 */
#ifndef CORE_EXITS_H
#define CORE_EXITS_H

#include "base/base.h"

struct vm;

enum exit_reason {
	EXIT_PORT_READ,
	EXIT_PORT_WRITE,
	EXIT_MMIO_READ,
	EXIT_MMIO_WRITE,
	EXIT_RDMSR,
	EXIT_WRMSR,
	EXIT_RDMSR_REFUSED, /* #GP: nobody's register, or one that may not be read */
	EXIT_WRMSR_REFUSED,
	EXIT_CPUID,
	EXIT_HALT,
	EXIT_HYPERCALL,
	EXIT_KICK,	 /* another thread wants this vCPU, or its timer is due */
	EXIT_IRQ_WINDOW, /* the guest takes interrupts again, and one waits */
	EXIT_EOI,	 /* of a level-triggered interrupt, to the board's IOAPIC; by vector */
	EXIT_DIRTY_RING, /* of written pages: full */
	EXIT_OTHER,
	EXIT_NR
};
const char *exit_reason_name(enum exit_reason); /* "port-write" */

/* Sets of a table, ways of a set: a hash chooses the set, the rarest of a full one makes room. */
#define EXIT_WAYS	 4u
#define EXIT_SOURCE_SETS 16u
#define EXIT_CODE_SETS	 64u

struct exit_entry {
	_Atomic uint32_t version; /* odd while another key moves in */
	_Atomic uint32_t reason;
	_Atomic uint64_t where, rip;
	_Atomic uint64_t count, cycles;
	/* Of count: what may be another key's, because it stood here before. */
	_Atomic uint64_t inherited;
};

struct exits {
	uint64_t since_ns; /* when counting began: the vCPU's birth */
	struct {
		_Atomic uint64_t count, emulate;
		_Atomic uint64_t trip; /* way out and in: least seen; 0 = none */
	} by_reason[EXIT_NR];
	struct exit_entry by_source[EXIT_SOURCE_SETS][EXIT_WAYS];
	struct exit_entry by_code[EXIT_CODE_SETS][EXIT_WAYS];
};

/*
 * One exit, on the vCPU's thread. where: port, guest-physical address, MSR or leaf; 0 when the
 * reason says it all. rip: the instruction, or the one behind it. cycles: C_emulate.
 */
void exits_note(struct exits *, enum exit_reason, uint64_t where, uint64_t rip, uint64_t cycles);

/*
 * Of a trip into the guest that ended for this reason, cycles from before it to behind it. The
 * guest's own part cannot be told apart, so the least that was seen counts.
 */
static inline void exits_note_trip(struct exits *x, enum exit_reason reason, uint64_t cycles)
{
	uint64_t least = atomic_load_explicit(&x->by_reason[reason].trip, memory_order_relaxed);

	if (!least || cycles < least)
		atomic_store_explicit(&x->by_reason[reason].trip, cycles, memory_order_relaxed);
}

enum exits_by { EXITS_BY_REASON, EXITS_BY_SOURCE, EXITS_BY_CODE };

/* A line of the report, of all vCPUs together. */
struct exit_row {
	enum exit_reason reason;
	/* EXITS_BY_SOURCE, EXITS_BY_CODE: the device's registers, or first = last = the MSR */
	char name[32]; /* of the device's region; "" for others */
	uint64_t first, last;
	uint64_t rip; /* EXITS_BY_CODE */
	uint64_t count, inherited;
	uint64_t emulate; /* cycles, in all */
	uint64_t trip;	  /* cycles, each */
	uint64_t cost;	  /* cycles in all: emulate + count * trip */
};

/*
 * Rows sorted by cost, the highest first; *n of them, to be freed. An address is named after what
 * is in the map there now. Control thread; the vCPUs may run.
 */
struct exit_row *exits_collect(struct vm *, enum exits_by, size_t *n);

/* Host time that the counts are about, times at a stand included. */
uint64_t exits_elapsed_ns(const struct vm *);

/*
 * The report for people: for each reason and source rate, costs and their product, then the guest
 * code that causes most. elapsed_ns: time that the counts are about. To be freed.
 */
char *exits_format(struct vm *, uint64_t elapsed_ns);

#endif
