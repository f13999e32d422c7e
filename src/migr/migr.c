/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jobs of saving and loading (migr.h). One at a time, in three steps each: open the channel
 * (the caller's command returns), then begin on the loop, then the worker's end comes back to the
 * loop. The worker touches the stream, RAM, and what was made for it before it started.
 *
 * A machine that is being saved is in VM_FINISH_MIGRATE, one that waits in VM_INMIGRATE: core lets
 * neither run nor be reset. State: none that is saved.
 */
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/trace.h"
#include "block/block.h"
#include "core/backend.h"
#include "core/event.h"
#include "core/memory_lost.h"
#include "core/vm.h"
#include "migr/chan.h"
#include "migr/desc.h"
#include "migr/format.h"
#include <sys/socket.h>
#include <unistd.h>

/* #syscalls migr: accept4 */

#define SETTLE_NS (20 * NS_PER_MS)

struct migr {
	struct vm *vm;
	struct migr_params params;
	bool cap[MIGR_NR_CAPS];
	/* the job */
	enum migr_status status;
	bool incoming, exit_on_error;
	enum vm_state before; /* of a save; of a load, when it was saved */
	unsigned passes;
	uint64_t start_ns, begin_ns, end_ns;
	struct err error;
	struct migr_chan chan;
	struct migr_stream stream;
	struct state_buf head; /* save: what is made on the control thread */
	struct migr_text here; /* load: this machine */
	struct load load;
	struct ram_count ram;
	struct loop_work begin, done;
	struct loop_timer settle; /* looks whether the other end is there */
	pthread_t thread;
	bool has_thread;
	int result; /* of the worker, with error set */
};

static const char *const status_names[] = {
	[MIGR_NONE] = "none",
	[MIGR_SETUP] = "setup",
	[MIGR_CANCELLING] = "cancelling",
	[MIGR_CANCELLED] = "cancelled",
	[MIGR_ACTIVE] = "active",
	[MIGR_PRE_SWITCHOVER] = "pre-switchover",
	[MIGR_DEVICE] = "device",
	[MIGR_COMPLETED] = "completed",
	[MIGR_FAILED] = "failed",
};

static const char *const cap_names[] = {
	[MIGR_CAP_EVENTS] = "events",
	[MIGR_CAP_PAUSE_BEFORE_SWITCHOVER] = "pause-before-switchover",
};
static_assert(ARRAY_SIZE(cap_names) == MIGR_NR_CAPS, "a name for each");

const char *migr_status_name(enum migr_status s)
{
	return status_names[s];
}

const char *migr_cap_name(enum migr_cap c)
{
	return cap_names[c];
}

static bool busy(const struct migr *m)
{
	return m->status == MIGR_SETUP || m->status == MIGR_ACTIVE || m->status == MIGR_DEVICE ||
	       m->status == MIGR_PRE_SWITCHOVER || m->status == MIGR_CANCELLING;
}

static void set_status(struct migr *m, enum migr_status s)
{
	trace_migrate_set_state(status_names[s]);
	if (s == MIGR_FAILED)
		trace_migrate_error(m->error.msg);
	m->status = s;
	vm_tell_name(m->vm, VM_EV_MIGRATION, status_names[s]);
}

static void next_pass(struct migr *m)
{
	struct vm_event ev = { .kind = VM_EV_MIGRATION_PASS, .value = ++m->passes };

	vm_tell(m->vm, &ev);
}

/* ---- the worker ---- */

/* Until the other end is there; the stream's own socket of one that listens. */
static int await_stream(struct migr *m, struct err *e)
{
	struct migr_stream *s = &m->stream;
	int ret = stream_await(s, e), fd;

	while (ret == 0 && m->chan.listening) {
		fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			close(s->fd);
			s->fd = fd;
			return 0;
		}
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			return err_set_errno(e, errno, "cannot accept the saved machine");
		ret = stream_await(s, e);
	}
	return ret;
}

static int do_save(struct migr *m, struct err *e)
{
	int ret = stream_write(&m->stream, m->head.data, m->head.len, e);

	if (ret == 0)
		ret = save_ram(m->vm, &m->stream, &m->ram, e);
	if (ret == 0 && m->chan.sync)
		ret = stream_sync(&m->stream, e);
	return ret;
}

