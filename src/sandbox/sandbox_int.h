/* SPDX-License-Identifier: Apache-2.0 */
/* The layers of sandbox_enter() one by one, for its tests. */
#ifndef SANDBOX_SANDBOX_INT_H
#define SANDBOX_SANDBOX_INT_H

#include "sandbox/sandbox.h"

/* Landlock: no files, no network; control keeps both and may not run programs. -ENOSYS without it. */
int sandbox_landlock(enum sandbox_role);

#endif
