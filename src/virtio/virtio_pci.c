/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio over PCI, the modern transport. VIRTIO 1.2 section 4.1.
 *
 * BAR 4 (64 bit, prefetchable) has a page each for common configuration, ISR, device
 * configuration and notifications; BAR 1 has MSI-X. A queue's notification address is its number
 * times NOTIFY_MULT. The configuration space window (VIRTIO_PCI_CAP_PCI_CFG) reaches both BARs.
 * While bus mastering is off the device stands still as in a pause: a guest that takes it away,
 * as Linux does before kexec, may use the memory of the rings for something else.
 *
 * Threads: registers under the device's lock; interrupts from any thread. State: virtio_pci_state.
 */
#include "base/base.h"
#include "base/bytes.h"
#include "core/state.h"
#include "core/vm.h"
#include "virtio/virtio_dev.h"
#include "virtio/vq_int.h"

#define VENDOR	     0x1af4
#define DEVICE_BASE  0x1040
#define SUBSYSTEM    0x1100
#define NO_VECTOR    0xffffu
#define MSIX_BAR     1u
#define REG_BAR	     4u
#define REG_BAR_SIZE 0x4000u
#define COMMON_OFF   0x0000u
#define ISR_OFF	     0x1000u
#define DEVICE_OFF   0x2000u
#define NOTIFY_OFF   0x3000u
#define PAGE_SIZE_   0x1000u
#define COMMON_LEN   0x3cu
#define NOTIFY_MULT  4u
#define ISR_QUEUE    1u
#define ISR_CONFIG   2u

enum cap_type { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_PCI_CFG };

/* Offsets in the common configuration (4.1.4.3). */
enum {
	DEVICE_FEATURE_SEL = 0x00,
	DEVICE_FEATURE = 0x04,
	DRIVER_FEATURE_SEL = 0x08,
	DRIVER_FEATURE = 0x0c,
	CONFIG_VECTOR = 0x10,
	NUM_QUEUES = 0x12,
	DEVICE_STATUS = 0x14,
	CONFIG_GENERATION = 0x15,
	QUEUE_SEL = 0x16,
	QUEUE_SIZE = 0x18,
	QUEUE_VECTOR = 0x1a,
	QUEUE_ENABLE = 0x1c,
	QUEUE_NOTIFY_OFF = 0x1e,
	QUEUE_DESC = 0x20,
	QUEUE_DRIVER = 0x28,
	QUEUE_DEVICE = 0x30,
	QUEUE_NOTIFY_DATA = 0x38,
	QUEUE_RESET = 0x3a,
};

/* ---- interrupts ---- */

/*
 * The pin as the ISR says, whoever else changes that meanwhile: who has set the pin last has looked
 * at the ISR behind that. Else a pin raised behind the read that took its bit would stay up.
 */
static void update_intx(struct virtio_pci *p)
{
	int level = __atomic_load_n(&p->isr, __ATOMIC_SEQ_CST) != 0, set;

	do {
		set = level;
		pci_intx(&p->pci, set);
		level = __atomic_load_n(&p->isr, __ATOMIC_SEQ_CST) != 0;
	} while (level != set);
}

static void notify(struct virtio *v, int n)
{
	struct virtio_pci *p = container_of(v->dev, struct virtio_pci, pci.d);
	uint16_t vector;

	if (pci_msix_on(&p->pci)) {
		vector = __atomic_load_n(n < 0 ? &p->config_vector : &v->vqs[n].vector,
					 __ATOMIC_RELAXED);
		if (vector != NO_VECTOR)
			pci_msix_fire(&p->pci, vector);
		return;
	}
	__atomic_fetch_or(&p->isr, n < 0 ? ISR_CONFIG | ISR_QUEUE : ISR_QUEUE, __ATOMIC_SEQ_CST);
	update_intx(p);
}

static uint8_t read_isr(struct virtio_pci *p)
{
	uint8_t isr = __atomic_exchange_n(&p->isr, 0, __ATOMIC_SEQ_CST);

	update_intx(p);
	return isr;
}

/* ---- common configuration ---- */

