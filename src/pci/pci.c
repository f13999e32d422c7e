/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI functions: their places, configuration space, capabilities, reset, state.
 * PCI Local Bus 3.0 chapter 6; PCI Express Base 5.0 sections 7.5 and 7.7.
 *
 * A configuration space is bytes with two masks: what the guest may write, and what it clears by
 * writing ones. What a write causes (mapping, interrupts) is looked up afterwards from the bytes,
 * so that a restored space behaves as a written one.
 *
 * Threads: configuration accesses take the device's lock. The bus' table changes on the control
 * thread while no vCPU runs. State: pci_dev_state.
 */
#include "base/base.h"
#include "base/trace.h"
#include "pci/pci_int.h"
#include "core/state.h"

#define STATUS_W1C 0xf900u /* parity, SERR, master and target abort bits */

/* ---- places ---- */

static bool slot_is_free(const struct pci_bus *bus, unsigned slot)
{
	for (unsigned fn = 0; fn < 8; fn++) {
		if (bus->dev[PCI_DEVFN(slot, fn)])
			return false;
	}
	return true;
}

static int find_free_slot(const struct pci_bus *bus)
{
	for (unsigned slot = bus->first_slot; slot < bus->nr_slots; slot++) {
		if (slot_is_free(bus, slot))
			return PCI_DEVFN(slot, 0);
	}
	return -ENOSPC;
}

/* "1f", "1f.2", also with 0x in front of either part, as QEMU takes it. */
static int parse_addr(struct conf_node *node, const char *text, int *addr, struct err *e)
{
	char *end;
	unsigned long slot, fn = 0;
	bool good = text[0] && !strchr("+- \t", text[0]);

	slot = strtoul(text, &end, 16);
	good = good && end != text;
	if (good && *end == '.') {
		const char *p = end + 1;

		good = p[0] && !strchr("+- \t", p[0]);
		fn = strtoul(p, &end, 16);
		good = good && end != p;
	}
	if (!good || *end || slot > 31 || fn > 7)
		return err_set(e, EINVAL,
			       "%s: addr=%s is no PCI address; write slot or slot.function in"
			       " hexadecimal, 0 to 1f and 0 to 7",
			       node->where, text);
	*addr = (int)(slot << 3 | fn);
	return 0;
}

static int unknown_bus(const struct pci_bus *root, const struct conf_node *node, const char *name,
		       struct err *e)
{
	autofree char *list = pci_bus_list(root);

	return err_set(e, ENOENT,
		       "%s: there is no PCI bus '%s', but %s; a bus is made by a"
		       " pcie-root-port of that id, which must come before the devices on it",
		       node->where, name, list);
}

static int read_node(struct pci_bus **bus, struct pci_dev *d, bool *multi, struct err *e)
{
	struct conf_node *node = d->d.node;
	const char *addr, *name;

	if (!node)
		return 0;
	d->addr = PCI_ANY_ADDR;
	name = conf_get(node, "bus");
	if (name) {
		struct pci_bus *named = pci_bus_find(d->d.vm, name);

		if (!named)
			return unknown_bus(*bus, node, name, e);
		*bus = named;
	}
	/* No option ROMs: any is as good as none. The index is a name for firmware tables. */
	(void)conf_get(node, "romfile");
	(void)conf_get(node, "rombar");
	(void)conf_get(node, "acpi-index");
	addr = conf_get(node, "addr");
	if (addr && parse_addr(node, addr, &d->addr, e) < 0)
		return -EINVAL;
	return conf_get_bool(node, "multifunction", multi, e);
}

/* A slot with several functions needs the bit in function 0 (PCI 3.0, 6.2.1). */
static void mark_multifunction(struct pci_bus *bus, uint8_t devfn, bool wanted)
{
	struct pci_dev *fn0 = bus->dev[devfn & ~7];

	if (wanted)
		bus->dev[devfn]->cfg[PCI_HEADER_TYPE] |= 0x80;
	if (!fn0)
		return;
	for (unsigned fn = 1; fn < 8; fn++) {
		if (bus->dev[(devfn & ~7) + fn])
			fn0->cfg[PCI_HEADER_TYPE] |= 0x80;
	}
}

