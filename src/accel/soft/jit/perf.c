/* SPDX-License-Identifier: Apache-2.0 */
/* Host code named for perf(1): perf.h. Each entry is one call that appends to a file. Any thread. */
#include "accel/soft/jit/perf.h"

#include "base/clock.h"
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

struct jit_perf {
	int map_fd, dump_fd; /* -1: not wanted */
	void *mark;	     /* the dump's first page, mapped: by that perf record learns of the file */
	_Atomic uint64_t nr;
};

/* jitdump-specification.txt, version 1 */
#define DUMP_MAGIC   0x4a695444u
#define DUMP_VERSION 1u
enum { DUMP_CODE_LOAD = 0, DUMP_CODE_CLOSE = 3 };

struct dump_header {
	uint32_t magic, version, size, machine, pad, pid;
	uint64_t time, flags;
};

struct dump_record {
	uint32_t id, size;
	uint64_t time;
};

struct dump_load {
	struct dump_record r;
	uint32_t pid, tid;
	uint64_t vma, code, code_size, index;
};

/* Whoever else made a file of this name ahead of us is not followed and not written to. */
static int make_file(const char *path, const char *option, struct err *e)
{
	int fd;

	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? err_set_errno(e, errno, "%s: cannot make %s", option, path) : fd;
}

/* A file that cannot be written to is short; the guest goes on. */
static void put(int fd, const struct iovec *iov, int n)
{
	if (writev(fd, iov, n) < 0)
		return;
}

static int open_map(struct jit_perf *p, struct err *e)
{
	char path[64];

	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	p->map_fd = make_file(path, "-perfmap", e);
	return MIN(p->map_fd, 0);
}

static int open_dump(struct jit_perf *p, struct err *e)
{
	struct dump_header h = { .magic = DUMP_MAGIC,
				 .version = DUMP_VERSION,
				 .size = sizeof(h),
				 .machine = EM_X86_64,
				 .pid = (uint32_t)getpid(),
				 .time = clock_now_ns() };
	char path[64];

	snprintf(path, sizeof(path), "jit-%d.dump", (int)getpid());
	p->dump_fd = make_file(path, "-jitdump", e);
	if (p->dump_fd < 0)
		return p->dump_fd;
	put(p->dump_fd, &(struct iovec){ &h, sizeof(h) }, 1);
	p->mark = mmap(NULL, sizeof(h), PROT_READ | PROT_EXEC, MAP_PRIVATE, p->dump_fd, 0);
	if (p->mark == MAP_FAILED)
		return err_set_errno(e, errno, "-jitdump: cannot map %s (noexec?)", path);
	return 0;
}

struct jit_perf *jit_perf_new(bool map, bool dump, struct err *e)
{
	struct jit_perf *p = xnew(struct jit_perf);
	int r = 0;

	p->map_fd = p->dump_fd = -1;
	p->mark = MAP_FAILED;
	if (map)
		r = open_map(p, e);
	if (dump && r == 0)
		r = open_dump(p, e);
	return r < 0 ? jit_perf_free(p) : p;
}

struct jit_perf *jit_perf_free(struct jit_perf *p)
{
	struct dump_record r = { .id = DUMP_CODE_CLOSE, .size = sizeof(r), .time = clock_now_ns() };

	if (!p)
		return NULL;
	if (p->mark != MAP_FAILED) {
		put(p->dump_fd, &(struct iovec){ &r, sizeof(r) }, 1);
		munmap(p->mark, sizeof(struct dump_header));
	}
	if (p->dump_fd >= 0)
		close(p->dump_fd);
	if (p->map_fd >= 0)
		close(p->map_fd);
	free(p);
	return NULL;
}

static void note_in_map(struct jit_perf *p, const char *name, const void *at, size_t size)
{
	char line[160];
	int n = snprintf(line, sizeof(line), "%" PRIxPTR " %zx %s\n", (uintptr_t)at, size, name);

	if (n > 0 && (size_t)n < sizeof(line))
		put(p->map_fd, &(struct iovec){ line, (size_t)n }, 1);
}

static void note_in_dump(struct jit_perf *p, const char *name, const void *at, size_t size)
{
	size_t len = strlen(name) + 1;
	struct dump_load l = { .r = { .id = DUMP_CODE_LOAD,
				      .size = (uint32_t)(sizeof(l) + len + size),
				      .time = clock_now_ns() },
			       .pid = (uint32_t)getpid(),
			       .tid = (uint32_t)gettid(),
			       .vma = (uintptr_t)at,
			       .code = (uintptr_t)at,
			       .code_size = size,
			       .index = atomic_fetch_add(&p->nr, 1) };
	const struct iovec iov[] = { { &l, sizeof(l) },
				     { (void *)(uintptr_t)name, len },
				     { (void *)(uintptr_t)at, size } };

	put(p->dump_fd, iov, ARRAY_SIZE(iov));
}

void jit_perf_note(struct jit_perf *p, const char *name, const void *at, size_t size)
{
	if (p->map_fd >= 0)
		note_in_map(p, name, at, size);
	if (p->dump_fd >= 0)
		note_in_dump(p, name, at, size);
}
