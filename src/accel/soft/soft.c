/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The soft engine as core sees it (core/accel.h): life cycle of its VM and vCPU structures, state
 * in and out, CPUID. Control thread, except run() (vCPU thread) and kick() (any).
 */
#include "accel/accel.h"

#include "accel/soft/block.h"
#include "accel/soft/engine.h"
#include "accel/soft/fpu.h"
#include "accel/soft/jit/jit.h"
#include "accel/soft/jit/lockstep.h"
#include "accel/soft/jit/perf.h"
#include "accel/soft/mmu.h"
#include "accel/soft/soft_vm.h"
#include "core/vm.h"
#include "isa/x86/cpuid.h"
#include "isa/x86/mce.h"
#include <cpuid.h>

static void map_changed(struct map_listener *l, const struct map_view *old,
			const struct map_view *now)
{
	struct soft_vm *vm = container_of(l, struct soft_vm, listener);

	for (unsigned i = 0; i < vm->nr_cpus; i++) {
		if (vm->cpus[i])
			vcpu_kick(vm->cpus[i]->vcpu, VCPU_EV_TLB);
	}
}

static int soft_probe(struct err *e)
{
	unsigned a, b, c, d;

	__cpuid(1, a, b, c, d);
	if (!(c & bit_OSXSAVE))
		return err_set(e, ENOTSUP,
			       "the soft engine needs a host CPU with XSAVE; a host that "
			       "is a virtual machine itself may be hiding it");
	return 0;
}

static int soft_vm_init(struct vm *vm, const char *model, struct err *e)
{
	struct jit_perf *perf = NULL;
	struct soft_vm *sv;
	int ret = soft_probe(e);

	if (ret)
		return ret;
	if (vm->conf && (vm->conf->perf_map || vm->conf->jit_dump)) {
		perf = jit_perf_new(vm->conf->perf_map, vm->conf->jit_dump, e);
		if (!perf)
			return -EINVAL;
	}
	sv = xnew(struct soft_vm);
	sv->model = xnew(struct x86_cpu_model);
	ret = x86_model_parse(sv->model, model ? model : "default", NULL, e);
	if (ret) {
		jit_perf_free(perf);
		free(sv->model);
		free(sv);
		return ret;
	}
	if (vm->conf && vm->conf->cpu_pm)
		log_warn("cpu-pm=on is for KVM: here a guest that halts gives its host CPU back");
	sv->vm = vm;
	sv->map = vm->map;
	sv->perf = perf;
	sv->nr_cpus = vm->conf ? vm->conf->cpus : vm->nr_vcpus;
	sv->cpus = xnew_n(struct soft_cpu *, sv->nr_cpus ? sv->nr_cpus : 1);
	pthread_mutex_init(&sv->lock, NULL);
	pthread_cond_init(&sv->cond, NULL);
	sv->listener.commit = map_changed;
	map_add_listener(sv->map, &sv->listener);
	vm->accel_state = sv;
	return 0;
}

static const struct x86_cpu_model *soft_model(const struct vm *vm,
					      const struct x86_cpu_source **src)
{
	const struct soft_vm *sv = vm->accel_state;

	*src = NULL;
	return sv->model;
}

static void soft_vm_fini(struct vm *vm)
{
	struct soft_vm *sv = vm->accel_state;

	if (!sv)
		return;
	map_del_listener(sv->map, &sv->listener);
	pthread_cond_destroy(&sv->cond);
	pthread_mutex_destroy(&sv->lock);
	jit_perf_free(sv->perf);
	free(sv->cpus);
	free(sv->model);
	free(sv);
	vm->accel_state = NULL;
}

static void soft_vcpu_fini(struct vcpu *v)
{
	struct soft_cpu *c = v->engine;

	if (!c)
		return;
	pthread_mutex_lock(&c->vm->lock);
	c->vm->cpus[v->index] = NULL;
	pthread_mutex_unlock(&c->vm->lock);
	lockstep_free(c->lockstep);
	fpu_free(c->fpu);
	jit_free(c->jit);
	block_cache_free(c->blocks);
	mmu_fini(c);
	free(c);
	v->engine = NULL;
}

