/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roles of threads: each case runs in a child, because a role is for good. A forbidden call must
 * end the child with SIGSYS; an allowed one, and what is refused with an error, must not.
 */
#include "base/base.h"

#include "sandbox/sandbox.h"
#include "sandbox/sandbox_int.h"
#include "cmocka_all.h"
#include <fcntl.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct sandbox_conf conf = { .on = true };
static const enum sandbox_role every_role[] = { SANDBOX_CONTROL, SANDBOX_VCPU, SANDBOX_IO,
						SANDBOX_WORKER, SANDBOX_MIGR };

/* Sanitizers make calls of their own, so sandbox_enter() does nothing under them. */
static bool sandboxed(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct err e = { 0 };

		_exit(sandbox_enter(&conf, SANDBOX_VCPU, &e) == 0 &&
				      prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* PR_GET_NO_NEW_PRIVS is no call of a vCPU: asking is deadly where the sandbox works. */
	return !(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

/* The wait status of a child that takes on role and runs fn, which returns its exit code. */
static int status_in(const struct sandbox_conf *how, enum sandbox_role role, int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct err e = { 0 };

		if (sandbox_enter(how, role, &e) < 0)
			_exit(99);
		_exit(fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

#define assert_dies(how, role, fn)                           \
	do {                                                 \
		int status_ = status_in(how, role, fn);      \
		assert_true(WIFSIGNALED(status_));           \
		assert_int_equal(WTERMSIG(status_), SIGSYS); \
	} while (0)

#define assert_lives(how, role, fn)                        \
	do {                                               \
		int status_ = status_in(how, role, fn);    \
		assert_true(WIFEXITED(status_));           \
		assert_int_equal(WEXITSTATUS(status_), 0); \
	} while (0)

/* ---- what the cases do ---- */

static int do_execve(void)
{
	char path[] = "/bin/true", *argv[] = { path, NULL }, *envp[] = { NULL };

	execve(path, argv, envp);
	return 1;
}

static int do_fork(void)
{
	return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0) < 0;
}

static int do_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0;
}

static int do_open(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC) < 0;
}

static int do_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0;
}

static int do_map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	       MAP_FAILED;
}

static int do_make_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(p, 4096, PROT_READ | PROT_EXEC) != 0;
}

static int do_memory_and_log(void)
{
	void *p = malloc(1 << 20);
	ssize_t n = write(STDERR_FILENO, "", 0);

	free(p);
	return n != 0;
}

static int do_foreign_ioctl(void)
{
	return ioctl(0, 0x5401 /* TCGETS */, NULL) == 0;
}

static int do_setuid(void)
{
	return setuid(0) != 0;
}

static void *nothing(void *arg)
{
	return arg;
}

static int do_thread(void)
{
	pthread_t t;
	void *out = NULL;
	int x;

	if (pthread_create(&t, NULL, nothing, &x) || pthread_join(t, &out))
		return 1;
	return out != &x;
}

static void *as_worker(void *arg)
{
	static char done;
	struct err e = { 0 };

	if (sandbox_enter(&conf, SANDBOX_WORKER, &e) < 0)
		return NULL;
	do_memory_and_log();
	if (arg)
		do_open();
	return &done;
}

static int do_worker(void)
{
	pthread_t t;
	void *out = NULL;

	return pthread_create(&t, NULL, as_worker, NULL) || pthread_join(t, &out) || !out;
}

static int do_worker_that_opens(void)
{
	pthread_t t;
	int yes;

	return pthread_create(&t, NULL, as_worker, &yes) || pthread_join(t, NULL);
}

/* ---- the cases ---- */

static void test_no_role_starts_programs(void **state)
{
	if (!sandboxed())
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(every_role); i++) {
		assert_dies(&conf, every_role[i], do_execve);
		assert_dies(&conf, every_role[i], do_fork);
		assert_dies(&conf, every_role[i], do_ptrace);
		assert_dies(&conf, every_role[i], do_setuid);
	}
}

