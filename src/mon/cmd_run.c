/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about the life of the machine: schema/run.json. What they ask for is done before they
 * return, so events come before replies, as QEMU's clients see them. Control thread.
 */
#include "base/base.h"
#include "core/conf.h"
#include "mon/cmd.h"

static_assert((int)REBOOT_SHUTDOWN == (int)QMP_REBOOT_ACTION_SHUTDOWN, "the schema's order");
static_assert((int)SHUTDOWN_PAUSE == (int)QMP_SHUTDOWN_ACTION_PAUSE, "the schema's order");
static_assert((int)PANIC_NONE == (int)QMP_PANIC_ACTION_NONE, "the schema's order");
static_assert((int)PANIC_EXIT_FAILURE == (int)QMP_PANIC_ACTION_EXIT_FAILURE, "the schema's order");
static_assert((int)WATCHDOG_INJECT_NMI == (int)QMP_WATCHDOG_ACTION_INJECT_NMI,
	      "the schema's order");
static_assert((int)WATCHDOG_PAUSE == (int)QMP_WATCHDOG_ACTION_PAUSE, "the schema's order");

json_t *qmp_query_status(struct mon_cmd *c, struct err *e)
{
	return json_pack("{s:s,s:b}", "status", vm_state_name(c->vm->state), "running",
			 c->vm->state == VM_RUNNING);
}

int qmp_stop(struct mon_cmd *c, struct err *e)
{
	if (c->vm->state == VM_INMIGRATE)
		c->vm->conf->start_paused = true; /* when the machine has come */
	vm_stop(c->vm, VM_PAUSED);
	return 0;
}

int qmp_cont(struct mon_cmd *c, struct err *e)
{
	return vm_cont(c->vm, e);
}

int qmp_quit(struct mon_cmd *c, struct err *e)
{
	vm_request_exit(c->vm, 0, VM_CAUSE_HOST_QUIT);
	vm_carry_out(c->vm);
	return 0;
}

int qmp_system_reset(struct mon_cmd *c, struct err *e)
{
	vm_request_reset(c->vm, VM_CAUSE_HOST_RESET);
	vm_carry_out(c->vm);
	return 0;
}

int qmp_system_powerdown(struct mon_cmd *c, struct err *e)
{
	vm_request_powerdown(c->vm);
	vm_carry_out(c->vm);
	return 0;
}

int qmp_system_wakeup(struct mon_cmd *c, struct err *e)
{
	return err_set(e, ENOTSUP, "wake-up from suspend is not supported by this guest");
}

int qmp_inject_nmi(struct mon_cmd *c, struct err *e)
{
	if (c->vm->bare)
		return err_set(e, ENOTSUP, "this machine has no CPU that an NMI could reach");
	vm_inject_nmi(c->vm);
	return 0;
}

int qmp_set_action(struct mon_cmd *c, const struct qmp_set_action_args *a, struct err *e)
{
	struct vm_actions *now = &c->vm->actions;

	if (a->has_reboot)
		now->reboot = (enum vm_reboot_action)a->reboot;
	if (a->has_shutdown)
		now->shutdown = (enum vm_shutdown_action)a->shutdown;
	if (a->has_panic)
		now->panic = (enum vm_panic_action)a->panic;
	if (a->has_watchdog)
		now->watchdog = (enum vm_watchdog_action)a->watchdog;
	return 0;
}

/* ---- HMP ---- */

void hmp_info_status(struct hmp *h)
{
	bool running = h->vm->state == VM_RUNNING;

	hmp_printf(h, "VM status: %s", running ? "running" : "paused");
	if (!running && h->vm->state != VM_PAUSED)
		hmp_printf(h, " (%s)", vm_state_name(h->vm->state));
	hmp_printf(h, "\n");
}

void hmp_watchdog_action(struct hmp *h, const struct hmp_watchdog_action_args *a)
{
	json_decref(hmp_qmp(h, "set-action", json_pack("{s:o}", "watchdog", mon_text(a->action))));
}
