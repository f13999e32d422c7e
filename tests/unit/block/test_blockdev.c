/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block nodes of -blockdev: a raw node is a window of the one it stands on; who writes, and who
 * may read beside; zeroes that are not written; the messages for what is not here.
 */
#include "cmocka_all.h"

#include "base/clock.h"
#include "block/block.h"
#include "core/fdset.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define IMAGE_SIZE MIB(1)

struct fix {
	struct loop *loop;
	struct vm_conf *conf;
	char path[64];
	struct blk_node *file, *raw;
	struct blk_graph graph;
	bool done;
	int ret;
};

struct request {
	struct blk_req r;
	struct fix *f;
};

static struct blk_node *take(struct blk_graph *g, const char *name, struct err *e)
{
	struct fix *f = container_of(g, struct fix, graph);

	if (!strcmp(name, "file") && f->file)
		return f->file;
	err_set(e, ENOENT, "there is no node '%s'", name);
	return NULL;
}

static int setup(void **state)
{
	struct fix *f = xnew(struct fix);
	struct err e;
	int fd;

	f->loop = loop_new(&e);
	f->conf = vm_conf_new();
	f->graph.take = take;
	strcpy(f->path, "blockdev-test.XXXXXX");
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

	blk_close(f->raw);
	blk_close(f->file);
	unlink(f->path);
	loop_free(f->loop);
	vm_conf_free(f->conf);
	free(f);
	return 0;
}

static struct blk_node *open_dev(struct fix *f, const char *driver, struct err *e,
				 const char *const *kv)
{
	struct conf_node *c = conf_add(f->conf, CONF_DRIVE, driver, "n", "-blockdev");

	for (; kv[0]; kv += 2)
		conf_set(c, kv[0], kv[1]);
	return blk_open_dev(f->loop, c, &f->graph, e);
}

