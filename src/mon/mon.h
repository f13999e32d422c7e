/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitors of a VM: programs speak QMP with them, people HMP (docs/monitor.md).
 *
 * Everything here runs on the control thread, inside the VM's loop; nothing blocks. Clients are
 * hostile as far as the VM's life goes: what they send is bounded and checked, and one that does
 * not read its replies only waits for itself.
 */
#ifndef MON_MON_H
#define MON_MON_H

#include "base/base.h"

/* The QEMU whose clients find here what they expect. */
#define MON_QEMU_MAJOR 10
#define MON_QEMU_MINOR 0
#define MON_QEMU_MICRO 2

struct conf_node;
struct mon;
struct vm;

/* The VM's monitors, none open yet. The VM outlives it. */
struct mon *mon_new(struct vm *);
/* Opens the one that node (CONF_MONITOR: chardev, mode, pretty) describes. */
int mon_open(struct mon *, struct conf_node *node, struct err *e) MUST_CHECK;
struct mon *mon_free(struct mon *); /* returns NULL */

#endif