static int do_load(struct migr *m, struct err *e)
{
	int ret = await_stream(m, e);

	if (ret == 0)
		ret = load_head(&m->stream, &m->load.text, e);
	if (ret == 0)
		ret = desc_check(&m->load.text, &m->here, e);
	if (ret == 0)
		ret = desc_run_state(&m->load.text, &m->before, e);
	if (ret == 0)
		ret = load_state_section(&m->stream, &m->load, e);
	return ret ? ret : load_ram(m->vm, &m->stream, &m->ram, e);
}

static void *worker(void *arg)
{
	struct migr *m = arg;
	int ret = sandbox_enter(&m->vm->conf->sandbox, SANDBOX_MIGR, &m->error);

	if (ret == 0)
		ret = m->incoming ? do_load(m, &m->error) : do_save(m, &m->error);
	/* Whoever reads waits for the end of it. */
	close_fd_(&m->stream.fd);
	m->stream.fd = -1;
	if (ret == 0)
		ret = chan_close(&m->chan, &m->stream.cancel, &m->error);
	else
		chan_hang_up(&m->chan);
	m->result = ret;
	loop_post(m->vm->loop, &m->done);
	return NULL;
}

static int start_worker(struct migr *m, struct err *e)
{
	int ret = thread_start(&m->thread, NULL, worker, m);

	if (ret < 0)
		return err_set_errno(e, -ret, "cannot start a thread for the migration");
	pthread_setname_np(m->thread, "migration");
	m->has_thread = true;
	return 0;
}

/* ---- what both have in common ---- */

static void free_job(struct migr *m)
{
	if (m->has_thread)
		pthread_join(m->thread, NULL);
	m->has_thread = false;
	loop_disarm(m->vm->loop, &m->settle);
	stream_fini(&m->stream);
	chan_abandon(&m->chan);
	state_buf_fini(&m->head);
	text_fini(&m->here);
	load_fini(&m->load);
	m->end_ns = clock_now_ns();
}

static void fail(struct migr *m, int ret)
{
	set_status(m, ret == -ECANCELED ? MIGR_CANCELLED : MIGR_FAILED);
}

/* What is pending to be looked at, and the machine as it was. */
static int open_job(struct migr *m, const char *uri, bool incoming, struct migr_fds *fds,
		    struct err *e)
{
	int ret;

	if (busy(m))
		return err_set(e, EBUSY, "There's a migration process in progress");
	ret = chan_open(&m->chan, uri, !incoming, m->vm->confined, fds, e);
	if (ret < 0)
		return ret;
	m->incoming = incoming;
	m->error = (struct err){ 0 };
	m->passes = 0;
	atomic_store(&m->stream.pos, 0);
	m->ram = (struct ram_count){ .total = m->vm->ram->size };
	m->start_ns = m->begin_ns = m->end_ns = clock_now_ns();
	set_status(m, MIGR_SETUP);
	loop_post(m->vm->loop, &m->begin);
	return 0;
}

/* ---- save ---- */

/* What was acknowledged to the guest is on the disks, where another host may look for it. */
struct flush {
	struct blk_req r;
	int ret;
};

static void flushed(struct blk_req *r, int ret)
{
	container_of(r, struct flush, r)->ret = ret;
}

static int flush_disks(struct vm *vm, struct err *e)
{
	for (struct backend *b = vm->backends; b; b = b->next) {
		struct flush f = { .r = { .op = BLK_FLUSH, .done = flushed } };

		if (b->kind != BACKEND_BLOCK || blk_info(b->end)->read_only)
			continue;
		blk_submit(b->end, &f.r);
		blk_drain(b->end);
		if (f.ret < 0)
			return err_set_errno(e, -f.ret, "disk '%s' cannot be flushed", b->id);
	}
	return 0;
}

/* The machine goes on as if nothing had been. */
static void undo_save(struct migr *m)
{
	struct err e = { 0 };

	if (m->vm->state != VM_FINISH_MIGRATE)
		return;
	vm_set_state(m->vm, m->before == VM_RUNNING ? VM_PAUSED : m->before);
	if (m->before == VM_RUNNING && vm_cont(m->vm, &e) < 0)
		log_error("the guest does not go on: %s", e.msg);
}

