/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of block nodes, over every cache mode and both engines, against a model in memory;
 * and system calls that fail, stop short or are interrupted (the linker's --wrap puts the
 * functions here, by their names for 64-bit offsets, between src/block/file.c and libc).
 */
#include "base/base.h"

#include "block/block.h"
#include "block/block_int.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define IMAGE_SIZE MIB(2)

/* ---- faults ---- */

static struct {
	int eintr;  /* so many calls fail with EINTR first */
	size_t max; /* 0, or transfer at most so much a call */
	int error;  /* 0, or fail with this */
	int sync_error, falloc_error;
	bool no_dsync;
	unsigned calls, syncs, dsync, fallocs;
	unsigned delay_us; /* of a read */
	atomic_uint reading, most_reading;
} fault;

ssize_t __real_preadv64(int fd, const struct iovec *v, int n, off_t off);
ssize_t __real_pwritev64(int fd, const struct iovec *v, int n, off_t off);
ssize_t __real_pwritev64v2(int fd, const struct iovec *v, int n, off_t off, int flags);
int __real_fdatasync(int fd);
int __real_fallocate64(int fd, int mode, off_t off, off_t len);
ssize_t __wrap_preadv64(int fd, const struct iovec *v, int n, off_t off);
ssize_t __wrap_pwritev64(int fd, const struct iovec *v, int n, off_t off);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *v, int n, off_t off, int flags);
int __wrap_fdatasync(int fd);
int __wrap_fallocate64(int fd, int mode, off_t off, off_t len);

static ssize_t faulty(void)
{
	fault.calls++;
	if (fault.eintr) {
		fault.eintr--;
		errno = EINTR;
		return -1;
	}
	if (fault.error) {
		errno = fault.error;
		return -1;
	}
	return 0;
}

static struct iovec shortened(const struct iovec *v)
{
	return (struct iovec){ v->iov_base, MIN(v->iov_len, fault.max) };
}

static void dawdle(void)
{
	unsigned now = atomic_fetch_add(&fault.reading, 1) + 1;
	unsigned most = atomic_load(&fault.most_reading);

	while (now > most && !atomic_compare_exchange_weak(&fault.most_reading, &most, now))
		;
	if (fault.delay_us)
		usleep(fault.delay_us);
	atomic_fetch_sub(&fault.reading, 1);
}

ssize_t __wrap_preadv64(int fd, const struct iovec *v, int n, off_t off)
{
	struct iovec one;

	dawdle();
	if (faulty())
		return -1;
	if (!fault.max)
		return __real_preadv64(fd, v, n, off);
	one = shortened(v);
	return __real_preadv64(fd, &one, 1, off);
}

ssize_t __wrap_pwritev64(int fd, const struct iovec *v, int n, off_t off)
{
	struct iovec one;

	if (faulty())
		return -1;
	if (!fault.max)
		return __real_pwritev64(fd, v, n, off);
	one = shortened(v);
	return __real_pwritev64(fd, &one, 1, off);
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *v, int n, off_t off, int flags)
{
	if (fault.no_dsync) {
		errno = EOPNOTSUPP;
		return -1;
	}
	fault.dsync++;
	return __real_pwritev64v2(fd, v, n, off, flags);
}

int __wrap_fdatasync(int fd)
{
	fault.syncs++;
	if (fault.sync_error) {
		errno = fault.sync_error;
		return -1;
	}
	return __real_fdatasync(fd);
}

int __wrap_fallocate64(int fd, int mode, off_t off, off_t len)
{
	fault.fallocs++;
	if (fault.falloc_error) {
		errno = fault.falloc_error;
		return -1;
	}
	return __real_fallocate64(fd, mode, off, len);
}

/* ---- fixture ---- */

struct fix {
	struct loop *loop;
	char path[64];
	struct blk_node *node;
};

struct waiting {
	struct blk_req r;
	bool done;
	int ret;
};

static void on_done(struct blk_req *r, int ret)
{
	struct waiting *w = container_of(r, struct waiting, r);

	assert_false(w->done);
	w->done = true;
	w->ret = ret;
}

