/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables of a board, laid out one behind the other: RSDP, XSDT, FACS, DSDT, FADT, MADT,
 * MCFG (with PCI). Hardware-reduced boards have no FACS (section 4.1). Source: ACPI 6.4, chapter 5;
 * MCFG: PCI Firmware 3.2, section 4.1.2. Any thread; no state.
 */
#include "base/base.h"

#include "base/bytes.h"
#include "fw/acpi_int.h"
#include "fw/aml.h"

#define HEADER_LEN 36
#define RSDP_LEN   36
#define FACS_LEN   64
#define FADT_LEN   276
#define NR_XSDT	   3 /* at most */

/* FADT feature flags (table 5.10) */
#define FADT_WBINVD	BIT32(0)
#define FADT_PROC_C1	BIT32(2)
#define FADT_PWR_BUTTON BIT32(4) /* there is no fixed one */
#define FADT_SLP_BUTTON BIT32(5)
#define FADT_RESET_REG	BIT32(10)
#define FADT_APIC_PHYS	BIT32(19) /* not set: logical destinations are fine */
#define FADT_HW_REDUCED BIT32(20)
/* IA-PC boot flags (table 5.11) */
#define BOOT_LEGACY_DEV BIT32(0)
#define BOOT_8042	BIT32(1)
#define BOOT_NO_VGA	BIT32(2)
#define BOOT_NO_RTC	BIT32(5)

#define GAS_MEM 0
#define GAS_IO	1

/* MADT entries (section 5.2.12) */
#define MADT_LAPIC	0
#define MADT_IOAPIC	1
#define MADT_ISO	2
#define MADT_LAPIC_NMI	4
#define MADT_X2APIC	9
#define MADT_X2APIC_NMI 10
#define ISO_LEVEL_HIGH	0x0d

static uint8_t checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + p[i]);
	return (uint8_t)-sum;
}

/* A table header at the current end; table_close() fills length and checksum. */
static size_t table_open(struct aml *a, const char *sig, uint8_t revision)
{
	uint8_t h[HEADER_LEN] = { 0 };
	static const uint8_t zero[16];
	size_t at;

	aml_bytes(a, zero, (16 - a->len % 16) % 16);
	at = a->len;
	memcpy(h, sig, 4);
	h[8] = revision;
	memcpy(h + 10, "HANOK ", 6);
	memcpy(h + 16, "HANOKPC ", 8);
	st_le32(h + 24, 1);
	memcpy(h + 28, "HNK ", 4);
	st_le32(h + 32, 1);
	aml_bytes(a, h, sizeof(h));
	return at;
}

static void table_close(struct aml *a, size_t at)
{
	uint8_t *t = a->data + at;

	st_le32(t + 4, (uint32_t)(a->len - at));
	t[9] = checksum(t, a->len - at);
}

static void gas(uint8_t *p, uint8_t space, uint8_t bits, uint8_t access, uint64_t addr)
{
	p[0] = space;
	p[1] = bits;
	p[2] = 0;
	p[3] = access;
	st_le64(p + 4, addr);
}

static uint16_t boot_flags(const struct fw_board *b)
{
	return (uint16_t)(BOOT_NO_VGA | (b->hw_reduced ? 0 : BOOT_LEGACY_DEV) |
			  (b->has_i8042 ? BOOT_8042 : 0) | (b->has_rtc ? 0 : BOOT_NO_RTC));
}

/* What takes the place of fixed hardware (section 4.8.3.7, table 5.9). */
static void fadt_reduced(uint8_t *t, const struct fw_board *b)
{
	st_le32(t + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON |
				 FADT_RESET_REG | FADT_HW_REDUCED);
	gas(t + 116, GAS_MEM, 8, 1, b->reset_reg);
	gas(t + 244, GAS_MEM, 8, 1, b->sleep_control);
	gas(t + 256, GAS_MEM, 8, 1, b->sleep_status);
}

/* Fixed hardware is always in ACPI mode: no SMI command port, SCI_EN reads as one. */
static void fadt_fixed(uint8_t *t, const struct fw_board *b, uint64_t facs)
{
	/* Without TMR_VAL_EXT (bit 8): the ICH9's timer has 24 bits. */
	uint32_t flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_RESET_REG;

	st_le32(t + 36, (uint32_t)facs);
	st_le16(t + 46, b->sci_gsi);
	st_le32(t + 56, b->pm_base);
	st_le32(t + 64, b->pm_base + 4u);
	st_le32(t + 76, b->pm_base + 8u);
	st_le32(t + 80, b->gpe0_len ? (uint32_t)(b->pm_base + b->gpe0_off) : 0);
	t[88] = 4; /* PM1_EVT_LEN */
	t[89] = 2;
	t[91] = 4; /* PM_TMR_LEN */
	t[92] = (uint8_t)b->gpe0_len;
	st_le16(t + 96, 0xfff); /* no C2 */
	st_le16(t + 98, 0xfff); /* no C3 */
	t[108] = b->has_rtc ? b->century_reg : 0;
	st_le32(t + 112, flags);
	gas(t + 116, GAS_IO, 8, 1, b->reset_port);
	gas(t + 148, GAS_IO, 32, 2, b->pm_base);
	gas(t + 172, GAS_IO, 16, 2, b->pm_base + 4u);
	gas(t + 208, GAS_IO, 32, 3, b->pm_base + 8u);
	if (b->gpe0_len)
		gas(t + 220, GAS_IO, (uint8_t)(b->gpe0_len * 8), 1,
		    (uint64_t)b->pm_base + b->gpe0_off);
}