static void end_save(struct migr *m, int ret)
{
	free_job(m);
	if (ret < 0) {
		if (ret != -ECANCELED)
			log_error("the machine was not saved: %s", m->error.msg);
		undo_save(m);
		fail(m, ret);
		return;
	}
	next_pass(m);
	set_status(m, MIGR_DEVICE);
	vm_set_state(m->vm, VM_POSTMIGRATE);
	set_status(m, MIGR_COMPLETED);
}

static int start_save(struct migr *m, struct err *e)
{
	int ret = flush_disks(m->vm, e);

	if (ret == 0)
		ret = save_state(m->vm, vm_state_name(m->before), &m->head, e);
	return ret ? ret : start_worker(m, e);
}

static void begin_save(struct migr *m)
{
	int ret;

	m->begin_ns = clock_now_ns();
	if (vm_stop_for(m->vm, VM_FINISH_MIGRATE, &m->before, &m->error) < 0)
		return; /* migr_end() cleans up */
	next_pass(m);
	set_status(m, MIGR_ACTIVE);
	if (m->cap[MIGR_CAP_PAUSE_BEFORE_SWITCHOVER]) {
		set_status(m, MIGR_PRE_SWITCHOVER);
		return;
	}
	ret = start_save(m, &m->error);
	if (ret < 0)
		end_save(m, ret);
}

int migr_continue(struct migr *m, struct err *e)
{
	int ret;

	if (m->status != MIGR_PRE_SWITCHOVER)
		return err_set(e, EINVAL, "Migration not in expected state: %s",
			       status_names[m->status]);
	set_status(m, MIGR_DEVICE);
	ret = start_save(m, &m->error);
	if (ret < 0)
		end_save(m, ret);
	return 0;
}

int migr_save(struct migr *m, const char *uri, struct migr_fds *fds, struct err *e)
{
	int r;

	if (!m->vm->ram || !m->vm->nr_vcpus)
		return err_set(e, EINVAL, "this machine has nothing to save");
	if (m->vm->state == VM_INMIGRATE)
		return err_set(e, EINVAL, "Guest is waiting for an incoming migration");
	if (m->vm->state == VM_SAVE_VM)
		return err_set(e, EBUSY, "There is a dump in process, please wait.");
	r = memory_lost_check(m->vm, e);
	if (r < 0)
		return r;
	return open_job(m, uri, false, fds, e);
}

/* ---- load ---- */

static void end_load(struct migr *m, int ret)
{
	struct err e = { 0 };
	bool runs = m->before == VM_RUNNING;

	if (ret == 0)
		ret = load_apply(m->vm, &m->load, &m->error);
	free_job(m);
	if (ret < 0) {
		log_error("the saved machine was not loaded: %s", m->error.msg);
		/* Nothing of it may stay behind. */
		if (vm_reset_machine(m->vm, &e) < 0)
			log_error("and this one cannot begin anew: %s", e.msg);
		fail(m, ret);
		if (m->exit_on_error)
			vm_request_exit(m->vm, 1, VM_CAUSE_HOST_QUIT);
		return;
	}
	vm_set_state(m->vm, runs ? VM_PAUSED : m->before);
	set_status(m, MIGR_COMPLETED);
	if (runs && !m->vm->conf->start_paused && vm_cont(m->vm, &e) < 0)
		log_error("the guest does not go on: %s", e.msg);
}

static void begin_load(struct migr *m)
{
	int ret;

	m->begin_ns = clock_now_ns();
	set_status(m, MIGR_ACTIVE);
	desc_machine(m->vm, "", &m->here);
	ret = start_worker(m, &m->error);
	if (ret < 0)
		end_load(m, ret);
}

int migr_load(struct migr *m, const char *uri, struct migr_fds *fds, bool exit_on_error,
	      struct err *e)
{
	if (m->vm->state != VM_INMIGRATE)
		return err_set(
			e, EINVAL,
			"'-incoming' was not specified on the command line, or a machine has "
			"come already: start it with "
			"'-incoming defer'");
	m->exit_on_error = exit_on_error;
	return open_job(m, uri, true, fds, e);
}

/* ---- on the loop ---- */

