/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio block device on a real file: every request type, limits and lies of a driver, reset
 * and pause with requests in flight, a vCPU thread that resets while the loop works, state.
 */
#include "base/base.h"

#include "block/block.h"
#include "core/backend.h"
#include "core/dev.h"
#include "core/object.h"
#include "vdrv.h"
#include "virtio/virtio_blk.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define IMAGE	    MIB(4)
#define SECTORS	    (IMAGE / 512)
#define IN	    0u
#define OUT	    1u
#define FLUSH	    4u
#define GET_ID	    8u
#define DISCARD	    11u
#define ZEROES	    13u
#define F_FLUSH	    BIT64(9)
#define F_WCE	    BIT64(11)
#define F_MQ	    BIT64(12)
#define F_RESET	    BIT64(VIRTIO_F_RING_RESET)
#define NEEDS_RESET 0x40

struct fix {
	struct rig rig;
	struct vdrv d;
	char path[32];
	struct virtio_blk *b;
};

static void close_blk(void *p)
{
	blk_close(p);
}

static void add_drive(struct fix *f, const char *const *kv)
{
	struct conf_node *c = conf_add(f->rig.vm.conf, CONF_DRIVE, NULL, "d0", "test");
	struct err e = { 0 };
	struct blk_node *n;

	conf_set(c, "file", f->path);
	for (; kv && kv[0]; kv += 2)
		conf_set(c, kv[0], kv[1]);
	n = blk_open(f->rig.vm.loop, c, &e);
	if (!n)
		fail_msg("%s", e.msg);
	assert_int_equal(backend_add_take(&f->rig.vm, BACKEND_BLOCK, "d0", n, close_blk, &e), 0);
}

static int setup(void **state)
{
	struct fix *f = xnew(struct fix);
	int fd;

	strcpy(f->path, "vblk-test.XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, IMAGE), 0);
	close(fd);
	rig_init(&f->rig);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	rig_fini(&f->rig);
	unlink(f->path);
	free(f);
	return 0;
}

static void make_with(struct fix *f, const char *const *drive, const char *const *dev)
{
	struct err e = { 0 };
	struct pci_dev *p;

	add_drive(f, drive);
	p = rig_device(&f->rig, "virtio-blk-pci", dev, &e);
	if (!p)
		fail_msg("%s", e.msg);
	f->b = container_of(virtio_of(&p->d), struct virtio_blk, v);
	vdrv_find(&f->d, &f->rig, p);
}

#define KV(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define DEV	"drive", "d0"

static void make(struct fix *f)
{
	make_with(f, NULL, KV(DEV));
	assert_true(vdrv_start(&f->d, F_FLUSH));
}

/* ---- requests ---- */

struct reqmem {
	uint64_t hdr, data, status;
};

static struct reqmem reqmem(struct fix *f, uint64_t len)
{
	return (struct reqmem){ rig_alloc(&f->rig, 16), rig_alloc(&f->rig, len + 1),
				rig_alloc(&f->rig, 1) };
}

static void header(struct fix *f, uint64_t at, uint32_t type, uint64_t sector)
{
	uint8_t *p = rig_ptr(&f->rig, at);

	st_le32(p, type);
	st_le32(p + 4, 0);
	st_le64(p + 8, sector);
}

static int post(struct fix *f, unsigned q, const struct reqmem *m, uint32_t type, uint64_t sector,
		uint32_t len, bool to_guest)
{
	struct vbuf b[3] = { { m->hdr, 16, false },
			     { m->data, len, to_guest },
			     { m->status, 1, true } };

	header(f, m->hdr, type, sector);
	*(uint8_t *)rig_ptr(&f->rig, m->status) = 0xee;
	if (!len)
		b[1] = b[2];
	return vdrv_add(&f->d, q, b, len ? 3 : 2);
}

static int status_of(struct fix *f, const struct reqmem *m)
{
	return *(uint8_t *)rig_ptr(&f->rig, m->status);
}

/* One request from beginning to end; its status byte. */
static int run(struct fix *f, uint32_t type, uint64_t sector, void *data, uint32_t len)
{
	uint64_t heap = f->rig.heap;
	struct reqmem m = reqmem(f, len);
	bool to_guest = type == IN || type == GET_ID;
	uint32_t written;
	int head;

	if (len && !to_guest)
		memcpy(rig_ptr(&f->rig, m.data), data, len);
	head = post(f, 0, &m, type, sector, len, to_guest);
	vdrv_kick(&f->d, 0);
	assert_int_equal(vdrv_wait(&f->d, 0, &written), head);
	assert_int_equal(written, to_guest ? len + 1 : 1);
	if (len && to_guest)
		memcpy(data, rig_ptr(&f->rig, m.data), len);
	rig_rewind(&f->rig, heap);
	return status_of(f, &m);
}

static void pattern(uint8_t *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * 7 + seed + (i >> 9));
}

