/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest RAM blocks (ram.h): a memfd mapped between guard pages, and the code watch.
 *
 * The two watch arrays are reserved, not touched: a page without code costs nothing.
 *
 * Order of the code watch. ram_watch() reads the generation, then sets its bits, then runs a
 * barrier on all threads of the process; ram_written_slow() clears the bits, then advances the
 * generation. So whoever loses its bits to a writer also holds a generation that this writer
 * makes void, and whoever sees the new generation also sees that its bits are gone. A second
 * decoder that finds its bits set already must not trust them while the first one's barrier is
 * still under way: hence `arming`.
 */
#include "base/base.h"
#include "mem/ram.h"
#include <fcntl.h>
#include "mem/ram_int.h"
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Memory with a file below, while a machine is saved (what is empty?) and loaded (emptied first). */
/* #syscalls control migr: lseek(SEEK_DATA) fallocate(&FALLOC_FL_PUNCH_HOLE) */
/* #syscalls control migr: mincore */
/* #syscalls vcpu io: fallocate(&FALLOC_FL_PUNCH_HOLE) */

#define WATCH_SHIFT 6					  /* one bit per 64 bytes */
#define WATCH_BYTES (sizeof(uint64_t) + sizeof(uint32_t)) /* a page's share of watch[] and gen[] */

static int membarrier(int cmd)
{
	return (int)syscall(SYS_membarrier, cmd, 0, 0);
}