static void init_header(struct pci_dev *d, const struct pci_id *id)
{
	st_le16(d->cfg + PCI_VENDOR_ID, id->vendor);
	st_le16(d->cfg + 2, id->device);
	st_le32(d->cfg + 8, id->class_rev);
	st_le16(d->cfg + PCI_SUBVENDOR, id->subvendor);
	st_le16(d->cfg + PCI_SUBVENDOR + 2, id->subdevice);
	st_le16(d->wmask + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEM | PCI_COMMAND_MASTER |
						PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
						PCI_COMMAND_INTX_OFF);
	st_le16(d->w1cmask + PCI_STATUS, STATUS_W1C);
	d->wmask[PCI_CACHE_LINE] = 0xff;
	d->wmask[PCI_INT_LINE] = 0xff;
	d->next_cap = PCI_FIRST_CAP;
	d->last_cap = 0;
}

static int check_place(const struct pci_bus *bus, const struct pci_dev *d, int addr, struct err *e)
{
	if (addr < 0)
		return err_set(e, ENOSPC,
			       "%s: no free slot on PCI bus %s; give two devices"
			       " functions of one slot with addr=slot.function, or put a"
			       " pcie-root-port on pcie.0 and devices on its bus",
			       d->d.path, bus->name);
	if (addr > 255 || (unsigned)addr >> 3 >= bus->nr_slots)
		return err_set(e, EINVAL, "%s: PCI bus %s has no slot %02x: %s", d->d.path,
			       bus->name, (unsigned)addr >> 3,
			       bus->nr_slots == 1 ? "below a PCI Express port there is slot 0 only"
						  : "0 to 1f are possible");
	if (bus->dev[addr])
		return err_set(e, EBUSY, "%s: PCI address %02x.%x of bus %s is taken by %s",
			       d->d.path, addr >> 3, addr & 7, bus->name, bus->dev[addr]->d.path);
	return 0;
}

int pci_dev_attach(struct pci_bus *bus, struct pci_dev *d, const struct pci_id *id, struct err *e)
{
	bool multi = false;
	int ret = read_node(&bus, d, &multi, e), addr;

	if (ret < 0)
		return ret;
	addr = d->addr == PCI_ANY_ADDR ? find_free_slot(bus) : d->addr;
	ret = check_place(bus, d, addr, e);
	if (ret < 0)
		return ret;
	pthread_mutex_init(&d->irq_lock, NULL);
	d->bus = bus;
	d->devfn = (uint8_t)addr;
	d->upstream_master = pci_bus_masters(bus);
	init_header(d, id);
	bus->dev[addr] = d;
	mark_multifunction(bus, d->devfn, multi);
	return 0;
}

static int check_slots(const struct pci_bus *bus, struct err *e)
{
	for (unsigned slot = 0; slot < bus->nr_slots; slot++) {
		for (unsigned fn = 1; fn < 8 && !bus->dev[PCI_DEVFN(slot, 0)]; fn++) {
			const struct pci_dev *d = bus->dev[PCI_DEVFN(slot, fn)];

			if (d)
				return err_set(e, EINVAL,
					       "%s: function %u of slot %x on PCI bus %s, but"
					       " function 0 is empty, so that no guest would look"
					       " for it; put a device at addr=%x.0",
					       d->d.path, fn, slot, bus->name, slot);
		}
	}
	for (const struct pci_bus *below = bus->child; below; below = below->sibling) {
		int ret = check_slots(below, e);

		if (ret < 0)
			return ret;
	}
	return 0;
}

int pci_check_functions(struct vm *vm, struct err *e)
{
	return vm->pci ? check_slots(vm->pci, e) : 0;
}

void pci_dev_detach(struct pci_dev *d)
{
	if (!d->bus)
		return;
	pci_bars_unmap(d);
	if (d->bus->dev[d->devfn] == d)
		d->bus->dev[d->devfn] = NULL;
	/* A vCPU may still be inside a register by an older view. */
	map_synchronize(d->d.vm->map);
	pci_intx(d, 0);
	pci_msix_pause(d);
	free(take_ptr(d->msix));
	free(take_ptr(d->cfg_before));
	d->nr_msix = 0;
	pthread_mutex_destroy(&d->irq_lock);
	d->bus = NULL;
}

bool pci_is_master(const struct pci_dev *d)
{
	return (pci_command(d) & PCI_COMMAND_MASTER) && d->upstream_master;
}

