/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buses below root ports: places and their errors, routing by bus number, windows, bus mastering,
 * secondary reset, interrupt pins, assignment, state.
 */
#include "cmocka_all.h"

#include "base/bytes.h"
#include "core/state.h"
#include "rng.h"
#include "virtio_driver.h"

#define PORT_FN 0x08 /* slot 1 */

/* A function with one BAR of each kind, MSI-X and a pin. */
struct gadget {
	struct pci_dev p; /* first */
	unsigned reads, resets, cfg_writes;
	uint32_t pin;
};

static uint64_t gadget_read(void *opaque, uint64_t off, unsigned size)
{
	((struct gadget *)opaque)->reads++;
	return 0;
}

static void gadget_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
}

static const struct io_ops gadget_ops = { .read = gadget_read, .write = gadget_write };

static void gadget_cfg(struct pci_dev *p, uint32_t off, unsigned size, uint32_t val)
{
	container_of(p, struct gadget, p)->cfg_writes++;
}

static int gadget_init(struct dev *d, struct err *e)
{
	static const struct pci_id id = { .vendor = 0x1234, .device = 0x5678 };
	static const struct {
		unsigned n;
		enum pci_bar_kind kind;
		uint64_t size;
		bool prefetch;
	} bar[] = { { 0, PCI_BAR_MEM32, 8192, false },
		    { 1, PCI_BAR_IO, 32, false },
		    { 2, PCI_BAR_MEM64, MIB(2), true } };
	struct gadget *g = container_of(d, struct gadget, p.d);
	int ret = pci_dev_attach(pci_bus_of(d->vm), &g->p, &id, e);

	for (unsigned i = 0; i < ARRAY_SIZE(bar) && !ret; i++) {
		g->p.bar[bar[i].n].region.ops = &gadget_ops;
		g->p.bar[bar[i].n].region.opaque = g;
		g->p.bar[bar[i].n].region.lock = &d->lock;
		ret = pci_add_bar(&g->p, bar[i].n, bar[i].kind, bar[i].size, bar[i].prefetch, e);
	}
	if (!ret)
		ret = pci_add_msix_bar(&g->p, 2, 5, e);
	if (!ret && pci_add_pcie_endpoint_cap(&g->p) < 0)
		ret = err_set(e, ENOSPC, "no room");
	pci_set_intx_pin(&g->p, g->pin);
	g->p.cfg_written = gadget_cfg;
	return ret;
}

static void gadget_fini(struct dev *d)
{
	pci_dev_detach(container_of(d, struct pci_dev, d));
}

static void gadget_reset(struct dev *d)
{
	container_of(d, struct gadget, p.d)->resets++;
	pci_dev_reset(container_of(d, struct pci_dev, d));
}

