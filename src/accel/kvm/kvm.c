/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM engine as core sees it (core/accel.h): opening /dev/kvm, the life cycle of its VM and
 * vCPUs, power-on states. Control thread. Source: Linux Documentation/virt/kvm/api.rst.
 */
#include "base/base.h"
#include "base/trace.h"
#include "accel/kvm/kvm_int.h"
#include "isa/x86/reset.h"
#include <cpuid.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* #syscalls control vcpu io: ioctl(KVM_CHECK_EXTENSION) */
/* #syscalls start: ioctl(KVM_CREATE_VCPU) ioctl(KVM_CREATE_VM)
 * ioctl(KVM_GET_API_VERSION) ioctl(KVM_GET_VCPU_MMAP_SIZE)
 * ioctl(KVM_SET_TSS_ADDR) ioctl(KVM_GET_TSC_KHZ) ioctl(KVM_ENABLE_CAP) */

#define KVM_API 12

int kvm_ioctl(int fd, unsigned long request, const void *arg)
{
	int r;

	do
		r = ioctl(fd, request, arg);
	while (r < 0 && errno == EINTR && request != KVM_RUN);
	if (r < 0)
		r = -errno;
	trace_kvm_ioctl(fd, request, r);
	return r;
}

int kvm_cap(const struct kvm_vm *kv, unsigned cap)
{
	int r = kvm_ioctl(kv->fd, KVM_CHECK_EXTENSION, (void *)(uintptr_t)cap);

	return r < 0 ? 0 : r;
}

/* CPUID.1:ECX and CPUID.80000001h:ECX say what there is. */
static bool has_vmx(void)
{
	uint32_t a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & BIT32(5));
}

static bool has_svm(void)
{
	uint32_t a, b, c, d;

	return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & BIT32(2));
}

static int open_kvm(struct err *e)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), version;

	if (fd < 0 && errno == ENOENT)
		return err_set(e, ENODEV,
			       "there is no /dev/kvm: this host offers no KVM (no hardware "
			       "support, or the module kvm_amd or kvm_intel is not loaded)");
	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return err_set(e, ENODEV,
			       "/dev/kvm may not be opened by this user: become a member "
			       "of its group (usermod -aG kvm NAME) and log in again");
	if (fd < 0)
		return err_set_errno(e, errno, "/dev/kvm cannot be opened");
	/*
	 * There is KVM with neither: then it runs guests that know of it only, and emulates most of
	 * the others' kernel code, slowly and not completely.
	 */
	if (!has_vmx() && !has_svm()) {
		close(fd);
		return err_set(e, ENODEV,
			       "/dev/kvm has no hardware behind it: this host's processor shows "
			       "neither VMX nor SVM");
	}
	version = kvm_ioctl(fd, KVM_GET_API_VERSION, NULL);
	if (version != KVM_API) {
		close(fd);
		return err_set(e, ENODEV, "/dev/kvm speaks version %d of its interface, not %d",
			       version, KVM_API);
	}
	return fd;
}

