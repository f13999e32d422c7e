/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: descriptors, timers, posted work, from its own and other threads. */
#include "base/base.h"
#include "base/clock.h"
#include "loop/loop.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

struct fixture {
	struct loop *l;
	char order[64]; /* what ran, a letter each */
};

static struct fixture fx;

static int setup(void **state)
{
	struct err e = { 0 };

	memset(&fx, 0, sizeof(fx));
	fx.l = loop_new(&e);
	return fx.l ? 0 : -1;
}

static int teardown(void **state)
{
	loop_free(fx.l);
	return 0;
}

static void note(char c)
{
	size_t n = strlen(fx.order);

	assert_true(n + 1 < sizeof(fx.order));
	fx.order[n] = c;
}

/* ---- descriptors ---- */

struct pipe_end {
	struct loop_fd h;
	int w;
	char name;
	struct pipe_end *kills; /* deletes that one from its handler */
};

static void pipe_ready(struct loop_fd *h, uint32_t ready)
{
	struct pipe_end *p = container_of(h, struct pipe_end, h);
	char c;

	assert_true(ready & EPOLLIN);
	assert_int_equal(read(h->fd, &c, 1), 1);
	note(p->name);
	if (p->kills)
		loop_del(fx.l, &p->kills->h);
}

static void pipe_init(struct pipe_end *p, char name)
{
	int fd[2];
	struct err e = { 0 };

	assert_int_equal(pipe2(fd, O_NONBLOCK | O_CLOEXEC), 0);
	*p = (struct pipe_end){ .h = { .fd = fd[0], .events = EPOLLIN, .fn = pipe_ready },
				.w = fd[1],
				.name = name };
	assert_int_equal(loop_add(fx.l, &p->h, &e), 0);
}

static void pipe_fini(struct pipe_end *p)
{
	loop_del(fx.l, &p->h);
	close(p->h.fd);
	close(p->w);
}

static void poke(struct pipe_end *p)
{
	assert_int_equal(write(p->w, "x", 1), 1);
}

static void fds_become_ready(void **state)
{
	struct pipe_end a, b;

	pipe_init(&a, 'a');
	pipe_init(&b, 'b');
	loop_once(fx.l, 0);
	assert_string_equal(fx.order, "");
	poke(&b);
	loop_once(fx.l, -1);
	assert_string_equal(fx.order, "b");
	b.h.events = 0;
	assert_int_equal(loop_mod(fx.l, &b.h), 0);
	poke(&b);
	loop_once(fx.l, 0);
	assert_string_equal(fx.order, "b"); /* not asked for */
	b.h.events = EPOLLIN;
	assert_int_equal(loop_mod(fx.l, &b.h), 0);
	loop_once(fx.l, 0);
	assert_string_equal(fx.order, "bb"); /* level-triggered */
	pipe_fini(&a);
	pipe_fini(&b);
	assert_int_equal(loop_mod(fx.l, &b.h), -ENOENT);
}

static void deleted_in_the_same_batch(void **state)
{
	struct pipe_end a, b;

	pipe_init(&a, 'a');
	pipe_init(&b, 'b');
	a.kills = &b;
	b.kills = &a;
	poke(&a);
	poke(&b);
	loop_once(fx.l, 0);
	loop_once(fx.l, 0);
	assert_int_equal(strlen(fx.order), 1); /* whoever came first took the other out */
	pipe_fini(&a);
	pipe_fini(&b);
}

static void refuses_what_epoll_cannot(void **state)
{
	struct loop_fd h = { .fd = open("/proc/self/exe", O_RDONLY), .events = EPOLLIN };
	struct err e = { 0 };

	assert_true(h.fd >= 0);
	assert_int_equal(loop_add(fx.l, &h, &e), -EPERM);
	assert_true(e.msg[0]);
	loop_del(fx.l, &h); /* harmless */
	close(h.fd);
}

/* ---- timers ---- */

struct timer {
	struct loop_timer t;
	char name;
	unsigned again; /* re-arm for at once so many times */
	uint64_t fired_ns;
};

static void timer_fn(struct loop_timer *t)
{
	struct timer *me = container_of(t, struct timer, t);

	me->fired_ns = clock_now_ns();
	if (strlen(fx.order) + 1 < sizeof(fx.order))
		note(me->name);
	if (me->again) {
		me->again--;
		loop_arm(fx.l, t, 0);
	}
}

static void timers_fire_in_order(void **state)
{
	struct timer a = { .t.fn = timer_fn, .name = 'a' }, b = { .t.fn = timer_fn, .name = 'b' },
		     c = { .t.fn = timer_fn, .name = 'c' };
	uint64_t now = clock_now_ns();

	loop_arm(fx.l, &c.t, now + 6 * NS_PER_MS);
	loop_arm(fx.l, &a.t, now + 2 * NS_PER_MS);
	loop_arm(fx.l, &b.t, now + 4 * NS_PER_MS);
	while (strlen(fx.order) < 3)
		loop_once(fx.l, -1);
	assert_string_equal(fx.order, "abc");
	assert_true(a.fired_ns >= now + 2 * NS_PER_MS);
	assert_true(c.fired_ns >= now + 6 * NS_PER_MS);
	assert_int_equal(a.t.slot, 0);
}

