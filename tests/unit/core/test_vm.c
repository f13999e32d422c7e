/* SPDX-License-Identifier: Apache-2.0 */
/* Building a VM, its life cycle, requests, vCPU threads and their mailbox, back ends. */
#include "core/fake.h"
#include "base/clock.h"
#include "base/log.h"
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- one device type ---- */

struct toy {
	struct dev dev;
	char *drive;
	struct map_region r;
	uint64_t born_ns; /* a moment of the host */
};

static int toy_init(struct dev *d, struct err *e)
{
	struct toy *t = container_of(d, struct toy, dev);

	if (t->drive && !backend_claim(d->vm, BACKEND_BLOCK, t->drive, d->path, e))
		return -ENOENT;
	return fake_step("toy", e);
}

static void toy_fini(struct dev *d)
{
	fake_step("~toy", NULL);
}

static void toy_reset(struct dev *d)
{
	fake_step("toyreset", NULL);
}

static void toy_pause(struct dev *d)
{
	fake_step("toypause", NULL);
}

static void toy_resume(struct dev *d)
{
	fake_step("toyresume", NULL);
}

static const struct prop toy_props[] = {
	PROP_STRING("drive", struct toy, drive, NULL, "the drive"),
	PROPS_END,
};

static const struct state_desc toy_state = {
	.name = "toy",
	.struct_name = "toy",
	.version = 1,
	.fields = (const struct state_field[]){ ST_HOST(struct toy, dev),
						ST_HOST(struct toy, drive), ST_HOST(struct toy, r),
						ST_NS(struct toy, born_ns), ST_END },
};

static const struct dev_type toy_type = {
	.name = "toy",
	.size = sizeof(struct toy),
	.props = toy_props,
	.state = &toy_state,
	.init = toy_init,
	.fini = toy_fini,
	.reset = toy_reset,
	.pause = toy_pause,
	.resume = toy_resume,
};

const struct dev_type *const dev_types[] = { &toy_type, NULL };

/* ---- helpers ---- */

static int setup(void **state)
{
	fake_guest = NULL;
	fake_log[0] = 0;
	fake_failure = NULL;
	return 0;
}

static struct vm_conf *conf(unsigned cpus)
{
	struct vm_conf *c = vm_conf_new();

	c->cpus = cpus;
	c->mem_size = MIB(1);
	return c;
}

static struct vm *new_vm(unsigned cpus)
{
	struct err e = { 0 };
	struct vm *vm = vm_new_take(conf(cpus), &e);

	if (!vm)
		fail_msg("%s", e.msg);
	return vm;
}

static struct vm *full_vm(struct err *e)
{
	struct vm_conf *c = conf(2);
	struct conf_node *n = conf_add(c, CONF_DEVICE, "toy", "t0", "-device toy");

	conf_set(n, "drive", "d0");
	conf_add(c, CONF_DRIVE, NULL, "d0", "-drive");
	conf_add(c, CONF_CHARDEV, "null", "c0", "-chardev");
	return vm_new_take(c, e);
}

/* ---- building ---- */

static void built_in_order(void **state)
{
	struct err e = { 0 };
	struct vm *vm = full_vm(&e);

	assert_non_null(vm);
	assert_string_equal(fake_log, "engine lapic vcpu lapic vcpu chardev backend board toy "
				      "finish reset reset toyreset boot ");
	assert_int_equal(vm->state, VM_PRELAUNCH);
	assert_true(vm->tsc_khz > 100000);
	fake_log[0] = 0;
	vm_free(vm);
	assert_string_equal(fake_log, "~toy ~board ~vcpu ~lapic ~vcpu ~lapic ~engine ~backend "
				      "~backend ");
	assert_null(vm_free(NULL));
}

/* A device's own words count more than -global's, of which the last does. */
static void globals_are_defaults(void **state)
{
	static const char *const want[] = { "own", "later" };

	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		struct vm_conf *c = conf(1);
		struct conf_node *n = conf_add(c, CONF_DEVICE, "toy", "t0", "-device toy");
		struct err e = { 0 };
		struct vm *vm;

		conf_add(c, CONF_DRIVE, NULL, "own", "-drive");
		conf_add(c, CONF_DRIVE, NULL, "later", "-drive");
		conf_set(conf_add(c, CONF_GLOBAL, "toy", NULL, "-global"), "drive", "earlier");
		conf_set(conf_add(c, CONF_GLOBAL, "toy", NULL, "-global"), "drive", "later");
		conf_set(conf_add(c, CONF_GLOBAL, "tool", NULL, "-global"), "drive", "other");
		if (i == 0)
			conf_set(n, "drive", "own");
		vm = vm_new_take(c, &e);
		if (!vm)
			fail_msg("%s", e.msg);
		assert_string_equal(((struct toy *)vm->devs)->drive, want[i]);
		vm_free(vm);
	}
}

