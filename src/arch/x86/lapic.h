/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local APICs of a machine and the messages between them. See lapic.c and apic_bus.c.
 *
 * A LAPIC belongs to its vCPU's thread; other threads only send messages through the bus, which
 * sets request bits and kicks. What they look at for that (identity, enables, priority) is read
 * with relaxed atomics.
 */
#ifndef ARCH_X86_LAPIC_H
#define ARCH_X86_LAPIC_H

#include "base/base.h"
#include "core/state.h"
#include "core/vcpu.h"
#include "isa/x86/irqchip.h"

#define LAPIC_DEFAULT_BASE 0xfee00000u
#define LAPIC_PAGE_SIZE	   0x1000u
/* Rate of the timer's input: 1 tick a ns; CPUID 0x40000010 tells it. */
#define LAPIC_BUS_KHZ 1000000u

#define APIC_BASE_BSP	 BIT64(8)
#define APIC_BASE_X2APIC BIT64(10)
#define APIC_BASE_ENABLE BIT64(11)

/* Register numbers: offset in the xAPIC page >> 4, MSR - 0x800. */
enum lapic_reg {
	LAPIC_ID = 0x02,
	LAPIC_VERSION = 0x03,
	LAPIC_TPR = 0x08,
	LAPIC_APR = 0x09,
	LAPIC_PPR = 0x0a,
	LAPIC_EOI = 0x0b,
	LAPIC_RRD = 0x0c,
	LAPIC_LDR = 0x0d,
	LAPIC_DFR = 0x0e,
	LAPIC_SVR = 0x0f,
	LAPIC_ISR = 0x10,
	LAPIC_TMR = 0x18,
	LAPIC_IRR = 0x20,
	LAPIC_ESR = 0x28,
	LAPIC_CMCI = 0x2f,
	LAPIC_ICR = 0x30,
	LAPIC_ICR2 = 0x31,
	LAPIC_LVT_TIMER = 0x32,
	LAPIC_LVT_THERMAL = 0x33,
	LAPIC_LVT_PERF = 0x34,
	LAPIC_LVT_LINT0 = 0x35,
	LAPIC_LVT_LINT1 = 0x36,
	LAPIC_LVT_ERROR = 0x37,
	LAPIC_TICR = 0x38,
	LAPIC_TCCR = 0x39,
	LAPIC_TDCR = 0x3e,
	LAPIC_SELF_IPI = 0x3f,
};

enum apic_delivery {
	APIC_DM_FIXED,
	APIC_DM_LOWEST,
	APIC_DM_SMI,
	APIC_DM_RESERVED,
	APIC_DM_NMI,
	APIC_DM_INIT,
	APIC_DM_STARTUP,
	APIC_DM_EXTINT,
};

#define LAPIC_SVR_ENABLE   0x00000100u
#define LVT_VECTOR	   0x000000ffu
#define LVT_MODE_SHIFT	   8
#define LVT_MODE	   0x00000700u
#define LVT_PENDING	   0x00001000u
#define LVT_LOW_ACTIVE	   0x00002000u
#define LVT_REMOTE_IRR	   0x00004000u
#define LVT_LEVEL	   0x00008000u
#define LVT_MASKED	   0x00010000u
#define LVT_TIMER_MODE	   0x00060000u
#define LVT_TIMER_ONESHOT  0x00000000u
#define LVT_TIMER_PERIODIC 0x00020000u
#define LVT_TIMER_DEADLINE 0x00040000u

#define APIC_DEST_ALL UINT32_MAX

/* An interrupt on the bus, decoded from ICR, redirection entry or MSI. */
struct apic_msg {
	uint32_t dest; /* APIC_DEST_ALL = broadcast */
	uint8_t vector;
	uint8_t mode; /* enum apic_delivery */
	bool logical;
	bool level;    /* trigger mode */
	bool deassert; /* INIT level de-assert */
};

struct lapic;

/* What the LAPICs of one machine share. */
struct apic_bus {
	struct lapic **lapic;
	unsigned n;
	uint32_t turn; /* where the search for equals in lowest-priority delivery starts */
	/* A level-triggered vector was EOIed: to the IOAPIC. */
	void (*eoi)(void *opaque, unsigned vector);
	/* Acknowledges the PIC: its vector. */
	int (*pic_ack)(void *opaque);
	void *opaque;
	uint64_t (*now_ns)(void);
	/* Guest TSC of v at this moment, and its rate. */
	uint64_t (*tsc)(const struct vcpu *v);
	uint64_t tsc_khz;
};