static int kvm_probe(struct err *e)
{
	int fd = open_kvm(e);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/*
 * What there is no way around, and the Linux that brought it, newest first: x86 hosts have each of
 * these from that version on, whatever they are configured as, so the first one tells of all.
 */
static const struct {
	unsigned cap;
	const char *name, *since;
} needed[] = {
	{ KVM_CAP_X86_MSR_FILTER, "MSR filters", "5.10" },
	{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit", "4.13" },
	{ KVM_CAP_READONLY_MEM, "read-only memory", "3.7" },
};

static int check_caps(const struct kvm_vm *kv, struct err *e)
{
	size_t oldest = 0;

	if (kvm_cap(kv, needed[0].cap) > 0)
		return 0;
	for (size_t i = 1; i < ARRAY_SIZE(needed); i++)
		if (kvm_cap(kv, needed[i].cap) <= 0)
			oldest = i;
	return err_set(e, ENODEV,
		       "this host's KVM lacks %s (capability %u), which Linux has since %s: hanok "
		       "needs Linux %s",
		       needed[oldest].name, needed[oldest].cap, needed[oldest].since,
		       needed[0].since);
}

static int create_vm(struct kvm_vm *kv, struct err *e)
{
	int size;

	kv->fd = kvm_ioctl(kv->sys_fd, KVM_CREATE_VM, NULL);
	if (kv->fd < 0)
		return err_set(e, ENODEV,
			       "KVM does not make a virtual machine (KVM_CREATE_VM: %s): "
			       "virtualisation may be off in the firmware, in use by another "
			       "hypervisor, or out of reach in this container",
			       strerror(-kv->fd));
	size = kvm_ioctl(kv->sys_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (size < (int)sizeof(struct kvm_run))
		return err_set(e, ENODEV,
			       "KVM's page of a vCPU has %d bytes, less than the %zu that are "
			       "documented",
			       size, sizeof(struct kvm_run));
	kv->run_size = (size_t)size;
	return check_caps(kv, e);
}

/* How long KVM looks after a halted vCPU before its thread sleeps; by default the host's value. */
static int set_halt_poll(struct kvm_vm *kv, struct err *e)
{
	const struct vm_conf *conf = kv->vm->conf;
	struct kvm_enable_cap cap = { .cap = KVM_CAP_HALT_POLL };
	int r;

	if (!conf || !conf->has_halt_poll)
		return 0;
	if (kvm_cap(kv, KVM_CAP_HALT_POLL) <= 0)
		return err_set(e, ENOTSUP,
			       "halt-poll-ns=%u: this host's KVM has one value for all machines "
			       "(/sys/module/kvm/parameters/halt_poll_ns); Linux 5.10 has one for "
			       "each",
			       conf->halt_poll_ns);
	cap.args[0] = conf->halt_poll_ns;
	r = kvm_ioctl(kv->fd, KVM_ENABLE_CAP, &cap);
	return r < 0 ? err_set_errno(e, -r, "halt-poll-ns=%u", conf->halt_poll_ns) : 0;
}

/* A guest that halts, waits or spins does so on its host CPU; KVM does not take that away. */
static int set_cpu_pm(struct kvm_vm *kv, struct err *e)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_DISABLE_EXITS };
	int r;

	if (!kv->vm->conf || !kv->vm->conf->cpu_pm)
		return 0;
	cap.args[0] = (unsigned)kvm_cap(kv, KVM_CAP_X86_DISABLE_EXITS) &
		      (KVM_X86_DISABLE_EXITS_MWAIT | KVM_X86_DISABLE_EXITS_HLT |
		       KVM_X86_DISABLE_EXITS_PAUSE | KVM_X86_DISABLE_EXITS_CSTATE);
	if (!(cap.args[0] & KVM_X86_DISABLE_EXITS_HLT))
		return err_set(e, ENOTSUP,
			       "cpu-pm=on: this host's KVM does not let a guest halt its CPU "
			       "(KVM_CAP_X86_DISABLE_EXITS)");
	r = kvm_ioctl(kv->fd, KVM_ENABLE_CAP, &cap);
	return r < 0 ? err_set_errno(e, -r, "cpu-pm=on: KVM refuses exits %#llx",
				     (unsigned long long)cap.args[0])
		     : 0;
}

static int prepare_vm(struct kvm_vm *kv, const char *model, struct err *e)
{
	int r = kvm_cap(kv, KVM_CAP_XSAVE2);

	kv->has_sregs2 = true;	   /* till it is used: since Linux 5.14 */
	kv->has_tsc_offset = true; /* till it is used: since Linux 5.16 */
	kv->xsave_size = r > (int)sizeof(struct kvm_xsave) ? (size_t)r : sizeof(struct kvm_xsave);
	/* Where Intel's processors keep a task state segment for real mode. */
	r = has_vmx() ? kvm_ioctl(kv->fd, KVM_SET_TSS_ADDR, (void *)0xfffbd000ul) : 0;
	if (r < 0)
		return err_set_errno(
			e, -r,
			"KVM takes no place for real mode's task state segment (KVM_SET_TSS_ADDR)");
	r = kvm_dirty_init(kv, e);
	if (!r)
		r = set_halt_poll(kv, e);
	if (!r)
		r = set_cpu_pm(kv, e);
	if (!r)
		r = kvm_cpuid_init(kv, model, e);
	if (!r && kv->vm->conf && !kv->vm->conf->no_irqchip)
		r = kvm_irqchip_init(kv, e);
	if (!r)
		r = kvm_msr_filter(kv, e);
	return r ? r : kvm_mem_init(kv, e);
}

static void kvm_vm_fini(struct vm *vm)
{
	struct kvm_vm *kv = vm->accel_state;

	if (!kv)
		return;
	kvm_mem_fini(kv);
	free(kv->supported);
	pthread_cond_destroy(&kv->hold_changed);
	pthread_mutex_destroy(&kv->hold_lock);
	pthread_mutex_destroy(&kv->slots_lock);
	pthread_mutex_destroy(&kv->routes_lock);
	free(kv->routes);
	if (kv->fd >= 0)
		close(kv->fd);
	if (kv->sys_fd >= 0)
		close(kv->sys_fd);
	free(kv);
	vm->irqchip = NULL;
	vm->accel_state = NULL;
}

static int kvm_vm_init(struct vm *vm, const char *model, struct err *e)
{
	struct kvm_vm *kv = xnew(struct kvm_vm);
	int r;

	kv->vm = vm;
	kv->fd = -1;
	pthread_mutex_init(&kv->slots_lock, NULL);
	pthread_mutex_init(&kv->routes_lock, NULL);
	pthread_mutex_init(&kv->hold_lock, NULL);
	pthread_cond_init(&kv->hold_changed, NULL);
	vm->accel_state = kv;
	kv->sys_fd = r = open_kvm(e);
	if (r >= 0)
		r = kvm_kick_init(e);
	if (!r)
		r = create_vm(kv, e);
	if (!r)
		r = prepare_vm(kv, model ? model : "default", e);
	if (r < 0)
		kvm_vm_fini(vm);
	return r;
}

static void kvm_vcpu_fini(struct vcpu *v)
{
	struct kvm_vcpu *c = v->engine;

	if (!c)
		return;
	kvm_run_fini(c);
	kvm_dirty_vcpu_fini(c);
	if (c->run)
		munmap(c->run, c->kv->run_size);
	if (c->stats_fd >= 0)
		close(c->stats_fd);
	if (c->fd >= 0)
		close(c->fd);
	free(c->xsave);
	free(c);
	v->engine = NULL;
}

static int open_vcpu(struct kvm_vcpu *c, struct err *e)
{
	struct vcpu *v = c->vcpu;
	void *run;

	trace_kvm_init_vcpu(v->index, v->apic_id);
	/* The number is the APIC id: KVM's own APICs, where they are used, take it for theirs. */
	c->fd = kvm_ioctl(c->kv->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)v->apic_id);
	if (c->fd < 0)
		return err_set_errno(
			e, -c->fd,
			"KVM makes no vCPU %u (KVM_CREATE_VCPU; this host's KVM allows %d): "
			"use fewer, or raise the limits on open files and locked memory",
			v->index, kvm_cap(c->kv, KVM_CAP_MAX_VCPUS));
	run = mmap(NULL, c->kv->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (run == MAP_FAILED)
		return err_set_errno(e, errno, "the page that KVM shares for vCPU %u", v->index);
	c->run = run;
	/* Which instruction it was, of every exit, without a call for it. */
	c->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	return 0;
}

static int kvm_vcpu_init(struct vcpu *v, struct err *e)
{
	struct kvm_vcpu *c = xnew(struct kvm_vcpu);
	int r;

	c->vcpu = v;
	c->kv = v->vm->accel_state;
	c->fd = c->stats_fd = -1;
	c->timer_ns = UINT64_MAX;
	v->engine = c;
	c->xsave = xcalloc(1, c->kv->xsave_size);
	r = open_vcpu(c, e);
	if (!r)
		r = kvm_dirty_vcpu_init(c, e);
	if (!r)
		r = kvm_cpuid_vcpu(c, e);
	if (!r)
		r = kvm_msr_vcpu(c, e);
	if (r < 0)
		kvm_vcpu_fini(v);
	return r;
}

/*
 * What the board starts is written once, by the board; the others have to wait in KVM for its SIPI.
 */
static void kvm_reset(struct vcpu *v, bool init)
{
	struct kvm_vcpu *c = kvm_vcpu(v);
	struct err e = { 0 };
	struct cpu_state s;
	uint32_t id[4];

	if (!init && !c->touched && v->index == 0)
		return;
	if (init && kvm_read_state(v, &s)) {
		snprintf(v->fail, sizeof(v->fail), "KVM does not tell its state at an INIT");
		return;
	}
	if (init) {
		kvm_cpuid_leaf(v, 1, 0, id);
		x86_init(&s, id[0]);
	} else {
		if (c->touched)
			kvm_msrs_reset(c);
		kvm_power_on(v, &s);
		kvm_msrs_keep(c, &s);
	}
	if (kvm_write_state(v, &s, &e) < 0)
		snprintf(v->fail, sizeof(v->fail), "%s", e.msg);
}

static uint64_t kvm_tsc_khz(struct vm *vm)
{
	const struct kvm_vm *kv = vm->accel_state;
	int r = kvm_ioctl(kv->fd, KVM_GET_TSC_KHZ, NULL);

	return r > 0 ? (uint64_t)r : 0; /* of a VM since Linux 5.16 */
}

const struct accel_ops accel_kvm = {
	.name = "kvm",
	.doorbells = true,
	.probe = kvm_probe,
	.vm_init = kvm_vm_init,
	.vm_fini = kvm_vm_fini,
	.tsc_khz = kvm_tsc_khz,
	.vcpu_init = kvm_vcpu_init,
	.vcpu_fini = kvm_vcpu_fini,
	.run = kvm_run_guest,
	.kick = kvm_kick,
	.get_state = kvm_get_state,
	.set_state = kvm_set_state,
	.reset = kvm_reset,
	.reset_irqchip = kvm_irqchip_reset,
	.get_extra = kvm_get_extra,
	.set_extra = kvm_set_extra,
	.get_clock = kvm_get_clock,
	.set_clock = kvm_set_clock,
	.hold_time = kvm_hold_time,
	.model = kvm_cpuid_model,
	.cpuid = kvm_cpuid_leaf,
	.stats = kvm_stats,
	.inject_mce = kvm_inject_mce,
	.memory_fd = kvm_memory_fd,
	.dirty_start = kvm_dirty_start,
	.dirty_sync = kvm_dirty_sync,
	.dirty_stop = kvm_dirty_stop,
};