/* A load that failed leaves nothing of it where no reset would take it away. */
static void undo_load(struct pci_dev *d)
{
	if (d->cfg_before)
		memcpy(d->cfg, d->cfg_before, PCIE_CFG_SIZE);
	free(take_ptr(d->cfg_before));
}

void pci_dev_reset(struct pci_dev *d)
{
	pthread_mutex_lock(&d->d.lock);
	undo_load(d);
	st_le16(d->cfg + PCI_COMMAND, 0);
	for (unsigned i = 0; i < PCIE_CFG_SIZE; i++)
		d->cfg[i] &= (uint8_t)~d->w1cmask[i];
	for (unsigned n = 0; n < pci_nr_bars(d); n++) {
		uint8_t *at = d->cfg + PCI_BAR0 + 4 * n;

		st_le32(at, ld_le32(at) & ~ld_le32(d->wmask + PCI_BAR0 + 4 * n));
	}
	d->cfg[PCI_CACHE_LINE] = 0;
	d->cfg[PCI_INT_LINE] = 0;
	if (d->cap_exp)
		st_le16(d->cfg + d->cap_exp + 8, 0);
	pci_bars_update(d);
	pci_msix_reset(d);
	pci_intx(d, 0);
	pthread_mutex_unlock(&d->d.lock);
}

/* ---- capabilities ---- */

int pci_add_cap(struct pci_dev *d, uint8_t id, const void *data, unsigned len)
{
	unsigned at = d->next_cap;

	if (len < 2 || at < PCI_FIRST_CAP || at + len > PCI_CFG_SIZE)
		return -ENOSPC;
	d->cfg[at] = id;
	d->cfg[at + 1] = 0;
	if (data)
		memcpy(d->cfg + at + 2, data, len - 2);
	d->cfg[d->last_cap ? d->last_cap + 1u : PCI_CAP_PTR] = (uint8_t)at;
	d->cfg[PCI_STATUS] |= PCI_STATUS_CAPS;
	d->last_cap = (uint16_t)at;
	d->next_cap = (uint16_t)align_up(at + len, 4);
	return (int)at;
}

int pci_add_pcie_endpoint_cap(struct pci_dev *d)
{
	int at = pci_add_cap(d, PCI_CAP_ID_EXP, NULL, PCIE_CAP_LEN);

	if (at < 0)
		return at;
	d->cap_exp = (uint16_t)at;
	/* Version 2; bus 0 has no links above it: a root complex integrated endpoint. */
	st_le16(d->cfg + at + 2, d->bus && d->bus->above ? 2 : 2 | 9 << 4);
	st_le32(d->cfg + at + 4, BIT32(15)); /* role-based error reporting */
	if (d->bus && d->bus->above) {
		st_le32(d->cfg + at + 12, 1 | 1 << 4); /* a link of 2.5 GT/s, one lane, */
		st_le16(d->cfg + at + 18, 1 | 1 << 4); /* and up */
	}
	st_le16(d->wmask + at + 8,
		0x781f); /* error reporting, relaxed order, read size, no snoop */
	st_le16(d->w1cmask + at + 10, 0x000f);
	return at;
}

void pci_set_intx_pin(struct pci_dev *d, unsigned pin)
{
	d->cfg[PCI_INT_PIN] = (uint8_t)(1 + (pin & 3));
}

/* ---- configuration accesses ---- */

static struct pci_dev *cfg_target(struct pci_bus *root, uint8_t busnr, uint8_t devfn, uint32_t off,
				  unsigned size)
{
	struct pci_bus *bus;

	if (off >= PCIE_CFG_SIZE || (size != 1 && size != 2 && size != 4) || (off & 3) + size > 4)
		return NULL;
	bus = pci_bus_route(root, busnr);
	return bus ? bus->dev[devfn] : NULL;
}

uint32_t pci_cfg_read(struct pci_bus *bus, uint8_t busnr, uint8_t devfn, uint32_t off,
		      unsigned size)
{
	struct pci_dev *d = cfg_target(bus, busnr, devfn, off, size);
	uint32_t val;

	if (!d)
		return UINT32_MAX >> (size < 4 ? 32 - 8 * MAX(size, 1u) : 0);
	pthread_mutex_lock(&d->d.lock);
	if (d->cfg_reading)
		d->cfg_reading(d, off, size);
	pthread_mutex_lock(&d->irq_lock); /* the status register's INTx bit */
	val = (uint32_t)ld_le(d->cfg + off, size);
	pthread_mutex_unlock(&d->irq_lock);
	trace_pci_cfg_read(d->d.path, busnr, devfn, off, val);
	pthread_mutex_unlock(&d->d.lock);
	return val;
}

