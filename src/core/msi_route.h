/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message-signalled interrupt of a device that is sent by signalling an eventfd: a write(2) of
 * whatever thread has something to tell, where the engine can (accel_irqchip.irqfd_add), and of
 * nobody else's thread. Elsewhere the board sends it.
 *
 * Made when the first message is sent, so that a vector which is set up and never used costs
 * nothing, and a message that the guest rewrites is told to the engine once, when it is next sent,
 * and not with every half of it.
 *
 * Any thread; the caller serializes calls for one route.
 */
#ifndef CORE_MSI_ROUTE_H
#define CORE_MSI_ROUTE_H

#include "base/base.h"
#include "core/irq.h"

struct vm;

enum msi_route_kind {
	MSI_ROUTE_UNUSED, /* nothing was sent yet */
	MSI_ROUTE_EVENTFD,
	MSI_ROUTE_BOARD, /* the engine has no room for it, or does not take what the guest wrote */
};

/* Zeroed at first. */
struct msi_route {
	enum msi_route_kind kind;
	int fd, id; /* the eventfd, and the engine's number of it */
	struct msi msi;
};

/* Sends msi. dev and vector say whose it is, in messages about trouble. */
void msi_route_send(struct msi_route *, struct vm *, const struct msi *, const char *dev,
		    unsigned vector);
/* As it was at first. What was sent has reached the interrupt controllers when this returns. */
void msi_route_close(struct msi_route *, struct vm *);

#endif
