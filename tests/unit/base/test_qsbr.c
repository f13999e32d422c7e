/* SPDX-License-Identifier: Apache-2.0 */
/* Quiescent-state reclamation: who holds what back, and readers against a writer. */
#include "base/qsbr.h"
#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct item {
	struct qsbr_node node;
	_Atomic int freed;
};

static void count_free(struct qsbr_node *n)
{
	atomic_fetch_add(&container_of(n, struct item, node)->freed, 1);
}

static void nobody_reads(void **state)
{
	struct qsbr q;
	struct item it = { .freed = 0 };

	qsbr_init(&q);
	qsbr_defer(&q, &it.node, count_free);
	assert_int_equal(it.freed, 1);
	qsbr_synchronize(&q);
	qsbr_fini(&q);
	assert_int_equal(it.freed, 1);
}

static void online_reader_holds_back(void **state)
{
	struct qsbr q;
	struct qsbr_reader r;
	struct item a = { .freed = 0 }, b = { .freed = 0 };

	qsbr_init(&q);
	qsbr_register(&q, &r);
	assert_ptr_equal(qsbr_self(&q), &r);
	qsbr_online(&r);
	qsbr_defer(&q, &a.node, count_free);
	qsbr_defer(&q, &b.node, count_free);
	assert_int_equal(a.freed + b.freed, 0);
	qsbr_quiescent(&r);
	assert_int_equal(a.freed + b.freed, 2);
	a.freed = 0;
	qsbr_defer(&q, &a.node, count_free);
	assert_int_equal(a.freed, 0);
	qsbr_offline(&r);
	assert_int_equal(a.freed, 1);
	qsbr_unregister(&r);
	assert_null(qsbr_self(&q));
	qsbr_fini(&q);
}

static void fini_frees_the_rest(void **state)
{
	struct qsbr q;
	struct qsbr_reader r;
	struct item a = { .freed = 0 };

	qsbr_init(&q);
	qsbr_register(&q, &r);
	qsbr_online(&r);
	qsbr_defer(&q, &a.node, count_free);
	assert_int_equal(a.freed, 0);
	/* as when a whole VM goes away: unregister reclaims, fini would have too */
	qsbr_unregister(&r);
	qsbr_fini(&q);
	assert_int_equal(a.freed, 1);
}

static void sections_of_strangers(void **state)
{
	struct qsbr q, other;
	struct qsbr_section s, inner;
	struct item a = { .freed = 0 };

	qsbr_init(&q);
	qsbr_init(&other);
	qsbr_enter(&q, &s);
	qsbr_enter(&q, &inner); /* nests */
	qsbr_exit(&inner);
	assert_non_null(qsbr_self(&q));
	assert_null(qsbr_self(&other));
	qsbr_defer(&q, &a.node, count_free);
	assert_int_equal(a.freed, 0);
	qsbr_exit(&s);
	assert_int_equal(a.freed, 1);
	assert_null(qsbr_self(&q));
	qsbr_fini(&q);
	qsbr_fini(&other);
}

/* ---- stress: readers must never see a freed object ---- */

#define ALIVE 0x600df00dull
#define DEAD  0xdeadull

struct object {
	_Atomic uint64_t tag;
	struct qsbr_node node;
};

static struct {
	struct qsbr q;
	struct object *_Atomic current;
	atomic_bool stop;
	_Atomic uint64_t looks, bad;
} st;

static void poison(struct qsbr_node *n)
{
	struct object *o = container_of(n, struct object, node);

	atomic_store_explicit(&o->tag, DEAD, memory_order_relaxed);
	free(o);
}

static void look(void)
{
	struct object *o = atomic_load_explicit(&st.current, memory_order_acquire);

	for (int i = 0; i < 20; i++) {
		if (atomic_load_explicit(&o->tag, memory_order_relaxed) != ALIVE)
			atomic_fetch_add(&st.bad, 1);
	}
	atomic_fetch_add_explicit(&st.looks, 1, memory_order_relaxed);
}

static void *registered_reader(void *arg)
{
	struct qsbr_reader r;

	qsbr_register(&st.q, &r);
	qsbr_online(&r);
	while (!atomic_load(&st.stop)) {
		look();
		qsbr_quiescent(&r);
		if (atomic_load(&st.looks) % 64 == 0) {
			qsbr_offline(&r);
			qsbr_online(&r);
		}
	}
	qsbr_unregister(&r);
	return NULL;
}

static void *stranger(void *arg)
{
	while (!atomic_load(&st.stop)) {
		struct qsbr_section s;

		qsbr_enter(&st.q, &s);
		look();
		qsbr_exit(&s);
	}
	return NULL;
}

static struct object *new_object(void)
{
	struct object *o = xnew(struct object);

	atomic_init(&o->tag, ALIVE);
	return o;
}

static void readers_against_writer(void **state)
{
	pthread_t t[3];
	uint64_t until = clock_now_ns() + 300 * NS_PER_MS;
	uint64_t written = 0;

	qsbr_init(&st.q);
	atomic_store(&st.current, new_object());
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, i < 2 ? registered_reader : stranger, NULL);
	while (clock_now_ns() < until || atomic_load(&st.looks) < 1000) {
		struct object *old = atomic_exchange(&st.current, new_object());

		qsbr_defer(&st.q, &old->node, poison);
		if (++written % 1000 == 0)
			qsbr_synchronize(&st.q);
	}
	atomic_store(&st.stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	qsbr_synchronize(&st.q);
	assert_int_equal(atomic_load(&st.q.garbage), 0);
	qsbr_fini(&st.q);
	free(atomic_load(&st.current));
	assert_int_equal(st.bad, 0);
	assert_true(written > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_reads),
		cmocka_unit_test(online_reader_holds_back),
		cmocka_unit_test(fini_frees_the_rest),
		cmocka_unit_test(sections_of_strangers),
		cmocka_unit_test(readers_against_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
