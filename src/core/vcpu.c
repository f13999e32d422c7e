/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPU threads (vcpu.h): the run loop around the engine, events, sleeping in HLT, and the mailbox
 * through which the control thread stops a vCPU or runs a function on it.
 *
 * Protocol. Whoever wants something changes want/job/quit under the lock, then kicks with
 * VCPU_EV_REQ. The thread clears VCPU_EV_REQ before it looks at them, so no wish is lost.
 *
 * Sleeping. The thread announces itself in `sleeping`, then looks at its events; a waker sets
 * events, then looks at `sleeping`. Both sides use sequentially consistent operations.
 */
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "core/accel.h"
#include "core/lease.h"
#include "core/vcpu.h"
#include "core/vm.h"
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local struct vcpu *vcpu_of_me;

struct vcpu *vcpu_current(void)
{
	return vcpu_of_me;
}

void vcpu_kick(struct vcpu *v, uint32_t events)
{
	atomic_fetch_or(&v->events, events);
	if (atomic_load(&v->sleeping) && atomic_exchange(&v->sleeping, 0))
		syscall(SYS_futex, &v->sleeping, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	if (v != vcpu_of_me && v->vm->accel && v->vm->accel->kick && v->engine)
		v->vm->accel->kick(v);
}

/* ---- for engines ---- */

static bool run_timer_if_due(struct vcpu *v)
{
	uint64_t when = atomic_load_explicit(&v->deadline_ns, memory_order_relaxed);

	if (when == UINT64_MAX || clock_now_ns() < when)
		return false;
	/* Somebody may have moved it meanwhile; then it is not ours to fire. */
	if (!atomic_compare_exchange_strong(&v->deadline_ns, &when, UINT64_MAX))
		return false;
	if (v->ops && v->ops->timer)
		v->ops->timer(v);
	return true;
}

static void futex_sleep(struct vcpu *v, uint64_t until_ns)
{
	struct timespec ts = { .tv_sec = (time_t)(until_ns / NS_PER_SEC),
			       .tv_nsec = (long)(until_ns % NS_PER_SEC) };

	syscall(SYS_futex, &v->sleeping, FUTEX_WAIT_BITSET_PRIVATE, 1,
		until_ns == UINT64_MAX ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);
}

bool vcpu_wait_until(struct vcpu *v, uint32_t mask, uint64_t until_ns)
{
	bool woken = true;

	mask |= VCPU_EV_REQ;
	qsbr_offline(&v->reader);
	for (;;) {
		uint64_t until;

		atomic_store(&v->sleeping, 1);
		if (atomic_load(&v->events) & mask)
			break;
		until = MIN(atomic_load(&v->deadline_ns), until_ns);
		if (until != UINT64_MAX && clock_now_ns() >= until) {
			woken = until != until_ns;
			break;
		}
		futex_sleep(v, until);
	}
	atomic_store(&v->sleeping, 0);
	qsbr_online(&v->reader);
	run_timer_if_due(v);
	return woken;
}

void vcpu_wait(struct vcpu *v, uint32_t mask)
{
	vcpu_wait_until(v, mask, UINT64_MAX);
}

void vcpu_poll(struct vcpu *v)
{
	qsbr_quiescent(&v->reader);
	run_timer_if_due(v);
}

/* ---- the thread ---- */

static void run_job(struct vcpu *v)
{
	void (*fn)(struct vcpu *, void *) = v->job;
	void *arg = v->job_arg;

	pthread_mutex_unlock(&v->lock);
	qsbr_online(&v->reader);
	fn(v, arg);
	qsbr_offline(&v->reader);
	pthread_mutex_lock(&v->lock);
	v->job = NULL;
	pthread_cond_broadcast(&v->changed);
}

static void run_guest(struct vcpu *v)
{
	enum vcpu_exit why;

	pthread_mutex_unlock(&v->lock);
	qsbr_online(&v->reader);
	why = v->vm->accel->run(v);
	qsbr_offline(&v->reader);
	switch (why) {
	case VCPU_EXIT_INTR:
		break;
	case VCPU_EXIT_SHUTDOWN:
		vcpu_want(v, VCPU_STOPPED);
		vm_request_reset(v->vm, VM_CAUSE_TRIPLE_FAULT);
		break;
	case VCPU_EXIT_DEBUG:
		/* No debugger can be attached yet, so nobody asked for this. */
		log_warn("vCPU %u stopped for a debugger that is not there; going on", v->index);
		break;
	case VCPU_EXIT_FAIL:
	default:
		log_error("vCPU %u cannot go on: %s", v->index,
			  v->fail[0] ? v->fail : "the engine gave no reason");
		vcpu_want(v, VCPU_STOPPED);
		vm_request_shutdown(v->vm, VM_CAUSE_ENGINE_FAILURE);
		break;
	}
	pthread_mutex_lock(&v->lock);
}

static void set_state(struct vcpu *v, enum vcpu_run_state state)
{
	if (v->state != state) {
		v->state = state;
		pthread_cond_broadcast(&v->changed);
	}
}

/* The guest's first instruction is hostile already: no vCPU runs outside its sandbox. */
static bool confine(struct vcpu *v)
{
	struct err e = { 0 };

	if (v->ops && v->ops->thread_start)
		v->ops->thread_start(v);
	if (sandbox_enter(&v->vm->conf->sandbox, SANDBOX_VCPU, &e) == 0)
		return true;
	log_error("vCPU %u: %s", v->index, e.msg);
	vm_request_shutdown(v->vm, VM_CAUSE_ENGINE_FAILURE);
	return false;
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	bool confined;
	char name[16];

	vcpu_of_me = v;
	snprintf(name, sizeof(name), "vcpu%u", v->index);
	prctl(PR_SET_NAME, name); /* from another thread it takes a file of /proc */
	confined = confine(v);
	qsbr_register(map_qsbr(v->vm->map), &v->reader);
	pthread_mutex_lock(&v->lock);
	v->tid = gettid();
	pthread_cond_broadcast(&v->changed);
	while (!v->quit) {
		vcpu_clear(v, VCPU_EV_REQ);
		if (v->job) {
			run_job(v);
		} else if (v->want == VCPU_RUNNING && confined) {
			set_state(v, VCPU_RUNNING);
			run_guest(v);
		} else {
			set_state(v, VCPU_STOPPED);
			pthread_cond_wait(&v->changed, &v->lock);
		}
	}
	pthread_mutex_unlock(&v->lock);
	qsbr_unregister(&v->reader);
	return NULL;
}

/* ---- for the control thread ---- */

struct vcpu *vcpu_new(struct vm *vm, unsigned index, struct err *e)
{
	struct vcpu *v = xnew(struct vcpu);

	v->vm = vm;
	v->index = index;
	v->apic_id = index;
	v->exits.since_ns = clock_now_ns();
	atomic_init(&v->deadline_ns, UINT64_MAX);
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->changed, NULL);
	return v;
}

