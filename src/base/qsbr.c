/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quiescent-state-based reclamation (qsbr.h).
 *
 * Each deferral takes a number: the epoch after its increment. A reader stores the epoch that it
 * saw at its last quiescent point; a deferral is due when no online reader's number is smaller.
 * Why that is enough: a writer unpublishes, then increments (release); a reader that saw the
 * increment (acquire) cannot load the old pointer afterwards. Going online stores and then loads
 * published pointers, which needs a full fence on both sides.
 */
#include "base/qsbr.h"
#include <sched.h>
#include <time.h>

static _Thread_local struct qsbr_reader *readers_of_me;

void qsbr_init(struct qsbr *q)
{
	memset(q, 0, sizeof(*q));
	atomic_init(&q->epoch, 1);
	pthread_mutex_init(&q->lock, NULL);
	q->tail = &q->head;
}

/* Unlinks every due node; the caller runs them after it dropped the lock. */
static struct qsbr_node *take_due(struct qsbr *q)
{
	uint64_t oldest = UINT64_MAX;
	struct qsbr_node *due = q->head, **end = &q->head;
	uint32_t n = 0;

	atomic_thread_fence(memory_order_seq_cst); /* pairs with qsbr_online() */
	for (struct qsbr_reader *r = q->readers; r; r = r->next) {
		uint64_t seen = atomic_load_explicit(&r->seen, memory_order_acquire);

		if (seen)
			oldest = MIN(oldest, seen);
	}
	while (*end && (*end)->epoch <= oldest) {
		end = &(*end)->next;
		n++;
	}
	if (!n)
		return NULL;
	q->head = *end;
	*end = NULL;
	if (!q->head)
		q->tail = &q->head;
	atomic_fetch_sub_explicit(&q->garbage, n, memory_order_relaxed);
	return due;
}

static void run_nodes(struct qsbr_node *n)
{
	while (n) {
		struct qsbr_node *next = n->next;

		n->fn(n);
		n = next;
	}
}

static void reclaim(struct qsbr *q)
{
	struct qsbr_node *due;

	pthread_mutex_lock(&q->lock);
	due = take_due(q);
	pthread_mutex_unlock(&q->lock);
	run_nodes(due);
}

void qsbr_fini(struct qsbr *q)
{
	run_nodes(q->head);
	q->head = NULL;
	q->tail = &q->head;
	atomic_store(&q->garbage, 0);
	pthread_mutex_destroy(&q->lock);
}

static void link_reader(struct qsbr *q, struct qsbr_reader *r)
{
	r->domain = q;
	pthread_mutex_lock(&q->lock);
	r->next = q->readers;
	q->readers = r;
	pthread_mutex_unlock(&q->lock);
}

static void unlink_reader(struct qsbr_reader *r)
{
	struct qsbr *q = r->domain;

	pthread_mutex_lock(&q->lock);
	for (struct qsbr_reader **p = &q->readers; *p; p = &(*p)->next) {
		if (*p == r) {
			*p = r->next;
			break;
		}
	}
	pthread_mutex_unlock(&q->lock);
}

void qsbr_register(struct qsbr *q, struct qsbr_reader *r)
{
	atomic_init(&r->seen, 0);
	link_reader(q, r);
	r->next_of_me = readers_of_me;
	readers_of_me = r;
}

void qsbr_unregister(struct qsbr_reader *r)
{
	qsbr_offline(r);
	unlink_reader(r);
	for (struct qsbr_reader **p = &readers_of_me; *p; p = &(*p)->next_of_me) {
		if (*p == r) {
			*p = r->next_of_me;
			break;
		}
	}
}

struct qsbr_reader *qsbr_self(const struct qsbr *q)
{
	for (struct qsbr_reader *r = readers_of_me; r; r = r->next_of_me) {
		if (r->domain == q)
			return r;
	}
	return NULL;
}

void qsbr_online(struct qsbr_reader *r)
{
	uint64_t now = atomic_load_explicit(&r->domain->epoch, memory_order_acquire);

	atomic_store_explicit(&r->seen, now, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with take_due() */
}

void qsbr_offline(struct qsbr_reader *r)
{
	if (!atomic_load_explicit(&r->seen, memory_order_relaxed))
		return;
	atomic_store_explicit(&r->seen, 0, memory_order_release);
	if (atomic_load_explicit(&r->domain->garbage, memory_order_relaxed))
		reclaim(r->domain);
}

void qsbr_quiescent_slow(struct qsbr_reader *r)
{
	uint64_t now = atomic_load_explicit(&r->domain->epoch, memory_order_acquire);

	uint64_t seen = atomic_load_explicit(&r->seen, memory_order_relaxed);

	/* Offline, or reported already: then whoever reports last reclaims. */
	if (!seen || seen == now)
		return;
	atomic_store_explicit(&r->seen, now, memory_order_release);
	reclaim(r->domain);
}

void qsbr_enter_slow(struct qsbr *q, struct qsbr_section *s, struct qsbr_reader *self)
{
	s->registered = self != NULL;
	if (!self) {
		self = &s->guest;
		qsbr_register(q, self);
	}
	qsbr_online(self);
	s->reader = self;
}

void qsbr_exit_slow(struct qsbr_section *s)
{
	if (s->registered)
		qsbr_offline(s->reader);
	else
		qsbr_unregister(s->reader);
}

void qsbr_defer(struct qsbr *q, struct qsbr_node *n, void (*fn)(struct qsbr_node *))
{
	struct qsbr_node *due;

	n->fn = fn;
	n->next = NULL;
	pthread_mutex_lock(&q->lock);
	n->epoch = atomic_fetch_add_explicit(&q->epoch, 1, memory_order_seq_cst) + 1;
	*q->tail = n;
	q->tail = &n->next;
	atomic_fetch_add_explicit(&q->garbage, 1, memory_order_relaxed);
	due = take_due(q);
	pthread_mutex_unlock(&q->lock);
	run_nodes(due);
}

struct sync_node {
	struct qsbr_node node;
	atomic_bool done;
};

static void sync_done(struct qsbr_node *n)
{
	atomic_store(&container_of(n, struct sync_node, node)->done, true);
}

void qsbr_synchronize(struct qsbr *q)
{
	struct qsbr_reader *self = qsbr_self(q);
	struct sync_node sync = { .done = false };
	bool was_online = self && atomic_load_explicit(&self->seen, memory_order_relaxed);

	if (was_online)
		qsbr_offline(self);
	qsbr_defer(q, &sync.node, sync_done);
	while (!atomic_load(&sync.done)) {
		struct timespec nap = { .tv_nsec = 50000 };

		nanosleep(&nap, NULL);
		reclaim(q);
	}
	if (was_online)
		qsbr_online(self);
}
