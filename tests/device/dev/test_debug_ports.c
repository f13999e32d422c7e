/* SPDX-License-Identifier: Apache-2.0 */
/* isa-debugcon, isa-debug-exit, pvpanic: made as a user makes them. */
#include "cmocka_all.h"
#include "fake_machine.h"
#include "char/char.h"
#include "core/backend.h"
#include <unistd.h>

static int setup(void **state)
{
	*state = fm_new(0, 0, false);
	return 0;
}

static int teardown(void **state)
{
	fm_free(*state);
	return 0;
}

static struct dev *make(struct fm *m, const char *type, const char *key, const char *val)
{
	struct conf_node *n = conf_add(m->vm.conf, CONF_DEVICE, type, NULL, "-device");
	struct err e = { 0 };
	struct dev *d;

	if (key)
		conf_set(n, key, val);
	if (dev_create(&m->vm, n, &d, &e))
		fail_msg("%s", e.msg);
	return d;
}

static uint32_t request(struct fm *m)
{
	return atomic_exchange(&m->vm.requests, 0);
}

static void test_exit(void **state)
{
	struct fm *m = *state;

	make(m, "isa-debug-exit", NULL, NULL);
	fm_out(m, 0x501, 0x10, 1);
	assert_int_equal(request(m) & 0xff0000ff, 3u << 24 | 0x21);
	fm_out(m, 0x501, 0, 1);
	assert_int_equal(request(m) & 0xff, 1); /* never 0 */
	make(m, "isa-debug-exit", "iobase", "0xf4");
	fm_out(m, 0xf4, 3, 1);
	assert_int_equal(request(m) & 0xff, 7);
	assert_int_equal(fm_in(m, 0xf4, 1), 0);
}

static void test_panic(void **state)
{
	struct fm *m = *state;
	uint32_t word;

	make(m, "pvpanic", "events", "3");
	assert_int_equal(fm_in(m, 0x505, 1), 3);
	fm_out(m, 0x505, 2, 1); /* a crash kernel takes over */
	assert_int_equal(request(m), 0);
	fm_out(m, 0x505, 4, 1); /* not offered */
	assert_int_equal(request(m), 0);
	fm_out(m, 0x505, 1, 1);
	word = request(m);
	assert_int_equal(word >> 24, 2);
	assert_int_equal(word >> 8 & 0xff, VM_CAUSE_GUEST_PANIC);
	dev_destroy(m->vm.devs);
	make(m, "pvpanic", NULL, NULL);
	assert_int_equal(fm_in(m, 0x505, 1), 7);
	fm_out(m, 0x505, 4, 1);
	word = request(m);
	assert_int_equal(word >> 24, 2);
	assert_int_equal(word >> 8 & 0xff, VM_CAUSE_GUEST_SHUTDOWN);
	fm_out(m, 0x505, 7, 1); /* of several the worst */
	assert_int_equal(request(m) >> 8 & 0xff, VM_CAUSE_GUEST_PANIC);
}

static void close_end(void *end)
{
	char_close(end);
}

static void test_debugcon(void **state)
{
	struct fm *m = *state;
	struct conf_node *n = conf_add(m->vm.conf, CONF_CHARDEV, "file", "dbg", "-chardev");
	char path[] = "/tmp/hanok-dbg-XXXXXX", got[8] = { 0 };
	int fd = mkstemp(path);
	struct err e = { 0 };
	struct dev *d;
	struct char_end *end;

	make(m, "isa-debugcon", "iobase", "0x402"); /* without an end */
	fm_out(m, 0x402, 'x', 1);
	assert_int_equal(fm_in(m, 0x402, 1), 0xe9);
	conf_set(n, "path", path);
	end = char_open(m->vm.loop, n, &e);
	if (!end)
		fail_msg("%s", e.msg);
	assert_int_equal(backend_add_take(&m->vm, BACKEND_CHAR, "dbg", end, close_end, &e), 0);
	d = make(m, "isa-debugcon", "chardev", "dbg");
	fm_out(m, 0xe9, 'h', 1);
	fm_out(m, 0xe9, 'i', 1);
	loop_once(m->vm.loop, 0);
	dev_destroy(d);
	assert_int_equal(fm_in(m, 0xe9, 1), 0xff);
	make(m, "isa-debugcon", "chardev", "dbg"); /* free again */
	while (m->vm.devs)
		dev_destroy(m->vm.devs);
	backend_close_all(&m->vm);
	assert_int_equal(pread(fd, got, sizeof(got), 0), 2);
	assert_string_equal(got, "hi");
	close(fd);
	unlink(path);
}

static void test_bad_properties(void **state)
{
	struct fm *m = *state;
	struct conf_node *n = conf_add(m->vm.conf, CONF_DEVICE, "isa-debug-exit", NULL, "-device");
	struct err e = { 0 };
	struct dev *d;

	conf_set(n, "iosize", "5");
	assert_true(dev_create(&m->vm, n, &d, &e) < 0);
	assert_non_null(strstr(e.msg, "iosize"));
	n = conf_add(m->vm.conf, CONF_DEVICE, "pvpanic", NULL, "-device");
	conf_set(n, "ioprt", "5");
	assert_true(dev_create(&m->vm, n, &d, &e) < 0);
	assert_non_null(strstr(e.msg, "ioport")); /* the nearest known word */
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { T(test_exit), T(test_panic), T(test_debugcon),
					    T(test_bad_properties) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
