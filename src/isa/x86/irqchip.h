/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the registers of a PC's interrupt controllers hold, in a form that belongs to no
 * implementation: an engine that has such controllers tells and takes it (core/accel.h), and the
 * board's own do the same (arch/x86). Sources: Intel SDM vol. 3, table 11-1 (local APIC); Intel
 * 82093AA and 8259A datasheets.
 */
#ifndef ISA_X86_IRQCHIP_H
#define ISA_X86_IRQCHIP_H

#include "base/base.h"

#define X86_LAPIC_REGS	64
#define X86_IOAPIC_PINS 24

struct x86_lapic_regs {
	uint64_t apic_base;    /* IA32_APIC_BASE */
	uint64_t tsc_deadline; /* IA32_TSC_DEADLINE; 0 = not armed */
	/*
	 * By number: offset in the xAPIC page >> 4. 0x39, the current count, is what is left now; an
	 * initial count (0x38) with nothing left has run out and is still to fire. The id (0x02) is
	 * the vCPU's and not looked at, nor are version and what follows from others (APR, PPR).
	 */
	uint32_t reg[X86_LAPIC_REGS];
};

struct x86_ioapic_regs {
	uint64_t redir[X86_IOAPIC_PINS];
	uint32_t line; /* levels of the inputs; a level-triggered one that is high is a request */
	uint8_t select, id;
};

/* One of the pair. */
struct x86_pic_regs {
	uint8_t line; /* levels of the inputs, the slave's output among the master's */
	uint8_t irr, imr, isr, elcr;
	uint8_t priority_add; /* input of highest priority */
	uint8_t vector_base;
	uint8_t init_state; /* 0 = ready; next ICW expected: 2, 3, 4 */
	bool init4, read_isr, poll, special_mask, auto_eoi, rotate_on_auto_eoi;
	bool special_fully_nested;
};

struct x86_chips {
	struct x86_ioapic_regs ioapic;
	struct x86_pic_regs pic[2]; /* 0 = master */
};

#endif
