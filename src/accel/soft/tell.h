/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine writes into the log for -d int, in_asm, out_asm, exec and cpu, in QEMU's forms.
 * Callers look at log_is_on() first. vCPU thread.
 */
#ifndef SOFT_TELL_H
#define SOFT_TELL_H

#include "accel/soft/block.h"

/* An exception or interrupt is about to be delivered; rip: what goes onto the stack. */
void tell_event(struct soft_cpu *, unsigned vector, uint32_t error, bool soft_int, uint64_t rip);
/* The block was decoded, from lin. */
void tell_decoded(const struct soft_cpu *, const struct block *, uint64_t lin);
/* It has host code of size bytes. */
void tell_made(const struct block *, size_t size);
/* It is about to run. */
void tell_run(struct soft_cpu *, const struct block *);

#endif
