/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, allocation, log text, checksums, bytes. */
#include "base/base.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/cursor.h"
#include "base/log.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

static void err_texts(void **state)
{
	struct err e = { 0 };

	assert_int_equal(err_set(&e, EINVAL, "drive %d: %s", 3, "bad"), -EINVAL);
	assert_int_equal(e.code, EINVAL);
	assert_string_equal(e.msg, "drive 3: bad");
	assert_int_equal(err_prefix(&e, "%s: ", "machine"), -EINVAL);
	assert_string_equal(e.msg, "machine: drive 3: bad");
	assert_int_equal(err_set_errno(&e, ENOENT, "cannot open '%s'", "x"), -ENOENT);
	assert_string_equal(e.msg, "cannot open 'x': No such file or directory");
	assert_int_equal(err_set(NULL, EIO, "nobody reads this"), -EIO);
	assert_int_equal(err_set_errno(NULL, EIO, "nor this"), -EIO);
	assert_int_equal(err_prefix(NULL, "x"), -EINVAL);
}

static void err_is_cut_not_overrun(void **state)
{
	struct {
		struct err e;
		char guard[16];
	} s;
	char big[2000];

	memset(&s, 0x5a, sizeof(s));
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	err_set(&s.e, EINVAL, "%s", big);
	assert_int_equal(strlen(s.e.msg), sizeof(s.e.msg) - 1);
	err_set_errno(&s.e, EINVAL, "%s", big);
	assert_int_equal(strlen(s.e.msg), sizeof(s.e.msg) - 1);
	err_prefix(&s.e, "%s", big);
	assert_int_equal(strlen(s.e.msg), sizeof(s.e.msg) - 1);
	for (size_t i = 0; i < sizeof(s.guard); i++)
		assert_int_equal(s.guard[i], 0x5a);
}

static void alloc_is_zeroed_and_owned(void **state)
{
	autofree uint8_t *p = xcalloc(100, 3);
	autofree char *s = xasprintf("%s-%d", "a", 7);
	autofree char *copy = xstrdup(s);
	char *moved;

	for (int i = 0; i < 300; i++)
		assert_int_equal(p[i], 0);
	assert_string_equal(copy, "a-7");
	moved = take_ptr(copy);
	assert_null(copy);
	assert_string_equal(moved, "a-7");
	free(moved);
	assert_non_null(p = xrealloc(p, 10, 10));
}

static void fds_close_and_move(void **state)
{
	int raw, kept;

	{
		autoclose int fd = open("/dev/null", O_RDONLY);

		raw = fd;
		assert_true(fcntl(raw, F_GETFD) >= 0);
		errno = EDOM;
	}
	assert_int_equal(errno, EDOM); /* closing keeps errno */
	assert_int_equal(fcntl(raw, F_GETFD), -1);
	{
		autoclose int fd = open("/dev/null", O_RDONLY);

		kept = take_fd(&fd);
		assert_int_equal(fd, -1);
	}
	assert_true(fcntl(kept, F_GETFD) >= 0);
	close(kept);
}

static void escapes(void **state)
{
	char out[64];

	log_escape(out, sizeof(out), "ab\\\n\x1b[31m\xff", 10);
	assert_string_equal(out, "ab\\x5c\\x0a\\x1b[31m\\xff");
	log_escape(out, 6, "abcdefgh", 8);
	assert_string_equal(out, "abcde");
	log_escape(out, 6, "abc\n", 4); /* an escape is never cut in half */
	assert_string_equal(out, "abc");
	log_escape(out, 1, "abc", 3);
	assert_string_equal(out, "");
}

/* What log_msg() writes with stderr pointed at a pipe. */
static size_t logged(char *buf, size_t size, void (*fn)(void *), void *arg)
{
	int p[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe2(p, O_NONBLOCK), 0);
	dup2(p[1], STDERR_FILENO);
	fn(arg);
	dup2(saved, STDERR_FILENO);
	close(saved);
	n = read(p[0], buf, size - 1);
	close(p[0]);
	close(p[1]);
	buf[n > 0 ? n : 0] = 0;
	return n > 0 ? (size_t)n : 0;
}

static void say(void *arg)
{
	log_warn("w%s", (const char *)arg);
	log_info("i");
	log_debug("d");
}

