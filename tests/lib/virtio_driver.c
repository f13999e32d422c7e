/* SPDX-License-Identifier: Apache-2.0 */
/* See virtio_driver.h. VIRTIO 1.2 sections 2.7, 2.8 and 4.1, from the driver's side. */
#include "virtio_driver.h"

#include "base/bytes.h"
#include "core/state.h"
#include "loop/loop.h"
#include <stdio.h>

#define MSIX_ADDR 0xfee00000u

#define check(cond, ...)                                              \
	do {                                                          \
		if (!(cond)) {                                        \
			fprintf(stderr, "virtio_driver: " __VA_ARGS__); \
			fprintf(stderr, "\n");                        \
			abort();                                      \
		}                                                     \
	} while (0)

/* ---- machine ---- */

static void on_msi(void *opaque, const struct msi *msi)
{
	struct vdrv_vm *t = opaque;

	check(msi->addr == MSIX_ADDR && msi->data < VDRV_VECTORS, "MSI %#" PRIx64 " %#x", msi->addr,
	      msi->data);
	atomic_fetch_add(&t->msi[msi->data], 1);
}

static void on_intx(void *opaque, uint8_t devfn, unsigned pin, int level)
{
	struct vdrv_vm *t = opaque;

	atomic_fetch_add(&t->intx, level ? 1 : -1);
	if (level)
		atomic_fetch_add(&t->intx_edges, 1);
}

struct vdrv_vm *vdrv_vm_new(void)
{
	struct vdrv_vm *t = xnew(struct vdrv_vm);
	struct err e = { 0 };

	t->vm.conf = vm_conf_new();
	t->vm.loop = loop_new(&e);
	t->vm.map = map_new(&e);
	t->vm.ram = ram_new("ram", VDRV_RAM, &e);
	check(t->vm.loop && t->vm.map && t->vm.ram, "%s", e.msg);
	t->ram_region = (struct map_region){ .name = "ram", .space = MAP_MEM, .kind = MAP_RAM,
					     .size = VDRV_RAM, .rb = t->vm.ram };
	check(map_add(t->vm.map, &t->ram_region, &e) == 0, "%s", e.msg);
	t->vm.msi = (struct msi_sink){ .send = on_msi, .opaque = t };
	pci_bus_new(&t->vm, on_intx, t);
	t->next = 0x1000;
	return t;
}

struct vdrv_vm *vdrv_vm_free(struct vdrv_vm *t)
{
	while (t->vm.devs)
		dev_destroy(t->vm.devs);
	pci_bus_free(t->vm.pci);
	loop_free(t->vm.loop);
	map_del(t->vm.map, &t->ram_region);
	map_free(t->vm.map);
	ram_free(t->vm.ram);
	vm_conf_free(t->vm.conf);
	free(t);
	return NULL;
}

/* "type,key=value,flag" */
static struct conf_node *parse_line(struct vdrv_vm *t, const char *line)
{
	autofree char *copy = xstrdup(line);
	char *save, *word = strtok_r(copy, ",", &save);
	struct conf_node *node = conf_add(t->vm.conf, CONF_DEVICE, word, NULL, line);

	while ((word = strtok_r(NULL, ",", &save))) {
		char *eq = strchr(word, '=');

		if (eq)
			*eq++ = '\0';
		if (!strcmp(word, "id") && eq)
			node->id = xstrdup(eq);
		else
			conf_set(node, word, eq ? eq : "on");
	}
	return node;
}

struct dev *vdrv_try_make(struct vdrv_vm *t, const char *line, struct err *e)
{
	struct pci_window w = { .io_base = 0xc000, .io_size = 0x4000, .mem32_base = 0xc0000000,
				.mem32_size = 0x20000000, .mem64_base = 0x800000000,
				.mem64_size = 0x800000000 };
	struct conf_node *node = parse_line(t, line);
	struct dev *d = NULL;

	if (dev_create(&t->vm, node, &d, e) < 0)
		return NULL;
	check(pci_assign(t->vm.pci, &w, e) == 0, "%s", e->msg);
	return d;
}

struct dev *vdrv_make(struct vdrv_vm *t, const char *line)
{
	struct err e = { 0 };
	struct dev *d = vdrv_try_make(t, line, &e);

	check(d, "%s: %s", line, e.msg);
	return d;
}

void *vdrv_mem(struct vdrv_vm *t, uint64_t gpa)
{
	check(gpa < VDRV_RAM, "no RAM at %#" PRIx64, gpa);
	return t->vm.ram->host + gpa;
}

