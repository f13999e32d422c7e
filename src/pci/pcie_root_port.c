/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI Express root port: a bridge from bus 0 to one link with one slot. Ids and properties are
 * those of QEMU's device of that name. PCI Express Base 5.0 section 7.5.3.
 *
 * The slot says what is in it (presence, link active) and that it can be hot-plugged, so that
 * guests bind their driver; the link is always up when something is there. The interrupt (MSI-X
 * vector 0, or INTA) is for events of the slot.
 *
 * Threads: as all PCI functions. State: the configuration space.
 */
#include "base/base.h"
#include "core/state.h"
#include "pci/pci_int.h"

#define VENDOR_REDHAT  0x1b36
#define DEVICE_PORT    0x000c
#define CLASS_BRIDGE   0x060400
#define VERSION_2      2u
#define TYPE_ROOT_PORT (4u << 4)
#define SLOT_THERE     BIT32(8)

/* Offsets in the capability (7.5.3). */
enum {
	EXP_FLAGS = 2,
	EXP_DEVCAP = 4,
	EXP_DEVCTL = 8,
	EXP_DEVSTA = 10,
	EXP_LNKCAP = 12,
	EXP_LNKCTL = 16,
	EXP_LNKSTA = 18,
	EXP_SLTCAP = 20,
	EXP_SLTCTL = 24,
	EXP_SLTSTA = 26,
	EXP_RTCTL = 28,
};

#define LINK_SPEED_WIDTH  (1u | 1u << 4) /* 2.5 GT/s, one lane: no limit, it is never measured */
#define LNKCAP_DLLLA	  BIT32(20)	 /* reports link active */
#define LNKSTA_DLLLA	  0x2000u
#define SLTCAP_SURPRISE	  BIT32(5)
#define SLTCAP_HOTPLUG	  BIT32(6)
#define SLTCAP_NO_COMMAND BIT32(18) /* commands take effect at once, without an event */
#define SLTCTL_MASK	  0x1039u   /* enables of events; presence, link, hot plug, attention */
#define SLTSTA_EVENTS	  0x011fu
#define SLTSTA_PRESENT	  0x0040u
#define SLOT_MAX	  0x1fffu

struct root_port {
	struct pci_dev p; /* first */
	/* properties */
	uint8_t port, chassis;
	uint16_t slot;
	bool hotplug;
};

static int add_exp_cap(struct root_port *s, struct err *e)
{
	int at = pci_add_cap(&s->p, PCI_CAP_ID_EXP, NULL, PCIE_CAP_LEN);
	uint8_t *c = s->p.cfg + at, *w = s->p.wmask + at;
	uint32_t slot = (uint32_t)s->slot << 19;

	if (at < 0)
		return err_set(e, ENOSPC, "%s: no room for capabilities", s->p.d.path);
	s->p.cap_exp = (uint16_t)at;
	if (s->hotplug)
		slot |= SLTCAP_HOTPLUG | SLTCAP_SURPRISE | SLTCAP_NO_COMMAND;
	st_le16(c + EXP_FLAGS, (uint16_t)(VERSION_2 | TYPE_ROOT_PORT | SLOT_THERE));
	st_le32(c + EXP_DEVCAP, BIT32(15)); /* role-based error reporting */
	st_le32(c + EXP_LNKCAP, LINK_SPEED_WIDTH | LNKCAP_DLLLA | (uint32_t)s->port << 24);
	st_le32(c + EXP_SLTCAP, slot);
	st_le16(w + EXP_DEVCTL, 0x000f);
	st_le16(s->p.w1cmask + at + EXP_DEVSTA, 0x000f);
	st_le16(w + EXP_LNKCTL, 0x01fb & ~0x0020); /* retraining is over at once */
	if (s->hotplug)
		st_le16(w + EXP_SLTCTL, SLTCTL_MASK);
	st_le16(s->p.w1cmask + at + EXP_SLTSTA, SLTSTA_EVENTS);
	st_le16(w + EXP_RTCTL, 0x000f);
	return 0;
}