static int setup(void **state)
{
	struct fix *f = xnew(struct fix);
	struct err e;
	int fd;

	memset(&fault, 0, sizeof(fault));
	f->loop = loop_new(&e);
	assert_non_null(f->loop);
	strcpy(f->path, "blk-test.XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, IMAGE_SIZE), 0);
	close(fd);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	blk_close(f->node);
	unlink(f->path);
	loop_free(f->loop);
	free(f);
	return 0;
}

static struct blk_node *open_with(struct fix *f, const char *const *kv, struct err *e)
{
	struct vm_conf *conf = vm_conf_new();
	struct conf_node *c = conf_add(conf, CONF_DRIVE, NULL, "d", "test");
	struct blk_node *n;

	conf_set(c, "file", f->path);
	for (; kv && kv[0]; kv += 2)
		conf_set(c, kv[0], kv[1]);
	n = blk_open(f->loop, c, e);
	vm_conf_free(conf);
	return n;
}

#define OPEN(f, ...) open_with((f), (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL }, &err)

static void submit(struct fix *f, struct waiting *w)
{
	w->done = false;
	w->r.done = on_done;
	blk_submit(f->node, &w->r);
	assert_false(w->done);
}

static int wait_for(struct fix *f, struct waiting *w)
{
	for (int i = 0; i < 5000 && !w->done; i++)
		loop_once(f->loop, 10);
	assert_true(w->done);
	return w->ret;
}

static int run(struct fix *f, struct blk_req r)
{
	struct waiting w = { .r = r };

	submit(f, &w);
	return wait_for(f, &w);
}

static int rw(struct fix *f, enum blk_op op, uint64_t off, void *buf, uint64_t len)
{
	struct iovec v = { buf, len };

	return run(f, (struct blk_req){ .op = op, .off = off, .len = len, .iov = &v, .niov = 1 });
}

/* ---- the model ---- */

#define SLOTS 24

struct slot {
	struct waiting w;
	struct iovec iov[5];
	char *buf;
	bool busy;
};

static uint32_t rnd(uint32_t *s)
{
	*s = *s * 1664525 + 1013904223;
	return *s >> 8;
}

/* Cuts the slot's buffer into pieces of odd places, so that direct I/O has to bounce at times. */
static void cut(struct slot *s, uint64_t len, uint32_t *seed)
{
	char *p = s->buf + (rnd(seed) % 3 ? 0 : 4 * (1 + rnd(seed) % 60));
	unsigned n = 0;

	while (n < 4 && len > 512 && rnd(seed) % 2) {
		uint64_t part = rnd(seed) % 3 ? 512 * (1 + rnd(seed) % (len / 512))
					      : 1 + rnd(seed) % (len - 1);

		part = MIN(part, len - 1);
		s->iov[n++] = (struct iovec){ p, part };
		p += part;
		len -= part;
	}
	s->iov[n++] = (struct iovec){ p, len };
	s->w.r.iov = s->iov;
	s->w.r.niov = n;
}

static void fill(struct slot *s, uint8_t *model, uint32_t *seed)
{
	uint64_t at = s->w.r.off;

	for (unsigned i = 0; i < s->w.r.niov; i++) {
		uint8_t *p = s->iov[i].iov_base;

		for (size_t k = 0; k < s->iov[i].iov_len; k++)
			model[at++] = p[k] = (uint8_t)rnd(seed);
	}
}

static void compare(const struct slot *s, const uint8_t *model)
{
	uint64_t at = s->w.r.off;

	for (unsigned i = 0; i < s->w.r.niov; i++) {
		assert_memory_equal(s->iov[i].iov_base, model + at, s->iov[i].iov_len);
		at += s->iov[i].iov_len;
	}
}

static bool overlaps(struct slot *slots, uint64_t off, uint64_t len)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (slots[i].busy && off < slots[i].w.r.off + slots[i].w.r.len &&
		    slots[i].w.r.off < off + len)
			return true;
	return false;
}

static void retire(struct slot *s, uint8_t *model)
{
	if (!s->busy || !s->w.done)
		return;
	assert_int_equal(s->w.ret, 0);
	if (s->w.r.op == BLK_READ)
		compare(s, model);
	s->busy = false;
}

