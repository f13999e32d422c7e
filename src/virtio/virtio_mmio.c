/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio over memory-mapped registers, version 2. VIRTIO 1.2 section 4.2.2.
 *
 * Registers are 32 bits wide and take nothing else; the configuration space behind them takes bytes
 * and words too. The interrupt is a level: up while InterruptStatus is not zero, so that none is
 * lost while the guest has it masked, nor in a saved machine. Shared memory regions there are none.
 *
 * Threads: registers under the device's lock; interrupts from any thread. State: virtio_mmio_state.
 */
#include "base/base.h"
#include "base/trace.h"
#include "core/state.h"
#include "core/vm.h"
#include "virtio/virtio_dev.h"
#include "virtio/vq_int.h"
#include <stdio.h>

#define MAGIC	   0x74726976u /* "virt" */
#define VERSION	   2u
#define VENDOR	   0x554d4551u /* "QEMU": what guests and tools know */
#define INT_QUEUE  1u
#define INT_CONFIG 2u
#define CONFIG	   0x100u

enum {
	MAGIC_VALUE = 0x000,
	DEVICE_VERSION = 0x004,
	DEVICE_ID = 0x008,
	VENDOR_ID = 0x00c,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	QUEUE_SEL = 0x030,
	QUEUE_NUM_MAX = 0x034,
	QUEUE_NUM = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	DEVICE_STATUS = 0x070,
	QUEUE_DESC = 0x080,
	QUEUE_DRIVER = 0x090,
	QUEUE_DEVICE = 0x0a0,
	SHM_LEN = 0x0b0,
	SHM_BASE = 0x0b8,
	QUEUE_RESET = 0x0c0,
	CONFIG_GENERATION = 0x0fc,
};

/* ---- interrupts ---- */

static struct virtio_mmio *mmio_of(struct virtio *v)
{
	return container_of(v->dev, struct virtio_mmio, d);
}

/*
 * The line as InterruptStatus says, whoever else changes that meanwhile: who has set the line last
 * has looked at the status behind that. Else a rise that is overtaken by the acknowledgement of
 * what it is for would stay.
 */
static void update_line(struct virtio_mmio *m)
{
	int level = __atomic_load_n(&m->isr, __ATOMIC_SEQ_CST) != 0, set;

	do {
		set = level;
		trace_virtio_mmio_setting_irq(m->d.path, set);
		irq_set(&m->irq, set);
		level = __atomic_load_n(&m->isr, __ATOMIC_SEQ_CST) != 0;
	} while (level != set);
}

static void notify(struct virtio *v, int n)
{
	struct virtio_mmio *m = mmio_of(v);

	__atomic_fetch_or(&m->isr, n < 0 ? INT_CONFIG : INT_QUEUE, __ATOMIC_SEQ_CST);
	update_line(m);
}

static void acknowledge(struct virtio_mmio *m, uint32_t bits)
{
	if (!__atomic_and_fetch(&m->isr, ~bits, __ATOMIC_SEQ_CST))
		update_line(m);
}

/* ---- registers ---- */

static uint32_t queue_read(struct virtio_mmio *m, uint64_t off)
{
	const struct vq *vq = virtio_selected(m->v, m->queue_sel);

	if (!vq)
		return 0;
	if (off == QUEUE_READY)
		return vq->enabled;
	return off == QUEUE_NUM_MAX ? vq_max_size(vq) : 0; /* QUEUE_RESET: over at once */
}

static uint32_t register_read(struct virtio_mmio *m, uint64_t off)
{
	struct virtio *v = m->v;

	switch (off) {
	case MAGIC_VALUE:
		return MAGIC;
	case DEVICE_VERSION:
		return VERSION;
	case DEVICE_ID:
		return v->type->id;
	case VENDOR_ID:
		return VENDOR;
	case DEVICE_FEATURES:
		return virtio_feature_word(virtio_offered(v), m->device_feature_sel);
	case INTERRUPT_STATUS:
		return __atomic_load_n(&m->isr, __ATOMIC_ACQUIRE);
	case DEVICE_STATUS:
		return virtio_get_status(v);
	case SHM_LEN ... SHM_LEN + 4:
	case SHM_BASE ... SHM_BASE + 4:
		return UINT32_MAX; /* no such region */
	case CONFIG_GENERATION:
		return __atomic_load_n(&v->cfg_generation, __ATOMIC_ACQUIRE);
	default:
		return queue_read(m, off);
	}
}

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
	struct virtio_mmio *m = opaque;

	trace_virtio_mmio_read(m->d.path, off);
	if (off >= CONFIG)
		return virtio_cfg_read(m->v, off - CONFIG, size);
	if (size != 4) {
		dev_guest_error(&m->d, "read of %u bytes at %#" PRIx64, size, off);
		return 0;
	}
	return register_read(m, off);
}