static const struct prop gadget_props[] = {
	PROP_UINT("pin", struct gadget, pin, PROP_U32, 0, 0, 0, "n"), PROPS_END
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

const struct dev_type *const dev_types[] = { &gadget_type, &pcie_root_port_type, NULL };

struct rig {
	struct vdrv_vm *t;
	struct pci_bus *root;
	struct pci_dev *port;
	struct gadget *g; /* below it */
};

static void make_rig(struct rig *r)
{
	r->t = vdrv_vm_new();
	r->root = r->t->vm.pci;
	r->port = container_of(vdrv_make(r->t, "pcie-root-port,id=pci.1,chassis=1,port=8,addr=1"),
			       struct pci_dev, d);
	r->g = container_of(vdrv_make(r->t, "gadget,bus=pci.1,addr=0x0"), struct gadget, p.d);
}

static int setup(void **state)
{
	struct rig *r = xnew(struct rig);

	make_rig(r);
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

static uint32_t prd(struct rig *r, uint32_t off, unsigned size)
{
	return pci_cfg_read(r->root, 0, PORT_FN, off, size);
}

static void pwr(struct rig *r, uint32_t off, uint32_t val, unsigned size)
{
	pci_cfg_write(r->root, 0, PORT_FN, off, val, size);
}

static bool reaches(struct rig *r, unsigned bar)
{
	uint64_t at = pci_bar_addr(&r->g->p, bar);
	enum map_space space = r->g->p.bar[bar].kind == PCI_BAR_IO ? MAP_PIO : MAP_MEM;
	unsigned before = r->g->reads;
	uint32_t v;

	return at != UINT64_MAX && map_access(r->t->vm.map, space, at, &v, 4, false) &&
	       r->g->reads > before;
}

/* ---- places ---- */

static void port_header(void **state)
{
	struct rig *r = *state;
	uint32_t cap = r->port->cap_exp;

	assert_int_equal(prd(r, 0, 4), 0x000c1b36);
	assert_int_equal(prd(r, 8, 4), 0x06040000);
	assert_int_equal(prd(r, PCI_HEADER_TYPE, 1), 1);
	assert_int_equal(prd(r, PCI_PRIMARY_BUS, 4), 0x00010100);
	assert_int_equal(prd(r, cap, 1), PCI_CAP_ID_EXP);
	assert_int_equal(prd(r, cap + 2, 2), 0x142);	    /* root port with a slot */
	assert_int_equal(prd(r, cap + 12, 4) >> 24, 8);	    /* port number */
	assert_int_equal(prd(r, cap + 20, 4) & 0x60, 0x60); /* hot-pluggable */
	vdrv_make(r->t, "pcie-root-port,id=fixed,chassis=3,slot=5,hotplug=off,addr=2");
	cap = pci_bus_dev_find(r->root, 0x10)->cap_exp;
	assert_int_equal(pci_cfg_read(r->root, 0, 0x10, cap + 20, 4), 5u << 19);
	/* An endpoint with a link, not an integrated one. */
	cap = r->g->p.cap_exp;
	assert_int_equal(pci_cfg_read(r->root, 1, 0, cap + 2, 2), 0x02);
	assert_int_equal(pci_cfg_read(r->root, 1, 0, cap + 18, 2), 0x11);
}

static void slot_status(void **state)
{
	struct rig *r = *state;
	struct dev *empty = vdrv_make(r->t, "pcie-root-port,id=pci.2,chassis=2,addr=2");
	uint32_t cap = r->port->cap_exp;

	dev_reset_all(&r->t->vm);
	assert_int_equal(prd(r, cap + 26, 2), 0x40);   /* something there, */
	assert_int_equal(prd(r, cap + 18, 2), 0x2011); /* its link up */
	cap = container_of(empty, struct pci_dev, d)->cap_exp;
	assert_int_equal(pci_cfg_read(r->root, 0, 0x10, cap + 26, 2), 0);
	assert_int_equal(pci_cfg_read(r->root, 0, 0x10, cap + 18, 2), 0x0011);
}

static void refused(struct rig *r, const char *line, const char *why)
{
	struct err e = { 0 };

	if (vdrv_try_make(r->t, line, &e))
		fail_msg("%s was accepted", line);
	if (!strstr(e.msg, why))
		fail_msg("%s: '%s' does not say '%s'", line, e.msg, why);
}

static void places(void **state)
{
	struct rig *r = *state;
	struct err e = { 0 };

	refused(r, "gadget,bus=pci.9", "no PCI bus 'pci.9', but pcie.0, pci.1;");
	refused(r, "gadget,bus=pci.1,addr=0", "address 00.0 of bus pci.1 is taken by gadget.0");
	refused(r, "gadget,bus=pci.1,addr=1", "slot 0 only");
	refused(r, "gadget,bus=pci.1", "no free slot on PCI bus pci.1");
	refused(r, "gadget,addr=1", "address 01.0 of bus pcie.0 is taken by pci.1");
	refused(r, "pcie-root-port,id=x,chassis=1", "chassis=1,slot=0 is that of pci.1");
	refused(r, "pcie-root-port,id=x,chassis=2,bus=pci.1,addr=0.1", "belongs on pcie.0");
	refused(r, "pcie-root-port,id=pcie.0,chassis=2", "bus of that name already");
	/* Refused ones leave nothing behind. */
	assert_null(pci_bus_find(&r->t->vm, "x"));
	assert_int_equal(pci_check_functions(&r->t->vm, &e), 0);
	vdrv_make(r->t, "gadget,bus=pci.1,addr=0.1,acpi-index=3");
	assert_int_equal(pci_cfg_read(r->root, 1, 0, PCI_HEADER_TYPE, 1), 0x80);
	vdrv_make(r->t, "gadget,addr=5.1,multifunction=on");
	assert_true(pci_check_functions(&r->t->vm, &e) < 0);
	assert_non_null(strstr(e.msg, "function 1 of slot 5 on PCI bus pcie.0"));
	vdrv_make(r->t, "gadget,bus=pcie.0,addr=5.0");
	assert_int_equal(pci_check_functions(&r->t->vm, &e), 0);
}

static void orphan_below_a_port(void **state)
{
	struct rig *r = *state;
	struct err e = { 0 };

	vdrv_make(r->t, "pcie-root-port,id=pci.2,chassis=2");
	vdrv_make(r->t, "gadget,bus=pci.2,addr=0.3");
	assert_true(pci_check_functions(&r->t->vm, &e) < 0);
	assert_non_null(strstr(e.msg, "function 3 of slot 0 on PCI bus pci.2"));
}

/* ---- routing ---- */

static void bus_numbers(void **state)
{
	struct rig *r = *state;

	assert_int_equal(pci_cfg_read(r->root, 1, 0, 0, 4), 0x56781234);
	assert_int_equal(pci_cfg_read(r->root, 1, 0x08, 0, 4), UINT32_MAX);
	assert_int_equal(pci_cfg_read(r->root, 2, 0, 0, 4), UINT32_MAX);
	pwr(r, PCI_PRIMARY_BUS, 0x00f07f00, 4); /* as a guest renumbers: 7f to f0 */
	assert_int_equal(pci_cfg_read(r->root, 1, 0, 0, 4), UINT32_MAX);
	assert_int_equal(pci_cfg_read(r->root, 0x7f, 0, 0, 4), 0x56781234);
	assert_int_equal(pci_bus_number(r->g->p.bus), 0x7f);
	assert_int_equal(pci_cfg_read(r->root, 0x80, 0, 0, 4), UINT32_MAX);
	pci_cfg_write(r->root, 0x7f, 0, PCI_INT_LINE, 0x55, 1);
	assert_int_equal(r->g->p.cfg[PCI_INT_LINE], 0x55);
	pwr(r, PCI_PRIMARY_BUS, 0x00100500 | 0x7f0000, 4);
	pwr(r, PCI_SUBORDINATE_BUS, 4, 1); /* ends before it begins */
	assert_int_equal(pci_cfg_read(r->root, 5, 0, 0, 4), UINT32_MAX);
	pwr(r, PCI_PRIMARY_BUS, 0, 4); /* bus 0 stays the root */
	assert_int_equal(pci_cfg_read(r->root, 0, 0, 0, 4), UINT32_MAX);
}

static void windows(void **state)
{
	struct rig *r = *state;
	uint64_t mem = pci_bar_addr(&r->g->p, 0), pref = pci_bar_addr(&r->g->p, 2);
	uint64_t io = pci_bar_addr(&r->g->p, 1);
	uint32_t mem_reg, pref_reg;

	assert_true(reaches(r, 0) && reaches(r, 1) && reaches(r, 2));
	/* Closed: base behind limit. The BAR's register stays. */
	mem_reg = prd(r, PCI_MEM_BASE, 4);
	assert_int_equal((mem_reg & 0xfff0) << 16, mem & ~(MIB(1) - 1));
	pwr(r, PCI_MEM_BASE, 0x0000fff0, 4);
	assert_false(reaches(r, 0));
	assert_true(reaches(r, 2));
	pwr(r, PCI_MEM_BASE, mem_reg, 4);
	assert_true(reaches(r, 0));
	pref_reg = prd(r, PCI_PREF_BASE, 4);
	assert_int_equal(pref_reg & 0xf000f, 0x10001); /* 64 bit */
	pwr(r, PCI_PREF_BASE_HIGH, 0x12, 4);
	pwr(r, PCI_PREF_LIMIT_HIGH, 0x12, 4);
	assert_false(reaches(r, 2));
	/* Both move up. */
	pci_cfg_write(r->root, 1, 0, 0x1c, 0x12, 4);
	assert_true(reaches(r, 2));
	assert_int_equal(pci_bar_addr(&r->g->p, 2), pref | 0x12ull << 32);
	pwr(r, PCI_IO_BASE, 0x00f0, 2);
	assert_false(reaches(r, 1));
	pwr(r, PCI_IO_BASE, (uint32_t)(io >> 8 & 0xf0) * 0x101, 2);
	assert_true(reaches(r, 1));
	pwr(r, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MASTER, 2);
	assert_true(reaches(r, 1));
	assert_false(reaches(r, 0) || reaches(r, 2));
	pwr(r, PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_MASTER, 2);
	assert_false(reaches(r, 1));
	assert_true(reaches(r, 0) && reaches(r, 2));
}

static void master(void **state)
{
	struct rig *r = *state;
	struct pci_dev *p = &r->g->p;
	unsigned told = r->g->cfg_writes;

	pci_msix_write(p, 0, 0xfee00000, 8);
	pci_msix_write(p, 8, 9, 8); /* data 9, not masked */
	pci_cfg_write(r->root, 1, 0, p->cap_msix + 2u, 0x8000, 2);
	assert_true(pci_is_master(p));
	told = r->g->cfg_writes;
	pwr(r, PCI_COMMAND, PCI_COMMAND_MEM, 2);
	assert_false(pci_is_master(p)); /* its own bit is still on */
	assert_true(r->g->cfg_writes > told);
	pci_msix_fire(p, 0);
	assert_int_equal(r->t->msi[9], 0);
	pwr(r, PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_MASTER, 2);
	assert_int_equal(r->t->msi[9], 1); /* what waited goes out */
	assert_true(pci_is_master(p));
}

static void secondary_reset(void **state)
{
	struct rig *r = *state;
	unsigned before = r->g->resets;

	pwr(r, PCI_BRIDGE_CONTROL, 0x40, 2);
	assert_int_equal(r->g->resets, before + 1);
	assert_int_equal(pci_cfg_read(r->root, 1, 0, 0, 4), UINT32_MAX);
	pwr(r, PCI_BRIDGE_CONTROL, 0x43, 2); /* still held: not another one */
	assert_int_equal(r->g->resets, before + 1);
	pwr(r, PCI_BRIDGE_CONTROL, 0, 2);
	assert_int_equal(pci_cfg_read(r->root, 1, 0, 0, 4), 0x56781234);
	assert_int_equal(pci_cfg_read(r->root, 1, 0, PCI_COMMAND, 2), 0);
	assert_int_equal(pci_cfg_read(r->root, 1, 0, PCI_BAR0, 4), 0);
	assert_false(reaches(r, 0));
	assert_int_equal(prd(r, PCI_SECONDARY_BUS, 1), 1); /* the bridge itself stays */
	pci_bridge_reset(r->port);
	assert_int_equal(prd(r, PCI_PRIMARY_BUS, 4), 0);
	assert_int_equal(prd(r, PCI_MEM_BASE, 4), 0xfff0);
	assert_int_equal(pci_cfg_read(r->root, 1, 0, 0, 4), UINT32_MAX);
}

/* ---- interrupt pins ---- */

static void intx(void **state)
{
	struct rig *r = *state;
	struct gadget *b = container_of(vdrv_make(r->t, "gadget,bus=pci.1,addr=0.1,pin=0"),
					struct gadget, p.d);

	/* Two functions and the port itself share a wire. */
	pci_intx(&r->g->p, 1);
	assert_int_equal(r->t->intx, 1);
	pci_intx(&b->p, 1);
	pci_intx(r->port, 1);
	assert_int_equal(r->t->intx, 1);
	assert_int_equal(r->t->intx_edges, 1);
	pci_intx(&r->g->p, 0);
	pci_intx(r->port, 0);
	assert_int_equal(r->t->intx, 1);
	pci_intx(&b->p, 0);
	assert_int_equal(r->t->intx, 0);
	/* Off the bus while it holds the wire. */
	pci_intx(&b->p, 1);
	dev_destroy(&b->p.d);
	assert_int_equal(r->t->intx, 0);
}

static unsigned last_pin, last_devfn;
static int last_level;

static void record_pin(void *opaque, uint8_t devfn, unsigned pin, int level)
{
	last_devfn = devfn;
	last_pin = pin;
	last_level = level;
}

static void pins_keep_their_letter(void **state)
{
	struct vdrv_vm *t = vdrv_vm_new();

	pci_bus_free(t->vm.pci);
	pci_bus_new(&t->vm, record_pin, NULL);
	vdrv_make(t, "pcie-root-port,id=pci.1,addr=7.2");
	for (unsigned pin = 0; pin < 4; pin++) {
		autofree char *line = xasprintf("gadget,bus=pci.1,addr=0.%u,pin=%u", pin, pin);
		struct pci_dev *p = container_of(vdrv_make(t, line), struct pci_dev, d);

		pci_intx(p, 1);
		assert_int_equal(last_devfn, PCI_DEVFN(7, 2));
		assert_int_equal(last_pin, pin); /* slot 0: no rotation */
		assert_int_equal(last_level, 1);
		pci_intx(p, 0);
		assert_int_equal(last_level, 0);
	}
	vdrv_vm_free(t);
}

/* ---- assignment ---- */

#define MAX_SPANS 64

/* As libvirt lays it out: fourteen ports in two slots, a device in some. */
static void many_ports(void **state)
{
	struct vdrv_vm *t = vdrv_vm_new();
	uint64_t seen[MAX_SPANS][2];
	unsigned n = 0;

	for (unsigned i = 0; i < 14; i++) {
		autofree char *line = xasprintf(
			"pcie-root-port,port=%u,chassis=%u,id=pci.%u,bus=pcie.0,addr=0x%x.0x%x%s",
			8 + i, i + 1, i + 1, 1 + i / 8, i % 8, i % 8 ? "" : ",multifunction=on");

		vdrv_make(t, line);
	}
	for (unsigned i = 1; i <= 14; i += 4) {
		autofree char *line = xasprintf("gadget,bus=pci.%u,addr=0x0", i);

		vdrv_make(t, line);
	}
	for (unsigned i = 0; i < 14; i++) {
		uint8_t fn = (uint8_t)(PORT_FN + i);
		struct pci_dev *port = pci_bus_dev_find(t->vm.pci, fn);
		uint32_t mem = pci_cfg_read(t->vm.pci, 0, fn, PCI_MEM_BASE, 4);
		bool used = i % 4 == 0;
		struct pci_dev *d = pci_bus_dev_find(port->secondary, 0);

		assert_int_equal(pci_cfg_read(t->vm.pci, 0, fn, PCI_SECONDARY_BUS, 1), i + 1);
		assert_int_equal((mem & 0xffff) <= mem >> 16, used); /* closed when empty */
		for (unsigned b = 0; d && b < PCI_NR_BARS; b++) {
			uint64_t at = pci_bar_addr(d, b);

			if (d->bar[b].kind == PCI_BAR_NONE || d->bar[b].kind == PCI_BAR_IO)
				continue;
			assert_true(at != UINT64_MAX && !(at & (d->bar[b].size - 1)));
			for (unsigned k = 0; k < n; k++)
				assert_true(at + d->bar[b].size <= seen[k][0] || at >= seen[k][1]);
			seen[n][0] = at;
			seen[n++][1] = at + d->bar[b].size;
		}
	}
	assert_int_equal(n, 4 * 3);
	vdrv_vm_free(t);
}

static void no_room(void **state)
{
	struct rig *r = *state;
	struct pci_window w = { .io_base = 0xc000,
				.io_size = 0x1000,
				.mem32_base = 0xe0000000,
				.mem32_size = 0x180000,
				.mem64_base = GIB(32),
				.mem64_size = GIB(1) };
	struct err e = { 0 };

	/* The prefetchable window goes above 4 GiB when it must. */
	assert_int_equal(pci_assign(r->root, &w, &e), 0);
	assert_true(pci_bar_addr(&r->g->p, 2) >= GIB(32));
	assert_true(reaches(r, 2));
	w.mem64_size = 0;
	assert_true(pci_assign(r->root, &w, &e) < 0);
	assert_non_null(strstr(e.msg, "pci.1: no room for the window to the bus below"));
}

/* ---- hostile accesses, state ---- */

static void random_accesses(void **state)
{
	struct rig *r = *state;
	struct rng rng = { 11 };

	for (unsigned i = 0; i < 30000; i++) {
		uint8_t bus = (uint8_t)rng_below(&rng, 3);
		uint8_t fn = bus ? 0 : PORT_FN;
		uint32_t off = rng_below(&rng, 0x80);
		struct pci_dev *p = &r->g->p;

		if (bus || off < r->port->cap_msix)
			pci_cfg_write(r->root, bus, fn, off, (uint32_t)rng_u64(&rng),
				      1u << rng_below(&rng, 3));
		(void)pci_cfg_read(r->root, bus, fn, off, 4);
		if (rng_one_in(&rng, 16))
			pci_intx(rng_one_in(&rng, 2) ? p : r->port, rng_one_in(&rng, 2));
		for (unsigned b = 0; b < 3; b++) {
			uint64_t at = pci_bar_addr(p, b);

			assert_true(at == UINT64_MAX || reaches(r, b) ||
				    map_find(map_view(r->t->vm.map), MAP_MEM, at));
		}
	}
	dev_reset_all(&r->t->vm);
	assert_int_equal(r->t->intx, 0);
	assert_int_equal(pci_cfg_read(r->root, 0, PORT_FN, 0, 4), 0x000c1b36);
}

static void load(const struct state_buf *buf, struct dev *d)
{
	const uint8_t *pos = buf->data;
	struct err e = { 0 };

	if (state_load(&pos, buf->data + buf->len, "x", d->type->state, d, &e) < 0)
		fail_msg("%s", e.msg);
}

/* In either order of the two objects. */
static void round_trip(void **state)
{
	struct rig *r = *state;

	dev_reset_all(&r->t->vm);	    /* a port says then what is in its slot */
	vdrv_make(r->t, "gadget,addr=0x2"); /* and everything gets its place again */
	pwr(r, PCI_PRIMARY_BUS, 0x00090900, 4);
	pci_intx(&r->g->p, 1);
	for (unsigned port_first = 0; port_first < 2; port_first++) {
		struct state_buf port = { 0 }, dev = { 0 }, again = { 0 };
		struct rig to = { 0 };

		make_rig(&to);
		dev_reset_all(&to.t->vm);
		state_save(&port, "x", r->port->d.type->state, r->port);
		state_save(&dev, "x", r->g->p.d.type->state, r->g);
		if (port_first)
			load(&port, &to.port->d);
		load(&dev, &to.g->p.d);
		if (!port_first)
			load(&port, &to.port->d);
		assert_true(reaches(&to, 0) && reaches(&to, 1) && reaches(&to, 2));
		assert_true(pci_is_master(&to.g->p));
		assert_int_equal(pci_cfg_read(to.root, 9, 0, 0, 4), 0x56781234);
		assert_int_equal(to.t->intx, 1);
		state_save(&again, "x", to.port->d.type->state, to.port);
		assert_int_equal(again.len, port.len);
		assert_memory_equal(again.data, port.data, port.len);
		state_buf_fini(&port);
		state_buf_fini(&dev);
		state_buf_fini(&again);
		vdrv_vm_free(to.t);
	}
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(port_header),
		T(slot_status),
		T(places),
		T(orphan_below_a_port),
		T(bus_numbers),
		T(windows),
		T(master),
		T(secondary_reset),
		T(intx),
		cmocka_unit_test(pins_keep_their_letter),
		cmocka_unit_test(many_ports),
		T(no_room),
		T(random_accesses),
		T(round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
