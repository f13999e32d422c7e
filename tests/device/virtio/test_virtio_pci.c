/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI transport by its registers: discovery, negotiation in the right and in wrong orders,
 * frozen queues, reset, interrupts by MSI-X and INTx, the configuration window, state.
 */
#include "cmocka_all.h"

#include "base/bytes.h"
#include "core/state.h"
#include "rng.h"
#include "virtio/virtio_dev.h"
#include "virtio/vq_int.h"
#include "virtio_driver.h"

/* A device with two queues, eight bytes of configuration and a log of what it is told. */
struct toy {
	struct virtio v; /* first */
	unsigned started, stopped, kicks[2], queue_resets, resets, cfg_writes;
};

static struct toy *toy_of(struct virtio *v)
{
	return container_of(v, struct toy, v);
}

static uint64_t toy_features(struct virtio *v)
{
	return BIT64(0) | BIT64(5);
}

static int toy_start(struct virtio *v, struct err *e)
{
	toy_of(v)->started++;
	return 0;
}

static void toy_stop(struct virtio *v)
{
	toy_of(v)->stopped++;
}

static void toy_reset(struct virtio *v)
{
	toy_of(v)->resets++;
}

static void toy_kick(struct virtio *v, unsigned n)
{
	toy_of(v)->kicks[n]++;
}

static void toy_queue_reset(struct virtio *v, unsigned n)
{
	toy_of(v)->queue_resets++;
}

static void toy_cfg_written(struct virtio *v, unsigned off, unsigned len)
{
	toy_of(v)->cfg_writes++;
}

static int toy_init(struct virtio *v, struct err *e)
{
	v->nr_vqs = 2;
	v->vq_size = 256;
	v->cfg_len = 8;
	memcpy(v->cfg, "\1\2\3\4\5\6\7\10", 8);
	v->cfg_wmask[4] = 0x0f;
	return 0;
}

static const struct virtio_type toy_virtio = {
	.name = "toy",
	.id = 61,
	.pci_class = 0x00ff00,
	.init = toy_init,
	.features = toy_features,
	.start = toy_start,
	.stop = toy_stop,
	.reset = toy_reset,
	.kick = toy_kick,
	.queue_reset = toy_queue_reset,
	.cfg_written = toy_cfg_written,
};

static const struct state_desc toy_state = {
	.name = "toy",
	.struct_name = "toy",
	.version = 1,
	.fields =
		(const struct state_field[]){
			ST_SUB(struct toy, v, &virtio_state),
			ST_END,
		},
};

#define TOY_PROPS(type)
VIRTIO_DEVICE(toy, toy_virtio, toy_state, TOY_PROPS, "toy", "a test device");

const struct dev_type *const dev_types[] = { &toy_pci_type, NULL };

#define VERSION_1 BIT64(VIRTIO_F_VERSION_1)

struct rig {
	struct vdrv_vm *t;
	struct toy_pci *s;
	struct vdrv d;
};

static int setup(void **state)
{
	struct rig *r = xnew(struct rig);

	r->t = vdrv_vm_new();
	r->s = container_of(vdrv_make(r->t, "toy,packed=on,in_order=on"), struct toy_pci, t.pci.d);
	vdrv_open(&r->d, r->t, &r->s->t.pci.d);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	vdrv_vm_free(r->t);
	free(r);
	return 0;
}

static uint64_t reg(struct rig *r, unsigned off, unsigned size)
{
	return vdrv_rd(&r->d, r->d.common + off, size);
}

static void set(struct rig *r, unsigned off, uint64_t val, unsigned size)
{
	vdrv_wr(&r->d, r->d.common + off, val, size);
}

static void identity(void **state)
{
	struct rig *r = *state;
	struct pci_bus *bus = r->t->vm.pci;
	uint8_t fn = r->s->t.pci.devfn;

	assert_int_equal(pci_cfg_read(bus, 0, fn, 0, 4), 0x107d1af4); /* 0x1040 + 61 */
	assert_int_equal(pci_cfg_read(bus, 0, fn, 8, 1), 1);
	assert_int_equal(pci_cfg_read(bus, 0, fn, 8, 4) >> 8, 0x00ff00);
	assert_int_equal(pci_cfg_read(bus, 0, fn, PCI_INT_PIN, 1), 1);
	assert_int_equal(reg(r, 0x12, 2), 2);
	assert_int_equal(vdrv_offered(&r->d), VERSION_1 | 0x21 | BIT64(28) | BIT64(29) | BIT64(34) |
						      BIT64(35) | BIT64(40));
	set(r, 0, 2, 4); /* feature word that does not exist */
	assert_int_equal(reg(r, 4, 4), 0);
}