static void log_lines(void **state)
{
	char buf[8192], big[5000];

	logged(buf, sizeof(buf), say, (void *)(uintptr_t) "1");
	assert_string_equal(buf, "hanok: warning: w1\nhanok: info: i\n");
	log_set_level(LOG_LEVEL_DEBUG);
	log_set_name("x");
	logged(buf, sizeof(buf), say, (void *)(uintptr_t) "2");
	assert_string_equal(buf, "x: warning: w2\nx: info: i\nx: debug: d\n");
	log_set_level(LOG_LEVEL_INFO);
	log_set_name("hanok");
	memset(big, 'y', sizeof(big));
	big[sizeof(big) - 1] = 0;
	assert_true(logged(buf, sizeof(buf), say, big) < 2100);
	assert_int_equal(buf[strlen(buf) - 1], '\n');
}

static void log_budget(void **state)
{
	struct log_limit l = { 0 };
	int allowed = 0;

	for (int i = 0; i < 1000; i++)
		allowed += log_allow(&l);
	assert_int_equal(allowed, 10);
	assert_int_equal(l.swallowed, 990);
	l.window_ns -= 6 * NS_PER_SEC;
	assert_true(log_allow(&l));
}

/* RFC 3720 appendix B.4 */
static void crc32c_vectors(void **state)
{
	uint8_t b[32];

	memset(b, 0, 32);
	assert_int_equal(crc32c(0, b, 32), 0x8a9136aa);
	memset(b, 0xff, 32);
	assert_int_equal(crc32c(0, b, 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, b, 32), 0x46dd794e);
	assert_int_equal(crc32c(crc32c(0, b, 7), b + 7, 25), 0x46dd794e);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
}

static void byte_order(void **state)
{
	uint8_t b[9] = { 0 };

	st_le32(b + 1, 0x11223344);
	assert_int_equal(b[1], 0x44);
	assert_int_equal(ld_le32(b + 1), 0x11223344);
	assert_int_equal(ld_be32(b + 1), 0x44332211);
	for (unsigned size = 1; size <= 8; size *= 2) {
		uint64_t v = 0x8877665544332211 & (size == 8 ? ~0ull : (1ull << 8 * size) - 1);

		st_le(b, 0x8877665544332211, size);
		assert_int_equal(ld_le(b, size), v);
	}
	assert_int_equal(ld_le(b, 3), 0);
	assert_int_equal(align_up(4097, 4096), 8192);
	assert_int_equal(align_down(8191, 4096), 4096);
	assert_true(is_pow2(64) && !is_pow2(0) && !is_pow2(65));
	assert_int_equal(mul_div_u64(UINT64_MAX, 1000, 1000), UINT64_MAX);
}

static void cursors_stay_inside(void **state)
{
	const uint8_t d[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	struct cursor c = cursor_of(d, sizeof(d));

	assert_int_equal(rd_u8(&c), 1);
	assert_int_equal(rd_le16(&c), 0x0302);
	assert_int_equal(rd_le32(&c), 0x07060504);
	assert_int_equal(rd_le32(&c), 0); /* two bytes are left */
	assert_true(c.bad);
	assert_int_equal(rd_u8(&c), 0); /* bad stays */
	c = cursor_of(d, sizeof(d));
	rd_seek(&c, 9);
	assert_false(c.bad);
	assert_non_null(rd_bytes(&c, 0));
	assert_null(rd_bytes(&c, SIZE_MAX));
	c = cursor_of(d, sizeof(d));
	rd_seek(&c, 10);
	assert_true(c.bad);
	c = cursor_of(d, sizeof(d));
	rd_seek(&c, 1);
	assert_int_equal(rd_le64(&c), 0x0908070605040302);
}

static void test_zero_and_release(void **state)
{
	static const size_t spans[][2] = { { 0, 3 }, { 100, 8192 }, { 4096, 4096 }, { 1, 20000 } };
	const size_t size = 32768;
	autofree uint8_t *mem = xnew_n(uint8_t, size);

	for (size_t i = 0; i < ARRAY_SIZE(spans); i++) {
		size_t off = spans[i][0], len = spans[i][1];

		memset(mem, 0xaa, size);
		zero_and_release(mem + off, len);
		for (size_t j = 0; j < size; j++)
			assert_int_equal(mem[j], j >= off && j < off + len ? 0 : 0xaa);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zero_and_release),
		cmocka_unit_test(err_texts),
		cmocka_unit_test(err_is_cut_not_overrun),
		cmocka_unit_test(alloc_is_zeroed_and_owned),
		cmocka_unit_test(fds_close_and_move),
		cmocka_unit_test(escapes),
		cmocka_unit_test(log_lines),
		cmocka_unit_test(log_budget),
		cmocka_unit_test(crc32c_vectors),
		cmocka_unit_test(byte_order),
		cmocka_unit_test(cursors_stay_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