static void file_equals(struct fix *f, uint64_t off, const void *want, size_t len)
{
	uint8_t *got = xcalloc(1, len);
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(pread(fd, got, len, (off_t)off), len);
	assert_memory_equal(got, want, len);
	close(fd);
	free(got);
}

static void test_read_write(void **state)
{
	struct fix *f = *state;
	static uint8_t a[65536], b[65536];
	unsigned before;

	make(f);
	pattern(a, sizeof(a), 1);
	before = f->rig.msis + (unsigned)f->rig.intx;
	assert_int_equal(run(f, OUT, 100, a, sizeof(a)), 0);
	file_equals(f, 100 * 512, a, sizeof(a));
	assert_int_equal(run(f, IN, 100, b, sizeof(b)), 0);
	assert_memory_equal(a, b, sizeof(a));
	assert_int_equal(run(f, IN, SECTORS - 1, b, 512), 0);
	assert_int_equal(run(f, FLUSH, 0, NULL, 0), 0);
	assert_true(f->rig.msis + (unsigned)f->rig.intx > before);
}

/* A guest may cut header, data and status as it likes (VERSION_1 has no fixed layout). */
static void test_odd_layout(void **state)
{
	struct fix *f = *state;
	uint8_t want[1024];
	uint64_t out, in;
	struct vbuf b[4];

	make(f);
	pattern(want, sizeof(want), 3);
	out = rig_alloc(&f->rig, 16 + 1024);
	in = rig_alloc(&f->rig, 1025);
	header(f, out, OUT, 8);
	memcpy(rig_ptr(&f->rig, out + 16), want, 1024);
	b[0] = (struct vbuf){ out, 7, false };
	b[1] = (struct vbuf){ out + 7, 500, false };
	b[2] = (struct vbuf){ out + 507, 533, false };
	b[3] = (struct vbuf){ in, 1, true };
	vdrv_add(&f->d, 0, b, 4);
	vdrv_kick(&f->d, 0);
	assert_true(vdrv_wait(&f->d, 0, NULL) >= 0);
	assert_int_equal(*(uint8_t *)rig_ptr(&f->rig, in), 0);
	file_equals(f, 8 * 512, want, 1024);
	header(f, out, IN, 8);
	b[0] = (struct vbuf){ out, 16, false };
	b[1] = (struct vbuf){ in, 3, true };
	b[2] = (struct vbuf){ in + 3, 1022, true }; /* the last of them is the status */
	vdrv_add(&f->d, 0, b, 3);
	vdrv_kick(&f->d, 0);
	assert_true(vdrv_wait(&f->d, 0, NULL) >= 0);
	assert_memory_equal(rig_ptr(&f->rig, in), want, 1024);
	assert_int_equal(*(uint8_t *)rig_ptr(&f->rig, in + 1024), 0);
}

