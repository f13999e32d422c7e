/* SPDX-License-Identifier: Apache-2.0 */
/* I/O APIC with 24 inputs. See ioapic.c. */
#ifndef ARCH_X86_IOAPIC_H
#define ARCH_X86_IOAPIC_H

#include "base/base.h"
#include "arch/x86/lapic.h"
#include "core/dev.h"
#include "mem/map.h"

#define IOAPIC_BASE	 0xfec00000u
#define IOAPIC_PAGE_SIZE 0x1000u
#define IOAPIC_PINS	 24u

/* Redirection entry. */
#define REDIR_VECTOR	 0xffull
#define REDIR_MODE_SHIFT 8
#define REDIR_LOGICAL	 BIT64(11)
#define REDIR_PENDING	 BIT64(12)
#define REDIR_LOW_ACTIVE BIT64(13)
#define REDIR_REMOTE_IRR BIT64(14)
#define REDIR_LEVEL	 BIT64(15)
#define REDIR_MASKED	 BIT64(16)
#define REDIR_DEST_SHIFT 56

struct ioapic {
	/* Sends m; returns how many took it. */
	unsigned (*send)(void *opaque, const struct apic_msg *m);
	/* An open pin's message changed. Optional. */
	void (*rewired)(void *opaque, unsigned pin, const struct apic_msg *m);
	void *opaque;
	uint64_t redir[IOAPIC_PINS];
	uint32_t line; /* levels of the inputs */
	uint32_t irr;  /* requests not sent yet */
	uint8_t select, id;
};

extern const struct state_desc ioapic_state;

/* The chip; not locked. */
void ioapic_reset(struct ioapic *);
uint32_t ioapic_read(struct ioapic *, uint64_t off);
void ioapic_write(struct ioapic *, uint64_t off, uint32_t val);
void ioapic_set(struct ioapic *, unsigned pin, int level);
void ioapic_eoi(struct ioapic *, unsigned vector);
/* All registers at once; setting sends nothing, ioapic_resume() sends what is asked for. */
void ioapic_get_regs(const struct ioapic *, struct x86_ioapic_regs *);
void ioapic_set_regs(struct ioapic *, const struct x86_ioapic_regs *);
void ioapic_resume(struct ioapic *);

/* The device: the chip on the map at IOAPIC_BASE, under its lock. */
struct ioapic_dev {
	struct dev d;
	struct ioapic chip;
	struct map_region region;
};
extern const struct dev_type ioapic_dev_type;
/* Any thread. */
void ioapic_dev_set(struct ioapic_dev *, unsigned pin, int level);
void ioapic_dev_eoi(struct ioapic_dev *, unsigned vector);

#endif
