/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run loop: executes blocks, and looks between them at what happened outside - requests,
 * interrupts, INIT and SIPI, SMI and NMI, timers, stop-the-world - and inside: halts, interrupt
 * shadows, single-step. Intel SDM vol. 3 section 7.9 (priority), 11.4 (INIT, SIPI).
 *
 * A fault leaves the instruction by longjmp to soft_run(); the instruction has then not happened,
 * and rip is set back to it. vCPU thread only, but for the lock and counters of stop-the-world.
 */
#include "accel/soft/block.h"
#include "base/clock.h"
#include "accel/soft/engine.h"
#include "accel/soft/fpu.h"
#include "accel/soft/jit/jit.h"
#include "accel/soft/jit/lockstep.h"
#include "accel/soft/mmu.h"
#include "accel/soft/soft_vm.h"
#include "accel/soft/tell.h"
#include "isa/x86/reset.h"
#include <x86intrin.h>

/* What counts as idle: little work in all that time. */
#define IDLE_NS	   (4 * NS_PER_SEC)
#define IDLE_SHARE 64 /* of it may be work */
#define IDLE_LOOKS 3000 /* at the clock, of all vCPUs: the same, less what timers cause */
#define IDLE_CODE  MIB(32) /* is kept for IDLE_NS: to make it again takes a tenth of a second */

/* Events that have no condition. */
#define EV_ALWAYS (VCPU_EV_REQ | VCPU_EV_TLB | VCPU_EV_ENGINE | VCPU_EV_SIPI)

/* ---- faults ---- */

void cpu_raise(struct soft_cpu *c, unsigned vector)
{
	c->fault.vector = (uint8_t)vector;
	c->fault.has_error = false;
	c->fault.is_soft_int = false;
	c->fault.error = 0;
	_longjmp(c->on_fault, 1);
}

void cpu_raise_err(struct soft_cpu *c, unsigned vector, uint32_t error)
{
	c->fault.vector = (uint8_t)vector;
	c->fault.has_error = true;
	c->fault.is_soft_int = false;
	c->fault.error = error;
	_longjmp(c->on_fault, 1);
}

void cpu_raise_pf(struct soft_cpu *c, uint64_t lin, uint32_t error)
{
	c->s.cr2 = lin;
	cpu_raise_err(c, X86_PF, error);
}

/* ---- stop-the-world ---- */

static void enter_guest(struct soft_cpu *c)
{
	struct soft_vm *vm = c->vm;

	pthread_mutex_lock(&vm->lock);
	while (vm->exclusive)
		pthread_cond_wait(&vm->cond, &vm->lock);
	vm->running++;
	pthread_mutex_unlock(&vm->lock);
	c->in_guest = true;
}

static void leave_guest(struct soft_cpu *c)
{
	struct soft_vm *vm = c->vm;

	c->in_guest = false;
	pthread_mutex_lock(&vm->lock);
	vm->running--;
	if (vm->exclusive)
		pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
}

static void kick_others(struct soft_cpu *c)
{
	struct soft_vm *vm = c->vm;

	for (unsigned i = 0; i < vm->nr_cpus; i++) {
		struct soft_cpu *o = vm->cpus[i];

		if (o && o != c)
			vcpu_kick(o->vcpu, VCPU_EV_ENGINE);
	}
}

void cpu_exclusive_begin(struct soft_cpu *c)
{
	struct soft_vm *vm = c->vm;

	pthread_mutex_lock(&vm->lock);
	vm->running--;
	while (vm->exclusive) {
		pthread_cond_broadcast(&vm->cond);
		pthread_cond_wait(&vm->cond, &vm->lock);
	}
	vm->exclusive = true;
	kick_others(c);
	while (vm->running)
		pthread_cond_wait(&vm->cond, &vm->lock);
	vm->running++;
	pthread_mutex_unlock(&vm->lock);
	c->exclusive = true;
}

void cpu_exclusive_end(struct soft_cpu *c)
{
	struct soft_vm *vm = c->vm;

	c->exclusive = false;
	pthread_mutex_lock(&vm->lock);
	vm->exclusive = false;
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
}

/* ---- events ---- */

static bool int_shadow(const struct soft_cpu *c)
{
	return c->s.sti_shadow || c->s.mov_ss_shadow;
}

