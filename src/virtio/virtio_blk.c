/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio block device on a block node. VIRTIO 1.2 section 5.2.
 *
 * Offers RO, BLK_SIZE, TOPOLOGY, GEOMETRY, SEG_MAX, FLUSH, CONFIG_WCE, MQ, DISCARD and
 * WRITE_ZEROES. Not modelled: zoned devices, secure erase, lifetime.
 *
 * Threads: a kick, on any vCPU thread, only posts work; the control loop takes requests from the
 * rings and completes them. stop() makes the loop leave the rings alone (running, under lock) and
 * then drains the node itself, whatever thread it is on, so that it depends on no other thread.
 * Lock order: dev->lock, the node's, virtio_blk.lock.
 *
 * State: the rings' and the writeback setting (in cfg[]); nothing is in flight when it is saved.
 */
#include "virtio/virtio_blk.h"
#include "virtio/virtio_dev.h"

#include "base/bytes.h"
#include "base/log.h"
#include "core/backend.h"
#include "core/object.h"
#include "core/vm.h"

#define SECTOR 512u

/* Feature bits, 5.2.3 */
enum {
	F_SEG_MAX = 2,
	F_GEOMETRY = 4,
	F_RO = 5,
	F_BLK_SIZE = 6,
	F_FLUSH = 9,
	F_TOPOLOGY = 10,
	F_CONFIG_WCE = 11,
	F_MQ = 12,
	F_DISCARD = 13,
	F_WRITE_ZEROES = 14,
};

/* Configuration space, 5.2.4 */
enum {
	CFG_CAPACITY = 0,
	CFG_SEG_MAX = 12,
	CFG_CYLINDERS = 16,
	CFG_HEADS = 18,
	CFG_SECTORS = 19,
	CFG_BLK_SIZE = 20,
	CFG_PHYSICAL_EXP = 24,
	CFG_MIN_IO = 26,
	CFG_OPT_IO = 28,
	CFG_WRITEBACK = 32,
	CFG_NUM_QUEUES = 34,
	CFG_MAX_DISCARD = 36,
	CFG_MAX_DISCARD_SEG = 40,
	CFG_DISCARD_ALIGN = 44,
	CFG_MAX_ZEROES = 48,
	CFG_MAX_ZEROES_SEG = 52,
	CFG_ZEROES_UNMAP = 56,
	CFG_LEN = 60,
};

static struct virtio_blk *blk_of(struct virtio *v)
{
	return container_of(v, struct virtio_blk, v);
}

/* ---- virtio's callbacks ---- */

static uint64_t features(struct virtio *v)
{
	const struct virtio_blk *b = blk_of(v);
	uint64_t f = BIT64(F_SEG_MAX) | BIT64(F_GEOMETRY) | BIT64(F_BLK_SIZE) | BIT64(F_FLUSH) |
		     BIT64(F_TOPOLOGY);

	if (b->num_queues > 1)
		f |= BIT64(F_MQ);
	if (blk_info(b->node)->read_only)
		return f | BIT64(F_RO);
	if (b->config_wce)
		f |= BIT64(F_CONFIG_WCE);
	if (b->discard)
		f |= BIT64(F_DISCARD);
	if (b->write_zeroes)
		f |= BIT64(F_WRITE_ZEROES);
	return f;
}

/* A driver that cannot flush gets a disk without a volatile cache (5.2.6.2). */
static void update_wce(struct virtio_blk *b)
{
	const struct virtio *v = &b->v;

	b->wce = virtio_has(v, F_FLUSH) && (v->cfg[CFG_WRITEBACK] & 1);
}

static int start(struct virtio *v, struct err *e)
{
	struct virtio_blk *b = blk_of(v);

	pthread_mutex_lock(&b->lock);
	update_wce(b);
	b->running = true;
	for (unsigned i = 0; i < v->nr_vqs; i++)
		b->queue[i].stopped = false;
	pthread_mutex_unlock(&b->lock);
	/* A driver may fill rings before DRIVER_OK, and need not kick again. */
	for (unsigned i = 0; i < v->nr_vqs; i++)
		loop_post(v->loop, &b->queue[i].work);
	return 0;
}

