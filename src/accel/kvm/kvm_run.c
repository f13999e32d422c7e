/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop around KVM_RUN: events and interrupts in, exits out. The local APICs are the board's, so
 * KVM hands over HLT, the APIC's page and MSRs, and asks for interrupts one by one.
 *
 * Kicks. A kicker sets events, then looks at in_guest; the vCPU's thread sets in_guest, then looks
 * at events. Whoever comes second sees the other, so the signal is sent only when it is needed. It
 * may still come before KVM_RUN: its handler sets immediate_exit, which KVM_RUN looks at.
 *
 * vCPU thread; kvm_kick() any. Source: api.rst 4.10 and 5.
 */
#include "base/base.h"
#include "accel/kvm/kvm_int.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/trace.h"
#include "base/uapi.h"
#include "core/memory_lost.h"
#include "isa/x86/reset.h"
#include "isa/x86/x86.h"
#include <pthread.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

/* #syscalls vcpu: ioctl(KVM_GET_DEVICE_ATTR) ioctl(KVM_GET_REGS) ioctl(KVM_INTERRUPT)
 * ioctl(KVM_NMI) ioctl(KVM_RUN) ioctl(KVM_SMI) timer_create timer_settime */
/* A vCPU's timer goes when the machine does, on the thread that takes it down. */
/* #syscalls control: timer_delete */
/* #syscalls control vcpu io: tgkill */

static enum vcpu_exit fail(struct kvm_vcpu *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static enum vcpu_exit fail(struct kvm_vcpu *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->vcpu->fail, sizeof(c->vcpu->fail), fmt, ap);
	va_end(ap);
	return VCPU_EXIT_FAIL;
}

/* ---- kicks ---- */

static _Thread_local struct kvm_run *volatile run_of_me;

static void on_kick(int sig)
{
	struct kvm_run *run = run_of_me;

	if (run)
		run->immediate_exit = 1;
}

int kvm_kick_init(struct err *e)
{
	/* KVM_RUN is not restarted; what a device does on this thread is. */
	struct sigaction sa = { .sa_handler = on_kick, .sa_flags = SA_RESTART };

	sigemptyset(&sa.sa_mask);
	if (sigaction(SIGRTMIN, &sa, NULL))
		return err_set_errno(e, errno, "signal %d for the vCPUs", SIGRTMIN);
	return 0;
}

void kvm_kick(struct vcpu *v)
{
	struct kvm_vcpu *c = kvm_vcpu(v);

	if (atomic_load(&c->in_guest))
		pthread_kill(c->thread, SIGRTMIN);
}

/* ---- everybody out of the guest ---- */

static bool anybody_in_guest(const struct kvm_vm *kv)
{
	for (unsigned i = 0; i < kv->vm->nr_vcpus; i++) {
		const struct kvm_vcpu *c = kv->vm->vcpus[i]->engine;

		if (c && atomic_load(&c->in_guest))
			return true;
	}
	return false;
}

void kvm_hold(struct kvm_vm *kv)
{
	pthread_mutex_lock(&kv->hold_lock);
	atomic_store(&kv->holding, true);
	for (unsigned i = 0; i < kv->vm->nr_vcpus; i++)
		if (kv->vm->vcpus[i]->engine)
			kvm_kick(kv->vm->vcpus[i]);
	while (anybody_in_guest(kv))
		pthread_cond_wait(&kv->hold_changed, &kv->hold_lock);
	pthread_mutex_unlock(&kv->hold_lock);
}

void kvm_release(struct kvm_vm *kv)
{
	pthread_mutex_lock(&kv->hold_lock);
	atomic_store(&kv->holding, false);
	pthread_cond_broadcast(&kv->hold_changed);
	pthread_mutex_unlock(&kv->hold_lock);
}

static void set_in_guest(struct kvm_vcpu *c)
{
	struct kvm_vm *kv = c->kv;

	for (;;) {
		atomic_store(&c->in_guest, 1);
		if (likely(!atomic_load(&kv->holding)))
			return;
		pthread_mutex_lock(&kv->hold_lock);
		atomic_store(&c->in_guest, 0);
		pthread_cond_broadcast(&kv->hold_changed);
		while (atomic_load(&kv->holding))
			pthread_cond_wait(&kv->hold_changed, &kv->hold_lock);
		pthread_mutex_unlock(&kv->hold_lock);
	}
}

