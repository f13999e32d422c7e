/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event loop on epoll: file descriptors, timers, work posted from other threads.
 *
 * Handlers are embedded in their owner (container_of); nothing is allocated. A loop belongs to
 * the thread that runs it: every call is for that thread, except where it says "any thread".
 * Before the loop first runs, the thread that made it may call everything.
 */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include "base/base.h"
#include <sys/epoll.h>

struct loop;

struct loop_fd {
	int fd;
	uint32_t events; /* EPOLLIN, EPOLLOUT, ...; loop_mod() after a change */
	void (*fn)(struct loop_fd *, uint32_t ready);
	bool added; /* loop's */
};

struct loop_timer {
	void (*fn)(struct loop_timer *);
	uint64_t when_ns; /* CLOCK_MONOTONIC; valid while armed */
	size_t slot;	  /* loop's: heap position + 1, 0 = not armed */
};

struct loop_work {
	void (*fn)(struct loop_work *);
	struct loop_work *next;
	atomic_bool queued;
};

/* Told before the loop's thread may sleep (asleep true) and when it is back. */
struct loop_idle {
	void (*fn)(struct loop_idle *, bool asleep);
};

struct loop *loop_new(struct err *e);
struct loop *loop_free(struct loop *); /* returns NULL */

int loop_add(struct loop *, struct loop_fd *, struct err *);
int loop_mod(struct loop *, struct loop_fd *);	/* after a change of ->events */
void loop_del(struct loop *, struct loop_fd *); /* also when not added; safe inside handlers */

/* Arms or moves a timer; fires once, on the loop's thread. Any thread. */
void loop_arm(struct loop *, struct loop_timer *, uint64_t when_ns);
/* After it returns on the loop's own thread the handler does not run any more. Any thread. */
void loop_disarm(struct loop *, struct loop_timer *);

/* Queues w unless it is queued already; it runs once on the loop's thread. Any thread. */
void loop_post(struct loop *, struct loop_work *w);
/* The same, for a handler of signals. */
void loop_post_from_handler(struct loop *, struct loop_work *w);
/* The loop's thread: w is not queued any more and does not run. */
void loop_cancel(struct loop *, struct loop_work *w);

/* One hook a loop; NULL takes it away. */
void loop_set_idle(struct loop *, struct loop_idle *);

/* Runs until loop_stop(). */
void loop_run(struct loop *);
/* One round: waits at most timeout_ms (-1 = for ever) and runs what is ready. For tests. */
void loop_once(struct loop *, int timeout_ms);
/* Any thread. */
void loop_stop(struct loop *);
/* True when the calling thread is the one inside loop_run(). */
bool loop_is_current(const struct loop *);

#endif