static int soft_vcpu_init(struct vcpu *v, struct err *e)
{
	struct soft_vm *sv = v->vm->accel_state;
	struct soft_cpu *c;

	if (v->index >= sv->nr_cpus)
		return err_set(e, EINVAL, "vCPU %u of %u", v->index, sv->nr_cpus);
	/*
	 * Large enough for the heap to map it, so it is zeroed without being touched: most of it is
	 * software TLB that a guest may never fill.
	 */
	c = xnew_aligned(struct soft_cpu);
	c->vcpu = v;
	c->vm = sv;
	c->map = sv->map;
	c->stamp = c->stamps = BIT64(33);
	c->stamp_global = BIT64(33) | BIT64(32);
	links_reset(c);
	mmu_init(c);
	v->engine = c;
	sv->cpus[v->index] = c;
	c->blocks = block_cache_new(e);
	if (c->blocks)
		c->jit = jit_new(sv->perf, e);
	if (c->jit)
		c->fpu = fpu_new(c, e);
	if (!c->fpu) {
		soft_vcpu_fini(v);
		return e && e->code ? -e->code : -ENOMEM;
	}
	if (v->vm->conf && v->vm->conf->lockstep)
		c->lockstep = lockstep_new(c);
	cpu_reset(c, false);
	return 0;
}

/* The paravirtual MSRs are the board's, where there is one. */
static const struct {
	uint32_t msr;
	uint32_t offset;
} pv_msrs[] = {
	{ MSR_KVM_SYSTEM_TIME_NEW, offsetof(struct cpu_state, pv_system_time) },
	{ MSR_KVM_WALL_CLOCK_NEW, offsetof(struct cpu_state, pv_wall_clock) },
	{ MSR_KVM_STEAL_TIME, offsetof(struct cpu_state, pv_steal_time) },
	{ MSR_KVM_PV_EOI_EN, offsetof(struct cpu_state, pv_eoi) },
	{ MSR_KVM_POLL_CONTROL, offsetof(struct cpu_state, pv_poll_control) },
};

static void get_pv(struct vcpu *v, struct cpu_state *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(pv_msrs) && v->ops && v->ops->read_msr; i++) {
		uint64_t val;

		if (!v->ops->read_msr(v, pv_msrs[i].msr, &val))
			memcpy((char *)s + pv_msrs[i].offset, &val, sizeof(val));
	}
}

/* Only what differs: writing has effects. */
static int set_pv(struct vcpu *v, const struct cpu_state *s, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(pv_msrs) && v->ops && v->ops->write_msr; i++) {
		uint64_t val, now;

		memcpy(&val, (const char *)s + pv_msrs[i].offset, sizeof(val));
		if (v->ops->read_msr(v, pv_msrs[i].msr, &now) || now == val)
			continue;
		if (v->ops->write_msr(v, pv_msrs[i].msr, val))
			return err_set(e, EINVAL,
				       "vCPU state: paravirtual MSR %#x = %#" PRIx64
				       " has reserved bits",
				       pv_msrs[i].msr, val);
	}
	return 0;
}

static int soft_get_state(struct vcpu *v, struct cpu_state *s)
{
	struct soft_cpu *c = v->engine;

	cpu_sync_out(c);
	*s = c->s;
	s->has_pdptes = (s->cr0 & CR0_PG) && (s->cr4 & CR4_PAE) && !(s->efer & EFER_LMA);
	if (s->has_pdptes)
		memcpy(s->pdpte, c->pdpte, sizeof(s->pdpte));
	get_pv(v, s);
	accel_get_events(v, s);
	return 0;
}

static int check_state(const struct cpu_state *s, struct err *e)
{
	if (s->mp_state > MP_SHUTDOWN)
		return err_set(e, EINVAL, "vCPU state: mp_state %u is unknown", s->mp_state);
	if (s->mxcsr & ~MXCSR_MASK)
		return err_set(e, EINVAL, "vCPU state: MXCSR %#x has reserved bits", s->mxcsr);
	if ((s->cr0 & CR0_PG) && !(s->cr0 & CR0_PE))
		return err_set(e, EINVAL, "vCPU state: CR0 has PG without PE");
	if ((s->efer & EFER_LMA) &&
	    (!(s->cr0 & CR0_PG) || !(s->cr4 & CR4_PAE) || !(s->efer & EFER_LME)))
		return err_set(e, EINVAL, "vCPU state: EFER.LMA without LME, PG and PAE");
	if (s->event_injected && s->event_type > X86_EVENT_SOFT)
		return err_set(e, EINVAL, "vCPU state: an event of unknown type %u is on its way",
			       s->event_type);
	return 0;
}

