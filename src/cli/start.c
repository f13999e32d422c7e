/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a filled configuration to a running VM and back to an exit code: builds the machine, wires
 * signals and the terminal's escape keys to a clean end, runs the control loop.
 */
#include "base/base.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/trace.h"
#include "base/trim.h"
#include "char/char.h"
#include "cli/daemon.h"
#include "cli/front.h"
#include "core/backend.h"
#include "core/accel.h"
#include "core/fdset.h"
#include "core/lease.h"
#include "core/memory_lost.h"
#include "core/vm.h"
#include "migr/dump.h"
#include "migr/migr.h"
#include "mon/mon.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define TRIM_AFTER_NS (300 * NS_PER_MS)

struct front {
	struct pidfile pidfile;
	struct daemon daemon;
	struct vm *vm;
	struct mon *mon;
	struct loop_fd signals;
	struct char_escape escape;
	struct loop_timer progress, trim;
};

/* SIGINT, SIGTERM and SIGHUP end the VM as a whole; the terminal is restored on the way out. */
static void on_signal(struct loop_fd *fd, uint32_t ready)
{
	struct front *f = container_of(fd, struct front, signals);
	struct signalfd_siginfo info;

	if (read(fd->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == (uint32_t)lease_signal()) {
		lease_signalled(f->vm, info.ssi_fd);
		return;
	}
	log_info("terminating on signal %u from pid %u", info.ssi_signo, info.ssi_pid);
	vm_request_exit(f->vm, 0, VM_CAUSE_HOST_SIGNAL);
}

static void on_escape_quit(struct char_escape *escape)
{
	struct front *f = container_of(escape, struct front, escape);

	vm_request_exit(f->vm, 0, VM_CAUSE_HOST_QUIT);
}

/* Blocked in every thread made from here on, so that only the signalfd sees them. */
static int open_signals(struct front *f, struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, lease_signal());
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* ulimit -f: EFBIG, which is told to the user or the guest */
	f->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	f->signals.events = EPOLLIN;
	f->signals.fn = on_signal;
	if (f->signals.fd < 0)
		return err_set_errno(e, errno, "signalfd");
	return 0;
}

/* Ctrl-A, on the chardevs that know it. */
static void set_escapes(struct front *f)
{
	f->escape.quit = on_escape_quit;
	f->escape.key = f->vm->conf->escape_key;
	for (struct conf_node *n = f->vm->conf->nodes; n; n = n->next) {
		struct char_end *end;

		if (n->kind != CONF_CHARDEV || !n->id)
			continue;
		end = backend_find(f->vm, BACKEND_CHAR, n->id);
		if (end)
			char_set_escape(end, &f->escape);
	}
}

/* The machine is whole, and stands still. */
static int open_monitors(struct front *f, struct err *e)
{
	int r = 0;

	f->mon = mon_new(f->vm);
	for (struct conf_node *n = f->vm->conf->nodes; !r && n; n = n->next) {
		if (n->kind == CONF_MONITOR)
			r = mon_open(f->mon, n, e);
	}
	return r;
}

/* The saved machine that this one goes on from, unless a monitor will say it. */
static int load_incoming(struct vm *vm, struct err *e)
{
	const char *from = vm->conf->incoming;

	if (!from || !strcmp(from, "defer"))
		return 0;
	return migr_load(migr_of(vm), from, NULL, true, e);
}

/* How far the load is, for who sits in front of it. */
static void show_progress(struct loop_timer *t)
{
	struct front *f = container_of(t, struct front, progress);
	struct migr_info i;

	migr_get_info(migr_of(f->vm), &i);
	if (i.status != MIGR_SETUP && i.status != MIGR_ACTIVE) {
		fprintf(stderr, "\r\033[K");
		return;
	}
	fprintf(stderr, "\rrestoring: %3.0f %%",
		i.ram_total ? 100 - 100 * (double)i.ram_remaining / (double)i.ram_total : 0.0);
	loop_arm(f->vm->loop, t, clock_now_ns() + 100 * NS_PER_MS);
}

/* Nothing of the process is paged out: at once, or as it is touched. */
static int lock_memory(enum mem_lock how, struct err *e)
{
	int flags = MCL_CURRENT | MCL_FUTURE | (how == MEM_LOCK_TOUCHED ? MCL_ONFAULT : 0);

	if (how == MEM_LOCK_NONE || mlockall(flags) == 0)
		return 0;
	return err_set_errno(e, errno,
			     "-overcommit mem-lock: memory cannot be locked (see ulimit -l)");
}

static void set_up_trace(const char *words)
{
	autofree char *copy = xstrdup(words ?: "");
	char *save = NULL;

	for (char *w = strtok_r(copy, "\n", &save); w; w = strtok_r(NULL, "\n", &save))
		trace_ask(w);
}

