/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quiescent-state-based reclamation: readers look at published objects without a lock; a writer
 * that replaced an object frees it when every reader has passed a quiescent point since.
 *
 * A reader is a thread, registered with a domain. It is online while it may hold pointers to
 * published objects and offline otherwise (asleep, or busy with something else). An online
 * reader has to call qsbr_quiescent() now and then; at that moment it holds no such pointer.
 * A thread may be registered with several domains, once with each.
 *
 * A thread that is not registered uses qsbr_enter()/qsbr_exit() around its look, which are slower
 * but always right; they nest, and cost a registered online thread next to nothing.
 */
#ifndef BASE_QSBR_H
#define BASE_QSBR_H

#include "base/base.h"
#include <pthread.h>

/* Put first in (or anywhere inside) an object that is freed later. */
struct qsbr_node {
	void (*fn)(struct qsbr_node *);
	uint64_t epoch;
	struct qsbr_node *next;
};

struct qsbr_reader {
	_Atomic uint64_t seen; /* the epoch at the last quiescent point; 0 = offline */
	struct qsbr *domain;
	struct qsbr_reader *next;	/* domain's list */
	struct qsbr_reader *next_of_me; /* this thread's list */
};

struct qsbr {
	_Atomic uint64_t epoch;
	_Atomic uint32_t garbage; /* nodes that wait */
	pthread_mutex_t lock;	  /* leaf: guards what follows */
	struct qsbr_reader *readers;
	struct qsbr_node *head, **tail; /* oldest first */
};

void qsbr_init(struct qsbr *);
/* Nobody reads any more: frees everything that still waits. */
void qsbr_fini(struct qsbr *);

/* Registers the calling thread, offline. The same thread unregisters. */
void qsbr_register(struct qsbr *, struct qsbr_reader *);
void qsbr_unregister(struct qsbr_reader *);
/* The calling thread's reader in this domain, or NULL. */
struct qsbr_reader *qsbr_self(const struct qsbr *);

/* The reader's own thread only. */
void qsbr_online(struct qsbr_reader *);
void qsbr_offline(struct qsbr_reader *);
void qsbr_quiescent_slow(struct qsbr_reader *);

/* The calling thread holds nothing published at this moment. Frees what became free. */
static inline void qsbr_quiescent(struct qsbr_reader *r)
{
	if (unlikely(atomic_load_explicit(&r->domain->garbage, memory_order_relaxed)))
		qsbr_quiescent_slow(r);
}

/* A section of a thread that may be unregistered or offline. */
struct qsbr_section {
	struct qsbr_reader *reader; /* to go offline at the end, or NULL */
	struct qsbr_reader guest;   /* of an unregistered thread */
	bool registered;
};
void qsbr_enter_slow(struct qsbr *, struct qsbr_section *, struct qsbr_reader *self);
void qsbr_exit_slow(struct qsbr_section *);

static inline void qsbr_enter(struct qsbr *q, struct qsbr_section *s)
{
	struct qsbr_reader *self = qsbr_self(q);

	s->reader = NULL;
	if (unlikely(!self || !atomic_load_explicit(&self->seen, memory_order_relaxed)))
		qsbr_enter_slow(q, s, self);
}

static inline void qsbr_exit(struct qsbr_section *s)
{
	if (unlikely(s->reader != NULL))
		qsbr_exit_slow(s);
}

/*
 * Calls fn(node) once every reader that was online has passed a quiescent point, on whichever
 * thread notices first. Never blocks, so a reader may defer inside its own section. The object
 * must have been unpublished before. Any thread.
 */
void qsbr_defer(struct qsbr *, struct qsbr_node *, void (*fn)(struct qsbr_node *));

/* Waits for a full grace period. The caller holds nothing published, nor a lock readers need. */
void qsbr_synchronize(struct qsbr *);

#endif