/* What another engine may have that this one has not. */
static int check_extent(const struct soft_cpu *c, const struct cpu_state *s, struct err *e)
{
	uint64_t xcr0 = c->vm->model->xcr0 | 1;

	if (s->xcr0 & ~xcr0)
		return err_set(e, EINVAL,
			       "vCPU state: XCR0 %#" PRIx64 " has components that the soft engine "
			       "lacks with CPU model '%s' (it has %#" PRIx64 ")",
			       s->xcr0, c->vm->model->name, xcr0);
	if (s->pv_async_pf & 1)
		return err_set(
			e, EINVAL,
			"vCPU state: the guest uses asynchronous page faults, which the soft "
			"engine lacks");
	return 0;
}

static int soft_set_state(struct vcpu *v, const struct cpu_state *s, struct err *e)
{
	struct soft_cpu *c = v->engine;
	int ret = check_state(s, e);

	if (!ret)
		ret = check_extent(c, s, e);
	if (ret)
		return ret;
	c->s = *s;
	cpu_sync_in(c);
	if (s->has_pdptes)
		memcpy(c->pdpte, s->pdpte, sizeof(c->pdpte));
	accel_set_events(v, s);
	/* They are in vcpu->events from here on. */
	c->s.nmi_pending = c->s.smi_pending = c->s.init_pending = c->s.sipi_pending = false;
	c->s.wake_pending = false;
	return set_pv(v, s, e);
}

static void soft_hold_time(struct vm *vm, uint64_t ns, uint64_t tsc)
{
	struct soft_vm *sv = vm->accel_state;

	for (unsigned i = 0; i < sv->nr_cpus; i++) {
		struct soft_cpu *c = sv->cpus[i];

		if (!c)
			continue;
		c->s.tsc_offset -= tsc;
		atomic_store_explicit(&c->vcpu->tsc_offset, c->s.tsc_offset, memory_order_relaxed);
	}
}

static int soft_inject_mce(struct vcpu *v, const struct x86_mce *m)
{
	struct cpu_state *s = &((struct soft_cpu *)v->engine)->s;
	bool exception = m->status & MCI_STATUS_UC;

	if (exception && s->event_injected)
		return -EBUSY;
	s->mc_status[m->bank] = m->status;
	s->mc_addr[m->bank] = m->addr;
	s->mc_misc[m->bank] = m->misc;
	if (!exception)
		return 0;
	s->mcg_status = m->mcg_status;
	s->event_injected = true;
	s->event_has_error = false;
	s->event_type = X86_EVENT_EXCEPTION;
	s->event_vector = X86_MC;
	if (s->mp_state == MP_HALTED)
		s->mp_state = MP_RUNNABLE;
	return 0;
}

static void soft_reset(struct vcpu *v, bool init)
{
	cpu_reset(v->engine, init);
}

void cpu_cpuid(struct soft_cpu *c, uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
	const struct vm_conf *conf = c->vm->vm->conf;
	const struct vcpu_ops *ops = c->vcpu->ops;
	struct x86_cpuid_env env = {
		.model = c->vm->model,
		.apic_id = c->vcpu->apic_id,
		.cr4 = c->s.cr4,
		.xcr0 = c->s.xcr0,
		.xss = c->s.xss,
		.misc_enable = c->s.misc_enable,
		.tsc_khz = c->vm->vm->tsc_khz,
	};

	if (conf)
		env.topo = (struct x86_topology){ conf->sockets, conf->dies, conf->cores,
						  conf->threads };
	x86_cpuid(&env, leaf, subleaf, r);
	if (ops && ops->cpuid)
		ops->cpuid(c->vcpu, leaf, subleaf, r);
}

static void soft_cpuid(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
	cpu_cpuid(v->engine, leaf, subleaf, r);
}

bool cpu_has(const struct soft_cpu *c, unsigned feature)
{
	return x86_model_has(c->vm->model, feature);
}

unsigned cpu_phys_bits(const struct soft_cpu *c)
{
	return c->vm->model->phys_bits;
}

/* Host code looks at poll only. When it counts down just now this may be lost, and is noticed at its end. */
static void soft_kick(struct vcpu *v)
{
	__atomic_store_n(&soft_cpu(v)->poll, 1, __ATOMIC_RELAXED);
}

const struct accel_ops accel_soft = {
	.name = "soft",
	.alias = "tcg",
	.probe = soft_probe,
	.vm_init = soft_vm_init,
	.vm_fini = soft_vm_fini,
	.vcpu_init = soft_vcpu_init,
	.vcpu_fini = soft_vcpu_fini,
	.run = soft_run,
	.kick = soft_kick,
	.get_state = soft_get_state,
	.set_state = soft_set_state,
	.reset = soft_reset,
	.model = soft_model,
	.hold_time = soft_hold_time,
	.inject_mce = soft_inject_mce,
	.cpuid = soft_cpuid,
	.show_jit = soft_show_jit,
};