static void *reserve(uint64_t bytes, int prot)
{
	void *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void unmap(void *p, uint64_t bytes)
{
	if (p)
		munmap(p, bytes);
}

static int make_watch(struct ram_block *rb, struct err *e)
{
	uint64_t pages = rb->size >> RAM_PAGE_SHIFT;

	rb->watch = reserve(pages * WATCH_BYTES, PROT_READ | PROT_WRITE);
	if (!rb->watch)
		return err_set_errno(e, errno, "memory '%s': cannot reserve its code watch",
				     rb->name);
	rb->gen = (_Atomic uint32_t *)(rb->watch + pages);
	rb->expedited = !membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
	if (!rb->expedited) {
		rb->shoot_page = reserve(RAM_PAGE_SIZE, PROT_READ | PROT_WRITE);
		if (!rb->shoot_page)
			return err_set_errno(e, errno, "memory '%s': no page for barriers",
					     rb->name);
	}
	return 0;
}

struct ram_block *ram_new(const char *name, uint64_t size, struct err *e)
{
	const struct ram_options plain = { 0 };

	return ram_new_with(name, size, &plain, e);
}

struct ram_block *ram_new_with(const char *name, uint64_t size, const struct ram_options *o,
			       struct err *e)
{
	struct ram_block *rb;

	rb = xnew(struct ram_block);
	rb->name = name;
	rb->size = size;
	rb->engines = o->from_engine;
	rb->fd = o->from_engine ? o->engine_fd : -1;
	pthread_mutex_init(&rb->shoot_lock, NULL);
	if (!size || size % RAM_PAGE_SIZE) {
		err_set(e, EINVAL, "memory '%s': size %" PRIu64 " is not a multiple of 4096", name,
			size);
		return ram_free(rb);
	}
	if (ram_map_host(rb, o, e) < 0 || make_watch(rb, e) < 0)
		return ram_free(rb);
	return rb;
}

struct ram_block *ram_free(struct ram_block *rb)
{
	uint64_t pages;

	if (!rb)
		return NULL;
	pages = rb->size >> RAM_PAGE_SHIFT;
	unmap(rb->reserved, rb->reserved_size);
	unmap(rb->watch, pages * WATCH_BYTES);
	unmap(atomic_load(&rb->dirty), ram_dirty_words(rb) * sizeof(uint64_t));
	unmap(rb->shoot_page, RAM_PAGE_SIZE);
	close_fd_(&rb->fd);
	pthread_mutex_destroy(&rb->shoot_lock);
	free(rb);
	return NULL;
}

void ram_populate(struct ram_block *rb, uint64_t off, uint64_t len)
{
	uint64_t first = align_down(off, RAM_PAGE_SIZE);

	madvise(rb->host + first, align_up(off + len, RAM_PAGE_SIZE) - first, MADV_POPULATE_WRITE);
}

int ram_map_file(struct ram_block *rb, uint64_t off, int fd, uint64_t fd_off, uint64_t len)
{
	struct ram_file_map *m = NULL;

	if (!rb->anonymous || rb->taken || !len || ((off | fd_off | len) & (RAM_PAGE_SIZE - 1)) ||
	    off > rb->size || len > rb->size - off)
		return -EINVAL;
	for (unsigned i = 0; i < ARRAY_SIZE(rb->file_map) && !m; i++)
		if (!rb->file_map[i].len ||
		    (rb->file_map[i].off == off && rb->file_map[i].len == len))
			m = &rb->file_map[i];
	if (!m)
		return -ENOSPC;
	if (mmap(rb->host + off, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, (off_t)fd_off) == MAP_FAILED)
		return -errno;
	madvise(rb->host + off, len, MADV_DONTDUMP);
	*m = (struct ram_file_map){ off, len };
	ram_written_slow(rb, off, len);
	return 0;
}

/* Private memory with the bytes of a view, put in its place. */
static int own(struct ram_block *rb, struct ram_file_map *m)
{
	uint8_t *at = rb->host + m->off;
	void *copy = reserve(m->len, PROT_READ | PROT_WRITE);

	if (!copy)
		return -ENOMEM;
	madvise(copy, m->len, MADV_DONTDUMP);
	memcpy(copy, at, m->len);
	if (mremap(copy, m->len, m->len, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED) {
		unmap(copy, m->len);
		return -errno;
	}
	*m = (struct ram_file_map){ 0, 0 };
	return 0;
}

/*
 * A write to each page would give it a copy too, but whoever truncates a file takes such copies
 * away with the rest.
 */
int ram_own_files(struct ram_block *rb)
{
	int ret = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(rb->file_map) && !ret; i++)
		if (rb->file_map[i].len)
			ret = own(rb, &rb->file_map[i]);
	return ret;
}

int ram_forget_files(struct ram_block *rb)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rb->file_map); i++) {
		struct ram_file_map *m = &rb->file_map[i];

		if (!m->len)
			continue;
		if (mmap(rb->host + m->off, m->len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | MAP_ANONYMOUS, -1,
			 0) == MAP_FAILED)
			return -errno;
		madvise(rb->host + m->off, m->len, MADV_HUGEPAGE);
		madvise(rb->host + m->off, m->len, MADV_DONTDUMP);
		ram_written_slow(rb, m->off, m->len);
		*m = (struct ram_file_map){ 0, 0 };
	}
	return 0;
}

int ram_discard(struct ram_block *rb, struct err *e)
{
	if (rb->anonymous) {
		if (ram_forget_files(rb) < 0 || madvise(rb->host, rb->size, MADV_DONTNEED) < 0)
			return err_set_errno(e, errno, "memory '%s': cannot be emptied", rb->name);
	} else if (rb->fd < 0) { /* a file lies below, which must not come through */
		memset(rb->host, 0, rb->size);
	} else if (fallocate(rb->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)rb->fd_off,
			     (off_t)rb->size) < 0) {
		return err_set_errno(e, errno, "memory '%s': cannot be emptied", rb->name);
	}
	ram_written_slow(rb, 0, rb->size);
	return 0;
}

/* Whether the pages of a file come back when memory is given back. */
static bool over_file(const struct ram_block *rb, uint64_t first, uint64_t end)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rb->file_map); i++) {
		const struct ram_file_map *m = &rb->file_map[i];

		if (m->len && first < m->off + m->len && m->off < end)
			return true;
	}
	return rb->fd < 0 && !rb->anonymous;
}