static void start_random(struct fix *f, struct slot *slots, struct slot *s, uint8_t *model,
			 uint32_t *seed)
{
	const struct blk_info *info = blk_info(f->node);
	uint64_t sectors = info->size / info->sector;
	uint64_t off = rnd(seed) % sectors;
	uint64_t len = 1 + rnd(seed) % MIN(sectors - off, 128);

	off *= info->sector;
	len *= info->sector;
	if (overlaps(slots, off, len))
		return;
	s->w.r = (struct blk_req){ .op = rnd(seed) % 5,
				   .off = off,
				   .len = len,
				   .unmap = rnd(seed) % 2,
				   .fua = rnd(seed) % 4 == 0 };
	if (s->w.r.op == BLK_FLUSH)
		s->w.r.len = s->w.r.off = 0;
	cut(s, len, seed);
	if (s->w.r.op == BLK_WRITE)
		fill(s, model, seed);
	else if (s->w.r.op == BLK_ZERO)
		memset(model + off, 0, len);
	else if (s->w.r.op == BLK_DISCARD && !info->can_discard)
		; /* keeps the data */
	else if (s->w.r.op == BLK_DISCARD)
		memset(model + off, 0, len);
	s->busy = true;
	submit(f, &s->w);
}

/* Random requests, many in flight, none overlapping; every read is compared with the model. */
static void random_work(struct fix *f, unsigned rounds, uint32_t seed)
{
	uint8_t *model = xcalloc(1, blk_info(f->node)->size);
	struct slot *slots = xnew_n(struct slot, SLOTS);

	for (unsigned i = 0; i < SLOTS; i++)
		assert_int_equal(posix_memalign((void **)&slots[i].buf, 4096, 128 * 4096 + 4096),
				 0);
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < SLOTS; i++)
			if (!slots[i].busy)
				start_random(f, slots, &slots[i], model, &seed);
		if (round % 50 == 49)
			blk_drain(f->node);
		else
			loop_once(f->loop, 20);
		for (unsigned i = 0; i < SLOTS; i++)
			retire(&slots[i], model);
	}
	blk_drain(f->node);
	for (unsigned i = 0; i < SLOTS; i++) {
		retire(&slots[i], model);
		assert_false(slots[i].busy);
	}
	for (uint64_t off = 0; off < blk_info(f->node)->size; off += KIB(64)) {
		slots[0].w.r.off = off;
		slots[0].w.r.niov = 1;
		slots[0].iov[0] = (struct iovec){ slots[0].buf, KIB(64) };
		assert_int_equal(rw(f, BLK_READ, off, slots[0].buf, KIB(64)), 0);
		compare(&slots[0], model);
	}
	for (unsigned i = 0; i < SLOTS; i++)
		free(slots[i].buf);
	free(slots);
	free(model);
}

static void contract(void **state, const char *cache, const char *aio, const char *discard)
{
	struct fix *f = *state;
	struct err err;

	f->node = OPEN(f, "cache", cache, "aio", aio, "discard", discard);
	if (!f->node && (err.code == EINVAL || err.code == EPERM || err.code == ENOSYS)) {
		print_message("%s\n", err.msg); /* no O_DIRECT or io_uring here */
		skip();
	}
	assert_non_null(f->node);
	assert_string_equal(blk_engine(f->node), aio);
	assert_int_equal(blk_info(f->node)->size, IMAGE_SIZE);
	random_work(f, 150, 1);
}

