/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI configuration space: any access by any address, with accesses to wherever the BARs landed.
 * The functions behind it have all kinds of BARs by way of the entropy device, one on bus 0 and one
 * below a root port, whose numbers, windows and resets are the input's as well.
 */
#include "base/bytes.h"
#include "virtio_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct dev_type virtio_rng_pci_type;
const struct dev_type *const dev_types[] = { &virtio_rng_pci_type, &pcie_root_port_type, NULL };

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
	static struct dev *dev, *below;
	struct pci_dev *p, *b;

	if (!t) {
		t = vdrv_vm_new();
		vdrv_make(t, "pcie-root-port,id=pci.1,addr=2");
		dev = vdrv_make(t, "virtio-rng-pci,addr=3.1");
		below = vdrv_make(t, "virtio-rng-pci,bus=pci.1,addr=0");
	}
	p = container_of(dev, struct pci_dev, d);
	b = container_of(below, struct pci_dev, d);
	dev_reset_all(&t->vm);
	/* Open from the start, so that inputs need not find out how. */
	pci_cfg_write(t->vm.pci, 0, 0x10, PCI_PRIMARY_BUS, 0x010100, 4);
	pci_cfg_write(t->vm.pci, 0, 0x10, PCI_MEM_BASE, 0xcff0c000, 4);
	pci_cfg_write(t->vm.pci, 0, 0x10, PCI_COMMAND, 7, 2);
	for (; size >= 8; data += 8, size -= 8) {
		uint8_t devfn = data[0] & 0x80 ? data[2] : data[0] & 0x20 ? 0x10 : p->devfn;
		uint8_t bus = data[0] == 0xff ? data[1] >> 6 : (data[0] & 0x30) == 0x10;
		uint32_t off = ld_le16(data + 2);

		if (bus)
			devfn &= data[0] & 0x80 ? 0xff : 0;

		if (data[0] & 0x40)
			off &= 0x3f;
		pci_cfg_write(t->vm.pci, bus, devfn, off, ld_le32(data + 4), data[1] & 7);
		(void)pci_cfg_read(t->vm.pci, bus, devfn, off, data[1] >> 3 & 7);
		touch_bars(t, p, data);
		touch_bars(t, b, data);
		pci_intx(data[1] & 1 ? b : p, data[3] & 1);
	}
	return 0;
}