static void test_bad_places(void **state)
{
	struct fix *f = *state;
	static uint8_t buf[4096], want[4096];

	make(f);
	assert_int_equal(run(f, IN, SECTORS, buf, 512), 1);
	assert_int_equal(run(f, IN, SECTORS - 1, buf, 1024), 1);
	assert_int_equal(run(f, IN, UINT64_MAX, buf, 512), 1);
	assert_int_equal(run(f, IN, UINT64_MAX / 512, buf, 512), 1);
	assert_int_equal(run(f, IN, 1ull << 55, buf, 512), 1);
	assert_int_equal(run(f, OUT, SECTORS - 7, buf, 4096), 1);
	assert_int_equal(run(f, IN, 0, buf, 511), 1);
	assert_int_equal(run(f, OUT, 0, buf, 100), 1);
	assert_int_equal(run(f, 99, 0, NULL, 0), 2);
	assert_int_equal(run(f, 2, 0, buf, 512), 2); /* SCSI of old drafts */
	file_equals(f, IMAGE - 4096, want, 4096);
	assert_int_equal(vdrv_status(&f->d), 15);
	assert_int_equal(run(f, IN, 0, buf, 512), 0);
}

static void broken_by(void **state, const struct vbuf *b, unsigned n)
{
	struct fix *f = *state;
	uint8_t buf[512];

	vdrv_add(&f->d, 0, b, n);
	vdrv_kick(&f->d, 0);
	rig_spin(&f->rig, 10);
	assert_true(vdrv_status(&f->d) & NEEDS_RESET);
	assert_true(vdrv_start(&f->d, F_FLUSH)); /* and goes on after a reset */
	assert_int_equal(run(f, IN, 0, buf, 512), 0);
}

static void test_broken_frames(void **state)
{
	struct fix *f = *state;
	uint64_t m = rig_alloc(&f->rig, 64);

	make(f);
	broken_by(state, &(struct vbuf){ m, 16, false }, 1);
	broken_by(state, &(struct vbuf){ m, 16, true }, 1);
	broken_by(state, (struct vbuf[]){ { m, 15, false }, { m + 32, 1, true } }, 2);
	broken_by(state, (struct vbuf[]){ { RIG_RAM - 8, 16, false }, { m, 1, true } }, 2);
	broken_by(state, (struct vbuf[]){ { m, 16, false }, { UINT64_MAX - 4, 16, true } }, 2);
	broken_by(state, (struct vbuf[]){ { m, 1, true }, { m, 16, false } }, 2);
}

static void test_config(void **state)
{
	struct fix *f = *state;

	make_with(f, NULL,
		  KV(DEV, "num-queues", "4", "queue-size", "128", "physical_block_size", "4096",
		     "opt_io_size", "65536", "serial", "A1"));
	assert_int_equal(vdrv_cfg(&f->d, 0, 8), SECTORS);
	assert_int_equal(vdrv_cfg(&f->d, 12, 4), 126);
	assert_int_equal(vdrv_cfg(&f->d, 20, 4), 512);
	assert_int_equal(vdrv_cfg(&f->d, 24, 1), 3);
	assert_int_equal(vdrv_cfg(&f->d, 28, 4), 128);
	assert_int_equal(vdrv_cfg(&f->d, 34, 2), 4);
	assert_int_equal(f->d.nr_vqs, 4);
	assert_true(vdrv_offered(&f->d) & F_MQ);
	assert_false(vdrv_offered(&f->d) & BIT64(5));
}

static void test_serial(void **state)
{
	struct fix *f = *state;
	char id[20], small[4];

	make_with(f, NULL, KV(DEV, "serial", "disk-0123456789abcde"));
	assert_true(vdrv_start(&f->d, 0));
	assert_int_equal(run(f, GET_ID, 0, id, sizeof(id)), 0);
	assert_memory_equal(id, "disk-0123456789abcde", 20);
	assert_int_equal(run(f, GET_ID, 0, small, sizeof(small)), 0);
	assert_memory_equal(small, "disk", 4);
}

static void test_read_only(void **state)
{
	struct fix *f = *state;
	uint8_t buf[512] = { 1 }, zero[512] = { 0 };

	make_with(f, KV("readonly", "on"), KV(DEV));
	assert_true(vdrv_offered(&f->d) & BIT64(5));
	assert_false(vdrv_offered(&f->d) & BIT64(13));
	assert_true(vdrv_start(&f->d, BIT64(5)));
	assert_int_equal(run(f, OUT, 0, buf, 512), 1);
	assert_int_equal(run(f, IN, 0, buf, 512), 0);
	assert_memory_equal(buf, zero, 512);
}

