/* SPDX-License-Identifier: Apache-2.0 */
/*
 * -object iothread (object.h): a thread that runs an event loop. Devices put the work of their
 * queues there; it sleeps when there is none (the poll-* properties are kept and told, nothing
 * waits busily).
 *
 * Threads: made and ended by the control thread. State: none, devices are quiesced without it.
 */
#include "base/base.h"
#include "base/log.h"
#include "base/thread.h"
#include "core/object.h"
#include "core/vm.h"
#include <stdio.h>
#include <unistd.h>

#define N(name, member, def, max, help) \
	PROP_UINT(name, struct obj_iothread, member, PROP_U64, def, 0, max, help)

static const struct prop props[] = {
	N("poll-max-ns", poll_max_ns, 32768, INT64_MAX, "longest busy wait for work, in ns"),
	N("poll-grow", poll_grow, 0, INT64_MAX, "factor by which a busy wait grows; 0 = 2"),
	N("poll-shrink", poll_shrink, 0, INT64_MAX, "divisor by which it shrinks; 0 = to nothing"),
	N("aio-max-batch", aio_max_batch, 0, INT64_MAX, "requests given to the host at once"),
	N("thread-pool-min", pool_min, 0, INT64_MAX, "worker threads that stay"),
	N("thread-pool-max", pool_max, 64, INT64_MAX, "worker threads at most"),
	PROPS_END,
};

/* A call from the control thread that waits for its end. */
struct call {
	struct loop_work work;
	void (*fn)(void *arg);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool done;
};

static void run_call(struct loop_work *w)
{
	struct call *c = container_of(w, struct call, work);

	if (c->fn)
		c->fn(c->arg);
	pthread_mutex_lock(&c->lock);
	c->done = true;
	pthread_cond_signal(&c->over);
	pthread_mutex_unlock(&c->lock);
}

void obj_iothread_run(struct obj_iothread *t, void (*fn)(void *arg), void *arg)
{
	struct call c = { .work.fn = run_call, .fn = fn, .arg = arg };

	pthread_mutex_init(&c.lock, NULL);
	pthread_cond_init(&c.over, NULL);
	loop_post(t->loop, &c.work);
	pthread_mutex_lock(&c.lock);
	while (!c.done)
		pthread_cond_wait(&c.over, &c.lock);
	pthread_mutex_unlock(&c.lock);
	pthread_cond_destroy(&c.over);
	pthread_mutex_destroy(&c.lock);
}

static void idle_fn(struct loop_idle *idle, bool asleep)
{
	/* Accesses put the reader online themselves; between rounds it holds no view. */
	if (asleep)
		qsbr_offline(&container_of(idle, struct obj_iothread, idle)->reader);
}

static void *thread_main(void *arg)
{
	struct obj_iothread *t = arg;
	struct err e = { 0 };

	/* The process ends rather than have a thread outside its sandbox. */
	if (sandbox_enter(&t->o.vm->conf->sandbox, SANDBOX_IO, &e) < 0) {
		log_error("-object iothread,id=%s: %s", t->o.id, e.msg);
		_exit(1);
	}
	t->tid = gettid();
	qsbr_register(map_qsbr(t->o.vm->map), &t->reader);
	loop_run(t->loop);
	qsbr_unregister(&t->reader);
	return NULL;
}

static int start_thread(struct obj_iothread *t, struct err *e)
{
	char name[16];
	int ret;

	t->idle.fn = idle_fn;
	loop_set_idle(t->loop, &t->idle);
	ret = thread_start(&t->thread, NULL, thread_main, t);
	if (ret < 0)
		return err_set_errno(e, -ret, "-object iothread,id=%s: cannot start the thread",
				     t->o.id);
	t->running = true;
	snprintf(name, sizeof(name), "IO %s", t->o.id);
	pthread_setname_np(t->thread, name);
	obj_iothread_run(t, NULL, NULL); /* it has its tid by now */
	return 0;
}

static int iothread_init(struct obj *o, struct conf_node *node, struct err *e)
{
	struct obj_iothread *t = container_of(o, struct obj_iothread, o);

	if (t->pool_min > t->pool_max || !t->pool_max)
		return err_set(e, EINVAL,
			       "thread-pool-max=%" PRIu64 " has to be 1 at least, and not less "
			       "than thread-pool-min=%" PRIu64,
			       t->pool_max, t->pool_min);
	t->loop = loop_new(e);
	return t->loop ? start_thread(t, e) : -ENOMEM;
}

static void iothread_fini(struct obj *o)
{
	struct obj_iothread *t = container_of(o, struct obj_iothread, o);

	if (t->running) {
		loop_stop(t->loop);
		pthread_join(t->thread, NULL);
	}
	t->loop = loop_free(t->loop);
}

const struct obj_type obj_iothread = {
	.name = "iothread",
	.help = "a thread for the work of devices",
	.size = sizeof(struct obj_iothread),
	.props = props,
	.init = iothread_init,
	.fini = iothread_fini,
};