static void negotiation(void **state)
{
	struct rig *r = *state;

	assert_false(vdrv_negotiate(&r->d, VERSION_1 | BIT64(1))); /* not offered */
	assert_int_equal(vdrv_status(&r->d), 3);
	assert_false(vdrv_negotiate(&r->d, BIT64(0))); /* no VERSION_1 */
	assert_true(vdrv_negotiate(&r->d, VERSION_1 | BIT64(5)));
	/* Frozen now. */
	set(r, 8, 0, 4);
	set(r, 12, 0x21, 4);
	assert_int_equal(r->s->x.v.features, VERSION_1 | BIT64(5));
	assert_int_equal(r->s->x.started, 0);
	vdrv_driver_ok(&r->d);
	assert_int_equal(r->s->x.started, 1);
	vdrv_driver_ok(&r->d);
	assert_int_equal(r->s->x.started, 1);
	/* Bits do not go away without a reset. */
	set(r, 0x14, 1, 1);
	assert_int_equal(vdrv_status(&r->d), 15);
	set(r, 0x14, 0, 1);
	assert_int_equal(vdrv_status(&r->d), 0);
	assert_int_equal(r->s->x.stopped, 1);
	assert_int_equal(r->s->x.v.features, 0);
}

static void wrong_order(void **state)
{
	struct rig *r = *state;

	vdrv_driver_ok(&r->d); /* before FEATURES_OK */
	assert_int_equal(vdrv_status(&r->d), 3);
	assert_int_equal(r->s->x.started, 0);
	set(r, 0x16, 0, 2);
	set(r, 0x1c, 1, 2); /* a queue before FEATURES_OK */
	assert_int_equal(reg(r, 0x1c, 2), 0);
	assert_true(vdrv_negotiate(&r->d, VERSION_1));
	set(r, 0x1c, 2, 2); /* enable has one value */
	assert_int_equal(reg(r, 0x1c, 2), 0);
	vdrv_kick(&r->d, 0); /* a kick before DRIVER_OK, of a queue that is off */
	assert_int_equal(r->s->x.kicks[0], 0);
	vdrv_driver_ok(&r->d);
	vdrv_kick(&r->d, 0);
	assert_int_equal(r->s->x.kicks[0], 0);
}

static void queue_registers(void **state)
{
	struct rig *r = *state;

	assert_true(vdrv_negotiate(&r->d, VERSION_1));
	set(r, 0x16, 1, 2);
	assert_int_equal(reg(r, 0x18, 2), 256);
	assert_int_equal(reg(r, 0x1e, 2), 1);
	assert_int_equal(reg(r, 0x1a, 2), 0xffff);
	set(r, 0x1a, 2, 2);
	assert_int_equal(reg(r, 0x1a, 2), 2);
	set(r, 0x1a, 3, 2); /* three vectors: 0 to 2 */
	assert_int_equal(reg(r, 0x1a, 2), 0xffff);
	vdrv_queue(&r->d, 1, 64);
	/* Frozen: what CVE-2026-5747 was about. */
	set(r, 0x18, 128, 2);
	set(r, 0x20, 0x12345000, 4);
	set(r, 0x24, 1, 4);
	assert_int_equal(reg(r, 0x18, 2), 64);
	assert_int_equal(reg(r, 0x20, 8), r->d.q[1].desc);
	/* Queues that do not exist read as zero and take nothing. */
	set(r, 0x16, 2, 2);
	assert_int_equal(reg(r, 0x18, 2), 0);
	set(r, 0x1c, 1, 2);
	assert_int_equal(reg(r, 0x1c, 2), 0);
	set(r, 0x16, 0xffff, 2);
	set(r, 0x20, 0x1000, 4);
	assert_int_equal(reg(r, 0x20, 8), 0);
	assert_false(r->s->x.v.broken);
	/* Behind the last register there is none, of whatever size. */
	set(r, 0x16, 0, 2);
	for (unsigned off = 0x3c; off < 0x1000; off += 2) {
		uint64_t errors = r->d.pci->d.guest_errors;

		set(r, off, 1, 2);
		assert_int_equal(r->d.pci->d.guest_errors, errors + 1);
	}
	assert_int_equal(reg(r, 0x18, 2), 256);
}