static void seg(uint8_t *p, uint64_t sector, uint32_t n, uint32_t flags)
{
	st_le64(p, sector);
	st_le32(p + 8, n);
	st_le32(p + 12, flags);
}

static void test_discard_zeroes(void **state)
{
	struct fix *f = *state;
	static uint8_t a[32768], zero[32768];
	uint8_t segs[33 * 16];

	make_with(f, KV("discard", "unmap"), KV(DEV));
	assert_true(vdrv_start(&f->d, F_FLUSH | BIT64(13) | BIT64(14)));
	pattern(a, sizeof(a), 9);
	assert_int_equal(run(f, OUT, 0, a, sizeof(a)), 0);
	seg(segs, 0, 8, 0);
	seg(segs + 16, 16, 8, 1);
	seg(segs + 32, 32, 0, 0);
	assert_int_equal(run(f, ZEROES, 0, segs, 48), 0);
	memset(a, 0, 4096);
	memset(a + 16 * 512, 0, 4096);
	file_equals(f, 0, a, sizeof(a));
	seg(segs, 8, 8, 0);
	assert_int_equal(run(f, DISCARD, 0, segs, 16), 0);
	memset(a + 4096, 0, 4096);
	file_equals(f, 0, a, sizeof(a));

	seg(segs, SECTORS - 1, 2, 0);
	assert_int_equal(run(f, DISCARD, 0, segs, 16), 1);
	seg(segs, UINT64_MAX, 2, 0);
	assert_int_equal(run(f, ZEROES, 0, segs, 16), 1);
	seg(segs, 0, UINT32_MAX, 0);
	assert_int_equal(run(f, ZEROES, 0, segs, 16), 1);
	seg(segs, 0, 1, 1); /* unmap means nothing for a discard */
	assert_int_equal(run(f, DISCARD, 0, segs, 16), 2);
	seg(segs, 0, 1, 2);
	assert_int_equal(run(f, ZEROES, 0, segs, 16), 2);
	seg(segs, 0, 1, 0);
	assert_int_equal(run(f, ZEROES, 0, segs, 15), 1);
	assert_int_equal(run(f, ZEROES, 0, segs, 17), 1);
	assert_int_equal(run(f, ZEROES, 0, segs, sizeof(segs)), 1);
	file_equals(f, 0, a, sizeof(a)); /* the bad ones did nothing */
	file_equals(f, 65536, zero, sizeof(zero));
}

static void test_write_cache(void **state)
{
	struct fix *f = *state;

	make_with(f, NULL, KV(DEV));
	assert_true(vdrv_start(&f->d, F_FLUSH | F_WCE));
	assert_int_equal(vdrv_cfg(&f->d, 32, 1), 1);
	assert_true(f->b->wce);
	vdrv_cfg_write(&f->d, 32, 1, 0);
	assert_false(f->b->wce);
	vdrv_cfg_write(&f->d, 0, 8, 7); /* nothing else can be written */
	assert_int_equal(vdrv_cfg(&f->d, 0, 8), SECTORS);
	vdrv_reset(&f->d);
	assert_int_equal(vdrv_cfg(&f->d, 32, 1), 1);
	assert_true(vdrv_start(&f->d, 0)); /* it cannot flush: no volatile cache */
	assert_false(f->b->wce);
}

static void test_block_size(void **state)
{
	struct fix *f = *state;
	static uint8_t buf[8192];

	make_with(f, NULL, KV(DEV, "logical_block_size", "4096"));
	assert_true(vdrv_start(&f->d, F_FLUSH));
	assert_int_equal(vdrv_cfg(&f->d, 20, 4), 4096);
	assert_int_equal(run(f, IN, 8, buf, 4096), 0);
	assert_int_equal(run(f, IN, 1, buf, 4096), 1);
	assert_int_equal(run(f, IN, 8, buf, 512), 1);
}