/* lint0: bits of what is at the ExtINT input. */
#define LINT0_LINE 1u /* the PIC's INTR output is high */
#define LINT0_MSG  2u /* an ExtINT message came and was not acknowledged yet */

struct lapic {
	/* wiring */
	struct vcpu *vcpu;
	struct apic_bus *bus;
	/* registers */
	uint64_t apic_base;
	uint32_t tpr, ldr, dfr, svr, esr, esr_seen;
	uint32_t lvt[6]; /* TIMER .. ERROR */
	uint32_t icr_low, icr_high;
	uint32_t timer_init, timer_div;
	uint64_t timer_start_ns; /* when the count was loaded or last wrapped */
	uint64_t timer_due_ns;	 /* UINT64_MAX = does not run */
	uint64_t tsc_deadline;	 /* 0 = not armed */
	uint32_t irr[8], isr[8], tmr[8];
	uint32_t lint0, lint1;
	uint32_t init_pending; /* INIT came from another thread: reset before next use */
};

extern const struct state_desc lapic_state;

/* Power-on state; bsp sets the boot processor flag. Owner thread or vCPU at a stand. */
void lapic_reset(struct lapic *, bool bsp);

/* xAPIC page; reg is enum lapic_reg. Reads 0 and ignores writes unless in xAPIC mode. */
uint32_t lapic_mmio_read(struct lapic *, unsigned reg);
void lapic_mmio_write(struct lapic *, unsigned reg, uint32_t val);
/* MSRs 0x800..0x8ff, APIC_BASE, TSC_DEADLINE: 0, -EINVAL (#GP), -ENOENT (not ours). */
int lapic_msr_read(struct lapic *, uint32_t msr, uint64_t *val);
int lapic_msr_write(struct lapic *, uint32_t msr, uint64_t val);

/* Owner thread. */
bool lapic_has_intr(struct lapic *);
int lapic_get_intr(struct lapic *); /* acknowledges; -1 when there is none */
void lapic_timer(struct lapic *);   /* the deadline given to the vCPU has passed */
void lapic_set_tpr(struct lapic *, uint32_t tpr);
uint32_t lapic_ppr(struct lapic *);
/* End of interrupt, as the EOI register does. */
void lapic_eoi(struct lapic *);
/* Highest vector in service or requested, or -1. */
int lapic_isr_top(const struct lapic *);
int lapic_irr_top(const struct lapic *);
bool lapic_vector_is_level(const struct lapic *, unsigned vector);
/* Does the guest see an enabled APIC? (CPUID.1:EDX.APIC) */
bool lapic_hw_enabled(const struct lapic *);

/*
 * For saving and for engines that have local APICs; the vCPU stands still. Setting changes the
 * struct alone: lapic_resume() starts the timer and asks for the interrupts that are pending.
 */
void lapic_get_regs(struct lapic *, struct x86_lapic_regs *);
void lapic_set_regs(struct lapic *, const struct x86_lapic_regs *);
void lapic_resume(struct lapic *);

/* Any thread. */
void lapic_lint0(struct lapic *, int level); /* PIC INTR */
void lapic_lint1(struct lapic *, int level); /* NMI */

/* Any thread: apic_bus.c. Delivers to all that m addresses; returns to how many. */
unsigned apic_bus_send(struct apic_bus *, const struct apic_msg *m);
/* The ICR of l was written. */
void apic_bus_icr(struct lapic *l, uint32_t low, uint32_t dest);
/* Delivers one message to one LAPIC. */
bool lapic_deliver(struct lapic *, unsigned mode, unsigned vector, bool level);
/* Sets a bit of the error status register and sends the error interrupt. */
void lapic_error(struct lapic *, uint32_t bit);
struct lapic *apic_bus_find(struct apic_bus *, uint32_t apic_id);

/* lapic_timer.c */
void lapic_timer_lvt_written(struct lapic *, uint32_t old);
void lapic_timer_start(struct lapic *);
uint32_t lapic_timer_count(struct lapic *);
void lapic_timer_set_deadline(struct lapic *, uint64_t tsc);
void lapic_timer_stop(struct lapic *);
void lapic_timer_set_count(struct lapic *, uint32_t count);
void lapic_timer_resume(struct lapic *);

/* Members that other threads look at. */
#define APIC_LOAD(m)	 __atomic_load_n(&(m), __ATOMIC_RELAXED)
#define APIC_STORE(m, v) __atomic_store_n(&(m), (v), __ATOMIC_RELAXED)

static inline bool lapic_is_x2apic(const struct lapic *l)
{
	return (APIC_LOAD(l->apic_base) & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) ==
	       (APIC_BASE_ENABLE | APIC_BASE_X2APIC);
}

#endif