#define CONTRACT(cache, aio, discard)                      \
	static void contract_##cache##_##aio(void **state) \
	{                                                  \
		contract(state, #cache, #aio, discard);    \
	}
CONTRACT(writeback, io_uring, "unmap")
CONTRACT(writeback, threads, "unmap")
CONTRACT(none, io_uring, "ignore")
CONTRACT(none, threads, "unmap")
CONTRACT(writethrough, io_uring, "unmap")
CONTRACT(writethrough, threads, "ignore")
CONTRACT(directsync, io_uring, "unmap")
CONTRACT(directsync, threads, "unmap")
CONTRACT(unsafe, io_uring, "unmap")
CONTRACT(unsafe, threads, "unmap")

/* ---- edges ---- */

static void edges(struct fix *f)
{
	char buf[1024] = { 0 };

	assert_int_equal(rw(f, BLK_READ, IMAGE_SIZE - 512, buf, 512), 0);
	assert_int_equal(rw(f, BLK_READ, IMAGE_SIZE - 512, buf, 1024), -ENXIO);
	assert_int_equal(rw(f, BLK_READ, IMAGE_SIZE + 512, buf, 512), -ENXIO);
	assert_int_equal(rw(f, BLK_READ, UINT64_MAX - 511, buf, 1024), -ENXIO);
	assert_int_equal(rw(f, BLK_WRITE, 0, buf, 100), -EINVAL);
	assert_int_equal(rw(f, BLK_WRITE, 7, buf, 512), -EINVAL);
	assert_int_equal(rw(f, BLK_READ, 0, buf, 0), 0);
}

static void test_edges(void **state)
{
	struct fix *f = *state;
	struct err err;

	f->node = OPEN(f);
	assert_non_null(f->node);
	edges(f);
	f->node = blk_close(f->node);
	f->node = OPEN(f, "aio", "threads");
	edges(f);
}

static void test_many_in_flight(void **state)
{
	struct fix *f = *state;
	struct waiting *w = xnew_n(struct waiting, 1000);
	char *buf = xcalloc(1000, 512);
	struct iovec *v = xnew_n(struct iovec, 1000);
	struct err err;

	f->node = OPEN(f);
	for (unsigned i = 0; i < 1000; i++) {
		memset(buf + 512 * i, i, 512);
		v[i] = (struct iovec){ buf + 512 * i, 512 };
		w[i].r = (struct blk_req){
			.op = BLK_WRITE, .off = 512 * i, .len = 512, .iov = &v[i], .niov = 1
		};
		submit(f, &w[i]);
	}
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(wait_for(f, &w[i]), 0);
	for (unsigned i = 0; i < 1000; i++) {
		uint8_t got[512], want[512];

		memset(want, i, 512);
		assert_int_equal(rw(f, BLK_READ, 512 * i, got, 512), 0);
		assert_memory_equal(got, want, 512);
	}
	free(v);
	free(buf);
	free(w);
}

/* A burst gets as many workers as it has requests, also when one is at hand already. */
static void test_burst_in_parallel(void **state)
{
	struct fix *f = *state;
	struct waiting w[8];
	char buf[8][512];
	struct iovec v[8];
	struct err err;

	f->node = OPEN(f, "aio", "threads");
	fault.delay_us = 50000;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 8; i++) {
			v[i] = (struct iovec){ buf[i], 512 };
			w[i].r = (struct blk_req){
				.op = BLK_READ, .off = 512 * i, .len = 512, .iov = &v[i], .niov = 1
			};
		}
		for (unsigned i = 0; i < (round ? 8 : 1); i++)
			submit(f, &w[i]);
		for (unsigned i = 0; i < (round ? 8 : 1); i++)
			assert_int_equal(wait_for(f, &w[i]), 0);
	}
	assert_in_range(atomic_load(&fault.most_reading), 6, 8);
}

/* The last sector is there in part only: the rest reads as zeroes and can be written. */
static void tail(void **state, const char *cache, const char *aio)
{
	struct fix *f = *state;
	uint8_t buf[1024], want[512];
	uint32_t sector;
	struct stat st;
	struct err err;

	assert_int_equal(truncate(f->path, 1000), 0);
	f->node = OPEN(f, "cache", cache, "aio", aio);
	if (!f->node)
		skip();
	sector = blk_info(f->node)->sector;
	if (sector > 512)
		skip();
	assert_int_equal(blk_info(f->node)->size, 1024);
	memset(buf, 0xaa, sizeof(buf));
	assert_int_equal(rw(f, BLK_READ, 0, buf, 1024), 0);
	for (unsigned i = 0; i < 1024; i++)
		assert_int_equal(buf[i], 0);
	memset(want, 0x5a, sizeof(want));
	assert_int_equal(rw(f, BLK_WRITE, 512, want, 512), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, 1024);
	assert_int_equal(rw(f, BLK_READ, 512, buf, 512), 0);
	assert_memory_equal(buf, want, 512);
}

