/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console device with two ports: the guest's register accesses, memory writes and kicks as
 * records, after a set-up that a driver would do, so that queues and control messages are reached.
 */
#include "base/bytes.h"
#include "virtio/virtio_console.h"
#include "virtio_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const struct dev_type *const dev_types[] = { &virtio_console_pci_type, &virtconsole_type,
					     &virtserialport_type, NULL };

/* What a host would send: something, whenever there is room. */
static void host_sends(struct console_port *p)
{
	static const uint8_t text[64] = "from the host";
	size_t room = p->front.room(&p->front);

	if (room)
		p->front.receive(&p->front, text, MIN(room, sizeof(text)));
}

static void record(struct vdrv *d, struct virtio_console *vc, const uint8_t *r)
{
	uint32_t arg = ld_le32(r + 4);
	uint16_t where = ld_le16(r + 2);

	switch (r[0] % 8) {
	case 0:
		vdrv_wr(d, d->common + where % 0x3ff8, arg, 1u << (r[1] & 3));
		break;
	case 1:
		(void)vdrv_rd(d, d->common + where % 0x3ff8, 1u << (r[1] & 3));
		break;
	case 2:
	case 3:
		st_le32(vdrv_mem(d->t, 0x1000 + 2u * where), arg);
		break;
	case 4: { /* a control message in good order */
		struct dbuf b = { MIB(16), 8 };

		memcpy(vdrv_mem(d->t, b.gpa), r, 8);
		st_le16(vdrv_mem(d->t, b.gpa + 4), r[6] & 7);
		st_le32(vdrv_mem(d->t, b.gpa), r[2] & 3);
		if (d->q[3].size)
			(void)dring_add(&d->q[3], &b, 1, 0, false, 0);
		vdrv_wr(d, d->notify + 3ull * d->notify_mult, 3, 2);
		break;
	}
	case 5:
		vdrv_wr(d, d->notify + (uint64_t)(r[1] % 16) * d->notify_mult, 0, 2);
		break;
	case 6:
		host_sends(&vc->port[r[1] & 1]);
		break;
	default:
		vc->port[0].front.resized(&vc->port[0].front, r[1], r[2]);
		loop_once(d->t->vm.loop, 0);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vdrv_vm *t;
	static struct dev *dev;
	struct virtio_console *vc;
	struct vdrv d;

	if (!t) {
		t = vdrv_vm_new();
		dev = vdrv_make(t, "virtio-serial-pci,max_ports=4,packed=on");
		vdrv_make(t, "virtconsole");
		vdrv_make(t, "virtserialport,name=fuzz");
	}
	if (!size)
		return 0;
	vc = console_of_dev(dev);
	t->next = 0x1000;
	vdrv_start(&d, t, dev,
		   (data[0] & 1 ? 2 : 0) | (data[0] & 2 ? BIT64(34) : 0) |
			   (data[0] & 4 ? BIT64(29) : 0),
		   8);
	for (data++, size--; size >= 8; data += 8, size -= 8)
		record(&d, vc, data);
	return 0;
}
