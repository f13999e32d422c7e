/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DSDT: PCI root with its windows and interrupt routing, ISA devices, virtio devices, the event
 * device of hardware-reduced boards, processors, S5.
 * Sources: ACPI 6.4; PCI Firmware 3.2 (_OSC). Any thread; no state.
 */
#include "base/base.h"

#include "base/bytes.h"
#include "fw/acpi_int.h"
#include "fw/aml.h"
#include "fw/board.h"
#include <stdio.h>

#define OP_STORE	  0x70
#define OP_NOTIFY	  0x86
#define OP_LOCAL0	  0x60
#define METHOD_SERIALIZED 8u
#define OP_DWORD_FIELD	  0x8a /* CreateDWordField */
#define OP_IF		  0xa0
#define OP_ELSE		  0xa1
#define OP_LEQUAL	  0x93
#define OP_AND		  0x7b
#define OP_OR		  0x7d
#define OP_RETURN	  0xa4
#define OP_ARG0		  0x68
#define OP_ARG3		  0x6b

#define OSC_GRANTED 0x1d /* native hot-plug no PME: hot-plug, PME, AER, PCIe capability structure */

/*
 * _OSC: for the PCI host bridge UUID the OS may take everything but SHPC; for others
 * "unrecognized UUID" (bit 2 of the first dword).
 */
static void osc_method(struct aml *a)
{
	/* 33DB4D5B-1FF7-401C-9657-7441C03DD766 in the mixed byte order of ToUUID */
	static const uint8_t uuid[] = { 0x11, 0x13, 0x0a, 0x10, 0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f,
					0x1c, 0x40, 0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66 };
	static const uint8_t known[] = { OP_AND,      'C', 'D', 'W', '3', 0x0a,
					 OSC_GRANTED, 'C', 'D', 'W', '3' };
	static const uint8_t unknown[] = { OP_OR, 'C', 'D', 'W', '1', 0x0a, 4, 'C', 'D', 'W', '1' };
	static const uint8_t fields[] = {
		OP_DWORD_FIELD, OP_ARG3, 0, 'C', 'D', 'W', '1', OP_DWORD_FIELD,
		OP_ARG3,	0x0a,	 8, 'C', 'D', 'W', '3'
	};
	uint8_t test[2 + 1 + 1 + sizeof(uuid)] = { OP_IF };
	size_t n = 1;

	aml_method(a, "_OSC", 4);
	aml_bytes(a, fields, sizeof(fields));
	test[n++] = (uint8_t)(1 + 2 + sizeof(uuid) + sizeof(known)); /* PkgLength of the If */
	test[n++] = OP_LEQUAL;
	test[n++] = OP_ARG0;
	memcpy(test + n, uuid, sizeof(uuid));
	aml_bytes(a, test, sizeof(test));
	aml_bytes(a, known, sizeof(known));
	aml_byte(a, OP_ELSE);
	aml_byte(a, (uint8_t)(1 + sizeof(unknown)));
	aml_bytes(a, unknown, sizeof(unknown));
	aml_byte(a, OP_RETURN);
	aml_byte(a, OP_ARG3);
	aml_close(a);
}

static void pci_windows(struct aml *a, const struct fw_board *b)
{
	aml_crs_open(a);
	aml_res_bus(a, 0, (uint16_t)(b->ecam_buses - 1));
	if (!b->hw_reduced) {
		aml_res_io(a, 0xcf8, 8);
		aml_res_io_window(a, 0, 0xcf7);
	}
	if (b->pci_io_size)
		aml_res_io_window(a, (uint16_t)MAX(b->pci_io_base, (uint64_t)0xd00),
				  (uint16_t)(b->pci_io_base + b->pci_io_size - 1));
	if (!b->hw_reduced)
		aml_res_mem32_window(a, 0xa0000, 0xbffff, true);
	aml_res_mem32_window(a, (uint32_t)b->pci_mem32_base,
			     (uint32_t)(b->pci_mem32_base + b->pci_mem32_size - 1), false);
	if (b->pci_mem64_size)
		aml_res_mem64_window(a, b->pci_mem64_base,
				     b->pci_mem64_base + b->pci_mem64_size - 1);
	aml_crs_close(a);
}

/* Each slot's pins go straight to interrupt inputs of the IOAPIC; no link devices. */
static void pci_routing(struct aml *a, const struct fw_board *b)
{
	aml_name(a, "_PRT");
	aml_package(a, 32 * 4);
	for (unsigned slot = 0; slot < 32; slot++) {
		for (unsigned pin = 0; pin < 4; pin++) {
			aml_package(a, 4);
			aml_int(a, (uint64_t)slot << 16 | 0xffff);
			aml_int(a, pin);
			aml_int(a, 0);
			aml_int(a, b->pci_gsi(slot, pin));
			aml_close(a);
		}
	}
	aml_close(a);
}

static void com_port(struct aml *a, unsigned n)
{
	static const uint16_t base[FW_NR_COM] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
	char name[] = "COM1";

	name[3] = (char)('1' + n);
	aml_device(a, name);
	aml_name_eisaid(a, "_HID", "PNP0501");
	aml_name_int(a, "_UID", n + 1);
	aml_crs_open(a);
	aml_res_io(a, base[n], 8);
	aml_res_irq(a, n & 1 ? 3 : 4);
	aml_crs_close(a);
	aml_close(a);
}

static void rtc(struct aml *a)
{
	aml_device(a, "RTC_");
	aml_name_eisaid(a, "_HID", "PNP0B00");
	aml_crs_open(a);
	aml_res_io(a, 0x70, 8);
	aml_res_irq(a, 8);
	aml_crs_close(a);
	aml_close(a);
}