static void test_tail_uring(void **state)
{
	tail(state, "writeback", "native");
}

static void test_tail_threads(void **state)
{
	tail(state, "writeback", "threads");
}

static void test_tail_direct(void **state)
{
	tail(state, "none", "threads");
}

static void test_tail_direct_uring(void **state)
{
	tail(state, "none", "native");
}

static void test_read_only(void **state)
{
	struct fix *f = *state;
	struct blk_node *second;
	char buf[512] = { 0 };
	struct err err;

	assert_int_equal(chmod(f->path, 0444), 0);
	f->node = OPEN(f, "readonly", "on");
	assert_non_null(f->node);
	assert_true(blk_info(f->node)->read_only);
	assert_int_equal(rw(f, BLK_READ, 0, buf, 512), 0);
	assert_int_equal(rw(f, BLK_WRITE, 0, buf, 512), -EROFS);
	assert_int_equal(run(f, (struct blk_req){ .op = BLK_ZERO, .len = 512 }), -EROFS);
	assert_int_equal(run(f, (struct blk_req){ .op = BLK_DISCARD, .len = 512 }), -EROFS);
	assert_int_equal(run(f, (struct blk_req){ .op = BLK_FLUSH }), 0);
	second = OPEN(f, "readonly", "on"); /* readers do not mind each other */
	assert_non_null(second);
	blk_close(second);
}

static void test_lock(void **state)
{
	struct fix *f = *state;
	struct blk_node *second;
	struct err err;

	f->node = OPEN(f);
	assert_non_null(f->node);
	assert_null(OPEN(f));
	assert_int_equal(err.code, EBUSY);
	assert_non_null(strstr(err.msg, f->path));
	assert_null(OPEN(f, "readonly", "on"));
	second = OPEN(f, "locking", "off");
	assert_non_null(second);
	blk_close(second);
	f->node = blk_close(f->node);
	f->node = OPEN(f, "readonly", "on");
	assert_non_null(f->node);
	assert_null(OPEN(f)); /* nor may one write what another reads */
	assert_int_equal(err.code, EBUSY);
}

static void test_bad_options(void **state)
{
	struct fix *f = *state;
	struct err err;

	assert_null(OPEN(f, "cache", "fast"));
	assert_non_null(strstr(err.msg, "writethrough"));
	assert_null(OPEN(f, "aio", "posix"));
	assert_null(OPEN(f, "discard", "maybe"));
	assert_null(OPEN(f, "format", "qcow2"));
	assert_int_equal(err.code, ENOTSUP);
	assert_null(OPEN(f, "readonly", "perhaps"));
	assert_null(OPEN(f, "cahce", "none"));
	assert_non_null(strstr(err.msg, "cache"));
	assert_int_equal(truncate(f->path, 0), 0);
	assert_null(OPEN(f));
	assert_non_null(strstr(err.msg, "empty"));
	unlink(f->path);
	assert_null(OPEN(f));
	assert_int_equal(err.code, ENOENT);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_null(OPEN(f));
	unlink(f->path);
	assert_int_equal(mkdir(f->path, 0700), 0);
	assert_null(OPEN(f));
	assert_null(OPEN(f, "readonly", "on"));
	assert_non_null(strstr(err.msg, "directory"));
	assert_int_equal(rmdir(f->path), 0);
}

/* ---- faults ---- */

static void test_short_and_interrupted(void **state)
{
	struct fix *f = *state;
	struct err err;

	f->node = OPEN(f, "aio", "threads");
	fault.max = 700;
	fault.eintr = 40;
	random_work(f, 40, 7);
	assert_int_equal(fault.eintr, 0);
}

