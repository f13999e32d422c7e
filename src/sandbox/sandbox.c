/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roles of threads as the kernel enforces them (sandbox.h). Sources: seccomp(2), landlock(7),
 * capabilities(7). All of it belongs to the calling thread; nothing here is shared.
 */
#include "base/base.h"

#include "base/uapi.h"
#include "sandbox/filters.h"
#include "sandbox/sandbox_int.h"
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * What every thread may do: wait for others, get memory, log, and end.
 * The C library's share of it: malloc and threads.
 */
/* #syscalls all: futex read readv write writev close brk munmap mremap madvise mmap(!PROT_EXEC)
 * mprotect(!PROT_EXEC) clock_gettime clock_nanosleep gettid getpid getrandom rseq
 * set_robust_list sched_getaffinity sysinfo rt_sigprocmask rt_sigreturn sched_yield exit exit_group
 * restart_syscall tgkill(SIGABRT) rt_sigaction membarrier prctl(PR_SET_NAME) */

/* Threads that are made later take on their role under the filter of their maker. */
/* #syscalls io worker migr: prctl(PR_SET_NO_NEW_PRIVS) landlock_create_ruleset
 * landlock_restrict_self capset seccomp(SECCOMP_SET_MODE_FILTER) */

/* The making of a thread, and no other kind of child. clone3 hides its flags from a filter;
 * the C library takes clone when it is not there. */
/* #syscalls control io: clone(&CLONE_THREAD) clone3=ENOSYS */

static const struct role {
	const char *name;
	const struct sock_filter *filter;
	size_t len;
} roles[] = {
	[SANDBOX_CONTROL] = { "control", filter_control, ARRAY_SIZE(filter_control) },
	[SANDBOX_VCPU] = { "vcpu", filter_vcpu, ARRAY_SIZE(filter_vcpu) },
	[SANDBOX_IO] = { "io", filter_io, ARRAY_SIZE(filter_io) },
	[SANDBOX_WORKER] = { "worker", filter_worker, ARRAY_SIZE(filter_worker) },
	[SANDBOX_MIGR] = { "migr", filter_migr, ARRAY_SIZE(filter_migr) },
};

#define LANDLOCK_KNOWN 5 /* the newest version of which we withhold something */

/* What each version of Landlock can withhold; a bit that the kernel does not know is refused. */
static uint64_t all_of_fs(int abi)
{
	uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	if (abi >= 2)
		all |= HK_LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		all |= HK_LANDLOCK_ACCESS_FS_TRUNCATE;
	if (abi >= 5)
		all |= HK_LANDLOCK_ACCESS_FS_IOCTL_DEV;
	return all;
}

static int make_ruleset(enum sandbox_role role, int abi)
{
	/* The kernel looks at no more of it than its version knows, if the rest is 0. */
	struct hk_landlock_ruleset_attr attr = { 0 };

	if (role == SANDBOX_CONTROL) {
		attr.handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
					 LANDLOCK_ACCESS_FS_MAKE_BLOCK;
	} else {
		attr.handled_access_fs = all_of_fs(abi);
		if (abi >= 4)
			attr.handled_access_net = HK_LANDLOCK_ACCESS_NET_BIND_TCP |
						  HK_LANDLOCK_ACCESS_NET_CONNECT_TCP;
	}
	return (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
}

int sandbox_landlock(enum sandbox_role role)
{
	int abi = LANDLOCK_KNOWN;
	autoclose int fd = make_ruleset(role, abi);

	/* An older kernel: as much as it has. */
	if (fd < 0) {
		abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
				   LANDLOCK_CREATE_RULESET_VERSION);
		if (abi < 1)
			return -ENOSYS;
		fd = make_ruleset(role, abi);
	}
	if (fd < 0 || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return -errno;
	return 0;
}

static int drop_capabilities(const struct sandbox_conf *conf)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (conf->lock_memory && !geteuid()) {
		data[0].effective = 1u << CAP_IPC_LOCK;
		data[0].permitted = 1u << CAP_IPC_LOCK;
	}
	/* The bounding set may stay: no_new_privs makes it unreachable. */
	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

static int set_filter(const struct role *r, struct err *e)
{
	struct sock_fprog prog = { .len = (unsigned short)r->len,
				   .filter = (struct sock_filter *)(uintptr_t)r->filter };

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
		return err_set_errno(e, errno,
				     "sandbox: the kernel refuses the system-call filter of a %s "
				     "thread (-sandbox off runs without)",
				     r->name);
	return 0;
}

/* The run-time libraries of sanitizers make calls of their own, ptrace(2) among them. */
static bool instrumented(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
	return true;
#endif
#endif
	return false;
}

static int drop(const struct sandbox_conf *conf, bool all, struct err *e)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set_errno(e, errno, "sandbox: PR_SET_NO_NEW_PRIVS");
	if (all && drop_capabilities(conf) < 0)
		return err_set_errno(e, errno, "sandbox: giving up capabilities");
	return 0;
}

int sandbox_drop(struct sandbox_conf *conf, struct err *e)
{
	int r;

	if (!conf->on || conf->spawn || instrumented())
		return 0;
	r = drop(conf, true, e);
	conf->dropped = r == 0;
	return r;
}

int sandbox_enter(const struct sandbox_conf *conf, enum sandbox_role role, struct err *e)
{
	/* Other roles' threads may be older than the drop. */
	bool inherits = role == SANDBOX_CONTROL || role == SANDBOX_VCPU;
	/* The programs that it may start would inherit more. */
	bool little = role == SANDBOX_CONTROL && conf->spawn;
	int r;

	if (!conf->on || instrumented())
		return 0;
	if (!inherits || !conf->dropped) {
		r = drop(conf, !little, e);
		if (r < 0 || little)
			return r;
	}
	/* Kernels without Landlock, or with it switched off, have the filter. */
	(void)sandbox_landlock(role);
	return set_filter(&roles[role], e);
}
