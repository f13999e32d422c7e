/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the interpreter core share with soft.c. */
#ifndef SOFT_ENGINE_H
#define SOFT_ENGINE_H

#include "accel/soft/cpu.h"
#include <stdio.h>

enum vcpu_exit soft_run(struct vcpu *);

/* cpu.c: RESET (or INIT) state. Intel SDM vol. 3, table 11-1. */
void cpu_reset(struct soft_cpu *, bool init);
/* Whether every instruction is a block by itself. */
void cpu_set_slow(struct soft_cpu *, bool slow);

/* show.c: accel_ops.show_jit */
void soft_show_jit(struct vm *, FILE *out);

#endif
