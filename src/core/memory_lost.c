/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lost memory (memory_lost.h). The handler of SIGBUS only notes an address and wakes who can act:
 * the vCPU's own thread when the guest touched the page inside the engine's call, else the control
 * loop. Everything else ends the process, with a message that the handler writes itself.
 *
 * State: which pages were lost is the host's matter and goes with no save; such a machine is not
 * saved (memory_lost_check()).
 */
#include "base/base.h"
#include "base/log.h"
#include "core/arch.h"
#include "core/event.h"
#include "core/memory_lost.h"
#include "core/vm.h"
#include "loop/loop.h"
#include "mem/ram.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* #syscalls start: prctl(PR_MCE_KILL) */
/* #syscalls all: tgkill(SIGBUS) */

#define QUEUE_LEN 16u	/* addresses that the control loop has not looked at yet */
#define MAX_PAGES 1024u /* that are remembered */

struct lost_page {
	struct ram_block *rb;
	uint64_t off, gpa;
};

struct memory_lost {
	struct vm *vm;
	struct loop_work heard;
	_Atomic uintptr_t queue[QUEUE_LEN]; /* host addresses; 0 = free */
	_Atomic(struct vcpu *) told;	    /* the others are to hear of it too */
	pthread_mutex_t lock;		    /* a leaf: guards what follows */
	uint64_t page[MAX_PAGES];	    /* offsets in vm->ram */
	unsigned pages;
	struct log_limit log;
};

/* What the handler finds: the process has one machine, and one action for SIGBUS. */
static _Atomic(struct memory_lost *) listener;
static struct sigaction old_action;

/* ---- in the handler: nothing that is not safe there ---- */

static void enqueue(struct memory_lost *l, uintptr_t at)
{
	for (unsigned i = 0; i < QUEUE_LEN; i++) {
		uintptr_t none = 0;

		if (atomic_compare_exchange_strong(&l->queue[i], &none, at))
			break;
	}
	/* A full queue loses one that nobody has needed yet: whoever does is told then. */
	loop_post_from_handler(l->vm->loop, &l->heard);
}

static char *put(char *to, const char *text)
{
	while (*text)
		*to++ = *text++;
	*to = '\0';
	return to;
}

static char *put_hex(char *to, uint64_t n)
{
	unsigned shift = 60;

	to = put(to, "0x");
	while (shift && !(n >> shift))
		shift -= 4;
	for (;; shift -= 4) {
		*to++ = "0123456789abcdef"[n >> shift & 15];
		if (!shift)
			break;
	}
	*to = '\0';
	return to;
}

/* Where it is, in words. */
static char *put_place(char *to, uintptr_t at)
{
	const struct memory_lost *l = atomic_load(&listener);
	const struct ram_block *rb = l ? l->vm->ram : NULL;

	if (rb && at - (uintptr_t)rb->host < rb->size)
		return put_hex(put(to, "guest memory at offset "), at - (uintptr_t)rb->host);
	return put_hex(put(to, "memory at host address "), at);
}

static void say_why(const siginfo_t *info)
{
	bool hardware = info->si_code == BUS_MCEERR_AR || info->si_code == BUS_MCEERR_AO;
	char text[400], *to = put_place(text, (uintptr_t)info->si_addr);

	put(to,
	    hardware ? " is lost, and hanok needs it: the host's hardware cannot read it (see "
		       "the host's kernel log); this is the end of the machine"
		     : " is not there (SIGBUS): a file under it was made shorter, or the host has "
		       "no memory for it (a full tmpfs, no huge pages left); this is the end "
		       "of the machine");
	log_from_handler(text);
}

/* As if nobody had caught it, but for the terminal, which may have a handler of its own. */
static void end_process(int sig)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };

	if (!(old_action.sa_flags & SA_SIGINFO) && old_action.sa_handler != SIG_DFL &&
	    old_action.sa_handler != SIG_IGN) {
		old_action.sa_handler(sig);
		return;
	}
	sigaction(sig, &dfl, NULL);
	raise(sig); /* when the handler is left */
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	struct memory_lost *l = atomic_load(&listener);
	struct vcpu *v = vcpu_current();
	uintptr_t at = (uintptr_t)info->si_addr;
	int saved = errno;

	if (info->si_code == BUS_MCEERR_AR && v && atomic_load(&v->guest_faults)) {
		atomic_store(&v->lost, at | 1);
	} else if (info->si_code == BUS_MCEERR_AO && l) {
		enqueue(l, at);
	} else {
		if (info->si_code > 0) /* else somebody sent it */
			say_why(info);
		end_process(sig);
	}
	errno = saved;
}

