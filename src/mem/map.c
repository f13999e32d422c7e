/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The physical address map (map.h): the writers' region list, its rendering to views, accesses.
 *
 * Locks: `lock` (recursive) is held between begin and commit, by writers only, and taken inside
 * device locks (a BAR write), so listeners must not take those. Readers take nothing.
 */
#include "base/base.h"
#include "base/bytes.h"
#include "base/trace.h"
#include "mem/map.h"

struct map {
	pthread_mutex_t lock;
	unsigned depth;
	bool dirty;
	struct map_region *regions; /* sorted: winners first */
	uint64_t next_order;
	struct map_listener *listeners;
	struct map_view *_Atomic view;
	_Atomic uint64_t generation; /* view's, readable without a section */
	struct qsbr qsbr;
	/* An unregistered thread took a view: replaced ones are kept until the end. */
	atomic_bool pinned;
	struct qsbr_node *kept;
};

#define PIO_LAST     0xffffull
#define POPULATE_MIN KIB(256) /* of one DMA write: an image being loaded, not a device's buffer */

static uint64_t region_last(const struct map_region *r)
{
	return r->addr + r->size - 1;
}

/* ---- rendering ---- */

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Every address of a space where the winner may change; returns how many. */
static size_t list_edges(const struct map *m, enum map_space space, uint64_t *edge)
{
	size_t n = 0, out = 0;

	for (const struct map_region *r = m->regions; r; r = r->next) {
		if (r->space != space)
			continue;
		edge[n++] = r->addr;
		if (region_last(r) != UINT64_MAX)
			edge[n++] = region_last(r) + 1;
	}
	if (n)
		qsort(edge, n, sizeof(*edge), compare_u64);
	for (size_t i = 0; i < n; i++) {
		if (!out || edge[out - 1] != edge[i])
			edge[out++] = edge[i];
	}
	return out;
}

static const struct map_region *winner(const struct map *m, enum map_space space, uint64_t addr)
{
	for (const struct map_region *r = m->regions; r; r = r->next) {
		if (r->space == space && addr >= r->addr && addr <= region_last(r))
			return r;
	}
	return NULL;
}

static void render_space(const struct map *m, enum map_space space, struct map_view *v,
			 uint64_t *edge)
{
	size_t edges = list_edges(m, space, edge), n = 0;
	struct map_range *out = xnew_n(struct map_range, edges);

	for (size_t i = 0; i < edges; i++) {
		const struct map_region *r = winner(m, space, edge[i]);
		uint64_t last = i + 1 < edges ? edge[i + 1] - 1 : UINT64_MAX;

		if (!r)
			continue;
		if (n && out[n - 1].region == r && out[n - 1].last + 1 == edge[i]) {
			out[n - 1].last = last;
			continue;
		}
		out[n++] = (struct map_range){
			.first = edge[i], .last = last, .region = r, .addr = r->addr
		};
	}
	v->n[space] = n;
	v->range[space] = out;
}

static struct map_view *render(const struct map *m, uint64_t generation)
{
	struct map_view *v = xnew(struct map_view);
	autofree uint64_t *edge = NULL;
	size_t regions = 0;

	for (const struct map_region *r = m->regions; r; r = r->next)
		regions++;
	edge = xnew_n(uint64_t, 2 * regions);
	v->generation = generation;
	for (int space = 0; space < MAP_NR; space++)
		render_space(m, space, v, edge);
	return v;
}

static void free_view(struct qsbr_node *n)
{
	struct map_view *v = container_of(n, struct map_view, node);

	for (int space = 0; space < MAP_NR; space++)
		free(v->range[space]);
	free(v);
}

static void publish(struct map *m)
{
	struct map_view *old = atomic_load_explicit(&m->view, memory_order_relaxed);
	struct map_view *now = render(m, old->generation + 1);

	atomic_store_explicit(&m->view, now, memory_order_seq_cst);
	atomic_store(&m->generation, now->generation);
	for (struct map_listener *l = m->listeners; l; l = l->next)
		l->commit(l, old, now);
	if (atomic_load(&m->pinned)) {
		old->node.next = m->kept;
		m->kept = &old->node;
		return;
	}
	qsbr_defer(&m->qsbr, &old->node, free_view);
}