void ram_give_back(struct ram_block *rb, uint64_t off, uint64_t len)
{
	uint64_t first = align_up(off, RAM_PAGE_SIZE), end = align_down(off + len, RAM_PAGE_SIZE);
	int ret;

	if (end <= first || over_file(rb, first, end))
		return;
	/* What shares the memory, as KVM's second page tables do, lets go of the pages with it. */
	if (rb->anonymous)
		ret = madvise(rb->host + first, end - first, MADV_DONTNEED);
	else
		ret = fallocate(rb->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)(rb->fd_off + first), (off_t)(end - first));
	if (ret < 0)
		return;
	ram_written_slow(rb, first, end - first);
}

void ram_replace(struct ram_block *rb, uint64_t off, uint64_t len)
{
	if (rb->fd >= 0 && fallocate(rb->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     (off_t)(rb->fd_off + off), (off_t)len) < 0)
		return;
	/* The hole leaves the mark of a page that is lost in the page tables. */
	madvise(rb->host + off, len, MADV_DONTNEED);
	ram_written_slow(rb, off, len);
}

/* The engine's files know no SEEK_DATA. They are never swapped out: what there is, is in core. */
static uint64_t next_in_core(const struct ram_block *rb, uint64_t off)
{
	uint8_t in[256];
	uint64_t n;

	for (uint64_t at = align_down(off, RAM_PAGE_SIZE); at < rb->size; at += n * RAM_PAGE_SIZE) {
		n = MIN(sizeof(in), (rb->size - at) / RAM_PAGE_SIZE);
		if (mincore(rb->host + at, n * RAM_PAGE_SIZE, in) < 0)
			return off;
		for (uint64_t i = 0; i < n; i++)
			if (in[i] & 1)
				return MAX(off, at + i * RAM_PAGE_SIZE);
	}
	return rb->size;
}

uint64_t ram_next_data(const struct ram_block *rb, uint64_t off)
{
	off_t at;

	if (rb->fd < 0)
		return off;
	if (rb->engines)
		return next_in_core(rb, off);
	at = lseek(rb->fd, (off_t)(rb->fd_off + off), SEEK_DATA);
	if (at < 0)
		return errno == ENXIO ? rb->size : off;
	return MIN((uint64_t)at - rb->fd_off, rb->size);
}

/* The bits of [off, off + len), which lie within one page. */
static uint64_t watch_mask(uint64_t off, uint64_t len)
{
	unsigned first = (off & (RAM_PAGE_SIZE - 1)) >> WATCH_SHIFT;
	unsigned last = ((off + len - 1) & (RAM_PAGE_SIZE - 1)) >> WATCH_SHIFT;

	return (~0ull << first) & (~0ull >> (63 - last));
}

/*
 * Orders every other thread's earlier accesses before what the caller does next. Without
 * membarrier(2), taking write permission away makes the kernel interrupt each CPU that runs this
 * process to flush its TLB, and an interrupt drains its store buffer.
 */
static void barrier_all_threads(struct ram_block *rb)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (likely(rb->expedited) && !membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		return;
	pthread_mutex_lock(&rb->shoot_lock);
	if (rb->shoot_page) {
		mprotect(rb->shoot_page, RAM_PAGE_SIZE, PROT_READ | PROT_WRITE);
		*(volatile uint8_t *)rb->shoot_page += 1;
		mprotect(rb->shoot_page, RAM_PAGE_SIZE, PROT_READ);
	}
	pthread_mutex_unlock(&rb->shoot_lock);
	atomic_thread_fence(memory_order_seq_cst);
}