static void every_failure_unwinds(void **state)
{
	static const char *const steps[] = { "engine", "vcpu", "lapic",	 "chardev", "backend",
					     "board",  "toy",  "finish", "boot" };

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct err e = { 0 };

		fake_failure = steps[i];
		assert_null(full_vm(&e)); /* leaks show under the address sanitizer */
		assert_non_null(strstr(e.msg, steps[i]));
	}
}

static void bad_names_are_explained(void **state)
{
	struct err e = { 0 };
	struct vm_conf *c = conf(1);

	free(c->accel);
	c->accel = xstrdup("sopt");
	assert_null(vm_new_take(c, &e));
	assert_string_equal(e.msg, "there is no engine 'sopt'; did you mean 'soft'");
	c = conf(1);
	conf_add(c, CONF_DEVICE, "toi", NULL, "-device toi");
	assert_null(vm_new_take(c, &e));
	assert_string_equal(e.msg, "-device toi: there is no device 'toi'; did you mean 'toy'?");
	c = conf(1);
	c->mem_size = 5000;
	assert_null(vm_new_take(c, &e));
	assert_non_null(strstr(e.msg, "5000"));
}

static const struct accel_ops *engine_of(const char *list, struct err *e)
{
	struct vm_conf *c = conf(1);
	const struct accel_ops *accel;
	struct vm *vm;

	c->accel = list ? xstrdup(list) : NULL;
	vm = vm_new_take(c, e);
	accel = vm ? vm->accel : NULL;
	vm_free(vm);
	return accel;
}

static void first_engine_that_works(void **state)
{
	struct err e = { 0 };

	assert_ptr_equal(engine_of(NULL, &e), &accel_fake);
	assert_ptr_equal(engine_of("soft", &e), &accel_fake);
	assert_ptr_equal(engine_of("absent:soft", &e), &accel_fake);
	assert_null(engine_of("absent", &e));
	assert_string_equal(e.msg, "no absent hardware");
	fake_failure =
		"engine"; /* another reason than absence is no reason to take another engine */
	assert_null(engine_of("soft:absent", &e));
	assert_non_null(strstr(e.msg, "engine"));
}

static void backends_are_claimed_once(void **state)
{
	struct err e = { 0 };
	struct vm_conf *c = conf(1);
	struct vm *vm;

	conf_add(c, CONF_DRIVE, NULL, "d0", "-drive");
	conf_add(c, CONF_DRIVE, NULL, "d0", "-drive");
	assert_null(vm_new_take(c, &e));
	assert_non_null(strstr(e.msg, "d0"));

	vm = full_vm(&e);
	assert_non_null(backend_find(vm, BACKEND_BLOCK, "d0"));
	assert_null(backend_find(vm, BACKEND_CHAR, "d0"));
	assert_null(backend_claim(vm, BACKEND_BLOCK, "d0", "other", &e));
	assert_string_equal(e.msg, "drive 'd0' is in use by t0 already");
	assert_null(backend_claim(vm, BACKEND_CHAR, "c1", "other", &e));
	assert_string_equal(e.msg, "there is no chardev with id 'c1'; did you mean 'c0'?");
	backend_release(vm, BACKEND_BLOCK, "d0");
	assert_non_null(backend_claim(vm, BACKEND_BLOCK, "d0", "other", &e));
	vm_free(vm);
}

/* ---- running ---- */

static _Atomic uint64_t ticks;

static enum vcpu_exit spin(struct vcpu *v)
{
	while (!(vcpu_events(v) & VCPU_EV_REQ)) {
		atomic_fetch_add(&ticks, 1);
		vcpu_poll(v);
	}
	return VCPU_EXIT_INTR;
}

static void wait_ticks(uint64_t more)
{
	uint64_t from = atomic_load(&ticks), until = clock_now_ns() + 20 * NS_PER_SEC;

	while (atomic_load(&ticks) < from + more) {
		assert_true(clock_now_ns() < until);
		usleep(100);
	}
}

static void pause_stands_still(void **state)
{
	struct err e = { 0 };
	struct vm *vm = new_vm(3);

	fake_guest = spin;
	assert_int_equal(vm_start(vm, &e), 0);
	for (int i = 0; i < 50; i++) {
		uint64_t at;

		wait_ticks(1);
		vm_pause(vm);
		at = atomic_load(&ticks);
		usleep(200);
		assert_int_equal(atomic_load(&ticks), at);
		assert_int_equal(vm->state, VM_RUNNING); /* nobody need know */
		assert_false(vm->going);
		vm_pause(vm); /* twice is fine */
		vm_resume(vm);
		vm_resume(vm);
	}
	vm_free(vm);
}

