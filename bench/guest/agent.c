/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs commands that come by a serial port (or by standard input) and tells how long they took.
 *
 *	agent /dev/ttyS1|-
 *
 * In: a line "SECONDS COMMAND", the time it may take and what a shell gets; a byte 30 is a line's end in
 * it. Out: "ready" at the start; then for each command "done STATUS WALL USER SYSTEM LENGTH" (the status as
 * the shell tells it, 124 when time was up; times in ns by the guest's monotonic clock and its
 * accounting), and LENGTH bytes of what it wrote, the last 16 KiB at most. Whoever asks can look at its own
 * clocks before it writes and after it reads: nothing runs here in between. Single thread; works as PID 1.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT	   "/tmp/agent.out"
#define OUTPUT_MAX 16384

static long long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long ns_of(struct timeval t)
{
	return t.tv_sec * 1000000000LL + t.tv_usec * 1000LL;
}

static void child(const char *command)
{
	int in = open("/dev/null", O_RDONLY),
	    out = open(OUTPUT, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	close(in);
	close(out);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

/* The status of a command, which has so long; its children are dead afterwards. */
static int run(const char *command, long seconds, struct rusage *usage)
{
	struct timespec left = { seconds, 0 };
	sigset_t chld;
	int status = 0, late = 0;
	pid_t pid;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	pid = fork();
	if (pid == 0)
		child(command);
	/* As PID 1 we are told of orphans too. */
	while (wait4(pid, &status, late ? 0 : WNOHANG, usage) == 0) {
		long long before = now_ns(), ns;

		if (sigtimedwait(&chld, NULL, &left) < 0) {
			late = 1;
			kill(-pid, SIGKILL);
		}
		ns = left.tv_sec * 1000000000LL + left.tv_nsec - (now_ns() - before);
		left.tv_sec = ns > 0 ? ns / 1000000000LL : 0;
		left.tv_nsec = ns > 0 ? ns % 1000000000LL : 0;
	}
	kill(-pid, SIGKILL);
	if (late)
		return 124;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void answer(FILE *out, int status, long long wall, const struct rusage *usage)
{
	static char text[OUTPUT_MAX];
	size_t len = 0;
	FILE *file = fopen(OUTPUT, "r");

	if (file) {
		fseek(file, 0, SEEK_END);
		long size = ftell(file);

		fseek(file, size > OUTPUT_MAX ? size - OUTPUT_MAX : 0, SEEK_SET);
		len = fread(text, 1, sizeof(text), file);
		fclose(file);
	}
	fprintf(out, "done %d %lld %lld %lld %zu\n", status, wall, ns_of(usage->ru_utime),
		ns_of(usage->ru_stime), len);
	fwrite(text, 1, len, out);
	fflush(out);
}

int main(int argc, char **argv)
{
	static char line[16384];
	struct termios raw;
	FILE *in = stdin, *out = stdout;

	if (argc > 1 && strcmp(argv[1], "-")) {
		int fd = open(argv[1], O_RDWR | O_NOCTTY);

		if (fd < 0 || tcgetattr(fd, &raw)) {
			perror(argv[1]);
			return 1;
		}
		cfmakeraw(&raw);
		cfsetspeed(&raw, B115200);
		tcsetattr(fd, TCSANOW, &raw);
		in = fdopen(fd, "r");
		out = fdopen(dup(fd), "w");
	}
	fprintf(out, "ready\n");
	fflush(out);
	while (fgets(line, sizeof(line), in)) {
		struct rusage usage = { 0 };
		long long start;
		char *command;
		long seconds = strtol(line, &command, 10);
		int status;

		line[strcspn(line, "\n")] = 0;
		for (char *p = command; *p; p++)
			*p = *p == 30 ? '\n' : *p;
		start = now_ns();
		status = run(command, seconds, &usage);
		answer(out, status, now_ns() - start, &usage);
	}
	return 0;
}
