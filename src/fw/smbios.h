/* SPDX-License-Identifier: Apache-2.0 */
/* SMBIOS tables of a board with a 3.0 (64-bit) entry point. Source: DMTF DSP0134 3.6. */
#ifndef FW_SMBIOS_H
#define FW_SMBIOS_H

#include "base/base.h"
#include "fw/acpi.h"
#include "fw/board.h"

/* Entry point first, structures behind it; base must be 16-byte aligned in 0xf0000..0xfffff. */
int smbios_build(const struct fw_board *, uint64_t base, size_t limit, struct fw_blob *out,
		 struct err *e) MUST_CHECK;

#endif