static void set_out_of_guest(struct kvm_vcpu *c)
{
	struct kvm_vm *kv = c->kv;

	atomic_store(&c->in_guest, 0);
	if (likely(!atomic_load(&kv->holding)))
		return;
	pthread_mutex_lock(&kv->hold_lock);
	pthread_cond_broadcast(&kv->hold_changed);
	pthread_mutex_unlock(&kv->hold_lock);
}

/* ---- the timer ---- */

static bool in_smm(const struct kvm_vcpu *c)
{
	return c->run->flags & KVM_RUN_X86_SMM;
}

/* Events that have to wait for something that the guest does. */
static uint32_t held_events(const struct kvm_vcpu *c)
{
	/* INIT waits for the end of SMM, and a start-up IPI behind it too. */
	return (c->run->request_interrupt_window ? VCPU_EV_INTR : 0u) |
	       (in_smm(c) ? VCPU_EV_INIT | VCPU_EV_SIPI : 0u);
}

static bool make_timer(struct kvm_vcpu *c)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN };

	ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	/* The kernel's own call: its ids are plain numbers, and 0 is one. */
	c->has_timer = !syscall(SYS_timer_create, CLOCK_MONOTONIC, &ev, &c->timer_id);
	return c->has_timer;
}

static void set_timer(struct kvm_vcpu *c)
{
	uint64_t when = atomic_load(&c->vcpu->deadline_ns);
	bool init_held = in_smm(c) && (vcpu_events(c->vcpu) & VCPU_EV_INIT);
	struct itimerspec ts = { .it_value = { .tv_nsec = 0 } };

	/* Nobody tells when SMM ends. */
	if (init_held)
		when = MIN(when, clock_now_ns() + NS_PER_MS);
	if (when == c->timer_ns)
		return;
	if (!c->has_timer && !make_timer(c)) {
		fail(c, "no timer for its deadlines: %s (RLIMIT_SIGPENDING may be too low)",
		     strerror(errno));
		return;
	}
	if (when != UINT64_MAX) {
		ts.it_value.tv_sec = (time_t)(when / NS_PER_SEC);
		ts.it_value.tv_nsec = (long)(when % NS_PER_SEC);
		if (!when)
			ts.it_value.tv_nsec = 1;
	}
	syscall(SYS_timer_settime, c->timer_id, TIMER_ABSTIME, &ts, NULL);
	c->timer_ns = when;
}

void kvm_run_fini(struct kvm_vcpu *c)
{
	if (c->has_timer)
		syscall(SYS_timer_delete, c->timer_id);
	c->has_timer = false;
}

/* ---- events ---- */

static bool finish_access(struct kvm_vcpu *c, enum vcpu_exit *why);

static bool take_init(struct kvm_vcpu *c, enum vcpu_exit *why)
{
	if (!finish_access(c, why))
		return false;
	vcpu_clear(c->vcpu, VCPU_EV_INIT);
	c->vcpu->vm->accel->reset(c->vcpu, true);
	return true;
}

static void take_sipi(struct kvm_vcpu *c)
{
	struct vcpu *v = c->vcpu;
	struct err e = { 0 };
	struct cpu_state s;

	vcpu_clear(v, VCPU_EV_SIPI);
	if (c->mp_state != MP_WAIT_SIPI || kvm_read_state(v, &s))
		return;
	x86_sipi(&s, (uint8_t)atomic_load(&v->sipi_vector));
	if (kvm_write_state(v, &s, &e) < 0)
		snprintf(v->fail, sizeof(v->fail), "%s", e.msg);
}

static void take_nmi(struct kvm_vcpu *c)
{
	int r;

	vcpu_clear(c->vcpu, VCPU_EV_NMI);
	r = kvm_ioctl(c->fd, KVM_NMI, NULL);
	if (r < 0)
		fail(c, "KVM does not take an NMI (KVM_NMI: %s)", strerror(-r));
	c->mp_state = MP_RUNNABLE;
}

