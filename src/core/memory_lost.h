/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the host has lost: its hardware found a page that cannot be read (Linux
 * Documentation/mm/hwpoison.rst). The kernel says so by SIGBUS, to the thread that needs the page
 * now ("action required"), or early to the control thread ("action optional"). If it is the guest's
 * page, the guest is told as its hardware would tell it (arch_memory_lost()), and observers hear of
 * it (VM_EV_MEMORY_FAILURE). If the process itself needs it, or a file under it was made
 * shorter, a message says so and the process ends by the signal.
 */
#ifndef CORE_MEMORY_LOST_H
#define CORE_MEMORY_LOST_H

#include "base/base.h"

struct vm;
struct vcpu;
struct memory_lost;

/* For the process, before its threads are made: SIGBUS is heard. Control thread. */
int memory_lost_catch(struct err *e) MUST_CHECK;

/* vm->lost; from listen on the control loop tells vm's guest of pages that nobody needed yet. */
struct memory_lost *memory_lost_new(struct vm *);
void memory_lost_listen(struct vm *);
void memory_lost_free(struct vm *);

/*
 * For engines, on v's thread: its guest is told of the page that v->lost names, or of the one at
 * gpa, before it goes on. -EFAULT when it cannot be, with v->fail set.
 */
int vcpu_memory_lost(struct vcpu *v) MUST_CHECK;
int vcpu_memory_lost_at(struct vcpu *v, uint64_t gpa) MUST_CHECK;

/* -EIO, with how many, while there are pages that nobody can read. Control thread. */
int memory_lost_check(struct vm *, struct err *e) MUST_CHECK;
/* Other memory in the place of those, at a machine reset. Everything at a stand. Control thread. */
void memory_lost_replace(struct vm *);

#endif
