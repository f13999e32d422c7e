/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of passed descriptors: numbers, access modes, life time. */
#include "cmocka_all.h"

#include "core/fdset.h"
#include <fcntl.h>
#include <unistd.h>

static int64_t add(struct vm_conf *conf, int64_t set, int flags)
{
	struct err e;

	return fdset_add_take(conf, set, open("/dev/null", flags), "words", &e);
}

static void numbers(void **state)
{
	struct vm_conf *conf = vm_conf_new();
	struct err e;

	assert_int_equal(add(conf, -1, O_RDONLY), 0);
	assert_int_equal(add(conf, 2, O_RDONLY), 2);
	assert_int_equal(add(conf, -1, O_RDONLY), 1);
	assert_int_equal(add(conf, 2, O_WRONLY), 2);
	assert_int_equal(add(conf, -1, O_RDONLY), 3);
	for (struct fdset *s = conf->fdsets; s && s->next; s = s->next)
		assert_true(s->id < s->next->id);
	assert_int_equal(fdset_remove(conf, 1, -1, &e), 0);
	assert_int_equal(fdset_remove(conf, 1, -1, &e), -ENOENT);
	assert_int_equal(add(conf, -1, O_RDONLY), 1);
	assert_int_equal(fdset_add_take(conf, 1, 1000, NULL, &e), -EBADF);
	assert_int_equal(fdset_remove(conf, 2, 1000, &e), -ENOENT);
	vm_conf_free(conf);
}

static void opening(void **state)
{
	struct vm_conf *conf = vm_conf_new();
	struct err e;
	int p[2], fd;
	char c;

	assert_int_equal(pipe(p), 0);
	assert_int_equal(fdset_add_take(conf, 5, p[0], NULL, &e), 5);
	assert_int_equal(fdset_open(conf, "/dev/fdset/5", O_WRONLY, 0, &e), -EACCES);
	assert_non_null(strstr(e.msg, "writing"));
	assert_int_equal(fdset_add_take(conf, 5, p[1], NULL, &e), 5);
	fd = fdset_open(conf, "/dev/fdset/5", O_WRONLY | O_CREAT | O_TRUNC, 0600, &e);
	assert_true(fd >= 0 && fd != p[1]);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(p[0], &c, 1), 1);
	/* A copy lives on without its set, which closes what it had. */
	assert_int_equal(fdset_remove(conf, 5, p[1], &e), 0);
	assert_int_equal(fcntl(p[1], F_GETFD), -1);
	assert_int_equal(write(fd, "y", 1), 1);
	close(fd);
	vm_conf_free(conf);
	assert_int_equal(fcntl(p[0], F_GETFD), -1);
}

static void names(void **state)
{
	static const char *const none[] = { "/dev/fdset/", "/dev/fdset/x", "/dev/fdset/1x",
					    "/dev/fdset/-1", "/dev/fdset/99999999999999999999" };
	struct vm_conf *conf = vm_conf_new();
	struct err e;
	int fd;

	assert_int_equal(fdset_open(conf, "/dev/fdset/1", O_RDONLY, 0, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "-add-fd"));
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		assert_int_equal(fdset_open(conf, none[i], O_RDONLY, 0, &e), -ENOENT);
		assert_non_null(strstr(e.msg, "cannot open"));
	}
	fd = fdset_open(conf, "/dev/null", O_RDONLY, 0, &e);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	vm_conf_free(conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(opening),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