static void absurd_queue(void **state)
{
	struct rig *r = *state;

	assert_true(vdrv_negotiate(&r->d, VERSION_1));
	set(r, 0x16, 0, 2);
	set(r, 0x18, 100, 2);
	set(r, 0x1c, 1, 2);
	assert_int_equal(reg(r, 0x1c, 2), 0);
	assert_true(vdrv_status(&r->d) & 0x40);
	vdrv_driver_ok(&r->d);
	assert_int_equal(r->s->x.started, 0);
	set(r, 0x14, 0, 1);
	assert_int_equal(vdrv_status(&r->d), 0);
	assert_int_equal(reg(r, 0x18, 2), 256);
}

static void kicks(void **state)
{
	struct rig *r = *state;

	assert_true(vdrv_negotiate(&r->d, VERSION_1));
	vdrv_queue(&r->d, 0, 0);
	vdrv_queue(&r->d, 1, 0);
	vdrv_driver_ok(&r->d);
	vdrv_kick(&r->d, 1);
	vdrv_wr(&r->d, r->d.notify, 0x80050000, 4); /* with notification data */
	assert_int_equal(r->s->x.kicks[0], 1);
	assert_int_equal(r->s->x.kicks[1], 1);
	vdrv_wr(&r->d, r->d.notify + 8, 2, 2); /* no such queue */
	vdrv_wr(&r->d, r->d.notify + 0xffc, 2, 2);
	assert_int_equal(r->s->x.kicks[0] + r->s->x.kicks[1], 2);
}

static void ring_reset(void **state)
{
	struct rig *r = *state;
	uint64_t old;

	assert_true(vdrv_negotiate(&r->d, VERSION_1 | BIT64(VIRTIO_F_RING_RESET)));
	vdrv_enable_msix(&r->d);
	vdrv_queue(&r->d, 0, 64);
	vdrv_driver_ok(&r->d);
	old = r->d.q[0].desc;
	set(r, 0x16, 0, 2);
	set(r, 0x3a, 1, 2);
	assert_int_equal(r->s->x.queue_resets, 1);
	assert_int_equal(reg(r, 0x3a, 2), 0); /* done */
	assert_int_equal(reg(r, 0x1c, 2), 0);
	assert_int_equal(reg(r, 0x1a, 2), 1);
	vdrv_kick(&r->d, 0);
	assert_int_equal(r->s->x.kicks[0], 0);
	vdrv_queue(&r->d, 0, 32);
	assert_int_not_equal(r->d.q[0].desc, old);
	vdrv_kick(&r->d, 0);
	assert_int_equal(r->s->x.kicks[0], 1);
}

static void device_config(void **state)
{
	struct rig *r = *state;
	uint8_t before;

	assert_int_equal(vdrv_rd(&r->d, r->d.cfg, 8), 0x0807060504030201ull);
	assert_int_equal(vdrv_rd(&r->d, r->d.cfg + 3, 1), 4);
	assert_int_equal(vdrv_rd(&r->d, r->d.cfg + 6, 4), 0x0807);
	vdrv_wr(&r->d, r->d.cfg + 4, 0xff, 1);
	vdrv_wr(&r->d, r->d.cfg, 0xff, 1); /* read-only */
	vdrv_wr(&r->d, r->d.cfg + 0x800, 0xff, 1);
	assert_int_equal(vdrv_rd(&r->d, r->d.cfg, 8), 0x0807060f04030201ull);
	assert_int_equal(r->s->x.cfg_writes, 2);
	before = (uint8_t)reg(r, 0x15, 1);
	virtio_cfg_changed(&r->s->x.v);
	assert_int_not_equal(reg(r, 0x15, 1), before);
}

static void msix_interrupts(void **state)
{
	struct rig *r = *state;

	vdrv_start(&r->d, r->t, &r->s->t.pci.d, 0, 2);
	r->s->x.v.notify(&r->s->x.v, 1);
	assert_int_equal(r->t->msi[2], 1);
	virtio_cfg_changed(&r->s->x.v);
	assert_int_equal(r->t->msi[0], 1);
	assert_int_equal(r->t->intx, 0);
	set(r, 0x16, 1, 2);
	set(r, 0x1a, 0xffff, 2);
	r->s->x.v.notify(&r->s->x.v, 1);
	assert_int_equal(r->t->msi[2], 1);
	virtio_break(&r->s->x.v, "test");
	assert_int_equal(r->t->msi[0], 2);
}