static uint64_t common_read(struct virtio_pci *p, uint64_t off, unsigned size)
{
	struct virtio *v = p->v;
	const struct vq *vq = virtio_selected(v, p->queue_sel);
	uint8_t img[COMMON_LEN] = { 0 };

	st_le32(img + DEVICE_FEATURE_SEL, p->device_feature_sel);
	st_le32(img + DEVICE_FEATURE,
		virtio_feature_word(virtio_offered(v), p->device_feature_sel));
	st_le32(img + DRIVER_FEATURE_SEL, p->driver_feature_sel);
	st_le32(img + DRIVER_FEATURE,
		virtio_feature_word(v->driver_features, p->driver_feature_sel));
	st_le16(img + CONFIG_VECTOR, p->config_vector);
	st_le16(img + NUM_QUEUES, (uint16_t)v->nr_vqs);
	img[DEVICE_STATUS] = virtio_get_status(v);
	img[CONFIG_GENERATION] = (uint8_t)__atomic_load_n(&v->cfg_generation, __ATOMIC_ACQUIRE);
	st_le16(img + QUEUE_SEL, p->queue_sel);
	st_le16(img + QUEUE_VECTOR, NO_VECTOR);
	if (vq) {
		st_le16(img + QUEUE_SIZE, vq->size);
		st_le16(img + QUEUE_VECTOR, vq->vector);
		st_le16(img + QUEUE_ENABLE, vq->enabled);
		st_le16(img + QUEUE_NOTIFY_OFF, p->queue_sel);
		st_le64(img + QUEUE_DESC, vq->desc);
		st_le64(img + QUEUE_DRIVER, vq->driver);
		st_le64(img + QUEUE_DEVICE, vq->device);
		st_le16(img + QUEUE_NOTIFY_DATA, p->queue_sel);
	}
	return off + size <= sizeof(img) ? ld_le(img + off, size) : 0;
}

static uint16_t valid_vector(const struct virtio_pci *p, uint64_t val)
{
	return val < p->pci.nr_msix ? (uint16_t)val : NO_VECTOR;
}

static void set_queue_reg(struct vq *vq, uint64_t off, uint32_t val)
{
	static const enum virtio_queue_reg part[] = { VQ_REG_DESC, VQ_REG_DRIVER, VQ_REG_DEVICE };

	if (off < QUEUE_DESC)
		virtio_queue_set(vq, VQ_REG_SIZE, false, val);
	else
		virtio_queue_set(vq, part[(off - QUEUE_DESC) >> 3], off & 4, val);
}

static void enable_queue(struct virtio_pci *p, struct vq *vq, uint64_t val)
{
	if (val != 1)
		dev_guest_error(&p->pci.d, "queue_enable = %" PRIu64, val);
	else
		virtio_queue_enable(vq);
}

static void set_status(struct virtio_pci *p, uint8_t val)
{
	if (!val)
		virtio_pci_reset(p);
	else
		virtio_set_status(p->v, val);
}

/* Registers of the selected queue. */
static bool queue_write(struct virtio_pci *p, uint64_t off, uint64_t val, unsigned size)
{
	struct vq *vq = virtio_selected(p->v, p->queue_sel);
	bool wide = off >= QUEUE_DESC && off < QUEUE_NOTIFY_DATA;

	if (off < QUEUE_SIZE || size != (wide ? 4 : 2))
		return false;
	if (!vq)
		return true;
	switch (off) {
	case QUEUE_VECTOR:
		__atomic_store_n(&vq->vector, valid_vector(p, val), __ATOMIC_RELAXED);
		return true;
	case QUEUE_ENABLE:
		enable_queue(p, vq, val);
		return true;
	case QUEUE_RESET:
		if (val == 1 && virtio_has(p->v, VIRTIO_F_RING_RESET))
			virtio_reset_queue(p->v, p->queue_sel);
		return true;
	case QUEUE_NOTIFY_OFF:
	case QUEUE_NOTIFY_DATA:
		return false;
	default:
		if (off != QUEUE_SIZE && !wide)
			return false; /* behind the last one */
		set_queue_reg(vq, off, (uint32_t)val);
		return true;
	}
}

