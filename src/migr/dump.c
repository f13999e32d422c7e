/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jobs of dump.h. The control thread opens the file and finds what goes into it; a worker
 * writes, so that a slow reader of a pipe holds nobody up, and its end comes back to the loop.
 * State: none that is saved.
 */
#include "base/base.h"
#include "base/log.h"
#include "base/thread.h"
#include "core/memory_lost.h"
#include "core/vm.h"
#include "mem/map.h"
#include "migr/chan.h"
#include "migr/dump.h"
#include "migr/dump_core.h"

#define STEP (64u << 10)

struct dump {
	struct vm *vm;
	bool busy;
	struct dump_request r;
	struct dump_core core;
	struct dump_info info; /* but for: */
	_Atomic uint64_t completed;
	bool stopped; /* the guest, by us */
	enum vm_state before;
	struct migr_chan chan;
	struct migr_stream stream;
	struct loop_work done;
	pthread_t thread;
	bool has_thread;
	struct err error;
};

/* ---- the worker ---- */

static int write_range(struct dump *d, struct err *e)
{
	autofree uint8_t *buf = xnew_n(uint8_t, STEP);

	for (uint64_t at = 0; at < d->r.len;) {
		uint64_t gpa = d->r.addr + at, run = d->r.len - at, n;
		int ret = 0;

		if (d->r.what == DUMP_VIRTUAL)
			ret = arch_space_find(&d->r.space, d->r.addr + at, &gpa, &run);
		n = MIN(run, d->r.len - at);
		n = MIN(n, (uint64_t)STEP);
		if (ret < 0 || !n || mem_read(d->vm->map, gpa, buf, n) < 0)
			return err_set(e, EFAULT,
				       "the guest has no memory at %s address %#" PRIx64
				       "; %" PRIu64 " of %" PRIu64 " bytes are written",
				       d->r.what == DUMP_VIRTUAL ? "virtual" : "physical",
				       d->r.addr + at, at, d->r.len);
		ret = stream_write(&d->stream, buf, n, e);
		if (ret < 0)
			return ret;
		at += n;
	}
	return 0;
}

static int write_core(struct dump *d, struct err *e)
{
	int ret;

	if (d->r.format != DUMP_ELF)
		return dump_kdump_write(&d->core, d->r.format == DUMP_KDUMP, &d->stream,
					&d->completed, e);
	ret = dump_core_map(&d->core, &d->stream.cancel, e);
	return ret < 0 ? ret : dump_elf_write(&d->core, &d->stream, &d->completed, e);
}

static void *worker(void *arg)
{
	struct dump *d = arg;
	int ret = sandbox_enter(&d->vm->conf->sandbox, SANDBOX_MIGR, &d->error);

	if (ret == 0 && d->r.what == DUMP_CORE)
		ret = write_core(d, &d->error);
	else if (ret == 0)
		ret = write_range(d, &d->error);
	close_fd_(&d->stream.fd);
	d->stream.fd = -1;
	if (ret == 0)
		(void)chan_close(&d->chan, &d->stream.cancel, &d->error);
	else
		chan_hang_up(&d->chan);
	loop_post(d->vm->loop, &d->done);
	return NULL;
}

static int start_worker(struct dump *d, struct err *e)
{
	int ret = thread_start(&d->thread, NULL, worker, d);

	if (ret < 0)
		return err_set_errno(e, -ret, "cannot start a thread for the dump");
	pthread_setname_np(d->thread, "dump");
	d->has_thread = true;
	return 0;
}

/* ---- the control thread ---- */

static void let_guest_go(struct dump *d)
{
	struct err e = { 0 };

	if (!d->stopped)
		return;
	d->stopped = false;
	/* Somebody else may have changed it: a reset, or the end of the machine. */
	if (d->vm->state != VM_SAVE_VM)
		return;
	vm_set_state(d->vm, d->before == VM_RUNNING ? VM_PAUSED : d->before);
	if (d->before == VM_RUNNING && vm_cont(d->vm, &e) < 0)
		log_error("the guest does not go on: %s", e.msg);
}

static void free_job(struct dump *d)
{
	if (d->has_thread)
		pthread_join(d->thread, NULL);
	d->has_thread = false;
	stream_fini(&d->stream);
	chan_abandon(&d->chan);
	dump_core_fini(&d->core);
	d->busy = false;
}

