/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of a VM on their way to observers (event.h). Threads: vm_tell() any, the rest control.
 * State: none; what happened before a save was told before it.
 */
#include "base/base.h"
#include "base/log.h"
#include "core/event.h"
#include <pthread.h>

#define QUEUE_LEN 64u

struct vm_event_queue {
	struct vm *vm;
	struct loop_work work;
	pthread_mutex_t lock; /* leaf: guards what follows */
	struct vm_event ev[QUEUE_LEN];
	unsigned n;
	struct log_limit lost;
};

void vm_observe(struct vm *vm, struct vm_observer *o)
{
	struct vm_observer **p = &vm->observers;

	while (*p)
		p = &(*p)->next;
	o->next = NULL;
	*p = o;
}

void vm_unobserve(struct vm *vm, struct vm_observer *o)
{
	for (struct vm_observer **p = &vm->observers; *p; p = &(*p)->next) {
		if (*p == o) {
			*p = o->next;
			return;
		}
	}
}

static void tell_all(struct vm *vm, const struct vm_event *ev)
{
	struct vm_observer *next;

	for (struct vm_observer *o = vm->observers; o; o = next) {
		next = o->next;
		o->fn(o, ev);
	}
}

static bool same_source(const struct vm_event *a, const struct vm_event *b)
{
	return a->kind == b->kind && !strcmp(a->name, b->name) && !strcmp(a->path, b->path);
}

/* A full queue: the older event of the same source makes room, and the order stays. */
static bool make_room(struct vm_event_queue *q, const struct vm_event *ev)
{
	for (unsigned i = 0; i < q->n; i++) {
		if (!same_source(&q->ev[i], ev))
			continue;
		memmove(&q->ev[i], &q->ev[i + 1], (q->n - i - 1) * sizeof(q->ev[0]));
		q->n--;
		return true;
	}
	return false;
}

static void post(struct vm_event_queue *q, const struct vm_event *ev)
{
	bool room;

	pthread_mutex_lock(&q->lock);
	room = q->n < QUEUE_LEN || make_room(q, ev);
	if (room)
		q->ev[q->n++] = *ev;
	else if (log_allow(&q->lost))
		log_warn("too many events at once: one of kind %d is lost", (int)ev->kind);
	pthread_mutex_unlock(&q->lock);
	if (room)
		loop_post(q->vm->loop, &q->work);
}

static bool take_first(struct vm_event_queue *q, struct vm_event *ev)
{
	bool any;

	pthread_mutex_lock(&q->lock);
	any = q->n > 0;
	if (any) {
		*ev = q->ev[0];
		memmove(&q->ev[0], &q->ev[1], --q->n * sizeof(q->ev[0]));
	}
	pthread_mutex_unlock(&q->lock);
	return any;
}

/* Bounded: what comes meanwhile posts the work again. */
static void deliver(struct vm_event_queue *q)
{
	struct vm_event ev;

	for (unsigned i = 0; i < QUEUE_LEN && take_first(q, &ev); i++)
		tell_all(q->vm, &ev);
}

static void queue_work(struct loop_work *w)
{
	deliver(container_of(w, struct vm_event_queue, work));
}

void vm_tell(struct vm *vm, const struct vm_event *ev)
{
	if (!vm->event_queue) { /* a machine made by hand, in tests */
		tell_all(vm, ev);
		return;
	}
	if (!pthread_equal(pthread_self(), vm->control)) {
		post(vm->event_queue, ev);
		return;
	}
	deliver(vm->event_queue); /* what other threads told before */
	tell_all(vm, ev);
}

void vm_tell_name(struct vm *vm, enum vm_event_kind kind, const char *name)
{
	struct vm_event ev = { .kind = kind };

	strncpy(ev.name, name ?: "", sizeof(ev.name) - 1);
	vm_tell(vm, &ev);
}

struct vm_event_queue *vm_event_queue_new(struct vm *vm)
{
	struct vm_event_queue *q = xnew(struct vm_event_queue);

	q->vm = vm;
	q->work.fn = queue_work;
	pthread_mutex_init(&q->lock, NULL);
	return q;
}

void vm_event_queue_free(struct vm *vm)
{
	struct vm_event_queue *q = take_ptr(vm->event_queue);

	if (!q)
		return;
	loop_cancel(vm->loop, &q->work);
	pthread_mutex_destroy(&q->lock);
	free(q);
}
