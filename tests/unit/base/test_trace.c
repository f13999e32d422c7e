/* SPDX-License-Identifier: Apache-2.0 */
/* Trace points: which are on, and what their lines say. */
#include "base/base.h"
#include "base/log.h"
#include "base/trace.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

static int out[2];

static int set_up(void **state)
{
	if (pipe2(out, O_NONBLOCK | O_CLOEXEC) < 0)
		return -1;
	log_set_fd(out[1]);
	return 0;
}

/* What was logged since the last call; nothing is "". */
static const char *said(char *text, size_t size)
{
	ssize_t n = read(out[0], text, size - 1);

	text[MAX(n, 0)] = '\0';
	return text;
}

static bool is_on(enum trace_id id)
{
	return atomic_load(&trace_on[id]);
}

static void patterns(void **state)
{
	char text[512];

	trace_ask("virtio_*");
	assert_true(is_on(TRACE_ID_virtio_notify) && is_on(TRACE_ID_virtio_set_status));
	assert_false(is_on(TRACE_ID_kvm_run_exit) || is_on(TRACE_ID_vm_state_notify));
	trace_ask("-virtio_?otify");
	assert_false(is_on(TRACE_ID_virtio_notify));
	assert_true(is_on(TRACE_ID_virtio_queue_notify));
	assert_int_equal(trace_set("*", true), TRACE_NR);
	assert_int_equal(trace_set("*", false), TRACE_NR);
	trace_ask("[v]*");
	trace_ask("[v]irtio_notif?");
	assert_false(is_on(TRACE_ID_virtio_notify));
	trace_ask("no_such*");
	assert_string_equal(said(text, sizeof(text)), "");
	trace_ask("[v]irtio_notify");
	assert_non_null(strstr(said(text, sizeof(text)), "'[v]irtio_notify' does not exist"));
	trace_ask("virtio_notif");
	assert_non_null(strstr(said(text, sizeof(text)),
			       "warning: trace event 'virtio_notif' does not exist"));
}

static void globs(void **state)
{
	static const struct {
		const char *pattern;
		bool matches; /* virtio_queue_notify */
	} cases[] = {
		{ "virtio_queue_notify", true },
		{ "virtio_queue_notif", false },
		{ "virtio_queue_notifyy", false },
		{ "", false },
		{ "*", true },
		{ "**", true },
		{ "*y", true },
		{ "*_notify*", true },
		{ "v*q*n*y", true },
		{ "*notify_notify", false },
		{ "*ue*ue*", true },
		{ "*ue*ue*ue*", false },
		{ "?irtio_queue_notif?", true },
		{ "?virtio_queue_notify", false },
		{ "virtio_queue_notify?", false },
		{ "virtio_[q]ueue_notify", false },
		{ "virtio_queue_notify\\", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (trace_match(TRACE_ID_virtio_queue_notify, cases[i].pattern) != cases[i].matches)
			fail_msg("pattern %s", cases[i].pattern);
}

/* A name is one event's, and an identifier that no pattern can be mistaken for. */
static void names(void **state)
{
	for (unsigned i = 0; i < TRACE_NR; i++) {
		const char *name = trace_name((enum trace_id)i);

		assert_false(trace_is_pattern(name));
		assert_int_equal(trace_set(name, false), 1);
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(name, trace_name((enum trace_id)k));
	}
}

static void lines(void **state)
{
	char text[512], name[64];
	int tid, end = 0;
	long sec, usec;

	trace_virtio_queue_notify("/virtio0", 3);
	assert_string_equal(said(text, sizeof(text)), "");
	trace_set("*", true);
	errno = ENOENT;
	trace_virtio_queue_notify("/virtio0", 3);
	assert_int_equal(errno, ENOENT);
	trace_virtio_set_status("/virtio0", 15);
	trace_virtio_notify("/virtio0", 1);
	trace_kvm_run_exit(2, 6);
	trace_vm_state_notify(0, "paused");
	assert_string_equal(said(text, sizeof(text)), "virtio_queue_notify vdev /virtio0 n 3\n"
						      "virtio_set_status vdev /virtio0 val 15\n"
						      "virtio_notify vdev /virtio0 vq 1\n"
						      "kvm_run_exit cpu_index 2, reason 6\n"
						      "vm_state_notify running 0 reason paused\n");
	trace_handle_hmp_command("info\n\x1b[2Jx\x7f");
	assert_string_equal(said(text, sizeof(text)), "handle_hmp_command cmdline: info??[2Jx?\n");
	log_set_timestamps(true);
	trace_kvm_run_exit(2, 6);
	assert_int_equal(sscanf(said(text, sizeof(text)),
				"%d@%ld.%6ld:%63s cpu_index 2, reason 6%n", &tid, &sec, &usec, name,
				&end),
			 4);
	assert_int_equal(tid, gettid());
	assert_string_equal(name, "kvm_run_exit");
	assert_string_equal(text + end, "\n");
	trace_set("*", false);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(patterns), cmocka_unit_test(globs),
					    cmocka_unit_test(names), cmocka_unit_test(lines) };

	return cmocka_run_group_tests(tests, set_up, NULL);
}
