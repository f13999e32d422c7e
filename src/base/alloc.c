/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation that does not fail (alloc.h). Any thread. */
#include "base/base.h"
#include "base/alloc.h"
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* Host memory is gone on a control path: nothing sensible can follow, and unwinding needs memory. */
__attribute__((noreturn)) static void out_of_memory(size_t n, size_t size)
{
	dprintf(STDERR_FILENO, "hanok: error: out of memory (%zu * %zu bytes)\n", n, size);
	_exit(1);
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);

	if (!p)
		out_of_memory(n, size);
	return p;
}

void *xaligned(size_t align, size_t size)
{
	void *p = aligned_alloc(align, size);

	if (!p)
		out_of_memory(1, size);
	zero_and_release(p, size);
	return p;
}

void *xrealloc(void *p, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		out_of_memory(n, size);
	p = realloc(p, bytes ? bytes : 1);
	if (!p)
		out_of_memory(n, size);
	return p;
}

char *xstrdup(const char *s)
{
	size_t len = strlen(s) + 1;

	return memcpy(xcalloc(len, 1), s, len);
}

char *xasprintf(const char *fmt, ...)
{
	char *s;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		out_of_memory(1, strlen(fmt));
	va_end(ap);
	return s;
}

void close_fd_(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

size_t take_ahead(uint8_t *p, size_t from, size_t end)
{
	size_t step = align_up(MAX(from / 4, KIB(64)), KIB(64));

	step = MIN(step, MIB(1));
	step = MIN(step, end - from);
	madvise(p + from, step, MADV_POPULATE_WRITE);
	return from + step;
}

uint8_t *map_large(size_t len, int prot)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	uint8_t *room = mmap(NULL, len + LARGE_PAGE, prot, flags, -1, 0), *at;

	if (room == MAP_FAILED)
		return NULL;
	at = (uint8_t *)align_up((uintptr_t)room, LARGE_PAGE);
	if (at > room)
		munmap(room, (size_t)(at - room));
	if (at < room + LARGE_PAGE)
		munmap(at + len, (size_t)(room + LARGE_PAGE - at));
	return at;
}

void zero_and_release(void *p, size_t len)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)p, end = start + len;
	uintptr_t first = align_up(start, page), last = end & ~(page - 1);

	if (first >= last || madvise((void *)first, last - first, MADV_DONTNEED)) {
		memset(p, 0, len);
		return;
	}
	memset(p, 0, first - start);
	memset((void *)last, 0, end - last);
}
