/* SPDX-License-Identifier: Apache-2.0 */
/* One virtual machine (vm.h): building it from a configuration, and its end. */
#include "base/base.h"
#include "base/log.h"
#include "core/accel.h"
#include "core/arch.h"
#include "core/backend.h"
#include "core/dev.h"
#include "core/object.h"
#include "core/event.h"
#include "core/memory_lost.h"
#include "core/vm.h"
#include "core/vm_int.h"

/* ---- building ---- */

static const struct accel_ops *find_engine(const char *name, struct err *e)
{
	const char *known[16];
	const char *near;
	size_t n = 0;

	for (const struct accel_ops *const *a = accel_engines; *a; a++) {
		if (!strcmp(name, (*a)->name) || ((*a)->alias && !strcmp(name, (*a)->alias)))
			return *a;
		if (n + 2 < ARRAY_SIZE(known)) {
			known[n++] = (*a)->name;
			if ((*a)->alias)
				known[n++] = (*a)->alias;
		}
	}
	known[n] = NULL;
	near = nearest_word(name, known);
	err_set(e, ENOENT, "there is no engine '%s'; %s '%s'", name, near ? "did you mean" : "try",
		near ? near : known[0]);
	return NULL;
}

static int try_engine(struct vm *vm, const struct accel_ops *accel, struct err *e)
{
	int ret = accel->vm_init(vm, vm->conf->cpu, e);

	if (ret)
		return ret;
	vm->accel = accel;
	vm->tsc_khz = host_tsc_khz(accel->tsc_khz ? accel->tsc_khz(vm) : 0);
	return 0;
}

/* Every engine of this build, in order of preference. */
static char *all_engines(void)
{
	char *list = xstrdup(accel_engines[0]->name);

	for (const struct accel_ops *const *a = accel_engines + 1; *a; a++) {
		char *longer = xasprintf("%s:%s", list, (*a)->name);

		free(list);
		list = longer;
	}
	return list;
}

/* The first of the list that this host can run: -ENODEV is an engine's word for "not here". */
static int make_engine(struct vm *vm, struct err *e)
{
	autofree char *list = vm->conf->accel ? xstrdup(vm->conf->accel) : all_engines();
	struct err why = { 0 };
	char *save = NULL, *name = strtok_r(list, ":", &save);

	while (name) {
		const struct accel_ops *accel = find_engine(name, e);
		int ret;

		if (!accel)
			return -ENOENT;
		ret = try_engine(vm, accel, e);
		if (ret == 0 && why.code)
			log_info("CPU engine %s: %s", accel->name, why.msg);
		name = strtok_r(NULL, ":", &save);
		if (ret != -ENODEV || !name)
			return ret;
		why = *e;
	}
	return err_set(e, EINVAL, "no CPU engine is named");
}