static void intx_interrupts(void **state)
{
	struct rig *r = *state;
	struct virtio *v = &r->s->x.v;

	assert_true(vdrv_negotiate(&r->d, VERSION_1));
	vdrv_driver_ok(&r->d);
	v->notify(v, 0);
	v->notify(v, 0);
	assert_int_equal(r->t->intx, 1);
	assert_int_equal(pci_cfg_read(r->t->vm.pci, 0, r->d.pci->devfn, PCI_STATUS, 2) & 8, 8);
	assert_int_equal(vdrv_rd(&r->d, r->d.isr, 1), 1);
	assert_int_equal(r->t->intx, 0);
	assert_int_equal(vdrv_rd(&r->d, r->d.isr, 1), 0);
	virtio_cfg_changed(v);
	assert_int_equal(vdrv_rd(&r->d, r->d.isr, 1) & 2, 2);
	v->notify(v, 0);
	assert_int_equal(r->t->intx, 1);
	set(r, 0x14, 0, 1);
	assert_int_equal(r->t->intx, 0);
}

/* The window in configuration space does what the BAR does. */
static void config_window(void **state)
{
	struct rig *r = *state;
	struct pci_bus *bus = r->t->vm.pci;
	uint8_t fn = r->d.pci->devfn, cap = r->s->t.cap_pci_cfg;

	assert_int_equal(pci_cfg_read(bus, 0, fn, cap + 3, 1), 5);
	pci_cfg_write(bus, 0, fn, PCI_COMMAND, 0, 2); /* works without decoding */
	pci_cfg_write(bus, 0, fn, cap + 4, 4, 1);
	pci_cfg_write(bus, 0, fn, cap + 8, 0x12, 4);
	pci_cfg_write(bus, 0, fn, cap + 12, 2, 4);
	assert_int_equal(pci_cfg_read(bus, 0, fn, cap + 16, 2), 2);
	pci_cfg_write(bus, 0, fn, cap + 8, 0x14, 4);
	pci_cfg_write(bus, 0, fn, cap + 12, 1, 4);
	assert_int_equal(pci_cfg_read(bus, 0, fn, cap + 16, 1), 3);
	pci_cfg_write(bus, 0, fn, cap + 16, 0, 1); /* status = 0: reset */
	assert_int_equal(pci_cfg_read(bus, 0, fn, cap + 16, 1), 0);
	/* Nonsense: no effect, no fault. */
	for (uint32_t bar = 0; bar < 256; bar += 3) {
		pci_cfg_write(bus, 0, fn, cap + 4, bar, 1);
		for (uint32_t len = 0; len < 9; len++) {
			pci_cfg_write(bus, 0, fn, cap + 12, len, 4);
			pci_cfg_write(bus, 0, fn, cap + 8, 0xfffffffe + bar, 4);
			pci_cfg_write(bus, 0, fn, cap + 16, 0xffffffff, 4);
			(void)pci_cfg_read(bus, 0, fn, cap + 16, 4);
		}
	}
}

static void machine_reset(void **state)
{
	struct rig *r = *state;

	vdrv_start(&r->d, r->t, &r->s->t.pci.d, 0, 2);
	r->t->vm.devs->type->reset(r->t->vm.devs);
	assert_int_equal(r->s->x.stopped, 1);
	assert_int_equal(pci_cfg_read(r->t->vm.pci, 0, r->d.pci->devfn, PCI_COMMAND, 2), 0);
	assert_false(pci_msix_on(r->d.pci));
	assert_int_equal(pci_bar_addr(r->d.pci, 4), UINT64_MAX);
}

static void pause_and_resume(void **state)
{
	struct rig *r = *state;

	vdrv_start(&r->d, r->t, &r->s->t.pci.d, 0, 2);
	virtio_pci_dev_pause(&r->s->t.pci.d);
	assert_int_equal(r->s->x.stopped, 1);
	virtio_pci_dev_resume(&r->s->t.pci.d);
	assert_int_equal(r->s->x.started, 2);
	assert_int_equal(r->s->x.kicks[0], 1); /* looked at the rings again */
	assert_int_equal(vdrv_status(&r->d), 15);
}

