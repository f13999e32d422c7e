/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop (loop.h): epoll for descriptors, a binary heap of timers, a queue of posted work.
 *
 * The lock guards the heap, which other threads may change; no handler runs under it. Posted work
 * is pushed on a stack without a lock, as signal handlers push too; the loop's thread takes all of
 * it at once into its queue. An eventfd wakes the loop when such a change may shorten its sleep.
 */
#include "base/base.h"
#include "base/clock.h"
#include "loop/loop.h"
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* #syscalls control: epoll_create1 */

/* #syscalls control io: epoll_ctl epoll_wait epoll_pwait epoll_pwait2 */
/* #syscalls all: eventfd2 */

#define LOOP_BATCH 32

struct loop {
	int epfd, wakefd;
	atomic_bool stop;
	atomic_bool woken; /* wakefd is readable or about to be, or there has been no round yet */
	bool began;
	pthread_mutex_t lock;
	struct loop_timer **heap; /* heap[0] is due first */
	size_t nr_timers, cap_timers;
	_Atomic(struct loop_work *) posted;  /* the newest first */
	struct loop_work *work, **work_tail; /* the loop's thread alone */
	struct loop_idle *idle;
	/* the batch under way, so that loop_del() can take one out of it */
	struct epoll_event ready[LOOP_BATCH];
	int nr_ready;
};

static _Thread_local struct loop *loop_of_me;

struct loop *loop_new(struct err *e)
{
	struct loop *l = xnew(struct loop);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };

	pthread_mutex_init(&l->lock, NULL);
	l->work_tail = &l->work;
	atomic_init(&l->woken, true);
	l->wakefd = -1;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd >= 0)
		l->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wakefd < 0 || epoll_ctl(l->epfd, EPOLL_CTL_ADD, l->wakefd, &ev) < 0) {
		err_set_errno(e, errno, "cannot make an event loop");
		return loop_free(l);
	}
	return l;
}

struct loop *loop_free(struct loop *l)
{
	if (!l)
		return NULL;
	close_fd_(&l->epfd);
	close_fd_(&l->wakefd);
	pthread_mutex_destroy(&l->lock);
	free(l->heap);
	free(l);
	return NULL;
}

