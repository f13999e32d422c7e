/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entropy device: register accesses, memory writes, buffers of any shape and kicks as records,
 * after a set-up that a driver would do.
 */
#include "base/bytes.h"
#include "virtio/virtio_pci.h"
#include "virtio_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct dev_type virtio_rng_pci_type;
const struct dev_type *const dev_types[] = { &virtio_rng_pci_type, NULL };

static void record(struct vdrv *d, const uint8_t *r, bool indirect)
{
	uint32_t arg = ld_le32(r + 4);
	uint16_t where = ld_le16(r + 2);

	switch (r[0] % 6) {
	case 0:
		vdrv_wr(d, d->common + where % 0x3ff8, arg, 1u << (r[1] & 3));
		break;
	case 1:
		(void)vdrv_rd(d, d->common + where % 0x3ff8, 1u << (r[1] & 3));
		break;
	case 2:
		st_le32(vdrv_mem(d->t, 0x1000 + 2u * where), arg);
		break;
	case 3: { /* buffers in good order, some of them for reading, some not in RAM */
		struct dbuf b[3] = { { MIB(1) + where, arg & 0xffff },
				     { (uint64_t)where << 12, arg >> 16 },
				     { MIB(2), arg & 0xfffff } };

		if (d->q[0].size)
			(void)dring_add(&d->q[0], b, r[1] & 1, 1 + (r[1] >> 1 & 1), indirect, 0);
		break;
	}
	case 4:
		vdrv_wr(d, d->notify + (uint64_t)(r[1] % 4) * d->notify_mult, 0, 2);
		break;
	default:
		loop_once(d->t->vm.loop, 0);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vdrv_vm *t;
	static struct dev *dev;
	struct vdrv d;
	bool indirect;

	if (!t) {
		t = vdrv_vm_new();
		dev = vdrv_make(t, "virtio-rng-pci,packed=on,in_order=on");
	}
	if (!size)
		return 0;
	t->next = 0x1000;
	indirect = data[0] & 8;
	vdrv_start(&d, t, dev,
		   (data[0] & 1 ? BIT64(35) : 0) | (data[0] & 2 ? BIT64(34) : 0) |
			   (data[0] & 4 ? BIT64(29) : 0) | (data[0] & 8 ? BIT64(28) : 0),
		   1);
	for (data++, size--; size >= 8; data += 8, size -= 8)
		record(&d, data, indirect);
	return 0;
}