static void pvpanic(struct aml *a, uint16_t port)
{
	aml_device(a, "PEVT");
	aml_name_string(a, "_HID", "QEMU0001");
	aml_name_int(a, "_STA", 0xf);
	aml_crs_open(a);
	aml_res_io(a, port, 1);
	aml_crs_close(a);
	aml_close(a);
}

static void isa_devices(struct aml *a, const struct fw_board *b)
{
	for (unsigned i = 0; i < FW_NR_COM; i++)
		if (b->com[i])
			com_port(a, i);
	if (b->has_rtc)
		rtc(a);
	if (b->pvpanic_port)
		pvpanic(a, b->pvpanic_port);
}

static void lpc(struct aml *a, const struct fw_board *b)
{
	aml_device(a, "ISA_");
	aml_name_int(a, "_ADR", 0x1f0000);
	isa_devices(a, b);
	aml_close(a);
}

static void virtio_devices(struct aml *a, const struct fw_board *b)
{
	for (unsigned i = 0; i < b->nr_virtio; i++) {
		char name[8];

		snprintf(name, sizeof(name), "VR%02X", i & 0xff);
		aml_device(a, name);
		aml_name_string(a, "_HID", "LNRO0005");
		aml_name_int(a, "_UID", i);
		aml_crs_open(a);
		aml_res_mem32_fixed(a, b->virtio[i].base, b->virtio[i].len);
		aml_res_gsi(a, b->virtio[i].gsi);
		aml_crs_close(a);
		aml_close(a);
	}
}

/*
 * _EVT reads which events there are, which takes them back, and passes the power button's on:
 *	Local0 = ESEL
 *	If (Local0 & power button) { Notify (PWRB, 0x80) }
 */
static void ged_evt(struct aml *a, uint8_t power_button)
{
	uint8_t code[] = { OP_STORE, 'E',    'S',	'E',  'L',	    OP_LOCAL0, OP_IF,
			   13,	     OP_AND, OP_LOCAL0, 0x0a, power_button, 0,	       OP_NOTIFY,
			   'P',	     'W',    'R',	'B',  0x0a,	    0x80 };

	aml_method(a, "_EVT", 1 | METHOD_SERIALIZED);
	aml_bytes(a, code, sizeof(code));
	aml_close(a);
}

/* The generic event device (section 5.6.9) and the button behind it. */
static void event_device(struct aml *a, const struct fw_board *b)
{
	static const uint8_t field[] = { 0x5b, 0x81, 11,  'E', 'R', 'E', 'G', 0x03 /* dwords */,
					 'E',  'S',  'E', 'L', 0x20 };

	aml_device(a, "PWRB");
	aml_name_eisaid(a, "_HID", "PNP0C0C");
	aml_name_int(a, "_UID", 0);
	aml_close(a);
	aml_device(a, "GED_");
	aml_name_string(a, "_HID", "ACPI0013");
	aml_name_int(a, "_UID", 0);
	aml_crs_open(a);
	aml_res_gsi(a, b->ged.gsi);
	aml_crs_close(a);
	aml_byte(a, 0x5b);
	aml_byte(a, 0x80); /* OperationRegion */
	aml_path(a, "EREG");
	aml_byte(a, 0); /* SystemMemory */
	aml_int(a, b->ged.base);
	aml_int(a, 4);
	aml_bytes(a, field, sizeof(field));
	ged_evt(a, b->ged_power_button);
	aml_close(a);
}

/* What belongs to the board itself, so that no window is put there. */
static void motherboard(struct aml *a, const struct fw_board *b)
{
	aml_device(a, "MBRD");
	aml_name_eisaid(a, "_HID", "PNP0C02");
	aml_name_int(a, "_UID", 1);
	aml_crs_open(a);
	if (b->hw_reduced)
		aml_res_mem32_fixed(a, b->ged.base, b->ged.len);
	else
		aml_res_io(a, b->pm_base, 0x80);
	if (b->ecam_buses)
		aml_res_mem32_fixed(a, (uint32_t)b->ecam_base, (uint32_t)b->ecam_buses << 20);
	aml_crs_close(a);
	aml_close(a);
}

static void processors(struct aml *a, const struct fw_board *b)
{
	for (unsigned i = 0; i < b->cpus; i++) {
		char name[8];

		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		aml_device(a, name);
		aml_name_string(a, "_HID", "ACPI0007");
		aml_name_int(a, "_UID", i);
		aml_close(a);
	}
}

static void pci_root(struct aml *a, const struct fw_board *b)
{
	aml_device(a, "PCI0");
	aml_name_eisaid(a, "_HID", "PNP0A08");
	aml_name_eisaid(a, "_CID", "PNP0A03");
	aml_name_int(a, "_SEG", 0);
	aml_name_int(a, "_BBN", 0);
	aml_name_int(a, "_UID", 0);
	osc_method(a);
	pci_windows(a, b);
	pci_routing(a, b);
	if (!b->hw_reduced)
		lpc(a, b);
	aml_close(a);
}

void dsdt_body(struct aml *a, const struct fw_board *b)
{
	aml_scope(a, "\\_SB_");
	processors(a, b);
	if (b->ecam_buses)
		pci_root(a, b);
	if (b->hw_reduced) {
		isa_devices(a, b);
		event_device(a, b);
	}
	virtio_devices(a, b);
	motherboard(a, b);
	aml_close(a);

	aml_name(a, "\\_S5_");
	aml_package(a, 4);
	aml_int(a, b->s5_typ);
	aml_int(a, b->s5_typ);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_close(a);
}
