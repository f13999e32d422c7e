/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a thread of another process do one system call, as an attacker in it would:
 *
 *	inject TID NUMBER
 *
 * The thread has to be waiting in a system call: that one is repeated with another number, and
 * arguments of 0. Prints how the process ended ("signal 31"), or "returned VALUE".
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 2;
}

/* Lets the thread go on to the next entry or return of a system call, or to its end. */
static int go_on(pid_t tid, int *status)
{
	do {
		if (ptrace(PTRACE_SYSCALL, tid, NULL, NULL) < 0)
			return -1;
		if (waitpid(tid, status, __WALL) != tid)
			return -1;
	} while (WIFSTOPPED(*status) && WSTOPSIG(*status) != (SIGTRAP | 0x80));
	return 0;
}

int main(int argc, char **argv)
{
	struct user_regs_struct regs;
	pid_t tid;
	int status;

	if (argc != 3)
		return fail("usage: inject TID NUMBER");
	tid = (pid_t)atoi(argv[1]);
	if (ptrace(PTRACE_ATTACH, tid, NULL, NULL) < 0 || waitpid(tid, &status, __WALL) != tid)
		return fail("attach");
	ptrace(PTRACE_SETOPTIONS, tid, NULL, (void *)PTRACE_O_TRACESYSGOOD);
	if (ptrace(PTRACE_GETREGS, tid, NULL, &regs) < 0)
		return fail("registers");
	if ((long)regs.orig_rax < 0) {
		fprintf(stderr, "the thread is in no system call\n");
		return 2;
	}
	regs.rip -= 2; /* the syscall instruction again */
	regs.rax = (unsigned long)atol(argv[2]);
	regs.orig_rax = (unsigned long)-1; /* no restart of the old one */
	regs.rdi = regs.rsi = regs.rdx = regs.r10 = 0;
	if (ptrace(PTRACE_SETREGS, tid, NULL, &regs) < 0)
		return fail("registers");
	if (go_on(tid, &status) < 0 || (WIFSTOPPED(status) && go_on(tid, &status) < 0))
		return fail("system call");
	if (WIFSTOPPED(status) && ptrace(PTRACE_GETREGS, tid, NULL, &regs) < 0)
		return fail("registers");
	/* A filter that kills puts the registers back first; the end comes behind the return. */
	if (WIFSTOPPED(status) && regs.rax == (unsigned long)atol(argv[2]) &&
	    (ptrace(PTRACE_CONT, tid, NULL, NULL) < 0 || waitpid(tid, &status, __WALL) != tid))
		return fail("the end");
	if (WIFSIGNALED(status)) {
		printf("signal %d\n", WTERMSIG(status));
		return 0;
	}
	printf("returned %ld\n", (long)regs.rax);
	kill(tid, SIGKILL);
	return 0;
}