uint64_t vdrv_alloc(struct vdrv_vm *t, uint64_t size, uint64_t align)
{
	uint64_t at = align_up(t->next, align);

	check(at + size <= VDRV_RAM, "guest RAM is used up");
	t->next = at + size;
	memset(vdrv_mem(t, at), 0, size);
	return at;
}

void vdrv_migrate(struct vdrv_vm *from, struct dev *d, struct vdrv_vm *to, struct dev *fresh)
{
	struct state_buf buf = { 0 };
	struct err e = { 0 };
	const uint8_t *pos;

	if (d->type->pause)
		d->type->pause(d);
	state_save(&buf, "dev", d->type->state, d);
	memcpy(to->vm.ram->host, from->vm.ram->host, VDRV_RAM);
	to->next = from->next;
	pos = buf.data;
	check(state_load(&pos, buf.data + buf.len, "dev", fresh->type->state, fresh, &e) == 0, "%s",
	      e.msg);
	check(pos == buf.data + buf.len, "bytes left in the stream");
	state_buf_fini(&buf);
	if (fresh->type->resume)
		fresh->type->resume(fresh);
}

/* ---- rings ---- */

#define F_NEXT	   1
#define F_WRITE	   2
#define F_INDIRECT 4

static uint8_t *at(const struct dring *r, uint64_t gpa)
{
	return vdrv_mem(r->t, gpa);
}

static uint16_t rd16(const struct dring *r, uint64_t gpa)
{
	return __atomic_load_n((uint16_t *)(void *)at(r, gpa), __ATOMIC_ACQUIRE);
}

static void wr16(const struct dring *r, uint64_t gpa, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)at(r, gpa), v, __ATOMIC_RELEASE);
}

static uint64_t slot(const struct dring *r, unsigned i)
{
	return r->desc + 16ull * i;
}

static uint64_t avail_ring(const struct dring *r, unsigned i)
{
	return r->driver + 4 + 2ull * (i % r->size);
}

static uint64_t used_event(const struct dring *r)
{
	return r->driver + 4 + 2ull * r->size;
}

static uint64_t avail_event(const struct dring *r)
{
	return r->device + 4 + 8ull * r->size;
}

void dring_init(struct dring *r, struct vdrv_vm *t, uint16_t size, uint64_t features)
{
	memset(r, 0, sizeof(*r));
	r->t = t;
	r->size = size;
	r->packed = features >> VIRTIO_F_RING_PACKED & 1;
	r->event_idx = features >> VIRTIO_F_EVENT_IDX & 1;
	r->desc = vdrv_alloc(t, 16ull * size, 16);
	r->driver = vdrv_alloc(t, 4 + 2ull * size + 2, 4);
	r->device = vdrv_alloc(t, 4 + 8ull * size + 2, 4);
	r->tables = vdrv_alloc(t, 16ull * MIN(size, (uint16_t)64) * size, 16);
	r->free_slots = size;
	for (uint16_t i = 0; i < size; i++)
		r->free_ids[r->nr_free_ids++] = (uint16_t)(size - 1 - i);
	r->avail_wrap = r->used_wrap = true;
}

static void put_desc(const struct dring *r, uint64_t gpa, struct dbuf b)
{
	st_le64(at(r, gpa), b.gpa);
	st_le32(at(r, gpa + 8), b.len);
}

/* The id's table; big rings have room for the first 64 entries only. */
static struct dbuf write_table(struct dring *r, uint16_t id, const struct dbuf *b, unsigned out,
			       unsigned in)
{
	unsigned room = MIN(r->size, (uint16_t)64);
	uint64_t table = r->tables + 16ull * room * id;

	check(out + in <= room, "table too long");
	for (unsigned i = 0; i < out + in; i++) {
		uint16_t flags = i >= out ? F_WRITE : 0;
		uint64_t d = table + 16 * i;

		put_desc(r, d, b[i]);
		if (r->packed) {
			wr16(r, d + 12, 0);
			wr16(r, d + 14, flags);
		} else {
			wr16(r, d + 12, flags | (i + 1 < out + in ? F_NEXT : 0));
			wr16(r, d + 14, (uint16_t)(i + 1));
		}
	}
	return (struct dbuf){ table, 16 * (out + in) };
}