/* ---- writers ---- */

struct map *map_new(struct err *e)
{
	struct map *m = xnew(struct map);
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&m->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	qsbr_init(&m->qsbr);
	atomic_init(&m->view, render(m, 1));
	atomic_init(&m->generation, 1);
	return m;
}

struct map *map_free(struct map *m)
{
	if (!m)
		return NULL;
	free_view(&atomic_load(&m->view)->node);
	while (m->kept) {
		struct qsbr_node *n = take_ptr(m->kept);

		m->kept = n->next;
		free_view(n);
	}
	qsbr_fini(&m->qsbr);
	pthread_mutex_destroy(&m->lock);
	free(m);
	return NULL;
}

void map_begin(struct map *m)
{
	pthread_mutex_lock(&m->lock);
	m->depth++;
}

void map_commit(struct map *m)
{
	if (!--m->depth && m->dirty) {
		m->dirty = false;
		publish(m);
	}
	pthread_mutex_unlock(&m->lock);
}

static void link_region(struct map *m, struct map_region *r)
{
	struct map_region **p = &m->regions;

	while (*p && ((*p)->prio > r->prio || ((*p)->prio == r->prio && (*p)->order > r->order)))
		p = &(*p)->next;
	r->next = *p;
	*p = r;
	r->added = true;
	m->dirty = true;
}

static void unlink_region(struct map *m, struct map_region *r)
{
	for (struct map_region **p = &m->regions; *p; p = &(*p)->next) {
		if (*p == r) {
			*p = r->next;
			break;
		}
	}
	r->added = false;
	m->dirty = true;
}

static int check_ops(const struct map_region *r, struct err *e)
{
	unsigned min = r->ops->min ? r->ops->min : 1, max = r->ops->max ? r->ops->max : 8;

	if (!is_pow2(min) || !is_pow2(max) || min > max || max > 8 || r->size % min)
		return err_set(e, EINVAL,
			       "map region '%s': access sizes %u to %u do not fit %" PRIu64
			       " bytes",
			       r->name, min, max, r->size);
	return 0;
}

static int check_region(const struct map_region *r, uint64_t addr, struct err *e)
{
	if (!r->size || addr + (r->size - 1) < addr)
		return err_set(e, EINVAL,
			       "map region '%s': %" PRIu64 " bytes at %#" PRIx64
			       " leave the address space",
			       r->name, r->size, addr);
	if (r->space == MAP_PIO && addr + (r->size - 1) > PIO_LAST)
		return err_set(e, EINVAL, "map region '%s': ports end at 0xffff", r->name);
	if (r->kind != MAP_IO &&
	    (!r->rb || r->rb_off > r->rb->size || r->size > r->rb->size - r->rb_off))
		return err_set(e, EINVAL, "map region '%s' is larger than its memory", r->name);
	if (r->kind == MAP_IO && (!r->ops || !r->ops->read || !r->ops->write))
		return err_set(e, EINVAL, "map region '%s' has no access functions", r->name);
	return r->ops ? check_ops(r, e) : 0;
}

int map_add(struct map *m, struct map_region *r, struct err *e)
{
	int ret = check_region(r, r->addr, e);

	if (ret < 0)
		return ret;
	if (r->added)
		return err_set(e, EEXIST, "map region '%s' is in a map already", r->name);
	map_begin(m);
	r->order = m->next_order++;
	link_region(m, r);
	map_commit(m);
	return 0;
}

void map_del(struct map *m, struct map_region *r)
{
	map_begin(m);
	if (r->added)
		unlink_region(m, r);
	map_commit(m);
}

int map_move(struct map *m, struct map_region *r, uint64_t addr, struct err *e)
{
	int ret = check_region(r, addr, e);

	if (ret < 0)
		return ret;
	map_begin(m);
	if (r->added && r->addr != addr) {
		r->addr = addr;
		m->dirty = true;
	} else if (!r->added) {
		r->addr = addr;
		ret = map_add(m, r, e);
	}
	map_commit(m);
	return ret;
}

