/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a block node is asked about itself: its counters, and where and how it was opened.
 *
 * Whoever completes a request holds run_lock, so each counter has one writer at a time; readers on
 * any thread see each whole. A migrated machine's counters start anew, as its node does.
 */
#include "base/clock.h"
#include "block/block_int.h"

#include <sys/stat.h>

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, old + n, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void blk_account(struct blk_node *n, const struct blk_req *r, int ret, bool refused)
{
	uint64_t now = clock_now_ns();
	struct blk_counters *c = &n->stats;

	if (refused) {
		add(&c->op[r->op].invalid, 1);
		return;
	}
	atomic_store_explicit(&c->last_ns, now, memory_order_relaxed);
	add(&c->op[r->op].ns, now - BLK_START(r));
	if (ret < 0) {
		add(&c->op[r->op].failed, 1);
		return;
	}
	add(&c->op[r->op].done, 1);
	add(&c->op[r->op].bytes, r->op == BLK_FLUSH ? 0 : r->len);
	if ((r->op == BLK_WRITE || r->op == BLK_ZERO) && r->off + r->len > get(&c->wr_highest))
		atomic_store_explicit(&c->wr_highest, r->off + r->len, memory_order_relaxed);
}

void blk_get_stats(const struct blk_node *n, struct blk_stats *s)
{
	const struct blk_counters *c = &blk_bottom(n)->stats;
	uint64_t last = get(&c->last_ns);

	for (unsigned i = 0; i < BLK_NR_OPS; i++)
		s->op[i] = (struct blk_op_stats){
			.done = get(&c->op[i].done),
			.bytes = get(&c->op[i].bytes),
			.failed = get(&c->op[i].failed),
			.invalid = get(&c->op[i].invalid),
			.ns = get(&c->op[i].ns),
		};
	s->wr_highest = get(&c->wr_highest);
	s->idle_ns = last ? clock_now_ns() - last : 0;
}

const char *blk_path(const struct blk_node *n)
{
	return blk_bottom(n)->path;
}

uint64_t blk_allocated(const struct blk_node *n)
{
	struct stat st;

	n = blk_bottom(n);
	if (n->is_dev || fstat(n->fd, &st) < 0)
		return 0;
	return (uint64_t)st.st_blocks * 512;
}
