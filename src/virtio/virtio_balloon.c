/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory balloon: inflate, deflate, statistics, free page reporting. VIRTIO 1.2 section 5.5.
 *
 * Pages in the balloon go back to the host at once (mem_give_back()); a page that the guest takes
 * out again is a new one, full of zeroes, when it is touched. A driver that lies about which pages
 * it does not use loses the contents of its own memory, nothing else.
 *
 * Statistics: the driver leaves one buffer in the queue and refills it each time it gets it back.
 * It is looked at and put back as if it had not been taken, so nothing is in flight between times.
 *
 * A kick's budget is KICK_MAX pages; the rest follows on the control loop. Neither "must tell host"
 * (pages may be taken out without a word: nothing is kept about them) nor free page hints (those
 * are for migration of a running guest) are offered.
 *
 * Threads: vCPUs and the control loop, under the device's lock. State: virtio_balloon_state.
 */
#include "base/base.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/trace.h"
#include "core/event.h"
#include "core/vm.h"
#include "virtio/virtio_balloon.h"
#include "virtio/virtio_dev.h"
#include <jansson.h>
#include <time.h>

#define F_STATS_VQ	 1
#define F_DEFLATE_ON_OOM 2
#define F_REPORTING	 5

#define CFG_NUM_PAGES 0u /* what the host wants in the balloon */
#define CFG_ACTUAL    4u /* what the driver says is in it */
#define CFG_LEN	      8u

#define CLASS_BALLOON 0x00ff00 /* unclassified, as other implementations say */
#define PAGE_SHIFT_   12u
#define KICK_MAX      16384u /* pages */
#define CHAIN_MAX     65536u /* page numbers of one chain; drivers send a few hundred */
#define BATCH	      256u
#define NR_STATS      16u
#define STAT_LEN      10u /* le16 tag, le64 value */
#define STATS_MAX     64u /* entries looked at */

enum role { INFLATE, DEFLATE, STATS, REPORTING, NO_ROLE };

struct virtio_balloon {
	struct virtio v; /* first */
	/* properties */
	bool p_deflate_on_oom, p_reporting;
	/* what the guest said last */
	uint64_t stat[NR_STATS];
	uint16_t stats_known; /* a bit for each */
	uint64_t stats_time;  /* seconds since 1970; 0 = never */
	/* host */
	uint32_t poll_s; /* 0 = not */
	struct loop_timer poll;
	struct loop_work more;
	struct iovec iov[VQ_MAX_SEGS];
};

/* By tag (5.5.6.4); those from 10 on as Linux defines them. */
static const char *const stat_names[NR_STATS] = {
	"stat-swap-in",	     "stat-swap-out",	  "stat-major-faults",	   "stat-minor-faults",
	"stat-free-memory",  "stat-total-memory", "stat-available-memory", "stat-disk-caches",
	"stat-htlb-pgalloc", "stat-htlb-pgfail",  "stat-oom-kills",	   "stat-alloc-stalls",
	"stat-async-scans",  "stat-direct-scans", "stat-async-reclaims",   "stat-direct-reclaims",
};

static struct virtio_balloon *balloon_of(struct virtio *v)
{
	return container_of(v, struct virtio_balloon, v);
}

/* Queues of features that were not negotiated are not there: those behind them move up. */
static enum role role_of(const struct virtio_balloon *b, unsigned n)
{
	if (n < 2)
		return n ? DEFLATE : INFLATE;
	if (virtio_has(&b->v, F_STATS_VQ)) {
		if (n == 2)
			return STATS;
		n--;
	}
	return virtio_has(&b->v, F_REPORTING) && n == 2 ? REPORTING : NO_ROLE;
}

static struct vq *queue_of(struct virtio_balloon *b, enum role role)
{
	for (unsigned n = 0; n < b->v.nr_vqs; n++)
		if (role_of(b, n) == role)
			return virtio_vq(&b->v, n);
	return NULL;
}

/* ---- pages ---- */