int memory_lost_catch(struct err *e)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_RESTART };

	sigemptyset(&sa.sa_mask);
	if (sigaction(SIGBUS, &sa, &old_action) < 0)
		return err_set_errno(e, errno, "SIGBUS cannot be caught");
	/* Told early, a guest can do without a page before it needs it. Kernels may lack this. */
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	return 0;
}

/* ---- telling ---- */

static void tell(struct vm *vm, const char *recipient, const char *action, bool required,
		 bool recursive)
{
	struct vm_event ev = { .kind = VM_EV_MEMORY_FAILURE,
			       .value = (required ? VM_MEMORY_REQUIRED : 0) |
					(recursive ? VM_MEMORY_RECURSIVE : 0) };

	strncpy(ev.path, recipient, sizeof(ev.path) - 1);
	strncpy(ev.name, action, sizeof(ev.name) - 1);
	vm_tell(vm, &ev);
}

static bool find_page(const struct vm *vm, uintptr_t at, struct lost_page *out)
{
	const struct map_view *view = map_view(vm->map);

	for (size_t i = 0; i < view->n[MAP_MEM]; i++) {
		const struct map_range *r = &view->range[MAP_MEM][i];
		const struct map_region *g = r->region;
		uint64_t off;

		if (g->kind == MAP_IO)
			continue;
		off = at - (uintptr_t)g->rb->host; /* wraps when it lies below */
		if (off - g->rb_off - (r->first - r->addr) > r->last - r->first)
			continue;
		off = align_down(off, RAM_PAGE_SIZE);
		*out = (struct lost_page){ g->rb, off, r->addr + (off - g->rb_off) };
		return true;
	}
	return false;
}

static void remember(struct memory_lost *l, const struct lost_page *p)
{
	unsigned i = 0;

	if (p->rb != l->vm->ram)
		return;
	pthread_mutex_lock(&l->lock);
	while (i < l->pages && l->page[i] != p->off)
		i++;
	if (i == l->pages && i < MAX_PAGES)
		l->page[l->pages++] = p->off;
	pthread_mutex_unlock(&l->lock);
}

static void ask_others(struct vcpu *v)
{
	struct memory_lost *l = v->vm->lost;

	if (v->vm->nr_vcpus < 2 || !arch_memory_lost_is_for_all(v->vm))
		return;
	atomic_store(&l->told, v);
	loop_post(v->vm->loop, &l->heard);
}

static int no_way(struct vcpu *v, uint64_t where, const char *what, bool required)
{
	if (!required) {
		log_warn("the host lost the page of %s %#" PRIx64
			 ", and the guest cannot be told: it ends when it needs the page",
			 what, where);
		tell(v->vm, "hypervisor", "ignore", false, false);
		return 0;
	}
	tell(v->vm, "hypervisor", "fatal", true, false);
	snprintf(v->fail, sizeof(v->fail),
		 "the host lost the page of %s %#" PRIx64
		 " (see its kernel log), which the guest needs and cannot be told of",
		 what, where);
	return -EFAULT;
}

/* On v's thread. */
static int tell_guest(struct vcpu *v, const struct lost_page *p, bool required)
{
	struct memory_lost *l = v->vm->lost;
	bool recursive;
	enum arch_mce what;

	remember(l, p);
	what = arch_memory_lost(v, p->gpa, required, &recursive);
	if (what == ARCH_MCE_NONE)
		return no_way(v, p->gpa, "guest address", required);
	if (log_allow(&l->log))
		log_warn("the host lost the page of guest address %#" PRIx64 ": %s", p->gpa,
			 what == ARCH_MCE_INJECTED ? "the guest is told (machine check)"
			 : what == ARCH_MCE_RESET  ? "the guest cannot handle that, and is reset"
						   : "the guest is not told for now");
	tell(v->vm, "guest",
	     what == ARCH_MCE_INJECTED ? "inject"
	     : what == ARCH_MCE_RESET  ? "reset"
				       : "ignore",
	     required, recursive);
	if (what == ARCH_MCE_RESET)
		vm_request_reset(v->vm, VM_CAUSE_GUEST_RESET);
	else if (what == ARCH_MCE_INJECTED)
		ask_others(v);
	return 0;
}

