/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers of the virtio PCI transport, behind them the entropy device: any access to the BARs
 * and to configuration space, in any order, with ring memory that the input writes too.
 */
#include "base/bytes.h"
#include "virtio_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct dev_type virtio_rng_pci_type;
const struct dev_type *const dev_types[] = { &virtio_rng_pci_type, NULL };

static void record(struct vdrv *d, const uint8_t *r)
{
	uint32_t arg = ld_le32(r + 4);
	uint16_t where = ld_le16(r + 2);
	unsigned size = 1u << (r[1] & 3);

	switch (r[0] % 6) {
	case 0:
		vdrv_wr(d, d->common + where % 0x40, arg, size);
		break;
	case 1:
		vdrv_wr(d, d->common + where % 0x3ff8, arg, size);
		break;
	case 2:
		(void)vdrv_rd(d, d->common + where % 0x3ff8, size);
		break;
	case 3: { /* configuration space; BARs and command stay, so that the rest is reached */
		uint32_t off = 0x40 + where % (PCIE_CFG_SIZE - 0x40);

		pci_cfg_write(d->t->vm.pci, 0, d->pci->devfn, off, arg, MIN(size, 4u));
		(void)pci_cfg_read(d->t->vm.pci, 0, d->pci->devfn, off, MIN(size, 4u));
		break;
	}
	case 4:
		st_le32(vdrv_mem(d->t, 0x1000 + 2u * where), arg);
		break;
	default: /* the MSI-X BAR; the recorder knows one address, so table words are left alone */
		pci_msix_write(d->pci, 12 + 16ull * (where % 64), arg, 4);
		(void)pci_msix_read(d->pci, where, size);
		loop_once(d->t->vm.loop, 0);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vdrv_vm *t;
	static struct dev *dev;
	struct vdrv d;

	if (!t) {
		t = vdrv_vm_new();
		dev = vdrv_make(t, "virtio-rng-pci,packed=on,in_order=on,vectors=4");
	}
	if (!size)
		return 0;
	t->next = 0x1000;
	vdrv_open(&d, t, dev);
	if (data[0] & 1) /* half of the inputs find a device at work */
		vdrv_start(&d, t, dev, (uint64_t)(data[0] >> 1 & 3) << 34, 1);
	for (data++, size--; size >= 8; data += 8, size -= 8)
		record(&d, data);
	return 0;
}