/* Which events would be taken in the state as it is. */
static uint32_t wanted_events(const struct soft_cpu *c)
{
	uint32_t mask = EV_ALWAYS;

	/* A kick that comes before the HLT it is meant for stays pending until that: else it is lost
	 * between a guest's last look at its lock and its HLT. */
	if (c->s.mp_state == MP_HALTED)
		mask |= VCPU_EV_WAKE;
	if (c->s.mp_state == MP_WAIT_SIPI)
		return mask | VCPU_EV_INIT;
	if (!c->s.in_smm)
		mask |= VCPU_EV_INIT;
	/* STI and HLT are one: an NMI or SMI in between would let the interrupt in before the HLT. */
	if (int_shadow(c))
		return mask;
	if (!c->s.in_smm)
		mask |= VCPU_EV_SMI;
	if (!c->s.nmi_masked)
		mask |= VCPU_EV_NMI;
	if (c->rflags & FLAG_IF)
		mask |= VCPU_EV_INTR;
	return mask;
}

static void take_sipi(struct soft_cpu *c)
{
	uint32_t vector = atomic_load(&c->vcpu->sipi_vector);

	vcpu_clear(c->vcpu, VCPU_EV_SIPI);
	if (c->s.mp_state != MP_WAIT_SIPI)
		return;
	x86_sipi(&c->s, (uint8_t)vector);
	c->rip = c->s.rip;
	cpu_mode_changed(c);
}

static void flush_translations(struct soft_cpu *c)
{
	vcpu_clear(c->vcpu, VCPU_EV_TLB);
	c->walk_ram.first = 1;
	c->walk_ram.last = 0;
	mmu_flush(c, true, TLB_WHY_MAP);
}

/* An external interrupt: acknowledged with the board, then delivered. False: shutdown. */
static bool take_interrupt(struct soft_cpu *c)
{
	const struct vcpu_ops *ops = c->vcpu->ops;
	int vector;

	vcpu_clear(c->vcpu, VCPU_EV_INTR);
	vector = ops && ops->get_intr ? ops->get_intr(c->vcpu) : -1;
	if (vector < 0)
		return true;
	c->s.mp_state = MP_RUNNABLE;
	return excp_interrupt(c, (unsigned)vector & 0xff);
}

static bool take_nmi(struct soft_cpu *c)
{
	vcpu_clear(c->vcpu, VCPU_EV_NMI);
	c->s.mp_state = MP_RUNNABLE;
	c->s.nmi_masked = true;
	return excp_interrupt(c, X86_NMI);
}

static void take_smi(struct soft_cpu *c)
{
	vcpu_clear(c->vcpu, VCPU_EV_SMI);
	smm_enter(c);
}

static void take_init(struct soft_cpu *c)
{
	/* A SIPI behind this INIT may be pending already: it stays. The sender of the INIT dropped
	 * those in front of it. NMIs and SMIs that were not taken go. */
	vcpu_clear(c->vcpu, VCPU_EV_INIT | VCPU_EV_NMI | VCPU_EV_SMI);
	cpu_reset(c, true);
}

/* Takes one pending event, the most important first. False: shutdown. */
static bool take_event(struct soft_cpu *c, uint32_t ev)
{
	if (ev & VCPU_EV_TLB) {
		flush_translations(c);
	} else if (ev & VCPU_EV_ENGINE) {
		vcpu_clear(c->vcpu, VCPU_EV_ENGINE);
		leave_guest(c);
		enter_guest(c);
	} else if (ev & VCPU_EV_INIT) {
		take_init(c);
	} else if (ev & VCPU_EV_SIPI) {
		take_sipi(c);
	} else if (ev & VCPU_EV_SMI) {
		take_smi(c);
	} else if (ev & VCPU_EV_NMI) {
		return take_nmi(c);
	} else if (ev & VCPU_EV_INTR) {
		return take_interrupt(c);
	} else if (ev & VCPU_EV_WAKE) {
		vcpu_clear(c->vcpu, VCPU_EV_WAKE);
		c->s.mp_state = MP_RUNNABLE;
	}
	return true;
}

/* Whether it did next to nothing for IDLE_NS, which is looked at once in that time. */
static bool was_idle(struct soft_cpu *c, uint64_t now)
{
	uint64_t all = now - c->idle.since;
	bool idle = all - MIN(c->idle.asleep, all) < all / IDLE_SHARE;

	if (all < IDLE_NS)
		return false;
	c->idle.since = now;
	c->idle.asleep = 0;
	return idle;
}

