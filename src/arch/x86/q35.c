/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The q35 board: buses and chips. Intel 3 Series chipset and ICH9 datasheets; the addresses are
 * those that QEMU's machine of the same name has, so that firmware and guests find what they know.
 * Beside what board.c lists:
 *
 *	b0000000		ECAM, 256 buses
 *	c0000000 - febfffff	PCI, 32 bit
 *	behind high RAM		PCI, 64 bit
 *
 * Threads: control thread.
 */
#include "base/base.h"
#include "arch/x86/board.h"
#include "arch/x86/mch.h"
#include "dev/acpi_pm.h"
#include "dev/i8042.h"
#include "dev/i8254.h"
#include "dev/rtc.h"

#define PCI32_FIRST  0xc0000000u
#define PCI32_END    0xfec00000u
#define PCI_IO_FIRST 0x1000u
#define PCI_IO_SIZE  0xf000u

static void pic_out(void *opaque, int n, int level)
{
	struct x86_board *b = opaque;

	lapic_lint0(b->bus.lapic[0], level);
}

static void prepare_pic(struct dev *d, void *arg)
{
	struct pic_dev *s = container_of(d, struct pic_dev, d);

	s->chip.out = (struct irq){ .set = pic_out, .opaque = arg };
}

static void prepare_mch(struct dev *d, void *arg)
{
	container_of(d, struct mch, p.d)->board = arg;
}

static void prepare_lpc(struct dev *d, void *arg)
{
	struct lpc *s = container_of(d, struct lpc, p.d);

	s->board = arg;
	s->no_reboot = d->vm->conf->tco_no_reboot;
}

/* The order matters for saved machines: controllers before what raises lines. */
static int chips(struct x86_board *b, struct err *e)
{
	struct dev *d = board_make(b, &pic_dev_type, prepare_pic, e);

	if (!d)
		return -EINVAL;
	b->pic = container_of(d, struct pic_dev, d);
	d = board_make(b, &pit_dev_type, NULL, e);
	if (!d)
		return -EINVAL;
	b->pit = container_of(d, struct pit_dev, d);
	d = board_make(b, &rtc_dev_type, NULL, e);
	if (!d)
		return -EINVAL;
	b->rtc = container_of(d, struct rtc_dev, d);
	rtc_dev_set_memory(b->rtc, b->low_end, b->high_size, b->vm->conf->cpus);
	if (!board_make(b, &i8042_dev_type, NULL, e))
		return -EINVAL;
	d = board_make(b, &acpi_pm_dev_type, NULL, e);
	if (!d)
		return -EINVAL;
	b->pm = container_of(d, struct acpi_pm_dev, d);
	return 0;
}

static int bridges(struct x86_board *b, struct err *e)
{
	struct dev *d;

	b->pci = pci_bus_new(b->vm, gsi_pci_intx, b);
	d = board_make(b, &lpc_type, prepare_lpc, e);
	if (!d)
		return -EINVAL;
	b->lpc = container_of(d, struct lpc, p.d);
	d = board_make(b, &mch_type, prepare_mch, e);
	if (!d)
		return -EINVAL;
	b->mch = container_of(d, struct mch, p.d);
	return 0;
}

static int q35_init(struct x86_board *b, struct err *e)
{
	int r = chips(b, e);

	return r ? r : bridges(b, e);
}

static void q35_firmware_defaults(struct x86_board *b)
{
	mch_firmware_defaults(b->mch);
	lpc_firmware_defaults(b->lpc);
	/* The tables name no SMI command: the registers are in ACPI mode from the start. */
	acpi_pm_dev_acpi_mode(b->pm);
}

static void q35_power_button(struct x86_board *b)
{
	acpi_pm_dev_button(b->pm);
}

static void q35_describe(struct x86_board *b, struct fw_board *f)
{
	f->ecam_base = ECAM_BASE;
	f->ecam_buses = 256;
	f->pci_io_base = PCI_IO_FIRST;
	f->pci_io_size = PCI_IO_SIZE;
	f->pci_mem32_base = PCI32_FIRST;
	f->pci_mem32_size = PCI32_END - PCI32_FIRST;
	board_pci64_window(b, f);
	f->pm_base = PM_BASE;
	f->gpe0_off = ACPI_PM_GPE0_OFF;
	f->gpe0_len = ACPI_PM_GPE0_LEN;
	f->reset_port = 0xcf9;
	f->reset_value = 0x06;
	f->sci_gsi = 9;
	f->s5_typ = ACPI_PM_S5_TYP;
	f->has_pit = true;
	f->has_rtc = true;
	f->century_reg = RTC_CENTURY;
	/* Its reset line works; there is no keyboard behind it that is worth a probe. */
	f->has_i8042 = false;
}

const struct x86_board_type q35_board = {
	.name = "q35",
	.help = "Standard PC (Q35 + ICH9)",
	.info = { .name = "pc-q35-10.0",
		  .alias = "q35",
		  .help = "Standard PC (Q35 + ICH9)",
		  .parent = "generic-pc-machine",
		  .cpu_max = X86_MAX_VCPUS,
		  .is_default = true,
		  .acpi = true,
		  .ram_id = "pc.ram" },
	.versions = "pc-q35-",
	.low_max = ECAM_BASE,
	.low_split = GIB(2),
	.uncached = { { ECAM_BASE, MIB(256) }, { PCI32_FIRST, GIB(1) } },
	.init = q35_init,
	.describe = q35_describe,
	.firmware_defaults = q35_firmware_defaults,
	.power_button = q35_power_button,
};
