/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI functions on bus 0: lookup, configuration space, capabilities, reset, state.
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
#include "pci/pci_int.h"
#include "core/state.h"

#define PCIE_CAP_LEN 0x3cu
#define STATUS_W1C   0xf900u /* parity, SERR, master and target abort bits */

/* ---- bus ---- */

struct pci_bus *pci_bus_new(struct vm *vm,
			    void (*intx)(void *opaque, uint8_t devfn, unsigned pin, int level),
			    void *opaque)
{
	struct pci_bus *bus = xnew(struct pci_bus);

	bus->vm = vm;
	bus->intx = intx;
	bus->opaque = opaque;
	bus->first_slot = 1;
	vm->pci = bus;
	return bus;
}

struct pci_bus *pci_bus_free(struct pci_bus *bus)
{
	if (bus && bus->vm->pci == bus)
		bus->vm->pci = NULL;
	free(bus);
	return NULL;
}

struct pci_bus *pci_bus_of(struct vm *vm)
{
	return vm->pci;
}

struct pci_dev *pci_bus_dev_find(struct pci_bus *bus, uint8_t devfn)
{
	return bus->dev[devfn];
}

void pci_bus_set_first_slot(struct pci_bus *bus, unsigned slot)
{
	bus->first_slot = slot & 31;
}

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
	for (unsigned slot = bus->first_slot; slot < 32; slot++) {
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

static int read_node(struct pci_dev *d, bool *multi, struct err *e)
{
	struct conf_node *node = d->d.node;
	const char *addr, *bus;

	if (!node)
		return 0;
	d->addr = PCI_ANY_ADDR;
	bus = conf_get(node, "bus");
	if (bus && strcmp(bus, "pcie.0") && strcmp(bus, "pci.0"))
		return err_set(e, ENOENT, "%s: there is no bus '%s', only 'pcie.0'", node->where,
			       bus);
	(void)conf_get(node, "romfile"); /* no option ROMs: any is as good as none */
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

int pci_dev_attach(struct pci_bus *bus, struct pci_dev *d, const struct pci_id *id, struct err *e)
{
	bool multi = false;
	int ret = read_node(d, &multi, e), addr;

	if (ret < 0)
		return ret;
	addr = d->addr == PCI_ANY_ADDR ? find_free_slot(bus) : d->addr;
	if (addr < 0)
		return err_set(e, ENOSPC,
			       "%s: no free slot on the PCI bus; give two devices"
			       " functions of one slot with addr=slot.function",
			       d->d.path);
	if (addr > 255 || bus->dev[addr])
		return err_set(e, EBUSY, "%s: PCI address %02x.%x is taken by %s", d->d.path,
			       addr >> 3, addr & 7,
			       addr > 255 ? "nobody, but does not exist" : bus->dev[addr]->d.path);
	pthread_mutex_init(&d->irq_lock, NULL);
	d->bus = bus;
	d->devfn = (uint8_t)addr;
	init_header(d, id);
	bus->dev[addr] = d;
	mark_multifunction(bus, d->devfn, multi);
	return 0;
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
	free(take_ptr(d->msix));
	d->nr_msix = 0;
	pthread_mutex_destroy(&d->irq_lock);
	d->bus = NULL;
}

bool pci_is_master(const struct pci_dev *d)
{
	return pci_command(d) & PCI_COMMAND_MASTER;
}

void pci_dev_reset(struct pci_dev *d)
{
	pthread_mutex_lock(&d->d.lock);
	st_le16(d->cfg + PCI_COMMAND, 0);
	for (unsigned i = 0; i < PCIE_CFG_SIZE; i++)
		d->cfg[i] &= (uint8_t)~d->w1cmask[i];
	for (unsigned n = 0; n < PCI_NR_BARS; n++) {
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
	/* Version 2, root complex integrated endpoint: bus 0 has no links above it. */
	st_le16(d->cfg + at + 2, 2 | 9 << 4);
	st_le32(d->cfg + at + 4, BIT32(15)); /* role-based error reporting */
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

static struct pci_dev *cfg_target(struct pci_bus *bus, uint8_t busnr, uint8_t devfn, uint32_t off,
				  unsigned size)
{
	if (busnr || off >= PCIE_CFG_SIZE || (size != 1 && size != 2 && size != 4) ||
	    (off & 3) + size > 4)
		return NULL;
	return bus->dev[devfn];
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
	pthread_mutex_unlock(&d->d.lock);
	return val;
}

static bool overlaps(uint32_t off, unsigned size, uint32_t at, uint32_t len)
{
	return len && off < at + len && at < off + size;
}

static void write_bytes(struct pci_dev *d, uint32_t off, uint32_t val, unsigned size)
{
	pthread_mutex_lock(&d->irq_lock);
	for (unsigned i = 0; i < size; i++) {
		uint8_t *at = d->cfg + off + i, byte = (uint8_t)(val >> (8 * i));
		uint8_t mask = d->wmask[off + i];

		*at = (uint8_t)((*at & ~mask) | (byte & mask));
		*at &= (uint8_t) ~(byte & d->w1cmask[off + i]);
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
	write_bytes(d, off, val, size);
	if (overlaps(off, size, PCI_COMMAND, 2) || overlaps(off, size, PCI_BAR0, 4 * PCI_NR_BARS))
		pci_bars_update(d);
	if (overlaps(off, size, PCI_COMMAND, 2) ||
	    (d->cap_msix && overlaps(off, size, d->cap_msix + 2u, 2))) {
		pci_msix_update(d);
		pci_intx_update(d);
	}
	if (d->cfg_written)
		d->cfg_written(d, off, size, val);
	pthread_mutex_unlock(&d->d.lock);
}

/* ---- state ---- */

/* A hostile stream must not change what the guest could not have changed. */
static int check_cfg(struct pci_dev *d, struct err *e)
{
	if (d->nr_msix && d->cap_msix &&
	    (ld_le16(d->cfg + d->cap_msix + 2) & 0x7ff) != d->nr_msix - 1)
		return err_set(e, EINVAL, "the MSI-X table has another size than this device's");
	for (unsigned n = 0; n < PCI_NR_BARS; n++) {
		bool upper = n && d->bar[n - 1].kind == PCI_BAR_MEM64;
		uint32_t kind = ld_le32(d->cfg + PCI_BAR0 + 4 * n) & 0xf, want = 0;
		uint32_t fixed = ~ld_le32(d->wmask + PCI_BAR0 + 4 * n);

		if (upper)
			continue;
		if (d->bar[n].kind == PCI_BAR_IO)
			want = 1, kind &= 3;
		else if (d->bar[n].kind != PCI_BAR_NONE)
			want = (d->bar[n].kind == PCI_BAR_MEM64 ? 4 : 0) |
			       (d->bar[n].prefetch ? 8 : 0);
		if (kind != want || (ld_le32(d->cfg + PCI_BAR0 + 4 * n) & fixed & ~0xfu))
			return err_set(e, EINVAL, "BAR %u is not this device's", n);
	}
	return 0;
}

static int pci_dev_post_load(void *obj, struct err *e)
{
	struct pci_dev *d = obj;
	int ret = check_cfg(d, e);

	if (ret < 0)
		return ret;
	for (uint32_t i = 0; i < d->nr_msix; i++)
		d->msix[i].ctrl &= 1;
	if (d->bus) {
		pci_bars_update(d);
		pci_msix_update(d);
		pci_intx_update(d);
	}
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
			ST_END,
		},
};

const struct state_desc pci_dev_state = {
	.name = "pci",
	.struct_name = "pci_dev",
	.version = 1,
	.post_load = pci_dev_post_load,
	.fields =
		(const struct state_field[]){
			ST_HOST(struct pci_dev, d),
			ST_HOST(struct pci_dev, bus),
			ST_HOST(struct pci_dev, devfn),
			ST_HOST(struct pci_dev, addr),
			ST_U8A(struct pci_dev, cfg),
			ST_HOST(struct pci_dev, wmask),
			ST_HOST(struct pci_dev, w1cmask),
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
			ST_BOOL(struct pci_dev, intx_level),
			ST_DERIVED(struct pci_dev, intx_out),
			ST_HOST(struct pci_dev, cfg_written),
			ST_HOST(struct pci_dev, cfg_reading),
			ST_END,
		},
};