static void devices_hear_of_pause(void **state)
{
	struct err e = { 0 };
	struct vm *vm = full_vm(&e);

	assert_int_equal(vm_start(vm, &e), 0);
	fake_log[0] = 0;
	vm_pause(vm);
	vm_resume(vm);
	assert_string_equal(fake_log, "toypause toyresume ");
	vm_free(vm);
}

/* The guest's time stands still with it: what devices keep as moments moves along. */
static void time_stands_still_in_a_pause(void **state)
{
	struct err e = { 0 };
	struct vm *vm = full_vm(&e);
	struct toy *t = container_of(vm->devs, struct toy, dev);
	uint64_t before;

	assert_int_equal(vm_start(vm, &e), 0);
	t->born_ns = 1000;
	before = clock_now_ns();
	vm_pause(vm);
	usleep(3000);
	vm_resume(vm);
	assert_in_range(fake_held_ns, 3000000, clock_now_ns() - before);
	assert_int_equal(t->born_ns, 1000 + fake_held_ns);
	vm_free(vm);
}

static void on_vcpu(struct vcpu *v, void *arg)
{
	assert_ptr_equal(vcpu_current(), v);
	*(unsigned *)arg += 1 + v->index;
}

static void on_any(struct vcpu *v, void *arg)
{
	*(unsigned *)arg += 100;
}

static void runs_functions_on_vcpus(void **state)
{
	struct err e = { 0 };
	struct vm *vm = new_vm(2);
	unsigned sum = 0;

	vm_run_on(vm->vcpus[0], on_any, &sum); /* no thread yet: here */
	assert_int_equal(sum, 100);
	fake_guest = spin;
	assert_int_equal(vm_start(vm, &e), 0);
	for (int i = 0; i < 100; i++) {
		vm_run_on(vm->vcpus[0], on_vcpu, &sum);
		vm_run_on(vm->vcpus[1], on_vcpu, &sum);
	}
	wait_ticks(1); /* they run on afterwards */
	vm_pause(vm);
	vm_run_on(vm->vcpus[1], on_vcpu, &sum);
	assert_int_equal(sum, 100 + 300 + 2);
	assert_null(vcpu_current());
	vm_free(vm);
}

/* ---- sleeping and timers ---- */

static _Atomic uint64_t wakes;

static enum vcpu_exit sleeper(struct vcpu *v)
{
	for (;;) {
		vcpu_wait(v, VCPU_EV_INTR);
		if (vcpu_events(v) & VCPU_EV_INTR) {
			vcpu_clear(v, VCPU_EV_INTR);
			atomic_fetch_add(&wakes, 1);
		}
		if (vcpu_events(v) & VCPU_EV_REQ)
			return VCPU_EXIT_INTR;
	}
}

static void kicks_wake_sleepers(void **state)
{
	struct err e = { 0 };
	struct vm *vm = new_vm(1);
	struct vcpu *v = vm->vcpus[0];

	atomic_store(&wakes, 0);
	fake_guest = sleeper;
	assert_int_equal(vm_start(vm, &e), 0);
	for (uint64_t i = 1; i <= 5000; i++) {
		uint64_t until = clock_now_ns() + 20 * NS_PER_SEC;

		vcpu_kick(v, VCPU_EV_INTR);
		while (atomic_load(&wakes) < i)
			assert_true(clock_now_ns() < until);
	}
	vcpu_kick(v, VCPU_EV_SMI); /* not in its mask: it sleeps on */
	usleep(2000);
	assert_int_equal(atomic_load(&wakes), 5000);
	vm_free(vm);
}

static _Atomic uint64_t timer_at, timer_calls;

static void timer_hook(struct vcpu *v)
{
	assert_ptr_equal(vcpu_current(), v);
	atomic_store(&timer_at, clock_now_ns());
	atomic_fetch_add(&timer_calls, 1);
}

static const struct vcpu_ops timer_ops = { .timer = timer_hook };

