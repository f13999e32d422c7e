/* SPDX-License-Identifier: Apache-2.0 */
/* The engines that this folder defines; their interface is core/accel.h. */
#ifndef ACCEL_ACCEL_H
#define ACCEL_ACCEL_H

#include "core/accel.h"

extern const struct accel_ops accel_kvm, accel_soft;

#endif
