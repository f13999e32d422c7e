/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What firmware tables and loaders need to know of an x86 board. The board fills it once; fw
 * never looks at devices itself. All addresses are guest-physical.
 */
#ifndef FW_BOARD_H
#define FW_BOARD_H

#include "base/base.h"

#define FW_NR_COM 4

/* A device that the tables name: registers and a level-triggered interrupt. */
struct fw_mmio {
	uint32_t base, len, gsi;
};

struct fw_board {
	/* RAM: [0, low_end) but for the VGA hole, and [4 GiB, 4 GiB + high_size) */
	uint64_t low_end, high_size;
	/* PCI */
	uint64_t ecam_base;
	unsigned ecam_buses;		   /* 0 = there is no PCI */
	uint64_t pci_io_base, pci_io_size; /* beside the low ISA ports */
	uint64_t pci_mem32_base, pci_mem32_size;
	uint64_t pci_mem64_base, pci_mem64_size; /* size 0 = none */
	/* gsi of INTA..INTD of slot s: pci_gsi[(s + pin) % 4] when pci_gsi_swizzle, else by slot */
	uint8_t (*pci_gsi)(unsigned slot, unsigned pin);
	/* interrupt controllers */
	uint64_t lapic_base, ioapic_base;
	uint8_t ioapic_id;
	/*
	 * Hardware-reduced ACPI: instead of the fixed hardware below there are a generic event
	 * device (selector of 32 bits at ged.base), sleep control, status and reset registers of a
	 * byte each in memory; no PIC and no RTC that a kernel should look for.
	 */
	bool hw_reduced;
	struct fw_mmio ged;
	uint8_t ged_power_button; /* its bit in the selector */
	uint32_t sleep_control, sleep_status, reset_reg;
	/* virtio over mapped registers */
	const struct fw_mmio *virtio;
	unsigned nr_virtio;
	/* ACPI fixed hardware */
	uint16_t pm_base; /* PM1a_EVT at +0, PM1a_CNT at +4, PM timer at +8, GPE0 at +0x20 */
	uint16_t gpe0_off, gpe0_len;
	uint16_t reset_port; /* 0xcf9 */
	uint8_t reset_value; /* 6 */
	uint8_t sci_gsi;     /* 9 */
	uint8_t s5_typ;	     /* SLP_TYP of S5 */
	/* legacy devices */
	bool has_rtc, has_i8042, has_pit;
	uint8_t century_reg; /* CMOS index, 0 = none */
	bool com[FW_NR_COM];
	uint16_t pvpanic_port; /* 0 = none */
	/* processors */
	unsigned cpus;
	const uint32_t *apic_ids; /* cpus of them */
	unsigned sockets, cores_per_socket, threads_per_core;
	const char *cpu_vendor, *cpu_name;
	/* identity */
	const char *name;
	const uint8_t *uuid; /* 16 bytes, or NULL */
};

#endif
