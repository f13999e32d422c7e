/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation and ownership.
 *
 * Start-up and control paths use xalloc() and friends, which end the process with a message when
 * the host is out of memory; never with a size that a guest or an image chose unchecked.
 *
 * Cleanup idiom: autofree / autoclose locals, take_ptr() / take_fd() to hand ownership over.
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stddef.h>
#include <stdlib.h>

/* Zeroed memory of n * size bytes; never NULL. Free with free(). */
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
#define xnew(type)	xcalloc(1, sizeof(type))
#define xnew_n(type, n) xcalloc((n), sizeof(type))
/* The same for a type that asks for more alignment than the heap gives. Pages of a large one are
 * not touched. */
void *xaligned(size_t align, size_t size) __attribute__((malloc, returns_nonnull));
#define xnew_aligned(type) xaligned(_Alignof(type), sizeof(type))
void *xrealloc(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
/* Zeroes len bytes of private memory; its whole pages go back to the host until they are touched. */
void zero_and_release(void *p, size_t len);
/*
 * Of a mapping that is filled from its front: has the host give a part behind from, the larger the
 * more there is, in one go and not page by page as they are touched. from, end: bytes from p on,
 * multiples of the page size. Returns up to where. Where the host cannot (before Linux 5.14), pages
 * come when they are touched.
 */
size_t take_ahead(uint8_t *p, size_t from, size_t end);
/* The host's larger pages. */
#define LARGE_PAGE ((size_t)2 << 20)
/* Address space for len bytes of private memory, from a large page's beginning on; NULL: there is
 * none. munmap() it. */
uint8_t *map_large(size_t len, int prot);
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

static inline void free_ptr_(void *pp)
{
	free(*(void **)pp);
}
#define autofree __attribute__((cleanup(free_ptr_)))

/* Closes *fd unless negative; keeps errno. */
void close_fd_(int *fd);
#define autoclose __attribute__((cleanup(close_fd_)))

#define take_ptr(p)                     \
	({                              \
		__typeof__(p) t_ = (p); \
		(p) = NULL;             \
		t_;                     \
	})

static inline int take_fd(int *fd)
{
	int t = *fd;

	*fd = -1;
	return t;
}

#endif
