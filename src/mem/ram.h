/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of guest RAM (or ROM contents): host memory with a few words of bookkeeping a page.
 *
 * Code watch. An engine that keeps decoded or translated guest code must learn of every write to
 * the bytes it came from. Per 4 KiB page a block keeps
 *   watch[page]  a bitmap, one bit per 64 bytes: some engine holds code from there;
 *   gen[page]    a generation; code made under an older generation is void.
 * A writer stores first and looks at watch[] afterwards; a reader (the decoder) sets the bit,
 * then calls ram_watch_barrier(), and only then reads the bytes. So either the reader sees the
 * new bytes or the writer sees the bit (Dekker's scheme with the fence on the rare side).
 *
 * Dirty pages. A clean page is one whose every line is watched: its first writer comes by the slow
 * path, takes the watch away and marks the page. So there is nothing to pay while nobody logs, and
 * one slow write a page and round while somebody does.
 */
#ifndef MEM_RAM_H
#define MEM_RAM_H

#include "base/base.h"
#include <pthread.h>

#define RAM_PAGE_SHIFT 12
#define RAM_PAGE_SIZE  (1u << RAM_PAGE_SHIFT)

#define RAM_FILE_MAPS 8

struct ram_block {
	const char *name;
	uint8_t *host; /* page aligned */
	uint64_t size; /* bytes, multiple of RAM_PAGE_SIZE */
	int fd;	       /* memfd or file behind it; -1: private memory */
	uint64_t fd_off;
	bool anonymous; /* private memory with nothing below, but for file_map[] */
	bool taken;	/* memory was set aside for all of it: no views of files */
	bool engines;	/* fd is memory of the CPU engine's own kind (ram_options.engine_fd) */
	_Atomic uint64_t *watch;
	_Atomic uint32_t *gen;
	_Atomic(_Atomic uint64_t *) dirty; /* a bit a page; NULL until the first ram_dirty_start() */
	/* ram.c's */
	uint8_t *reserved; /* with the guard pages */
	uint64_t reserved_size;
	_Atomic uint32_t arming;    /* ram_watch() calls whose barrier is under way */
	bool expedited;		    /* membarrier(2) works */
	pthread_mutex_t shoot_lock; /* else: */
	uint8_t *shoot_page;
	struct ram_file_map {
		uint64_t off, len;
	} file_map[RAM_FILE_MAPS];
};

/*
 * Makes a zeroed block of size bytes of private memory, with guard pages around it; host memory
 * is taken on first touch. Returns NULL with e set on failure. name is not copied.
 */
struct ram_block *ram_new(const char *name, uint64_t size, struct err *e);

/* Where a block's host memory comes from, and how the host treats it. */
enum ram_policy {
	RAM_POLICY_DEFAULT,
	RAM_POLICY_PREFERRED,
	RAM_POLICY_BIND,
	RAM_POLICY_INTERLEAVE
};
struct ram_options {
	const char *path; /* a file, made when it is not there, or a folder; NULL: none */
	uint64_t offset;  /* in the file; bytes, page aligned */
	/* What the guest writes goes into the file; without path: a memfd and not private memory. */
	bool share;
	/* Memory that the CPU engine made, all of it; the block's from here on. */
	bool from_engine;
	int engine_fd;
	uint64_t huge; /* a memfd of huge pages of so many bytes; 0 = of plain ones, 1 = default */
	bool seal;     /* a memfd that nobody can resize */
	bool merge;    /* equal pages may be shared (KSM) */
	bool dump;     /* part of the process's core dump */
	bool prealloc; /* take all of it now, or fail */
	unsigned threads; /* for prealloc; 0 = 1 */
	bool reserve;	  /* huge pages are set aside for it, so that touching cannot fail */
	uint64_t nodes;	  /* NUMA nodes by bit, for policy */
	enum ram_policy policy;
};
/* As ram_new(), with options; strings are not kept. */
struct ram_block *ram_new_with(const char *name, uint64_t size, const struct ram_options *,
			       struct err *e);
struct ram_block *ram_free(struct ram_block *); /* returns NULL */

/*
 * Takes host memory for [off, off + len) at once, ahead of a long write: one call instead of a
 * fault a page. Advice: failing costs time, nothing else. Any thread.
 */
void ram_populate(struct ram_block *, uint64_t off, uint64_t len);

/*
 * Lays a private view of a file over [off, off + len) of a block of private memory: what was there
 * is gone, the file's pages are read as they are touched and copied as they are written. All
 * page aligned. -errno when that does not go (an other kind of block). Whoever truncates or changes
 * the file under such a view ends or changes the machine, so the caller sees to it that nobody
 * can. Nobody may use that memory meanwhile.
 */
int ram_map_file(struct ram_block *, uint64_t off, int fd, uint64_t fd_off,
		 uint64_t len) MUST_CHECK;
/* Private memory of the same contents in place of such views. Nobody may use it meanwhile. */
int ram_own_files(struct ram_block *) MUST_CHECK;
/* Zeroed memory where such views were. Nobody may use it meanwhile. */
int ram_forget_files(struct ram_block *) MUST_CHECK;

/*
 * Makes the whole block read as zeroes again and gives its memory back to the host. Nobody may
 * use the block meanwhile.
 */
int ram_discard(struct ram_block *, struct err *e) MUST_CHECK;
/*
 * The same for the pages of [off, off + len), which others may use meanwhile: they see the old bytes
 * or zeroes. A part of a page at either end stays. Failing costs memory, nothing else. Any thread.
 */
void ram_give_back(struct ram_block *, uint64_t off, uint64_t len);
/*
 * Other memory in the place of [off, off + len), page aligned, which may be such as the host cannot
 * read any more: zeroes, or what is in the file below. Nobody may use it meanwhile.
 */
void ram_replace(struct ram_block *, uint64_t off, uint64_t len);
/*
 * The first byte from off on that may be other than zero; rb->size when there is none. What the
 * host never had to give memory for is passed over without touching it.
 */
uint64_t ram_next_data(const struct ram_block *, uint64_t off);

/* To be called by whoever wrote [off, off + len) of the block, after the write. Any thread. */
void ram_written_slow(struct ram_block *, uint64_t off, uint64_t len);

static inline void ram_written(struct ram_block *rb, uint64_t off, uint64_t len)
{
	uint64_t first = off >> RAM_PAGE_SHIFT, last = (off + len - 1) >> RAM_PAGE_SHIFT;

	atomic_signal_fence(memory_order_seq_cst); /* the order matters to the compiler only */
	if (likely(first == last) &&
	    likely(!atomic_load_explicit(&rb->watch[first], memory_order_relaxed)))
		return;
	ram_written_slow(rb, off, len);
}

/*
 * Says that an engine is about to decode code from [off, off + len), within one page. Sets the
 * watch bits; where one was new, orders all other threads' earlier stores (membarrier(2)).
 * Returns the page's generation, to be kept with the decoded code.
 */
uint32_t ram_watch(struct ram_block *, uint64_t off, uint64_t len);

/*
 * Starts logging which pages are written, all of them clean. Writers that tell ram_written() are
 * seen; those of an engine that does not are for it to report by ram_mark_dirty(). There is no
 * stopping: whoever looks no more pays one slow write a page. Control thread.
 */
int ram_dirty_start(struct ram_block *, struct err *e) MUST_CHECK;
/* The pages of [off, off + len) were written. Any thread, once logging has started. */
void ram_mark_dirty(struct ram_block *, uint64_t off, uint64_t len);
/*
 * Sets in bitmap (64 pages a word) what was written since the last call, and makes it clean again;
 * returns how many pages that were. Who reads a page behind this call gets all of what was written
 * before, or finds the page in the next round. Control thread.
 */
uint64_t ram_dirty_fetch(struct ram_block *, uint64_t *bitmap);

static inline uint64_t ram_dirty_words(const struct ram_block *rb)
{
	return ((rb->size >> RAM_PAGE_SHIFT) + 63) / 64;
}

#endif
