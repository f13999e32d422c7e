/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x86 boards: what belongs to a vCPU (local APIC, paravirtual features) and to the machine.
 * Inside arch/x86 only.
 */
#ifndef ARCH_X86_BOARD_H
#define ARCH_X86_BOARD_H

#include "base/base.h"
#include "arch/x86/ioapic.h"
#include "arch/x86/i8259.h"
#include "arch/x86/lapic.h"
#include "arch/x86/pv.h"
#include "core/arch.h"
#include "core/vm.h"
#include "fw/board.h"
#include "fw/boot.h"
#include "pci/pci.h"

struct acpi_pm_dev;
struct ged_dev;
struct lpc;
struct mch;
struct pit_dev;
struct rtc_dev;
struct cpu_state;

#define X86_NR_GSI    24u
#define GSI_PIRQ      16u /* of PIRQ A */
#define GSI_PIT_PIN   2u  /* where ISA line 0 goes */
#define X86_NR_PIRQ   8u
#define X86_MAX_VCPUS 255u

/* v->ops_opaque */
struct x86_vcpu {
	struct lapic lapic;
	struct pv_vcpu pv;
	struct cpu_state *saved; /* while the machine is saved or loaded (machine_state.c) */
};

static inline struct x86_vcpu *x86_vcpu(struct vcpu *v)
{
	return v->ops_opaque;
}

/*
 * Interrupt lines of the machine. Each GSI is the OR of its sources; the low 16 are ISA's and go to
 * the PIC, where the board has one, and the IOAPIC (GSI 0 to its pin 2), those from 16 on are the
 * PIRQs A to H.
 */
struct x86_gsi {
	pthread_mutex_t lock;		    /* outside PIC and IOAPIC locks, inside device locks */
	uint32_t sources[X86_NR_GSI];	    /* other than PCI pins: a bit per source number */
	uint16_t pirq_sources[X86_NR_PIRQ]; /* PCI pins that hold this PIRQ up */
	uint8_t pin_level[256];		    /* by devfn, a bit per pin */
	uint8_t pirq_route[X86_NR_PIRQ];    /* LPC's PIRQx_ROUT */
	uint16_t pic_level;		    /* what the PIC was told */
	uint64_t raised[X86_NR_GSI];	    /* how often a line went up: for people */
};

struct x86_board;

/* One board; arch.c has the table of all. */
struct x86_board_type {
	const char *name, *help;
	struct arch_machine info; /* the name with its newest version */
	const char *versions;	  /* names that begin so are this board too: "pc-q35-"; or NULL */
	uint64_t low_max,
		low_split;	 /* RAM below 4 GiB: how much fits; how much when there is more */
	uint64_t uncached[2][2]; /* MTRRs below 4 GiB: base, size */
	/* Memory and IOAPIC are there already; serial ports come behind. */
	int (*init)(struct x86_board *, struct err *);
	void (*fini)(struct x86_board *); /* accepts a half-done init; optional */
	/* Describes the finished board to fw/, and where PCI resources go; the rest is described. */
	void (*describe)(struct x86_board *, struct fw_board *);
	/* What a firmware would have programmed before it starts a kernel. Optional. */
	void (*firmware_defaults)(struct x86_board *);
	void (*power_button)(struct x86_board *);
	/* The kernel's arguments with what the board adds; the caller's to free. Optional. */
	char *(*append)(struct x86_board *, const char *user);
};
extern const struct x86_board_type q35_board, microvm_board;

struct x86_board {
	const struct x86_board_type *type;
	struct vm *vm;
	struct apic_bus bus;
	struct pv_vm pv;
	struct x86_gsi gsi;
	struct pic_dev *pic;
	struct ioapic_dev *ioapic;
	struct pit_dev *pit;
	struct rtc_dev *rtc;
	struct acpi_pm_dev *pm;
	struct ged_dev *ged;
	struct microvm *microvm; /* microvm.c's */
	struct mch *mch;
	struct lpc *lpc;
	struct pci_bus *pci;
	struct map_region lapic_page, ram_low, ram_mid, ram_high;
	uint64_t low_end, high_size;
	struct fw_board fwb;
	uint32_t *apic_ids;
	char cpu_vendor[13], cpu_name[49];
	struct fw_boot *boot;
	unsigned next_source; /* of gsi_line() */
};

static inline struct x86_board *x86_board(struct vm *vm)
{
	return vm->board;
}

/* x86_vcpu.c */
extern const struct vcpu_ops x86_vcpu_ops;
uint64_t x86_guest_tsc(const struct vcpu *);
void x86_vcpu_reset(struct vcpu *);

/* cpu_table.c: of struct cpu_state. */
extern const struct state_desc x86_cpu_state;

/* gsi.c. irq.opaque is the board. Any thread. */
void gsi_init(struct x86_board *);
extern const struct state_desc x86_gsi_state;
/* A line for one device: its sources are counted apart. */
struct irq gsi_line(struct x86_board *, unsigned gsi);
void gsi_pci_intx(void *board, uint8_t devfn, unsigned pin, int level);
/* Which PIRQ (0 = A) and which GSI pin 0..3 of a slot is wired to. */
unsigned gsi_pci_pirq(unsigned slot, unsigned pin);
void gsi_set_pirq_route(struct x86_board *, unsigned pirq, uint8_t route);
/* Which ISA lines the PIC takes as levels; as firmware sets it, all vCPUs at a stand. */
void gsi_set_elcr(struct x86_board *, uint16_t levels);
void x86_msi_send(void *board, const struct msi *);

/* board.c: what all boards have. */
int board_init(struct x86_board *, struct err *) MUST_CHECK;
void board_fini(struct x86_board *);
/* Fills b->fwb, and assigns PCI resources' windows. */
void board_describe(struct x86_board *, struct pci_window *w);
/* The end of what the guest's physical addresses can name. */
uint64_t board_phys_end(struct x86_board *);
/* Where 64-bit PCI memory can go: behind RAM, within what the guest can address. */
void board_pci64_window(struct x86_board *, struct fw_board *);
/* A device of the board's own; NULL with e set. prepare's arg is the board. */
struct dev *board_make(struct x86_board *, const struct dev_type *,
		       void (*prepare)(struct dev *, void *), struct err *e);

#endif
