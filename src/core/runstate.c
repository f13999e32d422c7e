/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's run states (vm.h): running and standing still, requests to reset, stop and end, and what
 * is told of them (event.h). The order of events and what -no-shutdown, -no-reboot and the actions
 * mean is QEMU's (docs/monitor.md).
 *
 * Requests come from any thread as one atomic word, which the control thread takes from its loop.
 * The word holds the strongest request so far: kind, cause and exit code, so that they cannot be
 * torn apart. What does not exclude others (the power button, a device's stop) is a bit of a
 * second word.
 *
 * State: vm->state goes with a save as what the machine was before it.
 */
#include "base/base.h"
#include "base/log.h"
#include "base/trace.h"
#include "core/arch.h"
#include "core/dev.h"
#include "core/event.h"
#include "core/vm.h"
#include "core/vm_int.h"

/* The request word; a larger kind wins. */
#define REQ_KIND_SHIFT	24
#define REQ_CAUSE_SHIFT 8
enum request_kind { REQ_NONE, REQ_RESET, REQ_SHUTDOWN, REQ_EXIT };

/* vm->asks: below these a bit per run state to stop in */
#define ASK_POWERDOWN BIT32(24)
#define ASK_WATCHDOG  BIT32(25)

static const struct {
	const char *name; /* QEMU's, in events */
	const char *text; /* for people */
	bool by_guest;
} causes[] = {
	[VM_CAUSE_NONE] = { "none", "nothing", false },
	[VM_CAUSE_HOST_QUIT] = { "host-qmp-quit", "request of the user", false },
	[VM_CAUSE_HOST_RESET] = { "host-qmp-system-reset", "reset by the user", false },
	[VM_CAUSE_HOST_SIGNAL] = { "host-signal", "signal", false },
	[VM_CAUSE_GUEST_SHUTDOWN] = { "guest-shutdown", "power-off by the guest", true },
	[VM_CAUSE_GUEST_RESET] = { "guest-reset", "reset by the guest", true },
	[VM_CAUSE_GUEST_PANIC] = { "guest-panic", "panic of the guest", true },
	[VM_CAUSE_TRIPLE_FAULT] = { "guest-reset", "triple fault", true },
	[VM_CAUSE_ENGINE_FAILURE] = { "host-error", "failure of the CPU engine", false },
	[VM_CAUSE_DEBUG_EXIT] = { "guest-shutdown", "debug exit by the guest", true },
};

static const char *const state_names[] = {
	[VM_PRELAUNCH] = "prelaunch",
	[VM_INMIGRATE] = "inmigrate",
	[VM_RUNNING] = "running",
	[VM_PAUSED] = "paused",
	[VM_DEBUG] = "debug",
	[VM_SHUTDOWN] = "shutdown",
	[VM_GUEST_PANICKED] = "guest-panicked",
	[VM_INTERNAL_ERROR] = "internal-error",
	[VM_IO_ERROR] = "io-error",
	[VM_SAVE_VM] = "save-vm",
	[VM_RESTORE_VM] = "restore-vm",
	[VM_FINISH_MIGRATE] = "finish-migrate",
	[VM_POSTMIGRATE] = "postmigrate",
	[VM_SUSPENDED] = "suspended",
	[VM_WATCHDOG] = "watchdog",
};
static_assert(ARRAY_SIZE(state_names) == VM_NR_STATES, "a name for each state");

const char *vm_state_name(enum vm_state s)
{
	return state_names[s];
}

const char *vm_cause_name(enum vm_cause c)
{
	return causes[c].name;
}

bool vm_cause_by_guest(enum vm_cause c)
{
	return causes[c].by_guest;
}

static void tell_cause(struct vm *vm, enum vm_event_kind kind, enum vm_cause cause)
{
	struct vm_event ev = { .kind = kind, .cause = cause };

	vm_tell(vm, &ev);
}

/* ---- running and standing still ---- */

static void ask_stop(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nr_vcpus; i++)
		vcpu_want(vm->vcpus[i], VCPU_STOPPED);
}

static void let_go(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nr_vcpus; i++)
		vcpu_want(vm->vcpus[i], VCPU_RUNNING);
	/* A request that came while the machine stood still stopped nobody. */
	if (atomic_load(&vm->requests) || atomic_load(&vm->asks))
		ask_stop(vm);
}

