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
#include "core/vm.h"
#include "fw/board.h"
#include "fw/boot.h"
#include "pci/pci.h"

struct acpi_pm_dev;
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
 * Interrupt lines of the machine. Each GSI is the OR of its sources; the low 16 go to the PIC and
 * the IOAPIC (GSI 0 to its pin 2), those from 16 on are the PIRQs A to H.
 */
struct x86_gsi {
	pthread_mutex_t lock;		    /* outside PIC and IOAPIC locks, inside device locks */
	uint32_t isa_sources[16];	    /* ISA: a bit per source number */
	uint16_t pirq_sources[X86_NR_PIRQ]; /* PCI pins that hold this PIRQ up */
	uint8_t pin_level[256];		    /* by devfn, a bit per pin */
	uint8_t pirq_route[X86_NR_PIRQ];    /* LPC's PIRQx_ROUT */
	uint16_t pic_level;		    /* what the PIC was told */
};

struct x86_board {
	struct vm *vm;
	struct apic_bus bus;
	struct pv_vm pv;
	struct x86_gsi gsi;
	struct pic_dev *pic;
	struct ioapic_dev *ioapic;
	struct pit_dev *pit;
	struct rtc_dev *rtc;
	struct acpi_pm_dev *pm;
	struct mch *mch;
	struct lpc *lpc;
	struct pci_bus *pci;
	struct map_region lapic_page, ram_low, ram_mid, ram_high;
	uint64_t low_end, high_size;
	struct fw_board fwb;
	uint32_t *apic_ids;
	char cpu_vendor[13], cpu_name[49];
	struct fw_boot *boot;
	unsigned next_source; /* of gsi_isa_line() */
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
/* An ISA line for one device: its sources are counted apart. */
struct irq gsi_isa_line(struct x86_board *, unsigned isa_irq);
void gsi_pci_intx(void *board, uint8_t devfn, unsigned pin, int level);
/* Which PIRQ (0 = A) and which GSI pin 0..3 of a slot is wired to. */
unsigned gsi_pci_pirq(unsigned slot, unsigned pin);
void gsi_set_pirq_route(struct x86_board *, unsigned pirq, uint8_t route);
/* Which ISA lines the PIC takes as levels; as firmware sets it, all vCPUs at a stand. */
void gsi_set_elcr(struct x86_board *, uint16_t levels);
void x86_msi_send(void *board, const struct msi *);

/* q35.c */
int q35_init(struct x86_board *, struct err *e) MUST_CHECK;
/* Takes the board's own regions off the map. */
void q35_fini(struct x86_board *);
/* Describes the finished board to fw/ and assigns PCI resources' windows. */
void q35_describe(struct x86_board *, struct pci_window *w);
/* What a firmware would have programmed before it starts a kernel. */
void q35_firmware_defaults(struct x86_board *);

#endif
