/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Q35 memory controller hub (00:00.0): the ways to PCI configuration space. Intel 3 Series Express
 * Chipset datasheet (316966), chapters 3 and 5.1: PCIEXBAR and ports 0xcf8 to 0xcff.
 *
 * The PAM, SMRAM and TOLUD registers are kept as firmware reads them back; the memory they would
 * switch is plain RAM.
 *
 * Threads: configuration accesses lock the addressed function (pci_cfg_read()); config_address is
 * under this device's lock.
 */
#include "base/base.h"
#include "arch/x86/mch.h"
#include "base/bytes.h"

#define REG_PCIEXBAR	0x60u
#define PCIEXBAR_ENABLE 1u
#define CONFIG_ENABLE	BIT32(31)

#define RESET_PORT_OFF 1u /* 0xcf9 */

/* Offset in 256-byte configuration space of a byte of 0xcfc..0xcff. */
static uint32_t data_off(const struct mch *s, uint64_t off)
{
	return (s->config_address & 0xfc) | (uint32_t)(off & 3);
}

static uint64_t port_read(void *opaque, uint64_t off, unsigned size)
{
	struct mch *s = opaque;
	uint32_t a;

	if (off < 4) {
		if (size == 4)
			return s->config_address;
		return off == RESET_PORT_OFF && size == 1 ? s->board->lpc->reset_control
							  : UINT64_MAX;
	}
	a = s->config_address;
	if (!(a & CONFIG_ENABLE))
		return UINT64_MAX;
	return pci_cfg_read(s->board->pci, (uint8_t)(a >> 16), (uint8_t)(a >> 8), data_off(s, off),
			    size);
}

static void port_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
	struct mch *s = opaque;
	uint32_t a;

	if (off < 4) {
		if (size == 4)
			s->config_address = (uint32_t)val & 0x80fffffc;
		else if (off == RESET_PORT_OFF && size == 1)
			lpc_reset_control_write(s->board->lpc, (uint8_t)val);
		return;
	}
	a = s->config_address;
	if (a & CONFIG_ENABLE)
		pci_cfg_write(s->board->pci, (uint8_t)(a >> 16), (uint8_t)(a >> 8),
			      data_off(s, off), (uint32_t)val, size);
}

static const struct io_ops port_ops = { port_read, port_write, 1, 4 };

/* PCIEXBAR: base in bits 35:28, length in 2:1 (256, 128, 64 MiB), enable in 0. */
static void place_ecam(struct mch *s)
{
	uint64_t reg = ld_le64(s->p.cfg + REG_PCIEXBAR);
	static const uint64_t size[4] = { MIB(256), MIB(128), MIB(64), 0 };
	uint64_t len = size[reg >> 1 & 3], base = reg & 0xff0000000ull & ~(len - 1);
	struct err e;

	if (s->ecam.added)
		map_del(s->p.d.vm->map, &s->ecam);
	if (!(reg & PCIEXBAR_ENABLE) || !len)
		return;
	s->ecam.addr = base;
	s->ecam.size = len;
	if (map_add(s->p.d.vm->map, &s->ecam, &e))
		dev_guest_error(&s->p.d, "PCIEXBAR 0x%" PRIx64 ": %s", reg, e.msg);
}

static void cfg_written(struct pci_dev *p, uint32_t off, unsigned size, uint32_t val)
{
	struct mch *s = container_of(p, struct mch, p);

	if (off < REG_PCIEXBAR + 8 && off + size > REG_PCIEXBAR)
		place_ecam(s);
}

static void registers(struct mch *s)
{
	uint8_t *w = s->p.wmask;

	st_le64(w + REG_PCIEXBAR, 0xff0000007ull);
	memset(w + 0x90, 0x33, 7); /* PAM0..6 */
	w[0x90] = 0x30;
	w[0x9d] = 0x7f;		   /* SMRAM */
	w[0x9e] = 0xff;		   /* ESMRAMC */
	st_le16(w + 0xb0, 0xfff0); /* TOLUD */
	st_le16(w + 0xdc, 0xffff); /* scratch pad */
	st_le16(w + 0xde, 0xffff);
}

static int mch_init(struct dev *d, struct err *e)
{
	static const struct pci_id id = { .vendor = 0x8086,
					  .device = 0x29c0,
					  .subvendor = 0x1af4,
					  .subdevice = 0x1100,
					  .class_rev = 0x06000000 };
	struct mch *s = container_of(d, struct mch, p.d);
	int r;

	s->p.addr = PCI_DEVFN(0, 0);
	r = pci_dev_attach(s->board->pci, &s->p, &id, e);
	if (r)
		return r;
	registers(s);
	s->p.cfg_written = cfg_written;
	s->ecam = (struct map_region){ .name = "pcie-ecam",
				       .space = MAP_MEM,
				       .kind = MAP_IO,
				       .ops = &pci_ecam_ops,
				       .opaque = s->board->pci };
	s->cf8 = (struct map_region){ .name = "pci-config",
				      .space = MAP_PIO,
				      .kind = MAP_IO,
				      .addr = 0xcf8,
				      .size = 8,
				      .ops = &port_ops,
				      .opaque = s,
				      .lock = &d->lock };
	return map_add(d->vm->map, &s->cf8, e);
}

static void mch_fini(struct dev *d)
{
	struct mch *s = container_of(d, struct mch, p.d);

	if (s->ecam.added)
		map_del(d->vm->map, &s->ecam);
	if (s->cf8.added)
		map_del(d->vm->map, &s->cf8);
	pci_dev_detach(&s->p);
}

static void mch_reset(struct dev *d)
{
	struct mch *s = container_of(d, struct mch, p.d);

	pci_dev_reset(&s->p);
	s->config_address = 0;
	st_le64(s->p.cfg + REG_PCIEXBAR, ECAM_BASE);
	memset(s->p.cfg + 0x90, 0, 7);
	s->p.cfg[0x9d] = 0x02;
	s->p.cfg[0x9e] = 0x38;
	place_ecam(s);
}

void mch_firmware_defaults(struct mch *s)
{
	st_le64(s->p.cfg + REG_PCIEXBAR, ECAM_BASE | PCIEXBAR_ENABLE);
	memset(s->p.cfg + 0x90, 0x33, 7);
	s->p.cfg[0x90] = 0x30;
	place_ecam(s);
}

static int mch_post_load(void *obj, struct err *e)
{
	place_ecam(obj);
	return 0;
}

#define S struct mch
static const struct state_desc mch_state = {
	.name = "mch",
	.struct_name = "mch",
	.version = 1,
	.post_load = mch_post_load,
	.fields = (const struct state_field[]){ ST_SUB(S, p, &pci_dev_state), ST_HOST(S, board),
						ST_DERIVED(S, ecam), ST_HOST(S, cf8),
						ST_U32(S, config_address), ST_END },
};
#undef S

const struct dev_type mch_type = {
	.name = "mch",
	.bus = DEV_BUS_PCI,
	.help = "Q35 host bridge",
	.size = sizeof(struct mch),
	.state = &mch_state,
	.internal = true,
	.init = mch_init,
	.fini = mch_fini,
	.reset = mch_reset,
};
