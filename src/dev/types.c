/* SPDX-License-Identifier: Apache-2.0 */
/* The table of device types that a configuration may name (types.def). */
#include "base/base.h"
#include "core/dev.h"

#define X(type) extern const struct dev_type type;
#include "dev/types.def"
#undef X

const struct dev_type *const dev_types[] = {
#define X(type) &type,
#include "dev/types.def"
#undef X
	NULL,
};
