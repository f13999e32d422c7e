/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of a guest that its host loses. In the guest, as its first process (rdinit=/lost), it fills
 * pages, says that it is ready, and when it is told to go touches them all, which ends with a
 *SIGBUS for those that are lost. The host writes its words into the guest's memory:
 *
 *	lost ready MEMORY	waits until the guest is ready
 *	lost poison MEMORY	makes the host lose one page of the guest's (MADV_HWPOISON; root)
 *	lost go MEMORY		the guest touches its pages, counts, and is ready again
 *	lost forget MEMORY	what is there now is no guest that is ready: it will be reset
 *	lost off MEMORY		the guest powers off
 *
 * MEMORY is the file that is the guest's memory, or the number of the process whose guest_memfd is.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define PAGE  4096u
#define PAGES 16u
#define MARK  0x6b6e6f6c61686b6eull /* of each page; in front of its number */
#define LOST  3u		    /* the page that goes */

enum word { FILLING, READY, GO, OFF };

struct page {
	uint64_t mark[2];
	uint64_t number;
	_Atomic uint64_t word; /* of page 0: what is to be done */
	uint8_t rest[PAGE - 32];
};

static sigjmp_buf back;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	siglongjmp(back, info->si_code == BUS_MCEERR_AR ? 1 : 2);
}

static int catch_sigbus(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	return sigaction(SIGBUS, &sa, NULL);
}

/* ---- in the guest ---- */

static void touch_all(struct page *pages)
{
	volatile unsigned lost = 0, i;

	for (i = 0; i < PAGES; i++) {
		int how = sigsetjmp(back, 1);

		if (how) {
			printf("lost: page %u is lost (%d)\n", i, how);
			lost++;
		} else if (*(volatile uint64_t *)&pages[i].number != i) {
			printf("lost: page %u has other contents\n", i);
		}
	}
	printf("lost: %u of %u pages\n", lost, PAGES);
}

static int guest(void)
{
	struct page *pages = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	/* Not the console: the kernel writes there in the middle of a line. */
	if (pages == MAP_FAILED || catch_sigbus() < 0 || !freopen("/dev/ttyS1", "w", stdout))
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned i = 0; i < PAGES; i++) {
		pages[i].number = i;
		pages[i].mark[1] = ~MARK;
		pages[i].mark[0] = MARK;
	}
	for (;;) {
		pages[0].word = READY;
		while (pages[0].word == READY)
			usleep(20000);
		if (pages[0].word == OFF)
			break;
		touch_all(pages);
		tcdrain(STDOUT_FILENO);
	}
	sync();
	return reboot(RB_POWER_OFF);
}

/* ---- on the host ---- */

static int memfd_of(int pid)
{
	char path[64], link[64];
	struct dirent *d;
	DIR *dir;
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && fd < 0 && (d = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), d->d_name, link, sizeof(link) - 1);

		link[n > 0 ? n : 0] = '\0';
		if (strstr(link, "kvm-gmem"))
			fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(d->d_name), 0);
	}
	if (dir)
		closedir(dir);
	return fd;
}

static int open_memory(const char *what)
{
	return atoi(what) ? memfd_of(atoi(what)) : open(what, O_RDWR);
}

static uint8_t *map_memory(const char *what, size_t *size)
{
	int fd = open_memory(what);
	struct stat st = { .st_size = 0 };
	uint8_t *at;

	for (unsigned i = 0; i < 100 && (fd < 0 || fstat(fd, &st) < 0 || !st.st_size); i++) {
		usleep(100000); /* it is being made */
		if (fd < 0)
			fd = open_memory(what);
	}
	*size = (size_t)st.st_size;
	at = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED) {
		perror(what);
		exit(1);
	}
	return at;
}

static struct page *find(uint8_t *memory, size_t size, unsigned number)
{
	volatile size_t at;

	for (at = 0; at < size; at += PAGE) {
		struct page *p = (struct page *)(void *)(memory + at);

		if (sigsetjmp(back, 1))
			continue; /* lost */
		if (p->mark[0] == MARK && p->mark[1] == ~MARK && p->number == number)
			return p;
	}
	return NULL;
}

static struct page *await(uint8_t *memory, size_t size)
{
	struct page *p = NULL;

	for (unsigned i = 0; i < 1200; i++) {
		p = find(memory, size, 0);
		if (p && p->word == READY)
			return p;
		usleep(100000);
	}
	if (p)
		fprintf(stderr, "lost: the guest is not ready: its page 0 is at %#zx, word %llu\n",
			(size_t)((uint8_t *)p - memory), (unsigned long long)p->word);
	else
		fprintf(stderr, "lost: the guest is not ready: there is no page 0 of it\n");
	exit(1);
}

/* The process that says so is told as if it had touched the page, and dies of it. */
static int poison(uint8_t *memory, size_t size)
{
	struct page *p = find(memory, size, LOST);
	int status = 0;
	pid_t child;

	signal(SIGBUS, SIG_DFL);
	child = fork();
	if (child == 0)
		_exit(!p || madvise(p, PAGE, MADV_HWPOISON) < 0);
	waitpid(child, &status, 0);
	printf("lost: poisoned page at %#zx\n", p ? (size_t)((uint8_t *)p - memory) : 0);
	return !WIFSIGNALED(status) || WTERMSIG(status) != SIGBUS;
}

int main(int argc, char **argv)
{
	struct page *first;
	uint8_t *memory;
	size_t size;

	if (getpid() == 1)
		return guest();
	if (argc != 3)
		return 2;
	memory = map_memory(argv[2], &size);
	catch_sigbus();
	if (!strcmp(argv[1], "poison"))
		return poison(memory, size);
	first = await(memory, size);
	if (!strcmp(argv[1], "go"))
		first->word = GO;
	else if (!strcmp(argv[1], "off"))
		first->word = OFF;
	else if (!strcmp(argv[1], "forget"))
		first->mark[0] = 0;
	if (!strcmp(argv[1], "go"))
		await(memory, size);
	return 0;
}