static void write_bytes(struct pci_dev *d, uint32_t off, uint32_t val, unsigned size)
{
	pthread_mutex_lock(&d->irq_lock);
	for (unsigned i = 0; i < size; i++) {
		uint8_t *at = d->cfg + off + i, byte = (uint8_t)(val >> (8 * i));
		uint8_t mask = d->wmask[off + i];
		uint8_t now = (uint8_t)((*at & ~mask) | (byte & mask));

		/* Bus numbers are read without a lock by accesses that pass a bridge. */
		__atomic_store_n(at, (uint8_t)(now & ~(byte & d->w1cmask[off + i])),
				 __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&d->irq_lock);
}

void pci_cfg_write(struct pci_bus *bus, uint8_t busnr, uint8_t devfn, uint32_t off, uint32_t val,
		   unsigned size)
{
	struct pci_dev *d = cfg_target(bus, busnr, devfn, off, size);

	if (!d)
		return;
	pthread_mutex_lock(&d->d.lock);
	trace_pci_cfg_write(d->d.path, busnr, devfn, off, val);
	write_bytes(d, off, val, size);
	if (pci_overlaps(off, size, PCI_COMMAND, 2) ||
	    pci_overlaps(off, size, PCI_BAR0, 4 * pci_nr_bars(d)))
		pci_bars_update(d);
	if (pci_overlaps(off, size, PCI_COMMAND, 2) ||
	    (d->cap_msix && pci_overlaps(off, size, d->cap_msix + 2u, 2))) {
		pci_msix_update(d);
		pci_intx_update(d);
	}
	if (d->secondary)
		pci_bridge_written(d, off, size);
	if (d->cfg_written)
		d->cfg_written(d, off, size, val);
	pthread_mutex_unlock(&d->d.lock);
}

/* ---- state ---- */

static uint64_t ecam_read(void *opaque, uint64_t off, unsigned size)
{
	return pci_cfg_read(opaque, (uint8_t)(off >> 20), (uint8_t)(off >> 12), off & 0xfff, size);
}

static void ecam_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	pci_cfg_write(opaque, (uint8_t)(off >> 20), (uint8_t)(off >> 12), off & 0xfff,
		      (uint32_t)val, size);
}

const struct io_ops pci_ecam_ops = { ecam_read, ecam_write, 1, 4 };

/* What a configuration register is called; the caller frees. */
static char *reg_name(const struct pci_dev *d, unsigned off)
{
	static const struct {
		uint8_t first, last;
		const char *name;
	} header[] = {
		{ 0x00, 0x01, "vendor ID" },
		{ 0x02, 0x03, "device ID" },
		{ 0x04, 0x05, "command" },
		{ 0x06, 0x07, "status" },
		{ 0x08, 0x08, "revision ID" },
		{ 0x09, 0x0b, "class code" },
		{ 0x0e, 0x0e, "header type" },
		{ 0x2c, 0x2f, "subsystem IDs" },
		{ 0x34, 0x34, "capabilities pointer" },
		{ 0x3d, 0x3d, "interrupt pin" },
	};
	unsigned bar = (off - PCI_BAR0) / 4, at = 0;

	if (off >= PCI_BAR0 && bar < pci_nr_bars(d))
		return xasprintf("BAR %u", bar);
	for (size_t i = 0; i < ARRAY_SIZE(header); i++)
		if (off >= header[i].first && off <= header[i].last)
			return xstrdup(header[i].name);
	for (unsigned cap = d->cfg_before[PCI_CAP_PTR]; cap && cap <= off;
	     cap = d->cfg_before[cap + 1])
		at = cap;
	if (!at || off >= d->next_cap)
		return xstrdup("a register of its own");
	return xasprintf("capability %#x", d->cfg_before[at]);
}

/*
 * A hostile stream must not change what the guest could not have changed: whatever it may not
 * write is as this device has it. The status' INTx bit follows the line.
 */
