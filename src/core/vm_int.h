/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files that make up a VM; inside core only. */
#ifndef CORE_VM_INT_H
#define CORE_VM_INT_H

#include "core/vm.h"

/* runstate.c: the work of vm->request_work. */
void vm_requests_fn(struct loop_work *);

#endif