uint32_t ram_watch(struct ram_block *rb, uint64_t off, uint64_t len)
{
	uint64_t page = off >> RAM_PAGE_SHIFT, mask = watch_mask(off, len), old;
	uint32_t gen = atomic_load_explicit(&rb->gen[page], memory_order_acquire);

	old = atomic_load_explicit(&rb->watch[page], memory_order_acquire);
	if ((old & mask) != mask || atomic_load(&rb->arming)) {
		atomic_fetch_add(&rb->arming, 1);
		atomic_fetch_or(&rb->watch[page], mask);
		barrier_all_threads(rb);
		atomic_fetch_sub(&rb->arming, 1);
	}
	return gen;
}

static void mark_page(struct ram_block *rb, uint64_t page)
{
	_Atomic uint64_t *dirty = atomic_load_explicit(&rb->dirty, memory_order_acquire);

	if (dirty)
		atomic_fetch_or(&dirty[page / 64], BIT64(page % 64));
}

void ram_written_slow(struct ram_block *rb, uint64_t off, uint64_t len)
{
	while (len) {
		uint64_t page = off >> RAM_PAGE_SHIFT;
		uint64_t n = MIN(len, RAM_PAGE_SIZE - (off & (RAM_PAGE_SIZE - 1)));
		uint64_t watch = atomic_load_explicit(&rb->watch[page], memory_order_relaxed);

		if (watch & watch_mask(off, n)) {
			atomic_exchange(&rb->watch[page], 0);
			atomic_fetch_add(&rb->gen[page], 1);
			/* Behind taking the watch away: else it could be fetched, watched again
			 * and lose its watch to us, and be clean and unwatched. */
			mark_page(rb, page);
		}
		off += n;
		len -= n;
	}
}

/* ---- dirty pages ---- */

/* Makes pages clean: whoever writes behind this is seen. */
static void watch_pages(struct ram_block *rb, uint64_t first, uint64_t pages)
{
	for (uint64_t i = first; i < first + pages; i++)
		atomic_store(&rb->watch[i], UINT64_MAX);
}

static void arm_begin(struct ram_block *rb)
{
	atomic_fetch_add(&rb->arming, 1);
}

static void arm_end(struct ram_block *rb)
{
	barrier_all_threads(rb);
	atomic_fetch_sub(&rb->arming, 1);
}

int ram_dirty_start(struct ram_block *rb, struct err *e)
{
	uint64_t words = ram_dirty_words(rb);
	_Atomic uint64_t *dirty = atomic_load(&rb->dirty);

	if (!dirty) {
		dirty = reserve(words * sizeof(*dirty), PROT_READ | PROT_WRITE);
		if (!dirty)
			return err_set_errno(e, errno, "memory '%s': no bitmap of dirty pages",
					     rb->name);
		atomic_store(&rb->dirty, dirty);
	}
	for (uint64_t i = 0; i < words; i++)
		if (atomic_load_explicit(&dirty[i], memory_order_relaxed))
			atomic_store(&dirty[i], 0);
	arm_begin(rb);
	watch_pages(rb, 0, rb->size >> RAM_PAGE_SHIFT);
	arm_end(rb);
	return 0;
}

void ram_mark_dirty(struct ram_block *rb, uint64_t off, uint64_t len)
{
	for (uint64_t page = off >> RAM_PAGE_SHIFT; page << RAM_PAGE_SHIFT < off + len; page++)
		mark_page(rb, page);
}

uint64_t ram_dirty_fetch(struct ram_block *rb, uint64_t *bitmap)
{
	_Atomic uint64_t *dirty = atomic_load(&rb->dirty);
	uint64_t n = 0;

	if (!dirty)
		return 0;
	arm_begin(rb);
	for (uint64_t i = 0; i < ram_dirty_words(rb); i++) {
		uint64_t w = 0;

		if (atomic_load_explicit(&dirty[i], memory_order_relaxed))
			w = atomic_exchange(&dirty[i], 0);
		bitmap[i] |= w;
		for (; w; w &= w - 1, n++)
			watch_pages(rb, i * 64 + (uint64_t)__builtin_ctzll(w), 1);
	}
	arm_end(rb);
	return n;
}