static void test_bad_options(void **state)
{
	struct fix *f = *state;
	static const char *const bad[][4] = {
		{ "drive", "nope" },
		{ NULL },
		{ DEV, "queue-size", "100" },
		{ DEV, "logical_block_size", "1000" },
		{ DEV, "serial", "123456789012345678901" },
		{ DEV, "min_io_size", "100" },
		{ DEV, "logical_block_size", "131072" },
		{ DEV, "nonsense", "1" },
		{ DEV, "physical_block_size", "256" },
	};
	struct err e;

	add_drive(f, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *kv[5] = { bad[i][0], bad[i][1], bad[i][2], bad[i][3], NULL };

		e.code = 0;
		assert_null(rig_device(&f->rig, "virtio-blk-pci", kv, &e));
		assert_true(e.code > 0);
	}
	assert_non_null(rig_device(&f->rig, "virtio-blk-pci", KV(DEV), &e));
	assert_null(rig_device(&f->rig, "virtio-blk-pci", KV(DEV), &e)); /* in use */
}

/* Two queues full of requests at once. */
static void test_many(void **state)
{
	struct fix *f = *state;
	struct reqmem m[2][21];
	unsigned done = 0;

	make_with(f, NULL, KV(DEV, "num-queues", "2"));
	assert_true(vdrv_start(&f->d, F_FLUSH | F_MQ));
	for (unsigned q = 0; q < 2; q++)
		for (unsigned i = 0; i < 21; i++) {
			m[q][i] = reqmem(f, 4096);
			pattern(rig_ptr(&f->rig, m[q][i].data), 4096, q * 50 + i);
			assert_true(post(f, q, &m[q][i], OUT, (q * 21 + i) * 8, 4096, false) >= 0);
		}
	vdrv_kick(&f->d, 0);
	vdrv_kick(&f->d, 1);
	while (done < 42) {
		unsigned before = done;

		for (unsigned q = 0; q < 2; q++)
			while (vdrv_used(&f->d, q, NULL) >= 0)
				done++;
		if (before == done)
			loop_once(f->rig.vm.loop, 100);
	}
	for (unsigned q = 0; q < 2; q++)
		for (unsigned i = 0; i < 21; i++) {
			assert_int_equal(status_of(f, &m[q][i]), 0);
			file_equals(f, (q * 21 + i) * 4096, rig_ptr(&f->rig, m[q][i].data), 4096);
		}
}

static void fill_ring(struct fix *f, struct reqmem *m, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		m[i] = reqmem(f, 4096);
		assert_true(post(f, 0, &m[i], IN, i * 8, 4096, true) >= 0);
	}
	vdrv_kick(&f->d, 0);
	loop_once(f->rig.vm.loop, 0); /* taken, on their way */
}

/* After a reset nothing of the device touches guest memory any more. */
static void test_reset_in_flight(void **state)
{
	struct fix *f = *state;
	struct reqmem m[21];

	make(f);
	for (int round = 0; round < 20; round++) {
		uint64_t heap = f->rig.heap;

		fill_ring(f, m, 21);
		vdrv_reset(&f->d);
		memset(rig_ptr(&f->rig, RIG_HEAP), 0x77, MIB(1));
		rig_spin(&f->rig, 5);
		for (uint64_t i = 0; i < MIB(1); i++)
			assert_int_equal(*(uint8_t *)rig_ptr(&f->rig, RIG_HEAP + i), 0x77);
		rig_rewind(&f->rig, heap);
		assert_true(vdrv_start(&f->d, F_FLUSH));
	}
}

static void test_pause(void **state)
{
	struct fix *f = *state;
	struct reqmem m[21];
	uint8_t buf[512];
	struct dev *d;

	make(f);
	d = &f->d.pci->d;
	fill_ring(f, m, 10);
	d->type->pause(d);
	for (unsigned i = 0; i < 10; i++) { /* what was taken is finished */
		assert_true(vdrv_used(&f->d, 0, NULL) >= 0);
		assert_int_equal(status_of(f, &m[i]), 0);
	}
	post(f, 0, &m[0], IN, 0, 512, true);
	vdrv_kick(&f->d, 0);
	rig_spin(&f->rig, 10);
	assert_int_equal(vdrv_used(&f->d, 0, NULL), -1);
	d->type->resume(d); /* the kick was not lost */
	assert_true(vdrv_wait(&f->d, 0, NULL) >= 0);
	assert_int_equal(run(f, IN, 0, buf, 512), 0);
}