static void take_smi(struct kvm_vcpu *c)
{
	int r;

	vcpu_clear(c->vcpu, VCPU_EV_SMI);
	r = kvm_mem_smm(c->kv);
	if (r >= 0)
		r = kvm_ioctl(c->fd, KVM_SMI, NULL);
	if (r < 0 && log_allow(&c->smi_log))
		log_warn(
			"vCPU %u: an SMI is lost, as this host's KVM has no system management mode "
			"(KVM_SMI: %s; CONFIG_KVM_SMM): a guest that needs it runs with -accel soft",
			c->vcpu->index, strerror(-r));
	if (r >= 0)
		c->mp_state = MP_RUNNABLE;
}

/* An interrupt goes in when KVM says that the guest takes one; else KVM tells us when. */
static void take_interrupt(struct kvm_vcpu *c)
{
	struct vcpu *v = c->vcpu;
	struct kvm_interrupt irq;
	int vector;

	c->run->request_interrupt_window = 0;
	if (!v->ops->has_intr(v)) {
		vcpu_clear(v, VCPU_EV_INTR);
		if (!v->ops->has_intr(v))
			return;
		/* It came in between, and its event may be what was just cleared. */
		atomic_fetch_or(&v->events, VCPU_EV_INTR);
	}
	if (!c->run->ready_for_interrupt_injection || !c->run->if_flag) {
		c->run->request_interrupt_window = 1;
		/* Only an entry opens the window, of a halted vCPU too. */
		if (c->mp_state == MP_HALTED && c->run->if_flag)
			c->mp_state = MP_RUNNABLE;
		return;
	}
	vcpu_clear(v, VCPU_EV_INTR);
	vector = v->ops->get_intr(v);
	if (vector < 0)
		return;
	irq.irq = (uint32_t)vector;
	if (kvm_ioctl(c->fd, KVM_INTERRUPT, &irq) < 0)
		log_warn("vCPU %u: KVM did not take interrupt %d", v->index, vector);
	c->mp_state = MP_RUNNABLE;
	/* KVM has one in its hands: the next has to wait for the window. */
	if (!v->ops->has_intr(v))
		return;
	atomic_fetch_or(&v->events, VCPU_EV_INTR);
	c->run->request_interrupt_window = 1;
}

/* What ends a halt. An interrupt that the guest has masked does not. */
static uint32_t wakers(const struct kvm_vcpu *c)
{
	uint32_t always = VCPU_EV_REQ | VCPU_EV_SMI | (in_smm(c) ? 0 : VCPU_EV_INIT);

	if (c->mp_state == MP_WAIT_SIPI)
		return VCPU_EV_REQ | VCPU_EV_INIT | VCPU_EV_SIPI;
	if (c->run->if_flag)
		always |= VCPU_EV_INTR;
	return always | VCPU_EV_NMI | VCPU_EV_WAKE;
}

/* False: *why says how run() ends. */
static bool take_events(struct kvm_vcpu *c, uint32_t ev, enum vcpu_exit *why)
{
	ev &= ~held_events(c) | VCPU_EV_INTR;
	if (ev & (VCPU_EV_TLB | VCPU_EV_ENGINE))
		vcpu_clear(c->vcpu, VCPU_EV_TLB | VCPU_EV_ENGINE);
	/* A SIPI that came behind an INIT is taken behind it. */
	if ((ev & VCPU_EV_INIT) && !take_init(c, why))
		return false;
	if (ev & VCPU_EV_SIPI)
		take_sipi(c);
	if (c->mp_state == MP_WAIT_SIPI)
		return true;
	if (ev & VCPU_EV_SMI)
		take_smi(c);
	if (ev & VCPU_EV_NMI)
		take_nmi(c);
	if (ev & VCPU_EV_WAKE) {
		vcpu_clear(c->vcpu, VCPU_EV_WAKE);
		c->mp_state = MP_RUNNABLE;
	}
	if (ev & VCPU_EV_INTR)
		take_interrupt(c);
	return true;
}

/* ---- exits ---- */

static void do_port(struct kvm_vcpu *c)
{
	struct kvm_run *run = c->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned size = run->io.size;

	for (uint32_t i = 0; i < run->io.count; i++)
		map_access(c->kv->vm->map, MAP_PIO, run->io.port, data + i * size, size,
			   run->io.direction == KVM_EXIT_IO_OUT);
}

