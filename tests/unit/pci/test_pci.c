/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI functions: header and masks, BAR sizing and mapping, capabilities, MSI-X, INTx, addresses,
 * assignment, hostile accesses, state.
 */
#include "cmocka_all.h"

#include "base/bytes.h"
#include "core/accel.h"
#include "core/state.h"
#include "rng.h"
#include "virtio_driver.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

struct gadget {
	struct pci_dev p; /* first */
	uint64_t reads, last_off, last_val;
	uint32_t vectors; /* properties */
	uint64_t size;
	unsigned cfg_writes;
};

static uint64_t gadget_read(void *opaque, uint64_t off, unsigned size)
{
	struct gadget *g = opaque;

	g->reads++;
	g->last_off = off;
	return 0x1122334455667788;
}

static void gadget_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct gadget *g = opaque;

	g->last_off = off;
	g->last_val = val;
	if (off == 0x10) /* moves itself inside its own access */
		pci_cfg_write(g->p.bus, 0, g->p.devfn, PCI_BAR0, (uint32_t)val, 4);
}

static const struct io_ops gadget_ops = { .read = gadget_read, .write = gadget_write };

static void gadget_cfg(struct pci_dev *p, uint32_t off, unsigned size, uint32_t val)
{
	container_of(p, struct gadget, p)->cfg_writes++;
}

static int add_bar(struct gadget *g, unsigned n, enum pci_bar_kind kind, uint64_t size,
		   struct err *e)
{
	g->p.bar[n].region.ops = &gadget_ops;
	g->p.bar[n].region.opaque = g;
	g->p.bar[n].region.lock = &g->p.d.lock;
	return pci_add_bar(&g->p, n, kind, size, kind == PCI_BAR_MEM64, e);
}

/* BAR 0: 32 bit, BAR 1: ports, BAR 2+3: 64 bit, BAR 5: MSI-X. */
static int gadget_init(struct dev *d, struct err *e)
{
	static const struct pci_id id = { .vendor = 0x1234,
					  .device = 0x5678,
					  .subvendor = 0x9abc,
					  .subdevice = 0xdef0,
					  .class_rev = 0x02000007 };
	struct gadget *g = container_of(d, struct gadget, p.d);
	int ret = pci_dev_attach(pci_bus_of(d->vm), &g->p, &id, e);

	if (ret == 0)
		ret = add_bar(g, 0, PCI_BAR_MEM32, g->size, e);
	if (ret == 0)
		ret = add_bar(g, 1, PCI_BAR_IO, 32, e);
	if (ret == 0)
		ret = add_bar(g, 2, PCI_BAR_MEM64, MIB(1), e);
	if (ret == 0)
		ret = pci_add_msix_bar(&g->p, g->vectors, 5, e);
	if (ret == 0 && pci_add_pcie_endpoint_cap(&g->p) < 0)
		ret = err_set(e, ENOSPC, "no room");
	pci_set_intx_pin(&g->p, 1);
	g->p.cfg_written = gadget_cfg;
	return ret;
}

static void gadget_fini(struct dev *d)
{
	pci_dev_detach(container_of(d, struct pci_dev, d));
}

static void gadget_reset(struct dev *d)
{
	pci_dev_reset(container_of(d, struct pci_dev, d));
}

static const struct prop gadget_props[] = {
	PROP_UINT("vectors", struct gadget, vectors, PROP_U32, 4, 0, 0, "n"),
	PROP_UINT("size", struct gadget, size, PROP_U64, 8192, 0, 0, "n"), PROPS_END
};

static const struct dev_type gadget_type = {
	.name = "gadget",
	.bus = DEV_BUS_PCI,
	.size = sizeof(struct gadget),
	.props = gadget_props,
	.state = &pci_dev_state,
	.init = gadget_init,
	.fini = gadget_fini,
	.reset = gadget_reset,
};

const struct dev_type *const dev_types[] = { &gadget_type, NULL };

struct rig {
	struct vdrv_vm *t;
	struct pci_bus *bus;
	struct gadget *g;
	uint8_t fn;
};