/* The same of the machine: a guest moves its programs from one vCPU to another. */
static bool others_idle(struct soft_cpu *c)
{
	uint64_t looks = 0, before = c->idle.looks;
	struct soft_vm *vm = c->vm;

	pthread_mutex_lock(&vm->lock);
	for (unsigned i = 0; i < vm->nr_cpus; i++)
		if (vm->cpus[i])
			looks += atomic_load_explicit(&vm->cpus[i]->looks, memory_order_relaxed);
	pthread_mutex_unlock(&vm->lock);
	c->idle.looks = looks;
	return looks - before < IDLE_LOOKS;
}

/* Whether it has been idle for long enough to give its code back, which is the longer the more there is. */
static bool rests(struct soft_cpu *c, uint64_t now)
{
	size_t code = block_cache_bytes(c->blocks) + jit_bytes(c->jit);
	bool idle = was_idle(c, now);

	if (c->idle.since == now)
		c->idle.times = others_idle(c) && idle ? c->idle.times + 1 : 0;
	return c->idle.times > code / IDLE_CODE;
}

/*
 * An idle guest keeps no decoded code: memory beside guest RAM is what limits density. That it is idle
 * shows when it has slept, not when it means to: a guest without ticks that waits for its disk or for
 * another vCPU has its next timer far away. And a vCPU that others take the work from for a second will have
 * it back: to translate all that again takes longer. So is a machine that compiles one file after the other,
 * with pauses of half a minute.
 */
static void sleep_long(struct soft_cpu *c, uint32_t wanted)
{
	uint64_t start = clock_now_ns();
	bool woken = false;

	while (!woken) {
		bool idle = rests(c, start);
		uint64_t now;

		if (idle && block_cache_trim(c)) {
			mmu_trim(c);
			c->idle.times = 0;
		}
		woken = vcpu_wait_until(c->vcpu, wanted, idle ? UINT64_MAX : c->idle.since + IDLE_NS);
		now = clock_now_ns();
		c->idle.asleep += now - start;
		start = now;
	}
}

/* HLT or waiting for SIPI: sleeps until something wanted comes. */
static void sleep_halted(struct soft_cpu *c, uint32_t wanted)
{
	const struct vcpu_ops *ops = c->vcpu->ops;
	uint64_t start = __rdtsc(), asleep;

	fpu_host(c);
	leave_guest(c);
	if (ops && ops->halt)
		ops->halt(c->vcpu, true);
	asleep = __rdtsc();
	sleep_long(c, wanted);
	start += __rdtsc() - asleep; /* sleeping costs nothing */
	if (ops && ops->halt)
		ops->halt(c->vcpu, false);
	enter_guest(c);
	if (c->s.mp_state == MP_HALTED)
		cpu_note_exit(c, EXIT_HALT, 0, start);
	c->poll = POLL_BLOCKS;
}

/* Single-step and breakpoints make every instruction a block; so does an interrupt shadow. */
static void update_slow(struct soft_cpu *c)
{
	bool debug = (c->rflags & FLAG_TF) || (c->s.dr7 & 0xff);

	if (!debug && (c->rflags & FLAG_RF))
		c->rflags &= ~(uint64_t)FLAG_RF; /* nobody can see it */
	cpu_set_slow(c, debug || int_shadow(c) || c->dr6_pending);
}

/* Host code that knows its way from block to block goes. */
static void update_telling(struct soft_cpu *c)
{
	c->telling = log_is_on(LOG_BLOCKS);
	block_cache_flush(c, CODE_WHY_LOG);
}

/* What is due between two instructions. False: leave the engine with *why. */
static bool attend(struct soft_cpu *c, enum vcpu_exit *why)
{
	for (;;) {
		uint32_t wanted, ev;

		if (unlikely(c->s.event_injected) && !excp_reinject(c))
			c->s.mp_state = MP_SHUTDOWN;
		wanted = wanted_events(c);
		if (!c->poll) {
			fpu_host(c);
			vcpu_poll(c->vcpu);
			c->poll = POLL_BLOCKS;
			jit_begin_lull(c);
			atomic_fetch_add_explicit(&c->looks, 1, memory_order_relaxed);
		}
		ev = vcpu_events(c->vcpu);
		if (ev & VCPU_EV_REQ) {
			*why = VCPU_EXIT_INTR;
			return false;
		}
		if (c->s.mp_state == MP_SHUTDOWN || ((ev & wanted) && !take_event(c, ev & wanted))) {
			c->s.mp_state = MP_SHUTDOWN;
			*why = VCPU_EXIT_SHUTDOWN;
			return false;
		}
		if (ev & wanted)
			continue;
		if (c->s.mp_state == MP_RUNNABLE) {
			c->ev_mask = wanted;
			update_slow(c);
			if (unlikely(log_is_on(LOG_BLOCKS) != c->telling))
				update_telling(c);
			return true;
		}
		sleep_halted(c, wanted);
	}
}