static void common_write(struct virtio_pci *p, uint64_t off, uint64_t val, unsigned size)
{
	if (off == DEVICE_FEATURE_SEL && size == 4)
		p->device_feature_sel = (uint32_t)val;
	else if (off == DRIVER_FEATURE_SEL && size == 4)
		p->driver_feature_sel = (uint32_t)val;
	else if (off == DRIVER_FEATURE && size == 4)
		virtio_set_driver_features(p->v, p->driver_feature_sel, (uint32_t)val);
	else if (off == CONFIG_VECTOR && size == 2)
		__atomic_store_n(&p->config_vector, valid_vector(p, val), __ATOMIC_RELAXED);
	else if (off == DEVICE_STATUS && size == 1)
		set_status(p, (uint8_t)val);
	else if (off == QUEUE_SEL && size == 2)
		p->queue_sel = (uint16_t)val;
	else if (!queue_write(p, off, val, size))
		dev_guest_error(&p->pci.d,
				"write of %u bytes at %#" PRIx64 " of the common configuration",
				size, off);
}

/* ---- the register BAR ---- */

static uint64_t reg_read(void *opaque, uint64_t off, unsigned size)
{
	struct virtio_pci *p = opaque;
	uint64_t in_page = off % PAGE_SIZE_;

	switch (off - in_page) {
	case COMMON_OFF:
		return common_read(p, in_page, size);
	case ISR_OFF:
		return in_page ? 0 : read_isr(p);
	case DEVICE_OFF:
		return virtio_cfg_read(p->v, in_page, size);
	default:
		return 0;
	}
}

static void reg_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct virtio_pci *p = opaque;
	uint64_t in_page = off % PAGE_SIZE_;

	switch (off - in_page) {
	case COMMON_OFF:
		common_write(p, in_page, val, size);
		break;
	case DEVICE_OFF:
		virtio_cfg_write(p->v, in_page, val, size);
		break;
	case NOTIFY_OFF:
		/* The address says which queue; NOTIFICATION_DATA adds a hint we do not need. */
		if (in_page % NOTIFY_MULT == 0)
			virtio_kick(p->v, (unsigned)(in_page / NOTIFY_MULT));
		break;
	default:
		break;
	}
}

static const struct io_ops reg_ops = { .read = reg_read, .write = reg_write, .min = 1, .max = 4 };

/* ---- the window in configuration space (4.1.4.9) ---- */

#define WIN_BAR	 4u
#define WIN_OFF	 8u
#define WIN_LEN	 12u
#define WIN_DATA 16u
#define WIN_SIZE 20u

/* Carries out the access that the window describes, with its data in the last four bytes. */
static void window_access(struct virtio_pci *p, bool write)
{
	uint8_t *cap = p->pci.cfg + p->cap_pci_cfg;
	uint32_t bar = cap[WIN_BAR], off = ld_le32(cap + WIN_OFF), len = ld_le32(cap + WIN_LEN);
	uint64_t val;

	if ((len != 1 && len != 2 && len != 4) || (off & (len - 1)) || bar >= PCI_NR_BARS ||
	    off >= p->pci.bar[bar].size)
		return;
	val = ld_le(cap + WIN_DATA, len);
	if (bar == REG_BAR && write)
		reg_write(p, off, val, len);
	else if (bar == REG_BAR)
		st_le(cap + WIN_DATA, reg_read(p, off, len), len);
	else if (bar == MSIX_BAR && write)
		pci_msix_write(&p->pci, off, val, len);
	else if (bar == MSIX_BAR)
		st_le(cap + WIN_DATA, pci_msix_read(&p->pci, off, len), len);
}

static bool touches_data(const struct virtio_pci *p, uint32_t off, unsigned size)
{
	uint32_t data = p->cap_pci_cfg + WIN_DATA;

	return p->cap_pci_cfg && off < data + 4 && data < off + size;
}

static void window_reading(struct pci_dev *d, uint32_t off, unsigned size)
{
	struct virtio_pci *p = container_of(d, struct virtio_pci, pci);

	if (touches_data(p, off, size))
		window_access(p, false);
}