/* As after power-on: nothing assigned. */
static int setup(void **state)
{
	struct rig *r = xnew(struct rig);
	struct dev *d;

	r->t = vdrv_vm_new();
	r->bus = r->t->vm.pci;
	d = vdrv_make(r->t, "gadget");
	gadget_reset(d);
	r->g = container_of(d, struct gadget, p.d);
	r->fn = r->g->p.devfn;
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

static uint32_t rd(struct rig *r, uint32_t off, unsigned size)
{
	return pci_cfg_read(r->bus, 0, r->fn, off, size);
}

static void wr(struct rig *r, uint32_t off, uint32_t val, unsigned size)
{
	pci_cfg_write(r->bus, 0, r->fn, off, val, size);
}

static bool mapped(struct rig *r, uint64_t addr, enum map_space space)
{
	uint32_t v;
	uint64_t before = r->g->reads;

	return map_access(r->t->vm.map, space, addr, &v, 4, false) && r->g->reads > before;
}

static void header(void **state)
{
	struct rig *r = *state;

	assert_int_equal(r->fn, 1 << 3);
	assert_int_equal(rd(r, 0, 4), 0x56781234);
	assert_int_equal(rd(r, 8, 4), 0x02000007);
	assert_int_equal(rd(r, 0x2c, 4), 0xdef09abc);
	assert_int_equal(rd(r, 2, 1), 0x78);
	wr(r, 0, 0xffffffff, 4); /* identity is not the guest's */
	wr(r, 8, 0xffffffff, 4);
	assert_int_equal(rd(r, 0, 4), 0x56781234);
	assert_int_equal(rd(r, 8, 4), 0x02000007);
	wr(r, PCI_COMMAND, 0xffff, 2);
	assert_int_equal(rd(r, PCI_COMMAND, 2), 0x547);
	wr(r, PCI_INT_LINE, 0xab, 1);
	assert_int_equal(rd(r, PCI_INT_LINE, 2), 0x02ab); /* pin B, read-only */
	assert_int_equal(rd(r, 0x100, 4), 0);		  /* no extended capability */
	assert_int_equal(rd(r, 0xffc, 4), 0);
}

static void absent_and_odd_accesses(void **state)
{
	struct rig *r = *state;

	assert_int_equal(pci_cfg_read(r->bus, 0, 0x20, 0, 4), UINT32_MAX);
	assert_int_equal(pci_cfg_read(r->bus, 0, 0x20, 0, 2), 0xffff);
	assert_int_equal(pci_cfg_read(r->bus, 0, 0x20, 0, 1), 0xff);
	assert_int_equal(pci_cfg_read(r->bus, 1, r->fn, 0, 4), UINT32_MAX); /* other bus */
	pci_cfg_write(r->bus, 1, r->fn, PCI_COMMAND, 7, 2);
	assert_int_equal(rd(r, PCI_COMMAND, 2), 0);
	assert_int_equal(rd(r, 3, 2), 0xffff); /* over a dword's end */
	assert_int_equal(rd(r, 4096, 4), UINT32_MAX);
	assert_int_equal(rd(r, UINT32_MAX, 4), UINT32_MAX);
	assert_int_equal(rd(r, 0, 3), 0xffffff);
	assert_int_equal(rd(r, 0, 0), 0xff);
	assert_int_equal(rd(r, 0, 8), UINT32_MAX);
	wr(r, 0xfff, 0, 2);
	wr(r, UINT32_MAX - 1, 0, 4);
}

static void sizing(void **state)
{
	struct rig *r = *state;

	wr(r, 0x10, 0xffffffff, 4);
	assert_int_equal(rd(r, 0x10, 4), 0xffffe000);
	wr(r, 0x14, 0xffffffff, 4);
	assert_int_equal(rd(r, 0x14, 4), 0xffffffe1);
	wr(r, 0x18, 0xffffffff, 4);
	wr(r, 0x1c, 0xffffffff, 4);
	assert_int_equal(rd(r, 0x18, 4), 0xfff0000c); /* 64 bit, prefetchable */
	assert_int_equal(rd(r, 0x1c, 4), 0xffffffff);
	wr(r, 0x20, 0xffffffff, 4);
	assert_int_equal(rd(r, 0x20, 4), 0); /* BAR 4 is not there */
	/* Sizing while decoding is on maps nothing at the top of the space. */
	wr(r, PCI_COMMAND, 3, 2);
	assert_int_equal(pci_bar_addr(&r->g->p, 0), UINT64_MAX);
	assert_int_equal(pci_bar_addr(&r->g->p, 1), UINT64_MAX);
	assert_int_equal(pci_bar_addr(&r->g->p, 2), UINT64_MAX);
	assert_false(mapped(r, 0xffffe000, MAP_MEM));
}

static void mapping(void **state)
{
	struct rig *r = *state;

	wr(r, 0x10, 0xd0000000, 4);
	wr(r, 0x14, 0xc000, 4);
	wr(r, 0x18, 0x00100000, 4);
	wr(r, 0x1c, 0x00000012, 4);
	assert_false(mapped(r, 0xd0000000, MAP_MEM));
	wr(r, PCI_COMMAND, PCI_COMMAND_MEM, 2);
	assert_true(mapped(r, 0xd0000000, MAP_MEM));
	assert_true(mapped(r, 0xd0001ffc, MAP_MEM));
	assert_false(mapped(r, 0xd0002000, MAP_MEM));
	assert_true(mapped(r, 0x1200100000, MAP_MEM));
	assert_false(mapped(r, 0xc000, MAP_PIO));
	wr(r, PCI_COMMAND, PCI_COMMAND_IO, 2);
	assert_true(mapped(r, 0xc000, MAP_PIO));
	assert_false(mapped(r, 0xd0000000, MAP_MEM));
	/* Moved byte by byte, as the guest likes. */
	wr(r, PCI_COMMAND, PCI_COMMAND_MEM, 2);
	wr(r, 0x13, 0xd1, 1);
	assert_true(mapped(r, 0xd1000000, MAP_MEM));
	assert_false(mapped(r, 0xd0000000, MAP_MEM));
	/* Over RAM: RAM wins, DMA goes on. */
	wr(r, 0x10, 0x00100000, 4);
	assert_false(mapped(r, 0x00100000, MAP_MEM));
	/* To zero: off. */
	wr(r, 0x10, 0, 4);
	assert_int_equal(pci_bar_addr(&r->g->p, 0), UINT64_MAX);
	/* 64-bit addresses behind the physical space, and around its end. */
	wr(r, 0x1c, 0xffffffff, 4);
	assert_int_equal(pci_bar_addr(&r->g->p, 2), UINT64_MAX);
	wr(r, 0x1c, 0x000fffff, 4);
	wr(r, 0x18, 0xfff00000, 4);
	assert_int_equal(pci_bar_addr(&r->g->p, 2), 0x000ffffffff00000);
	gadget_reset(&r->g->p.d);
	assert_int_equal(rd(r, PCI_COMMAND, 2), 0);
	assert_int_equal(rd(r, 0x1c, 4), 0);
	assert_int_equal(rd(r, 0x18, 4), 0xc);
}

static void moves_inside_an_access(void **state)
{
	struct rig *r = *state;
	uint64_t v = 0xd4000000;

	wr(r, 0x10, 0xd0000000, 4);
	wr(r, PCI_COMMAND, PCI_COMMAND_MEM, 2);
	assert_true(map_access(r->t->vm.map, MAP_MEM, 0xd0000010, &v, 4, true));
	assert_true(mapped(r, 0xd4000000, MAP_MEM));
	assert_false(mapped(r, 0xd0000000, MAP_MEM));
}

static void capabilities(void **state)
{
	struct rig *r = *state;
	uint32_t at = rd(r, PCI_CAP_PTR, 1), n = 0;
	uint8_t big[200] = { 0 };

	assert_true(rd(r, PCI_STATUS, 2) & PCI_STATUS_CAPS);
	assert_int_equal(rd(r, at, 1), PCI_CAP_ID_MSIX);
	at = rd(r, at + 1, 1);
	assert_int_equal(rd(r, at, 1), PCI_CAP_ID_EXP);
	assert_int_equal(rd(r, at + 2, 2), 0x92); /* version 2, integrated endpoint */
	wr(r, at + 8, 0xffff, 2);
	assert_int_equal(rd(r, at + 8, 2), 0x781f);
	assert_int_equal(rd(r, at + 1, 1), 0);
	assert_int_equal(at & 3, 0);
	assert_int_equal(pci_add_cap(&r->g->p, 9, big, 200), -ENOSPC);
	assert_int_equal(pci_add_cap(&r->g->p, 9, NULL, 1), -ENOSPC);
	while (pci_add_cap(&r->g->p, 9, NULL, 6) > 0)
		n++;
	assert_in_range(n, 10, 20);
	for (n = 0, at = rd(r, PCI_CAP_PTR, 1); at; at = rd(r, at + 1, 1))
		assert_true(n++ < 48 && at >= 0x40);
}

/* ---- interrupts ---- */

#define MSIX_BASE 0xd8000000u

static void msix_on(struct rig *r)
{
	wr(r, 0x24, MSIX_BASE, 4);
	wr(r, PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_MASTER, 2);
	wr(r, r->g->p.cap_msix + 2u, 0x8000, 2);
}

static void entry(struct rig *r, unsigned i, uint32_t ctrl)
{
	uint64_t addr = 0xfee00000, data = i | (uint64_t)ctrl << 32;

	assert_true(map_access(r->t->vm.map, MAP_MEM, MSIX_BASE + 16 * i, &addr, 8, true));
	assert_true(map_access(r->t->vm.map, MAP_MEM, MSIX_BASE + 16 * i + 8, &data, 8, true));
}

static uint64_t pba(struct rig *r)
{
	uint64_t v = 0;

	assert_true(
		map_access(r->t->vm.map, MAP_MEM, MSIX_BASE + r->g->p.msix_pba_off, &v, 8, false));
	return v;
}

static void msix(void **state)
{
	struct rig *r = *state;
	struct pci_dev *p = &r->g->p;
	uint32_t ctrl = p->cap_msix + 2u;

	assert_int_equal(rd(r, ctrl, 2), 3); /* four vectors */
	pci_msix_fire(p, 0);		     /* off: nothing, not even pending */
	msix_on(r);
	assert_int_equal(pba(r), 0);
	assert_int_equal(rd(r, ctrl, 2), 0x8003);
	pci_msix_fire(p, 1); /* masked after reset */
	assert_int_equal(pba(r), 2);
	entry(r, 0, 0);
	entry(r, 1, 1);
	assert_int_equal(r->t->msi[1], 0);
	entry(r, 1, 0); /* unmasking delivers */
	assert_int_equal(r->t->msi[1], 1);
	assert_int_equal(pba(r), 0);
	wr(r, ctrl, 0xc000, 2); /* function mask */
	pci_msix_fire(p, 0);
	pci_msix_fire(p, 0);
	assert_int_equal(pba(r), 1);
	wr(r, ctrl, 0x8000, 2);
	assert_int_equal(r->t->msi[0], 1);	/* one, however often it fired */
	wr(r, PCI_COMMAND, PCI_COMMAND_MEM, 2); /* no bus master: it waits */
	pci_msix_fire(p, 0);
	assert_int_equal(r->t->msi[0], 1);
	wr(r, PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_MASTER, 2);
	assert_int_equal(r->t->msi[0], 2);
	pci_msix_fire(p, 4); /* no such vector */
	pci_msix_fire(p, UINT32_MAX);
	assert_true(pci_msix_covers(p, 5, 0) && pci_msix_covers(p, 5, p->msix_pba_off));
	assert_false(pci_msix_covers(p, 5, 64) || pci_msix_covers(p, 0, 0));
}

/* ---- an engine whose eventfds are interrupts ---- */

static struct chips {
	int fd[4]; /* of each number; 0: free */
	struct msi msi[4];
	unsigned adds, sets;
	bool full, stubborn; /* refuses new ones, or changes */
	char user[64];
} chips;

static int chips_add(struct vm *vm, int fd, const char *user, const struct msi *msi, struct err *e)
{
	int id = 0;

	chips.adds++;
	if (chips.full)
		return err_set(e, ENOSPC, "no room");
	while (chips.fd[id])
		id++;
	chips.fd[id] = fd;
	chips.msi[id] = *msi;
	snprintf(chips.user, sizeof(chips.user), "%s", user);
	return id;
}

static int chips_set(struct vm *vm, int id, const struct msi *msi, struct err *e)
{
	assert_true(chips.fd[id]);
	chips.sets++;
	if (chips.stubborn)
		return err_set(e, EINVAL, "no");
	chips.msi[id] = *msi;
	return 0;
}

static void chips_del(struct vm *vm, int id)
{
	assert_true(chips.fd[id]);
	chips.fd[id] = 0;
}

/* How often the eventfd of the message data was signalled since the last look; -1: it has none. */
static int signalled(uint32_t data)
{
	for (unsigned id = 0; id < 4; id++) {
		uint64_t n;

		if (chips.fd[id] && chips.msi[id].data == data)
			return read(chips.fd[id], &n, 8) == 8 ? (int)n : 0;
	}
	return -1;
}

static struct pci_dev *with_eventfds(struct rig *r)
{
	static const struct accel_irqchip irqchip = { .irqfd_add = chips_add,
						      .irqfd_set = chips_set,
						      .irqfd_del = chips_del };

	chips = (struct chips){ .adds = 0 };
	r->t->vm.irqchip = &irqchip;
	msix_on(r);
	entry(r, 0, 0);
	entry(r, 1, 0);
	return &r->g->p;
}

static void msix_eventfds(void **state)
{
	struct rig *r = *state;
	struct pci_dev *p = with_eventfds(r);

	assert_int_equal(chips.adds, 0); /* for what sends nothing there is none */
	pci_msix_fire(p, 1);
	pci_msix_fire(p, 1);
	pci_msix_fire(p, 0);
	assert_int_equal(chips.adds, 2);
	assert_int_equal(signalled(1), 2);
	assert_int_equal(signalled(0), 1);
	assert_non_null(strstr(chips.user, p->d.path));
	assert_non_null(strstr(chips.user, "vector 0"));
	assert_int_equal(r->t->msi[0] + r->t->msi[1], 0);
	/* Masked, it is pending and no eventfd knows. */
	entry(r, 1, 1);
	pci_msix_fire(p, 1);
	assert_int_equal(signalled(1), 0);
	assert_int_equal(pba(r), 2);
	entry(r, 1, 0);
	assert_int_equal(signalled(1), 1);
	assert_int_equal(pba(r), 0);
	/* A new message is told when it is sent, once for all that was written. */
	pci_msix_write(p, 16, 0xfee01000, 8);
	pci_msix_write(p, 24, 9, 4);
	assert_int_equal(chips.sets, 0);
	pci_msix_fire(p, 1);
	pci_msix_fire(p, 1);
	assert_int_equal(chips.sets, 1);
	assert_int_equal(signalled(9), 2);
	assert_int_equal(chips.msi[0].addr, 0xfee01000);
	assert_int_equal(chips.adds, 2);
}

static void msix_eventfds_refused(void **state)
{
	struct rig *r = *state;
	struct pci_dev *p = with_eventfds(r);

	/* The board sends what the engine does not take, and it is not asked again. */
	chips.full = true;
	pci_msix_fire(p, 0);
	pci_msix_fire(p, 0);
	assert_int_equal(chips.adds, 1);
	assert_int_equal(r->t->msi[0], 2);
	chips.full = false;
	chips.stubborn = true;
	pci_msix_fire(p, 1);
	assert_int_equal(signalled(1), 1);
	pci_msix_write(p, 24, 2, 4);
	pci_msix_fire(p, 1);
	pci_msix_fire(p, 1);
	assert_int_equal(chips.sets, 1);
	assert_int_equal(r->t->msi[2], 2);
	assert_int_equal(signalled(1), -1); /* closed */
}

/* While the machine stands still what is sent has arrived; a reset leaves the eventfds be. */
static void msix_eventfds_pause(void **state)
{
	struct rig *r = *state;
	struct pci_dev *p = with_eventfds(r);
	int fd;

	pci_msix_fire(p, 0);
	fd = chips.fd[0];
	pci_msix_pause(p);
	assert_int_equal(signalled(0), -1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	pci_msix_fire(p, 0);
	assert_int_equal(r->t->msi[0], 1);
	pci_msix_resume(p);
	pci_msix_fire(p, 0);
	assert_int_equal(signalled(0), 1);
	gadget_reset(&p->d);
	assert_int_equal(signalled(0), 0);
	msix_on(r);
	entry(r, 0, 0);
	pci_msix_fire(p, 0);
	assert_int_equal(signalled(0), 1);
	assert_int_equal(chips.adds, 2);
	fd = chips.fd[0];
	dev_destroy(&p->d);
	assert_int_equal(signalled(0), -1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void msix_registers(void **state)
{
	struct rig *r = *state;
	struct pci_dev *p = &r->g->p;

	msix_on(r);
	pci_msix_write(p, 0, 0xffffffffffffffff, 8);
	assert_int_equal(pci_msix_read(p, 0, 4), 0xfffffffc);
	assert_int_equal(pci_msix_read(p, 4, 4), 0xffffffff);
	assert_int_equal(pci_msix_read(p, 2, 2), 0xffff);
	pci_msix_write(p, 8, 0x55, 1); /* undefined: ignored */
	pci_msix_write(p, 10, 0x55, 4);
	assert_int_equal(pci_msix_read(p, 8, 4), 0);
	pci_msix_write(p, 12, 0xffffffff, 4);
	assert_int_equal(pci_msix_read(p, 12, 4), 1);
	pci_msix_write(p, p->msix_pba_off, 0xff, 4); /* read-only */
	assert_int_equal(pba(r), 0);
	for (uint64_t off = 0; off < 0x3000; off += 4) { /* everywhere, also behind the table */
		(void)pci_msix_read(p, off, 8);
		if (off >= 64)
			pci_msix_write(p, off, 0, 8);
	}
	pci_dev_reset(p);
	assert_int_equal(pci_msix_read(p, 0, 8), 0);
	assert_int_equal(pci_msix_read(p, 12, 4), 1);
	assert_false(pci_msix_on(p));
}

static void intx(void **state)
{
	struct rig *r = *state;
	struct pci_dev *p = &r->g->p;

	pci_intx(p, 1);
	pci_intx(p, 1);
	assert_int_equal(r->t->intx, 1);
	assert_int_equal(rd(r, PCI_STATUS, 2) & 8, 8);
	wr(r, PCI_COMMAND, PCI_COMMAND_INTX_OFF, 2);
	assert_int_equal(r->t->intx, 0);
	assert_int_equal(rd(r, PCI_STATUS, 2) & 8, 8); /* status tells the truth still */
	wr(r, PCI_COMMAND, 0, 2);
	assert_int_equal(r->t->intx, 1);
	wr(r, p->cap_msix + 2u, 0x8000, 2); /* a function with MSI-X on has no INTx */
	assert_int_equal(r->t->intx, 0);
	wr(r, p->cap_msix + 2u, 0, 2);
	assert_int_equal(r->t->intx, 1);
	pci_dev_reset(p);
	assert_int_equal(r->t->intx, 0);
	assert_int_equal(rd(r, PCI_STATUS, 2) & 8, 0);
}

/* ---- addresses and assignment ---- */

static void addresses(void **state)
{
	struct rig *r = *state;
	struct err e = { 0 };
	static const char *const bad[] = { "addr=20",	  "addr=1.8", "addr=",	    "addr=1.",
					   "addr=-1",	  "addr=+1",  "addr=1.2.3", "addr=x",
					   "bus=pci.9",	  "addr=1",   "size=100",   "vectors=0",
					   "vectors=2049" };
	struct dev *d;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		autofree char *line = xasprintf("gadget,%s", bad[i]);

		if (vdrv_try_make(r->t, line, &e))
			fail_msg("%s was accepted", bad[i]);
		assert_true(e.msg[0]);
	}
	d = vdrv_make(r->t, "gadget,addr=0x1f.0x7,bus=pcie.0,romfile=");
	assert_int_equal(container_of(d, struct pci_dev, d)->devfn, 0xff);
	vdrv_make(r->t, "gadget,addr=3,multifunction=on");
	vdrv_make(r->t, "gadget,addr=3.1");
	assert_int_equal(pci_cfg_read(r->bus, 0, 0x18, PCI_HEADER_TYPE, 1), 0x80);
	assert_int_equal(pci_cfg_read(r->bus, 0, r->fn, PCI_HEADER_TYPE, 1), 0);
	d = vdrv_make(r->t, "gadget"); /* the first free slot: 2 */
	assert_int_equal(container_of(d, struct pci_dev, d)->devfn, 0x10);
	assert_ptr_equal(pci_bus_dev_find(r->bus, 0x10), container_of(d, struct pci_dev, d));
	for (unsigned i = 0; i < 27; i++)
		vdrv_make(r->t, "gadget");
	assert_null(vdrv_try_make(r->t, "gadget", &e));
	assert_non_null(strstr(e.msg, "no free slot"));
	dev_destroy(d);
	assert_null(pci_bus_dev_find(r->bus, 0x10));
	assert_int_equal(pci_cfg_read(r->bus, 0, 0x10, 0, 4), UINT32_MAX);
}

static void assignment(void **state)
{
	struct rig *r = *state;
	struct pci_window w = { .io_base = 0xc000,
				.io_size = 0x1000,
				.mem32_base = 0xe0000800,
				.mem32_size = 0x200000,
				.mem64_base = 0x8000000000,
				.mem64_size = GIB(1) };
	uint64_t seen[3 * 8][2];
	unsigned n = 0, high = 0;
	struct err e = { 0 };

	for (unsigned i = 0; i < 4; i++)
		vdrv_make(r->t, "gadget,vectors=2048");
	assert_int_equal(pci_assign(r->bus, &w, &e), 0);
	for (unsigned fn = 0; fn < 256; fn++) {
		struct pci_dev *p = pci_bus_dev_find(r->bus, (uint8_t)fn);

		for (unsigned b = 0; p && b < 3; b += 2) {
			uint64_t at = pci_bar_addr(p, b);

			assert_true(at != UINT64_MAX && !(at & (p->bar[b].size - 1)));
			high += at >= w.mem64_base;
			for (unsigned k = 0; k < n; k++)
				assert_true(at + p->bar[b].size <= seen[k][0] || at >= seen[k][1]);
			seen[n][0] = at;
			seen[n++][1] = at + p->bar[b].size;
		}
	}
	assert_int_equal(n, 10);
	assert_true(high > 0); /* not everything fits below 4 GiB */
	w.mem64_size = 0;
	assert_true(pci_assign(r->bus, &w, &e) < 0);
	assert_non_null(strstr(e.msg, "no room"));
}

/* ---- hostile accesses, state ---- */

static void random_accesses(void **state)
{
	struct rig *r = *state;
	struct rng rng = { 7 };

	for (unsigned i = 0; i < 30000; i++) {
		uint32_t off = rng_one_in(&rng, 4) ? (uint32_t)rng_u64(&rng) & 0x1fff
						   : rng_below(&rng, 0x80);
		unsigned size = rng_below(&rng, 6);

		wr(r, off, (uint32_t)rng_u64(&rng), size);
		(void)rd(r, off, size);
		if (rng_one_in(&rng, 16))
			pci_msix_fire(&r->g->p, rng_below(&rng, 6));
		if (rng_one_in(&rng, 16))
			pci_intx(&r->g->p, rng_one_in(&rng, 2));
		if (rng_one_in(&rng, 16)) /* the table itself: addresses that the recorder knows */
			pci_msix_write(&r->g->p, 16ull * rng_below(&rng, 4) + 12,
				       rng_below(&rng, 2), 4);
		for (unsigned v = 0; v < 4; v++)
			pci_msix_write(&r->g->p, 16ull * v, 0xfee00000, 8);
	}
	assert_int_equal(rd(r, 0, 4), 0x56781234);
	pci_dev_reset(&r->g->p);
	assert_int_equal(r->t->intx, 0);
	mapping(state);
}

static void round_trip(void **state)
{
	struct rig *r = *state;
	struct vdrv_vm *t2 = vdrv_vm_new();
	struct gadget *g2 = container_of(vdrv_make(t2, "gadget"), struct gadget, p.d);
	struct state_buf a = { 0 }, b = { 0 };
	struct err e = { 0 };
	const uint8_t *pos;
	uint32_t v;

	wr(r, 0x10, 0xd0000000, 4);
	msix_on(r);
	entry(r, 2, 1);
	pci_msix_fire(&r->g->p, 2);
	state_save(&a, "g", &pci_dev_state, &r->g->p);
	pos = a.data;
	if (state_load(&pos, a.data + a.len, "g", &pci_dev_state, &g2->p, &e) < 0)
		fail_msg("%s", e.msg);
	state_save(&b, "g", &pci_dev_state, &g2->p);
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.data, b.data, a.len);
	assert_true(map_access(t2->vm.map, MAP_MEM, 0xd0000000, &v, 4, false));
	assert_int_equal(g2->reads, 1);
	pci_msix_write(&g2->p, 2 * 16 + 12, 0, 4);
	assert_int_equal(t2->msi[2], 1);
	state_buf_fini(&a);
	state_buf_fini(&b);
	vdrv_vm_free(t2);
}

static void hostile_state(void **state)
{
	struct rig *r = *state;

	for (unsigned i = 0; i < 5; i++) {
		struct state_buf buf = { 0 };
		struct err e = { 0 };
		const uint8_t *pos;
		uint8_t keep[PCIE_CFG_SIZE];

		memcpy(keep, r->g->p.cfg, sizeof(keep));
		switch (i) {
		case 0:
			r->g->p.cfg[0x10] |= 0x10; /* below the BAR's size */
			break;
		case 1:
			r->g->p.cfg[0x14] &= 0xfe; /* ports become memory */
			break;
		case 2:
			r->g->p.cfg[0x18] &= 0xfb; /* 64 bit becomes 32 */
			break;
		case 3:
			r->g->p.cfg[r->g->p.cap_msix + 2] = 7; /* more vectors */
			break;
		default:
			r->g->p.nr_msix = 3; /* a stream with fewer */
			break;
		}
		state_save(&buf, "g", &pci_dev_state, &r->g->p);
		memcpy(r->g->p.cfg, keep, sizeof(keep));
		r->g->p.nr_msix = 4;
		pos = buf.data;
		assert_true(state_load(&pos, buf.data + buf.len, "g", &pci_dev_state, &r->g->p,
				       &e) < 0);
		memcpy(r->g->p.cfg, keep, sizeof(keep));
		state_buf_fini(&buf);
	}
}

/* A load of what is saved now, into the same device; the space is as before. */
static int load_changed(struct rig *r, const uint8_t *keep, struct err *e)
{
	struct state_buf buf = { 0 };
	const uint8_t *pos;
	int ret;

	state_save(&buf, "g", &pci_dev_state, &r->g->p);
	memcpy(r->g->p.cfg, keep, PCIE_CFG_SIZE);
	pos = buf.data;
	ret = state_load(&pos, buf.data + buf.len, "g", &pci_dev_state, &r->g->p, e);
	if (ret < 0)
		assert_memory_equal(r->g->p.cfg, keep, PCIE_CFG_SIZE);
	memcpy(r->g->p.cfg, keep, PCIE_CFG_SIZE);
	state_buf_fini(&buf);
	return ret;
}

/* Every bit of the space: taken from a stream when a guest, or the line, could have changed it. */
static void every_bit_of_a_stream(void **state)
{
	struct rig *r = *state;
	struct pci_dev *p = &r->g->p;
	uint8_t keep[PCIE_CFG_SIZE];
	unsigned taken = 0;

	memcpy(keep, p->cfg, sizeof(keep));
	for (unsigned bit = 0; bit < 8 * PCIE_CFG_SIZE; bit++) {
		unsigned at = bit / 8, mask = 1u << (bit & 7);
		bool may = (p->wmask[at] | p->w1cmask[at]) & mask || bit == 8 * PCI_STATUS + 3;
		struct err e = { 0 };

		p->cfg[at] ^= (uint8_t)mask;
		if ((load_changed(r, keep, &e) == 0) != may)
			fail_msg("bit %u of byte %#x: %s", bit & 7, at, may ? e.msg : "taken");
		taken += may;
	}
	assert_true(taken > 100 && taken < 400);
}

static void refusals_name_the_register(void **state)
{
	static const struct {
		unsigned at;
		const char *word;
	} t[] = { { 0, "vendor ID" },
		  { 3, "device ID" },
		  { 4, "command" },
		  { 6, "status" },
		  { 0xb, "class code" },
		  { 0xe, "header type" },
		  { 0x10, "BAR 0" },
		  { 0x18, "BAR 2" },
		  { 0x20, "BAR 4" },
		  { 0x34, "capabilities" },
		  { 0x3d, "interrupt pin" },
		  { 0x40, "capability 0x11" },
		  { 0x44, "capability 0x11" },
		  { 0x50, "capability 0x10" },
		  { 0x200, "its own" } };
	struct rig *r = *state;
	struct pci_msix_entry *m = &r->g->p.msix[1];
	uint8_t keep[PCIE_CFG_SIZE];
	struct err e = { 0 };

	memcpy(keep, r->g->p.cfg, sizeof(keep));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		r->g->p.cfg[t[i].at] ^= (uint8_t) ~(r->g->p.wmask[t[i].at] | 8);
		assert_true(load_changed(r, keep, &e) < 0);
		if (!strstr(e.msg, t[i].word))
			fail_msg("'%s' lacks '%s'", e.msg, t[i].word);
	}
	m->addr = 0xfee00002;
	assert_true(load_changed(r, keep, &e) < 0);
	assert_non_null(strstr(e.msg, "vector 1"));
	m->addr = 0xfee00000;
	m->ctrl = 3;
	assert_true(load_changed(r, keep, &e) < 0);
	m->ctrl = 1;
	assert_int_equal(load_changed(r, keep, &e), 0);
}

/* One that breaks off leaves nothing that would hold up the next. */
static void loads_that_break_off(void **state)
{
	struct rig *r = *state;
	struct state_buf good = { 0 }, bad = { 0 };
	uint8_t keep[PCIE_CFG_SIZE];
	struct err e = { 0 };
	const uint8_t *pos;

	memcpy(keep, r->g->p.cfg, sizeof(keep));
	state_save(&good, "g", &pci_dev_state, &r->g->p);
	r->g->p.cfg[0] ^= 1;
	r->g->p.nr_msix = 3; /* read behind the space */
	state_save(&bad, "g", &pci_dev_state, &r->g->p);
	r->g->p.nr_msix = 4;
	r->g->p.cfg[0] ^= 1;
	for (unsigned i = 0; i < 3; i++) {
		pos = bad.data;
		assert_true(state_load(&pos, bad.data + bad.len, "g", &pci_dev_state, &r->g->p,
				       &e) < 0);
		assert_null(strstr(e.msg, "vendor"));
		if (i == 1)
			pci_dev_reset(&r->g->p);
		else if (i == 2)
			continue;
		pos = good.data;
		assert_int_equal(state_load(&pos, good.data + good.len, "g", &pci_dev_state,
					    &r->g->p, &e),
				 0);
		assert_memory_equal(r->g->p.cfg, keep, sizeof(keep));
	}
	state_buf_fini(&good);
	state_buf_fini(&bad);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(header),
		T(absent_and_odd_accesses),
		T(sizing),
		T(mapping),
		T(moves_inside_an_access),
		T(capabilities),
		T(msix),
		T(msix_eventfds),
		T(msix_eventfds_refused),
		T(msix_eventfds_pause),
		T(msix_registers),
		T(intx),
		T(addresses),
		T(assignment),
		T(random_accesses),
		T(round_trip),
		T(hostile_state),
		T(every_bit_of_a_stream),
		T(refusals_name_the_register),
		T(loads_that_break_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
