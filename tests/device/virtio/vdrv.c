/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include "core/backend.h"
#include "core/dev.h"
#include "pci/pci.h"
#include "vdrv.h"

enum {
	STATUS = 0x14,
	QSEL = 0x16,
	QSIZE = 0x18,
	QENABLE = 0x1c,
	QDESC = 0x20,
	QAVAIL = 0x28,
	QUSED = 0x30
};

/* ---- the machine ---- */

static void on_msi(void *opaque, const struct msi *m)
{
	struct rig *r = opaque;

	r->last_msi = m->data;
	r->msis++;
}

static void on_intx(void *opaque, uint8_t devfn, unsigned pin, int level)
{
	((struct rig *)opaque)->intx = level;
}

void rig_init(struct rig *r)
{
	struct err e;

	memset(r, 0, sizeof(*r));
	r->vm.conf = vm_conf_new();
	r->vm.conf->cpus = 1;
	r->vm.loop = loop_new(&e);
	r->vm.map = map_new(&e);
	r->vm.ram = ram_new("ram", RIG_RAM, &e);
	assert(r->vm.loop && r->vm.map && r->vm.ram);
	qsbr_register(map_qsbr(r->vm.map), &r->vm.reader);
	r->vm.msi = (struct msi_sink){ .send = on_msi, .opaque = r };
	r->ram = (struct map_region){
		.name = "ram", .space = MAP_MEM, .kind = MAP_RAM, .size = RIG_RAM, .rb = r->vm.ram
	};
	if (map_add(r->vm.map, &r->ram, &e) < 0)
		abort();
	r->vm.pci = pci_bus_new(&r->vm, on_intx, r);
	r->heap = RIG_HEAP;
}

void rig_fini(struct rig *r)
{
	while (r->vm.devs)
		dev_destroy(r->vm.devs);
	backend_close_all(&r->vm);
	pci_bus_free(r->vm.pci);
	map_del(r->vm.map, &r->ram);
	qsbr_unregister(&r->vm.reader);
	map_free(r->vm.map);
	ram_free(r->vm.ram);
	loop_free(r->vm.loop);
	vm_conf_free(r->vm.conf);
}

uint64_t rig_alloc(struct rig *r, uint64_t size)
{
	uint64_t at = align_up(r->heap, 16);

	assert(at + size <= RIG_RAM);
	r->heap = at + size;
	return at;
}

void rig_rewind(struct rig *r, uint64_t to)
{
	r->heap = to;
}

void *rig_ptr(struct rig *r, uint64_t gpa)
{
	assert(gpa < RIG_RAM);
	return r->vm.ram->host + gpa;
}

struct pci_dev *rig_device(struct rig *r, const char *type, const char *const *kv, struct err *e)
{
	static const struct pci_window win = { .io_base = 0x1000,
					       .io_size = 0x8000,
					       .mem32_base = 0xc0000000,
					       .mem32_size = MIB(64),
					       .mem64_base = GIB(32),
					       .mem64_size = GIB(1) };
	struct conf_node *c = conf_add(r->vm.conf, CONF_DEVICE, type, NULL, "test");
	struct dev *d;

	for (; kv && kv[0]; kv += 2)
		conf_set(c, kv[0], kv[1]);
	if (dev_create(&r->vm, c, &d, e) < 0)
		return NULL;
	if (pci_assign(r->vm.pci, &win, e) < 0)
		abort();
	return container_of(d, struct pci_dev, d);
}

void rig_spin(struct rig *r, unsigned rounds)
{
	while (rounds--)
		loop_once(r->vm.loop, 0);
}

/* ---- registers ---- */

static uint64_t reg_read(struct vdrv *d, uint64_t addr, unsigned size)
{
	uint8_t b[8] = { 0 };

	map_access(d->rig->vm.map, MAP_MEM, addr, b, size, false);
	return ld_le(b, size);
}

static void reg_write(struct vdrv *d, uint64_t addr, unsigned size, uint64_t val)
{
	uint8_t b[8];

	st_le64(b, val);
	map_access(d->rig->vm.map, MAP_MEM, addr, b, size, true);
}

void vdrv_common(struct vdrv *d, unsigned off, unsigned size, uint64_t val)
{
	reg_write(d, d->common + off, size, val);
}

uint64_t vdrv_common_read(struct vdrv *d, unsigned off, unsigned size)
{
	return reg_read(d, d->common + off, size);
}

uint64_t vdrv_cfg(struct vdrv *d, unsigned off, unsigned size)
{
	return reg_read(d, d->device + off, size);
}

void vdrv_cfg_write(struct vdrv *d, unsigned off, unsigned size, uint64_t val)
{
	reg_write(d, d->device + off, size, val);
}

void vdrv_find(struct vdrv *d, struct rig *r, struct pci_dev *pci)
{
	memset(d, 0, sizeof(*d));
	d->rig = r;
	d->pci = pci;
	for (uint8_t at = pci->cfg[PCI_CAP_PTR]; at; at = pci->cfg[at + 1]) {
		const uint8_t *c = pci->cfg + at;
		uint64_t where;

		if (c[0] != PCI_CAP_ID_VENDOR || c[4] > 5)
			continue;
		where = pci_bar_addr(pci, c[4]) + ld_le32(c + 8);
		if (c[3] == 1)
			d->common = where;
		else if (c[3] == 2)
			d->notify = where, d->notify_mult = ld_le32(c + 16);
		else if (c[3] == 3)
			d->isr = where;
		else if (c[3] == 4)
			d->device = where;
	}
	d->nr_vqs = (unsigned)vdrv_common_read(d, 0x12, 2);
}

