/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside src/mem only. */
#ifndef MEM_RAM_INT_H
#define MEM_RAM_INT_H

#include "mem/ram.h"

/* ram_host.c: maps rb->size bytes between guard pages; fills host, fd, reserved. */
int ram_map_host(struct ram_block *rb, const struct ram_options *o, struct err *e);

#endif
