/* SPDX-License-Identifier: Apache-2.0 */
/* The table of CPU engines (core/accel.h). */
#include "base/base.h"
#include "accel/accel.h"

const struct accel_ops *const accel_engines[] = { &accel_kvm, &accel_soft, NULL };
