/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile driver whose program is the fuzzer's input: it negotiates, writes descriptors (sane or
 * not), kicks, resets queues and device in any order, while requests are in flight.
 */
#ifndef TESTS_FUZZ_VIRTIO_VFUZZ_H
#define TESTS_FUZZ_VIRTIO_VFUZZ_H

#include "device/virtio/vdrv.h"

#define VFUZZ_OPS  400u /* of one input */
#define VFUZZ_HEAP 0x40000u
#define VFUZZ_SPAN 0x20000u

struct vfuzz {
	const uint8_t *p, *end;
	struct vdrv d;
};

static inline uint32_t take(struct vfuzz *f, unsigned n)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v |= f->p < f->end ? (uint32_t)*f->p++ << 8 * i : 0;
	return v;
}

/* Copies bytes of the input to guest RAM. */
static inline void fuzz_poke(struct vfuzz *f, uint64_t gpa, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		*(uint8_t *)rig_ptr(f->d.rig, (gpa + i) % RIG_RAM) = (uint8_t)take(f, 1);
}

/* A chain of up to six buffers, most of them in RAM. */
static inline void fuzz_chain(struct vfuzz *f, unsigned q)
{
	unsigned n = 1 + take(f, 1) % 6;
	struct vbuf b[6];

	for (unsigned i = 0; i < n; i++) {
		uint32_t how = take(f, 1);

		b[i].gpa = VFUZZ_HEAP + take(f, 2) * 2;
		b[i].len = how & 1 ? take(f, 2) : take(f, 1) & 0x3f;
		b[i].write = how & 2;
		if ((how & 0xf0) == 0xf0)
			b[i].gpa = (uint64_t)take(f, 4) << (how & 4 ? 32 : 0);
		if ((how & 0xf0) == 0xe0)
			b[i].len = take(f, 4);
	}
	vdrv_add(&f->d, q, b, n);
}

static inline void fuzz_op(struct vfuzz *f)
{
	unsigned op = take(f, 1), q = (op >> 4) % f->d.nr_vqs;

	switch (op & 15) {
	case 0:
	case 1:
	case 2:
	case 3:
		fuzz_chain(f, q);
		break;
	case 4:
	case 5:
		vdrv_kick(&f->d, q);
		break;
	case 6:
		fuzz_poke(f, VFUZZ_HEAP + take(f, 2) * 2, 32);
		break;
	case 7: /* right into the rings */
		fuzz_poke(f, 0x10000 + take(f, 2) % 0x6000, 16);
		break;
	case 8:
	case 9:
		rig_spin(f->d.rig, 2);
		break;
	case 10:
		vdrv_cfg_write(&f->d, take(f, 1), 1u << take(f, 1) % 3, take(f, 4));
		break;
	case 11:
		vdrv_common(&f->d, 0x16, 2, q);
		vdrv_common(&f->d, 0x3a, 2, 1);
		vdrv_enable_queue(&f->d, q);
		break;
	case 12:
		vdrv_start(&f->d, vdrv_offered(&f->d) & (take(f, 4) | (uint64_t)take(f, 4) << 32));
		break;
	case 13:
		vdrv_common(&f->d, take(f, 1) % 0x40, 1u << take(f, 1) % 3, take(f, 4));
		break;
	case 14:
		f->d.pci->d.type->pause(&f->d.pci->d);
		f->d.pci->d.type->resume(&f->d.pci->d);
		break;
	default:
		while (vdrv_used(&f->d, q, NULL) >= 0)
			;
		break;
	}
}

static inline void fuzz_run(struct vfuzz *f)
{
	vdrv_start(&f->d, vdrv_offered(&f->d) & ~BIT64(VIRTIO_F_RING_PACKED));
	for (unsigned i = 0; i < VFUZZ_OPS && f->p < f->end; i++)
		fuzz_op(f);
	rig_spin(f->d.rig, 4);
}

#endif
