/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An uncompressed kernel's bytes in guest memory without a copy: private views of its file, for as
 * long as nobody can change the file. See kernel_map.c.
 */
#ifndef FW_KERNEL_MAP_H
#define FW_KERNEL_MAP_H

#include "base/base.h"
#include "core/lease.h"

struct vm;

#define KERNEL_MAP_MIN KIB(64) /* less is copied as quickly */

struct kernel_map {
	struct lease lease;
};

/*
 * Asks for a lease on fd, open for reading only. Whether there is one: without, the file is to be
 * copied. Asking again is fine. Control thread.
 */
bool kernel_map_lease(struct kernel_map *, struct vm *, int fd);
/*
 * Maps the whole pages of [off, off + len) of the leased file to [gpa, gpa + len); returns for how
 * many bytes from the start that was possible, a multiple of a page's. The rest is to be copied.
 */
uint64_t kernel_map_segment(struct kernel_map *, uint64_t gpa, uint64_t off, uint64_t len);
void kernel_map_fini(struct kernel_map *);

#endif
