/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes ACPI Machine Language. Source: ACPI 6.4, chapter 20. A package, scope, device, method or
 * buffer is opened and closed; its length is filled in on closing.
 */
#ifndef FW_AML_H
#define FW_AML_H

#include "base/base.h"

#define AML_DEPTH 8

struct aml {
	uint8_t *data;
	size_t len, cap;
	size_t open[AML_DEPTH]; /* where the length of each open construct belongs */
	unsigned depth;
};

void aml_fini(struct aml *);
void aml_bytes(struct aml *, const void *data, size_t len);
void aml_byte(struct aml *, uint8_t);

/* A path as in ASL: "\\_SB_", "PCI0", "\\_SB_.PCI0": segments of exactly four characters. */
void aml_path(struct aml *, const char *path);
void aml_int(struct aml *, uint64_t);
void aml_string(struct aml *, const char *);
void aml_eisaid(struct aml *, const char *id); /* "PNP0A08" */

void aml_scope(struct aml *, const char *path);
void aml_device(struct aml *, const char *name);
void aml_method(struct aml *, const char *name, unsigned args);
void aml_package(struct aml *, uint8_t elements);
void aml_close(struct aml *);

/* Name(seg, ...): the object follows, or one of the short forms. */
void aml_name(struct aml *, const char *seg);
void aml_name_int(struct aml *, const char *seg, uint64_t);
void aml_name_eisaid(struct aml *, const char *seg, const char *id);
void aml_name_string(struct aml *, const char *seg, const char *text);

/* Name(_CRS, ResourceTemplate() { ... }): descriptors between open and close. */
void aml_crs_open(struct aml *);
void aml_crs_close(struct aml *);
void aml_res_io(struct aml *, uint16_t base, uint8_t len);
void aml_res_irq(struct aml *, unsigned irq);
/* Level, active high, shared; any GSI. */
void aml_res_gsi(struct aml *, uint32_t gsi);
void aml_res_mem32_fixed(struct aml *, uint32_t base, uint32_t len);
void aml_res_bus(struct aml *, uint16_t first, uint16_t last);
void aml_res_io_window(struct aml *, uint16_t first, uint16_t last);
void aml_res_mem32_window(struct aml *, uint32_t first, uint32_t last, bool cacheable);
void aml_res_mem64_window(struct aml *, uint64_t first, uint64_t last);

#endif
