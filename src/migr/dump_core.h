/* SPDX-License-Identifier: Apache-2.0 */
/* A dump of a guest (dump.h): what is in it, found on the control thread, and writing it. */
#ifndef MIGR_DUMP_CORE_H
#define MIGR_DUMP_CORE_H

#include "migr/stream.h"

struct arch_space;
struct vm;
struct ram_block;

/* RAM or ROM as the guest sees it. */
struct dump_piece {
	uint64_t gpa, len;
	const struct ram_block *rb;
	uint64_t off; /* of gpa in rb */
};

/* A segment of an ELF file: the address that it is known by, and where that leads. */
struct dump_load {
	uint64_t addr, gpa, len;
};
#define DUMP_MAX_LOADS (1u << 20)

struct dump_core {
	struct dump_piece *pieces; /* sorted, n of them */
	size_t n;
	uint8_t *notes; /* of ELF, with the vCPUs' registers */
	size_t notes_len;
	unsigned nr_cpus;
	struct arch_space *spaces; /* with paging: the vCPUs' page tables; NULL: none has any */
	size_t nr_spaces;
	struct dump_load *loads; /* dump_core_map()'s, by address */
	size_t nr_loads;
};

/*
 * With every vCPU standing still. Only [first, first + len) of guest memory where len is not 0;
 * -EINVAL when nothing is there. paging: segments shall have the addresses that the guest knows
 * them by. fini also after an error.
 */
int dump_core_init(struct dump_core *, struct vm *, uint64_t first, uint64_t len, bool paging,
		   struct err *e) MUST_CHECK;
void dump_core_fini(struct dump_core *);
uint64_t dump_core_bytes(const struct dump_core *); /* of guest memory */

/* For dump_elf_write(). Any one thread; the guest does not run. */
int dump_core_map(struct dump_core *, const atomic_bool *cancel, struct err *e) MUST_CHECK;

/*
 * Any one thread; the guest does not run. *done counts up to the bytes above it: of guest memory.
 * flat: for readers of a stream; else -ESPIPE where the bytes of a file cannot be written in any
 * order. A page that the guest has only a part of counts as a whole one there.
 */
int dump_elf_write(const struct dump_core *, struct migr_stream *, _Atomic uint64_t *done,
		   struct err *e) MUST_CHECK;
uint64_t dump_kdump_bytes(const struct dump_core *);
int dump_kdump_write(const struct dump_core *, bool flat, struct migr_stream *,
		     _Atomic uint64_t *done, struct err *e) MUST_CHECK;

#endif
