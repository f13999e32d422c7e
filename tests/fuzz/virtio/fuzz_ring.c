/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring, driven by bytes: the first choose features and size, then each record is either a
 * write to ring memory or something the device does. Every chain must consist of RAM.
 */
#include "base/bytes.h"
#include "../../unit/virtio/ring_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const struct dev_type *const dev_types[] = { NULL };

static void check_chain(struct fixture *f, const struct vq_chain *c)
{
	const uint8_t *ram = f->t->vm.ram->host;

	for (unsigned i = 0; i < c->out_n + c->in_n; i++) {
		const uint8_t *p = c->iov[i].iov_base;

		if (p < ram || p >= ram + VDRV_RAM ||
		    c->iov[i].iov_len > (size_t)(ram + VDRV_RAM - p))
			abort();
	}
}

static void device_acts(struct fixture *f, struct vq *vq, uint8_t what, struct vq_chain *held,
			unsigned *nr_held)
{
	struct vq_chain c = { .iov = f->iov };

	switch (what % 6) {
	case 0:
	case 1:
		if (vq_pop(vq, &c) <= 0)
			break;
		check_chain(f, &c);
		if (what & 0x40) {
			vq_unpop(vq, &c);
		} else if (*nr_held < 8) {
			held[*nr_held] = c;
			held[(*nr_held)++].in_n = 0;
		} else {
			vq_push(vq, &c, 16);
		}
		break;
	case 2:
		if (*nr_held)
			vq_push(vq, &held[--*nr_held], 0);
		break;
	case 3:
		vq_notify(vq);
		break;
	case 4:
		vq_disable_kick(vq);
		break;
	default:
		(void)vq_enable_kick(vq);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fixture *f;
	struct vq_chain held[8];
	unsigned nr_held = 0;
	uint64_t features;
	struct vq *vq;

	if (!f)
		f = fixture_new();
	if (size < 2)
		return 0;
	features = (uint64_t)(data[0] & 3) << 28 | (uint64_t)(data[0] >> 2 & 3) << 34;
	vq = fixture_ring(f, features, (uint16_t)(1u << (data[1] & 7)));
	data += 2;
	size -= 2;
	while (size >= 4) {
		if (data[0] & 0x80) { /* eight bytes of ring memory or of a table */
			uint64_t gpa = 0x1000 + 2 * (ld_le16(data) & 0x7fff);
			size_t n = MIN(size - 2, (size_t)16);

			memcpy(vdrv_mem(f->t, gpa), data + 2, n);
			data += 2 + n;
			size -= 2 + n;
		} else {
			device_acts(f, vq, data[0], held, &nr_held);
			data++;
			size--;
		}
	}
	if (vq->in_flight > vq->size)
		abort();
	return 0;
}
