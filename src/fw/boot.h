/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct boot of Linux: checks kernel and initrd once, then puts them, the tables and the boot
 * CPU's state in place at each machine reset. Images are hostile input: a malformed, truncated or
 * absurd one is refused with its reason before any vCPU runs.
 * Sources: Documentation/arch/x86/boot.rst, zero-page.rst; Documentation/arch/x86/pvh; ELF-64.
 */
#ifndef FW_BOOT_H
#define FW_BOOT_H

#include "base/base.h"
#include "fw/board.h"

struct vm;
struct cpu_state;
struct fw_boot;

/*
 * Reads and checks the files of conf (kernel needed; initrd and append optional), unpacks the
 * kernel where that is possible. NULL with e set on failure. Nothing of guest memory is touched.
 */
struct fw_boot *fw_boot_new(const char *kernel, const char *initrd, const char *append,
			    const struct fw_board *board, struct err *e);
struct fw_boot *fw_boot_free(struct fw_boot *); /* returns NULL */

/*
 * Writes everything to guest memory and sets what the boot CPU starts with in *state (which holds
 * the power-on state). -errno with e set when it does not fit into the guest's RAM.
 */
int fw_boot_place(struct fw_boot *, struct vm *, struct cpu_state *state, struct err *e) MUST_CHECK;

#endif
