/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory written to a file for somebody to look at: behind QEMU's dump-guest-memory (for
 * crash, drgn or gdb), memsave and pmemsave. A VM has at most one such job at a time; a
 * worker writes. Control thread.
 */
#ifndef MIGR_DUMP_H
#define MIGR_DUMP_H

#include "core/arch.h"
#include "migr/migr.h"

struct dump;

enum dump_what {
	DUMP_CORE,     /* all RAM with registers; the guest stands still meanwhile */
	DUMP_PHYSICAL, /* bytes of [addr, addr + len), while the guest runs */
	DUMP_VIRTUAL,  /* the same in a vCPU's address space */
};

enum dump_format {
	DUMP_ELF,
	DUMP_KDUMP,	/* compressed by zlib, "flattened": for a pipe as well as for a file */
	DUMP_KDUMP_RAW, /* the same as it is in the end; for a file only */
};

struct dump_request {
	enum dump_what what;
	enum dump_format format; /* of DUMP_CORE */
	const char *uri;	 /* "file:PATH" or "fd:NAME", as for migr_save(); not kept */
	uint64_t addr;		 /* DUMP_ELF: only guest-physical [addr, addr + len) ... */
	uint64_t len;		 /* ... bytes, where len is not 0 */
	bool paging;		 /* DUMP_ELF: by the addresses that the guest's page tables give */
	struct arch_space space; /* DUMP_VIRTUAL */
	/*
	 * Each is called once on the control thread, when a job that dump_start() began has ended:
	 * written (DUMP_CORE only) before the guest goes on, done behind that. e->code is 0 when
	 * all is written.
	 */
	void (*written)(void *arg, const struct err *e);
	void (*done)(void *arg, const struct err *e);
	void *arg;
};

/* 0: it has begun. -EBUSY while another one, a save or a load is under way. */
int dump_start(struct vm *, const struct dump_request *, struct migr_fds *,
	       struct err *e) MUST_CHECK;

/* Of the last DUMP_CORE. */
enum dump_status { DUMP_NONE, DUMP_ACTIVE, DUMP_COMPLETED, DUMP_FAILED };
struct dump_info {
	enum dump_status status;
	uint64_t completed, total; /* bytes of guest memory */
};
struct dump_info dump_get_info(const struct vm *);

/* Ends a job (done is called with -ECANCELED) and forgets it; before vm_free(). */
void dump_end(struct vm *);

#endif