static void do_mmio(struct kvm_vcpu *c)
{
	struct kvm_run *run = c->run;

	map_access(c->kv->vm->map, MAP_MEM, run->mmio.phys_addr, run->mmio.data,
		   MIN(run->mmio.len, 8u), run->mmio.is_write);
}

/* The board's clocks run on the guest's TSC, which KVM moves when the guest writes it. */
static void learn_tsc_offset(struct kvm_vcpu *c)
{
	uint64_t offset = atomic_load(&c->vcpu->tsc_offset);

	if (!kvm_tsc_offset(c, KVM_GET_DEVICE_ATTR, &offset))
		atomic_store(&c->vcpu->tsc_offset, offset);
}

static void do_msr(struct kvm_vcpu *c, bool write)
{
	struct kvm_run *run = c->run;
	uint64_t val = run->msr.data;

	if (run->msr.index == MSR_TSC_DEADLINE)
		learn_tsc_offset(c);
	run->msr.error = !kvm_msr_exit(c, write, &val);
	run->msr.data = val;
}

/* The words of KVM_EXIT_INTERNAL_ERROR (Documentation/virt/kvm/api.rst, 5.) behind the suberror, as
 * hex. */
static void error_words(const struct kvm_run *run, char *text, size_t size)
{
	uint32_t n = MIN(run->internal.ndata, (uint32_t)ARRAY_SIZE(run->internal.data));
	size_t at = 0;

	text[0] = 0;
	for (uint32_t i = 0; i < n && at < size; i++)
		at += (size_t)snprintf(text + at, size - at, " %#llx", run->internal.data[i]);
}

static enum vcpu_exit internal_error(struct kvm_vcpu *c)
{
	struct kvm_regs regs = { 0 };
	const char *what = "an error inside KVM";
	char words[400];

	kvm_ioctl(c->fd, KVM_GET_REGS, &regs);
	if (c->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		what = "KVM cannot emulate the instruction";
	else if (c->run->internal.suberror == KVM_INTERNAL_ERROR_DELIVERY_EV)
		what = "KVM could not deliver an event";
	error_words(c->run, words, sizeof(words));
	return fail(c, "%s (suberror %u,%s) at guest address %#llx", what,
		    c->run->internal.suberror, words, regs.rip);
}

/*
 * Linux gives up where an instruction has to be emulated while an event is on its way in, and takes
 * EXITINTINFO's type for a sign of one without a look at its valid bit. A processor leaves no type
 * there; QEMU's emulation of one does, so that an access to a device may end like this behind a
 * page fault in the guest. Such an event is gone when the guest is entered again; a real one is
 * not, and fails again.
 */
static bool try_again(struct kvm_vcpu *c, bool again)
{
	c->tried_again = !again && c->run->internal.suberror == KVM_INTERNAL_ERROR_DELIVERY_EV;
	return c->tried_again;
}

/* What core counts of an exit, and what it was about. */
static enum exit_reason reason_of(const struct kvm_run *run, uint64_t *where)
{
	*where = 0;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		*where = run->io.port;
		return run->io.direction == KVM_EXIT_IO_OUT ? EXIT_PORT_WRITE : EXIT_PORT_READ;
	case KVM_EXIT_MMIO:
		*where = run->mmio.phys_addr;
		return run->mmio.is_write ? EXIT_MMIO_WRITE : EXIT_MMIO_READ;
	case KVM_EXIT_X86_RDMSR:
		*where = run->msr.index;
		return run->msr.error ? EXIT_RDMSR_REFUSED : EXIT_RDMSR;
	case KVM_EXIT_X86_WRMSR:
		*where = run->msr.index;
		return run->msr.error ? EXIT_WRMSR_REFUSED : EXIT_WRMSR;
	case KVM_EXIT_HLT:
		return EXIT_HALT;
	case KVM_EXIT_INTR:
		return EXIT_KICK;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return EXIT_IRQ_WINDOW;
	case KVM_EXIT_IOAPIC_EOI:
		*where = run->eoi.vector;
		return EXIT_EOI;
	case KVM_EXIT_DIRTY_RING_FULL:
		return EXIT_DIRTY_RING;
	default:
		return EXIT_OTHER;
	}
}

