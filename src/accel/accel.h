/* SPDX-License-Identifier: Apache-2.0 */
/* The engines that this folder defines; their interface is core/accel.h. */
#ifndef ACCEL_ACCEL_H
#define ACCEL_ACCEL_H

#include "core/accel.h"

extern const struct accel_ops accel_kvm, accel_soft;

/* events.c: what of vcpu->events belongs to the state. Everything stands still. */
void accel_get_events(const struct vcpu *, struct cpu_state *);
void accel_set_events(struct vcpu *, const struct cpu_state *);

#endif
