/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker threads of a block node: all of its I/O where io_uring is not to be had, otherwise what
 * io_uring is not used for (discard, zeroes, bounced and interrupted transfers).
 *
 * A thread is started when work waits and none is idle, up to BLK_POOL_MAX, and ends after
 * IDLE_SECONDS without work. Workers block all signals: those are for the control and vCPU threads.
 */
#include "block/block_int.h"

#include "base/log.h"
#include "base/thread.h"
#include "base/trace.h"
#include <limits.h>
#include <time.h>
#include <unistd.h>

#define IDLE_SECONDS 10
#define STACK_SIZE   KIB(128)

void blk_pool_init(struct blk_pool *p)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->work, &attr);
	pthread_cond_init(&p->finished, &attr);
	pthread_condattr_destroy(&attr);
	blk_reqs_init(&p->todo);
	blk_reqs_init(&p->done);
}

/* Lock held. */
static struct blk_req *pop_todo(struct blk_pool *p)
{
	struct blk_req *r = blk_reqs_pop(&p->todo);

	if (r)
		p->waiting--;
	return r;
}

/* The next request for a worker, or NULL when it shall end. Lock held. */
static struct blk_req *next_work(struct blk_pool *p)
{
	struct timespec until;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_SECONDS;
	p->idle++;
	while (!p->todo.head && !p->quit && ret != ETIMEDOUT)
		ret = pthread_cond_timedwait(&p->work, &p->lock, &until);
	p->idle--;
	return pop_todo(p);
}

/* The process ends rather than have a thread outside its sandbox. */
static void confine(const struct blk_node *n)
{
	struct err e = { 0 };

	if (!n->sandbox || sandbox_enter(n->sandbox, SANDBOX_WORKER, &e) == 0)
		return;
	log_error("'%s': %s", n->path, e.msg);
	_exit(1);
}

static void *worker_main(void *arg)
{
	struct blk_worker *w = arg;
	struct blk_node *n = w->node;
	struct blk_pool *p = &n->pool;
	struct blk_req *r;

	confine(n);
	pthread_mutex_lock(&p->lock);
	while ((r = next_work(p))) {
		bool first;

		pthread_mutex_unlock(&p->lock);
		BLK_RESULT(r) = (uint64_t)(int64_t)blk_file_do(n, r);
		pthread_mutex_lock(&p->lock);
		first = !p->done.head;
		blk_reqs_add(&p->done, r);
		p->pending--;
		pthread_cond_signal(&p->finished);
		if (first)
			blk_wake(n);
	}
	w->ended = true;
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static int start_thread(struct blk_worker *w)
{
	pthread_attr_t attr;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, MAX(STACK_SIZE, (uint64_t)PTHREAD_STACK_MIN));
	ret = thread_start(&w->thread, &attr, worker_main, w);
	pthread_attr_destroy(&attr);
	return ret;
}

/* Lock held. 0, or -errno when no thread could be had. */
static int add_worker(struct blk_node *n)
{
	struct blk_pool *p = &n->pool;

	for (unsigned i = 0; i < BLK_POOL_MAX; i++) {
		struct blk_worker *w = &p->worker[i];

		if (w->running && w->ended) {
			pthread_join(w->thread, NULL); /* it needs the lock no more */
			w->running = false;
		}
		if (w->running)
			continue;
		*w = (struct blk_worker){ .node = n };
		if (start_thread(w) < 0)
			return -EAGAIN;
		w->running = true;
		return 0;
	}
	return 0; /* all busy: they will get to it */
}

static bool has_worker(const struct blk_pool *p)
{
	for (unsigned i = 0; i < BLK_POOL_MAX; i++)
		if (p->worker[i].running && !p->worker[i].ended)
			return true;
	return false;
}

void blk_pool_submit(struct blk_node *n, struct blk_req *r)
{
	struct blk_pool *p = &n->pool;
	bool alone = false;

	trace_thread_pool_submit(n->path, r->off, r->len);
	pthread_mutex_lock(&p->lock);
	blk_reqs_add(&p->todo, r);
	p->waiting++;
	p->pending++;
	if (p->idle)
		pthread_cond_signal(&p->work);
	/* Idle ones that have been woken count as idle until they run: one request for each. */
	if (p->waiting > p->idle && (n->draining || add_worker(n) < 0) && !has_worker(p))
		alone = true;
	if (alone) { /* no thread to be had: slowly, but it goes on */
		r = pop_todo(p);
		BLK_RESULT(r) = (uint64_t)(int64_t)blk_file_do(n, r);
		blk_reqs_add(&p->done, r);
		p->pending--;
		blk_wake(n);
	}
	pthread_mutex_unlock(&p->lock);
}

void blk_pool_reap(struct blk_node *n, bool wait)
{
	struct blk_pool *p = &n->pool;
	struct blk_reqs done;
	struct blk_req *r;

	pthread_mutex_lock(&p->lock);
	while (wait && !p->done.head && p->pending)
		pthread_cond_wait(&p->finished, &p->lock);
	done.head = p->done.head;
	blk_reqs_init(&p->done);
	pthread_mutex_unlock(&p->lock);
	while ((r = done.head)) {
		done.head = r->next;
		trace_thread_pool_complete(n->path, r->off, (int)(int64_t)BLK_RESULT(r));
		blk_complete(n, r, (int)(int64_t)BLK_RESULT(r));
	}
}

bool blk_pool_busy(struct blk_pool *p)
{
	bool busy;

	pthread_mutex_lock(&p->lock);
	busy = p->pending || p->done.head;
	pthread_mutex_unlock(&p->lock);
	return busy;
}

void blk_pool_fini(struct blk_pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->quit = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < BLK_POOL_MAX; i++)
		if (p->worker[i].running)
			pthread_join(p->worker[i].thread, NULL);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->finished);
	pthread_mutex_destroy(&p->lock);
}