uint64_t vdrv_offered(struct vdrv *d)
{
	uint64_t f;

	vdrv_common(d, 0, 4, 0);
	f = vdrv_common_read(d, 4, 4);
	vdrv_common(d, 0, 4, 1);
	return f | vdrv_common_read(d, 4, 4) << 32;
}

uint8_t vdrv_status(struct vdrv *d)
{
	return (uint8_t)vdrv_common_read(d, STATUS, 1);
}

void vdrv_reset(struct vdrv *d)
{
	vdrv_common(d, STATUS, 1, 0);
}

void vdrv_enable_queue(struct vdrv *d, unsigned n)
{
	struct vdrv_queue *q = &d->q[n];
	uint64_t base = 0x10000 + n * 0x2000ull;

	*q = (struct vdrv_queue){ .desc = base, .avail = base + 0x800, .used = base + 0x1000 };
	memset(rig_ptr(d->rig, base), 0, 0x2000);
	for (unsigned i = 0; i < VDRV_SIZE; i++)
		q->free[q->nr_free++] = (uint16_t)i;
	vdrv_common(d, QSEL, 2, n);
	vdrv_common(d, QSIZE, 2, VDRV_SIZE);
	vdrv_common(d, 0x1a, 2, n);
	for (unsigned half = 0; half < 2; half++) {
		vdrv_common(d, QDESC + 4 * half, 4, q->desc >> 32 * half);
		vdrv_common(d, QAVAIL + 4 * half, 4, q->avail >> 32 * half);
		vdrv_common(d, QUSED + 4 * half, 4, q->used >> 32 * half);
	}
	vdrv_common(d, QENABLE, 2, 1);
}

bool vdrv_start(struct vdrv *d, uint64_t features)
{
	features |= BIT64(VIRTIO_F_VERSION_1);
	vdrv_reset(d);
	vdrv_common(d, STATUS, 1, 1 | 2);
	vdrv_common(d, 8, 4, 0);
	vdrv_common(d, 12, 4, (uint32_t)features);
	vdrv_common(d, 8, 4, 1);
	vdrv_common(d, 12, 4, features >> 32);
	vdrv_common(d, STATUS, 1, 1 | 2 | 8);
	if (!(vdrv_status(d) & 8))
		return false;
	for (unsigned i = 0; i < d->nr_vqs && i < VDRV_MAXQ; i++)
		vdrv_enable_queue(d, i);
	vdrv_common(d, STATUS, 1, 1 | 2 | 4 | 8);
	return vdrv_status(d) == 15;
}

/* ---- rings ---- */

static void put_desc(struct vdrv *d, struct vdrv_queue *q, uint16_t at, const struct vbuf *b,
		     int next)
{
	uint8_t *p = rig_ptr(d->rig, q->desc + 16ull * at);

	st_le64(p, b->gpa);
	st_le32(p + 8, b->len);
	st_le16(p + 12, (uint16_t)((next >= 0) | b->write << 1));
	st_le16(p + 14, next >= 0 ? (uint16_t)next : 0);
}

int vdrv_add(struct vdrv *d, unsigned n, const struct vbuf *b, unsigned nb)
{
	struct vdrv_queue *q = &d->q[n];
	uint16_t head;

	if (q->nr_free < nb)
		return -1;
	head = q->free[q->nr_free - 1];
	for (unsigned i = 0; i < nb; i++) {
		uint16_t at = q->free[q->nr_free - 1 - i];

		put_desc(d, q, at, &b[i], i + 1 < nb ? q->free[q->nr_free - 2 - i] : -1);
	}
	q->nr_free -= nb;
	q->chain_len[head] = (uint16_t)nb;
	st_le16(rig_ptr(d->rig, q->avail + 4 + 2ull * (q->avail_idx % VDRV_SIZE)), head);
	q->avail_idx++;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	st_le16(rig_ptr(d->rig, q->avail + 2), q->avail_idx);
	return head;
}

void vdrv_kick(struct vdrv *d, unsigned n)
{
	reg_write(d, d->notify + (uint64_t)n * d->notify_mult, 2, n);
}

/* Descriptors of the chain become free, in the order that gives them out again. */
static void release(struct vdrv *d, struct vdrv_queue *q, uint16_t head)
{
	uint16_t list[VDRV_SIZE], n = q->chain_len[head], at = head;

	for (uint16_t i = 0; i < n; i++) {
		list[i] = at;
		at = ld_le16(rig_ptr(d->rig, q->desc + 16ull * at + 14)) % VDRV_SIZE;
	}
	while (n)
		q->free[q->nr_free++] = list[--n];
}

int vdrv_used(struct vdrv *d, unsigned n, uint32_t *written)
{
	struct vdrv_queue *q = &d->q[n];
	const uint8_t *e;
	uint16_t head;

	if (ld_le16(rig_ptr(d->rig, q->used + 2)) == q->used_idx)
		return -1;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	e = rig_ptr(d->rig, q->used + 4 + 8ull * (q->used_idx++ % VDRV_SIZE));
	head = (uint16_t)ld_le32(e);
	if (written)
		*written = ld_le32(e + 4);
	if (head >= VDRV_SIZE || !q->chain_len[head])
		return -1; /* the device, or a fuzzer's driver itself, wrote nonsense */
	release(d, q, head);
	q->chain_len[head] = 0;
	return head;
}

int vdrv_wait(struct vdrv *d, unsigned n, uint32_t *written)
{
	int head = vdrv_used(d, n, written);

	for (int i = 0; head < 0 && i < 400; i++) {
		loop_once(d->rig->vm.loop, 5);
		head = vdrv_used(d, n, written);
	}
	return head;
}