/* facs: 0 = there is none. */
static size_t fadt(struct aml *a, const struct fw_board *b, uint64_t base, size_t facs, size_t dsdt)
{
	size_t at = table_open(a, "FACP", 6);
	uint8_t t[FADT_LEN] = {
		0
	}; /* with the header's room, so that offsets read as in the table */

	if (b->hw_reduced)
		fadt_reduced(t, b);
	else
		fadt_fixed(t, b, base + facs);
	st_le32(t + 40, (uint32_t)(base + dsdt));
	st_le16(t + 109, boot_flags(b));
	t[128] = b->reset_value;
	t[131] = 4; /* minor version: 6.4 */
	/* The 64-bit forms stay zero where the 32-bit ones hold, except the DSDT's. */
	st_le64(t + 140, base + dsdt);
	aml_bytes(a, t + HEADER_LEN, sizeof(t) - HEADER_LEN);
	table_close(a, at);
	return at;
}

static void madt_cpu(struct aml *a, unsigned uid, uint32_t apic_id)
{
	uint8_t e[16] = { 0 };

	if (apic_id < 255) {
		e[0] = MADT_LAPIC;
		e[1] = 8;
		e[2] = (uint8_t)uid;
		e[3] = (uint8_t)apic_id;
		st_le32(e + 4, 1);
		aml_bytes(a, e, 8);
		return;
	}
	e[0] = MADT_X2APIC;
	e[1] = 16;
	st_le32(e + 4, apic_id);
	st_le32(e + 8, 1);
	st_le32(e + 12, uid);
	aml_bytes(a, e, 16);
}

static void madt_iso(struct aml *a, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	uint8_t e[10] = { MADT_ISO, 10, 0, irq };

	st_le32(e + 4, gsi);
	st_le16(e + 8, flags);
	aml_bytes(a, e, sizeof(e));
}

static size_t madt(struct aml *a, const struct fw_board *b)
{
	static const uint8_t nmi[] = { MADT_LAPIC_NMI, 6, 0xff, 0, 0, 1 }; /* all CPUs, LINT1 */
	size_t at = table_open(a, "APIC", 5);
	uint8_t head[8], io[12] = { MADT_IOAPIC, 12, b->ioapic_id };

	st_le32(head, (uint32_t)b->lapic_base);
	st_le32(head + 4, !b->hw_reduced); /* PCAT_COMPAT: there are 8259s */
	aml_bytes(a, head, sizeof(head));
	for (unsigned i = 0; i < b->cpus; i++)
		madt_cpu(a, i, b->apic_ids[i]);
	st_le32(io + 4, (uint32_t)b->ioapic_base);
	aml_bytes(a, io, sizeof(io));
	if (b->has_pit)
		madt_iso(a, 0, 2, 0);
	if (!b->hw_reduced)
		madt_iso(a, b->sci_gsi, b->sci_gsi, ISO_LEVEL_HIGH);
	aml_bytes(a, nmi, sizeof(nmi));
	table_close(a, at);
	return at;
}

static size_t mcfg(struct aml *a, const struct fw_board *b)
{
	size_t at = table_open(a, "MCFG", 1);
	uint8_t e[8 + 16] = { 0 };

	st_le64(e + 8, b->ecam_base);
	e[19] = (uint8_t)(b->ecam_buses - 1);
	aml_bytes(a, e, sizeof(e));
	table_close(a, at);
	return at;
}

static void rsdp(uint8_t *p, uint64_t xsdt)
{
	memcpy(p, "RSD PTR ", 8);
	memcpy(p + 9, "HANOK ", 6);
	p[15] = 2;
	st_le32(p + 20, RSDP_LEN);
	st_le64(p + 24, xsdt);
	p[8] = checksum(p, 20);
	p[32] = checksum(p, RSDP_LEN);
}

static size_t facs(struct aml *a)
{
	static const uint8_t zero[64];
	uint8_t facs[FACS_LEN] = "FACS";
	size_t at;

	aml_bytes(a, zero, (64 - a->len % 64) % 64);
	at = a->len;
	st_le32(facs + 4, FACS_LEN);
	facs[32] = 2;
	aml_bytes(a, facs, sizeof(facs));
	return at;
}

int acpi_build(const struct fw_board *b, uint64_t base, size_t limit, struct fw_blob *out,
	       struct err *e)
{
	static const uint8_t zero[64];
	unsigned n = b->ecam_buses ? NR_XSDT : NR_XSDT - 1;
	size_t xsdt, facs_at, dsdt, tables[NR_XSDT] = { 0 };
	struct aml a = { 0 };

	aml_bytes(&a, zero, RSDP_LEN);
	xsdt = table_open(&a, "XSDT", 1);
	aml_bytes(&a, zero, (size_t)n * 8);
	table_close(&a, xsdt);
	facs_at = b->hw_reduced ? 0 : facs(&a);
	dsdt = table_open(&a, "DSDT", 2);
	dsdt_body(&a, b);
	table_close(&a, dsdt);
	tables[0] = fadt(&a, b, base, facs_at, dsdt);
	tables[1] = madt(&a, b);
	if (b->ecam_buses)
		tables[2] = mcfg(&a, b);
	for (unsigned i = 0; i < n; i++)
		st_le64(a.data + xsdt + HEADER_LEN + i * 8, base + tables[i]);
	a.data[xsdt + 9] = 0;
	a.data[xsdt + 9] = checksum(a.data + xsdt, HEADER_LEN + (size_t)n * 8);
	rsdp(a.data, base + xsdt);
	if (a.len > limit) {
		size_t len = a.len;

		aml_fini(&a);
		return err_set(e, ENOSPC, "the ACPI tables have %zu bytes, %zu fit", len, limit);
	}
	*out = (struct fw_blob){ .addr = base, .data = a.data, .len = a.len };
	return 0;
}