/* Made anew. It is never closed: every thread may write to it until the end. */
static int open_log(const struct vm_conf *conf, const char *path, const char *option, struct err *e)
{
	int fd =
		fdset_open(conf, path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOCTTY, 0644, e);

	return fd < 0 ? err_prefix(e, "%s%s: ", option, path) : fd;
}

/* -D, -d, -trace and -msg. */
static int set_up_log(const struct vm_conf *conf, struct err *e)
{
	int fd;

	if (conf->log_file) {
		fd = open_log(conf, conf->log_file, "-D ", e);
		if (fd < 0)
			return fd;
		log_set_fd(fd);
	}
	if (conf->trace_file) {
		fd = open_log(conf, conf->trace_file, "-trace file=", e);
		if (fd < 0)
			return fd;
		log_set_event_fd(fd);
	}
	if (conf->log_level)
		log_set_level((enum log_level)conf->log_level);
	log_set_engine(conf->log_engine);
	log_set_timestamps(conf->log_timestamp);
	set_up_trace(conf->trace);
	log_set_guest(conf->log_guest_name ? conf->name : NULL);
	return 0;
}

/*
 * The last of what needs the whole system, then this thread's sandbox; the guest, and what a saved
 * machine says, come behind it. vCPU threads are there already and do not inherit its filter.
 */
static int confine(struct front *f, struct err *e)
{
	struct vm *vm = f->vm;
	int r = load_incoming(vm, e);

	if (r == 0 && vm->conf->pidfile)
		r = pidfile_write(&f->pidfile, vm->conf->pidfile, e);
	if (r == 0 && process_confine(vm->conf->chroot, vm->conf->user, e) < 0)
		r = err_prefix(e, "-run-with ");
	if (r == 0)
		r = sandbox_drop(&vm->conf->sandbox, e);
	if (r == 0)
		r = vm_start_threads(vm, e);
	if (r == 0)
		r = sandbox_enter(&vm->conf->sandbox, SANDBOX_CONTROL, e);
	vm->confined = vm->conf->sandbox.on && !vm->conf->sandbox.spawn;
	return r;
}

static void warn_of_perf(const struct vm *vm)
{
	if ((vm->conf->perf_map || vm->conf->jit_dump) && !vm->accel->show_jit)
		log_warn("-perfmap and -jitdump are about translated code: %s has none",
			 vm->accel->name);
}

static int start(struct front *f, struct vm_conf *conf, struct err *e)
{
	int r = conf->daemonize ? daemon_begin(&f->daemon, e) : 0;

	if (r == 0)
		r = set_up_log(conf, e);
	if (r == 0)
		r = open_signals(f, e);
	char_guard_terminal();
	if (r == 0)
		r = memory_lost_catch(e);
	if (r == 0)
		r = lock_memory(conf->mem_lock, e);
	conf->sandbox.lock_memory = conf->mem_lock != MEM_LOCK_NONE;
	if (r < 0) {
		vm_conf_free(conf);
		return r;
	}
	f->vm = vm_new_take(conf, e);
	if (!f->vm)
		return -EINVAL;
	warn_of_perf(f->vm);
	set_escapes(f);
	memory_lost_listen(f->vm);
	r = open_monitors(f, e);
	if (r < 0)
		return r;
	r = loop_add(f->vm->loop, &f->signals, e);
	if (r == 0)
		r = confine(f, e);
	if (r == 0)
		r = vm_start(f->vm, e);
	f->progress.fn = show_progress;
	if (r == 0 && f->vm->conf->show_progress && isatty(STDERR_FILENO))
		loop_arm(f->vm->loop, &f->progress, clock_now_ns());
	return r < 0 || f->daemon.ready_fd < 0 ? r : daemon_ready(&f->daemon, e);
}

static void trim(struct loop_timer *t)
{
	trim_text();
}

int front_start_take(struct vm_conf *conf)
{
	struct front f = { .signals = { .fd = -1 }, .pidfile = { .fd = -1 }, .daemon = { -1, -1 } };
	struct err e = { 0 };
	int code = 1;

	if (start(&f, conf, &e) < 0) {
		log_error("%s", e.msg);
	} else {
		/* Not now: the guest's own start comes first, and needs some of it again. */
		f.trim.fn = trim;
		loop_arm(f.vm->loop, &f.trim, clock_now_ns() + TRIM_AFTER_NS);
		code = vm_run(f.vm);
	}
	if (f.vm) {
		loop_del(f.vm->loop, &f.signals);
		loop_disarm(f.vm->loop, &f.trim);
		migr_end(f.vm);
		dump_end(f.vm);
		mon_free(f.mon);
		vm_free(f.vm);
	}
	pidfile_remove(&f.pidfile);
	close_fd_(&f.daemon.ready_fd);
	close_fd_(&f.daemon.null_fd);
	close_fd_(&f.signals.fd);
	return code;
}