static void add_split(struct dring *r, const struct dbuf *b, unsigned out, unsigned n, bool indirect,
		      uint32_t token)
{
	uint16_t head = r->free_ids[r->nr_free_ids - 1], id = head;
	struct dbuf table;

	if (indirect) {
		table = write_table(r, head, b, out, n - out);
		b = &table;
	}
	r->ndesc[head] = (uint16_t)(indirect ? 1 : n);
	for (unsigned i = 0; i < r->ndesc[head]; i++) {
		bool last = i + 1 == r->ndesc[head];
		uint16_t flags = indirect ? F_INDIRECT : (i >= out ? F_WRITE : 0);

		id = r->free_ids[--r->nr_free_ids];
		r->next[id] = last ? 0xffff : r->free_ids[r->nr_free_ids - 1];
		put_desc(r, slot(r, id), b[i]);
		wr16(r, slot(r, id) + 12, flags | (last ? 0 : F_NEXT));
		wr16(r, slot(r, id) + 14, last ? 0 : r->next[id]);
	}
	r->token[head] = token;
	wr16(r, avail_ring(r, r->avail_idx), head);
	wr16(r, r->driver + 2, ++r->avail_idx);
	r->added++;
}

static void add_packed(struct dring *r, const struct dbuf *b, unsigned out, unsigned n,
		       bool indirect, uint32_t token)
{
	uint16_t id = r->free_ids[--r->nr_free_ids], first = r->avail_idx, first_flags = 0;
	struct dbuf table;

	if (indirect) {
		table = write_table(r, id, b, out, n - out);
		b = &table;
		n = 1;
	}
	for (unsigned i = 0; i < n; i++) {
		uint16_t flags = indirect ? F_INDIRECT : (i >= out ? F_WRITE : 0);

		flags |= r->avail_wrap ? 1 << 7 : 1 << 15;
		if (i + 1 < n)
			flags |= F_NEXT;
		put_desc(r, slot(r, r->avail_idx), b[i]);
		wr16(r, slot(r, r->avail_idx) + 12, id);
		if (i == 0)
			first_flags = flags;
		else
			wr16(r, slot(r, r->avail_idx) + 14, flags);
		if (++r->avail_idx == r->size) {
			r->avail_idx = 0;
			r->avail_wrap = !r->avail_wrap;
		}
	}
	r->ndesc[id] = (uint16_t)n;
	r->token[id] = token;
	r->added = (uint16_t)(r->added + n);
	wr16(r, slot(r, first) + 14, first_flags); /* all at once, by the first */
}

bool dring_add(struct dring *r, const struct dbuf *b, unsigned out, unsigned in, bool indirect,
	       uint32_t token)
{
	unsigned n = indirect ? 1 : out + in;

	check(out + in > 0, "empty chain");
	if (n > r->free_slots)
		return false;
	r->free_slots = (uint16_t)(r->free_slots - n);
	if (r->packed)
		add_packed(r, b, out, out + in, indirect, token);
	else
		add_split(r, b, out, out + in, indirect, token);
	return true;
}

static bool kick_needed_packed(struct dring *r, uint16_t added)
{
	uint16_t flags = rd16(r, r->device + 2), off_wrap = rd16(r, r->device);
	int position, behind;

	if (flags != 2)
		return flags == 0;
	/* Slots from the event up to where we are now: was it among the added? */
	position = off_wrap & 0x7fff;
	behind = r->avail_idx - position;
	if ((off_wrap >> 15) != r->avail_wrap)
		behind += r->size;
	return behind > 0 && behind <= added;
}

bool dring_kick_needed(struct dring *r)
{
	uint16_t added = r->added, event;

	r->added = 0;
	if (!added)
		return false;
	atomic_thread_fence(memory_order_seq_cst);
	if (r->packed)
		return kick_needed_packed(r, added);
	if (!r->event_idx)
		return !(rd16(r, r->device) & 1);
	event = rd16(r, avail_event(r));
	return (uint16_t)(r->avail_idx - event - 1) < added;
}

bool dring_has_used(const struct dring *r)
{
	if (r->packed) {
		uint16_t flags = rd16(r, slot(r, r->used_idx) + 14);
		bool avail = flags >> 7 & 1, used = flags >> 15;

		return avail == used && used == r->used_wrap;
	}
	return rd16(r, r->device + 2) != r->used_idx;
}

static void give_back(struct dring *r, uint16_t id, uint32_t *token)
{
	check(id < r->size && r->ndesc[id], "id %u was returned but is not out", id);
	*token = r->token[id];
	r->free_slots = (uint16_t)(r->free_slots + r->ndesc[id]);
	if (r->packed) {
		r->free_ids[r->nr_free_ids++] = id;
	} else {
		for (uint16_t i = id; i != 0xffff; i = r->next[i])
			r->free_ids[r->nr_free_ids++] = i;
	}
}

