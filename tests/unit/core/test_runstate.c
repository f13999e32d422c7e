/* SPDX-License-Identifier: Apache-2.0 */
/* Run states, actions, and the order of events that observers see. */
#include "core/fake.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/event.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

const struct dev_type *const dev_types[] = { NULL };

struct ear {
	struct vm_observer o;
	struct vm *vm;
	char text[16384]; /* events, in words: "STOP RESET(guest-reset) " */
};

static const char *const kinds[] = {
	[VM_EV_STOP] = "STOP",
	[VM_EV_RESUME] = "RESUME",
	[VM_EV_RESET] = "RESET",
	[VM_EV_SHUTDOWN] = "SHUTDOWN",
	[VM_EV_POWERDOWN] = "POWERDOWN",
	[VM_EV_GUEST_PANICKED] = "PANIC",
	[VM_EV_GUEST_CRASHLOADED] = "CRASH",
	[VM_EV_GUEST_PVSHUTDOWN] = "PVSHUTDOWN",
	[VM_EV_WATCHDOG] = "WATCHDOG",
	[VM_EV_RTC_CHANGE] = "RTC",
};

static void hear(struct vm_observer *o, const struct vm_event *ev)
{
	struct ear *ear = container_of(o, struct ear, o);
	size_t n = strlen(ear->text);
	const char *more = ev->cause ? vm_cause_name(ev->cause) : ev->name;

	assert_true(pthread_equal(pthread_self(), ear->vm->control));
	snprintf(ear->text + n, sizeof(ear->text) - n, *more ? "%s(%s) " : "%s%s ", kinds[ev->kind],
		 more);
}

static _Atomic uint64_t ticks;

static enum vcpu_exit spin(struct vcpu *v)
{
	while (!(vcpu_events(v) & VCPU_EV_REQ)) {
		if (v->index == 0)
			atomic_fetch_add(&ticks, 1);
		usleep(100);
	}
	return VCPU_EXIT_INTR;
}

static struct vm *new_vm(struct ear *ear, void (*prepare)(struct vm_conf *))
{
	struct err e = { 0 };
	struct vm_conf *c = vm_conf_new();

	fake_log[0] = 0;
	fake_failure = NULL;
	fake_guest = spin;
	c->cpus = 2;
	c->mem_size = MIB(1);
	if (prepare)
		prepare(c);
	memset(ear, 0, sizeof(*ear));
	ear->o.fn = hear;
	ear->vm = vm_new_take(c, &e);
	assert_non_null(ear->vm);
	vm_observe(ear->vm, &ear->o);
	assert_int_equal(vm_start(ear->vm, &e), 0);
	return ear->vm;
}

static void no_shutdown(struct vm_conf *c)
{
	c->no_shutdown = true;
}

static void no_reboot(struct vm_conf *c)
{
	c->no_reboot = true;
}

static void neither(struct vm_conf *c)
{
	c->no_reboot = c->no_shutdown = true;
}

static void paused(struct vm_conf *c)
{
	c->start_paused = true;
}

static void expect(struct ear *ear, enum vm_state state, const char *events)
{
	assert_string_equal(ear->text, events);
	assert_int_equal(ear->vm->state, state);
	ear->text[0] = 0;
}

static void guest_runs(struct vm *vm)
{
	uint64_t from = atomic_load(&ticks);

	while (atomic_load(&ticks) < from + 4)
		usleep(100);
}

static void guest_stands(struct vm *vm)
{
	uint64_t from;

	vm_pause(vm); /* waits for what is on its way */
	from = atomic_load(&ticks);
	usleep(2000);
	assert_int_equal(atomic_load(&ticks), from);
}

/* ---- */

static void stop_and_cont(void **state)
{
	struct ear ear;
	struct vm *vm = new_vm(&ear, NULL);
	struct err e = { 0 };

	expect(&ear, VM_RUNNING, "RESUME ");
	assert_int_equal(vm_cont(vm, &e), 0);
	expect(&ear, VM_RUNNING, "");
	vm_stop(vm, VM_PAUSED);
	expect(&ear, VM_PAUSED, "STOP ");
	guest_stands(vm);
	vm_stop(vm, VM_IO_ERROR);
	expect(&ear, VM_PAUSED, "");
	assert_int_equal(vm_cont(vm, &e), 0);
	expect(&ear, VM_RUNNING, "RESUME ");
	guest_runs(vm);
	vm_free(vm);
}