void vm_pause(struct vm *vm)
{
	ask_stop(vm);
	for (unsigned i = 0; i < vm->nr_vcpus; i++)
		vcpu_wait_stopped(vm->vcpus[i]);
	if (!vm->going)
		return;
	for (struct dev *d = vm->devs; d; d = d->next) {
		if (d->type->pause)
			d->type->pause(d);
	}
	vm->going = false;
	vm_time_stops(vm);
}

void vm_resume(struct vm *vm)
{
	if (vm->going)
		return;
	vm_time_goes_on(vm);
	for (struct dev *d = vm->devs; d; d = d->next) {
		if (d->type->resume)
			d->type->resume(d);
	}
	vm->going = true;
	let_go(vm);
}

static void set_state(struct vm *vm, enum vm_state state)
{
	trace_runstate_set(state_names[vm->state], state_names[state]);
	vm->state = state;
}

void vm_set_state(struct vm *vm, enum vm_state state)
{
	assert(state != VM_RUNNING && !vm->going);
	set_state(vm, state);
}

void vm_stop(struct vm *vm, enum vm_state why)
{
	if (vm->state != VM_RUNNING)
		return;
	vm_pause(vm);
	set_state(vm, why);
	trace_vm_state_notify(0, state_names[why]);
	vm_tell_name(vm, VM_EV_STOP, NULL);
}

static void go(struct vm *vm)
{
	set_state(vm, VM_RUNNING);
	trace_vm_state_notify(1, state_names[VM_RUNNING]);
	vm_tell_name(vm, VM_EV_RESUME, NULL); /* before the guest can do anything */
	vm_resume(vm);
}

int vm_cont(struct vm *vm, struct err *e)
{
	switch (vm->state) {
	case VM_RUNNING:
	case VM_SUSPENDED:
		return 0;
	case VM_INMIGRATE: /* when the machine has come */
		vm->conf->start_paused = false;
		return 0;
	case VM_SHUTDOWN:
	case VM_INTERNAL_ERROR:
		return err_set(e, EINVAL,
			       "Resetting the Virtual Machine is required: its state is '%s', "
			       "which system_reset ends",
			       vm_state_name(vm->state));
	case VM_FINISH_MIGRATE:
	case VM_SAVE_VM:
	case VM_RESTORE_VM:
		return err_set(e, EBUSY, "Migration is not finalized yet: the state is '%s'",
			       vm_state_name(vm->state));
	default:
		go(vm);
		return 0;
	}
}

int vm_start_threads(struct vm *vm, struct err *e)
{
	for (unsigned i = 0; i < vm->nr_vcpus; i++) {
		int ret = vcpu_start_thread(vm->vcpus[i], e);

		if (ret < 0)
			return ret;
	}
	return 0;
}

int vm_start(struct vm *vm, struct err *e)
{
	int ret = vm_start_threads(vm, e);

	if (ret < 0)
		return ret;
	if (!vm->conf->start_paused && vm->state == VM_PRELAUNCH)
		go(vm);
	return 0;
}

/* ---- requests ---- */

static void request(struct vm *vm, enum request_kind kind, enum vm_cause cause, int code)
{
	uint32_t word = (uint32_t)kind << REQ_KIND_SHIFT | (uint32_t)cause << REQ_CAUSE_SHIFT |
			((uint32_t)code & 0xff);
	uint32_t old = atomic_load(&vm->requests);

	while ((old >> REQ_KIND_SHIFT) < (uint32_t)kind) {
		if (atomic_compare_exchange_weak(&vm->requests, &old, word))
			break;
	}
	/* The guest must not run on behind the access that asked for this. */
	ask_stop(vm);
	loop_post(vm->loop, &vm->request_work);
}

void vm_request_reset(struct vm *vm, enum vm_cause cause)
{
	trace_qemu_system_reset_request(causes[cause].name);
	request(vm, REQ_RESET, cause, 0);
}

void vm_request_shutdown(struct vm *vm, enum vm_cause cause)
{
	trace_qemu_system_shutdown_request(causes[cause].name);
	request(vm, REQ_SHUTDOWN, cause, 0);
}

void vm_request_exit(struct vm *vm, int exit_code, enum vm_cause cause)
{
	trace_qemu_system_shutdown_request(causes[cause].name);
	request(vm, REQ_EXIT, cause, exit_code);
}