static void test_no_role_makes_code(void **state)
{
	if (!sandboxed())
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(every_role); i++) {
		assert_dies(&conf, every_role[i], do_map_code);
		assert_dies(&conf, every_role[i], do_make_code);
		assert_lives(&conf, every_role[i], do_memory_and_log);
	}
}

static void test_only_control_opens(void **state)
{
	if (!sandboxed())
		skip();
	assert_lives(&conf, SANDBOX_CONTROL, do_open);
	assert_lives(&conf, SANDBOX_CONTROL, do_socket);
	for (size_t i = 1; i < ARRAY_SIZE(every_role); i++) {
		assert_dies(&conf, every_role[i], do_open);
		assert_dies(&conf, every_role[i], do_socket);
		assert_dies(&conf, every_role[i], do_foreign_ioctl);
	}
}

/* clone3 is refused, so that the C library shows its flags in clone. */
static void test_threads_of_threads(void **state)
{
	if (!sandboxed())
		skip();
	assert_lives(&conf, SANDBOX_CONTROL, do_thread);
	assert_lives(&conf, SANDBOX_CONTROL, do_worker);
	assert_dies(&conf, SANDBOX_CONTROL, do_worker_that_opens);
	/* An iothread's disk has workers of its own. */
	assert_lives(&conf, SANDBOX_IO, do_worker);
	assert_dies(&conf, SANDBOX_IO, do_worker_that_opens);
	for (size_t i = 1; i < ARRAY_SIZE(every_role); i++)
		assert_dies(&conf, every_role[i], do_fork);
}

static int has_capabilities(void)
{
	char buf[4096], *at;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (n <= 0)
		return 2;
	buf[n] = 0;
	at = strstr(buf, "CapPrm:");
	return !at || strtoull(at + 7, NULL, 16);
}

static int no_new_privs_missing(void)
{
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

static void test_spawn_keeps_the_rest(void **state)
{
	static const struct sandbox_conf spawn = { .on = true, .spawn = true };

	if (!sandboxed())
		skip();
	assert_lives(&conf, SANDBOX_CONTROL, has_capabilities);
	assert_lives(&spawn, SANDBOX_CONTROL, no_new_privs_missing);
	assert_lives(&spawn, SANDBOX_CONTROL, do_execve);
	assert_dies(&spawn, SANDBOX_VCPU, do_execve);
}

static void test_off_is_off(void **state)
{
	static const struct sandbox_conf off = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(every_role); i++)
		assert_lives(&off, every_role[i], do_open);
}

static int landlocked(enum sandbox_role role, int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			_exit(98);
		if (sandbox_landlock(role) == -ENOSYS)
			_exit(77);
		_exit(fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* 1 when it is refused, and not for want of somebody who listens. */
static int do_connect(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(9),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == EACCES;
}

static void test_landlock(void **state)
{
	int ret = landlocked(SANDBOX_VCPU, do_open);

	if (ret == 77)
		skip(); /* not in this kernel */
	assert_int_equal(ret, 1);
	assert_int_equal(landlocked(SANDBOX_CONTROL, do_open), 0);
	assert_int_equal(landlocked(SANDBOX_CONTROL, do_execve), 1);
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 4)
		return; /* it knows no networks yet */
	assert_int_equal(landlocked(SANDBOX_VCPU, do_connect), 1);
	assert_int_equal(landlocked(SANDBOX_MIGR, do_connect), 1);
	assert_int_equal(landlocked(SANDBOX_CONTROL, do_connect), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_role_starts_programs),
		cmocka_unit_test(test_no_role_makes_code),
		cmocka_unit_test(test_only_control_opens),
		cmocka_unit_test(test_threads_of_threads),
		cmocka_unit_test(test_spawn_keeps_the_rest),
		cmocka_unit_test(test_off_is_off),
		cmocka_unit_test(test_landlock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