void map_set_doorbells(struct map *m, struct map_region *r, const struct map_doorbell *d,
		       unsigned n)
{
	map_begin(m);
	r->doorbells = d;
	r->nr_doorbells = n;
	m->dirty |= r->added;
	map_commit(m);
}

void map_add_listener(struct map *m, struct map_listener *l)
{
	pthread_mutex_lock(&m->lock);
	l->next = m->listeners;
	m->listeners = l;
	pthread_mutex_unlock(&m->lock);
}

void map_del_listener(struct map *m, struct map_listener *l)
{
	pthread_mutex_lock(&m->lock);
	for (struct map_listener **p = &m->listeners; *p; p = &(*p)->next) {
		if (*p == l) {
			*p = l->next;
			break;
		}
	}
	pthread_mutex_unlock(&m->lock);
}

/* ---- readers ---- */

struct qsbr *map_qsbr(const struct map *m)
{
	return &((struct map *)m)->qsbr;
}

void map_synchronize(struct map *m)
{
	qsbr_synchronize(&m->qsbr);
}

static const struct map_view *current_view(const struct map *m)
{
	return atomic_load_explicit(&((struct map *)m)->view, memory_order_acquire);
}

const struct map_view *map_view(const struct map *m)
{
	struct map *wm = (struct map *)m;
	struct qsbr_reader *self = qsbr_self(&m->qsbr);

	if (unlikely(!self)) {
		/* Under the lock: no view may be on its way to being freed. */
		pthread_mutex_lock(&wm->lock);
		atomic_store(&wm->pinned, true);
		pthread_mutex_unlock(&wm->lock);
	} else if (unlikely(!atomic_load_explicit(&self->seen, memory_order_relaxed))) {
		qsbr_online(self);
	}
	return current_view(m);
}

/* The first range that ends at or behind addr, or NULL. */
static const struct map_range *range_from(const struct map_view *v, enum map_space space,
					  uint64_t addr)
{
	const struct map_range *r = v->range[space];
	size_t lo = 0, hi = v->n[space];

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r[mid].last < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < v->n[space] ? &r[lo] : NULL;
}

const struct map_range *map_find(const struct map_view *v, enum map_space space, uint64_t addr)
{
	const struct map_range *r = range_from(v, space, addr);

	return r && r->first <= addr ? r : NULL;
}

/* ---- accesses ---- */

/*
 * Copies between guest RAM and host memory. Aligned accesses of a register's size are single, so
 * that other CPUs see all of them or nothing; the guest may rely on that.
 */
static void ram_copy(uint8_t *ram, uint8_t *buf, uint64_t n, bool write)
{
#define COPY_AS(type)                                                                \
	do {                                                                         \
		type v_;                                                             \
		if (write) {                                                         \
			memcpy(&v_, buf, sizeof(v_));                                \
			__atomic_store_n((type *)(void *)ram, v_, __ATOMIC_RELEASE); \
		} else {                                                             \
			v_ = __atomic_load_n((type *)(void *)ram, __ATOMIC_ACQUIRE); \
			memcpy(buf, &v_, sizeof(v_));                                \
		}                                                                    \
		return;                                                              \
	} while (0)

	if (n <= 8 && is_pow2(n) && !((uintptr_t)ram & (n - 1))) {
		switch (n) {
		case 1:
			COPY_AS(uint8_t);
		case 2:
			COPY_AS(uint16_t);
		case 4:
			COPY_AS(uint32_t);
		default:
			COPY_AS(uint64_t);
		}
	}
#undef COPY_AS
	if (write)
		memcpy(ram, buf, n);
	else
		memcpy(buf, ram, n);
}

static void io_read(const struct map_range *range, uint64_t off, uint8_t *buf, unsigned n)
{
	const struct map_region *r = range->region;
	unsigned min = r->ops->min ? r->ops->min : 1, max = r->ops->max ? r->ops->max : 8;

	while (n) {
		unsigned size = max, skip, take;
		uint64_t val;

		while (size > min && (size > n || (off & (size - 1))))
			size >>= 1;
		skip = off & (size - 1);
		take = MIN(n, size - skip);
		val = r->ops->read(r->opaque, off - skip, size);
		trace_memory_region_ops_read(range->addr + off - skip, val, size, r->name);
		val >>= 8 * skip;
		for (unsigned i = 0; i < take; i++)
			buf[i] = (uint8_t)(val >> (8 * i));
		buf += take;
		off += take;
		n -= take;
	}
}