bool dring_used(struct dring *r, uint32_t *token, uint32_t *len)
{
	uint16_t id, n;

	if (!dring_has_used(r))
		return false;
	if (r->packed) {
		uint64_t d = slot(r, r->used_idx);

		id = rd16(r, d + 12);
		*len = ld_le32(at(r, d + 8));
	} else {
		uint64_t e = r->device + 4 + 8ull * (r->used_idx % r->size);
		uint32_t wide = ld_le32(at(r, e));

		check(wide < r->size, "used id %u", wide);
		id = (uint16_t)wide;
		*len = ld_le32(at(r, e + 4));
	}
	give_back(r, id, token);
	n = r->ndesc[id];
	r->ndesc[id] = 0;
	if (!r->packed) {
		r->used_idx++;
	} else {
		r->used_idx = (uint16_t)(r->used_idx + n);
		if (r->used_idx >= r->size) {
			r->used_idx = (uint16_t)(r->used_idx - r->size);
			r->used_wrap = !r->used_wrap;
		}
	}
	return true;
}

void dring_irq_off(struct dring *r)
{
	if (r->packed)
		wr16(r, r->driver + 2, 1);
	else if (r->event_idx)
		wr16(r, used_event(r), (uint16_t)(r->used_idx - 1));
	else
		wr16(r, r->driver, 1);
	atomic_thread_fence(memory_order_seq_cst);
}

void dring_irq_on(struct dring *r, uint16_t nth)
{
	if (!r->event_idx) {
		wr16(r, r->packed ? r->driver + 2 : r->driver, 0);
	} else if (r->packed) {
		unsigned where = r->used_idx + nth - 1u;
		bool wrap = r->used_wrap;

		if (where >= r->size) {
			where -= r->size;
			wrap = !wrap;
		}
		wr16(r, r->driver, (uint16_t)(where | (unsigned)wrap << 15));
		wr16(r, r->driver + 2, 2);
	} else {
		wr16(r, used_event(r), (uint16_t)(r->used_idx + nth - 1));
	}
	atomic_thread_fence(memory_order_seq_cst);
}

/* ---- transport ---- */

uint64_t vdrv_rd(struct vdrv *d, uint64_t gpa, unsigned size)
{
	uint64_t v = 0;

	check(map_access(d->t->vm.map, MAP_MEM, gpa, &v, size, false), "nothing at %#" PRIx64, gpa);
	return v;
}

void vdrv_wr(struct vdrv *d, uint64_t gpa, uint64_t val, unsigned size)
{
	check(map_access(d->t->vm.map, MAP_MEM, gpa, &val, size, true), "nothing at %#" PRIx64, gpa);
}

static uint32_t cfg_rd(struct vdrv *d, uint32_t off, unsigned size)
{
	return pci_cfg_read(d->t->vm.pci, 0, d->pci->devfn, off, size);
}

static uint64_t bar_base(struct vdrv *d, unsigned n)
{
	uint32_t lo = cfg_rd(d, PCI_BAR0 + 4 * n, 4);
	uint64_t hi = (lo & 6) == 4 ? cfg_rd(d, PCI_BAR0 + 4 * n + 4, 4) : 0;

	return hi << 32 | (lo & ~0xfu);
}

static void find_parts(struct vdrv *d)
{
	unsigned guard = 0;

	for (uint32_t c = cfg_rd(d, PCI_CAP_PTR, 1); c; c = cfg_rd(d, c + 1, 1)) {
		uint64_t part;

		check(guard++ < 48, "the capability list does not end");
		if (cfg_rd(d, c, 1) != PCI_CAP_ID_VENDOR || cfg_rd(d, c + 3, 1) == 5)
			continue;
		part = bar_base(d, cfg_rd(d, c + 4, 1)) + cfg_rd(d, c + 8, 4);
		switch (cfg_rd(d, c + 3, 1)) {
		case 1:
			d->common = part;
			break;
		case 2:
			d->notify = part;
			d->notify_mult = cfg_rd(d, c + 16, 4);
			break;
		case 3:
			d->isr = part;
			break;
		case 4:
			d->cfg = part;
			break;
		default:
			break;
		}
	}
	check(d->common && d->notify && d->isr && d->cfg, "a capability is missing");
}

uint8_t vdrv_status(struct vdrv *d)
{
	return (uint8_t)vdrv_rd(d, d->common + 0x14, 1);
}

static void set_status(struct vdrv *d, uint8_t bits)
{
	vdrv_wr(d, d->common + 0x14, vdrv_status(d) | bits, 1);
}