static int compare_pfn(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Neighbours in one call: drivers send page by page what was one piece. */
static void give_back(struct virtio_balloon *b, uint32_t *pfn, unsigned n)
{
	qsort(pfn, n, sizeof(*pfn), compare_pfn);
	for (unsigned i = 0, k; i < n; i = k) {
		uint64_t gpa = (uint64_t)pfn[i] << PAGE_SHIFT_, pages;

		for (k = i + 1; k < n && pfn[k] - pfn[k - 1] <= 1; k++)
			;
		pages = (uint64_t)pfn[k - 1] - pfn[i] + 1;
		trace_virtio_balloon_handle_output(gpa, pages);
		if (mem_give_back(b->v.vm->map, gpa, pages << PAGE_SHIFT_) < 0)
			dev_guest_error(b->v.dev, "pages from %#" PRIx64 " on are not RAM", gpa);
	}
}

/* An array of page numbers; returns how many. */
static uint32_t inflate(struct virtio_balloon *b, const struct vq_chain *c)
{
	uint32_t count = (uint32_t)MIN(c->out_len / 4, (uint64_t)CHAIN_MAX), done = 0;
	uint32_t pfn[BATCH];

	if (c->out_len / 4 > CHAIN_MAX)
		dev_guest_error(b->v.dev, "%" PRIu64 " pages in one buffer", c->out_len / 4);
	while (done < count) {
		unsigned n = MIN(count - done, BATCH);

		(void)iov_to_buf(c->iov, c->out_n, 4ull * done, pfn, sizeof(*pfn) * n);
		for (unsigned i = 0; i < n; i++)
			pfn[i] = ld_le32((uint8_t *)&pfn[i]);
		give_back(b, pfn, n);
		done += n;
	}
	return done;
}

/* The buffers are the free pages themselves. */
static uint32_t report(struct virtio_balloon *b, const struct vq_chain *c)
{
	for (unsigned i = c->out_n; i < c->out_n + c->in_n; i++)
		mem_give_back_host(b->v.vm->map, c->iov[i].iov_base, c->iov[i].iov_len);
	return (uint32_t)MIN(c->in_len >> PAGE_SHIFT_, (uint64_t)KICK_MAX);
}

/* True: there may be more. */
static bool serve_pages(struct virtio_balloon *b, struct vq *vq, enum role role)
{
	struct vq_chain c = { .iov = b->iov };
	uint32_t pages = 0;
	int got = 0;

	while (pages < KICK_MAX && (got = vq_pop(vq, &c)) > 0) {
		uint32_t n = role == INFLATE	 ? inflate(b, &c)
			     : role == REPORTING ? report(b, &c)
						 : 0;

		vq_push(vq, &c, 0);
		pages += MAX(n, 64u); /* an empty chain costs too */
	}
	vq_notify(vq);
	return got > 0;
}

/* ---- statistics ---- */

static void read_stats(struct virtio_balloon *b, const struct vq_chain *c)
{
	unsigned n = (unsigned)MIN(c->out_len / STAT_LEN, (uint64_t)STATS_MAX);
	struct timespec now;

	b->stats_known = 0;
	for (unsigned i = 0; i < n; i++) {
		uint8_t raw[STAT_LEN];
		uint16_t tag;

		(void)iov_to_buf(c->iov, c->out_n, (size_t)i * STAT_LEN, raw, sizeof(raw));
		tag = ld_le16(raw);
		if (tag >= NR_STATS)
			continue;
		b->stat[tag] = ld_le64(raw + 2);
		b->stats_known |= (uint16_t)(1u << tag);
	}
	clock_gettime(CLOCK_REALTIME, &now);
	b->stats_time = (uint64_t)now.tv_sec;
}

static void look_at_stats(struct virtio_balloon *b, struct vq *vq)
{
	struct vq_chain c = { .iov = b->iov };

	if (vq_pop(vq, &c) <= 0)
		return;
	read_stats(b, &c);
	vq_unpop(vq, &c);
}

/* Hands the buffer back, which asks for news. */
static void ask_for_stats(struct virtio_balloon *b)
{
	struct vq_chain c = { .iov = b->iov };
	struct vq *vq = queue_of(b, STATS);

	if (!vq || vq_pop(vq, &c) <= 0)
		return;
	vq_push(vq, &c, 0);
	vq_notify(vq);
	/* Looking once more asks a driver with EVENT_IDX for its next kick. */
	if (!vq_empty(vq))
		look_at_stats(b, vq);
}

static void arm_poll(struct virtio_balloon *b)
{
	if (b->poll_s && b->v.started)
		loop_arm(b->v.vm->loop, &b->poll, clock_now_ns() + b->poll_s * NS_PER_SEC);
	else
		loop_disarm(b->v.vm->loop, &b->poll);
}

static void poll_fn(struct loop_timer *t)
{
	struct virtio_balloon *b = container_of(t, struct virtio_balloon, poll);

	pthread_mutex_lock(&b->v.dev->lock);
	if (b->v.started) {
		ask_for_stats(b);
		arm_poll(b);
	}
	pthread_mutex_unlock(&b->v.dev->lock);
}

/* ---- the device ---- */

static void balloon_kick(struct virtio *v, unsigned n)
{
	struct virtio_balloon *b = balloon_of(v);
	enum role role = role_of(b, n);

	if (role == STATS)
		look_at_stats(b, virtio_vq(v, n));
	else if (role != NO_ROLE && serve_pages(b, virtio_vq(v, n), role))
		loop_post(v->vm->loop, &b->more);
}

static void serve_more(struct loop_work *w)
{
	struct virtio_balloon *b = container_of(w, struct virtio_balloon, more);

	pthread_mutex_lock(&b->v.dev->lock);
	for (unsigned n = 0; b->v.started && n < b->v.nr_vqs; n++)
		balloon_kick(&b->v, n);
	pthread_mutex_unlock(&b->v.dev->lock);
}

static uint64_t balloon_features(struct virtio *v)
{
	const struct virtio_balloon *b = balloon_of(v);

	return BIT64(F_STATS_VQ) | (b->p_deflate_on_oom ? BIT64(F_DEFLATE_ON_OOM) : 0) |
	       (b->p_reporting ? BIT64(F_REPORTING) : 0);
}

static int balloon_start(struct virtio *v, struct err *e)
{
	struct virtio_balloon *b = balloon_of(v);

	/* A driver may fill rings before DRIVER_OK, and need not kick again. */
	loop_post(v->vm->loop, &b->more);
	/* v->started is set behind this. */
	if (b->poll_s)
		loop_arm(v->vm->loop, &b->poll, clock_now_ns() + b->poll_s * NS_PER_SEC);
	return 0;
}

static void balloon_stop(struct virtio *v)
{
	loop_disarm(v->vm->loop, &balloon_of(v)->poll);
}

static void balloon_reset(struct virtio *v)
{
	struct virtio_balloon *b = balloon_of(v);

	/* The balloon is empty: its pages are memory of a guest that starts again. */
	st_le32(v->cfg + CFG_ACTUAL, 0);
	b->stats_known = 0;
	b->stats_time = 0;
}

static uint64_t memory_left(const struct virtio *v, unsigned field)
{
	uint64_t out = (uint64_t)ld_le32(v->cfg + field) << PAGE_SHIFT_, all = v->vm->ram->size;

	return out < all ? all - out : 0;
}

static void balloon_cfg_written(struct virtio *v, unsigned off, unsigned len)
{
	struct vm_event ev = { .kind = VM_EV_BALLOON_CHANGE };

	if (off + len <= CFG_ACTUAL)
		return;
	trace_virtio_balloon_set_config(ld_le32(v->cfg + CFG_ACTUAL));
	ev.value = (int64_t)memory_left(v, CFG_ACTUAL);
	vm_tell(v->vm, &ev);
}

static const struct virtio_type balloon_virtio;

static struct virtio *balloon_find(struct vm *vm)
{
	for (struct dev *d = vm->devs; d; d = d->next) {
		struct virtio *v = virtio_of(d);

		if (v && v->type == &balloon_virtio)
			return v;
	}
	return NULL;
}

static int balloon_init(struct virtio *v, struct err *e)
{
	struct virtio_balloon *b = balloon_of(v);
	const struct virtio *other = balloon_find(v->vm);

	b->poll.fn = poll_fn;
	b->more.fn = serve_more;
	if (other)
		return err_set(e, EEXIST, "%s: a machine has one balloon, and there is %s already",
			       v->dev->path, other->dev->path);
	v->nr_vqs = 3 + b->p_reporting;
	v->vq_size = 128;
	v->cfg_len = CFG_LEN;
	memset(v->cfg_wmask + CFG_ACTUAL, 0xff, 4);
	return 0;
}

static void balloon_fini(struct virtio *v)
{
	loop_disarm(v->vm->loop, &balloon_of(v)->poll);
	loop_cancel(v->vm->loop, &balloon_of(v)->more);
}

static const struct virtio_type balloon_virtio = {
	.name = "virtio-balloon",
	.id = 5,
	.pci_class = CLASS_BALLOON,
	.init = balloon_init,
	.fini = balloon_fini,
	.features = balloon_features,
	.start = balloon_start,
	.stop = balloon_stop,
	.reset = balloon_reset,
	.kick = balloon_kick,
	.cfg_written = balloon_cfg_written,
};

/* ---- the host's side ---- */

static struct virtio *balloon_needed(struct vm *vm, struct err *e)
{
	struct virtio *v = balloon_find(vm);

	if (!v)
		err_set(e, ENODEV,
			"this machine has no balloon; give it one with"
			" -device virtio-balloon-pci");
	return v;
}

int balloon_set_target(struct vm *vm, uint64_t bytes, struct err *e)
{
	struct virtio *v = balloon_needed(vm, e);
	uint32_t pages;

	if (!v)
		return -ENODEV;
	if (!bytes)
		return err_set(e, EINVAL, "a guest cannot do with no memory at all");
	bytes = MIN(bytes, vm->ram->size);
	pages = (uint32_t)((vm->ram->size - bytes) >> PAGE_SHIFT_);
	trace_virtio_balloon_to_target(bytes, pages);
	pthread_mutex_lock(&v->dev->lock);
	st_le32(v->cfg + CFG_NUM_PAGES, pages);
	virtio_cfg_changed(v);
	pthread_mutex_unlock(&v->dev->lock);
	return 0;
}

int balloon_get_actual(struct vm *vm, uint64_t *bytes, struct err *e)
{
	struct virtio *v = balloon_needed(vm, e);

	if (!v)
		return -ENODEV;
	pthread_mutex_lock(&v->dev->lock);
	*bytes = memory_left(v, CFG_ACTUAL);
	pthread_mutex_unlock(&v->dev->lock);
	return 0;
}

static json_t *get_stats(struct dev *d, struct err *e)
{
	struct virtio_balloon *b = balloon_of(virtio_of(d));
	json_t *stats = json_object(), *all;

	pthread_mutex_lock(&d->lock);
	for (unsigned i = 0; i < NR_STATS; i++)
		if (b->stats_known >> i & 1)
			json_object_set_new(
				stats, stat_names[i],
				json_integer((json_int_t)MIN(b->stat[i], (uint64_t)INT64_MAX)));
	all = json_pack("{s:o, s:I}", "stats", stats, "last-update", (json_int_t)b->stats_time);
	pthread_mutex_unlock(&d->lock);
	if (!all)
		err_set(e, ENOMEM, "no memory for the statistics");
	return all;
}

static json_t *get_interval(struct dev *d, struct err *e)
{
	return json_integer(balloon_of(virtio_of(d))->poll_s);
}

static int set_interval(struct dev *d, const json_t *val, struct err *e)
{
	struct virtio_balloon *b = balloon_of(virtio_of(d));
	json_int_t s = json_is_integer(val) ? json_integer_value(val) : -1;

	if (s < 0 || s > UINT32_MAX)
		return err_set(e, EINVAL,
			       "guest-stats-polling-interval is a number of seconds, 0 (never) to"
			       " %u",
			       UINT32_MAX);
	pthread_mutex_lock(&d->lock);
	b->poll_s = (uint32_t)s;
	if (s && b->v.started)
		ask_for_stats(b);
	arm_poll(b);
	pthread_mutex_unlock(&d->lock);
	return 0;
}

static const struct dev_attr balloon_attrs[] = {
	{ "guest-stats", "guest statistics", "what the guest says of its memory", get_stats, NULL },
	{ "guest-stats-polling-interval", "int", "seconds between questions, 0 = never",
	  get_interval, set_interval },
	{ 0 },
};

#define BALLOON_PROPS(type)                                                 \
	PROP_FLAG("deflate-on-oom", type, x.p_deflate_on_oom, 0,            \
		  "the guest may take pages out when it is out of memory"), \
		PROP_FLAG("free-page-reporting", type, x.p_reporting, 0,    \
			  "the guest reports free pages, which go back to the host"),

#define S struct virtio_balloon
static const struct state_desc balloon_state = {
	.name = "virtio-balloon",
	.struct_name = "virtio_balloon",
	.version = 1,
	.fields = (const struct state_field[]){ ST_SUB(S, v, &virtio_state),
						ST_HOST(S, p_deflate_on_oom),
						ST_HOST(S, p_reporting), ST_U64A(S, stat),
						ST_U16(S, stats_known), ST_U64(S, stats_time),
						ST_HOST(S, poll_s), ST_HOST(S, poll),
						ST_HOST(S, more), ST_HOST(S, iov), ST_END },
};
#undef S

VIRTIO_DEVICE_ATTRS(virtio_balloon, balloon_virtio, balloon_state, BALLOON_PROPS, balloon_attrs,
		    "virtio-balloon", "memory that the guest gives back to the host");