/* Behind the exit's handling. A trip that was cut short says nothing of what trips cost. */
static void note_exit(struct kvm_vcpu *c)
{
	struct exits *x = &c->vcpu->exits;
	uint64_t where;
	enum exit_reason reason = reason_of(c->run, &where);

	if (c->trip)
		exits_note_trip(x, reason, c->trip);
	/* KVM fills it in where it can (KVM_CAP_SYNC_REGS). */
	exits_note(x, reason, where, c->run->s.regs.regs.rip, __rdtsc() - c->left);
}

/* True: goes on. False: *why says how run() ends. */
static bool take_exit(struct kvm_vcpu *c, enum vcpu_exit *why)
{
	struct kvm_run *run = c->run;
	bool again = c->tried_again;

	c->completing = false;
	c->tried_again = false;
	trace_kvm_run_exit(c->vcpu->index, run->exit_reason);
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		c->completing = true;
		do_port(c);
		return true;
	case KVM_EXIT_MMIO:
		c->completing = true;
		do_mmio(c);
		return true;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		c->completing = true;
		do_msr(c, run->exit_reason == KVM_EXIT_X86_WRMSR);
		return true;
	case KVM_EXIT_HLT:
		c->mp_state = MP_HALTED;
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_SET_TPR:
		return true;
	case KVM_EXIT_IOAPIC_EOI:
		if (c->vcpu->ops->eoi)
			c->vcpu->ops->eoi(c->vcpu, run->eoi.vector);
		return true;
	case KVM_EXIT_DIRTY_RING_FULL:
		trace_kvm_dirty_ring_full(c->vcpu->index);
		kvm_dirty_ring_full(c->kv);
		return true;
	case KVM_EXIT_SHUTDOWN:
		c->mp_state = MP_SHUTDOWN;
		*why = VCPU_EXIT_SHUTDOWN;
		return false;
	case KVM_EXIT_DEBUG:
		*why = VCPU_EXIT_DEBUG;
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		if (try_again(c, again))
			return true;
		*why = internal_error(c);
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		*why = fail(c, "the processor refuses to enter the guest (reason %#llx)",
			    run->fail_entry.hardware_entry_failure_reason);
		return false;
	default:
		*why = fail(c, "KVM came back for a reason that is not known here (%u)",
			    run->exit_reason);
		return false;
	}
}

static bool handle_exit(struct kvm_vcpu *c, enum vcpu_exit *why)
{
	bool on = take_exit(c, why);

	note_exit(c);
	return on;
}

/* ---- the loop ---- */

/* The task priority is the board's to keep. */
static bool own_apic(const struct kvm_vcpu *c)
{
	return !c->kv->irqchip && c->vcpu->ops->get_tpr;
}

/* One KVM_RUN. immediately: only finish the access that is under way. */
static int enter(struct kvm_vcpu *c, bool immediately)
{
	struct vcpu *v = c->vcpu;
	uint64_t start;
	bool short_trip;
	int r;

	if (own_apic(c))
		c->run->cr8 = v->ops->get_tpr(v);
	qsbr_offline(&v->reader);
	set_in_guest(c);
	if (immediately || (vcpu_events(v) & ~held_events(c)))
		c->run->immediate_exit = 1;
	short_trip = c->run->immediate_exit;
	atomic_store_explicit(&v->guest_faults, true, memory_order_relaxed);
	start = __rdtsc();
	r = kvm_ioctl(c->fd, KVM_RUN, NULL);
	c->left = __rdtsc();
	atomic_store_explicit(&v->guest_faults, false, memory_order_relaxed);
	c->trip = short_trip ? 0 : c->left - start;
	set_out_of_guest(c);
	qsbr_online(&v->reader);
	c->run->immediate_exit = 0;
	if (own_apic(c) && c->run->cr8 != v->ops->get_tpr(v))
		v->ops->set_tpr(v, c->run->cr8);
	if (r == -EINTR || r == -EAGAIN) {
		c->timer_ns = UINT64_MAX; /* it may have been the timer: to be set anew */
		c->completing = false;
		c->run->exit_reason = KVM_EXIT_INTR;
		return 0;
	}
	return r;
}