int vcpu_memory_lost(struct vcpu *v)
{
	uintptr_t at = atomic_exchange(&v->lost, 0) & ~(uintptr_t)1;
	struct lost_page p;

	if (!find_page(v->vm, at, &p))
		return no_way(v, at, "host address", true);
	return tell_guest(v, &p, true);
}

int vcpu_memory_lost_at(struct vcpu *v, uint64_t gpa)
{
	const struct map_range *r = map_find(map_view(v->vm->map), MAP_MEM, gpa);
	struct lost_page p = { .gpa = align_down(gpa, RAM_PAGE_SIZE) };

	if (!r || r->region->kind == MAP_IO)
		return no_way(v, gpa, "guest address", true);
	p.rb = r->region->rb;
	p.off = r->region->rb_off + (p.gpa - r->addr);
	return tell_guest(v, &p, true);
}

/* ---- on the control loop ---- */

static void tell_early(struct vcpu *v, void *arg)
{
	const struct lost_page *p = arg;

	/* Nobody needs it now, so this does not fail. */
	if (tell_guest(v, p, false) < 0)
		log_error("vCPU %u: %s", v->index, v->fail);
}

static void tell_other(struct vcpu *v, void *arg)
{
	arch_memory_lost_elsewhere(v);
}

static void lost_early(struct memory_lost *l, uintptr_t at)
{
	struct vm *vm = l->vm;
	struct lost_page p;

	if (!vm->nr_vcpus || !find_page(vm, at, &p)) {
		log_warn("the host lost a page of hanok's own memory (host address %#" PRIxPTR
			 "): it ends when it needs the page",
			 at);
		tell(vm, "hypervisor", "ignore", false, false);
		return;
	}
	vm_run_on(vm->vcpus[0], tell_early, &p);
}

static void on_heard(struct loop_work *w)
{
	struct memory_lost *l = container_of(w, struct memory_lost, heard);
	struct vcpu *told;

	for (unsigned i = 0; i < QUEUE_LEN; i++) {
		uintptr_t at = atomic_exchange(&l->queue[i], 0);

		if (at)
			lost_early(l, at);
	}
	told = atomic_exchange(&l->told, NULL);
	for (unsigned i = 0; told && i < l->vm->nr_vcpus; i++)
		if (l->vm->vcpus[i] != told)
			vm_run_on(l->vm->vcpus[i], tell_other, NULL);
}

/* ---- life cycle ---- */

struct memory_lost *memory_lost_new(struct vm *vm)
{
	struct memory_lost *l = xnew(struct memory_lost);

	l->vm = vm;
	l->heard.fn = on_heard;
	pthread_mutex_init(&l->lock, NULL);
	return l;
}

void memory_lost_listen(struct vm *vm)
{
	atomic_store(&listener, vm->lost);
}

void memory_lost_free(struct vm *vm)
{
	struct memory_lost *l = take_ptr(vm->lost), *mine = l;

	if (!l)
		return;
	atomic_compare_exchange_strong(&listener, &mine, NULL);
	loop_cancel(vm->loop, &l->heard);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

int memory_lost_check(struct vm *vm, struct err *e)
{
	unsigned n = vm->lost ? vm->lost->pages : 0;

	return n ? err_set(e, EIO,
			   "%u page%s of the guest's memory cannot be read, as the host's hardware "
			   "lost %s: reset the guest first (system_reset)",
			   n, n == 1 ? "" : "s", n == 1 ? "it" : "them")
		 : 0;
}

void memory_lost_replace(struct vm *vm)
{
	struct memory_lost *l = vm->lost;

	for (unsigned i = 0; l && i < l->pages; i++)
		ram_replace(vm->ram, l->page[i], RAM_PAGE_SIZE);
	if (l)
		l->pages = 0;
}
