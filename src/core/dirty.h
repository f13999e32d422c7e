/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of guest memory are written, by vCPUs and by devices, on any engine. Control thread;
 * vCPUs and devices may run.
 */
#ifndef CORE_DIRTY_H
#define CORE_DIRTY_H

#include "base/base.h"

struct vm;
struct ram_block;

/* Starts logging writes to every block of RAM in the map; all pages are clean. */
int dirty_start(struct vm *, struct err *e) MUST_CHECK;
/*
 * Sets in bitmap (ram_dirty_words() words) the pages of a block written since the last call, and
 * makes them clean again; *pages says how many. A page read behind this call has all that was
 * written before, or is in the next bitmap.
 */
int dirty_fetch(struct vm *, struct ram_block *, uint64_t *bitmap, uint64_t *pages,
		struct err *e) MUST_CHECK;
void dirty_stop(struct vm *);

#endif
