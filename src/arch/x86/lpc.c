/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ICH9 LPC bridge (00:1f.0): PIRQ routing, the base addresses of the ACPI block and of the root
 * complex registers, reset control. Intel ICH9 datasheet (316972) 13.1 and 13.7.
 *
 * Of the root complex registers (RCBA) there is GCS, for NO_REBOOT of the watchdog (10.1.75);
 * the others read as zero.
 *
 * Threads: registers under dev->lock; routing goes to gsi.c, which locks itself.
 */
#include "base/base.h"
#include "arch/x86/mch.h"
#include "base/bytes.h"
#include "dev/acpi_pm.h"

#define REG_PMBASE	 0x40u
#define REG_ACPI_CTRL	 0x44u
#define REG_PIRQ_AD	 0x60u
#define REG_SIRQ	 0x64u
#define REG_PIRQ_EH	 0x68u
#define REG_GEN_PMCON	 0xa0u
#define REG_RCBA	 0xf0u
#define ACPI_CTRL_ENABLE 0x80u
#define PIRQ_OFF	 0x80u

#define RST_CPU	      BIT32(2)
#define RCBA_PRIO     (-1) /* a guest that moves it over something else only hides it */
#define GCS_NO_REBOOT BIT32(5)

static void place_pm(struct lpc *s)
{
	uint16_t base = ld_le16(s->p.cfg + REG_PMBASE) & 0xff80;
	struct err e;

	if (!(s->p.cfg[REG_ACPI_CTRL] & ACPI_CTRL_ENABLE))
		base = 0;
	if (acpi_pm_dev_place(s->board->pm, base, &e))
		dev_guest_error(&s->p.d, "PMBASE 0x%x: %s", base, e.msg);
}

static void place_rcba(struct lpc *s)
{
	uint32_t rcba = ld_le32(s->p.cfg + REG_RCBA);
	struct err e;

	if (!(rcba & 1)) {
		if (s->rcba.added)
			map_del(s->p.d.vm->map, &s->rcba);
		return;
	}
	if (map_move(s->p.d.vm->map, &s->rcba, rcba & ~1u, &e))
		dev_guest_error(&s->p.d, "RCBA 0x%x: %s", rcba, e.msg);
}

static void set_gcs(struct lpc *s, uint32_t val)
{
	s->gcs = val & GCS_NO_REBOOT;
	acpi_pm_dev_no_reboot(s->board->pm, s->no_reboot || s->gcs);
}

static uint64_t rcba_read(void *opaque, uint64_t off, unsigned size)
{
	struct lpc *s = opaque;

	return off == RCBA_GCS ? s->gcs : 0;
}

/* All of GCS that there is lies in its first byte. */
static void rcba_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	if (off == RCBA_GCS)
		set_gcs(opaque, (uint32_t)val);
}

static const struct io_ops rcba_ops = { rcba_read, rcba_write, 1, 4 };

static void route_pirqs(struct lpc *s)
{
	for (unsigned i = 0; i < X86_NR_PIRQ; i++)
		gsi_set_pirq_route(s->board, i,
				   s->p.cfg[(i < 4 ? REG_PIRQ_AD : REG_PIRQ_EH) + (i & 3)]);
}

static void cfg_written(struct pci_dev *p, uint32_t off, unsigned size, uint32_t val)
{
	struct lpc *s = container_of(p, struct lpc, p);

	if (off + size > REG_PMBASE && off <= REG_ACPI_CTRL)
		place_pm(s);
	if (off + size > REG_PIRQ_AD && off < REG_PIRQ_EH + 4)
		route_pirqs(s);
	if (off + size > REG_RCBA && off < REG_RCBA + 4)
		place_rcba(s);
}

void lpc_reset_control_write(struct lpc *s, uint8_t val)
{
	bool rise = (val & RST_CPU) && !(s->reset_control & RST_CPU);

	s->reset_control = val & 0x0e;
	if (rise)
		vm_request_reset(s->p.d.vm, VM_CAUSE_GUEST_RESET);
}

static int lpc_init(struct dev *d, struct err *e)
{
	static const struct pci_id id = { .vendor = 0x8086,
					  .device = 0x2918,
					  .subvendor = 0x1af4,
					  .subdevice = 0x1100,
					  .class_rev = 0x06010002 };
	struct lpc *s = container_of(d, struct lpc, p.d);
	uint8_t *w = s->p.wmask;
	int r;

	s->p.addr = PCI_DEVFN(31, 0);
	r = pci_dev_attach(s->board->pci, &s->p, &id, e);
	if (r)
		return r;
	s->p.cfg_written = cfg_written;
	st_le32(w + REG_PMBASE, 0x0000ff80);
	w[REG_ACPI_CTRL] = 0x87;
	st_le32(w + REG_PIRQ_AD, 0x8f8f8f8f);
	w[REG_SIRQ] = 0xdf;
	st_le32(w + REG_PIRQ_EH, 0x8f8f8f8f);
	st_le32(w + 0x80, 0xffffffff); /* LPC I/O decode ranges and enables */
	st_le32(w + 0x84, 0xffffffff);
	st_le32(w + REG_GEN_PMCON, 0x00ff16ff);
	st_le32(w + REG_RCBA, 0xffffc001);
	s->rcba = (struct map_region){ .name = "rcba",
				       .space = MAP_MEM,
				       .kind = MAP_IO,
				       .size = RCBA_SIZE,
				       .prio = RCBA_PRIO,
				       .ops = &rcba_ops,
				       .opaque = s,
				       .lock = &d->lock };
	return 0;
}

