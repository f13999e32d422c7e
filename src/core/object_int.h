/* SPDX-License-Identifier: Apache-2.0 */
/* The object types, for the table in object.c. */
#ifndef CORE_OBJECT_INT_H
#define CORE_OBJECT_INT_H

#include "core/object.h"

extern const struct obj_type obj_memory_file, obj_memory_memfd, obj_memory_ram;
extern const struct obj_type obj_rng_builtin, obj_rng_random;

#endif