static void ask(struct vm *vm, uint32_t bit)
{
	atomic_fetch_or(&vm->asks, bit);
	loop_post(vm->loop, &vm->request_work);
}

void vm_request_stop(struct vm *vm, enum vm_state why)
{
	atomic_fetch_or(&vm->asks, BIT32((unsigned)why));
	ask_stop(vm);
	loop_post(vm->loop, &vm->request_work);
}

void vm_request_powerdown(struct vm *vm)
{
	trace_qemu_system_powerdown_request();
	ask(vm, ASK_POWERDOWN);
}

void vm_watchdog_expired(struct vm *vm)
{
	ask(vm, ASK_WATCHDOG);
}

/* ---- carrying them out ---- */

static void end(struct vm *vm, enum vm_cause cause, int exit_code)
{
	vm_pause(vm);
	vm->cause = cause;
	vm->exit_code = exit_code;
	set_state(vm, VM_SHUTDOWN);
	vm->ended = true;
	loop_stop(vm->loop);
}

static void shut_down(struct vm *vm, enum vm_cause cause, int exit_code)
{
	bool by_host = cause == VM_CAUSE_HOST_QUIT || cause == VM_CAUSE_HOST_SIGNAL;

	tell_cause(vm, VM_EV_SHUTDOWN, cause);
	if (vm->actions.shutdown == SHUTDOWN_PAUSE && !by_host) {
		log_info("%s: the machine stays paused (-no-shutdown)", causes[cause].text);
		vm->cause = cause;
		vm_stop(vm, VM_SHUTDOWN);
		return;
	}
	end(vm, cause, exit_code);
}

static void guest_panicked(struct vm *vm)
{
	enum vm_panic_action action = vm->actions.panic;

	log_error("the guest's kernel panicked; its console says why");
	if (action == PANIC_SHUTDOWN && vm->actions.shutdown == SHUTDOWN_PAUSE)
		action = PANIC_PAUSE;
	if (action == PANIC_NONE) {
		vm_tell_name(vm, VM_EV_GUEST_PANICKED, "run");
		return;
	}
	vm_tell_name(vm, VM_EV_GUEST_PANICKED, action == PANIC_PAUSE ? "pause" : "poweroff");
	vm_stop(vm, VM_GUEST_PANICKED);
	vm->cause = VM_CAUSE_GUEST_PANIC;
	if (action != PANIC_PAUSE)
		shut_down(vm, VM_CAUSE_GUEST_PANIC, action == PANIC_EXIT_FAILURE ? 1 : 0);
}

/* Without somebody who waits for it there is no use in a machine that can never go on. */
static void engine_failed(struct vm *vm)
{
	if (vm->actions.shutdown == SHUTDOWN_PAUSE) {
		vm->cause = VM_CAUSE_ENGINE_FAILURE;
		vm_stop(vm, VM_INTERNAL_ERROR);
		return;
	}
	tell_cause(vm, VM_EV_SHUTDOWN, VM_CAUSE_ENGINE_FAILURE);
	end(vm, VM_CAUSE_ENGINE_FAILURE, 1);
}

static void carry_out_shutdown(struct vm *vm, enum vm_cause cause)
{
	if (cause == VM_CAUSE_GUEST_PANIC)
		guest_panicked(vm);
	else if (cause == VM_CAUSE_ENGINE_FAILURE)
		engine_failed(vm);
	else
		shut_down(vm, cause, 0);
}

static void carry_out_reset(struct vm *vm, enum vm_cause cause)
{
	struct err e = { 0 };

	if (vm->actions.reboot == REBOOT_SHUTDOWN) {
		shut_down(vm, cause, 0);
		return;
	}
	if (vm->state == VM_INMIGRATE || vm->state == VM_FINISH_MIGRATE ||
	    vm->state == VM_SAVE_VM) {
		log_warn("no reset while the machine is being saved, restored or dumped");
		return;
	}
	log_debug("machine reset: %s", causes[cause].text);
	vm_pause(vm);
	if (vm_reset_machine(vm, &e) < 0) {
		log_error("the machine cannot start again after a reset: %s", e.msg);
		tell_cause(vm, VM_EV_SHUTDOWN, VM_CAUSE_ENGINE_FAILURE);
		end(vm, VM_CAUSE_ENGINE_FAILURE, 1);
		return;
	}
	tell_cause(vm, VM_EV_RESET, cause);
	if (vm->state != VM_RUNNING)
		set_state(vm, VM_PRELAUNCH);
}