static void stop(struct virtio *v)
{
	struct virtio_blk *b = blk_of(v);

	pthread_mutex_lock(&b->lock);
	b->running = false;
	pthread_mutex_unlock(&b->lock);
	blk_drain(b->node);
}

/* The cache is as configured until the next driver says otherwise (5.2.5). */
static void driver_reset(struct virtio *v)
{
	struct virtio_blk *b = blk_of(v);

	v->cfg[CFG_WRITEBACK] = b->wce_default;
}

static void queue_reset(struct virtio *v, unsigned n)
{
	struct virtio_blk *b = blk_of(v);

	pthread_mutex_lock(&b->lock);
	b->queue[n].stopped = true;
	pthread_mutex_unlock(&b->lock);
	blk_drain(b->node);
}

static void kick(struct virtio *v, unsigned n)
{
	struct virtio_blk *b = blk_of(v);

	if (unlikely(b->queue[n].stopped)) {
		pthread_mutex_lock(&b->lock);
		b->queue[n].stopped = false;
		pthread_mutex_unlock(&b->lock);
	}
	loop_post(v->loop, &b->queue[n].work);
}

static void cfg_written(struct virtio *v, unsigned off, unsigned len)
{
	struct virtio_blk *b = blk_of(v);

	if (off > CFG_WRITEBACK || off + len <= CFG_WRITEBACK)
		return;
	pthread_mutex_lock(&b->lock);
	update_wce(b);
	pthread_mutex_unlock(&b->lock);
}

static int blk_init(struct virtio *, struct err *e);
static void blk_fini(struct virtio *);

static const struct virtio_type blk_virtio_type = {
	.name = "virtio-blk",
	.id = 2,
	.pci_class = 0x010000,
	.init = blk_init,
	.fini = blk_fini,
	.features = features,
	.start = start,
	.stop = stop,
	.reset = driver_reset,
	.kick = kick,
	.queue_reset = queue_reset,
	.cfg_written = cfg_written,
};

static void queue_work(struct loop_work *w)
{
	struct vblk_queue *q = container_of(w, struct vblk_queue, work);
	bool more;

	pthread_mutex_lock(&q->b->lock);
	more = vblk_process(q);
	pthread_mutex_unlock(&q->b->lock);
	if (more)
		loop_post(q->b->v.loop, w);
}

/* ---- making one ---- */

/* A cylinder count for the few who still ask; 16 heads of 63 sectors, as disks have them. */
static void fill_geometry(uint8_t *cfg, uint64_t sectors)
{
	uint64_t cylinders = MIN(sectors / (16 * 63), UINT64_C(16383));

	st_le16(cfg + CFG_CYLINDERS, (uint16_t)MAX(cylinders, UINT64_C(2)));
	cfg[CFG_HEADS] = 16;
	cfg[CFG_SECTORS] = 63;
}