static void starts_paused(void **state)
{
	struct ear ear;
	struct vm *vm = new_vm(&ear, paused);
	struct err e = { 0 };

	expect(&ear, VM_PRELAUNCH, "");
	assert_true(vm->vcpus[1]->has_thread); /* clients want to place it before it runs */
	assert_true(vcpu_tid(vm->vcpus[0]) != vcpu_tid(vm->vcpus[1]) &&
		    vcpu_tid(vm->vcpus[0]) != getpid());
	assert_int_equal(syscall(SYS_tgkill, getpid(), vcpu_tid(vm->vcpus[1]), 0), 0);
	guest_stands(vm);
	assert_int_equal(vm_cont(vm, &e), 0);
	expect(&ear, VM_RUNNING, "RESUME ");
	guest_runs(vm);
	vm_free(vm);
}

/* What libvirt does for a reboot: the guest switches itself off, is reset and continued. */
static void reboot_cycle(void **state)
{
	struct ear ear;
	struct vm *vm = new_vm(&ear, no_shutdown);
	struct err e = { 0 };

	ear.text[0] = 0;
	vm_request_powerdown(vm);
	vm_carry_out(vm);
	expect(&ear, VM_RUNNING, "POWERDOWN ");
	assert_non_null(strstr(fake_log, "button "));
	vm_request_shutdown(vm, VM_CAUSE_GUEST_SHUTDOWN);
	vm_carry_out(vm);
	expect(&ear, VM_SHUTDOWN, "SHUTDOWN(guest-shutdown) STOP ");
	guest_stands(vm);
	assert_int_equal(vm_cont(vm, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "Resetting the Virtual Machine is required"));
	vm_request_reset(vm, VM_CAUSE_HOST_RESET);
	vm_carry_out(vm);
	expect(&ear, VM_PRELAUNCH, "RESET(host-qmp-system-reset) ");
	guest_stands(vm);
	assert_int_equal(vm_cont(vm, &e), 0);
	expect(&ear, VM_RUNNING, "RESUME ");
	guest_runs(vm);
	assert_false(vm->ended);
	vm_request_exit(vm, 0, VM_CAUSE_HOST_SIGNAL);
	assert_int_equal(vm_run(vm), 0);
	expect(&ear, VM_SHUTDOWN, "SHUTDOWN(host-signal) ");
	vm_free(vm);
}

static void reset_goes_on(void **state)
{
	struct ear ear;
	struct vm *vm = new_vm(&ear, NULL);

	ear.text[0] = 0;
	vm_request_reset(vm, VM_CAUSE_GUEST_RESET);
	vm_carry_out(vm);
	expect(&ear, VM_RUNNING, "RESET(guest-reset) ");
	guest_runs(vm);
	vm_stop(vm, VM_PAUSED);
	vm_request_reset(vm, VM_CAUSE_HOST_RESET);
	vm_carry_out(vm);
	expect(&ear, VM_PRELAUNCH, "STOP RESET(host-qmp-system-reset) ");
	guest_stands(vm);
	vm_free(vm);
}

struct end_case {
	void (*conf)(struct vm_conf *);
	enum vm_panic_action panic;
	enum vm_cause cause;
	bool reset, ends;
	enum vm_state state;
	int code;
	const char *events;
};

