/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI functions as the guest and its firmware have set them up. Source: QEMU's QAPI
 * documentation of pci; PCI Local Bus 3.0 chapter 6, PCI-to-PCI Bridge 1.2 chapter 3 for the
 * headers. Control thread, vCPUs run; no state.
 */
#include "base/base.h"
#include "base/bytes.h"
#include "core/vm.h"
#include "mon/cmd.h"
#include "pci/pci.h"
#include <inttypes.h>

#define HDR_CLASS	 0x0a
#define HDR_INT_LINE	 0x3c
#define HDR_INT_PIN	 0x3d
#define HDR_SUBSYSTEM	 0x2e
#define BRIDGE_PRIMARY	 0x18
#define BRIDGE_SECONDARY 0x19
#define BRIDGE_SUBORD	 0x1a
#define BRIDGE_IO	 0x1c
#define BRIDGE_MEM	 0x20
#define BRIDGE_PREF	 0x24
#define BRIDGE_PREF_HI	 0x28
#define BRIDGE_IO_HI	 0x30

static const char *class_name(unsigned class)
{
	static const struct {
		unsigned class;
		const char *name;
	} names[] = {
		{ 0x0100, "SCSI controller" },
		{ 0x0106, "SATA controller" },
		{ 0x0180, "Storage controller" },
		{ 0x0200, "Ethernet controller" },
		{ 0x0500, "RAM controller" },
		{ 0x0600, "Host bridge" },
		{ 0x0601, "ISA bridge" },
		{ 0x0604, "PCI bridge" },
		{ 0x0780, "Communication controller" },
		{ 0x0c03, "USB controller" },
		{ 0x0c05, "SMBus" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].class == class)
			return names[i].name;
	return NULL;
}

static json_t *range(uint64_t base, uint64_t limit)
{
	return json_pack("{s:I, s:I}", "base", (json_int_t)base, "limit", (json_int_t)limit);
}

static json_t *bridge_info(const struct pci_dev *p)
{
	const uint8_t *c = p->cfg;
	uint64_t io_base = (uint64_t)(c[BRIDGE_IO] & 0xf0) << 8 |
			   (uint64_t)ld_le16(c + BRIDGE_IO_HI) << 16;
	uint64_t io_limit = (uint64_t)(c[BRIDGE_IO + 1] & 0xf0) << 8 | 0xfff |
			    (uint64_t)ld_le16(c + BRIDGE_IO_HI + 2) << 16;
	uint64_t mem_base = (uint64_t)(ld_le16(c + BRIDGE_MEM) & 0xfff0) << 16;
	uint64_t mem_limit = (uint64_t)(ld_le16(c + BRIDGE_MEM + 2) & 0xfff0) << 16 | 0xfffff;
	uint64_t pref_base = (uint64_t)(ld_le16(c + BRIDGE_PREF) & 0xfff0) << 16 |
			     (uint64_t)ld_le32(c + BRIDGE_PREF_HI) << 32;
	uint64_t pref_limit = (uint64_t)(ld_le16(c + BRIDGE_PREF + 2) & 0xfff0) << 16 | 0xfffff |
			      (uint64_t)ld_le32(c + BRIDGE_PREF_HI + 4) << 32;

	return json_pack("{s:i, s:i, s:i, s:o, s:o, s:o}", "number", c[BRIDGE_PRIMARY], "secondary",
			 c[BRIDGE_SECONDARY], "subordinate", c[BRIDGE_SUBORD], "io_range",
			 range(io_base, io_limit), "memory_range", range(mem_base, mem_limit),
			 "prefetchable_range", range(pref_base, pref_limit));
}