static void io_write(const struct map_range *range, uint64_t off, const uint8_t *buf, unsigned n)
{
	const struct map_region *r = range->region;
	unsigned min = r->ops->min ? r->ops->min : 1, max = r->ops->max ? r->ops->max : 8;

	while (n) {
		unsigned size = max, skip, take;
		uint64_t val = 0;

		while (size > min && (size > n || (off & (size - 1))))
			size >>= 1;
		skip = off & (size - 1);
		take = MIN(n, size - skip);
		for (unsigned i = 0; i < take; i++)
			val |= (uint64_t)buf[i] << (8 * (skip + i));
		trace_memory_region_ops_write(range->addr + off - skip, val, size, r->name);
		r->ops->write(r->opaque, off - skip, val, size);
		buf += take;
		off += take;
		n -= take;
	}
}

static void access_range(const struct map_range *range, uint64_t addr, uint8_t *buf, unsigned n,
			 bool write)
{
	const struct map_region *r = range->region;
	uint64_t off = addr - range->addr;

	if (r->kind == MAP_RAM || (r->kind == MAP_ROM && !write)) {
		ram_copy(r->rb->host + r->rb_off + off, buf, n, write);
		if (write)
			ram_written(r->rb, r->rb_off + off, n);
		return;
	}
	if (!r->ops)
		return;
	if (r->lock)
		pthread_mutex_lock(r->lock);
	if (write)
		io_write(range, off, buf, n);
	else
		io_read(range, off, buf, n);
	if (r->lock)
		pthread_mutex_unlock(r->lock);
}

__attribute__((cold, noinline)) static void trace_port(uint64_t addr, const void *data,
						       unsigned size, bool write)
{
	char letter = size == 1 ? 'b' : size == 2 ? 'w' : 'l';
	unsigned val = (unsigned)ld_le(data, size);

	if (write)
		trace_cpu_out((unsigned)addr, letter, val);
	else
		trace_cpu_in((unsigned)addr, letter, val);
}

static bool access_view(const struct map_view *v, enum map_space space, uint64_t addr, uint8_t *buf,
			unsigned size, bool write)
{
	bool claimed = true;

	while (size) {
		const struct map_range *range = range_from(v, space, addr);
		uint64_t n = size;

		if (!range || range->first > addr) {
			claimed = false;
			if (!range || range->first - addr >= size)
				break;
			n = range->first - addr;
		} else {
			if (range->last - addr < size)
				n = range->last - addr + 1;
			access_range(range, addr, buf, (unsigned)n, write);
		}
		addr += n;
		buf += n;
		size -= (unsigned)n;
		if (!addr && size) /* nothing is behind the end of the address space */
			return false;
	}
	return claimed;
}

bool map_access(struct map *m, enum map_space space, uint64_t addr, void *data, unsigned size,
		bool write)
{
	struct qsbr_section section;
	bool claimed;

	if (!write)
		memset(data, 0xff, size);
	else if (trace_is_on(TRACE_ID_cpu_out) && space == MAP_PIO)
		trace_port(addr, data, size, true);
	qsbr_enter(&m->qsbr, &section);
	claimed = access_view(current_view(m), space, addr, data, size, write);
	qsbr_exit(&section);
	if (trace_is_on(TRACE_ID_cpu_in) && !write && space == MAP_PIO)
		trace_port(addr, data, size, false);
	return claimed;
}

/* ---- DMA ---- */

/* The RAM behind gpa: *run <= len bytes of it are contiguous. NULL when it is not RAM. */
static struct map_region *dma_region(const struct map_view *v, uint64_t gpa, uint64_t len,
				     bool write, uint64_t *off, uint64_t *run)
{
	const struct map_range *range = map_find(v, MAP_MEM, gpa);
	const struct map_region *r;

	if (!range || !len)
		return NULL;
	r = range->region;
	if (r->kind != MAP_RAM && (write || r->kind != MAP_ROM))
		return NULL;
	*off = r->rb_off + (gpa - range->addr);
	*run = MIN(len - 1, range->last - gpa) + 1;
	return (struct map_region *)r;
}