/* Wishes for the process as a whole are the control thread's; faults stay the engine's. */
static void signals_to_block(sigset_t *set)
{
	static const int process_wide[] = { SIGINT,  SIGTERM,  SIGHUP,	SIGQUIT, SIGPIPE,
					    SIGCHLD, SIGWINCH, SIGCONT, SIGTSTP };

	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(process_wide); i++)
		sigaddset(set, process_wide[i]);
	sigaddset(set, lease_signal());
}

int vcpu_start_thread(struct vcpu *v, struct err *e)
{
	pthread_attr_t attr;
	sigset_t set;
	int ret;

	if (v->has_thread)
		return 0;
	signals_to_block(&set);
	pthread_attr_init(&attr);
	pthread_attr_setsigmask_np(&attr, &set);
	ret = pthread_create(&v->thread, &attr, vcpu_main, v);
	pthread_attr_destroy(&attr);
	if (ret)
		return err_set_errno(e, ret, "cannot start the thread of vCPU %u", v->index);
	v->has_thread = true;
	return 0;
}

pid_t vcpu_tid(struct vcpu *v)
{
	pid_t tid;

	pthread_mutex_lock(&v->lock);
	while (v->has_thread && !v->tid)
		pthread_cond_wait(&v->changed, &v->lock);
	tid = v->tid;
	pthread_mutex_unlock(&v->lock);
	return tid;
}

void vcpu_end_thread(struct vcpu *v)
{
	if (!v->has_thread)
		return;
	pthread_mutex_lock(&v->lock);
	v->quit = true;
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
	vcpu_kick(v, VCPU_EV_REQ);
	pthread_join(v->thread, NULL);
	v->has_thread = false;
	v->tid = 0;
	v->state = VCPU_STOPPED;
}

struct vcpu *vcpu_free(struct vcpu *v)
{
	if (!v)
		return NULL;
	vcpu_end_thread(v);
	pthread_cond_destroy(&v->changed);
	pthread_mutex_destroy(&v->lock);
	free(v);
	return NULL;
}

void vcpu_want(struct vcpu *v, enum vcpu_run_state want)
{
	pthread_mutex_lock(&v->lock);
	v->want = want;
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
	vcpu_kick(v, VCPU_EV_REQ);
}

void vcpu_wait_stopped(struct vcpu *v)
{
	if (!v->has_thread)
		return;
	pthread_mutex_lock(&v->lock);
	while (v->state != VCPU_STOPPED)
		pthread_cond_wait(&v->changed, &v->lock);
	pthread_mutex_unlock(&v->lock);
}

void vm_run_on(struct vcpu *v, void (*fn)(struct vcpu *, void *), void *arg)
{
	if (!v->has_thread || v == vcpu_of_me) {
		fn(v, arg);
		return;
	}
	pthread_mutex_lock(&v->lock);
	while (v->job)
		pthread_cond_wait(&v->changed, &v->lock);
	v->job = fn;
	v->job_arg = arg;
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
	vcpu_kick(v, VCPU_EV_REQ);
	pthread_mutex_lock(&v->lock);
	while (v->job == fn && v->job_arg == arg)
		pthread_cond_wait(&v->changed, &v->lock);
	pthread_mutex_unlock(&v->lock);
}
