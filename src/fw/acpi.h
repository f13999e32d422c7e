/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables of a board: RSDP, XSDT, FADT, FACS, MADT, MCFG, DSDT. Source: ACPI 6.4.
 */
#ifndef FW_ACPI_H
#define FW_ACPI_H

#include "base/base.h"
#include "fw/board.h"

/* A blob for guest memory at addr (data is heap memory of the caller's after the call). */
struct fw_blob {
	uint64_t addr;
	uint8_t *data;
	size_t len;
};

/*
 * Builds all tables for placement from base upwards, at most limit bytes; the RSDP comes first
 * (base must be 16-byte aligned and, for BIOS-style search, in 0xe0000..0xfffff).
 */
int acpi_build(const struct fw_board *, uint64_t base, size_t limit, struct fw_blob *out,
	       struct err *e) MUST_CHECK;

#endif
