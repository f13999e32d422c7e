/* SPDX-License-Identifier: Apache-2.0 */
/* What a processor and its interrupt controllers hold, as text for people; arch/x86 only. */
#ifndef ARCH_X86_SHOW_H
#define ARCH_X86_SHOW_H

#include "base/base.h"
#include "core/arch.h"
#include "core/vm.h"
#include "isa/x86/cpu_state.h"
#include "isa/x86/irqchip.h"
#include <stdio.h>

/* regs.c: v's state between two instructions; the caller frees. NULL with e set. Control thread. */
struct cpu_state *x86_ask_state(struct vcpu *v, struct err *e);

/* ---- paging.c: page tables as somebody else than the processor walks them ---- */

struct paging {
	struct map *map;
	unsigned levels;   /* 0: none, addresses are physical */
	unsigned entry;	   /* bytes of one */
	uint64_t root;	   /* the highest table; with PAE unused */
	uint64_t pdpte[4]; /* of PAE */
	bool pse, nx;
};

void paging_of(struct paging *, struct map *, const struct cpu_state *);
/*
 * Where addr leads, and how many bytes from there on lead on from it. -EFAULT: nowhere. Nothing
 * is marked as accessed.
 */
int paging_find(const struct paging *, uint64_t addr, uint64_t *gpa, uint64_t *run) MUST_CHECK;
/* A page, of whichever size: addr leads to gpa. */
struct paging_leaf {
	uint64_t addr, gpa, size;
	uint64_t pte, rights; /* rights: what all levels grant, of an entry's P, W and U */
	unsigned level;
};
/* Not 0: that is enough. */
typedef int paging_fn(void *arg, const struct paging_leaf *);
/*
 * All pages in the order of their addresses; none where there is no paging. What fn says, or
 * -E2BIG when there are more than *tables, which counts down: a guest can have them lead through
 * each other for ever.
 */
int paging_walk(const struct paging *, unsigned *tables, paging_fn *fn, void *arg) MUST_CHECK;
/* Both stop after PAGING_MAX_TABLES tables or PAGING_MAX_LINES lines, and say so. */
#define PAGING_MAX_TABLES 8192u
#define PAGING_MAX_LINES  65536u
void show_tlb(const struct paging *, FILE *out);
void show_mem(const struct paging *, FILE *out);

/* ---- show.c, show_irq.c ---- */

void show_registers(FILE *out, const struct cpu_state *);
void show_lapic_regs(FILE *out, unsigned cpu, const struct x86_lapic_regs *);
void show_ioapic_regs(FILE *out, const struct x86_ioapic_regs *);
void show_pic_regs(FILE *out, unsigned n, const struct x86_pic_regs *);
/* v's local APIC, the engine's or the board's; -errno when the engine does not tell. Control
 * thread. */
int x86_ask_lapic(struct vcpu *v, struct x86_lapic_regs *r) MUST_CHECK;
int show_lapic(struct vcpu *, FILE *out, struct err *e) MUST_CHECK;
int show_chips(struct vm *, FILE *out, struct err *e) MUST_CHECK;
void show_lines(struct vm *, FILE *out);

#endif
