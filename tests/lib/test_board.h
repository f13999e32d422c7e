/* SPDX-License-Identifier: Apache-2.0 */
/* A made-up board for tests of firmware tables and loaders. */
#ifndef TESTS_LIB_TEST_BOARD_H
#define TESTS_LIB_TEST_BOARD_H

#include "fw/board.h"

static inline uint8_t test_board_gsi(unsigned slot, unsigned pin)
{
	return (uint8_t)(16 + (slot + pin) % 8);
}

static inline struct fw_board test_board(unsigned cpus, const uint32_t *apic_ids)
{
	return (struct fw_board){
		.low_end = MIB(512),
		.ecam_base = 0xb0000000,
		.ecam_buses = 256,
		.pci_io_base = 0x1000,
		.pci_io_size = 0xf000,
		.pci_mem32_base = 0xc0000000,
		.pci_mem32_size = 0x3ec00000,
		.pci_mem64_base = 0x800000000ull,
		.pci_mem64_size = 0x800000000ull,
		.pci_gsi = test_board_gsi,
		.lapic_base = 0xfee00000,
		.ioapic_base = 0xfec00000,
		.pm_base = 0x600,
		.gpe0_off = 0x20,
		.gpe0_len = 16,
		.reset_port = 0xcf9,
		.reset_value = 6,
		.sci_gsi = 9,
		.s5_typ = 0,
		.has_rtc = true,
		.has_pit = true,
		.century_reg = 0x32,
		.com = {true, true, true, true},
		.pvpanic_port = 0x505,
		.cpus = cpus,
		.apic_ids = apic_ids,
		.sockets = 1,
		.cores_per_socket = cpus,
		.threads_per_core = 1,
		.cpu_vendor = "Test",
		.cpu_name = "Test CPU",
	};
}

/* Makes it a hardware-reduced board without PCI, with two virtio devices. */
static inline void test_board_reduce(struct fw_board *b)
{
	static const struct fw_mmio virtio[] = { { 0xfeb00000, 0x200, 16 }, { 0xfeb00200, 0x200, 5 } };

	b->ecam_buses = 0;
	b->hw_reduced = true;
	b->has_pit = b->has_rtc = false;
	b->ged = (struct fw_mmio){ 0xfea00000, 0x1000, 9 };
	b->ged_power_button = 2;
	b->sleep_control = 0xfea00200;
	b->sleep_status = 0xfea00201;
	b->reset_reg = 0xfea00202;
	b->reset_value = 0x42;
	b->s5_typ = 5;
	b->virtio = virtio;
	b->nr_virtio = 2;
}

#endif