static void end_job(struct dump *d)
{
	free_job(d);
	if (d->r.what == DUMP_CORE) {
		d->info.status = d->error.code ? DUMP_FAILED : DUMP_COMPLETED;
		d->r.written(d->r.arg, &d->error);
	}
	let_guest_go(d);
	d->r.done(d->r.arg, &d->error);
}

static void done_fn(struct loop_work *w)
{
	struct dump *d = container_of(w, struct dump, done);

	if (!d->vm->ended) /* dump_end() cleans up */
		end_job(d);
}

static struct dump *dump_of(struct vm *vm)
{
	struct dump *d = vm->dump;

	if (d)
		return d;
	d = vm->dump = xnew(struct dump);
	d->vm = vm;
	d->chan.fd = d->stream.fd = d->stream.wake = -1;
	d->done.fn = done_fn;
	return d;
}

static int may_start(const struct dump *d, struct err *e)
{
	if (d->busy)
		return err_set(e, EBUSY, "There is a dump in process, please wait.");
	if (d->vm->state == VM_INMIGRATE || d->vm->state == VM_FINISH_MIGRATE)
		return err_set(e, EBUSY, "the machine is being saved or loaded: its state is '%s'",
			       vm_state_name(d->vm->state));
	if (!d->vm->ram || !d->vm->nr_vcpus)
		return err_set(e, EINVAL, "this machine has no memory to look at");
	return memory_lost_check(d->vm, e);
}

static int open_stream(struct dump *d, struct migr_fds *fds, struct err *e)
{
	uint64_t at;
	int ret = chan_open(&d->chan, d->r.uri, true, d->vm->confined, fds, e);

	if (ret == 0)
		ret = chan_settle(&d->chan, e);
	if (ret == 0)
		return err_set(e, EAGAIN, "'%s' has nobody at its other end", d->r.uri);
	if (ret == 1)
		ret = stream_init_take(&d->stream, take_fd(&d->chan.fd), e);
	if (ret == 0 && d->r.what == DUMP_CORE && d->r.format == DUMP_KDUMP_RAW)
		ret = stream_tell(&d->stream, &at, e);
	return ret;
}

/* What the file holds is one moment of the guest's life. */
static int find_core(struct dump *d, struct err *e)
{
	int ret = vm_stop_for(d->vm, VM_SAVE_VM, &d->before, e);

	if (ret < 0)
		return ret;
	d->stopped = true;
	ret = dump_core_init(&d->core, d->vm, d->r.addr, d->r.len, d->r.paging, e);
	atomic_store(&d->completed, 0);
	d->info = (struct dump_info){ .status = ret < 0 ? DUMP_FAILED : DUMP_ACTIVE,
				      .total = d->r.format == DUMP_ELF
						       ? dump_core_bytes(&d->core)
						       : dump_kdump_bytes(&d->core) };
	return ret;
}

int dump_start(struct vm *vm, const struct dump_request *r, struct migr_fds *fds, struct err *e)
{
	struct dump *d = dump_of(vm);
	int ret = may_start(d, e);

	if (ret < 0)
		return ret;
	d->r = *r;
	d->error = (struct err){ 0 };
	ret = open_stream(d, fds, e);
	if (ret == 0 && r->what == DUMP_CORE)
		ret = find_core(d, e);
	if (ret == 0)
		ret = start_worker(d, e);
	if (ret < 0) {
		free_job(d);
		let_guest_go(d);
		return ret;
	}
	d->r.uri = NULL;
	d->busy = true;
	return 0;
}

struct dump_info dump_get_info(const struct vm *vm)
{
	struct dump_info i = { .status = DUMP_NONE };

	if (vm->dump) {
		i = vm->dump->info;
		i.completed = atomic_load(&vm->dump->completed);
	}
	return i;
}

void dump_end(struct vm *vm)
{
	struct dump *d = vm->dump;

	if (!d)
		return;
	if (d->busy) {
		stream_cancel(&d->stream);
		free_job(d);
		if (!d->error.code)
			err_set(&d->error, ECANCELED, "the machine ended");
		d->r.done(d->r.arg, &d->error);
	}
	loop_cancel(vm->loop, &d->done);
	free(d);
	vm->dump = NULL;
}
