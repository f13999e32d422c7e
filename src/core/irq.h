/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt lines and messages between devices and interrupt controllers.
 *
 * A line is a level: set(…, 1) asserts, set(…, 0) releases; a sink that shares lines counts its
 * sources itself. An unconnected line (set == NULL) is legal. Any thread; sinks lock themselves.
 */
#ifndef CORE_IRQ_H
#define CORE_IRQ_H

#include "base/base.h"

struct irq {
	void (*set)(void *opaque, int n, int level);
	void *opaque;
	int n;
};

static inline void irq_set(const struct irq *irq, int level)
{
	if (irq->set)
		irq->set(irq->opaque, irq->n, level);
}

/* A message-signalled interrupt as the device writes it. */
struct msi {
	uint64_t addr;
	uint32_t data;
	uint32_t devid; /* PCI requester id */
};

/* Where MSIs go: the board's interrupt controller. Any thread. */
struct msi_sink {
	void (*send)(void *opaque, const struct msi *);
	void *opaque;
};

#endif