static int check_cfg(const struct pci_dev *d, struct err *e)
{
	for (unsigned i = 0; i < PCIE_CFG_SIZE; i++) {
		uint8_t may = d->wmask[i] | d->w1cmask[i] | (i == PCI_STATUS ? PCI_STATUS_INTX : 0);
		autofree char *name = NULL;

		if (!((d->cfg[i] ^ d->cfg_before[i]) & ~may))
			continue;
		name = reg_name(d, i);
		return err_set(
			e, EINVAL,
			"configuration byte %#x (%s) is %#x, where this device has %#x and a "
			"guest can change bits %#x",
			i, name, d->cfg[i], d->cfg_before[i], may);
	}
	for (uint32_t i = 0; i < d->nr_msix; i++)
		if (d->msix[i].addr & 3 || d->msix[i].ctrl & ~PCI_MSIX_MASKED)
			return err_set(e, EINVAL,
				       "MSI-X vector %u: no guest can write address %#" PRIx64
				       " and control %#x",
				       i, d->msix[i].addr, d->msix[i].ctrl);
	return 0;
}

static void pci_dev_pre_load(void *obj)
{
	struct pci_dev *d = obj;

	undo_load(d);
	d->cfg_before = xnew_n(uint8_t, PCIE_CFG_SIZE);
	memcpy(d->cfg_before, d->cfg, PCIE_CFG_SIZE);
}

static int pci_dev_post_load(void *obj, struct err *e)
{
	struct pci_dev *d = obj;
	int ret = check_cfg(d, e);

	if (ret < 0) {
		undo_load(d);
		return ret;
	}
	free(take_ptr(d->cfg_before));
	if (d->bus) {
		d->upstream_master = pci_bus_masters(d->bus);
		pci_bars_update(d);
		pci_msix_update(d);
		pci_intx_update(d);
	}
	if (d->secondary)
		pci_bridge_loaded(d);
	return 0;
}

static const struct state_desc msix_entry_state = {
	.name = "msix-entry",
	.struct_name = "pci_msix_entry",
	.version = 1,
	.fields =
		(const struct state_field[]){
			ST_U64(struct pci_msix_entry, addr),
			ST_U32(struct pci_msix_entry, data),
			ST_U32(struct pci_msix_entry, ctrl),
			ST_BOOL(struct pci_msix_entry, pending),
			ST_HOST(struct pci_msix_entry, route),
			ST_END,
		},
};

const struct state_desc pci_dev_state = {
	.name = "pci",
	.struct_name = "pci_dev",
	.version = 1,
	.pre_load = pci_dev_pre_load,
	.post_load = pci_dev_post_load,
	.fields =
		(const struct state_field[]){
			ST_HOST(struct pci_dev, d),
			ST_HOST(struct pci_dev, bus),
			ST_HOST(struct pci_dev, secondary),
			ST_HOST(struct pci_dev, devfn),
			ST_HOST(struct pci_dev, addr),
			ST_U8A(struct pci_dev, cfg),
			ST_HOST(struct pci_dev, wmask),
			ST_HOST(struct pci_dev, w1cmask),
			ST_HOST(struct pci_dev, cfg_before),
			ST_HOST(struct pci_dev, bar),
			ST_HOST(struct pci_dev, irq_lock),
			ST_HOST(struct pci_dev, cap_msix),
			ST_HOST(struct pci_dev, cap_exp),
			ST_HOST(struct pci_dev, next_cap),
			ST_HOST(struct pci_dev, last_cap),
			ST_HOST(struct pci_dev, nr_msix),
			ST_SUBS(struct pci_dev, msix, nr_msix, &msix_entry_state),
			ST_HOST(struct pci_dev, msix_bar),
			ST_HOST(struct pci_dev, msix_table_off),
			ST_HOST(struct pci_dev, msix_pba_off),
			ST_DERIVED(struct pci_dev, msix_enabled),
			ST_DERIVED(struct pci_dev, msix_masked),
			ST_HOST(struct pci_dev, msix_paused),
			ST_DERIVED(struct pci_dev, upstream_master),
			ST_BOOL(struct pci_dev, intx_level),
			ST_DERIVED(struct pci_dev, intx_out),
			ST_HOST(struct pci_dev, cfg_written),
			ST_HOST(struct pci_dev, cfg_reading),
			ST_END,
		},
};