/* Two slots of one chassis with one number could not be told apart by who looks for them. */
static int check_chassis(const struct root_port *s, struct err *e)
{
	for (const struct dev *d = s->p.d.vm->devs; d; d = d->next) {
		const struct root_port *o = container_of(d, const struct root_port, p.d);

		if (d->type == s->p.d.type && o->chassis == s->chassis && o->slot == s->slot)
			return err_set(e, EBUSY,
				       "%s: chassis=%u,slot=%u is that of %s already; give each"
				       " port another chassis number",
				       s->p.d.path, s->chassis, s->slot, d->path);
	}
	return 0;
}

static int root_port_init(struct dev *d, struct err *e)
{
	static const struct pci_id id = { .vendor = VENDOR_REDHAT,
					  .device = DEVICE_PORT,
					  .class_rev = CLASS_BRIDGE << 8 };
	struct root_port *s = container_of(d, struct root_port, p.d);
	struct pci_bus *bus = pci_bus_of(d->vm);
	int ret = check_chassis(s, e);

	if (ret < 0)
		return ret;
	if (!bus)
		return err_set(e, ENODEV, "%s: this machine has no PCI bus", d->path);
	ret = pci_dev_attach(bus, &s->p, &id, e);
	if (ret < 0)
		return ret;
	if (s->p.bus != bus)
		return err_set(e, EINVAL,
			       "%s: a root port belongs on pcie.0, not below a port (bus=%s)",
			       d->path, s->p.bus->name);
	ret = pci_bridge_init(&s->p, 1, e);
	if (ret < 0)
		return ret;
	pci_set_intx_pin(&s->p, 0);
	ret = pci_add_msix_bar(&s->p, 1, 0, e);
	return ret < 0 ? ret : add_exp_cap(s, e);
}

static void root_port_fini(struct dev *d)
{
	struct root_port *s = container_of(d, struct root_port, p.d);

	pci_bridge_fini(&s->p);
	pci_dev_detach(&s->p);
}

static void root_port_reset(struct dev *d)
{
	struct root_port *s = container_of(d, struct root_port, p.d);
	uint8_t *c = s->p.cfg + s->p.cap_exp;
	bool there = pci_bridge_occupied(&s->p);

	pthread_mutex_lock(&d->lock);
	pci_bridge_reset(&s->p);
	st_le16(c + EXP_LNKCTL, 0);
	st_le16(c + EXP_SLTCTL, 0);
	st_le16(c + EXP_RTCTL, 0);
	st_le16(c + EXP_LNKSTA, there ? LINK_SPEED_WIDTH | LNKSTA_DLLLA : LINK_SPEED_WIDTH);
	st_le16(c + EXP_SLTSTA, there ? SLTSTA_PRESENT : 0);
	pthread_mutex_unlock(&d->lock);
}

#define S struct root_port
static const struct prop root_port_props[] = {
	PROP_UINT("port", S, port, PROP_U8, 0, 0, 0, "number of the port, as the guest reads it"),
	PROP_UINT("chassis", S, chassis, PROP_U8, 0, 0, 0,
		  "chassis that the slot is in; must be unique together with slot"),
	PROP_UINT("slot", S, slot, PROP_U16, 0, 0, SLOT_MAX, "number of the slot"),
	PROP_FLAG("hotplug", S, hotplug, 1, "say that the slot can be hot-plugged"),
	PROPS_END,
};

static const struct state_desc root_port_state = {
	.name = "pcie-root-port",
	.struct_name = "root_port",
	.version = 1,
	.fields = (const struct state_field[]){ ST_SUB(S, p, &pci_dev_state), ST_HOST(S, port),
						ST_HOST(S, chassis), ST_HOST(S, slot),
						ST_HOST(S, hotplug), ST_END },
};
#undef S

const struct dev_type pcie_root_port_type = {
	.name = "pcie-root-port",
	.bus = DEV_BUS_PCI,
	.help = "PCI Express root port: a bus with one slot, named by its id",
	.size = sizeof(struct root_port),
	.props = root_port_props,
	.state = &root_port_state,
	.init = root_port_init,
	.fini = root_port_fini,
	.reset = root_port_reset,
};