static void wake_any(struct loop *l)
{
	uint64_t one = 1;

	if (atomic_exchange(&l->woken, true))
		return;
	while (write(l->wakefd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void wake(struct loop *l)
{
	/* Its own thread looks at heap and queue again before it sleeps. */
	if (loop_of_me != l)
		wake_any(l);
}

static void drain_wake(struct loop *l)
{
	uint64_t count;

	while (read(l->wakefd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	/*
	 * Behind the read, which would take a wake in between with it and leave the flag up for
	 * ever. Who found it up before this line had changed heap or queue by then, and this round
	 * has not looked at them yet.
	 */
	atomic_store(&l->woken, false);
}

/* ---- descriptors ---- */

int loop_add(struct loop *l, struct loop_fd *h, struct err *e)
{
	struct epoll_event ev = { .events = h->events, .data.ptr = h };

	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, h->fd, &ev) < 0)
		return err_set_errno(e, errno, "cannot wait for events of file descriptor %d",
				     h->fd);
	h->added = true;
	return 0;
}

int loop_mod(struct loop *l, struct loop_fd *h)
{
	struct epoll_event ev = { .events = h->events, .data.ptr = h };

	if (!h->added)
		return -ENOENT;
	return epoll_ctl(l->epfd, EPOLL_CTL_MOD, h->fd, &ev) < 0 ? -errno : 0;
}

void loop_del(struct loop *l, struct loop_fd *h)
{
	if (!h->added)
		return;
	h->added = false;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, h->fd, NULL);
	for (int i = 0; i < l->nr_ready; i++) {
		if (l->ready[i].data.ptr == h)
			l->ready[i].events = 0;
	}
}

/* ---- timers ---- */

static void heap_put(struct loop *l, size_t i, struct loop_timer *t)
{
	l->heap[i] = t;
	t->slot = i + 1;
}

static void heap_up(struct loop *l, size_t i)
{
	struct loop_timer *t = l->heap[i];

	while (i && l->heap[(i - 1) / 2]->when_ns > t->when_ns) {
		heap_put(l, i, l->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(l, i, t);
}

static void heap_down(struct loop *l, size_t i)
{
	struct loop_timer *t = l->heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= l->nr_timers)
			break;
		if (child + 1 < l->nr_timers &&
		    l->heap[child + 1]->when_ns < l->heap[child]->when_ns)
			child++;
		if (l->heap[child]->when_ns >= t->when_ns)
			break;
		heap_put(l, i, l->heap[child]);
		i = child;
	}
	heap_put(l, i, t);
}

static void heap_remove(struct loop *l, struct loop_timer *t)
{
	size_t i = t->slot - 1;
	struct loop_timer *moved = l->heap[--l->nr_timers];

	t->slot = 0;
	if (moved == t)
		return;
	heap_put(l, i, moved);
	heap_up(l, i);
	heap_down(l, moved->slot - 1);
}

void loop_arm(struct loop *l, struct loop_timer *t, uint64_t when_ns)
{
	bool first;

	pthread_mutex_lock(&l->lock);
	if (t->slot)
		heap_remove(l, t);
	if (l->nr_timers == l->cap_timers) {
		l->cap_timers = l->cap_timers ? 2 * l->cap_timers : 16;
		l->heap = xrealloc(l->heap, l->cap_timers, sizeof(struct loop_timer *));
	}
	t->when_ns = when_ns;
	heap_put(l, l->nr_timers++, t);
	heap_up(l, t->slot - 1);
	first = t->slot == 1;
	pthread_mutex_unlock(&l->lock);
	if (first)
		wake(l);
}

void loop_disarm(struct loop *l, struct loop_timer *t)
{
	pthread_mutex_lock(&l->lock);
	if (t->slot)
		heap_remove(l, t);
	pthread_mutex_unlock(&l->lock);
}

/* Runs what was due when the round began: a handler that re-arms itself cannot starve the rest. */
static void run_timers(struct loop *l)
{
	uint64_t now = clock_now_ns();
	size_t budget;

	pthread_mutex_lock(&l->lock);
	budget = l->nr_timers;
	while (budget-- && l->nr_timers && l->heap[0]->when_ns <= now) {
		struct loop_timer *t = l->heap[0];

		heap_remove(l, t);
		pthread_mutex_unlock(&l->lock);
		t->fn(t);
		pthread_mutex_lock(&l->lock);
	}
	pthread_mutex_unlock(&l->lock);
}

/* ---- posted work ---- */

static bool push(struct loop *l, struct loop_work *w)
{
	struct loop_work *top = atomic_load(&l->posted);

	if (atomic_exchange(&w->queued, true))
		return false;
	do
		w->next = top;
	while (!atomic_compare_exchange_weak(&l->posted, &top, w));
	return true;
}

void loop_post(struct loop *l, struct loop_work *w)
{
	if (push(l, w))
		wake(l);
}

void loop_post_from_handler(struct loop *l, struct loop_work *w)
{
	/* The loop's thread may be the one interrupted, on its way to sleep. */
	if (push(l, w))
		wake_any(l);
}

/* What has been posted so far goes to the end of the queue, the oldest first. */
static void take_posted(struct loop *l)
{
	struct loop_work *w = atomic_exchange(&l->posted, NULL), *oldest = NULL;

	while (w) {
		struct loop_work *next = w->next;

		w->next = oldest;
		oldest = w;
		w = next;
	}
	*l->work_tail = oldest;
	for (; oldest; oldest = oldest->next)
		l->work_tail = &oldest->next;
}

static void unlink_work(struct loop *l, struct loop_work **p)
{
	struct loop_work *w = *p;

	*p = w->next;
	if (!*p)
		l->work_tail = p;
	/* From here on a post queues it again, also while it runs. */
	atomic_store(&w->queued, false);
}

void loop_cancel(struct loop *l, struct loop_work *w)
{
	take_posted(l);
	for (struct loop_work **p = &l->work; *p; p = &(*p)->next) {
		if (*p == w) {
			unlink_work(l, p);
			break;
		}
	}
}

static void run_work(struct loop *l)
{
	size_t budget = 0;

	take_posted(l);
	for (struct loop_work *w = l->work; w; w = w->next)
		budget++;
	while (budget-- && l->work) {
		struct loop_work *w = l->work;

		unlink_work(l, &l->work);
		w->fn(w);
	}
}

/* ---- the round ---- */

/* How long the loop may sleep: min of its timers, posted work, and max_ns. */
static uint64_t sleep_ns(struct loop *l, uint64_t max_ns)
{
	uint64_t now, when = UINT64_MAX;
	bool work = l->work || atomic_load(&l->posted);

	pthread_mutex_lock(&l->lock);
	if (l->nr_timers)
		when = l->heap[0]->when_ns;
	pthread_mutex_unlock(&l->lock);
	if (work || atomic_load(&l->stop))
		return 0;
	if (when == UINT64_MAX)
		return max_ns;
	now = clock_now_ns();
	return when <= now ? 0 : MIN(when - now, max_ns);
}

static int wait_ready(struct loop *l, uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / NS_PER_SEC),
			       .tv_nsec = (long)(ns % NS_PER_SEC) };
	uint64_t ms;
	int n;

	n = epoll_pwait2(l->epfd, l->ready, LOOP_BATCH, ns == UINT64_MAX ? NULL : &ts, NULL);
	if (n >= 0 || errno != ENOSYS)
		return n;
	/* Linux before 5.11: whole milliseconds, rounded up so that a timer is due on return */
	ms = MIN(ns / NS_PER_MS + (ns % NS_PER_MS != 0), (uint64_t)INT32_MAX);
	return epoll_wait(l->epfd, l->ready, LOOP_BATCH, ns == UINT64_MAX ? -1 : (int)ms);
}

static void run_ready(struct loop *l)
{
	for (int i = 0; i < l->nr_ready; i++) {
		struct loop_fd *h = l->ready[i].data.ptr;
		uint32_t events = l->ready[i].events;

		if (!h)
			drain_wake(l);
		else if (events)
			h->fn(h, events);
	}
	l->nr_ready = 0;
}

void loop_once(struct loop *l, int timeout_ms)
{
	struct loop *outer = loop_of_me;
	uint64_t ns;
	int n;

	loop_of_me = l;
	if (!l->began) {
		l->began = true;
		atomic_store(&l->woken, false); /* before the first look at heap and queue */
	}
	ns = sleep_ns(l, timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms * NS_PER_MS);
	if (l->idle)
		l->idle->fn(l->idle, true);
	n = wait_ready(l, ns);
	if (l->idle)
		l->idle->fn(l->idle, false);
	l->nr_ready = MAX(n, 0);
	run_ready(l);
	run_timers(l);
	run_work(l);
	loop_of_me = outer;
}

void loop_run(struct loop *l)
{
	while (!atomic_load(&l->stop))
		loop_once(l, -1);
	atomic_store(&l->stop, false); /* it may run again */
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stop, true);
	wake(l);
}

bool loop_is_current(const struct loop *l)
{
	return loop_of_me == l;
}

void loop_set_idle(struct loop *l, struct loop_idle *idle)
{
	l->idle = idle;
}
