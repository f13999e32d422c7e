/* SPDX-License-Identifier: Apache-2.0 */
/* Shared between the files that make ACPI tables. */
#ifndef FW_ACPI_INT_H
#define FW_ACPI_INT_H

#include "fw/acpi.h"

struct aml;

/* Appends the definition block of the DSDT. */
void dsdt_body(struct aml *, const struct fw_board *);

#endif