static void lpc_fini(struct dev *d)
{
	struct lpc *s = container_of(d, struct lpc, p.d);

	if (s->rcba.added)
		map_del(d->vm->map, &s->rcba);
	pci_dev_detach(&s->p);
}

static void lpc_reset(struct dev *d)
{
	struct lpc *s = container_of(d, struct lpc, p.d);

	pci_dev_reset(&s->p);
	st_le32(s->p.cfg + REG_PMBASE, 1);
	s->p.cfg[REG_ACPI_CTRL] = 0;
	memset(s->p.cfg + REG_PIRQ_AD, PIRQ_OFF, 4);
	memset(s->p.cfg + REG_PIRQ_EH, PIRQ_OFF, 4);
	s->p.cfg[REG_SIRQ] = 0x10;
	st_le32(s->p.cfg + REG_GEN_PMCON, 0);
	st_le32(s->p.cfg + REG_RCBA, 0);
	s->reset_control = 0;
	set_gcs(s, GCS_NO_REBOOT);
	place_pm(s);
	place_rcba(s);
	route_pirqs(s);
}

void lpc_firmware_defaults(struct lpc *s)
{
	static const uint8_t route[4] = { 10, 10, 11, 11 };

	st_le32(s->p.cfg + REG_PMBASE, PM_BASE | 1);
	s->p.cfg[REG_ACPI_CTRL] = ACPI_CTRL_ENABLE;
	memcpy(s->p.cfg + REG_PIRQ_AD, route, 4);
	memcpy(s->p.cfg + REG_PIRQ_EH, route, 4);
	s->p.cfg[REG_SIRQ] = 0xd0;
	st_le32(s->p.cfg + REG_RCBA, RCBA_BASE | 1);
	place_pm(s);
	place_rcba(s);
	route_pirqs(s);
	/* PCI interrupts are levels. */
	gsi_set_elcr(s->board, BIT32(9) | BIT32(10) | BIT32(11));
}

static int lpc_post_load(void *obj, struct err *e)
{
	struct lpc *s = obj;

	if (s->reset_control & ~0x0eu)
		return err_set(e, EINVAL, "lpc: reset control is 0x%x", s->reset_control);
	if (s->gcs & ~GCS_NO_REBOOT)
		return err_set(e, EINVAL, "lpc: GCS is 0x%x", s->gcs);
	set_gcs(s, s->gcs);
	place_pm(s);
	place_rcba(s);
	route_pirqs(s);
	return 0;
}

#define S struct lpc
static const struct state_desc lpc_state = {
	.name = "lpc",
	.struct_name = "lpc",
	.version = 2,
	.post_load = lpc_post_load,
	.fields = (const struct state_field[]){ ST_SUB(S, p, &pci_dev_state),
						ST_HOST(S, board),
						ST_U8(S, reset_control),
						ST_HOST(S, no_s3),
						ST_HOST(S, no_s4),
						ST_HOST(S, no_reboot),
						ST_HOST(S, rcba),
						{ .name = "gcs",
						  .kind = STATE_U32,
						  .offset = offsetof(S, gcs),
						  .elem = sizeof(uint32_t),
						  .count = 1,
						  .since = 2 },
						ST_END },
};
#undef S

static const struct prop lpc_props[] = {
	PROP_UINT("disable_s3", struct lpc, no_s3, PROP_U8, 1, 1, 1,
		  "no suspend to RAM: there is none"),
	PROP_UINT("disable_s4", struct lpc, no_s4, PROP_U8, 1, 1, 1, "no suspend to disk"),
	PROP_FLAG("noreboot", struct lpc, no_reboot, 0, "the chipset's watchdog has no effect"),
	PROPS_END,
};

const struct dev_type lpc_type = {
	.name = "ICH9-LPC",
	.bus = DEV_BUS_PCI,
	.help = "ICH9 LPC bridge",
	.size = sizeof(struct lpc),
	.props = lpc_props,
	.state = &lpc_state,
	.internal = true,
	.init = lpc_init,
	.fini = lpc_fini,
	.reset = lpc_reset,
};
