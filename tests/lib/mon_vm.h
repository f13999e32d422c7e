/* SPDX-License-Identifier: Apache-2.0 */
/* A machine with monitors in this process: no guest runs, everything else is real. */
#ifndef TESTS_LIB_MON_VM_H
#define TESTS_LIB_MON_VM_H

#include "core/vm.h"
#include "mon/mon.h"

/* On the soft engine, with a kernel that halts; the vCPUs are not started. */
struct vm *mon_vm_new(const char *machine, unsigned cpus);
/* Both, as the program ends them. */
void mon_vm_free(struct vm *, struct mon *);
/* Adds a chardev on one end of a socket pair and a monitor (mode) on it; returns the other end. */
int mon_vm_client(struct vm *, struct mon *, const char *id, const char *mode);
/* Lets the loop run until it has nothing to do for ms. */
void mon_vm_run(struct vm *, int ms);
/* What has come on fd by now; the caller's to free, never NULL. */
char *mon_vm_read(struct vm *, int fd);

#endif
