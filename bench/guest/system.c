/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's side: memory that is moved and cleared, system calls, signals, faults, processes,
 * futexes. */
#define _GNU_SOURCE
#include "run.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static uint64_t copy(unsigned n)
{
	static char a[65536], b[65536];
	char *volatile from = a, *volatile to = b;

	for (unsigned i = 0; i < n; i++) {
		from[i % sizeof(a)] = (char)i;
		memcpy(to, from, sizeof(a));
	}
	return (uint8_t)b[0] + (uint64_t)(uint8_t)b[sizeof(b) - 1] * 256;
}

static uint64_t clear(unsigned n)
{
	static char a[65536];
	char *volatile to = a;

	for (unsigned i = 0; i < n; i++) {
		memset(to, 0, sizeof(a));
		to[i % sizeof(a)] = 1;
	}
	return (uint8_t)a[(n - 1) % sizeof(a)];
}

static uint64_t pipe16k(unsigned n)
{
	static char a[16384], b[16384];
	int fd[2];

	must(pipe(fd) == 0, "pipe");
	for (unsigned i = 0; i < n; i++) {
		a[i % sizeof(a)] = (char)i;
		must(write(fd[1], a, sizeof(a)) == sizeof(a) &&
			     read(fd[0], b, sizeof(b)) == sizeof(b),
		     "pipe");
	}
	return (uint8_t)b[(n - 1) % sizeof(b)];
}

static uint64_t getppids(unsigned n)
{
	long parent = 0;

	for (unsigned i = 0; i < n; i++)
		parent |= syscall(SYS_getppid);
	return parent != 0;
}

static volatile sig_atomic_t signals;

static void on_signal(int nr)
{
	signals += nr == SIGUSR1;
}

static uint64_t raises(unsigned n)
{
	signals = 0;
	signal(SIGUSR1, on_signal);
	for (unsigned i = 0; i < n; i++)
		raise(SIGUSR1);
	return (uint64_t)signals;
}

static uint64_t faults(unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++) {
		char *m = mmap(NULL, 256 * 4096, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		must(m != MAP_FAILED, "mmap");
		for (int page = 0; page < 256; page++) {
			m[page * 4096] = (char)page;
			sum += (uint8_t)m[page * 4096] + (uint8_t)m[page * 4096 + 1];
		}
		munmap(m, 256 * 4096);
	}
	return sum;
}

static uint64_t forkexec(unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++) {
		pid_t pid = fork();
		int status;

		must(pid >= 0, "fork");
		if (pid == 0) {
			execl("/proc/self/exe", "system", "nothing", (char *)NULL);
			_exit(1);
		}
		must(waitpid(pid, &status, 0) == pid, "waitpid");
		sum += (uint64_t)WEXITSTATUS(status);
	}
	return sum;
}

static void on_cpu(unsigned nr)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(nr, &set);
	must(sched_setaffinity(0, sizeof(set), &set) == 0, "sched_setaffinity");
}

/* Two processes on one CPU, a byte forth and back. */
static uint64_t pingpong(unsigned n)
{
	int there[2], back[2];
	char c = 0;
	uint64_t sum = 0;

	must(pipe(there) == 0 && pipe(back) == 0, "pipe");
	on_cpu(0);
	if (fork() == 0) {
		for (unsigned i = 0; i < n && read(there[0], &c, 1) == 1; i++) {
			c++;
			must(write(back[1], &c, 1) == 1, "pipe");
		}
		_exit(0);
	}
	for (unsigned i = 0; i < n; i++) {
		must(write(there[1], &c, 1) == 1 && read(back[0], &c, 1) == 1, "pipe");
		sum += (uint8_t)c;
	}
	wait(NULL);
	return sum;
}

/* Two threads on two CPUs that wait for each other by futex. */
static _Atomic uint32_t turn;
static unsigned turns;

static void wait_for(uint32_t what)
{
	uint32_t now;

	while ((now = atomic_load(&turn)) != what)
		syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
}

static void give(uint32_t what)
{
	atomic_store(&turn, what);
	syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *other(void *unused)
{
	on_cpu(1);
	for (unsigned i = 0; i < turns; i++) {
		wait_for(2 * i + 1);
		give(2 * i + 2);
	}
	return NULL;
}

static uint64_t futexes(unsigned n)
{
	pthread_t thread;

	turns = n;
	must(pthread_create(&thread, NULL, other, NULL) == 0, "pthread_create");
	on_cpu(0);
	for (unsigned i = 0; i < n; i++) {
		give(2 * i + 1);
		wait_for(2 * i + 2);
	}
	pthread_join(thread, NULL);
	return turn;
}

/* What forkexec starts. */
static uint64_t nothing(unsigned n)
{
	_exit((int)n);
}

static const struct kernel kernels[] = {
	{ "memcpy", copy, 8000 },      { "clear", clear, 8000 },
	{ "pipe16k", pipe16k, 14000 }, { "getppid", getppids, 1500000 },
	{ "signal", raises, 80000 },   { "fault", faults, 500 },
	{ "forkexec", forkexec, 500 }, { "pingpong", pingpong, 20000 },
	{ "futex", futexes, 3000 },    { "nothing", nothing, 1 },
};

RUN_MAIN(kernels)
