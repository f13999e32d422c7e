/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine without an architecture for tests of core: an engine that runs a C function as its
 * guest, and hooks that record when they were called. Included once by a test program.
 */
#ifndef TESTS_CORE_FAKE_H
#define TESTS_CORE_FAKE_H

#include "base/base.h"
#include "core/accel.h"
#include "core/arch.h"
#include "core/backend.h"
#include "core/dev.h"
#include "core/vm.h"

/* What the guest does; returns like an engine's run(). NULL: waits for events. */
static enum vcpu_exit (*fake_guest)(struct vcpu *);
/* What happened, a word each, for order checks. */
static char fake_log[4096];
/* The step that fails, by its word in the log, or NULL. */
static const char *fake_failure;

static int fake_step(const char *word, struct err *e)
{
	size_t n = strlen(fake_log), len = strlen(word);

	if (n + len + 2 < sizeof(fake_log)) {
		memcpy(fake_log + n, word, len);
		memcpy(fake_log + n + len, " ", 2);
	}
	if (fake_failure && !strcmp(fake_failure, word))
		return err_set(e, EIO, "%s failed as told", word);
	return 0;
}

static int fake_vm_init(struct vm *vm, const char *model, struct err *e)
{
	return fake_step("engine", e);
}

static void fake_vm_fini(struct vm *vm)
{
	fake_step("~engine", NULL);
}

static int fake_vcpu_init(struct vcpu *v, struct err *e)
{
	v->engine = v;
	return fake_step("vcpu", e);
}

static void fake_vcpu_fini(struct vcpu *v)
{
	v->engine = NULL;
	fake_step("~vcpu", NULL);
}

static enum vcpu_exit fake_run(struct vcpu *v)
{
	if (fake_guest)
		return fake_guest(v);
	while (!(vcpu_events(v) & VCPU_EV_REQ))
		vcpu_wait(v, VCPU_EV_INTR);
	return VCPU_EXIT_INTR;
}

static void fake_hold_time(struct vm *, uint64_t ns, uint64_t tsc);

static void fake_reset(struct vcpu *v, bool init)
{
	fake_step("reset", NULL);
}

static const struct accel_ops accel_fake = {
	.name = "fake",
	.alias = "soft",
	.vm_init = fake_vm_init,
	.vm_fini = fake_vm_fini,
	.vcpu_init = fake_vcpu_init,
	.vcpu_fini = fake_vcpu_fini,
	.run = fake_run,
	.reset = fake_reset,
	.hold_time = fake_hold_time,
};

/* One that this host cannot run: passed over unless it is the only one named. */
static int absent_vm_init(struct vm *vm, const char *model, struct err *e)
{
	return err_set(e, ENODEV, "no absent hardware");
}

static const struct accel_ops accel_absent = { .name = "absent", .vm_init = absent_vm_init };

const struct accel_ops *const accel_engines[] = { &accel_absent, &accel_fake, NULL };

int arch_vcpu_init(struct vcpu *v, struct err *e)
{
	return fake_step("lapic", e);
}

void arch_vcpu_fini(struct vcpu *v)
{
	fake_step("~lapic", NULL);
}

const char arch_name[] = "fake";

int arch_board_init(struct vm *vm, struct err *e)
{
	return fake_step("board", e);
}

int arch_board_finish(struct vm *vm, struct err *e)
{
	return fake_step("finish", e);
}

bool arch_takes_nmi(struct vcpu *v)
{
	return true;
}

void arch_board_power_button(struct vm *vm)
{
	fake_step("button", NULL);
}

void arch_board_fini(struct vm *vm)
{
	fake_step("~board", NULL);
}

int arch_board_boot(struct vm *vm, struct err *e)
{
	return fake_step("boot", e);
}

/* By how much the guest's time was last held. */
static uint64_t fake_held_ns;

static void fake_hold_time(struct vm *vm, uint64_t ns, uint64_t tsc)
{
	fake_held_ns = ns;
}

void arch_time_moved(struct vm *vm, uint64_t ns, uint64_t tsc)
{
	assert(ns == fake_held_ns);
}

static void fake_close(void *end)
{
	fake_step("~backend", NULL);
}

int backend_open(struct vm *vm, struct conf_node *node, struct err *e)
{
	int ret = fake_step(node->kind == CONF_CHARDEV ? "chardev" : "backend", e);

	if (ret < 0)
		return ret;
	return backend_add_take(vm, node->kind == CONF_CHARDEV ? BACKEND_CHAR : BACKEND_BLOCK,
				node->id, node, fake_close, e);
}

#endif