static void test_queue_reset(void **state)
{
	struct fix *f = *state;
	struct reqmem m[21];
	uint8_t buf[512];

	make_with(f, NULL, KV(DEV));
	assert_true(vdrv_start(&f->d, F_FLUSH | F_RESET));
	for (int i = 0; i < 10; i++) {
		uint64_t heap = f->rig.heap;

		fill_ring(f, m, 21);
		vdrv_common(&f->d, 0x16, 2, 0);
		vdrv_common(&f->d, 0x3a, 2, 1);
		assert_int_equal(vdrv_common_read(&f->d, 0x1c, 2), 0);
		rig_spin(&f->rig, 5);
		rig_rewind(&f->rig, heap);
		vdrv_enable_queue(&f->d, 0);
		assert_int_equal(run(f, IN, 0, buf, 512), 0);
	}
}

/* ---- a vCPU thread against the loop ---- */

struct racer {
	struct fix *f;
	atomic_bool stop;
};

static void *loop_thread(void *arg)
{
	struct racer *r = arg;

	while (!atomic_load(&r->stop))
		loop_once(r->f->rig.vm.loop, 1);
	return NULL;
}

static void reset_race(struct fix *f)
{
	struct reqmem m[21];
	uint64_t heap = f->rig.heap;

	for (int round = 0; round < 200; round++) {
		rig_rewind(&f->rig, heap);
		for (unsigned i = 0; i < 21; i++) {
			m[i] = reqmem(f, 512);
			post(f, 0, &m[i], i % 5 ? IN : FLUSH, i, i % 5 ? 512 : 0, true);
		}
		vdrv_kick(&f->d, 0);
		for (int spin = 0; spin < round * 20; spin++)
			(void)vdrv_status(&f->d);
		vdrv_reset(&f->d);
		memset(rig_ptr(&f->rig, RIG_HEAP), 0x77, KIB(64));
		assert_true(vdrv_start(&f->d, F_FLUSH));
		for (uint64_t i = 0; i < KIB(64); i++)
			assert_int_equal(*(uint8_t *)rig_ptr(&f->rig, RIG_HEAP + i), 0x77);
	}
}

/* Kicks and resets on this thread, rings and completions on the loop's. */
static void test_reset_race(void **state)
{
	struct fix *f = *state;
	struct racer r = { .f = f };
	pthread_t t;

	make(f);
	assert_int_equal(pthread_create(&t, NULL, loop_thread, &r), 0);
	reset_race(f);
	atomic_store(&r.stop, true);
	pthread_join(t, NULL);
}

/* Nobody runs the control loop: what gets done was done by the iothread. */
static void test_iothread(void **state)
{
	struct fix *f = *state;
	struct conf_node *node = conf_add(f->rig.vm.conf, CONF_OBJECT, "iothread", "io0", "test");
	static uint8_t a[65536], b[65536];
	struct err e = { 0 };
	struct reqmem m;
	struct obj_iothread *io;
	uint32_t written;

	f->rig.vm.control = pthread_self();
	assert_int_equal(obj_create(&f->rig.vm, node, &e), 0);
	io = container_of(obj_find(&f->rig.vm, "io0", &obj_iothread, &e), struct obj_iothread, o);
	assert_true(io->tid > 0 && io->tid != gettid());
	make_with(f, NULL, KV(DEV, "iothread", "io0"));
	assert_ptr_equal(f->b->v.loop, io->loop);
	assert_true(vdrv_start(&f->d, F_FLUSH));
	m = reqmem(f, sizeof(a));
	pattern(a, sizeof(a), 3);
	memcpy(rig_ptr(&f->rig, m.data), a, sizeof(a));
	post(f, 0, &m, OUT, 100, sizeof(a), false);
	vdrv_kick(&f->d, 0);
	for (unsigned i = 0; i < 20000 && vdrv_used(&f->d, 0, &written) < 0; i++)
		usleep(1000);
	assert_int_equal(status_of(f, &m), 0);
	file_equals(f, 100 * 512, a, sizeof(a));
	reset_race(f);
	/* Gone with requests waiting; the disk is the control loop's again for the next one. */
	for (unsigned i = 0; i < 8; i++)
		post(f, 0, &m, IN, i, 512, true);
	vdrv_kick(&f->d, 0);
	dev_destroy(&f->d.pci->d);
	f->b = container_of(virtio_of(&rig_device(&f->rig, "virtio-blk-pci", KV(DEV), &e)->d),
			    struct virtio_blk, v);
	vdrv_find(&f->d, &f->rig, container_of(f->b->v.dev, struct pci_dev, d));
	assert_true(vdrv_start(&f->d, F_FLUSH));
	assert_int_equal(run(f, IN, 100, b, sizeof(b)), 0);
	assert_memory_equal(a, b, sizeof(a));
	dev_destroy(&f->d.pci->d);
	assert_null(rig_device(&f->rig, "virtio-blk-pci", KV(DEV, "iothread", "io1"), &e));
	assert_non_null(strstr(e.msg, "no object 'io1'"));
}

