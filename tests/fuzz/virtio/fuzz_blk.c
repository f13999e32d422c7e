/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the virtio block device. The block node is one in memory, made here in place of
 * src/block: it checks that every request keeps the contract, touches all buffers, and completes
 * in an order of its own choice, some with errors.
 */
#include "base/base.h"

#include "block/block.h"
#include "core/backend.h"
#include "vfuzz.h"

#define DISK MIB(1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct blk_node {
	struct blk_info info;
	struct loop_work work;
	struct loop *loop;
	struct blk_req *head;
	unsigned count;
};

const struct blk_info *blk_info(const struct blk_node *n)
{
	return &n->info;
}

static void check(const struct blk_node *n, const struct blk_req *r)
{
	uint64_t sum = 0;

	if (r->op == BLK_FLUSH)
		return;
	assert(r->off <= n->info.size && r->len <= n->info.size - r->off);
	assert(!((r->off | r->len) & 511));
	if (r->op == BLK_DISCARD || r->op == BLK_ZERO)
		return;
	for (unsigned i = 0; i < r->niov; i++) {
		volatile uint8_t *p = r->iov[i].iov_base;

		for (size_t k = 0; k < r->iov[i].iov_len; k += 64) {
			if (r->op == BLK_READ)
				p[k] = 0x5a;
			else
				(void)p[k];
		}
		sum += r->iov[i].iov_len;
	}
	assert(sum == r->len);
}

static void complete_all(struct blk_node *n)
{
	struct blk_req *r;

	while ((r = n->head)) {
		n->head = r->next;
		check(n, r);
		r->done(r, ++n->count % 13 == 0 ? -EIO : 0);
	}
}

static void work(struct loop_work *w)
{
	complete_all(container_of(w, struct blk_node, work));
}

void blk_submit(struct blk_node *n, struct blk_req *r)
{
	r->next = n->head;
	n->head = r;
	loop_post(n->loop, &n->work);
}

void blk_drain(struct blk_node *n)
{
	complete_all(n);
}

struct blk_node *blk_open(struct loop *loop, struct conf_node *node, struct err *e)
{
	abort();
}

void blk_leave_loop(struct blk_node *n)
{
	complete_all(n);
}

int blk_join_loop(struct blk_node *n, struct loop *loop, struct err *e)
{
	n->loop = loop;
	return 0;
}

struct blk_node *blk_close(struct blk_node *n)
{
	return NULL;
}

const char *blk_engine(const struct blk_node *n)
{
	return "memory";
}

static void close_node(void *p)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const kv[] = { "drive", "d0", "num-queues", "2", NULL };
	struct vfuzz f = { .p = data, .end = data + size };
	struct rig rig;
	struct blk_node n = { .info = { .size = DISK,
					.sector = 512,
					.physical = 4096,
					.can_discard = true,
					.write_cache = true } };
	struct err e;

	log_set_level((enum log_level) - 1); /* not even errors */
	rig_init(&rig);
	n.loop = rig.vm.loop;
	n.work.fn = work;
	if (backend_add_take(&rig.vm, BACKEND_BLOCK, "d0", &n, close_node, &e) < 0)
		abort();
	vdrv_find(&f.d, &rig, rig_device(&rig, "virtio-blk-pci", kv, &e));
	fuzz_run(&f);
	assert(vdrv_cfg(&f.d, 0, 8) == DISK / 512);
	loop_cancel(rig.vm.loop, &n.work);
	rig_fini(&rig);
	return 0;
}