static void test_errors_pass(void **state)
{
	struct fix *f = *state;
	static char buf[4096];
	struct err err;

	f->node = OPEN(f, "aio", "threads");
	fault.error = ENOSPC;
	assert_int_equal(rw(f, BLK_WRITE, 0, buf, 4096), -ENOSPC);
	fault.error = EIO;
	assert_int_equal(rw(f, BLK_READ, 0, buf, 4096), -EIO);
	fault.error = 0;
	assert_int_equal(rw(f, BLK_WRITE, 0, buf, 4096), 0);
	fault.falloc_error = ENOSPC;
	assert_int_equal(run(f, (struct blk_req){ .op = BLK_ZERO, .len = 4096 }), -ENOSPC);
	fault.falloc_error = EIO;
	assert_int_equal(run(f, (struct blk_req){ .op = BLK_DISCARD, .len = 4096 }), 0);
	f->node = blk_close(f->node);
	f->node = OPEN(f, "aio", "threads", "discard", "unmap");
	assert_int_equal(run(f, (struct blk_req){ .op = BLK_DISCARD, .len = 4096 }), -EIO);
}

/* What a failed flush lost stays lost: later ones must not say that all is well. */
static void test_flush_failure_sticks(void **state)
{
	struct fix *f = *state;
	struct err err;

	f->node = OPEN(f, "aio", "threads");
	assert_int_equal(run(f, (struct blk_req){ .op = BLK_FLUSH }), 0);
	fault.sync_error = EIO;
	assert_int_equal(run(f, (struct blk_req){ .op = BLK_FLUSH }), -EIO);
	fault.sync_error = 0;
	assert_int_equal(run(f, (struct blk_req){ .op = BLK_FLUSH }), -EIO);
	assert_int_equal(fault.syncs, 2);
}

/* Without fallocate() zeroes are written, also far more than one buffer of them. */
static void test_zero_fallback(void **state)
{
	struct fix *f = *state;
	static uint8_t buf[MIB(2)];
	struct err err;

	f->node = OPEN(f, "aio", "threads", "discard", "unmap");
	memset(buf, 0xee, sizeof(buf));
	assert_int_equal(rw(f, BLK_WRITE, 0, buf, sizeof(buf)), 0);
	fault.falloc_error = EOPNOTSUPP;
	assert_int_equal(run(f, (struct blk_req){ .op = BLK_ZERO,
						  .off = 512,
						  .unmap = true,
						  .len = sizeof(buf) - 1024 }),
			 0);
	assert_int_equal(fault.fallocs, 2);
	assert_int_equal(run(f, (struct blk_req){ .op = BLK_DISCARD, .len = 512 }), 0);
	assert_int_equal(fault.fallocs, 2); /* it remembers */
	assert_int_equal(rw(f, BLK_READ, 0, buf, sizeof(buf)), 0);
	assert_int_equal(buf[511], 0xee);
	assert_int_equal(buf[sizeof(buf) - 512], 0xee);
	for (size_t i = 512; i < sizeof(buf) - 512; i++)
		assert_int_equal(buf[i], 0);
}

static void test_fua(void **state)
{
	struct fix *f = *state;
	char buf[512] = { 1 };
	struct iovec v = { buf, 512 };
	struct blk_req r = { .op = BLK_WRITE, .len = 512, .iov = &v, .niov = 1, .fua = true };
	struct err err;

	f->node = OPEN(f, "aio", "threads");
	assert_int_equal(run(f, r), 0);
	assert_int_equal(fault.dsync, 1);
	fault.no_dsync = true; /* an old kernel or an odd file system: fdatasync() instead */
	assert_int_equal(run(f, r), 0);
	assert_int_equal(fault.syncs, 1);
	f->node = blk_close(f->node);

	fault.no_dsync = false;
	f->node = OPEN(f, "aio", "threads", "cache", "writethrough");
	assert_false(blk_info(f->node)->write_cache);
	r.fua = false;
	assert_int_equal(run(f, r), 0);
	assert_int_equal(fault.dsync, 2);
	f->node = blk_close(f->node);

	f->node = OPEN(f, "aio", "threads", "cache", "unsafe");
	r.fua = true;
	assert_int_equal(run(f, r), 0);
	assert_int_equal(run(f, (struct blk_req){ .op = BLK_FLUSH }), 0);
	assert_int_equal(fault.dsync, 2);
	assert_int_equal(fault.syncs, 1);
}