static void deadline_fires_once(struct vm *vm, uint64_t calls)
{
	struct vcpu *v = vm->vcpus[0];
	uint64_t when = clock_now_ns() + 5 * NS_PER_MS, until = when + 20 * NS_PER_SEC;

	atomic_store(&v->deadline_ns, when);
	vcpu_kick(v, VCPU_EV_INTR); /* a sleeper looks at its deadline again */
	while (atomic_load(&timer_calls) < calls)
		assert_true(clock_now_ns() < until);
	assert_true(atomic_load(&timer_at) >= when);
	usleep(3000);
	assert_int_equal(atomic_load(&timer_calls), calls);
	assert_int_equal(atomic_load(&v->deadline_ns), UINT64_MAX);
}

static void deadlines(void **state)
{
	struct err e = { 0 };
	struct vm *vm = new_vm(1);

	atomic_store(&timer_calls, 0);
	vm->vcpus[0]->ops = &timer_ops;
	fake_guest = sleeper;
	assert_int_equal(vm_start(vm, &e), 0);
	deadline_fires_once(vm, 1);
	vm_pause(vm);
	fake_guest = spin;
	vm_resume(vm);
	deadline_fires_once(vm, 2);
	vm_free(vm);
}

/* ---- how it ends ---- */

static _Atomic unsigned boots;
static struct {
	enum vm_cause cause;
	bool reset, exit;
	int code;
} plan;

/* Asks once for what the plan says, from inside the guest; later boots power off. */
static enum vcpu_exit planned(struct vcpu *v)
{
	if (v->index == 0 && atomic_fetch_add(&boots, 1) == 0) {
		if (plan.exit)
			vm_request_exit(v->vm, plan.code, plan.cause);
		else if (plan.reset)
			vm_request_reset(v->vm, plan.cause);
		else if (plan.cause == VM_CAUSE_TRIPLE_FAULT)
			return VCPU_EXIT_SHUTDOWN;
		else if (plan.cause == VM_CAUSE_ENGINE_FAILURE)
			return VCPU_EXIT_FAIL;
		else
			vm_request_shutdown(v->vm, plan.cause);
		/* the request must have stopped this vCPU already */
		if (!(vcpu_events(v) & VCPU_EV_REQ))
			abort();
		return VCPU_EXIT_INTR;
	}
	if (v->index == 0)
		vm_request_shutdown(v->vm, VM_CAUSE_GUEST_SHUTDOWN);
	return spin(v);
}

static int end_of(bool no_reboot, enum vm_cause *cause)
{
	struct err e = { 0 };
	struct vm_conf *c = conf(2);
	struct vm *vm;
	int code;

	atomic_store(&boots, 0);
	fake_guest = planned;
	fake_log[0] = 0;
	c->no_reboot = no_reboot;
	vm = vm_new_take(c, &e);
	assert_non_null(vm);
	assert_int_equal(vm_start(vm, &e), 0);
	code = vm_run(vm);
	*cause = vm->cause;
	vm_free(vm);
	return code;
}

static void endings(void **state)
{
	static const struct {
		enum vm_cause cause;
		bool reset, exit;
		int code;
		bool no_reboot;
		enum vm_cause want_cause;
		int want_code;
		unsigned want_boots;
	} t[] = {
		{ VM_CAUSE_GUEST_SHUTDOWN, .want_cause = VM_CAUSE_GUEST_SHUTDOWN, .want_boots = 1 },
		{ VM_CAUSE_HOST_QUIT, .want_cause = VM_CAUSE_HOST_QUIT, .want_boots = 1 },
		{ VM_CAUSE_HOST_SIGNAL, .want_cause = VM_CAUSE_HOST_SIGNAL, .want_boots = 1 },
		{ VM_CAUSE_GUEST_PANIC, .want_cause = VM_CAUSE_GUEST_PANIC, .want_boots = 1 },
		{ VM_CAUSE_ENGINE_FAILURE, .want_cause = VM_CAUSE_ENGINE_FAILURE, .want_code = 1,
		  .want_boots = 1 },
		{ VM_CAUSE_GUEST_RESET, .reset = true, .want_cause = VM_CAUSE_GUEST_SHUTDOWN,
		  .want_boots = 2 },
		{ VM_CAUSE_TRIPLE_FAULT, .want_cause = VM_CAUSE_GUEST_SHUTDOWN, .want_boots = 2 },
		{ VM_CAUSE_GUEST_RESET, .reset = true, .no_reboot = true,
		  .want_cause = VM_CAUSE_GUEST_RESET, .want_boots = 1 },
		{ VM_CAUSE_TRIPLE_FAULT, .no_reboot = true, .want_cause = VM_CAUSE_TRIPLE_FAULT,
		  .want_boots = 1 },
		{ VM_CAUSE_DEBUG_EXIT, .exit = true, .code = 33, .want_cause = VM_CAUSE_DEBUG_EXIT,
		  .want_code = 33, .want_boots = 1 },
	};

	log_set_level((enum log_level) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		enum vm_cause cause;

		plan.cause = t[i].cause;
		plan.reset = t[i].reset;
		plan.exit = t[i].exit;
		plan.code = t[i].code;
		assert_int_equal(end_of(t[i].no_reboot, &cause), t[i].want_code);
		assert_int_equal(cause, t[i].want_cause);
		assert_int_equal(atomic_load(&boots), t[i].want_boots);
	}
	log_set_level(LOG_LEVEL_WARN);
}

