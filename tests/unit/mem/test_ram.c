/* SPDX-License-Identifier: Apache-2.0 */
/* RAM blocks: memory, guard pages, and the code watch under concurrent writers. */
#include "base/base.h"
#include "base/clock.h"
#include "mem/ram.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void makes_memory(void **state)
{
	struct err e = { 0 };
	struct ram_block *rb = ram_new("t", MIB(4), &e);

	assert_non_null(rb);
	assert_int_equal((uintptr_t)rb->host % MIB(2), 0);
	assert_true(rb->fd < 0);
	for (uint64_t off = 0; off < rb->size; off += 4096)
		assert_int_equal(rb->host[off], 0);
	rb->host[0] = 1;
	rb->host[rb->size - 1] = 2;
	assert_int_equal(rb->host[rb->size - 1], 2);
	ram_free(rb);
	assert_null(ram_free(NULL));
}

/* A private view of a file: its bytes, the guest's writes, and what is there when it goes. */
static void views_of_files(void **state)
{
	char path[] = "/tmp/hanok-ram-XXXXXX";
	struct ram_block *rb;
	struct err e = { 0 };
	uint8_t byte = 0;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(ftruncate(fd, 4 * 4096), 0);
	for (off_t i = 0; i < 4; i++)
		assert_int_equal(pwrite(fd, &(char){ (char)('a' + i) }, 1, i * 4096), 1);
	rb = ram_new("t", MIB(4), &e);
	memset(rb->host, 'z', MIB(1));
	ram_watch(rb, 8192, 64);
	/* Not aligned, outside. */
	assert_int_equal(ram_map_file(rb, 8191, fd, 0, 4096), -EINVAL);
	assert_int_equal(ram_map_file(rb, 8192, fd, 1, 4096), -EINVAL);
	assert_int_equal(ram_map_file(rb, MIB(4) - 4096, fd, 0, 8192), -EINVAL);
	assert_int_equal(ram_map_file(rb, UINT64_MAX - 4095, fd, 0, 8192), -EINVAL);
	assert_int_equal(ram_map_file(rb, 8192, fd, 4096, 8192), 0);
	assert_int_equal(rb->watch[2], 0); /* code from there is void */
	assert_int_equal(rb->host[8191], 'z');
	assert_int_equal(rb->host[8192], 'b');
	assert_int_equal(rb->host[8193], 0);
	assert_int_equal(rb->host[12288], 'c');
	assert_int_equal(rb->host[16384], 'z');
	rb->host[8192] = 'B';
	assert_int_equal(pread(fd, &byte, 1, 4096), 1);
	assert_int_equal(byte, 'b');
	/* Own copies: the file may be cut to nothing. */
	assert_int_equal(ram_own_files(rb), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(rb->host[8192], 'B');
	assert_int_equal(rb->host[12288], 'c');
	assert_int_equal(ram_discard(rb, &e), 0);
	assert_int_equal(rb->host[0], 0);
	assert_int_equal(rb->host[12288], 0);
	close(fd);
	ram_free(rb);
}

static void refuses_bad_sizes(void **state)
{
	struct err e = { 0 };

	assert_null(ram_new("t", 0, &e));
	assert_null(ram_new("t", 4095, &e));
	assert_null(ram_new("t", UINT64_MAX & ~4095ull, &e));
	assert_non_null(strstr(e.msg, "'t'"));
}

static void huge_blocks_cost_nothing(void **state)
{
	struct err e = { 0 };
	struct ram_block *rb = ram_new("t", GIB(1024), &e);

	if (!rb) /* a host with an address space limit */
		skip();
	rb->host[GIB(1000)] = 7;
	assert_int_equal(ram_watch(rb, GIB(1000), 16), 0);
	ram_written(rb, GIB(1000), 1);
	assert_int_equal(ram_watch(rb, GIB(1000), 16), 1);
	ram_free(rb);
}

static void populate_keeps_contents(void **state)
{
	struct err e = { 0 };
	struct ram_block *rb = ram_new("t", MIB(1), &e);

	assert_non_null(rb);
	rb->host[5000] = 7;
	ram_populate(rb, 4999, 100000); /* unaligned on both sides */
	ram_populate(rb, 0, MIB(1));
	assert_int_equal(rb->host[5000], 7);
	assert_int_equal(rb->host[MIB(1) - 1], 0);
	ram_free(rb);
}

static void touch(volatile uint8_t *p)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		signal(SIGSEGV, SIG_DFL); /* not a sanitizer's handler */
		*p = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void guard_pages(void **state)
{
	struct err e = { 0 };
	struct ram_block *rb = ram_new("t", MIB(2), &e);

	assert_non_null(rb);
	touch(rb->host - 1);
	touch(rb->host + rb->size);
	ram_free(rb);
}

static void watch_is_by_line(void **state)
{
	struct err e = { 0 };
	struct ram_block *rb = ram_new("t", 4 * RAM_PAGE_SIZE, &e);

	assert_int_equal(ram_watch(rb, 4096 + 100, 60), 0); /* lines 1 and 2 */
	ram_written(rb, 4096, 64);			    /* line 0 */
	ram_written(rb, 4096 + 192, 64);		    /* line 3 */
	ram_written(rb, 0, 4096);			    /* another page */
	assert_int_equal(rb->gen[1], 0);
	ram_written(rb, 4096 + 191, 1); /* line 2's last byte */
	assert_int_equal(rb->gen[1], 1);
	assert_int_equal(rb->watch[1], 0);
	ram_written(rb, 4096 + 191, 1); /* nobody watches any more */
	assert_int_equal(rb->gen[1], 1);
	ram_free(rb);
}

static void writes_over_pages(void **state)
{
	struct err e = { 0 };
	struct ram_block *rb = ram_new("t", 4 * RAM_PAGE_SIZE, &e);

	for (uint64_t p = 0; p < 4; p++)
		ram_watch(rb, p * 4096, 4096);
	ram_written(rb, 4095, 4098); /* last byte of 0, all of 1, first of 2 */
	assert_int_equal(rb->gen[0], 1);
	assert_int_equal(rb->gen[1], 1);
	assert_int_equal(rb->gen[2], 1);
	assert_int_equal(rb->gen[3], 0);
	ram_free(rb);
}

/*
 * A writer advances a number in RAM; decoders "decode" it and check that, whenever the generation
 * has not moved since, what they decoded is not older than what the writer said it had finished.
 */
static struct {
	struct ram_block *rb;
	_Atomic uint64_t finished;
	atomic_bool stop;
	_Atomic uint64_t stale, decodes;
} st;

static void *writer(void *arg)
{
	for (uint64_t n = 1; !atomic_load(&st.stop); n++) {
		__atomic_store_n((uint64_t *)(void *)st.rb->host, n, __ATOMIC_RELAXED);
		ram_written(st.rb, 0, 8);
		atomic_store(&st.finished, n);
	}
	return NULL;
}

static void *decoder(void *arg)
{
	while (!atomic_load(&st.stop)) {
		uint32_t gen = ram_watch(st.rb, 0, 8);
		uint64_t code = __atomic_load_n((uint64_t *)(void *)st.rb->host, __ATOMIC_RELAXED);
		uint64_t done = atomic_load(&st.finished);

		/* The writer's last finished write was noted in gen if it hit watched code. */
		if (atomic_load(&st.rb->gen[0]) == gen && done > code)
			atomic_fetch_add(&st.stale, 1);
		atomic_fetch_add(&st.decodes, 1);
	}
	return NULL;
}

static void run_decoders(bool expedited)
{
	struct err e = { 0 };
	uint64_t until = clock_now_ns() + 300 * NS_PER_MS;
	pthread_t t[3];

	memset(&st, 0, sizeof(st));
	st.rb = ram_new("t", RAM_PAGE_SIZE, &e);
	assert_non_null(st.rb);
	if (!expedited) {
		/* as on a kernel without membarrier(2) */
		st.rb->expedited = false;
		st.rb->shoot_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(st.rb->shoot_page != MAP_FAILED);
	}
	pthread_create(&t[0], NULL, writer, NULL);
	pthread_create(&t[1], NULL, decoder, NULL);
	pthread_create(&t[2], NULL, decoder, NULL);
	while (clock_now_ns() < until || atomic_load(&st.decodes) < 100)
		usleep(1000);
	atomic_store(&st.stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(st.stale, 0);
	ram_free(st.rb);
}

static void no_stale_code(void **state)
{
	run_decoders(true);
}

static void no_stale_code_without_membarrier(void **state)
{
	run_decoders(false);
}

/* ---- dirty pages ---- */

static void dirty_by_page(void **state)
{
	struct err e = { 0 };
	struct ram_block *rb = ram_new("t", 130 * RAM_PAGE_SIZE, &e);
	uint64_t map[3] = { 0 };

	assert_int_equal(ram_dirty_words(rb), 3);
	ram_written(rb, 0, 8); /* nobody logs yet */
	assert_int_equal(ram_dirty_fetch(rb, map), 0);
	assert_int_equal(ram_dirty_start(rb, &e), 0);
	assert_int_equal(ram_dirty_fetch(rb, map), 0);
	ram_written(rb, 4095, 2);
	ram_written(rb, 64 * 4096 + 17, 1);
	ram_written(rb, 64 * 4096 + 2000, 1); /* again, elsewhere in it */
	ram_mark_dirty(rb, 129 * 4096 + 100, 1);
	assert_int_equal(ram_dirty_fetch(rb, map), 4);
	assert_int_equal(map[0], 3);
	assert_int_equal(map[1], 1);
	assert_int_equal(map[2], 2);
	assert_int_equal(ram_dirty_fetch(rb, map), 0);
	assert_int_equal(map[0], 3); /* the caller's bits stay */
	ram_written(rb, 64 * 4096, 1);
	assert_int_equal(ram_dirty_fetch(rb, map), 1);
	ram_written(rb, 4096, 1);
	assert_int_equal(ram_dirty_start(rb, &e), 0); /* anew: all clean */
	assert_int_equal(ram_dirty_fetch(rb, map), 0);
	ram_free(rb);
}

/* Code from a page whose writes are logged is still void when it is written. */
static void dirty_pages_with_code(void **state)
{
	struct err e = { 0 };
	struct ram_block *rb = ram_new("t", 2 * RAM_PAGE_SIZE, &e);
	uint64_t map[1] = { 0 };
	uint32_t gen;

	assert_int_equal(ram_dirty_start(rb, &e), 0);
	for (unsigned i = 0; i < 3; i++) {
		gen = ram_watch(rb, 4096 + 128, 64);
		ram_written(rb, 4096 + 130, 1);
		assert_int_not_equal(rb->gen[1], gen);
		assert_int_equal(ram_dirty_fetch(rb, map), 1);
	}
	ram_written(rb, 4096, 1);
	gen = ram_watch(rb, 4096 + 128, 64);
	ram_written(rb, 4096, 1); /* dirty already, and not the code's line */
	assert_int_equal(rb->gen[1], gen);
	ram_free(rb);
}

#define LOGGED 96u

static void *scribbler(void *arg)
{
	uint64_t *mem = (uint64_t *)(void *)st.rb->host + (uintptr_t)arg;

	for (uint64_t n = 1; !atomic_load(&st.stop); n++) {
		uint64_t page = n * 2654435761u % LOGGED;

		__atomic_store_n(&mem[page * 512], n, __ATOMIC_RELAXED);
		ram_written(st.rb, page * RAM_PAGE_SIZE + (uintptr_t)arg * 8, 8);
	}
	return NULL;
}

/* Copies what is dirty, as a migration does. */
static void copy_dirty(uint8_t *to)
{
	uint64_t map[2] = { 0 };

	ram_dirty_fetch(st.rb, map);
	for (unsigned p = 0; p < LOGGED; p++)
		if (map[p / 64] >> (p % 64) & 1)
			memcpy(to + p * RAM_PAGE_SIZE, st.rb->host + p * RAM_PAGE_SIZE,
			       RAM_PAGE_SIZE);
}

static void no_write_is_lost(void **state)
{
	uint64_t until = clock_now_ns() + 300 * NS_PER_MS;
	autofree uint8_t *copy = xcalloc(LOGGED, RAM_PAGE_SIZE);
	struct err e = { 0 };
	pthread_t t[3];

	memset(&st, 0, sizeof(st));
	st.rb = ram_new("t", LOGGED * RAM_PAGE_SIZE, &e);
	assert_int_equal(ram_dirty_start(st.rb, &e), 0);
	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, scribbler, (void *)i);
	for (unsigned rounds = 0; clock_now_ns() < until || rounds < 100; rounds++)
		copy_dirty(copy);
	atomic_store(&st.stop, true);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	copy_dirty(copy);
	assert_memory_equal(copy, st.rb->host, LOGGED * RAM_PAGE_SIZE);
	ram_free(st.rb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_memory),
		cmocka_unit_test(views_of_files),
		cmocka_unit_test(refuses_bad_sizes),
		cmocka_unit_test(huge_blocks_cost_nothing),
		cmocka_unit_test(populate_keeps_contents),
		cmocka_unit_test(guard_pages),
		cmocka_unit_test(watch_is_by_line),
		cmocka_unit_test(writes_over_pages),
		cmocka_unit_test(no_stale_code),
		cmocka_unit_test(no_stale_code_without_membarrier),
		cmocka_unit_test(dirty_by_page),
		cmocka_unit_test(dirty_pages_with_code),
		cmocka_unit_test(no_write_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