static void timers_move_and_disarm(void **state)
{
	struct timer a = { .t.fn = timer_fn, .name = 'a' }, b = { .t.fn = timer_fn, .name = 'b' };
	uint64_t now = clock_now_ns();

	loop_arm(fx.l, &a.t, now + 1);
	loop_arm(fx.l, &b.t, now + 1);
	loop_arm(fx.l, &a.t, now + 3600 * NS_PER_SEC);
	loop_once(fx.l, 0);
	assert_string_equal(fx.order, "b");
	loop_disarm(fx.l, &a.t);
	loop_disarm(fx.l, &a.t);
	assert_int_equal(a.t.slot, 0);
	now = clock_now_ns();
	loop_once(fx.l, 20); /* nothing armed: the full time */
	assert_true(clock_now_ns() - now >= 19 * NS_PER_MS);
}

static void rearming_does_not_starve(void **state)
{
	struct timer a = { .t.fn = timer_fn, .name = 'a', .again = 1000000 };
	struct pipe_end p;

	pipe_init(&p, 'p');
	loop_arm(fx.l, &a.t, 0);
	loop_once(fx.l, 0);
	poke(&p);
	loop_once(fx.l, 0);
	assert_non_null(strchr(fx.order, 'p'));
	loop_disarm(fx.l, &a.t);
	pipe_fini(&p);
}

static void many_timers_keep_heap_order(void **state)
{
	static struct timer t[500];
	uint64_t rng = 12345;

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
			rng = rng * 6364136223846793005 + 1442695040888963407;
			t[i].t.fn = timer_fn;
			t[i].name = 't';
			loop_arm(fx.l, &t[i].t, 1 + (rng >> 40));
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(t); i += 3)
		loop_disarm(fx.l, &t[i].t);
	loop_once(fx.l, 0); /* all are long due: one round runs them by time */
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(t[i].t.slot, 0);
		assert_int_equal(t[i].fired_ns != 0, i % 3 != 0);
	}
	for (size_t i = 1; i < ARRAY_SIZE(t); i++) {
		for (size_t j = 1; i % 50 == 1 && j < ARRAY_SIZE(t); j++) {
			if (i % 3 && j % 3 && t[i].t.when_ns < t[j].t.when_ns)
				assert_true(t[i].fired_ns <= t[j].fired_ns);
		}
	}
}

/* ---- work ---- */

struct work {
	struct loop_work w;
	char name;
	struct loop_work *then;
};

static void work_fn(struct loop_work *w)
{
	struct work *me = container_of(w, struct work, w);

	note(me->name);
	if (me->then)
		loop_post(fx.l, take_ptr(me->then));
}

static void work_runs_once_in_order(void **state)
{
	struct work a = { .w.fn = work_fn, .name = 'a' }, b = { .w.fn = work_fn, .name = 'b' };

	loop_post(fx.l, &a.w);
	loop_post(fx.l, &b.w);
	loop_post(fx.l, &a.w);
	loop_once(fx.l, -1);
	assert_string_equal(fx.order, "ab");
	a.then = &a.w; /* from inside itself: again, next round */
	loop_post(fx.l, &a.w);
	loop_once(fx.l, -1);
	loop_once(fx.l, -1);
	assert_string_equal(fx.order, "abaa");
	loop_post(fx.l, &a.w);
	loop_post(fx.l, &b.w);
	loop_cancel(fx.l, &a.w);
	loop_cancel(fx.l, &a.w);
	loop_once(fx.l, -1);
	assert_string_equal(fx.order, "abaab");
	loop_post(fx.l, &a.w);
	loop_cancel(fx.l, &a.w); /* the last one: the tail moves back */
	loop_post(fx.l, &b.w);
	loop_once(fx.l, -1);
	assert_string_equal(fx.order, "abaabb");
}

/* ---- other threads ---- */

static struct {
	struct loop_work w;
	struct loop_timer t;
	_Atomic uint64_t runs, timer_runs;
	bool current;
} mt;

static void mt_work(struct loop_work *w)
{
	mt.current = loop_is_current(fx.l);
	atomic_fetch_add(&mt.runs, 1);
}

static void mt_timer(struct loop_timer *t)
{
	atomic_fetch_add(&mt.timer_runs, 1);
}

static void *loop_thread(void *arg)
{
	loop_run(fx.l);
	return NULL;
}

static void wait_for(_Atomic uint64_t *what, uint64_t n)
{
	uint64_t until = clock_now_ns() + 10 * NS_PER_SEC;

	while (atomic_load(what) < n) {
		assert_true(clock_now_ns() < until);
		usleep(100);
	}
}