static void cfg_space_written(struct pci_dev *d, uint32_t off, unsigned size, uint32_t val)
{
	struct virtio_pci *p = container_of(d, struct virtio_pci, pci);

	if (off < PCI_COMMAND + 2 && off + size > PCI_COMMAND)
		virtio_set_dma(p->v, pci_is_master(d));
	if (touches_data(p, off, size))
		window_access(p, true);
}

/* ---- life ---- */

/* One of the capabilities of 4.1.4; extra bytes follow the common 16. Returns its offset. */
static int add_cap(struct virtio_pci *p, enum cap_type type, uint32_t off, uint32_t len,
		   unsigned extra)
{
	uint8_t data[WIN_SIZE - 2] = { 0 };

	data[0] = (uint8_t)(16 + extra); /* cap_len */
	data[1] = (uint8_t)type;
	data[2] = type == CAP_PCI_CFG ? 0 : REG_BAR;
	st_le32(data + 6, off);
	st_le32(data + 10, len);
	if (type == CAP_NOTIFY)
		st_le32(data + 14, NOTIFY_MULT);
	return pci_add_cap(&p->pci, PCI_CAP_ID_VENDOR, data, 16 + extra);
}

static int add_caps(struct virtio_pci *p, struct err *e)
{
	uint32_t cfg_len = MAX(p->v->cfg_len, 4u);
	int win;

	if (add_cap(p, CAP_COMMON, COMMON_OFF, COMMON_LEN, 0) < 0 ||
	    add_cap(p, CAP_ISR, ISR_OFF, 1, 0) < 0 ||
	    add_cap(p, CAP_DEVICE, DEVICE_OFF, cfg_len, 0) < 0 ||
	    add_cap(p, CAP_NOTIFY, NOTIFY_OFF, NOTIFY_MULT * p->v->nr_vqs, 4) < 0)
		return err_set(e, ENOSPC, "%s: no room for capabilities", p->pci.d.path);
	win = add_cap(p, CAP_PCI_CFG, 0, 0, 4);
	if (win < 0 || pci_add_pcie_endpoint_cap(&p->pci) < 0)
		return err_set(e, ENOSPC, "%s: no room for capabilities", p->pci.d.path);
	p->cap_pci_cfg = (uint8_t)win;
	p->pci.wmask[win + WIN_BAR] = 0xff;
	memset(p->pci.wmask + win + WIN_OFF, 0xff, WIN_SIZE - WIN_OFF);
	p->pci.cfg_reading = window_reading;
	p->pci.cfg_written = cfg_space_written;
	return 0;
}

static int add_bars(struct virtio_pci *p, struct err *e)
{
	struct map_region *r = &p->pci.bar[REG_BAR].region;
	uint32_t vectors = p->nr_vectors;
	int ret;

	r->ops = &reg_ops;
	r->opaque = p;
	r->lock = &p->pci.d.lock;
	ret = pci_add_bar(&p->pci, REG_BAR, PCI_BAR_MEM64, REG_BAR_SIZE, true, e);
	if (ret < 0)
		return ret;
	pci_set_intx_pin(&p->pci, 0);
	if (vectors == VIRTIO_VECTORS_AUTO)
		vectors = p->v->vectors ?: p->v->nr_vqs + 1;
	if (!vectors)
		return 0;
	return pci_add_msix_bar(&p->pci, MIN(vectors, (uint32_t)PCI_MSIX_MAX), MSIX_BAR, e);
}

static int check_props(const struct virtio_pci *p, struct err *e)
{
	if (p->p_disable_legacy == PROP_OFF || p->p_disable_modern)
		return err_set(e, ENOTSUP,
			       "%s: legacy virtio is not available; leave disable-legacy and"
			       " disable-modern out",
			       p->pci.d.path);
	return 0;
}

int virtio_pci_init(struct virtio_pci *p, struct virtio *v, const struct virtio_type *type,
		    struct err *e)
{
	struct pci_id id = { .vendor = VENDOR,
			     .device = (uint16_t)(DEVICE_BASE + type->id),
			     .subvendor = VENDOR,
			     .subdevice = SUBSYSTEM,
			     .class_rev = type->pci_class << 8 | 1 };
	struct pci_bus *bus = pci_bus_of(p->pci.d.vm);
	int ret = check_props(p, e);