bool cpu_settle(struct soft_cpu *c)
{
	if (unlikely(c->s.mp_state != MP_RUNNABLE || c->slow || int_shadow(c) || c->dr6_pending ||
		     (c->rflags & FLAG_TF) || (c->s.dr7 & 0xff)))
		return false;
	c->rflags &= ~(uint64_t)FLAG_RF; /* nobody can see it */
	c->ev_mask = wanted_events(c);
	return true;
}

/* ---- execution ---- */

static inline void run_block(struct soft_cpu *c, struct block *b)
{
	const struct insn *in = b->in;

	c->blk = b;
	c->r[R_PC] = c->rip - (b->gpa & PAGE_OFF);
	c->insns += b->nr;
	do {
		c->cur = in;
		in = in->fn(c, in);
	} while (in);
	c->cur = NULL;
}

/* Out of line: in a function that calls setjmp() the compiler keeps nothing in registers. */
static __attribute__((noinline)) void run_fast(struct soft_cpu *c)
{
	const struct vcpu *v = c->vcpu;
	struct block *b;

	do {
		if (unlikely(vcpu_events(v) & c->ev_mask) || unlikely(!--c->poll))
			return;
		b = block_find(c);
		if (jit_wants(c, b)) {
			if (!jit_run(c, b))
				return;
			continue;
		}
		run_block(c, b);
		if (b->check && !cpu_settle(c))
			return;
	} while (true);
}

/* One instruction with everything that debugging looks at. */
static void run_slow(struct soft_cpu *c)
{
	bool tf = c->rflags & FLAG_TF;
	struct block *b;

	if (c->poll) /* first: what follows may leave by a fault each time */
		c->poll--;
	debug_fetch(c, c->rip + c->segbase[SEG_CS]);
	/* The shadow covers this instruction; it may throw another one. */
	c->s.sti_shadow = false;
	c->s.mov_ss_shadow = false;
	c->rflags &= ~(uint64_t)FLAG_RF;
	b = block_find(c);
	if (unlikely(c->telling))
		tell_run(c, b);
	run_block(c, b);
	if (tf || c->dr6_pending)
		debug_trap(c, tf);
}

/* One block, for -d exec and its like. */
static void run_told(struct soft_cpu *c)
{
	struct block *b;

	if (c->poll)
		c->poll--;
	b = block_find(c);
	tell_run(c, b);
	if (!jit_wants(c, b))
		run_block(c, b);
	else if (c->lockstep)
		jit_run(c, b);
	else
		jit_run_once(c, b);
}

static enum vcpu_exit run_loop(struct soft_cpu *c)
{
	enum vcpu_exit why;

	while (attend(c, &why)) {
		if (unlikely(c->lockstep) && lockstep_failed(c->lockstep))
			return VCPU_EXIT_FAIL;
		if (unlikely(c->slow))
			run_slow(c);
		else if (unlikely(c->telling))
			run_told(c);
		else
			run_fast(c);
	}
	return why;
}

/* Behind the longjmp: the fault's instruction has not happened. False: shutdown. */
static bool land_fault(struct soft_cpu *c)
{
	if (c->exclusive)
		cpu_exclusive_end(c);
	jit_unstop(c);
	if (c->cur) {
		c->insns -= (uint64_t)(&c->blk->in[c->blk->nr] - c->cur);
		c->rip = cpu_cur_rip(c);
		c->cur = NULL;
	}
	return excp_deliver(c);
}

enum vcpu_exit soft_run(struct vcpu *v)
{
	struct soft_cpu *c = soft_cpu(v);
	enum vcpu_exit why;

	enter_guest(c);
	fpu_enter(c);
	c->cur = NULL;
	if (_setjmp(c->on_fault) && !land_fault(c))
		c->s.mp_state = MP_SHUTDOWN;
	why = run_loop(c);
	fpu_leave(c);
	leave_guest(c);
	return why;
}