static void test_judge(void **state)
{
	struct blk_req r = { .op = BLK_READ, .len = 4096 };

	assert_int_equal(blk_judge(&r, 4096), BLK_V_DONE);
	assert_int_equal(blk_judge(&r, -EIO), BLK_V_ERROR);
	assert_int_equal(blk_judge(&r, -EINTR), BLK_V_REST);
	assert_int_equal(blk_judge(&r, -EAGAIN), BLK_V_REST);
	assert_int_equal(BLK_DONE(&r), 0);
	assert_int_equal(blk_judge(&r, 1000), BLK_V_REST);
	assert_int_equal(BLK_DONE(&r), 1000);
	r = (struct blk_req){ .op = BLK_FLUSH };
	assert_int_equal(blk_judge(&r, 0), BLK_V_DONE);
	r = (struct blk_req){ .op = BLK_WRITE, .len = 512, .fua = true };
	assert_int_equal(blk_judge(&r, -EOPNOTSUPP), BLK_V_REST);
	r.fua = false;
	assert_int_equal(blk_judge(&r, -EOPNOTSUPP), BLK_V_ERROR);
}

/* Each counter says what happened, and nothing of what did not. */
static void test_stats(void **state)
{
	struct fix *f = *state;
	static char buf[8192] __attribute__((aligned(4096)));
	struct blk_stats s;
	struct err err;

	f->node = OPEN(f, "aio", "threads");
	assert_non_null(f->node);
	blk_get_stats(f->node, &s);
	assert_int_equal(s.op[BLK_READ].done, 0);
	assert_int_equal(s.idle_ns, 0);
	assert_int_equal(rw(f, BLK_WRITE, 4096, buf, 8192), 0);
	assert_int_equal(rw(f, BLK_WRITE, 0, buf, 512), 0);
	fault.delay_us = 2000;
	assert_int_equal(rw(f, BLK_READ, 512, buf, 1024), 0);
	assert_int_equal(run(f, (struct blk_req){ .op = BLK_FLUSH }), 0);
	assert_int_equal(rw(f, BLK_READ, IMAGE_SIZE, buf, 512), -ENXIO);
	fault.error = EIO;
	assert_int_equal(rw(f, BLK_READ, 0, buf, 512), -EIO);
	blk_get_stats(f->node, &s);
	assert_int_equal(s.op[BLK_WRITE].done, 2);
	assert_int_equal(s.op[BLK_WRITE].bytes, 8192 + 512);
	assert_int_equal(s.wr_highest, 4096 + 8192);
	assert_int_equal(s.op[BLK_READ].done, 1);
	assert_int_equal(s.op[BLK_READ].bytes, 1024);
	assert_int_equal(s.op[BLK_READ].invalid, 1);
	assert_int_equal(s.op[BLK_READ].failed, 1);
	assert_true(s.op[BLK_READ].ns >= 2000000);
	assert_int_equal(s.op[BLK_FLUSH].done, 1);
	assert_int_equal(s.op[BLK_FLUSH].bytes, 0);
	assert_int_equal(s.op[BLK_DISCARD].done + s.op[BLK_ZERO].done, 0);
	assert_true(s.idle_ns > 0);
	assert_string_equal(blk_path(f->node), f->path);
	assert_true(blk_allocated(f->node) >= 4096 && blk_allocated(f->node) <= IMAGE_SIZE);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(contract_writeback_io_uring),
		T(contract_writeback_threads),
		T(contract_none_io_uring),
		T(contract_none_threads),
		T(contract_writethrough_io_uring),
		T(contract_writethrough_threads),
		T(contract_directsync_io_uring),
		T(contract_directsync_threads),
		T(contract_unsafe_io_uring),
		T(contract_unsafe_threads),
		T(test_edges),
		T(test_many_in_flight),
		T(test_burst_in_parallel),
		T(test_tail_uring),
		T(test_tail_threads),
		T(test_tail_direct),
		T(test_tail_direct_uring),
		T(test_read_only),
		T(test_lock),
		T(test_bad_options),
		T(test_short_and_interrupted),
		T(test_errors_pass),
		T(test_flush_failure_sticks),
		T(test_zero_fallback),
		T(test_fua),
		T(test_stats),
		cmocka_unit_test(test_judge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