static void fill_config(struct virtio_blk *b)
{
	const struct blk_info *info = blk_info(b->node);
	uint32_t block = b->logical / SECTOR;
	uint8_t *cfg = b->v.cfg;

	b->wce_default = b->write_cache == PROP_AUTO ? info->write_cache
						     : b->write_cache == PROP_ON;
	st_le64(cfg + CFG_CAPACITY, info->size / SECTOR / block * block);
	st_le32(cfg + CFG_SEG_MAX, b->queue_size - 2u);
	fill_geometry(cfg, info->size / SECTOR);
	st_le32(cfg + CFG_BLK_SIZE, b->logical);
	cfg[CFG_PHYSICAL_EXP] = (uint8_t)__builtin_ctz(b->physical / b->logical);
	st_le16(cfg + CFG_MIN_IO, (uint16_t)(b->min_io / b->logical));
	st_le32(cfg + CFG_OPT_IO, b->opt_io / b->logical);
	cfg[CFG_WRITEBACK] = b->wce_default;
	st_le16(cfg + CFG_NUM_QUEUES, b->num_queues);
	st_le32(cfg + CFG_MAX_DISCARD, b->max_discard);
	st_le32(cfg + CFG_MAX_DISCARD_SEG, VBLK_MAX_SEGS);
	st_le32(cfg + CFG_DISCARD_ALIGN, b->physical / SECTOR);
	st_le32(cfg + CFG_MAX_ZEROES, b->max_zeroes);
	st_le32(cfg + CFG_MAX_ZEROES_SEG, VBLK_MAX_SEGS);
	cfg[CFG_ZEROES_UNMAP] = info->can_discard;
	if (b->config_wce && !info->read_only)
		b->v.cfg_wmask[CFG_WRITEBACK] = 1;
	b->v.cfg_len = CFG_LEN;
}

static bool sector_like(uint32_t n)
{
	return n >= SECTOR && n <= 65536 && is_pow2(n);
}

static int check_sizes(struct virtio_blk *b, struct err *e)
{
	const struct blk_info *info = blk_info(b->node);

	if (!b->logical)
		b->logical = info->sector;
	if (!b->physical)
		b->physical = MAX(b->logical, info->physical);
	if (!sector_like(b->logical) || !sector_like(b->physical) || b->physical < b->logical)
		return err_set(e, EINVAL,
			       "block sizes are powers of two from 512 to 65536, "
			       "logical_block_size <= physical_block_size");
	if (b->logical < info->sector)
		return err_set(e, EINVAL,
			       "logical_block_size=%u is less than the %u that the "
			       "drive can do: raise it, or use cache=writeback",
			       b->logical, info->sector);
	if ((b->min_io | b->opt_io) & (b->logical - 1) || b->min_io / b->logical > UINT16_MAX)
		return err_set(e, EINVAL,
			       "min_io_size and opt_io_size are multiples of the "
			       "logical block size, min_io_size up to 65535 of them");
	if (info->size < b->logical)
		return err_set(e, EINVAL, "the drive is smaller than one block");
	/* Limits in whole blocks */
	b->max_discard = (uint32_t)align_down(b->max_discard, b->logical / SECTOR);
	b->max_zeroes = (uint32_t)align_down(b->max_zeroes, b->logical / SECTOR);
	return 0;
}

static int check_options(struct virtio_blk *b, struct err *e)
{
	const struct vm *vm = b->v.dev->vm;

	if (!is_pow2(b->queue_size))
		return err_set(e, EINVAL, "queue-size=%u is no power of two", b->queue_size);
	if (b->serial && strlen(b->serial) > VBLK_ID_LEN)
		return err_set(e, EINVAL, "serial=%s is longer than %d characters", b->serial,
			       VBLK_ID_LEN);
	if (!b->num_queues)
		b->num_queues = vm->conf ? (uint16_t)MIN(vm->conf->cpus, VBLK_MAX_QUEUES) : 1;
	b->num_queues = MAX(b->num_queues, (uint16_t)1);
	return check_sizes(b, e);
}

static void make_queues(struct virtio_blk *b)
{
	b->scratch = xnew_n(struct iovec, VQ_MAX_SEGS);
	b->queue = xnew_n(struct vblk_queue, b->num_queues);
	for (unsigned i = 0; i < b->num_queues; i++)
		b->queue[i] = (struct vblk_queue){ .b = b, .index = i, .work.fn = queue_work };
}

/* ---- on an iothread ---- */

struct join {
	struct virtio_blk *b;
	struct err *e;
	int ret;
};

static void join_io(void *arg)
{
	struct join *j = arg;

	j->ret = blk_join_loop(j->b->node, j->b->io->loop, j->e);
}