/* Each action with each cause, against what QEMU does. */
static void actions(void **state)
{
	static const struct end_case t[] = {
		{ NULL, PANIC_SHUTDOWN, VM_CAUSE_GUEST_SHUTDOWN, false, true, VM_SHUTDOWN, 0,
		  "SHUTDOWN(guest-shutdown) " },
		{ no_shutdown, PANIC_SHUTDOWN, VM_CAUSE_HOST_QUIT, false, true, VM_SHUTDOWN, 0,
		  "SHUTDOWN(host-qmp-quit) " },
		{ no_reboot, PANIC_SHUTDOWN, VM_CAUSE_GUEST_RESET, true, true, VM_SHUTDOWN, 0,
		  "SHUTDOWN(guest-reset) " },
		{ no_reboot, PANIC_SHUTDOWN, VM_CAUSE_HOST_RESET, true, true, VM_SHUTDOWN, 0,
		  "SHUTDOWN(host-qmp-system-reset) " },
		{ neither, PANIC_SHUTDOWN, VM_CAUSE_GUEST_RESET, true, false, VM_SHUTDOWN, 0,
		  "SHUTDOWN(guest-reset) STOP " },
		{ NULL, PANIC_SHUTDOWN, VM_CAUSE_GUEST_PANIC, false, true, VM_SHUTDOWN, 0,
		  "PANIC(poweroff) STOP SHUTDOWN(guest-panic) " },
		{ NULL, PANIC_EXIT_FAILURE, VM_CAUSE_GUEST_PANIC, false, true, VM_SHUTDOWN, 1,
		  "PANIC(poweroff) STOP SHUTDOWN(guest-panic) " },
		{ NULL, PANIC_PAUSE, VM_CAUSE_GUEST_PANIC, false, false, VM_GUEST_PANICKED, 0,
		  "PANIC(pause) STOP " },
		{ no_shutdown, PANIC_SHUTDOWN, VM_CAUSE_GUEST_PANIC, false, false,
		  VM_GUEST_PANICKED, 0, "PANIC(pause) STOP " },
		{ NULL, PANIC_NONE, VM_CAUSE_GUEST_PANIC, false, false, VM_RUNNING, 0,
		  "PANIC(run) " },
		{ NULL, PANIC_SHUTDOWN, VM_CAUSE_ENGINE_FAILURE, false, true, VM_SHUTDOWN, 1,
		  "SHUTDOWN(host-error) " },
		{ no_shutdown, PANIC_SHUTDOWN, VM_CAUSE_ENGINE_FAILURE, false, false,
		  VM_INTERNAL_ERROR, 0, "STOP " },
	};

	log_set_level((enum log_level) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct ear ear;
		struct vm *vm = new_vm(&ear, t[i].conf);

		ear.text[0] = 0;
		vm->actions.panic = t[i].panic;
		if (t[i].reset)
			vm_request_reset(vm, t[i].cause);
		else
			vm_request_shutdown(vm, t[i].cause);
		vm_carry_out(vm);
		expect(&ear, t[i].state, t[i].events);
		assert_int_equal(vm->ended, t[i].ends);
		assert_int_equal(vm->exit_code, t[i].code);
		if (vm->state == VM_RUNNING)
			guest_runs(vm);
		else
			guest_stands(vm);
		vm_free(vm);
	}
	log_set_level(LOG_LEVEL_WARN);
}

static void watchdogs(void **state)
{
	static const struct {
		enum vm_watchdog_action action;
		enum vm_state state;
		const char *events;
	} t[] = {
		{ WATCHDOG_RESET, VM_RUNNING, "WATCHDOG(reset) RESET(guest-reset) " },
		{ WATCHDOG_POWEROFF, VM_SHUTDOWN, "WATCHDOG(poweroff) SHUTDOWN(guest-reset) " },
		{ WATCHDOG_PAUSE, VM_WATCHDOG, "WATCHDOG(pause) STOP " },
		{ WATCHDOG_DEBUG, VM_RUNNING, "WATCHDOG(debug) " },
		{ WATCHDOG_NONE, VM_RUNNING, "WATCHDOG(none) " },
		{ WATCHDOG_INJECT_NMI, VM_RUNNING, "WATCHDOG(inject-nmi) " },
		{ WATCHDOG_SHUTDOWN, VM_RUNNING, "WATCHDOG(shutdown) POWERDOWN " },
	};

	log_set_level((enum log_level) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct ear ear;
		struct vm *vm = new_vm(&ear, NULL);

		ear.text[0] = 0;
		vm->actions.watchdog = t[i].action;
		vm_watchdog_expired(vm);
		vm_carry_out(vm);
		if (t[i].action == WATCHDOG_SHUTDOWN)
			vm_carry_out(vm);
		expect(&ear, t[i].state, t[i].events);
		if (t[i].action == WATCHDOG_INJECT_NMI)
			assert_true(vcpu_events(vm->vcpus[1]) & VCPU_EV_NMI);
		vm_free(vm);
	}
	log_set_level(LOG_LEVEL_WARN);
}

static void device_stops_the_guest(void **state)
{
	struct ear ear;
	struct vm *vm = new_vm(&ear, NULL);

	ear.text[0] = 0;
	vm_request_stop(vm, VM_IO_ERROR);
	vm_carry_out(vm);
	expect(&ear, VM_IO_ERROR, "STOP ");
	guest_stands(vm);
	vm_free(vm);
}

/* ---- jobs that the guest stands still for ---- */

typedef void ask_fn(struct vm *);
static ask_fn *_Atomic last_word; /* of vCPU 0, as it is told to stop */

