/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private views of a kernel's file over guest memory. Pages that the guest reads are the host's
 * page cache, which all guests of one kernel share; pages that it writes are copied.
 *
 * What makes that safe is a read lease (fcntl(2), F_SETLEASE): whoever opens the file for writing
 * or truncates it waits until we have taken copies of all pages and given the lease back, which a
 * signal asks us for. The signal goes to this thread alone, where it is blocked and read from a
 * signalfd on the loop. An upgrade that puts a new file in the old one's place does not concern us.
 * Where there is no lease (another user's file, a file system without, a writer that has it open)
 * the kernel is copied as ever.
 *
 * Control thread. State: none of the machine's.
 */
#include "base/base.h"

#include "base/log.h"
#include "core/vm.h"
#include "fw/kernel_map.h"
#include "mem/map.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static int break_signal(void)
{
	return SIGRTMIN + 1;
}

/* Gives the lease back when nothing of the file is in use any more. */
static void give_back(struct kernel_map *k)
{
	bool ran = k->vm->state == VM_RUNNING;
	int ret;

	if (!k->leased)
		return;
	if (ran)
		vm_pause(k->vm);
	ret = ram_own_files(k->vm->ram);
	if (ran)
		vm_resume(k->vm);
	if (ret < 0) {
		log_error("the kernel's file is about to be changed, and there is no memory for a "
			  "copy: %s",
			  strerror(-ret));
		vm_request_shutdown(k->vm, VM_CAUSE_ENGINE_FAILURE);
	}
	k->leased = false;
	fcntl(k->fd, F_SETLEASE, F_UNLCK);
}

static void on_break(struct loop_fd *f, uint32_t ready)
{
	struct kernel_map *k = container_of(f, struct kernel_map, breaks);
	struct signalfd_siginfo info;

	while (read(f->fd, &info, sizeof(info)) == sizeof(info))
		;
	log_debug("somebody opens the kernel's file for writing: its pages are copied");
	give_back(k);
}

static bool listen_for_breaks(struct kernel_map *k)
{
	struct err e;
	sigset_t set;

	if (k->breaks.fn)
		return true;
	sigemptyset(&set);
	sigaddset(&set, break_signal());
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	k->breaks.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	k->breaks.events = EPOLLIN;
	k->breaks.fn = on_break;
	if (k->breaks.fd >= 0 && loop_add(k->vm->loop, &k->breaks, &e) == 0)
		return true;
	close_fd_(&k->breaks.fd);
	k->breaks.fn = NULL;
	return false;
}

bool kernel_map_lease(struct kernel_map *k, struct vm *vm, int fd)
{
	struct f_owner_ex me = { .type = F_OWNER_TID, .pid = (pid_t)syscall(SYS_gettid) };

	if (k->leased)
		return true;
	k->vm = vm;
	k->fd = fd;
	if (!vm->ram || !vm->loop || !vm->ram->anonymous || !listen_for_breaks(k))
		return false;
	k->leased = !fcntl(fd, F_SETSIG, break_signal()) && !fcntl(fd, F_SETOWN_EX, &me) &&
		    !fcntl(fd, F_SETLEASE, F_RDLCK);
	/* F_SETLEASE makes the process the owner where there is none, so the thread again. */
	if (k->leased && fcntl(fd, F_SETOWN_EX, &me))
		give_back(k);
	return k->leased;
}

/* Where [gpa, gpa + len) lies in the machine's RAM, if that is one piece of it. */
static bool ram_offset(struct kernel_map *k, uint64_t gpa, uint64_t len, uint64_t *off)
{
	const struct map_range *r = map_find(map_view(k->vm->map), MAP_MEM, gpa);

	if (!r || r->region->kind != MAP_RAM || r->region->rb != k->vm->ram ||
	    len - 1 > r->last - gpa)
		return false;
	*off = r->region->rb_off + (gpa - r->addr);
	return true;
}

uint64_t kernel_map_segment(struct kernel_map *k, uint64_t gpa, uint64_t off, uint64_t len)
{
	uint64_t whole = align_down(len, RAM_PAGE_SIZE), at;

	if (!k->leased || whole < KERNEL_MAP_MIN || ((gpa | off) & (RAM_PAGE_SIZE - 1)) ||
	    !ram_offset(k, gpa, whole, &at))
		return 0;
	return ram_map_file(k->vm->ram, at, k->fd, off, whole) ? 0 : whole;
}

/* The guest's memory goes too. */
void kernel_map_fini(struct kernel_map *k)
{
	if (!k->breaks.fn)
		return;
	if (k->leased)
		fcntl(k->fd, F_SETLEASE, F_UNLCK);
	loop_del(k->vm->loop, &k->breaks);
	close_fd_(&k->breaks.fd);
}