/* A device reset by the driver, or a machine's. */
static void reset(struct virtio_mmio *m)
{
	virtio_reset(m->v);
	m->device_feature_sel = m->driver_feature_sel = m->queue_sel = 0;
	acknowledge(m, UINT32_MAX);
}

/* Registers of the selected queue. */
static bool queue_write(struct virtio_mmio *m, uint64_t off, uint32_t val)
{
	static const enum virtio_queue_reg part[] = { VQ_REG_DESC, VQ_REG_DRIVER, VQ_REG_DEVICE };
	struct vq *vq = virtio_selected(m->v, m->queue_sel);

	switch (off) {
	case QUEUE_NUM:
		if (vq)
			virtio_queue_set(vq, VQ_REG_SIZE, false, val);
		return true;
	case QUEUE_DESC ... QUEUE_DESC + 4:
	case QUEUE_DRIVER ... QUEUE_DRIVER + 4:
	case QUEUE_DEVICE ... QUEUE_DEVICE + 4:
		if (vq)
			virtio_queue_set(vq, part[(off - QUEUE_DESC) >> 4], off & 4, val);
		return true;
	case QUEUE_READY:
		if (vq && val)
			virtio_queue_enable(vq);
		else if (vq) /* the driver takes it back: nothing of it is in use afterwards */
			virtio_reset_queue(m->v, m->queue_sel);
		return true;
	case QUEUE_RESET:
		if (val == 1 && virtio_has(m->v, VIRTIO_F_RING_RESET))
			virtio_reset_queue(m->v, m->queue_sel);
		return true;
	default:
		return false;
	}
}

static void register_write(struct virtio_mmio *m, uint64_t off, uint32_t val)
{
	switch (off) {
	case DEVICE_FEATURES_SEL:
		m->device_feature_sel = val;
		break;
	case DRIVER_FEATURES:
		virtio_set_driver_features(m->v, m->driver_feature_sel, val);
		break;
	case DRIVER_FEATURES_SEL:
		m->driver_feature_sel = val;
		break;
	case QUEUE_SEL:
		m->queue_sel = val;
		break;
	case QUEUE_NOTIFY: /* NOTIFICATION_DATA puts a hint into the upper half */
		virtio_kick(m->v, val & 0xffff);
		break;
	case INTERRUPT_ACK:
		acknowledge(m, val);
		break;
	case DEVICE_STATUS:
		if (val & 0xff)
			virtio_set_status(m->v, (uint8_t)val);
		else
			reset(m);
		break;
	default:
		if (!queue_write(m, off, val))
			dev_guest_error(&m->d, "write at %#" PRIx64, off);
		break;
	}
}

static void mmio_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct virtio_mmio *m = opaque;

	trace_virtio_mmio_write_offset(m->d.path, off, val);
	if (off >= CONFIG)
		virtio_cfg_write(m->v, off - CONFIG, val, size);
	else if (size != 4)
		dev_guest_error(&m->d, "write of %u bytes at %#" PRIx64, size, off);
	else
		register_write(m, off, (uint32_t)val);
}

static const struct io_ops mmio_ops = { .read = mmio_read, .write = mmio_write, .min = 1, .max = 4 };

/* ---- life ---- */

/* bus=virtio-mmio-bus.N asks for place N; otherwise the first free one. */
static int choose_slot(struct virtio_mmio *m, struct virtio_mmio_bus *bus, struct err *e)
{
	const char *want = m->d.node ? conf_get(m->d.node, "bus") : NULL;
	unsigned n = 0;
	char rest;

	if (want && (sscanf(want, "virtio-mmio-bus.%2u%c", &n, &rest) != 1 || n >= bus->nr_slots))
		return err_set(e, EINVAL, "bus=%s: the places are virtio-mmio-bus.0 to .%u", want,
			       bus->nr_slots - 1);
	if (want && bus->slot[n])
		return err_set(e, EBUSY, "bus=%s is taken by %s", want, bus->slot[n]->d.path);
	while (n < bus->nr_slots && bus->slot[n])
		n++;
	if (n >= bus->nr_slots)
		return err_set(e, ENOSPC, "all %u places for virtio-mmio devices are taken",
			       bus->nr_slots);
	m->slot = n;
	bus->slot[n] = m;
	return 0;
}