static enum vcpu_exit run_failed(struct kvm_vcpu *c, int r)
{
	return fail(c, "KVM does not run the guest (KVM_RUN: %s)%s", strerror(-r),
		    r == -ENOMEM ? ": the host is out of memory"
		    : r == -EFAULT
			    ? ": memory of the guest cannot be had (the host's, or its file's)"
			    : "");
}

/*
 * The guest touched a page that the host has lost. Of a mapped one KVM sends SIGBUS, of one of a
 * guest_memfd it comes back with the address. False: *why says how run() ends.
 */
static bool tell_of_lost(struct kvm_vcpu *c, int r, enum vcpu_exit *why)
{
	struct vcpu *v = c->vcpu;
	struct hk_kvm_memory_fault fault;
	int ret;

	if (atomic_load_explicit(&v->lost, memory_order_relaxed)) {
		ret = vcpu_memory_lost(v);
	} else if (r == -EHWPOISON && c->run->exit_reason == HK_KVM_EXIT_MEMORY_FAULT) {
		memcpy(&fault, c->run->padding, sizeof(fault));
		c->completing = false;
		ret = vcpu_memory_lost_at(v, fault.gpa);
	} else {
		*why = run_failed(c, r);
		return false;
	}
	*why = VCPU_EXIT_FAIL;
	return ret == 0;
}

/* HLT or waiting for a SIPI. */
static void sleep_halted(struct kvm_vcpu *c)
{
	struct vcpu *v = c->vcpu;

	if (v->ops->halt)
		v->ops->halt(v, true);
	vcpu_wait(v, wakers(c));
	if (v->ops->halt)
		v->ops->halt(v, false);
}

/* The state that others look at is complete only when no access is half done. */
static bool finish_access(struct kvm_vcpu *c, enum vcpu_exit *why)
{
	while (c->completing) {
		int r = enter(c, true);

		if (r < 0) {
			*why = run_failed(c, r);
			return false;
		}
		if (!handle_exit(c, why))
			return false;
	}
	*why = VCPU_EXIT_INTR;
	return true;
}

/* A vCPU that nobody gave a state goes on from its power-on state. */
static bool begin(struct kvm_vcpu *c)
{
	struct err e = { 0 };
	struct cpu_state s;

	atomic_store_explicit(&c->kv->begun, true, memory_order_relaxed);
	if (c->touched)
		return true;
	kvm_power_on(c->vcpu, &s);
	if (kvm_write_state(c->vcpu, &s, &e) == 0)
		return true;
	snprintf(c->vcpu->fail, sizeof(c->vcpu->fail), "%s", e.msg);
	return false;
}

enum vcpu_exit kvm_run_guest(struct vcpu *v)
{
	struct kvm_vcpu *c = kvm_vcpu(v);
	enum vcpu_exit why = VCPU_EXIT_INTR;

	if (!begin(c))
		return VCPU_EXIT_FAIL;
	run_of_me = c->run;
	c->thread = pthread_self();
	for (;;) {
		uint32_t ev;
		int r;

		vcpu_poll(v);
		ev = vcpu_events(v);
		if (v->fail[0]) {
			why = VCPU_EXIT_FAIL;
			break;
		}
		if (ev & VCPU_EV_REQ) {
			finish_access(c, &why);
			break;
		}
		if (c->mp_state == MP_SHUTDOWN) {
			why = VCPU_EXIT_SHUTDOWN;
			break;
		}
		if (ev && !take_events(c, ev, &why))
			break;
		if (c->mp_state != MP_RUNNABLE && !(vcpu_events(v) & wakers(c))) {
			sleep_halted(c);
			continue;
		}
		if (c->mp_state != MP_RUNNABLE)
			continue;
		set_timer(c);
		r = enter(c, false);
		if (unlikely(r < 0 || atomic_load_explicit(&v->lost, memory_order_relaxed))) {
			if (!tell_of_lost(c, r, &why))
				break;
			continue;
		}
		if (!handle_exit(c, &why))
			break;
	}
	run_of_me = NULL;
	return why;
}
