/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversations in this process, where time and jobs can be had at will: rate limits of events,
 * replies that come later, requests that overtake them, clients that leave in between.
 */
#include "cmocka_all.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/event.h"
#include "mon/cmd.h"
#include "mon_vm.h"
#include <stdio.h>
#include <unistd.h>

static struct vm *vm;
static struct mon *mon;

static int setup(void **state)
{
	vm = mon_vm_new("q35", 1);
	mon = mon_new(vm);
	return 0;
}

static int teardown(void **state)
{
	mon_vm_free(vm, mon);
	return 0;
}

static void tell(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int client(const char *id, const char *capabilities)
{
	int fd = mon_vm_client(vm, mon, id, "control");
	autofree char *hello = mon_vm_read(vm, fd), *ok = NULL;

	assert_non_null(strstr(hello, "\"QMP\""));
	tell(fd, capabilities);
	ok = mon_vm_read(vm, fd);
	assert_string_equal(ok, "{\"return\": {}}\r\n");
	return fd;
}

static const char plain[] = "{\"execute\":\"qmp_capabilities\"}";

static unsigned count(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

static void rtc(int64_t offset)
{
	struct vm_event ev = { .kind = VM_EV_RTC_CHANGE, .value = offset, .path = "/machine/rtc" };

	vm_tell(vm, &ev);
}

/* The first at once, then at most one a second, and of those in between the newest. */
static void rate_limits(void **state)
{
	int fd = client("c0", plain);
	uint64_t start = clock_now_ns(), until;
	autofree char *first = NULL;

	for (int i = 0; i < 100; i++)
		rtc(i);
	first = mon_vm_read(vm, fd);
	assert_int_equal(count(first, "RTC_CHANGE"), 1);
	assert_non_null(strstr(first, "\"offset\": 0,"));
	for (until = start + 60 * NS_PER_SEC; clock_now_ns() < until;) {
		autofree char *more = NULL;

		mon_vm_run(vm, 50);
		more = mon_vm_read(vm, fd);
		if (!*more)
			continue;
		assert_true(clock_now_ns() - start >= 900 * NS_PER_MS);
		assert_int_equal(count(more, "RTC_CHANGE"), 1);
		assert_non_null(strstr(more, "\"offset\": 99,"));
		break;
	}
	assert_true(clock_now_ns() < until);
	rtc(7); /* the second is not over: held, and freed with the monitor */
	close(fd);
}

/* Each source by itself, and other events not at all. */
static void limits_by_key(void **state)
{
	int fd = client("c0", plain);
	autofree char *text = NULL;

	for (int i = 0; i < 6; i++) {
		struct vm_event ev = { .kind = VM_EV_VSERPORT_CHANGE, .value = i & 1 };

		snprintf(ev.name, sizeof(ev.name), "port%d", i % 3);
		vm_tell(vm, &ev);
		vm_tell_name(vm, VM_EV_POWERDOWN, NULL);
	}
	text = mon_vm_read(vm, fd);
	assert_int_equal(count(text, "VSERPORT_CHANGE"), 3);
	assert_int_equal(count(text, "POWERDOWN"), 6);
	close(fd);
}

/* More sources than are kept: bounded. */
static void too_many_sources(void **state)
{
	int fd = client("c0", plain);
	autofree char *text = NULL;

	for (int i = 0; i < 1000; i++) {
		struct vm_event ev = { .kind = VM_EV_VSERPORT_CHANGE };

		snprintf(ev.name, sizeof(ev.name), "port%d", i);
		vm_tell(vm, &ev);
	}
	text = mon_vm_read(vm, fd);
	assert_in_range(count(text, "VSERPORT_CHANGE"), 10, 100);
	close(fd);
}

/* ---- later ---- */

static struct mon_later *later;
static json_t *slow_call(struct mon_cmd *c, const void *a, struct err *e)
{
	later = mon_defer(c);
	return NULL;
}

/* stop takes long, as far as this test is concerned. */
static void make_slow(struct qmp_command *slow)
{
	*slow = *qmp_command_find("stop");
	slow->call = slow_call;
}

static void replies_later(void **state)
{
	struct mon_cmd c = { .mon = mon, .vm = vm };
	struct qmp_command slow;
	struct err e = { 0 }, failed = { 0 };

	/* for nobody: what mon_run() and HMP do */
	make_slow(&slow);
	c.what = &slow;
	assert_null(slow.call(&c, NULL, &e));
	mon_finish(later, json_pack("{}"), NULL);
	c.later = NULL;
	slow.call(&c, NULL, &e);
	err_set(&failed, EIO, "no");
	mon_finish(later, NULL, &failed);
}

/* A monitor that goes first leaves the job its handle. */
static void outlives_monitor(void **state)
{
	struct mon *m = mon_new(vm);
	struct mon_cmd c = { .mon = m, .vm = vm };
	struct qmp_command slow;
	struct err e = { 0 };

	make_slow(&slow);
	c.what = &slow;
	slow.call(&c, NULL, &e);
	mon_free(m);
	mon_finish(later, NULL, NULL);
}

static void events_reach_only_who_negotiated(void **state)
{
	int fd = mon_vm_client(vm, mon, "c0", "control");
	autofree char *hello = mon_vm_read(vm, fd), *none = NULL, *one = NULL;

	assert_non_null(strstr(hello, "\"QMP\""));
	vm_tell_name(vm, VM_EV_POWERDOWN, NULL);
	none = mon_vm_read(vm, fd);
	assert_string_equal(none, "");
	tell(fd, plain);
	mon_vm_run(vm, 0);
	vm_tell_name(vm, VM_EV_POWERDOWN, NULL);
	one = mon_vm_read(vm, fd);
	assert_int_equal(count(one, "POWERDOWN"), 1);
	close(fd);
}

/* Every kind of event is one of the schema's, with what the schema says of it. */
static void every_event_fits(void **state)
{
	int fd = client("c0", plain);
	autofree char *text = NULL;
	static const char *const names[] = {
		[VM_EV_GUEST_PANICKED] = "pause", [VM_EV_GUEST_CRASHLOADED] = "run",
		[VM_EV_WATCHDOG] = "reset",	  [VM_EV_MIGRATION] = "active",
		[VM_EV_VSERPORT_CHANGE] = "p",	  [VM_EV_MIGRATION_PASS] = "",
	};

	for (unsigned k = 0; k <= VM_EV_MIGRATION_PASS; k++) {
		struct vm_event ev = { .kind = (enum vm_event_kind)k };
		const char *name = k < ARRAY_SIZE(names) && names[k] ? names[k] : "";
		struct err e = { 0 };
		json_error_t why;
		json_t *got, *data;
		const struct qmp_event_type *type;

		snprintf(ev.name, sizeof(ev.name), "%s", name);
		if (k == VM_EV_RESET || k == VM_EV_SHUTDOWN)
			ev.cause = VM_CAUSE_GUEST_RESET;
		vm_tell(vm, &ev);
		free(text);
		text = mon_vm_read(vm, fd);
		if (!*text) /* not in the schema yet: nobody tells it either */
			continue;
		got = json_loads(text, 0, &why);
		assert_non_null(got);
		type = qmp_event_find(json_string_value(json_object_get(got, "event")));
		assert_non_null(type);
		data = json_object_get(got, "data");
		assert_int_equal(!type->gives, !data);
		if (data && qmp_check(type->gives, data, &e) < 0)
			fail_msg("%s: %s", type->name, e.msg);
		json_decref(got);
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(rate_limits),	     T(limits_by_key),	  T(too_many_sources),
		T(replies_later),    T(outlives_monitor), T(events_reach_only_who_negotiated),
		T(every_event_fits),
	};

	log_set_level((enum log_level) - 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
