/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a VMM until its guest has written '!' to the debug console, which is the VMM's stdout, and
 * says what that took; for bench/kvm.py, in L1.
 *
 *	kvm_launch NAME COMMAND...
 *
 * ns: from fork to the byte. cpu: what its threads have run since their exec. beside: resident
 * memory in KiB of the mappings that are not guest RAM, which are the memfd's, the kernel image's
 * over it, and any of 100 MiB or more. Waits a moment after the byte, so that what the start left
 * behind is gone.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RAM_KIB (100u << 10)

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t cpu_ns(int pid, unsigned *threads)
{
	char path[300], line[128];
	uint64_t sum = 0;
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		FILE *f;

		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", pid, d->d_name);
		f = fopen(path, "r");
		if (f && fgets(line, sizeof(line), f))
			sum += strtoull(line, NULL, 10);
		if (f)
			fclose(f);
		++*threads;
		printf(" task=%s", d->d_name);
	}
	if (dir)
		closedir(dir);
	return sum;
}

/* KiB; verbose lists what counts. */
static unsigned long beside_ram(int pid, int verbose)
{
	unsigned long first, last, sum = 0, kib;
	char path[64], line[512], name[256] = "";
	int counts = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %255[^\n]", &first, &last, name) >= 2 &&
		    strchr(line, '-') < strchr(line, ' ')) {
			if (!strchr(line, '/') && !strchr(line, '['))
				strcpy(name, "-");
			counts = (last - first) >> 10 < RAM_KIB && !strstr(line, "memfd:") &&
				 !strstr(line, "vmlinux");
		} else if (counts && sscanf(line, "Rss: %lu", &kib) == 1) {
			sum += kib;
			if (verbose && kib)
				fprintf(stderr, "smap %6lu KiB of %8lu %s\n", kib,
					(last - first) >> 10, name);
		}
	}
	if (f)
		fclose(f);
	return sum;
}

int main(int argc, char **argv)
{
	unsigned threads = 0;
	int out[2], pid;
	uint64_t start, end;
	char c = 0;

	if (argc < 3 || pipe(out))
		return 2;
	start = now();
	pid = fork();
	if (!pid) {
		int serial = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(serial, 0);
		dup2(out[1], 1);
		close(out[0]);
		execv(argv[2], argv + 2);
		_exit(127);
	}
	close(out[1]);
	while (read(out[0], &c, 1) == 1 && c != '!')
		;
	end = now();
	printf("launch %s ok=%d ns=%llu", argv[1], c == '!', (unsigned long long)(end - start));
	printf(" cpu=%llu", (unsigned long long)cpu_ns(pid, &threads));
	fflush(stdout);
	usleep(600000);
	printf(" beside=%lu threads=%u\n", beside_ram(pid, getenv("LAUNCH_MAPS") != NULL), threads);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return c != '!';
}