/* 1 = the stream is there, 0 = not yet: the timer looks again. */
static int make_stream(struct migr *m, struct err *e)
{
	int ret = chan_settle(&m->chan, e);

	if (ret == 0)
		loop_arm(m->vm->loop, &m->settle, clock_now_ns() + SETTLE_NS);
	if (ret <= 0)
		return ret;
	ret = stream_init_take(&m->stream, take_fd(&m->chan.fd), e);
	if (ret < 0)
		return ret;
	stream_set_pace(&m->stream, m->incoming ? 0 : m->params.max_bandwidth);
	return 1;
}

static void begin(struct migr *m)
{
	int ret;

	if (m->vm->ended) /* in the same round of the loop: migr_end() cleans up */
		return;
	if (m->status == MIGR_CANCELLING) { /* before anything began */
		free_job(m);
		fail(m, -ECANCELED);
		return;
	}
	ret = make_stream(m, &m->error);
	if (ret > 0 && m->incoming)
		begin_load(m);
	else if (ret > 0)
		begin_save(m);
	else if (ret < 0 && m->incoming)
		end_load(m, ret);
	else if (ret < 0)
		end_save(m, ret);
}

static void begin_fn(struct loop_work *w)
{
	begin(container_of(w, struct migr, begin));
}

static void settle_fn(struct loop_timer *t)
{
	begin(container_of(t, struct migr, settle));
}

static void done_fn(struct loop_work *w)
{
	struct migr *m = container_of(w, struct migr, done);

	if (m->vm->ended)
		return;
	if (m->incoming)
		end_load(m, m->result);
	else
		end_save(m, m->result);
}

void migr_cancel(struct migr *m)
{
	bool waits = m->status == MIGR_PRE_SWITCHOVER;

	if (!busy(m) || m->status == MIGR_CANCELLING)
		return;
	if (m->status == MIGR_SETUP)
		loop_post(m->vm->loop, &m->begin);
	set_status(m, MIGR_CANCELLING);
	stream_cancel(&m->stream);
	if (waits)
		end_save(m, err_set(&m->error, ECANCELED, "cancelled"));
}

struct migr *migr_of(struct vm *vm)
{
	struct migr *m = vm->migr;

	if (m)
		return m;
	m = vm->migr = xnew(struct migr);
	m->vm = vm;
	m->params.downtime_limit_ms = 300;
	m->chan.fd = m->stream.fd = m->stream.wake = -1;
	m->begin.fn = begin_fn;
	m->settle.fn = settle_fn;
	m->done.fn = done_fn;
	return m;
}

void migr_end(struct vm *vm)
{
	struct migr *m = vm->migr;

	if (!m)
		return;
	if (m->has_thread)
		stream_cancel(&m->stream);
	free_job(m);
	loop_cancel(vm->loop, &m->begin);
	loop_cancel(vm->loop, &m->done);
	free(m);
	vm->migr = NULL;
}

/* ---- what is asked and set ---- */

void migr_get_info(struct migr *m, struct migr_info *i)
{
	uint64_t now = busy(m) ? clock_now_ns() : m->end_ns, done = atomic_load(&m->ram.done);

	*i = (struct migr_info){ .status = m->status, .incoming = m->incoming };
	if (m->status == MIGR_NONE)
		return;
	i->setup_ms = (m->begin_ns - m->start_ns) / NS_PER_MS;
	i->total_ms = (now - m->start_ns) / NS_PER_MS;
	i->downtime_ms = (now - m->begin_ns) / NS_PER_MS;
	i->ram_total = atomic_load(&m->ram.total);
	i->ram_remaining = i->ram_total - MIN(done, i->ram_total);
	i->transferred = atomic_load(&m->stream.pos);
	i->zero_pages = atomic_load(&m->ram.zero);
	i->normal_pages = atomic_load(&m->ram.normal);
	i->passes = m->passes;
	i->error = m->status == MIGR_FAILED ? m->error.msg : NULL;
}

bool migr_cap_get(struct migr *m, enum migr_cap c)
{
	return m->cap[c];
}

int migr_cap_set(struct migr *m, enum migr_cap c, bool on, struct err *e)
{
	if (busy(m))
		return err_set(e, EBUSY, "There's a migration process in progress");
	m->cap[c] = on;
	return 0;
}

struct migr_params migr_get_params(struct migr *m)
{
	return m->params;
}

void migr_set_params(struct migr *m, const struct migr_params *p)
{
	m->params = *p;
	if (busy(m) && !m->incoming)
		stream_set_pace(&m->stream, p->max_bandwidth);
}