int virtio_mmio_init(struct virtio_mmio *m, struct virtio *v, const struct virtio_type *type,
		     struct err *e)
{
	struct virtio_mmio_bus *bus = m->d.vm->virtio_mmio;
	int ret;

	if (!bus)
		return err_set(e, ENODEV,
			       "%s: this machine has no virtio-mmio; its devices end in -pci",
			       m->d.path);
	if (m->p_force_legacy)
		return err_set(e, ENOTSUP,
			       "%s: legacy virtio is not available; leave "
			       "force-legacy out",
			       m->d.path);
	m->v = v;
	v->bell_region = &m->region;
	v->bell_off = QUEUE_NOTIFY;
	v->bell_match = true;
	ret = virtio_dev_init(v, &m->d, type, notify, e);
	if (ret == 0)
		ret = choose_slot(m, bus, e);
	if (ret < 0)
		return ret;
	m->irq = bus->line(bus->opaque, m->slot);
	m->region = (struct map_region){ .name = "virtio-mmio",
					 .space = MAP_MEM,
					 .kind = MAP_IO,
					 .addr = bus->base + m->slot * VIRTIO_MMIO_SIZE,
					 .size = VIRTIO_MMIO_SIZE,
					 .ops = &mmio_ops,
					 .opaque = m,
					 .lock = &m->d.lock };
	ret = map_add(m->d.vm->map, &m->region, e);
	if (ret == 0 && type->plugged)
		ret = type->plugged(v, e);
	return ret;
}

void virtio_mmio_dev_fini(struct dev *d)
{
	struct virtio_mmio *m = container_of(d, struct virtio_mmio, d);
	struct virtio_mmio_bus *bus = d->vm->virtio_mmio;

	virtio_dev_unplug(m->v);
	if (m->region.added)
		map_del(d->vm->map, &m->region);
	irq_set(&m->irq, 0);
	if (bus && bus->slot[m->slot] == m)
		bus->slot[m->slot] = NULL;
	virtio_dev_fini(m->v);
}

void virtio_mmio_dev_reset(struct dev *d)
{
	struct virtio_mmio *m = container_of(d, struct virtio_mmio, d);

	pthread_mutex_lock(&d->lock);
	reset(m);
	pthread_mutex_unlock(&d->lock);
}

void virtio_mmio_dev_pause(struct dev *d)
{
	struct virtio_mmio *m = container_of(d, struct virtio_mmio, d);

	pthread_mutex_lock(&d->lock);
	virtio_pause(m->v);
	pthread_mutex_unlock(&d->lock);
}

void virtio_mmio_dev_resume(struct dev *d)
{
	virtio_dev_resume(container_of(d, struct virtio_mmio, d)->v);
}

/* ---- state ---- */

static int virtio_mmio_post_load(void *obj, struct err *e)
{
	struct virtio_mmio *m = obj;

	if (m->isr & ~(INT_QUEUE | INT_CONFIG))
		return err_set(e, EINVAL, "interrupt status %#x is not possible", m->isr);
	irq_set(&m->irq, m->isr != 0);
	return 0;
}

const struct state_desc virtio_mmio_state = {
	.name = "virtio-mmio",
	.struct_name = "virtio_mmio",
	.version = 1,
	.post_load = virtio_mmio_post_load,
	.fields =
		(const struct state_field[]){
			ST_HOST(struct virtio_mmio, d),
			ST_HOST(struct virtio_mmio, v),
			ST_HOST(struct virtio_mmio, region),
			ST_HOST(struct virtio_mmio, irq),
			ST_HOST(struct virtio_mmio, slot),
			ST_HOST(struct virtio_mmio, p_force_legacy),
			ST_U32(struct virtio_mmio, device_feature_sel),
			ST_U32(struct virtio_mmio, driver_feature_sel),
			ST_U32(struct virtio_mmio, queue_sel),
			ST_U32(struct virtio_mmio, isr),
			ST_END,
		},
};
