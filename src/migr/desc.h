/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine is, as text: written into each saved one, compared with the one that loads it. */
#ifndef MIGR_DESC_H
#define MIGR_DESC_H

#include "core/vm.h"
#include "migr/text.h"

/* Control thread. */
void desc_machine(struct vm *, const char *run_state, struct migr_text *out);
/*
 * Whether a machine described by saved can go on in the one described by here: 0, or -EINVAL with
 * e naming the key that differs and what to do.
 */
int desc_check(const struct migr_text *saved, const struct migr_text *here,
	       struct err *e) MUST_CHECK;
/*
 * The run state that the machine was saved in, which it has again; VM_RUNNING where it does not
 * say. -EINVAL: none that a machine is saved in.
 */
int desc_run_state(const struct migr_text *saved, enum vm_state *out, struct err *e) MUST_CHECK;

#endif