	if (ret < 0)
		return ret;
	if (!bus)
		return err_set(e, ENODEV, "%s: this machine has no PCI bus", p->pci.d.path);
	p->v = v;
	v->bell_region = &p->pci.bar[REG_BAR].region;
	v->bell_off = NOTIFY_OFF;
	v->bell_step = NOTIFY_MULT;
	p->config_vector = NO_VECTOR;
	ret = virtio_dev_init(v, &p->pci.d, type, notify, e);
	v->may_dma = false; /* as the command register of a new function says */
	if (ret == 0)
		ret = pci_dev_attach(bus, &p->pci, &id, e);
	if (ret == 0)
		ret = add_bars(p, e);
	if (ret == 0)
		ret = add_caps(p, e);
	return ret == 0 && type->plugged ? type->plugged(v, e) : ret;
}

void virtio_pci_dev_fini(struct dev *d)
{
	struct virtio_pci *p = container_of(d, struct virtio_pci, pci.d);

	virtio_dev_unplug(p->v);
	pci_dev_detach(&p->pci);
	virtio_dev_fini(p->v);
}

/* A device reset by the driver: the PCI function itself stays as it is. */
void virtio_pci_reset(struct virtio_pci *p)
{
	virtio_reset(p->v);
	p->device_feature_sel = p->driver_feature_sel = 0;
	p->queue_sel = 0;
	__atomic_store_n(&p->config_vector, NO_VECTOR, __ATOMIC_RELAXED);
	(void)read_isr(p);
}

void virtio_pci_dev_reset(struct dev *d)
{
	struct virtio_pci *p = container_of(d, struct virtio_pci, pci.d);

	pthread_mutex_lock(&d->lock);
	virtio_pci_reset(p);
	pci_dev_reset(&p->pci);
	virtio_set_dma(p->v, pci_is_master(&p->pci));
	pthread_mutex_unlock(&d->lock);
}

void virtio_pci_dev_pause(struct dev *d)
{
	struct virtio_pci *p = container_of(d, struct virtio_pci, pci.d);

	pthread_mutex_lock(&d->lock);
	virtio_pause(p->v);
	pci_msix_pause(&p->pci);
	pthread_mutex_unlock(&d->lock);
}

void virtio_pci_dev_resume(struct dev *d)
{
	struct virtio_pci *p = container_of(d, struct virtio_pci, pci.d);

	pci_msix_resume(&p->pci);
	virtio_dev_resume(p->v);
}

/* ---- state ---- */

static int virtio_pci_post_load(void *obj, struct err *e)
{
	struct virtio_pci *p = obj;

	for (unsigned i = 0; i < p->v->nr_vqs; i++) {
		if (p->v->vqs[i].vector != valid_vector(p, p->v->vqs[i].vector))
			return err_set(e, EINVAL, "queue %u has vector %u of %u", i,
				       p->v->vqs[i].vector, p->pci.nr_msix);
	}
	if (p->config_vector != valid_vector(p, p->config_vector))
		return err_set(e, EINVAL, "configuration vector %u of %u", p->config_vector,
			       p->pci.nr_msix);
	p->v->may_dma = pci_is_master(&p->pci);
	return 0;
}

const struct state_desc virtio_pci_state = {
	.name = "virtio-pci",
	.struct_name = "virtio_pci",
	.version = 1,
	.post_load = virtio_pci_post_load,
	.fields =
		(const struct state_field[]){
			ST_SUB(struct virtio_pci, pci, &pci_dev_state),
			ST_HOST(struct virtio_pci, v),
			ST_U32(struct virtio_pci, device_feature_sel),
			ST_U32(struct virtio_pci, driver_feature_sel),
			ST_U16(struct virtio_pci, queue_sel),
			ST_U16(struct virtio_pci, config_vector),
			ST_U8(struct virtio_pci, isr),
			ST_HOST(struct virtio_pci, cap_pci_cfg),
			ST_HOST(struct virtio_pci, nr_vectors),
			ST_HOST(struct virtio_pci, p_disable_legacy),
			ST_HOST(struct virtio_pci, p_disable_modern),
			ST_END,
		},
};