static void watchdog(struct vm *vm)
{
	static const char *const names[] = {
		[WATCHDOG_RESET] = "reset",	      [WATCHDOG_SHUTDOWN] = "shutdown",
		[WATCHDOG_POWEROFF] = "poweroff",     [WATCHDOG_PAUSE] = "pause",
		[WATCHDOG_DEBUG] = "debug",	      [WATCHDOG_NONE] = "none",
		[WATCHDOG_INJECT_NMI] = "inject-nmi",
	};
	enum vm_watchdog_action action = vm->actions.watchdog;

	trace_watchdog_perform_action(names[action]);
	vm_tell_name(vm, VM_EV_WATCHDOG, names[action]);
	switch (action) {
	case WATCHDOG_RESET:
		vm_request_reset(vm, VM_CAUSE_GUEST_RESET);
		break;
	case WATCHDOG_SHUTDOWN:
		vm_request_powerdown(vm);
		break;
	case WATCHDOG_POWEROFF:
		vm_request_exit(vm, 0, VM_CAUSE_GUEST_RESET);
		break;
	case WATCHDOG_PAUSE:
		vm_stop(vm, VM_WATCHDOG);
		break;
	case WATCHDOG_DEBUG:
		if (log_allow(&vm->watchdog_log))
			log_warn("watchdog: timer fired: the guest did not feed it");
		break;
	case WATCHDOG_INJECT_NMI:
		vm_inject_nmi(vm);
		break;
	case WATCHDOG_NONE:
	default:
		break;
	}
}

void vm_inject_nmi(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nr_vcpus; i++)
		if (arch_takes_nmi(vm->vcpus[i]))
			vcpu_kick(vm->vcpus[i], VCPU_EV_NMI);
}

static void carry_out_asks(struct vm *vm)
{
	uint32_t asks = atomic_exchange(&vm->asks, 0);

	if (asks & ASK_WATCHDOG)
		watchdog(vm);
	if (asks & ASK_POWERDOWN) {
		vm_tell_name(vm, VM_EV_POWERDOWN, NULL);
		if (!vm->bare)
			arch_board_power_button(vm);
	}
	for (unsigned s = 0; s < VM_NR_STATES; s++) {
		if (asks & BIT32(s))
			vm_stop(vm, (enum vm_state)s);
	}
}

static void carry_out_request(struct vm *vm)
{
	uint32_t word = atomic_exchange(&vm->requests, 0);
	enum vm_cause cause = (enum vm_cause)(word >> REQ_CAUSE_SHIFT & 0xff);

	switch ((enum request_kind)(word >> REQ_KIND_SHIFT)) {
	case REQ_EXIT:
		vm_pause(vm);
		tell_cause(vm, VM_EV_SHUTDOWN, cause);
		end(vm, cause, (int)(word & 0xff));
		break;
	case REQ_SHUTDOWN:
		carry_out_shutdown(vm, cause);
		break;
	case REQ_RESET:
		carry_out_reset(vm, cause);
		break;
	case REQ_NONE:
	default:
		break;
	}
}

void vm_carry_out(struct vm *vm)
{
	if (vm->ended)
		return;
	if (atomic_load(&vm->requests))
		vm_pause(vm);
	carry_out_asks(vm);
	carry_out_request(vm);
	/* Whoever was asked to stop and need not stand still goes on. */
	if (vm->state == VM_RUNNING && vm->going)
		let_go(vm);
	else if (vm->state == VM_RUNNING)
		vm_resume(vm);
}

int vm_stop_for(struct vm *vm, enum vm_state job, enum vm_state *before, struct err *e)
{
	vm_pause(vm);
	/* Nobody asks any more, but for one request that makes another (watchdog()). */
	while (!vm->ended && (atomic_load(&vm->requests) || atomic_load(&vm->asks))) {
		carry_out_asks(vm);
		carry_out_request(vm);
	}
	if (vm->ended)
		return err_set(e, ECANCELED, "the machine has ended");
	*before = vm->state;
	vm_stop(vm, job);
	vm_set_state(vm, job);
	return 0;
}

void vm_requests_fn(struct loop_work *w)
{
	vm_carry_out(container_of(w, struct vm, request_work));
}

int vm_run(struct vm *vm)
{
	while (!vm->ended)
		loop_run(vm->loop);
	return vm->exit_code;
}