/* The disk's requests are then begun and finished there, and nowhere else. */
static int move_to_iothread(struct virtio_blk *b, struct err *e)
{
	struct join j = { .b = b, .e = e };
	struct obj *o;

	if (!b->iothread)
		return 0;
	o = obj_find(b->v.vm, b->iothread, &obj_iothread, e);
	if (!o)
		return -ENOENT;
	b->io = container_of(o, struct obj_iothread, o);
	backend_hold(b->v.vm, BACKEND_OBJECT, b->iothread);
	b->v.loop = b->io->loop;
	blk_leave_loop(b->node);
	b->moved = true;
	obj_iothread_run(b->io, join_io, &j);
	return j.ret;
}

static void leave_io(void *arg)
{
	struct virtio_blk *b = arg;

	for (unsigned i = 0; b->queue && i < b->num_queues; i++)
		loop_cancel(b->io->loop, &b->queue[i].work);
	if (b->moved)
		blk_leave_loop(b->node);
}

/* The node is the control loop's again, for the next user. */
static void leave_iothread(struct virtio_blk *b)
{
	struct err e = { 0 };

	obj_iothread_run(b->io, leave_io, b);
	backend_let_go(b->v.vm, BACKEND_OBJECT, b->iothread);
	if (b->moved && blk_join_loop(b->node, b->v.vm->loop, &e) < 0)
		log_error("%s: %s", b->v.dev->path, e.msg);
}

static int blk_init(struct virtio *v, struct err *e)
{
	struct virtio_blk *b = blk_of(v);
	struct dev *d = v->dev;
	int ret;

	pthread_mutex_init(&b->lock, NULL);
	if (!b->drive)
		return err_set(e, EINVAL, "%s: no disk: say drive=ID, with the id of a -drive",
			       d->path);
	b->node = backend_claim(d->vm, BACKEND_BLOCK, b->drive, d->path, e);
	if (!b->node)
		return -e->code;
	ret = check_options(b, e);
	if (ret < 0)
		return err_prefix(e, "%s: ", d->path);
	make_queues(b);
	fill_config(b);
	v->nr_vqs = b->num_queues;
	v->vq_size = b->queue_size;
	return move_to_iothread(b, e);
}

static void blk_fini(struct virtio *v)
{
	struct virtio_blk *b = blk_of(v);
	struct dev *d = v->dev;

	if (b->io)
		leave_iothread(b);
	for (unsigned i = 0; b->queue && i < b->num_queues; i++)
		loop_cancel(d->vm->loop, &b->queue[i].work);
	if (b->node)
		backend_release(d->vm, BACKEND_BLOCK, b->drive);
	vblk_free_spare(b);
	free(b->queue);
	free(b->scratch);
	pthread_mutex_destroy(&b->lock);
}