static json_t *regions(const struct pci_dev *p)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < PCI_NR_BARS; i++) {
		const struct pci_bar *b = &p->bar[i];
		json_t *o;

		if (b->kind == PCI_BAR_NONE)
			continue;
		o = json_pack("{s:i, s:s, s:I, s:I}", "bar", (int)i, "type",
			      b->kind == PCI_BAR_IO ? "io" : "memory", "address",
			      (json_int_t)pci_bar_addr(p, i), "size", (json_int_t)b->size);
		if (b->kind != PCI_BAR_IO) {
			json_object_set_new(o, "prefetch", json_boolean(b->prefetch));
			json_object_set_new(o, "mem_type_64",
					    json_boolean(b->kind == PCI_BAR_MEM64));
		}
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *dev_info(struct pci_dev *p)
{
	const uint8_t *c = p->cfg;
	unsigned class = ld_le16(c + HDR_CLASS);
	json_t *cl = json_pack("{s:i}", "class", (int)class), *id, *o;
	bool bridge = (c[PCI_HEADER_TYPE] & 0x7f) == 1;

	if (class_name(class))
		json_object_set_new(cl, "desc", json_string(class_name(class)));
	id = json_pack("{s:i, s:i}", "vendor", ld_le16(c), "device", ld_le16(c + 2));
	if (!bridge) {
		json_object_set_new(id, "subsystem-vendor",
				    json_integer(ld_le16(c + PCI_SUBVENDOR)));
		json_object_set_new(id, "subsystem", json_integer(ld_le16(c + HDR_SUBSYSTEM)));
	}
	o = json_pack("{s:i, s:i, s:i, s:o, s:o, s:i, s:s, s:o}", "bus", pci_bus_number(p->bus),
		      "slot", p->devfn >> 3, "function", p->devfn & 7, "class_info", cl, "id", id,
		      "irq_pin", c[HDR_INT_PIN], "qdev_id", p->d.id ?: "", "regions", regions(p));
	if (c[HDR_INT_PIN])
		json_object_set_new(o, "irq", json_integer(c[HDR_INT_LINE]));
	if (bridge)
		json_object_set_new(o, "pci_bridge", json_pack("{s:o}", "bus", bridge_info(p)));
	return o;
}

static json_t *bus_devices(struct pci_bus *bus)
{
	json_t *list = json_array();

	for (unsigned devfn = 0; devfn < 256; devfn++) {
		struct pci_dev *p = pci_bus_dev_find(bus, (uint8_t)devfn);
		json_t *o;

		if (!p)
			continue;
		pthread_mutex_lock(&p->d.lock);
		o = dev_info(p);
		pthread_mutex_unlock(&p->d.lock);
		if (p->secondary) /* one lock at a time */
			json_object_set_new(json_object_get(o, "pci_bridge"), "devices",
					    bus_devices(p->secondary));
		json_array_append_new(list, o);
	}
	return list;
}

json_t *qmp_query_pci(struct mon_cmd *c, struct err *e)
{
	struct pci_bus *bus = pci_bus_of(c->vm);
	json_t *list = json_array();

	if (bus)
		json_array_append_new(list, json_pack("{s:i, s:o}", "bus", pci_bus_number(bus),
						      "devices", bus_devices(bus)));
	return list;
}

/* ---- for people ---- */

static long long num(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void say_region(struct hmp *h, const json_t *r)
{
	unsigned long long at = (unsigned long long)num(r, "address");
	unsigned long long last = at + (unsigned long long)num(r, "size") - 1;

	hmp_printf(h, "      BAR%lld: ", num(r, "bar"));
	if (!strcmp(json_string_value(json_object_get(r, "type")), "io"))
		hmp_printf(h, "I/O at 0x%04llx [0x%04llx].\n", at, last);
	else
		hmp_printf(h, "%d bit%s memory at 0x%08llx [0x%08llx].\n",
			   json_is_true(json_object_get(r, "mem_type_64")) ? 64 : 32,
			   json_is_true(json_object_get(r, "prefetch")) ? " prefetchable" : "", at,
			   last);
}

static void say_range(struct hmp *h, const char *what, int digits, const json_t *r)
{
	hmp_printf(h, "      %s range [0x%0*llx, 0x%0*llx]\n", what, digits, num(r, "base"), digits,
		   num(r, "limit"));
}

static void say_bridge(struct hmp *h, const json_t *bus)
{
	hmp_printf(h, "      BUS %lld.\n      secondary bus %lld.\n      subordinate bus %lld.\n",
		   num(bus, "number"), num(bus, "secondary"), num(bus, "subordinate"));
	say_range(h, "IO", 4, json_object_get(bus, "io_range"));
	say_range(h, "memory", 8, json_object_get(bus, "memory_range"));
	say_range(h, "prefetchable memory", 8, json_object_get(bus, "prefetchable_range"));
}

static void say_devices(struct hmp *h, const json_t *list)
{
	size_t i, j;
	json_t *o, *r;

	json_array_foreach(list, i, o)
	{
		const json_t *id = json_object_get(o, "id"), *cl = json_object_get(o, "class_info");
		const json_t *bridge = json_object_get(o, "pci_bridge");
		const char *desc = json_string_value(json_object_get(cl, "desc"));

		hmp_printf(h, "  Bus %2lld, device %3lld, function %lld:\n", num(o, "bus"),
			   num(o, "slot"), num(o, "function"));
		if (desc)
			hmp_printf(h, "    %s", desc);
		else
			hmp_printf(h, "    Class %04lld", num(cl, "class"));
		hmp_printf(h, ": PCI device %04llx:%04llx\n", num(id, "vendor"), num(id, "device"));
		if (num(id, "subsystem-vendor"))
			hmp_printf(h, "      PCI subsystem %04llx:%04llx\n",
				   num(id, "subsystem-vendor"), num(id, "subsystem"));
		if (num(o, "irq_pin"))
			hmp_printf(h, "      IRQ %lld, pin %c\n", num(o, "irq"),
				   (char)('A' + num(o, "irq_pin") - 1));
		if (bridge)
			say_bridge(h, json_object_get(bridge, "bus"));
		json_array_foreach(json_object_get(o, "regions"), j, r) say_region(h, r);
		hmp_printf(h, "      id \"%s\"\n",
			   json_string_value(json_object_get(o, "qdev_id")));
		if (bridge)
			say_devices(h, json_object_get(bridge, "devices"));
	}
}

void hmp_info_pci(struct hmp *h)
{
	json_t *list = hmp_qmp(h, "query-pci", NULL), *o;
	size_t i;

	json_array_foreach(list, i, o) say_devices(h, json_object_get(o, "devices"));
	json_decref(list);
}
