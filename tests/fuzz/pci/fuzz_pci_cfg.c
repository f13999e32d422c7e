/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI configuration space: any access by any address, with accesses to wherever the BARs landed.
 * The function behind it has all kinds of BARs by way of the entropy device.
 */
#include "base/bytes.h"
#include "virtio_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct dev_type virtio_rng_pci_type;
const struct dev_type *const dev_types[] = { &virtio_rng_pci_type, NULL };

static void touch_bars(struct vdrv_vm *t, struct pci_dev *p, const uint8_t *r)
{
	for (unsigned n = 0; n < PCI_NR_BARS; n++) {
		uint64_t at = pci_bar_addr(p, n), v = ld_le64(r);

		if (at == UINT64_MAX)
			continue;
		if (at & (p->bar[n].size - 1))
			abort();
		at += ld_le16(r) & (p->bar[n].size - 1) & ~7ull;
		/* Table words of MSI-X would only tell the recorder of strange addresses. */
		if (!pci_msix_covers(p, n, at - pci_bar_addr(p, n)))
			map_access(t->vm.map, MAP_MEM, at, &v, 8, r[1] & 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vdrv_vm *t;
	static struct dev *dev;
	struct pci_dev *p;

	if (!t) {
		t = vdrv_vm_new();
		dev = vdrv_make(t, "virtio-rng-pci,addr=3.1");
	}
	p = container_of(dev, struct pci_dev, d);
	dev->type->reset(dev);
	for (; size >= 8; data += 8, size -= 8) {
		uint8_t devfn = data[0] & 0x80 ? data[2] : p->devfn;
		uint32_t off = ld_le16(data + 2);

		if (data[0] & 0x40)
			off &= 0x3f;
		pci_cfg_write(t->vm.pci, data[0] == 0xff, devfn, off, ld_le32(data + 4),
			      data[1] & 7);
		(void)pci_cfg_read(t->vm.pci, data[0] == 0xff, devfn, off, data[1] >> 3 & 7);
		touch_bars(t, p, data);
	}
	return 0;
}