/* A queue that is enabled while the loop's thread looks whether it is (thread sanitizer). */
static void test_late_queue(void **state)
{
	struct fix *f = *state;
	struct racer r = { .f = f };
	struct reqmem m;
	pthread_t t;

	make_with(f, NULL, KV(DEV, "num-queues", "2"));
	assert_int_equal(pthread_create(&t, NULL, loop_thread, &r), 0);
	m = reqmem(f, 512);
	for (int round = 0; round < 200; round++) {
		uint32_t written;

		f->d.nr_vqs = 1;
		assert_true(vdrv_start(&f->d, F_FLUSH)); /* the loop looks at both */
		for (int spin = 0; spin < round; spin++)
			(void)vdrv_status(&f->d);
		f->d.nr_vqs = 2;
		vdrv_enable_queue(&f->d, 1);
		post(f, 1, &m, IN, 0, 512, true);
		vdrv_kick(&f->d, 1);
		while (vdrv_used(&f->d, 1, &written) < 0)
			usleep(10);
		assert_int_equal(status_of(f, &m), 0);
	}
	vdrv_reset(&f->d);
	atomic_store(&r.stop, true);
	pthread_join(t, NULL);
}

static void test_state(void **state)
{
	struct fix *f = *state;
	struct dev *d;
	struct state_buf s = { 0 };
	const uint8_t *pos;
	uint8_t buf[512], want[512];
	struct err e;

	make_with(f, NULL, KV(DEV));
	d = &f->d.pci->d;
	assert_true(vdrv_start(&f->d, F_FLUSH | F_WCE));
	pattern(want, 512, 5);
	assert_int_equal(run(f, OUT, 3, want, 512), 0);
	vdrv_cfg_write(&f->d, 32, 1, 0);
	d->type->pause(d);
	state_save(&s, "d", d->type->state, d);
	d->type->reset(d);
	assert_int_equal(vdrv_cfg(&f->d, 32, 1) & 1, 1);
	pos = s.data;
	if (state_load(&pos, s.data + s.len, "d", d->type->state, d, &e) < 0)
		fail_msg("%s", e.msg);
	d->type->resume(d);
	assert_int_equal(vdrv_status(&f->d), 15);
	assert_int_equal(vdrv_cfg(&f->d, 32, 1), 0);
	assert_false(f->b->wce);
	assert_int_equal(run(f, IN, 3, buf, 512), 0);
	assert_memory_equal(buf, want, 512);
	state_buf_fini(&s);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_read_write),	 T(test_odd_layout),	 T(test_bad_places),
		T(test_broken_frames),	 T(test_config),	 T(test_serial),
		T(test_read_only),	 T(test_discard_zeroes), T(test_write_cache),
		T(test_block_size),	 T(test_bad_options),	 T(test_many),
		T(test_reset_in_flight), T(test_pause),		 T(test_queue_reset),
		T(test_reset_race),	 T(test_state),		 T(test_iothread),
		T(test_late_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