void vdrv_open(struct vdrv *d, struct vdrv_vm *t, struct dev *dev)
{
	memset(d, 0, sizeof(*d));
	d->t = t;
	d->pci = container_of(dev, struct pci_dev, d);
	d->p = container_of(d->pci, struct virtio_pci, pci);
	find_parts(d);
	vdrv_wr(d, d->common + 0x14, 0, 1);
	check(vdrv_status(d) == 0, "the device does not reset");
	set_status(d, 1);
	set_status(d, 2);
}

uint64_t vdrv_offered(struct vdrv *d)
{
	uint64_t f;

	vdrv_wr(d, d->common, 0, 4);
	f = vdrv_rd(d, d->common + 4, 4);
	vdrv_wr(d, d->common, 1, 4);
	return f | vdrv_rd(d, d->common + 4, 4) << 32;
}

bool vdrv_negotiate(struct vdrv *d, uint64_t features)
{
	for (unsigned word = 0; word < 2; word++) {
		vdrv_wr(d, d->common + 8, word, 4);
		vdrv_wr(d, d->common + 12, (uint32_t)(features >> (32 * word)), 4);
	}
	set_status(d, 8);
	d->features = features;
	return vdrv_status(d) & 8;
}

void vdrv_enable_msix(struct vdrv *d)
{
	uint32_t cap = d->pci->cap_msix, info = cfg_rd(d, cap + 4, 4);
	uint64_t table = bar_base(d, info & 7) + (info & ~7u);
	unsigned n = (cfg_rd(d, cap + 2, 2) & 0x7ff) + 1;

	for (unsigned i = 0; i < n; i++) {
		vdrv_wr(d, table + 16 * i, MSIX_ADDR, 4);
		vdrv_wr(d, table + 16 * i + 4, 0, 4);
		vdrv_wr(d, table + 16 * i + 8, i, 4);
		vdrv_wr(d, table + 16 * i + 12, 0, 4);
	}
	pci_cfg_write(d->t->vm.pci, 0, d->pci->devfn, cap + 2, 0x8000, 2);
	vdrv_wr(d, d->common + 0x10, 0, 2);
	check(vdrv_rd(d, d->common + 0x10, 2) == 0, "no vector for the configuration");
}

static void wr64(struct vdrv *d, uint64_t gpa, uint64_t v)
{
	vdrv_wr(d, gpa, (uint32_t)v, 4);
	vdrv_wr(d, gpa + 4, v >> 32, 4);
}

struct dring *vdrv_queue(struct vdrv *d, unsigned n, uint16_t size)
{
	struct dring *r = &d->q[n];

	check(n < ARRAY_SIZE(d->q), "queue %u", n);
	vdrv_wr(d, d->common + 0x16, n, 2);
	if (!size)
		size = (uint16_t)vdrv_rd(d, d->common + 0x18, 2);
	check(size && size <= DRING_MAX, "queue %u has size %u", n, size);
	dring_init(r, d->t, size, d->features);
	vdrv_wr(d, d->common + 0x18, size, 2);
	if (pci_msix_on(d->pci))
		vdrv_wr(d, d->common + 0x1a, n + 1, 2);
	wr64(d, d->common + 0x20, r->desc);
	wr64(d, d->common + 0x28, r->driver);
	wr64(d, d->common + 0x30, r->device);
	vdrv_wr(d, d->common + 0x1c, 1, 2);
	check(vdrv_rd(d, d->common + 0x1c, 2) == 1, "queue %u is not enabled", n);
	return r;
}

void vdrv_driver_ok(struct vdrv *d)
{
	set_status(d, 4);
}

void vdrv_kick(struct vdrv *d, unsigned n)
{
	uint32_t off;

	vdrv_wr(d, d->common + 0x16, n, 2);
	off = (uint32_t)vdrv_rd(d, d->common + 0x1e, 2);
	d->q[n].added = 0;
	vdrv_wr(d, d->notify + (uint64_t)off * d->notify_mult, n, 2);
}

bool vdrv_wait_used(struct vdrv *d, unsigned n, int ms)
{
	for (int i = 0; i < ms && !dring_has_used(&d->q[n]); i++)
		loop_once(d->t->vm.loop, 1);
	return dring_has_used(&d->q[n]);
}

void vdrv_start(struct vdrv *d, struct vdrv_vm *t, struct dev *dev, uint64_t features, unsigned nr)
{
	vdrv_open(d, t, dev);
	check(vdrv_negotiate(d, features | BIT64(VIRTIO_F_VERSION_1)), "features %#" PRIx64
	      " refused", features);
	vdrv_enable_msix(d);
	for (unsigned i = 0; i < nr; i++)
		vdrv_queue(d, i, 0);
	vdrv_driver_ok(d);
	check(vdrv_status(d) == 15, "status %#x after DRIVER_OK", vdrv_status(d));
}