#define BLK_PROPS(type)                                                                           \
	PROP_STRING("drive", type, x.drive, NULL, "id of the -drive"),                            \
		PROP_STRING("serial", type, x.serial, NULL, "up to 20 characters"),               \
		PROP_STRING("iothread", type, x.iothread, NULL,                                   \
			    "id of the iothread that serves the queues"),                         \
		PROP_UINT("num-queues", type, x.num_queues, PROP_U16, 0, 0, VBLK_MAX_QUEUES,      \
			  "request queues; 0 = one a CPU"),                                       \
		PROP_UINT("queue-size", type, x.queue_size, PROP_U16, 256, 4, VQ_MAX_SIZE,        \
			  "entries of a queue, a power of two"),                                  \
		PROP_UINT("write-cache", type, x.write_cache, PROP_ONOFFAUTO, PROP_AUTO, 0, 0,    \
			  "volatile write cache; auto = as the drive's cache mode says"),         \
		PROP_FLAG("config-wce", type, x.config_wce, 1,                                    \
			  "let the guest switch the write cache"),                                \
		PROP_UINT("logical_block_size", type, x.logical, PROP_U32, 0, 0, 65536,           \
			  "smallest unit the guest sees; 0 = the drive's"),                       \
		PROP_UINT("physical_block_size", type, x.physical, PROP_U32, 0, 0, 65536,         \
			  "preferred unit; 0 = the drive's"),                                     \
		PROP_UINT("min_io_size", type, x.min_io, PROP_U32, 0, 0, MIB(64),                 \
			  "smallest sensible transfer in bytes; 0 = unsaid"),                     \
		PROP_UINT("opt_io_size", type, x.opt_io, PROP_U32, 0, 0, MIB(1024),               \
			  "best transfer in bytes; 0 = unsaid"),                                  \
		PROP_FLAG("discard", type, x.discard, 1, "offer DISCARD"),                        \
		PROP_FLAG("write-zeroes", type, x.write_zeroes, 1, "offer WRITE_ZEROES"),         \
		PROP_UINT("max-discard-sectors", type, x.max_discard, PROP_U32, 4194303, 128,     \
			  4194303, "of one discard"),                                             \
		PROP_UINT("max-write-zeroes-sectors", type, x.max_zeroes, PROP_U32, 4194303, 128, \
			  4194303, "of one write zeroes"),                                        \
		PROP_UINT("bootindex", type, x.bootindex, PROP_U32, UINT32_MAX, 0, UINT32_MAX,    \
			  "boot order for firmware; direct kernel boot does not look at it"),

/* The configuration describes the disk that is there now; only the cache setting was state. */
static int blk_post_load(void *obj, struct err *e)
{
	struct virtio_blk *b = obj;
	uint8_t writeback = b->v.cfg[CFG_WRITEBACK] & 1;

	fill_config(b);
	if (b->v.cfg_wmask[CFG_WRITEBACK])
		b->v.cfg[CFG_WRITEBACK] = writeback;
	return 0;
}

static const struct state_desc blk_state = {
	.name = "virtio-blk",
	.struct_name = "virtio_blk",
	.version = 1,
	.post_load = blk_post_load,
	.fields =
		(const struct state_field[]){
			ST_SUB(struct virtio_blk, v, &virtio_state),
			ST_HOST(struct virtio_blk, drive),
			ST_HOST(struct virtio_blk, serial),
			ST_HOST(struct virtio_blk, iothread),
			ST_HOST(struct virtio_blk, num_queues),
			ST_HOST(struct virtio_blk, queue_size),
			ST_HOST(struct virtio_blk, write_cache),
			ST_HOST(struct virtio_blk, logical),
			ST_HOST(struct virtio_blk, physical),
			ST_HOST(struct virtio_blk, min_io),
			ST_HOST(struct virtio_blk, opt_io),
			ST_HOST(struct virtio_blk, bootindex),
			ST_HOST(struct virtio_blk, max_discard),
			ST_HOST(struct virtio_blk, max_zeroes),
			ST_HOST(struct virtio_blk, config_wce),
			ST_HOST(struct virtio_blk, discard),
			ST_HOST(struct virtio_blk, write_zeroes),
			ST_HOST(struct virtio_blk, node),
			ST_HOST(struct virtio_blk, io),
			ST_HOST(struct virtio_blk, moved),
			ST_HOST(struct virtio_blk, queue),
			ST_HOST(struct virtio_blk, scratch),
			ST_HOST(struct virtio_blk, spare),
			ST_HOST(struct virtio_blk, nr_spare),
			ST_HOST(struct virtio_blk, lock),
			ST_DERIVED(struct virtio_blk, running),
			ST_DERIVED(struct virtio_blk, wce),
			ST_HOST(struct virtio_blk, wce_default),
			ST_HOST(struct virtio_blk, io_errors),
			ST_END,
		},
};

VIRTIO_DEVICE(virtio_blk, blk_virtio_type, blk_state, BLK_PROPS, "virtio-blk",
	      "virtio block device");
