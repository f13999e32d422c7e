/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The balloon: page numbers of any kind, statistics, reported pages, register accesses and kicks
 * as records; the host's side (targets, polls) in between.
 */
#include "base/bytes.h"
#include "virtio/virtio_balloon.h"
#include "virtio_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct dev_type virtio_balloon_pci_type;
const struct dev_type *const dev_types[] = { &virtio_balloon_pci_type, NULL };

static void record(struct vdrv *d, const uint8_t *r, bool indirect)
{
	uint32_t arg = ld_le32(r + 4);
	uint16_t where = ld_le16(r + 2);
	struct err e = { 0 };

	switch (r[0] % 7) {
	case 0:
		vdrv_wr(d, d->common + where % 0x3ff8, arg, 1u << (r[1] & 3));
		break;
	case 1:
		(void)vdrv_rd(d, d->common + where % 0x3ff8, 1u << (r[1] & 3));
		break;
	case 2: /* page numbers, statistics, rings */
		st_le32(vdrv_mem(d->t, (r[1] & 1 ? MIB(1) : 0x1000) + 2u * where), arg);
		break;
	case 3: {
		struct dbuf b[3] = { { MIB(1) + where, arg & 0xffff },
				     { (uint64_t)where << 12, arg >> 16 },
				     { MIB(2), arg & 0xfffff } };
		unsigned q = r[1] >> 6, out = r[1] & 3;

		if (d->q[q].size)
			(void)dring_add(&d->q[q], b, out, out < 2, indirect, 0);
		break;
	}
	case 4:
		vdrv_wr(d, d->notify + (uint64_t)(r[1] % 6) * d->notify_mult, 0, 2);
		break;
	case 5:
		(void)balloon_set_target(&d->t->vm, (uint64_t)arg << 8, &e);
		(void)balloon_get_actual(&d->t->vm, &(uint64_t){ 0 }, &e);
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
		t->vm.control = pthread_self();
		dev = vdrv_make(t,
				"virtio-balloon-pci,packed=on,in_order=on,free-page-reporting=on");
	}
	if (!size)
		return 0;
	t->next = 0x1000;
	vdrv_start(&d, t, dev,
		   (data[0] & 1 ? BIT64(35) : 0) | (data[0] & 2 ? BIT64(34) : 0) |
			   (data[0] & 4 ? BIT64(29) : 0) | (data[0] & 8 ? BIT64(28) : 0) |
			   (data[0] & 16 ? BIT64(1) : 0) | (data[0] & 32 ? BIT64(5) : 0),
		   4);
	indirect = data[0] & 8;
	for (data++, size--; size >= 8; data += 8, size -= 8)
		record(&d, data, indirect);
	return 0;
}