static void posts_wake_a_sleeping_loop(void **state)
{
	pthread_t t;

	memset(&mt, 0, sizeof(mt));
	mt.w.fn = mt_work;
	mt.t.fn = mt_timer;
	pthread_create(&t, NULL, loop_thread, NULL);
	for (uint64_t i = 1; i <= 2000; i++) {
		loop_post(fx.l, &mt.w);
		wait_for(&mt.runs, i);
	}
	assert_true(mt.current);
	assert_false(loop_is_current(fx.l));
	/* a timer armed from here shortens its sleep */
	for (uint64_t i = 1; i <= 20; i++) {
		loop_arm(fx.l, &mt.t, clock_now_ns() + NS_PER_MS);
		wait_for(&mt.timer_runs, i);
	}
	loop_arm(fx.l, &mt.t, clock_now_ns() + 3600 * NS_PER_SEC);
	loop_stop(fx.l);
	pthread_join(t, NULL);
	loop_disarm(fx.l, &mt.t);
}

static void on_usr1(int sig)
{
	loop_post_from_handler(fx.l, &mt.w);
}

/* Wherever on its way to sleep the loop's own thread is interrupted. */
static void posts_of_a_signal_handler_are_not_lost(void **state)
{
	struct sigaction sa = { .sa_handler = on_usr1, .sa_flags = SA_RESTART }, old;
	pthread_t t;

	memset(&mt, 0, sizeof(mt));
	mt.w.fn = mt_work;
	assert_int_equal(sigaction(SIGUSR1, &sa, &old), 0);
	pthread_create(&t, NULL, loop_thread, NULL);
	for (uint64_t i = 1; i <= 5000; i++) {
		pthread_kill(t, SIGUSR1);
		wait_for(&mt.runs, i);
	}
	loop_stop(fx.l);
	pthread_join(t, NULL);
	sigaction(SIGUSR1, &old, NULL);
}

/* ---- many threads at once ---- */

#define POSTERS	    3
#define POSTS	    30000
#define LONG_MS	    10000 /* the loop sleeps so long when it missed a post */
#define PATIENCE_MS 5000

struct poster {
	struct loop_work w;
	_Atomic uint64_t runs;
	pthread_t t;
};

static atomic_bool posters_done;
static atomic_uint missed;

static void poster_work(struct loop_work *w)
{
	atomic_fetch_add(&container_of(w, struct poster, w)->runs, 1);
}

static void *poster_thread(void *arg)
{
	struct poster *p = arg;

	for (uint64_t i = 1; i <= POSTS && !atomic_load(&missed); i++) {
		uint64_t until = clock_now_ns() + PATIENCE_MS * NS_PER_MS;

		loop_post(fx.l, &p->w);
		while (atomic_load(&p->runs) < i && clock_now_ns() < until)
			sched_yield();
		if (atomic_load(&p->runs) < i)
			atomic_fetch_add(&missed, 1);
	}
	return NULL;
}

static void *sleepy_loop(void *arg)
{
	while (!atomic_load(&posters_done))
		loop_once(fx.l, LONG_MS);
	return NULL;
}

/* A post that comes while the loop takes note of another is not forgotten. */
static void no_post_is_missed(void **state)
{
	struct poster p[POSTERS] = { 0 };
	pthread_t t;

	atomic_store(&posters_done, false);
	atomic_store(&missed, 0);
	pthread_create(&t, NULL, sleepy_loop, NULL);
	for (unsigned i = 0; i < POSTERS; i++) {
		p[i].w.fn = poster_work;
		pthread_create(&p[i].t, NULL, poster_thread, &p[i]);
	}
	for (unsigned i = 0; i < POSTERS; i++)
		pthread_join(p[i].t, NULL);
	atomic_store(&posters_done, true);
	loop_stop(fx.l);
	pthread_join(t, NULL);
	assert_int_equal(atomic_load(&missed), 0);
}

struct idle {
	struct loop_idle i;
	int asleep, awake;
};

static void idle_fn(struct loop_idle *i, bool asleep)
{
	struct idle *me = container_of(i, struct idle, i);

	if (asleep)
		me->asleep++;
	else
		me->awake++;
}

static void idle_hook_brackets_the_sleep(void **state)
{
	struct idle i = { .i.fn = idle_fn };

	loop_set_idle(fx.l, &i.i);
	loop_once(fx.l, 0);
	loop_once(fx.l, 1);
	assert_int_equal(i.asleep, 2);
	assert_int_equal(i.awake, 2);
	loop_set_idle(fx.l, NULL);
	loop_once(fx.l, 0);
	assert_int_equal(i.asleep, 2);
}

static void stops_before_it_runs(void **state)
{
	loop_stop(fx.l);
	loop_run(fx.l); /* returns */
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(fds_become_ready),
		T(deleted_in_the_same_batch),
		T(refuses_what_epoll_cannot),
		T(timers_fire_in_order),
		T(timers_move_and_disarm),
		T(rearming_does_not_starve),
		T(many_timers_keep_heap_order),
		T(work_runs_once_in_order),
		T(posts_wake_a_sleeping_loop),
		T(posts_of_a_signal_handler_are_not_lost),
		T(no_post_is_missed),
		T(idle_hook_brackets_the_sleep),
		T(stops_before_it_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