static enum vcpu_exit asker(struct vcpu *v)
{
	enum vcpu_exit why = spin(v);
	ask_fn *ask = v->index == 0 ? atomic_exchange(&last_word, NULL) : NULL;

	if (ask)
		ask(v->vm);
	return why;
}

static void asks_reset(struct vm *vm)
{
	vm_request_reset(vm, VM_CAUSE_GUEST_RESET);
}

static void asks_power_off(struct vm *vm)
{
	vm_request_shutdown(vm, VM_CAUSE_GUEST_SHUTDOWN);
}

static void asks_stop(struct vm *vm)
{
	vm_request_stop(vm, VM_IO_ERROR);
}

static void nothing_asked_is_lost_in_a_job(void **state)
{
	static const struct {
		ask_fn *asks;
		void (*conf)(struct vm_conf *);
		const char *events;
		enum vm_state before;
		bool ends;
	} t[] = {
		{ NULL, NULL, "STOP ", VM_RUNNING, false },
		{ asks_reset, NULL, "RESET(guest-reset) STOP ", VM_RUNNING, false },
		{ asks_power_off, NULL, "SHUTDOWN(guest-shutdown) ", VM_RUNNING, true },
		{ asks_power_off, no_shutdown, "SHUTDOWN(guest-shutdown) STOP ", VM_SHUTDOWN,
		  false },
		{ asks_stop, NULL, "STOP ", VM_IO_ERROR, false },
		/* One thing leads to another. */
		{ vm_watchdog_expired, NULL, "WATCHDOG(reset) RESET(guest-reset) STOP ", VM_RUNNING,
		  false },
		{ vm_request_powerdown, NULL, "POWERDOWN STOP ", VM_RUNNING, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct ear ear;
		struct vm *vm = new_vm(&ear, t[i].conf);
		struct err e = { 0 };
		enum vm_state before = VM_RUNNING;

		vm_pause(vm);
		fake_guest = asker;
		vm_resume(vm);
		guest_runs(vm);
		atomic_store(&last_word, t[i].asks);
		ear.text[0] = 0;
		assert_int_equal(vm_stop_for(vm, VM_FINISH_MIGRATE, &before, &e),
				 t[i].ends ? -ECANCELED : 0);
		expect(&ear, t[i].ends ? VM_SHUTDOWN : VM_FINISH_MIGRATE, t[i].events);
		assert_int_equal(before, t[i].before);
		assert_int_equal(vm->ended, t[i].ends);
		guest_stands(vm);
		assert_int_equal(atomic_load(&vm->requests) | atomic_load(&vm->asks), 0);
		vm_free(vm);
	}
}

/* ---- events from other threads ---- */

static bool told; /* vCPU 0's */

/* Far more than the queue holds, of two sources; then a shutdown, which must be seen last. */
static enum vcpu_exit teller(struct vcpu *v)
{
	if (v->index == 0 && !told) { /* a kick may bring us here again */
		told = true;
		for (int i = 0; i < 1000; i++)
			vm_tell_name(v->vm, VM_EV_RTC_CHANGE, i & 1 ? "a" : "b");
		vm_request_shutdown(v->vm, VM_CAUSE_GUEST_SHUTDOWN);
	}
	return spin(v);
}

static void tell_from_vcpus(void **state)
{
	struct ear ear;
	struct vm *vm = new_vm(&ear, paused);
	struct err e = { 0 };
	size_t n;

	told = false;
	fake_guest = teller;
	assert_int_equal(vm_cont(vm, &e), 0);
	assert_int_equal(vm_run(vm), 0);
	assert_non_null(strstr(ear.text, "RTC(a) "));
	assert_non_null(strstr(ear.text, "RTC(b) "));
	n = strlen(ear.text);
	assert_true(n > 25);
	assert_string_equal(ear.text + n - 25, "SHUTDOWN(guest-shutdown) ");
	vm_unobserve(vm, &ear.o);
	vm_tell_name(vm, VM_EV_STOP, NULL);
	assert_int_equal(strlen(ear.text), n);
	vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stop_and_cont),
		cmocka_unit_test(starts_paused),
		cmocka_unit_test(reboot_cycle),
		cmocka_unit_test(reset_goes_on),
		cmocka_unit_test(actions),
		cmocka_unit_test(watchdogs),
		cmocka_unit_test(device_stops_the_guest),
		cmocka_unit_test(nothing_asked_is_lost_in_a_job),
		cmocka_unit_test(tell_from_vcpus),
	};

	log_set_level(LOG_LEVEL_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
