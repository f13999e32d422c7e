/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The physical address map of one VM: memory space and port space.
 *
 * Writers (control thread, or a device inside an access: a BAR write) change a list of regions;
 * map_commit() renders it to a sorted immutable view and publishes it with one pointer store.
 * Readers (vCPU threads, loop threads) take the current view without a lock. A view that was
 * replaced is freed when every reader has passed a quiescent point (base/qsbr.h).
 *
 * Overlaps: higher prio wins, then the region added later.
 *
 * All DMA by devices goes through mem_read() / mem_write() / mem_view(); DMA reaches RAM only,
 * never a device (no re-entrancy by construction).
 */
#ifndef MEM_MAP_H
#define MEM_MAP_H

#include "base/base.h"
#include "base/qsbr.h"
#include "mem/ram.h"
#include <pthread.h>

enum map_space { MAP_MEM, MAP_PIO, MAP_NR };

/*
 * A device's registers. The map splits and widens accesses: fn only sees sizes in [min, max]
 * (powers of two) at offsets aligned to their size, with off < region size. Values are
 * little-endian numbers in the low bits. min/max 0 means 1/8. A narrower write than min arrives
 * as min bytes with zeros around it; a narrower read is cut out of min bytes.
 */
struct io_ops {
	uint64_t (*read)(void *opaque, uint64_t off, unsigned size);
	void (*write)(void *opaque, uint64_t off, uint64_t val, unsigned size);
	uint8_t min, max;
};

/*
 * A write that means no more than "look again". An engine that can (accel_ops.doorbells) has it
 * signal the eventfd, and the guest goes on at once; others call the region's ops as ever.
 */
struct map_doorbell {
	uint64_t off; /* in the region */
	uint8_t size; /* of the write; 0 = any */
	bool match;   /* only a write of val, with a size of its own */
	uint64_t val;
	int fd; /* eventfd */
};

enum map_kind { MAP_IO, MAP_RAM, MAP_ROM };

struct map_region {
	const char *name;
	enum map_space space;
	enum map_kind kind;
	uint64_t addr, size; /* size may reach the end of the address space */
	int16_t prio;
	/* MAP_IO */
	const struct io_ops *ops;
	void *opaque;
	pthread_mutex_t *lock; /* taken around ops by the map; NULL = the device locks itself */
	const struct map_doorbell *doorbells; /* map_set_doorbells() */
	unsigned nr_doorbells;
	/* MAP_RAM, MAP_ROM (reads as RAM, writes go to ops when set, else are dropped) */
	struct ram_block *rb;
	uint64_t rb_off;
	/* map's */
	bool added;
	uint64_t order; /* of being added */
	struct map_region *next;
};

/* One piece of the rendered view: no two overlap. */
struct map_range {
	uint64_t first, last; /* inclusive */
	const struct map_region *region;
	uint64_t addr; /* the region's at the time: offset of a in it = a - addr */
};

struct map_view {
	size_t n[MAP_NR];
	struct map_range *range[MAP_NR]; /* sorted by first */
	uint64_t generation;		 /* +1 with each commit */
	struct qsbr_node node;		 /* map's */
};

/*
 * Told of each new view, on the committing thread, after it was published.
 * A soft TLB flushes here; KVM updates its memory slots.
 */
struct map_listener {
	void (*commit)(struct map_listener *, const struct map_view *old,
		       const struct map_view *now);
	struct map_listener *next;
};

struct map;

struct map *map_new(struct err *e);
struct map *map_free(struct map *); /* returns NULL; regions and RAM blocks stay their owners' */

/* Between begin and commit changes are collected; they nest. Locks out other writers. */
void map_begin(struct map *);
void map_commit(struct map *);
/* Without begin/commit around them these publish at once. The region must outlive its removal. */
int map_add(struct map *, struct map_region *, struct err *);
void map_del(struct map *, struct map_region *);
/* Moves, resizes nothing; adds it when it is not there. */
int map_move(struct map *, struct map_region *, uint64_t addr, struct err *);

/*
 * The region's doorbells from here on; the array and its eventfds stay the owner's, who may free
 * the old ones when this returns.
 */
void map_set_doorbells(struct map *, struct map_region *, const struct map_doorbell *, unsigned n);

void map_add_listener(struct map *, struct map_listener *);
void map_del_listener(struct map *, struct map_listener *);

/*
 * The current view; valid until the calling thread's next quiescent point. A thread that is not
 * registered with map_qsbr() has no such point: views live until map_free() once it asked.
 */
const struct map_view *map_view(const struct map *);

/*
 * The domain of the map's readers. vCPU, loop and control threads register; map_access() and the
 * mem_ functions also work on any other thread, only slower.
 */
struct qsbr *map_qsbr(const struct map *);

/* Waits until nobody uses a view older than the current one: then removed regions may be freed.
 * Not inside an access, nor with a lock held that an access takes. */
void map_synchronize(struct map *);

/* The range that covers addr, or NULL. */
const struct map_range *map_find(const struct map_view *, enum map_space, uint64_t addr);

/*
 * One CPU access of size 1..8 bytes. Unclaimed reads give all ones, unclaimed writes vanish;
 * both return false. RAM is accessed too (slow path of an engine). Any reader thread.
 */
bool map_access(struct map *, enum map_space, uint64_t addr, void *data, unsigned size, bool write);

/* DMA. 0, or -EFAULT when a byte of [gpa, gpa + len) is not RAM (ROM counts for reads). */
int mem_read(struct map *, uint64_t gpa, void *to, uint64_t len) MUST_CHECK;
int mem_write(struct map *, uint64_t gpa, const void *from, uint64_t len) MUST_CHECK;

/*
 * A bounded window on guest RAM for I/O in place: host pointer for the start of [gpa, gpa + len),
 * with *run set to how many bytes of it are contiguous there (> 0). NULL when gpa is not RAM.
 * The content is shared with a hostile guest: copy a field once, check the copy.
 * After writing into a window call mem_wrote().
 */
void *mem_view(struct map *, uint64_t gpa, uint64_t len, bool write, uint64_t *run);
void mem_wrote(struct map *, uint64_t gpa, uint64_t len);
/* The same for [host, host + len) inside one window that mem_view() gave, by its host address. */
void mem_wrote_host(struct map *, const void *host, uint64_t len);
/*
 * Gives the host back what is under whole pages of [gpa, gpa + len): they read as zeroes from now
 * on. -EFAULT when a byte of it is not RAM; the part before it is given back. The second is for
 * what mem_view() gave.
 */
int mem_give_back(struct map *, uint64_t gpa, uint64_t len) MUST_CHECK;
void mem_give_back_host(struct map *, const void *host, uint64_t len);
/* Changes with each new view: who keeps what mem_view() gave asks again after a change. Any thread.
 */
uint64_t map_generation(const struct map *);

#endif