/* Without bus mastering a device leaves memory alone, whatever the driver had set up. */
static void bus_mastering(void **state)
{
	struct rig *r = *state;
	struct pci_bus *bus = r->t->vm.pci;
	uint8_t fn = r->s->t.pci.devfn;
	uint32_t on = pci_cfg_read(bus, 0, fn, PCI_COMMAND, 2), off = on & ~PCI_COMMAND_MASTER;

	assert_true(on & PCI_COMMAND_MASTER);
	r->t->vm.going = true;
	vdrv_start(&r->d, r->t, &r->s->t.pci.d, 0, 2);
	pci_cfg_write(bus, 0, fn, PCI_COMMAND, off, 2);
	assert_int_equal(r->s->x.stopped, 1);
	assert_int_equal(vdrv_status(&r->d), 15);
	vdrv_kick(&r->d, 0);
	virtio_pci_dev_pause(&r->s->t.pci.d);
	virtio_pci_dev_resume(&r->s->t.pci.d);
	assert_int_equal(r->s->x.started, 1);
	assert_int_equal(r->s->x.kicks[0], 0);
	pci_cfg_write(bus, 0, fn, PCI_COMMAND, on, 2);
	assert_int_equal(r->s->x.started, 2);
	assert_int_equal(r->s->x.kicks[0], 1); /* what it missed meanwhile */
	/* DRIVER_OK waits for it too. */
	pci_cfg_write(bus, 0, fn, PCI_COMMAND, off, 2);
	vdrv_start(&r->d, r->t, &r->s->t.pci.d, 0, 2);
	assert_int_equal(vdrv_status(&r->d), 15);
	assert_int_equal(r->s->x.started, 2);
	pci_cfg_write(bus, 0, fn, PCI_COMMAND, on, 2);
	assert_int_equal(r->s->x.started, 3);
}

/* A port above it that is loaded behind it lets it master the bus again: it starts with the
 * machine. */
static void mastering_in_a_pause(void **state)
{
	struct rig *r = *state;
	struct pci_bus *bus = r->t->vm.pci;
	uint8_t fn = r->s->t.pci.devfn;
	uint32_t on = pci_cfg_read(bus, 0, fn, PCI_COMMAND, 2);

	r->t->vm.going = true;
	vdrv_start(&r->d, r->t, &r->s->t.pci.d, 0, 2);
	r->t->vm.going = false;
	virtio_pci_dev_pause(&r->s->t.pci.d);
	pci_cfg_write(bus, 0, fn, PCI_COMMAND, on & ~PCI_COMMAND_MASTER, 2);
	pci_cfg_write(bus, 0, fn, PCI_COMMAND, on, 2);
	assert_int_equal(r->s->x.started, 1);
	assert_int_equal(r->s->x.kicks[0], 0);
	virtio_pci_dev_resume(&r->s->t.pci.d);
	assert_int_equal(r->s->x.started, 2);
	assert_int_equal(r->s->x.kicks[0], 1);
}

static void migration(void **state)
{
	struct rig *r = *state;
	struct vdrv_vm *t2 = vdrv_vm_new();
	struct toy_pci *s2 =
		container_of(vdrv_make(t2, "toy,packed=on,in_order=on"), struct toy_pci, t.pci.d);

	vdrv_start(&r->d, r->t, &r->s->t.pci.d, BIT64(5), 2);
	vdrv_migrate(r->t, &r->s->t.pci.d, t2, &s2->t.pci.d);
	r->d.t = t2;
	assert_int_equal(vdrv_status(&r->d), 15);
	assert_int_equal(s2->x.started, 1);
	assert_int_equal(s2->x.v.features, r->s->x.v.features);
	set(r, 0x16, 1, 2);
	assert_int_equal(reg(r, 0x20, 8), r->d.q[1].desc);
	assert_int_equal(reg(r, 0x1c, 2), 1);
	s2->x.v.notify(&s2->x.v, 1);
	assert_int_equal(t2->msi[2], 1); /* the MSI-X table came along */
	vdrv_vm_free(t2);
}

