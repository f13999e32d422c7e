/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel as an ELF-64 executable for x86-64: which bytes go where, and where it starts.
 * Sources: System V ABI (ELF-64), Linux arch/x86 PVH note (XEN_ELFNOTE_PHYS32_ENTRY).
 */
#ifndef FW_ELF_H
#define FW_ELF_H

#include "base/base.h"

#define ELF_MAX_SEGS 32

struct elf_seg {
	uint64_t paddr, filesz, memsz, off; /* off in the file */
};

struct elf_kernel {
	struct elf_seg seg[ELF_MAX_SEGS];
	unsigned nr_segs;
	uint64_t first, end; /* physical extent of all segments: [first, end) */
	uint64_t entry;	     /* 64-bit entry, physical */
	uint64_t pvh_entry;  /* 32-bit entry from the PVH note, 0 = none */
};

bool elf_is(const uint8_t *data, size_t len);
/* Checks everything that placing it relies on; segments lie in the file and do not overlap. */
int elf_parse(const uint8_t *data, size_t len, struct elf_kernel *out, struct err *e) MUST_CHECK;
/* The same of its first have bytes. Notes behind them are not looked at. */
int elf_parse_head(const uint8_t *data, size_t have, size_t len, struct elf_kernel *out,
		   struct err *e) MUST_CHECK;

#endif
