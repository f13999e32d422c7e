/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon as the monitor uses it: one a VM. Control thread; vCPUs may run. */
#ifndef VIRTIO_VIRTIO_BALLOON_H
#define VIRTIO_VIRTIO_BALLOON_H

#include "base/base.h"

struct vm;

/*
 * Asks the guest to come down, or back up, to so many bytes of memory; more than it has is all it
 * has. -ENODEV without a balloon. The guest takes its time: VM_EV_BALLOON_CHANGE tells.
 */
int balloon_set_target(struct vm *, uint64_t bytes, struct err *e) MUST_CHECK;
/* The memory that the guest has besides what is in the balloon. */
int balloon_get_actual(struct vm *, uint64_t *bytes, struct err *e) MUST_CHECK;

#endif