static int dma(struct map *m, uint64_t gpa, uint8_t *buf, uint64_t len, bool write)
{
	struct qsbr_section section;
	const struct map_view *v;
	int ret = 0;

	qsbr_enter(&m->qsbr, &section);
	v = current_view(m);
	while (len) {
		uint64_t off, run;
		struct map_region *r = dma_region(v, gpa, len, write, &off, &run);

		if (!r || (gpa + run == 0 && run < len)) {
			ret = -EFAULT;
			break;
		}
		if (write && run >= POPULATE_MIN)
			ram_populate(r->rb, off, run);
		ram_copy(r->rb->host + off, buf, run, write);
		if (write)
			ram_written(r->rb, off, run);
		gpa += run;
		buf += run;
		len -= run;
	}
	qsbr_exit(&section);
	return ret;
}

int mem_read(struct map *m, uint64_t gpa, void *to, uint64_t len)
{
	return dma(m, gpa, to, len, false);
}

int mem_write(struct map *m, uint64_t gpa, const void *from, uint64_t len)
{
	return dma(m, gpa, (void *)from, len, true);
}

void *mem_view(struct map *m, uint64_t gpa, uint64_t len, bool write, uint64_t *run)
{
	struct qsbr_section section;
	struct map_region *r;
	uint64_t off;
	void *host = NULL;

	qsbr_enter(&m->qsbr, &section);
	r = dma_region(current_view(m), gpa, len, write, &off, run);
	if (r)
		host = r->rb->host + off;
	qsbr_exit(&section);
	return host;
}

/* Calls fn for each run of writable RAM in [gpa, gpa + len); returns what lies behind the last one.
 */
static uint64_t with_runs(struct map *m, uint64_t gpa, uint64_t len,
			  void (*fn)(struct ram_block *, uint64_t off, uint64_t len))
{
	struct qsbr_section section;
	const struct map_view *v;

	qsbr_enter(&m->qsbr, &section);
	v = current_view(m);
	while (len) {
		uint64_t off, run;
		struct map_region *r = dma_region(v, gpa, len, true, &off, &run);

		if (!r)
			break;
		fn(r->rb, off, run);
		gpa += run;
		len -= run;
	}
	qsbr_exit(&section);
	return len;
}

void mem_wrote(struct map *m, uint64_t gpa, uint64_t len)
{
	with_runs(m, gpa, len, ram_written);
}

int mem_give_back(struct map *m, uint64_t gpa, uint64_t len)
{
	return with_runs(m, gpa, len, ram_give_back) ? -EFAULT : 0;
}

uint64_t map_generation(const struct map *m)
{
	return atomic_load_explicit(&((struct map *)m)->generation, memory_order_acquire);
}

/* Calls fn for [host, host + len) in its block, when that is on the map. */
static void with_host(struct map *m, const void *host, uint64_t len,
		      void (*fn)(struct ram_block *, uint64_t off, uint64_t len))
{
	struct qsbr_section section;
	const struct map_view *v;

	if (!len)
		return;
	qsbr_enter(&m->qsbr, &section);
	v = current_view(m);
	for (size_t i = 0; i < v->n[MAP_MEM]; i++) {
		const struct map_region *r = v->range[MAP_MEM][i].region;
		uint64_t off;

		if (r->kind != MAP_RAM)
			continue;
		off = (uint64_t)((uintptr_t)host - (uintptr_t)r->rb->host);
		if (off >= r->rb->size || len > r->rb->size - off)
			continue;
		fn(r->rb, off, len);
		break;
	}
	qsbr_exit(&section);
}

void mem_wrote_host(struct map *m, const void *host, uint64_t len)
{
	with_host(m, host, len, ram_written);
}

void mem_give_back_host(struct map *m, const void *host, uint64_t len)
{
	with_host(m, host, len, ram_give_back);
}