static int make_vcpus(struct vm *vm, struct err *e)
{
	vm->vcpus = xnew_n(struct vcpu *, vm->conf->cpus);
	for (unsigned i = 0; i < vm->conf->cpus; i++) {
		struct vcpu *v = vcpu_new(vm, i, e);
		int ret;

		vm->vcpus[vm->nr_vcpus++] = v;
		/* An engine may ask the board about the vCPU, so the board comes first. */
		ret = arch_vcpu_init(v, e);
		if (ret == 0)
			ret = vm->accel->vcpu_init(v, e);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* chars: only character devices, or only the others. */
static int open_backends(struct vm *vm, bool chars, struct err *e)
{
	for (struct conf_node *n = vm->conf->nodes; n; n = n->next) {
		int ret;

		if (chars ? n->kind != CONF_CHARDEV
			  : n->kind != CONF_DRIVE && n->kind != CONF_NETDEV)
			continue;
		ret = backend_open(vm, n, e);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int make_user_devices(struct vm *vm, struct err *e)
{
	for (struct conf_node *n = vm->conf->nodes; n; n = n->next) {
		struct dev *d;
		int ret;

		if (n->kind != CONF_DEVICE)
			continue;
		ret = dev_create(vm, n, &d, e);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static void idle_fn(struct loop_idle *idle, bool asleep)
{
	struct vm *vm = container_of(idle, struct vm, idle);

	/* Accesses put the reader online themselves; between rounds it holds no view. */
	if (asleep)
		qsbr_offline(&vm->reader);
}

static int make_base(struct vm *vm, struct err *e)
{
	vm->loop = loop_new(e);
	if (!vm->loop)
		return -1;
	vm->map = map_new(e);
	if (!vm->map)
		return -1;
	qsbr_register(map_qsbr(vm->map), &vm->reader);
	vm->idle.fn = idle_fn;
	loop_set_idle(vm->loop, &vm->idle);
	vm->request_work.fn = vm_requests_fn;
	vm->event_queue = vm_event_queue_new(vm);
	vm->lost = memory_lost_new(vm);
	return 0;
}

static int make_objects(struct vm *vm, struct err *e)
{
	for (struct conf_node *n = vm->conf->nodes; n; n = n->next) {
		int ret = n->kind == CONF_OBJECT ? obj_create(vm, n, e) : 0;

		if (ret < 0)
			return err_prefix(e, "%s: ", n->where);
	}
	return 0;
}

/* The RAM of the machine: a back end's, whose size counts unless the user gave another. */
static int take_ram(struct vm *vm, struct err *e)
{
	struct vm_conf *conf = vm->conf;

	vm->ram = obj_memory_take(vm, conf->mem_backend, e);
	if (!vm->ram)
		return err_prefix(e, "memory-backend=%s: ", conf->mem_backend);
	if (conf->mem_given && vm->ram->size != conf->mem_size)
		return err_set(e, EINVAL,
			       "memory-backend=%s has %" PRIu64 " MiB, -m says %" PRIu64
			       " MiB: let both be the same",
			       conf->mem_backend, vm->ram->size >> 20, conf->mem_size >> 20);
	conf->mem_size = vm->ram->size;
	return 0;
}

static int make_ram(struct vm *vm, struct err *e)
{
	const struct vm_conf *conf = vm->conf;
	struct ram_options o = { .path = conf->mem_path,
				 .prealloc = conf->mem_prealloc,
				 .merge = conf->mem_merge,
				 .dump = conf->mem_dump };

	if (conf->mem_backend)
		return take_ram(vm, e);
	vm->ram = ram_new_with("pc.ram", conf->mem_size, &o, e);
	return vm->ram ? 0 : -1;
}

/* What devices use, and the monitor. */
static int make_ends(struct vm *vm, struct err *e)
{
	int ret = open_backends(vm, true, e);

	return ret < 0 ? ret : open_backends(vm, false, e);
}

/* An engine that can be asked what it has here, and back ends: no guest. */
static int build_bare(struct vm *vm, struct err *e)
{
	int ret = make_base(vm, e);

	for (struct conf_node *n = vm->conf->nodes; n && ret == 0; n = n->next)
		if (n->kind == CONF_DEVICE)
			return err_set(e, EINVAL, "%s: machine 'none' has no bus for it", n->where);
	if (ret == 0)
		ret = make_engine(vm, e);
	if (ret == 0)
		ret = make_objects(vm, e);
	return ret < 0 ? ret : make_ends(vm, e);
}

static int build(struct vm *vm, struct err *e)
{
	int ret = make_base(vm, e);

	if (ret == 0)
		ret = make_engine(vm, e);
	if (ret == 0) /* some memory is the engine's */
		ret = make_objects(vm, e);
	if (ret == 0)
		ret = make_ram(vm, e);
	if (ret == 0)
		ret = make_vcpus(vm, e);
	if (ret == 0)
		ret = make_ends(vm, e);
	if (ret == 0)
		ret = arch_board_init(vm, e);
	if (ret == 0)
		ret = make_user_devices(vm, e);
	if (ret == 0)
		ret = arch_board_finish(vm, e);
	if (ret == 0)
		ret = vm_reset_machine(vm, e);
	return ret;
}

struct vm *vm_new_take(struct vm_conf *conf, struct err *e)
{
	struct vm *vm = xnew(struct vm);

	vm->conf = conf;
	vm->state = conf->incoming ? VM_INMIGRATE : VM_PRELAUNCH;
	vm->control = pthread_self();
	vm->actions = (struct vm_actions){
		.reboot = conf->no_reboot ? REBOOT_SHUTDOWN : REBOOT_RESET,
		.shutdown = conf->no_shutdown ? SHUTDOWN_PAUSE : SHUTDOWN_POWEROFF,
		.panic = (enum vm_panic_action)conf->panic_action,
		.watchdog = (enum vm_watchdog_action)conf->watchdog_action,
	};
	vm->bare = !strcmp(conf->machine, "none");
	if ((vm->bare ? build_bare(vm, e) : build(vm, e)) < 0)
		return vm_free(vm);
	return vm;
}

static void free_vcpus(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nr_vcpus; i++) {
		vcpu_end_thread(vm->vcpus[i]);
		vm->accel->vcpu_fini(vm->vcpus[i]);
		arch_vcpu_fini(vm->vcpus[i]);
		vcpu_free(vm->vcpus[i]);
	}
	free(vm->vcpus);
}

struct vm *vm_free(struct vm *vm)
{
	if (!vm)
		return NULL;
	if (vm->going)
		vm_pause(vm);
	while (vm->devs)
		dev_destroy(vm->devs);
	if (vm->map && !vm->bare)
		arch_board_fini(vm);
	free_vcpus(vm);
	if (vm->accel && vm->accel->vm_fini)
		vm->accel->vm_fini(vm);
	backend_close_all(vm);
	if (vm->map)
		qsbr_unregister(&vm->reader);
	map_free(vm->map);
	memory_lost_free(vm);
	ram_free(vm->ram);
	vm_event_queue_free(vm);
	loop_free(vm->loop);
	vm_conf_free(vm->conf);
	free(vm);
	return NULL;
}

/* ---- reset ---- */

void vm_add_reset_hook(struct vm *vm, struct vm_reset_hook *hook)
{
	struct vm_reset_hook **p = &vm->reset_hooks;

	while (*p)
		p = &(*p)->next;
	hook->next = NULL;
	*p = hook;
}

int vm_reset_machine(struct vm *vm, struct err *e)
{
	memory_lost_replace(vm);
	for (unsigned i = 0; i < vm->nr_vcpus; i++) {
		struct vcpu *v = vm->vcpus[i];

		vcpu_clear(v, ~VCPU_EV_REQ);
		atomic_store(&v->deadline_ns, UINT64_MAX);
		vm->accel->reset(v, false);
	}
	if (vm->irqchip && vm->accel->reset_irqchip)
		vm->accel->reset_irqchip(vm);
	dev_reset_all(vm);
	for (struct vm_reset_hook *h = vm->reset_hooks; h; h = h->next)
		h->fn(h);
	if (!vm->going)
		vm_time_stops(vm); /* devices have just begun anew */
	return vm->bare ? 0 : arch_board_boot(vm, e);
}