#define OPEN(f, driver, ...) \
	open_dev(f, driver, &err, (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

static void on_done(struct blk_req *r, int ret)
{
	struct fix *f = container_of(r, struct request, r)->f;

	f->done = true;
	f->ret = ret;
}

static int run(struct fix *f, struct blk_node *n, struct blk_req *r)
{
	struct request q = { .r = *r, .f = f };

	q.r.done = on_done;
	f->done = false;
	blk_submit(n, &q.r);
	for (int i = 0; i < 5000 && !f->done; i++)
		loop_once(f->loop, 10);
	assert_true(f->done);
	/* The request is its owner's again, as it was. */
	assert_int_equal(q.r.op, r->op);
	assert_true(q.r.off == r->off && q.r.len == r->len && q.r.unmap == r->unmap);
	return f->ret;
}

static int rw(struct fix *f, struct blk_node *n, enum blk_op op, uint64_t off, void *buf,
	      uint64_t len)
{
	struct iovec v = { buf, len };
	struct blk_req r = { .op = op, .off = off, .len = len, .iov = &v, .niov = 1 };

	return run(f, n, &r);
}

static void window(void **state)
{
	struct fix *f = *state;
	char buf[1024], at[1024];
	struct blk_desc d;
	struct err err;
	int fd;

	f->file = OPEN(f, "file", "filename", f->path);
	assert_non_null(f->file);
	f->raw = OPEN(f, "raw", "file", "file", "offset", "4096", "size", "8192");
	assert_non_null(f->raw);
	assert_int_equal(blk_info(f->raw)->size, 8192);
	assert_ptr_equal(blk_child(f->raw), f->file);
	blk_describe(f->raw, &d);
	assert_string_equal(d.driver, "raw");
	assert_string_equal(d.filename, f->path);
	assert_int_equal(d.offset, 4096);
	memset(buf, 'w', sizeof(buf));
	assert_int_equal(rw(f, f->raw, BLK_WRITE, 512, buf, 1024), 0);
	fd = open(f->path, O_RDONLY);
	assert_int_equal(pread(fd, at, 1024, 4096 + 512), 1024);
	assert_memory_equal(at, buf, 1024);
	close(fd);
	assert_int_equal(rw(f, f->raw, BLK_READ, 8192 - 512, buf, 1024), -ENXIO);
	assert_int_equal(rw(f, f->raw, BLK_READ, UINT64_MAX - 511, buf, 512), -ENXIO);
	assert_int_equal(rw(f, f->raw, BLK_READ, 8192 - 512, buf, 512), 0);
	assert_int_equal(rw(f, f->raw, BLK_READ, 100, buf, 512), -EINVAL);
	assert_int_equal(run(f, f->raw, &(struct blk_req){ .op = BLK_FLUSH }), 0);
}

static void window_refused(void **state)
{
	static const char *const bad[][3] = {
		{ "2M", "512", "behind the end" }, { "1M", "512", "not within" },
		{ "0", "2M", "not within" },	   { "100", "512", "multiples" },
		{ "0", "100", "multiples" },	   { "0", "0", "not within" },
	};
	struct fix *f = *state;
	struct err err;

	f->file = OPEN(f, "file", "filename", f->path);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_null(OPEN(f, "raw", "file", "file", "offset", bad[i][0], "size", bad[i][1]));
		if (!strstr(err.msg, bad[i][2]))
			fail_msg("case %zu: %s", i, err.msg);
	}
}

/* What a management tool says of a disk: the writer is alone, readers are not. */
static void who_writes(void **state)
{
	struct fix *f = *state;
	struct blk_node *file, *other;
	char buf[512] = { 0 };
	struct err err;

	f->file = OPEN(f, "file", "filename", f->path, "auto-read-only", "on", "discard", "unmap");
	assert_non_null(f->file);
	assert_false(blk_info(f->file)->read_only);
	f->raw = OPEN(f, "raw", "file", "file", "read-only", "on");
	assert_non_null(f->raw);
	assert_true(blk_info(f->raw)->read_only);
	assert_true(blk_info(f->file)->read_only);
	assert_int_equal(rw(f, f->raw, BLK_READ, 0, buf, 512), 0);
	assert_int_equal(rw(f, f->raw, BLK_WRITE, 0, buf, 512), -EROFS);
	/* A second reader, which finds the file locked for writers, comes up read-only. */
	other = OPEN(f, "raw", "file.driver", "file", "file.filename", f->path, "read-only", "on");
	assert_non_null(other);
	blk_close(other);
	file = f->file;
	f->file = OPEN(f, "file", "filename", f->path, "auto-read-only", "on");
	assert_non_null(f->file);
	assert_true(blk_info(f->file)->read_only);
	/* One that wants to write hears why not. */
	assert_null(OPEN(f, "raw", "file", "file", "read-only", "off"));
	assert_non_null(strstr(err.msg, "in use by another virtual machine"));
	blk_close(f->file);
	f->file = file;
	/* Both gone: it is free for a writer. */
	f->raw = blk_close(f->raw);
	f->file = blk_close(f->file);
	f->file = OPEN(f, "file", "filename", f->path);
	f->raw = OPEN(f, "raw", "file", "file");
	assert_non_null(f->raw);
	assert_null(OPEN(f, "file", "filename", f->path, "read-only", "on"));
	assert_int_equal(err.code, EBUSY);
	other = OPEN(f, "file", "filename", f->path, "read-only", "on", "force-share", "on");
	assert_non_null(other);
	blk_close(other);
}

static uint64_t allocated(const struct fix *f)
{
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void zeroes(void **state)
{
	struct fix *f = *state;
	static char buf[65536];
	struct err err;

	f->file =
		OPEN(f, "file", "filename", f->path, "discard", "unmap", "detect-zeroes", "unmap");
	assert_non_null(f->file);
	memset(buf, 1, sizeof(buf));
	assert_int_equal(rw(f, f->file, BLK_WRITE, 0, buf, sizeof(buf)), 0);
	assert_int_equal(allocated(f), sizeof(buf));
	memset(buf, 0, sizeof(buf));
	buf[sizeof(buf) - 1] = 1;
	assert_int_equal(rw(f, f->file, BLK_WRITE, 0, buf, sizeof(buf)), 0);
	assert_int_equal(allocated(f), sizeof(buf));
	buf[sizeof(buf) - 1] = 0;
	assert_int_equal(rw(f, f->file, BLK_WRITE, 0, buf, sizeof(buf)), 0);
	assert_int_equal(allocated(f), 0);
	buf[0] = 7;
	assert_int_equal(rw(f, f->file, BLK_READ, 0, buf, 512), 0);
	assert_int_equal(buf[0], 0);
}

static uint64_t thread_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Who submits is not held up by how much there is to look at; who writes it looks at all of it. */
static void many_zeroes(void **state)
{
	struct fix *f = *state;
	size_t len = MIB(1), n = 4096;
	autofree char *page = xcalloc(1, len);
	autofree struct iovec *iov = xnew_n(struct iovec, n);
	struct request q = { .r = { .op = BLK_WRITE,
				    .iov = iov,
				    .niov = (unsigned)n,
				    .len = n * len,
				    .done = on_done },
			     .f = f };
	struct err err;
	uint64_t start;
	struct blk_stats s;

	assert_int_equal(truncate(f->path, (off_t)(n * len)), 0);
	f->file =
		OPEN(f, "file", "filename", f->path, "discard", "unmap", "detect-zeroes", "unmap");
	assert_non_null(f->file);
	memset(page, 1, len);
	assert_int_equal(rw(f, f->file, BLK_WRITE, 0, page, len), 0);
	assert_int_equal(rw(f, f->file, BLK_WRITE, 3 * len, page, len), 0);
	memset(page, 0, len);
	page[len - 1] = 1;
	assert_int_equal(rw(f, f->file, BLK_WRITE, 0, page, len), 0);
	assert_int_equal(allocated(f), 2 * len);
	page[len - 1] = 0;
	for (size_t i = 0; i < n; i++)
		iov[i] = (struct iovec){ page, len };
	f->done = false;
	start = thread_ns();
	blk_submit(f->file, &q.r);
	assert_true(thread_ns() - start < 2 * NS_PER_MS);
	while (!f->done)
		loop_once(f->loop, 100);
	assert_int_equal(f->ret, 0);
	assert_int_equal(allocated(f), 0);
	blk_get_stats(f->file, &s);
	assert_int_equal(s.op[BLK_WRITE].done, 4);
	assert_int_equal(s.op[BLK_ZERO].done, 0);
}

/* The window decides about discard, whatever the node below would do. */
static void discard(void **state)
{
	struct fix *f = *state;
	static char buf[65536];
	struct blk_req r = { .op = BLK_DISCARD, .len = sizeof(buf) };
	struct err err;

	memset(buf, 1, sizeof(buf));
	f->raw = OPEN(f, "raw", "file.driver", "file", "file.filename", f->path);
	assert_non_null(f->raw);
	assert_int_equal(rw(f, f->raw, BLK_WRITE, 0, buf, sizeof(buf)), 0);
	assert_int_equal(run(f, f->raw, &r), 0);
	assert_int_equal(allocated(f), sizeof(buf));
	f->raw = blk_close(f->raw);
	f->raw =
		OPEN(f, "raw", "file.driver", "file", "file.filename", f->path, "discard", "unmap");
	assert_non_null(f->raw);
	assert_int_equal(run(f, f->raw, &r), 0);
	assert_int_equal(allocated(f), 0);
}

static void passed_descriptor(void **state)
{
	struct fix *f = *state;
	struct err err;

	assert_int_equal(fdset_add_take(f->conf, 3, open(f->path, O_RDWR), NULL, &err), 3);
	f->file = OPEN(f, "file", "filename", "/dev/fdset/3");
	assert_non_null(f->file);
	assert_int_equal(blk_info(f->file)->size, IMAGE_SIZE);
}

static void refused(void **state)
{
	static const struct {
		const char *driver, *kv[7], *word;
	} bad[] = {
		{ "qcow2", { "file", "file" }, "qemu-img convert" },
		{ "rw", { "file", "file" }, "'raw'" },
		{ "file", { NULL }, "filename=" },
		{ "file", { "filename", "blockdev-test.none" }, "No such file" },
		{ "file", { "filename", "F", "cahce.direct", "on" }, "cache.direct" },
		{ "file", { "filename", "F", "cache.writeback", "on" }, "write-cache" },
		{ "file", { "filename", "F", "force-share", "on" }, "read-only=on" },
		{ "host_device", { "filename", "F" }, "no block device" },
		{ "raw", { NULL }, "file=NODE-NAME" },
		{ "raw", { "file", "nobody" }, "nobody" },
		{ "raw", { "file.driver", "qcow2", "file.file", "x" }, "qcow2" },
		{ "raw", { "file.driver", "file", "file.filename", "F", "backing", "" }, "backing" },
	};
	struct fix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *kv[7] = { 0 };
		struct err e = { 0 };

		for (size_t k = 0; k < ARRAY_SIZE(kv) && bad[i].kv[k]; k++)
			kv[k] = strcmp(bad[i].kv[k], "F") ? bad[i].kv[k] : f->path;
		if (open_dev(f, bad[i].driver, &e, kv))
			fail_msg("case %zu was taken", i);
		if (!strstr(e.msg, bad[i].word))
			fail_msg("case %zu: '%s' lacks '%s'", i, e.msg, bad[i].word);
	}
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(window),	T(window_refused), T(who_writes), T(zeroes),
		T(many_zeroes), T(discard),	   T(refused),	  T(passed_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