/* A device made with fewer vectors or features refuses the stream. */
static void foreign_state(void **state)
{
	struct rig *r = *state;
	struct vdrv_vm *t2 = vdrv_vm_new();
	static const char *const others[] = { "toy,vectors=2,packed=on,in_order=on", "toy" };
	struct state_buf buf = { 0 };

	vdrv_start(&r->d, r->t, &r->s->t.pci.d, BIT64(VIRTIO_F_RING_PACKED), 2);
	state_save(&buf, "d", &toy_pci_state, r->s);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct dev *d2 = vdrv_make(t2, others[i]);
		const uint8_t *pos = buf.data;
		struct err e = { 0 };

		assert_true(state_load(&pos, buf.data + buf.len, "d", &toy_pci_state, d2, &e) < 0);
		assert_true(e.msg[0]);
		d2->type->reset(d2);
	}
	state_buf_fini(&buf);
	vdrv_vm_free(t2);
}

static void properties(void **state)
{
	struct rig *r = *state;
	struct err e = { 0 };
	struct dev *d =
		vdrv_make(r->t, "toy,addr=1d.3,event_idx=off,indirect_desc=off,queue_reset=off");
	struct vdrv drv;

	vdrv_open(&drv, r->t, d);
	assert_int_equal(drv.pci->devfn, 0x1d << 3 | 3);
	assert_int_equal(vdrv_offered(&drv), VERSION_1 | 0x21);
	assert_null(vdrv_try_make(r->t, "toy,disable-modern=on", &e));
	assert_non_null(strstr(e.msg, "legacy"));
	assert_null(vdrv_try_make(r->t, "toy,disable-legacy=off", &e));
	assert_non_null(vdrv_try_make(r->t, "toy,disable-legacy=on", &e));
	assert_null(vdrv_try_make(r->t, "toy,vektors=3", &e));
	assert_non_null(strstr(e.msg, "vectors"));
}

/* vectors=0: no MSI-X capability, and interrupts come by the pin. */
static void no_vectors(void **state)
{
	struct rig *r = *state;
	struct dev *d = vdrv_make(r->t, "toy,vectors=0");
	struct toy_pci *toy = container_of(d, struct toy_pci, t.pci.d);

	assert_int_equal(toy->t.pci.nr_msix, 0);
	assert_int_equal(toy->t.pci.cap_msix, 0);
	vdrv_open(&r->d, r->t, d);
	assert_true(vdrv_negotiate(&r->d, VERSION_1));
	set(r, 0x16, 1, 2);
	assert_int_equal(reg(r, 0x1a, 2), 0xffff);
	set(r, 0x1a, 0, 2);
	assert_int_equal(reg(r, 0x1a, 2), 0xffff);
	toy->x.v.notify(&toy->x.v, 1);
	assert_int_equal(toy->t.isr, 1);
}

/* Any access to any register, in any state: nothing but the device's own state suffers. */
static void random_accesses(void **state)
{
	struct rig *r = *state;
	struct rng rng = { 42 };

	for (unsigned i = 0; i < 200000; i++) {
		unsigned size = 1u << rng_below(&rng, 4);
		uint64_t off = rng_one_in(&rng, 3) ? rng_below(&rng, 0x4000)
						   : rng_below(&rng, 0x40);
		uint64_t val = rng_one_in(&rng, 2) ? rng_u64(&rng) : rng_below(&rng, 16);

		if (rng_one_in(&rng, 3))
			(void)vdrv_rd(&r->d, r->d.common + MIN(off, 0x3ff8ull), size);
		else
			vdrv_wr(&r->d, r->d.common + MIN(off, 0x3ff8ull), val, size);
		if (rng_one_in(&rng, 50))
			set(r, 0x14, 0, 1);
		assert_true(r->s->x.v.vqs[0].size <= 256 || !r->s->x.v.vqs[0].enabled);
	}
	set(r, 0x14, 0, 1);
	vdrv_start(&r->d, r->t, &r->s->t.pci.d, 0, 2); /* still good */
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(identity),	     T(negotiation),   T(wrong_order),
		T(queue_registers),  T(absurd_queue),  T(kicks),
		T(ring_reset),	     T(device_config), T(msix_interrupts),
		T(intx_interrupts),  T(config_window), T(machine_reset),
		T(pause_and_resume), T(bus_mastering), T(mastering_in_a_pause),
		T(migration),	     T(foreign_state), T(properties),
		T(random_accesses),  T(no_vectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
