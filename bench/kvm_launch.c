/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a VMM until its guest has written '~' to the debug console, which is the VMM's stdout, and
 * says what that took; for bench/kvm.py, in L1.
 *
 *	kvm_launch NAME [HIST] COMMAND...
 *
 * HIST is a file .../hist of the kernel's tracing: its lines as they are when the byte comes, each
 * behind "hist NAME". ns: from fork to the byte. cpu: what its threads have run since their exec.
 *beside: resident memory in KiB of the mappings that are not guest RAM, which are the memfd's, the
 *kernel image's over it, and any of 100 MiB or more. Waits a moment after the byte, so that what
 *the start left behind is gone.
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
	}
	if (dir)
		closedir(dir);
	return sum;
}

struct mapping {
	unsigned long first, last, rss;
	int ram, bare;
};

static int read_maps(int pid, struct mapping *m, int max)
{
	char path[64], line[512], perms[8];
	int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "r");
	while (f && n < max && fgets(line, sizeof(line), f)) {
		struct mapping *x = &m[n];

		if (sscanf(line, "%lx-%lx %7s", &x->first, &x->last, perms) == 3) {
			x->bare = !strcmp(perms, "rw-p") && !strchr(line, '/') &&
				  !strchr(line, '[');
			x->ram = (x->last - x->first) >> 10 >= RAM_KIB || strstr(line, "memfd:") ||
				 strstr(line, "vmlinux");
			x->rss = 0;
			n++;
		} else if (n) {
			sscanf(line, "Rss: %lu", &m[n - 1].rss);
		}
	}
	if (f)
		fclose(f);
	return n;
}

/* KiB. Between its guard pages RAM may be of several pieces: what is next to one is one too. */
static unsigned long beside_ram(int pid)
{
	static struct mapping m[4096];
	int n = read_maps(pid, m, 4096);
	unsigned long sum = 0;

	for (int i = 1; i < n; i++)
		if (m[i].bare && m[i - 1].ram && m[i - 1].last == m[i].first)
			m[i].ram = 1;
	for (int i = n - 2; i >= 0; i--)
		if (m[i].bare && m[i + 1].ram && m[i].last == m[i + 1].first)
			m[i].ram = 1;
	for (int i = 0; i < n; i++)
		sum += m[i].ram ? 0 : m[i].rss;
	return sum;
}

static void print_hist(const char *name, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		printf("hist %s %s", name, line);
	if (f)
		fclose(f);
}

int main(int argc, char **argv)
{
	const char *hist = argc > 2 && strstr(argv[2], "/hist") ? argv[2] : NULL;
	char **command = argv + (hist ? 3 : 2);
	uint64_t start, end, cpu;
	unsigned threads = 0;
	int out[2], pid;
	char c = 0;

	if (argc < (hist ? 4 : 3) || pipe(out))
		return 2;
	start = now();
	pid = fork();
	if (!pid) {
		int serial = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(serial, 0);
		dup2(out[1], 1);
		close(out[0]);
		execv(command[0], command);
		_exit(127);
	}
	close(out[1]);
	while (read(out[0], &c, 1) == 1 && c != '~')
		;
	end = now();
	cpu = cpu_ns(pid, &threads);
	if (hist)
		print_hist(argv[1], hist);
	printf("launch %s ok=%d ns=%llu cpu=%llu", argv[1], c == '~',
	       (unsigned long long)(end - start), (unsigned long long)cpu);
	fflush(stdout);
	usleep(600000);
	printf(" beside=%lu threads=%u\n", beside_ram(pid), threads);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return c != '~';
}