static void failing_reset_ends(void **state)
{
	struct err e = { 0 };
	struct vm *vm = new_vm(1);

	log_set_level((enum log_level) - 1);
	fake_failure = "boot";
	fake_guest = spin;
	assert_int_equal(vm_start(vm, &e), 0);
	vm_request_reset(vm, VM_CAUSE_GUEST_RESET);
	assert_int_equal(vm_run(vm), 1);
	log_set_level(LOG_LEVEL_WARN);
	vm_free(vm);
}

static void strongest_request_wins(void **state)
{
	struct err e = { 0 };
	struct vm *vm = new_vm(1);

	fake_guest = spin;
	assert_int_equal(vm_start(vm, &e), 0);
	vm_request_reset(vm, VM_CAUSE_GUEST_RESET);
	vm_request_exit(vm, 5, VM_CAUSE_DEBUG_EXIT);
	vm_request_shutdown(vm, VM_CAUSE_GUEST_SHUTDOWN);
	vm_request_exit(vm, 6, VM_CAUSE_DEBUG_EXIT);
	assert_int_equal(vm_run(vm), 5);
	assert_int_equal(vm->cause, VM_CAUSE_DEBUG_EXIT);
	vm_free(vm);
}

static void quit_later(struct loop_timer *t);
static struct vm *quit_vm;
static struct loop_timer quit_timer = { .fn = quit_later };

static void quit_later(struct loop_timer *t)
{
	assert_int_equal(quit_vm->state, VM_SHUTDOWN);
	assert_int_equal(quit_vm->cause, VM_CAUSE_GUEST_SHUTDOWN);
	vm_request_shutdown(quit_vm, VM_CAUSE_HOST_QUIT);
}

static void no_shutdown_pauses(void **state)
{
	struct err e = { 0 };
	struct vm_conf *c = conf(1);

	c->no_shutdown = true;
	quit_vm = vm_new_take(c, &e);
	fake_guest = spin;
	assert_int_equal(vm_start(quit_vm, &e), 0);
	vm_request_shutdown(quit_vm, VM_CAUSE_GUEST_SHUTDOWN);
	loop_arm(quit_vm->loop, &quit_timer, clock_now_ns() + 20 * NS_PER_MS);
	assert_int_equal(vm_run(quit_vm), 0);
	assert_int_equal(quit_vm->cause, VM_CAUSE_HOST_QUIT);
	vm_free(quit_vm);
}

struct hook {
	struct vm_reset_hook h;
	char word[4];
};

static void hook_fn(struct vm_reset_hook *h)
{
	fake_step(container_of(h, struct hook, h)->word, NULL);
}

static void reset_order(void **state)
{
	struct err e = { 0 };
	struct vm *vm = full_vm(&e);
	struct hook a = { { hook_fn, NULL }, "ha" }, b = { { hook_fn, NULL }, "hb" };

	vm_add_reset_hook(vm, &a.h);
	vm_add_reset_hook(vm, &b.h);
	vcpu_kick(vm->vcpus[0], VCPU_EV_NMI);
	atomic_store(&vm->vcpus[0]->deadline_ns, 1);
	fake_log[0] = 0;
	assert_int_equal(vm_reset_machine(vm, &e), 0);
	assert_string_equal(fake_log, "reset reset toyreset ha hb boot ");
	assert_int_equal(vcpu_events(vm->vcpus[0]), 0);
	assert_int_equal(atomic_load(&vm->vcpus[0]->deadline_ns), UINT64_MAX);
	vm_free(vm);
}

#define T(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(built_in_order),
		T(globals_are_defaults),
		T(every_failure_unwinds),
		T(bad_names_are_explained),
		T(first_engine_that_works),
		T(backends_are_claimed_once),
		T(pause_stands_still),
		T(devices_hear_of_pause),
		T(time_stands_still_in_a_pause),
		T(runs_functions_on_vcpus),
		T(kicks_wake_sleepers),
		T(deadlines),
		T(endings),
		T(failing_reset_ends),
		T(strongest_request_wins),
		T(no_shutdown_pauses),
		T(reset_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
