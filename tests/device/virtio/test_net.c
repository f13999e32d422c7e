/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio network device on an end made up here, which records what is sent, can be full, and
 * gives frames: both directions, merged buffers, offload headers, the filter and control queue,
 * lies of a driver, reset and pause, state.
 */
#include "base/base.h"

#include "core/backend.h"
#include "core/dev.h"
#include "net/net_int.h"
#include "vdrv.h"
#include "virtio/virtio_net.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define B(n)	    BIT64(VNET_F_##n)
#define NEEDS_RESET 0x40
#define CTRL_ALL    (B(CTRL_VQ) | B(CTRL_RX) | B(CTRL_RX_EXTRA) | B(CTRL_MAC_ADDR))

/* ---- an end ---- */

struct fake {
	struct net_end end; /* first */
	unsigned sent, resumed;
	uint32_t guest_off;
	bool full;
	size_t len;
	uint8_t frame[NET_MAX_FRAME];
};

static ssize_t fake_send(struct net_end *end, const struct iovec *v, unsigned n)
{
	struct fake *f = container_of(end, struct fake, end);

	if (f->full)
		return -EAGAIN;
	f->len = iov_to_buf(v, n, 0, f->frame, sizeof(f->frame));
	f->sent++;
	return (ssize_t)f->len;
}

static void fake_resume(struct net_end *end)
{
	container_of(end, struct fake, end)->resumed++;
}

static int fake_offload(struct net_end *end, uint32_t guest)
{
	container_of(end, struct fake, end)->guest_off = guest;
	return 0;
}

static void fake_close(struct net_end *end)
{
	free(container_of(end, struct fake, end));
}

static struct fake *fake_new(struct loop *loop, uint32_t offloads)
{
	static const struct net_ops ops = { fake_send, fake_resume, fake_offload, fake_close };
	struct fake *f = xnew(struct fake);

	net_end_init(&f->end, &ops, loop);
	f->end.offloads = offloads;
	return f;
}

/* ---- fixture ---- */

struct fix {
	struct rig rig;
	struct vdrv d;
	struct fake *end;
	struct virtio_net *n;
};

static int setup(void **state)
{
	struct fix *f = xnew(struct fix);

	rig_init(&f->rig);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	rig_fini(&f->rig);
	free(f);
	return 0;
}

static void close_net(void *p)
{
	net_close(p);
}

static void add_end(struct fix *f, const char *id, uint32_t offloads)
{
	struct err e;

	f->end = fake_new(f->rig.vm.loop, offloads);
	assert_int_equal(backend_add_take(&f->rig.vm, BACKEND_NET, id, &f->end->end, close_net, &e),
			 0);
}

#define KV(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define DEV	"netdev", "n0"

static void make_with(struct fix *f, uint32_t offloads, const char *const *kv)
{
	struct err e = { 0 };
	struct pci_dev *p;

	add_end(f, "n0", offloads);
	p = rig_device(&f->rig, "virtio-net-pci", kv, &e);
	if (!p)
		fail_msg("%s", e.msg);
	f->n = container_of(virtio_of(&p->d), struct virtio_net, v);
	vdrv_find(&f->d, &f->rig, p);
}

static void make(struct fix *f, uint64_t features)
{
	make_with(f, 0, KV(DEV));
	assert_true(vdrv_start(&f->d, features));
	rig_spin(&f->rig, 3);
}

static void frame(uint8_t *p, size_t len, const char *to)
{
	memset(p, 0, NET_HDR_LEN);
	for (size_t i = NET_HDR_LEN; i < len; i++)
		p[i] = (uint8_t)(i * 3);
	memcpy(p + NET_HDR_LEN, to, 6);
	st_be16(p + NET_HDR_LEN + 12, 0x0800);
}

#define BCAST "\xff\xff\xff\xff\xff\xff"
#define OWN   "\x52\x54\x00\x12\x34\x56"
#define OTHER "\x52\x54\x00\x99\x99\x99"
#define MULTI "\x01\x00\x5e\x00\x00\x01"

static bool give(struct fix *f, const void *p, size_t len)
{
	struct iovec v[3] = { { (void *)p, 5 },
			      { (uint8_t *)p + 5, 20 },
			      { (uint8_t *)p + 25, len - 25 } };

	return f->end->end.nic->receive(f->end->end.nic, v, 3);
}

static uint64_t post_rx(struct fix *f, uint32_t len)
{
	uint64_t at = rig_alloc(&f->rig, len);

	memset(rig_ptr(&f->rig, at), 0xdd, len);
	assert_true(vdrv_add(&f->d, VNET_RX, &(struct vbuf){ at, len, true }, 1) >= 0);
	return at;
}

static int send_one(struct fix *f, const void *p, size_t len)
{
	uint64_t at = rig_alloc(&f->rig, len);

	memcpy(rig_ptr(&f->rig, at), p, len);
	vdrv_add(&f->d, VNET_TX, &(struct vbuf){ at, (uint32_t)len, false }, 1);
	vdrv_kick(&f->d, VNET_TX);
	return vdrv_wait(&f->d, VNET_TX, NULL);
}

/* ---- to the host ---- */

static void test_transmit(void **state)
{
	struct fix *f = *state;
	uint8_t p[1514 + NET_HDR_LEN];

	make(f, 0);
	frame(p, sizeof(p), BCAST);
	p[10] = 0x55; /* num_buffers of the guest does not go on */
	assert_true(send_one(f, p, sizeof(p)) >= 0);
	p[10] = 0;
	assert_int_equal(f->end->sent, 1);
	assert_int_equal(f->end->len, sizeof(p));
	assert_memory_equal(f->end->frame, p, sizeof(p));
	assert_true(f->rig.msis + (unsigned)f->rig.intx > 0);
}

static void test_transmit_pieces(void **state)
{
	struct fix *f = *state;
	uint8_t p[NET_HDR_LEN + 200];
	struct vbuf b[63];
	uint64_t at;

	make(f, 0);
	frame(p, sizeof(p), BCAST);
	at = rig_alloc(&f->rig, sizeof(p));
	memcpy(rig_ptr(&f->rig, at), p, sizeof(p));
	for (unsigned i = 0; i < 63; i++)
		b[i] = (struct vbuf){ at + 3 * i, i < 62 ? 3 : sizeof(p) - 186, false };
	vdrv_add(&f->d, VNET_TX, b, 63);
	vdrv_kick(&f->d, VNET_TX);
	assert_true(vdrv_wait(&f->d, VNET_TX, NULL) >= 0);
	assert_int_equal(f->end->len, sizeof(p));
	assert_memory_equal(f->end->frame, p, sizeof(p));
}

static void test_transmit_full(void **state)
{
	struct fix *f = *state;
	uint8_t p[100];

	make(f, 0);
	frame(p, sizeof(p), BCAST);
	f->end->full = true;
	for (unsigned i = 0; i < 5; i++) {
		uint64_t at = rig_alloc(&f->rig, sizeof(p));

		p[NET_HDR_LEN + 20] = (uint8_t)i;
		memcpy(rig_ptr(&f->rig, at), p, sizeof(p));
		vdrv_add(&f->d, VNET_TX, &(struct vbuf){ at, sizeof(p), false }, 1);
	}
	vdrv_kick(&f->d, VNET_TX);
	rig_spin(&f->rig, 5);
	assert_int_equal(vdrv_used(&f->d, VNET_TX, NULL), -1);
	f->end->full = false;
	f->end->end.nic->writable(f->end->end.nic);
	rig_spin(&f->rig, 3);
	assert_int_equal(f->end->sent, 5);
	assert_int_equal(f->end->frame[NET_HDR_LEN + 20], 4);
	for (unsigned i = 0; i < 5; i++)
		assert_true(vdrv_used(&f->d, VNET_TX, NULL) >= 0);
}

static void test_transmit_bad(void **state)
{
	struct fix *f = *state;
	static uint8_t p[NET_MAX_FRAME + 1];
	uint64_t at = rig_alloc(&f->rig, 64);

	make(f, 0);
	frame(p, 100, BCAST);
	assert_true(send_one(f, p, NET_HDR_LEN + 13) >= 0); /* no Ethernet header */
	assert_true(send_one(f, p, sizeof(p)) >= 0);	    /* too long */
	p[0] = 1;
	assert_true(send_one(f, p, 100) >= 0); /* offload that was not negotiated */
	p[0] = 0;
	p[1] = 1;
	assert_true(send_one(f, p, 100) >= 0);
	assert_int_equal(f->end->sent, 0);
	assert_int_equal(vdrv_status(&f->d), 15);
	vdrv_add(&f->d, VNET_TX, &(struct vbuf){ at, 11, false }, 1);
	vdrv_kick(&f->d, VNET_TX);
	rig_spin(&f->rig, 3);
	assert_true(vdrv_status(&f->d) & NEEDS_RESET);
	assert_true(vdrv_start(&f->d, 0));
	vdrv_add(&f->d, VNET_TX, &(struct vbuf){ at, 64, true }, 1);
	vdrv_kick(&f->d, VNET_TX);
	rig_spin(&f->rig, 3);
	assert_true(vdrv_status(&f->d) & NEEDS_RESET);
}

static void test_transmit_offload(void **state)
{
	struct fix *f = *state;
	uint8_t p[2000], q[2000];
	uint64_t want = B(CSUM) | B(HOST_TSO4);

	make_with(f, NET_OFF_CSUM | NET_OFF_TSO4 | NET_OFF_TSO6, KV(DEV));
	assert_true((vdrv_offered(&f->d) & want) == want);
	assert_false(vdrv_offered(&f->d) & B(HOST_UFO));
	assert_true(vdrv_start(&f->d, want));
	frame(p, sizeof(p), BCAST);
	p[0] = 1;
	p[1] = 1;
	st_le16(p + 2, 54);
	st_le16(p + 4, 1448);
	st_le16(p + 6, 34);
	st_le16(p + 8, 16);
	assert_true(send_one(f, p, sizeof(p)) >= 0);
	assert_int_equal(f->end->sent, 1);
	assert_memory_equal(f->end->frame, p, sizeof(p));
	/* Lies: checksum behind the end, no segment size, a type that was not negotiated */
	memcpy(q, p, sizeof(q));
	st_le16(q + 6, 1990);
	assert_true(send_one(f, q, sizeof(q)) >= 0);
	memcpy(q, p, sizeof(q));
	st_le16(q + 4, 0);
	assert_true(send_one(f, q, sizeof(q)) >= 0);
	memcpy(q, p, sizeof(q));
	q[1] = 4;
	assert_true(send_one(f, q, sizeof(q)) >= 0);
	memcpy(q, p, sizeof(q));
	q[1] = 0x81;
	assert_true(send_one(f, q, sizeof(q)) >= 0);
	assert_int_equal(f->end->sent, 1);
}

/* ---- to the guest ---- */

static void test_receive(void **state)
{
	struct fix *f = *state;
	uint8_t p[100];
	uint32_t written;
	uint64_t at;

	make(f, 0);
	frame(p, sizeof(p), OWN);
	p[0] = 1; /* no guest offloads negotiated: the header says nothing */
	assert_false(give(f, p, sizeof(p))); /* no buffer: the end keeps it */
	at = post_rx(f, 2000);
	f->end->resumed = 0;
	vdrv_kick(&f->d, VNET_RX);
	rig_spin(&f->rig, 3);
	assert_true(f->end->resumed > 0);
	assert_true(give(f, p, sizeof(p)));
	p[0] = 0;
	p[10] = 1; /* num_buffers */
	assert_true(vdrv_used(&f->d, VNET_RX, &written) >= 0);
	assert_int_equal(written, sizeof(p));
	assert_memory_equal(rig_ptr(&f->rig, at), p, sizeof(p));
	assert_int_equal(*(uint8_t *)rig_ptr(&f->rig, at + sizeof(p)), 0xdd);
	assert_false(give(f, p, sizeof(p)));
}

static void test_receive_too_small(void **state)
{
	struct fix *f = *state;
	uint8_t p[100];

	make(f, 0);
	frame(p, sizeof(p), OWN);
	post_rx(f, 99);
	assert_true(give(f, p, sizeof(p))); /* lost */
	assert_int_equal(vdrv_used(&f->d, VNET_RX, NULL), -1);
	assert_true(give(f, p, 99)); /* the buffer is still there */
	assert_true(vdrv_used(&f->d, VNET_RX, NULL) >= 0);
	assert_true(give(f, p, NET_HDR_LEN + 13)); /* not a frame */
}

static void test_receive_merged(void **state)
{
	struct fix *f = *state;
	uint8_t p[1000], got[1000];
	uint64_t at[10];
	uint32_t written;
	size_t n = 0;

	make(f, B(MRG_RXBUF));
	frame(p, sizeof(p), OWN);
	for (unsigned i = 0; i < 4; i++)
		at[i] = post_rx(f, 200);
	assert_false(give(f, p, sizeof(p))); /* 800 of 1000 bytes: all stay */
	assert_int_equal(vdrv_used(&f->d, VNET_RX, NULL), -1);
	for (unsigned i = 4; i < 10; i++)
		at[i] = post_rx(f, 201);
	assert_true(give(f, p, sizeof(p)));
	for (unsigned i = 0; i < 5; i++) {
		assert_true(vdrv_used(&f->d, VNET_RX, &written) >= 0);
		assert_true(n + written <= sizeof(got));
		memcpy(got + n, rig_ptr(&f->rig, at[i]), written);
		n += written;
	}
	assert_int_equal(vdrv_used(&f->d, VNET_RX, NULL), -1);
	assert_int_equal(n, sizeof(p));
	st_le16(p + 10, 5);
	assert_memory_equal(got, p, sizeof(p));
}

/* Buffers of one byte: the frame is lost, the work is bounded, the ring stays whole. */
static void test_receive_tiny_buffers(void **state)
{
	struct fix *f = *state;
	uint8_t p[1000];

	make(f, B(MRG_RXBUF));
	frame(p, sizeof(p), OWN);
	post_rx(f, 12);
	for (unsigned i = 1; i < VDRV_SIZE; i++)
		post_rx(f, 1);
	assert_true(give(f, p, sizeof(p)));
	assert_int_equal(vdrv_used(&f->d, VNET_RX, NULL), -1);
	assert_true(give(f, p, 70));
	for (unsigned i = 0; i < 59; i++)
		assert_true(vdrv_used(&f->d, VNET_RX, NULL) >= 0);
	assert_int_equal(vdrv_used(&f->d, VNET_RX, NULL), -1);
}

static void test_receive_bad_buffers(void **state)
{
	struct fix *f = *state;
	uint8_t p[100];
	uint64_t at = rig_alloc(&f->rig, 100);

	make(f, 0);
	frame(p, sizeof(p), OWN);
	vdrv_add(&f->d, VNET_RX, &(struct vbuf){ at, 100, false }, 1);
	give(f, p, sizeof(p));
	assert_true(vdrv_status(&f->d) & NEEDS_RESET);
	assert_true(vdrv_start(&f->d, 0));
	post_rx(f, 11);
	give(f, p, sizeof(p));
	assert_true(vdrv_status(&f->d) & NEEDS_RESET);
}

static void test_receive_offload(void **state)
{
	struct fix *f = *state;
	uint8_t p[100];
	uint64_t at, want = B(GUEST_CSUM) | B(GUEST_TSO4) | B(CTRL_VQ) | B(CTRL_GUEST_OFFLOADS);

	make_with(f, NET_OFF_CSUM | NET_OFF_TSO4, KV(DEV));
	assert_true(vdrv_start(&f->d, want));
	assert_int_equal(f->end->guest_off, NET_OFF_CSUM | NET_OFF_TSO4);
	frame(p, sizeof(p), OWN);
	p[0] = 1;
	st_le16(p + 6, 34);
	at = post_rx(f, 200);
	assert_true(give(f, p, sizeof(p)));
	p[10] = 1;
	assert_memory_equal(rig_ptr(&f->rig, at), p, sizeof(p));
	assert_true(vdrv_start(&f->d, 0));
	assert_int_equal(f->end->guest_off, 0);
}

/* ---- control ---- */

static int command(struct fix *f, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	uint64_t at = rig_alloc(&f->rig, 2 + len), ack = rig_alloc(&f->rig, 1);
	uint8_t *p = rig_ptr(&f->rig, at);

	p[0] = class;
	p[1] = cmd;
	if (len)
		memcpy(p + 2, data, len);
	*(uint8_t *)rig_ptr(&f->rig, ack) = 0xee;
	vdrv_add(&f->d, VNET_CTRL, (struct vbuf[]){ { at, 2 + len, false }, { ack, 1, true } }, 2);
	vdrv_kick(&f->d, VNET_CTRL);
	assert_true(vdrv_wait(&f->d, VNET_CTRL, NULL) >= 0);
	return *(uint8_t *)rig_ptr(&f->rig, ack);
}

/* Does a frame to that address arrive? */
static bool arrives(struct fix *f, const char *to, int vlan)
{
	uint8_t p[100];

	frame(p, sizeof(p), to);
	if (vlan >= 0) {
		st_be16(p + NET_HDR_LEN + 12, 0x8100);
		st_be16(p + NET_HDR_LEN + 14, (uint16_t)vlan);
	}
	post_rx(f, 200);
	assert_true(give(f, p, sizeof(p)));
	if (vdrv_used(&f->d, VNET_RX, NULL) >= 0)
		return true;
	frame(p, sizeof(p), BCAST); /* use the buffer up */
	f->n->filter.promisc = true;
	assert_true(give(f, p, sizeof(p)));
	f->n->filter.promisc = false;
	assert_true(vdrv_used(&f->d, VNET_RX, NULL) >= 0);
	return false;
}

static void test_filter(void **state)
{
	struct fix *f = *state;
	uint8_t tab[4 + 6 + 4 + 6] = { 1 };

	make(f, CTRL_ALL);
	assert_true(arrives(f, OTHER, -1)); /* promiscuous until told otherwise */
	assert_int_equal(command(f, 0, 0, "\0", 1), 0);
	assert_false(arrives(f, OTHER, -1));
	assert_true(arrives(f, OWN, -1));
	assert_true(arrives(f, BCAST, -1));
	assert_false(arrives(f, MULTI, -1));
	assert_int_equal(command(f, 0, 1, "\1", 1), 0);
	assert_true(arrives(f, MULTI, -1));
	assert_int_equal(command(f, 0, 1, "\0", 1), 0);
	memcpy(tab + 4, OTHER, 6);
	tab[10] = 1;
	memcpy(tab + 14, MULTI, 6);
	assert_int_equal(command(f, 1, 0, tab, sizeof(tab)), 0);
	assert_true(arrives(f, OTHER, -1));
	assert_true(arrives(f, MULTI, -1));
	assert_false(arrives(f, "\x01\x00\x5e\x00\x00\x02", -1));
	assert_int_equal(command(f, 0, 5, "\1", 1), 0);
	assert_false(arrives(f, BCAST, -1));
	assert_int_equal(command(f, 1, 1, "\x02\x01\x02\x03\x04\x05", 6), 0);
	assert_true(arrives(f, "\x02\x01\x02\x03\x04\x05", -1));
	assert_false(arrives(f, OWN, -1));
	assert_int_equal(vdrv_cfg(&f->d, 5, 1), 5);
	vdrv_reset(&f->d);
	assert_int_equal(vdrv_cfg(&f->d, 5, 1), 0x56);
	assert_true(f->n->filter.promisc);
}

static void test_vlan(void **state)
{
	struct fix *f = *state;

	make(f, CTRL_ALL | B(CTRL_VLAN));
	assert_int_equal(command(f, 0, 0, "\0", 1), 0);
	assert_false(arrives(f, OWN, 7));
	assert_int_equal(command(f, 2, 0, "\7\0", 2), 0);
	assert_true(arrives(f, OWN, 7));
	assert_false(arrives(f, OWN, 4095));
	assert_int_equal(command(f, 2, 1, "\7\0", 2), 0);
	assert_false(arrives(f, OWN, 7));
	assert_int_equal(command(f, 2, 0, "\0\x10", 2), 1);
	assert_int_equal(command(f, 2, 2, "\7\0", 2), 1);
}

static void test_bad_commands(void **state)
{
	struct fix *f = *state;
	static uint8_t big[4 + 100 * 6 + 4];
	uint64_t at;

	make(f, CTRL_ALL);
	assert_int_equal(command(f, 0, 6, "\1", 1), 1);
	assert_int_equal(command(f, 0, 0, "", 0), 1);
	assert_int_equal(command(f, 9, 0, "\1", 1), 1);
	assert_int_equal(command(f, 1, 1, "\1", 1), 1);
	assert_int_equal(command(f, 1, 2, "\1", 1), 1);
	assert_int_equal(command(f, 2, 0, "\7\0", 2), 1); /* not negotiated */
	assert_int_equal(command(f, 5, 0, "\1\0\0\0\0\0\0\0", 8), 1);
	assert_int_equal(command(f, 1, 0, "\377\377\377\377", 4), 1);
	assert_int_equal(command(f, 1, 0, "\0\0\0\0\0\0\0\0\0", 9), 1);
	assert_int_equal(command(f, 1, 0, "\0\0\0\0\1\0\0\0", 8), 1);
	big[0] = 100; /* more than fit: take all unicast */
	assert_int_equal(command(f, 0, 0, "\0", 1), 0);
	assert_int_equal(command(f, 1, 0, big, sizeof(big)), 0);
	assert_true(arrives(f, OTHER, -1));
	assert_false(arrives(f, MULTI, -1));
	at = rig_alloc(&f->rig, 16);
	vdrv_add(&f->d, VNET_CTRL, &(struct vbuf){ at, 16, false }, 1);
	vdrv_kick(&f->d, VNET_CTRL);
	rig_spin(&f->rig, 3);
	assert_true(vdrv_status(&f->d) & NEEDS_RESET);
}

static void test_guest_offloads_command(void **state)
{
	struct fix *f = *state;
	uint8_t bits[8];

	make_with(f, NET_OFF_CSUM | NET_OFF_TSO4, KV(DEV));
	assert_true(vdrv_start(&f->d,
			       CTRL_ALL | B(GUEST_CSUM) | B(GUEST_TSO4) | B(CTRL_GUEST_OFFLOADS)));
	st_le64(bits, B(GUEST_CSUM));
	assert_int_equal(command(f, 5, 0, bits, 8), 0);
	assert_int_equal(f->end->guest_off, NET_OFF_CSUM);
	st_le64(bits, B(GUEST_CSUM) | B(GUEST_TSO6));
	assert_int_equal(command(f, 5, 0, bits, 8), 1);
	assert_int_equal(f->end->guest_off, NET_OFF_CSUM);
}

/* ---- configuration, life ---- */

static void test_macs(void **state)
{
	struct fix *f = *state;
	struct err e;

	make_with(f, 0, KV(DEV));
	assert_int_equal(vdrv_cfg(&f->d, 0, 4), 0x12005452);
	assert_int_equal(vdrv_cfg(&f->d, 4, 2), 0x5634);
	add_end(f, "n1", 0);
	vdrv_find(&f->d, &f->rig, rig_device(&f->rig, "virtio-net-pci", KV("netdev", "n1"), &e));
	assert_int_equal(vdrv_cfg(&f->d, 5, 1), 0x57);
	add_end(f, "n2", 0);
	vdrv_find(&f->d, &f->rig,
		  rig_device(&f->rig, "virtio-net-pci",
			     KV("netdev", "n2", "mac", "02:AA:bb:00:01:ff"), &e));
	assert_int_equal(vdrv_cfg(&f->d, 0, 4), 0x00bbaa02);
	assert_int_equal(vdrv_cfg(&f->d, 5, 1), 0xff);
}

static void test_config(void **state)
{
	struct fix *f = *state;

	make_with(f, 0, KV(DEV, "host_mtu", "1400", "ctrl_vq", "off", "rx_queue_size", "512"));
	assert_int_equal(f->d.nr_vqs, 2);
	for (unsigned q = 0; q < 2; q++) { /* each its own size */
		vdrv_common(&f->d, 0x16, 2, q);
		assert_int_equal(vdrv_common_read(&f->d, 0x18, 2), q ? 256 : 512);
	}
	assert_true(vdrv_offered(&f->d) & B(MTU));
	assert_false(vdrv_offered(&f->d) & (B(CTRL_VQ) | B(CSUM) | B(HOST_TSO4)));
	assert_int_equal(vdrv_cfg(&f->d, VNET_CFG_MTU, 2), 1400);
	assert_int_equal(vdrv_cfg(&f->d, VNET_CFG_STATUS, 2), 1);
}

static void test_bad_options(void **state)
{
	struct fix *f = *state;
	static const char *const bad[][4] = {
		{ "netdev", "nope" },
		{ NULL },
		{ DEV, "mac", "02:00:00:00:00" },
		{ DEV, "mac", "03:00:00:00:00:00" },
		{ DEV, "mac", "02:00:00:00:00:0g" },
		{ DEV, "mq", "on" },
		{ DEV, "rx_queue_size", "100" },
		{ DEV, "host_mtu", "20" },
	};
	struct err e;

	add_end(f, "n0", 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *kv[5] = { bad[i][0], bad[i][1], bad[i][2], bad[i][3], NULL };

		e.code = 0;
		assert_null(rig_device(&f->rig, "virtio-net-pci", kv, &e));
		assert_true(e.code > 0);
	}
	assert_non_null(rig_device(&f->rig, "virtio-net-pci", KV(DEV), &e));
}

static void test_link_down(void **state)
{
	struct fix *f = *state;
	unsigned gen;

	make(f, B(STATUS));
	gen = (unsigned)vdrv_common_read(&f->d, 0x15, 1);
	net_end_down(&f->end->end);
	rig_spin(&f->rig, 3);
	assert_int_equal(vdrv_cfg(&f->d, VNET_CFG_STATUS, 2), 0);
	assert_int_not_equal(vdrv_common_read(&f->d, 0x15, 1), gen);
}

/* Without a driver frames are lost; a paused machine keeps them waiting. */
static void test_pause(void **state)
{
	struct fix *f = *state;
	struct dev *d;
	uint8_t p[100];

	make_with(f, 0, KV(DEV));
	d = &f->d.pci->d;
	frame(p, sizeof(p), OWN);
	assert_true(give(f, p, sizeof(p)));
	assert_true(vdrv_start(&f->d, 0));
	post_rx(f, 200);
	d->type->pause(d);
	assert_false(give(f, p, sizeof(p)));
	f->end->resumed = 0;
	d->type->resume(d);
	rig_spin(&f->rig, 3);
	assert_true(f->end->resumed > 0);
	assert_true(give(f, p, sizeof(p)));
	assert_true(vdrv_used(&f->d, VNET_RX, NULL) >= 0);
	vdrv_reset(&f->d);
	assert_true(give(f, p, sizeof(p)));
}

static void test_state(void **state)
{
	struct fix *f = *state;
	struct state_buf s = { 0 }, again = { 0 };
	struct vnet_filter before;
	const uint8_t *pos;
	struct dev *d;
	struct err e;

	make(f, CTRL_ALL | B(CTRL_VLAN));
	d = &f->d.pci->d;
	assert_int_equal(command(f, 0, 0, "\0", 1), 0);
	assert_int_equal(command(f, 1, 1, "\x02\x01\x02\x03\x04\x05", 6), 0);
	assert_int_equal(command(f, 2, 0, "\7\0", 2), 0);
	d->type->pause(d);
	before = f->n->filter;
	state_save(&s, "n", d->type->state, d);
	d->type->reset(d);
	assert_true(f->n->filter.promisc);
	pos = s.data;
	if (state_load(&pos, s.data + s.len, "n", d->type->state, d, &e) < 0)
		fail_msg("%s", e.msg);
	assert_memory_equal(&f->n->filter, &before, sizeof(before));
	state_save(&again, "n", d->type->state, d);
	assert_int_equal(s.len, again.len);
	assert_memory_equal(s.data, again.data, s.len);
	d->type->resume(d);
	assert_true(arrives(f, "\x02\x01\x02\x03\x04\x05", 7));
	assert_false(arrives(f, OWN, -1));
	f->n->filter.nr_uni = 60; /* absurd: must be refused when loaded */
	f->n->filter.nr_multi = 60;
	d->type->pause(d);
	state_buf_fini(&again);
	again = (struct state_buf){ 0 };
	state_save(&again, "n", d->type->state, d);
	pos = again.data;
	assert_true(state_load(&pos, again.data + again.len, "n", d->type->state, d, &e) < 0);
	f->n->filter.nr_uni = f->n->filter.nr_multi = 0;
	state_buf_fini(&s);
	state_buf_fini(&again);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_transmit),
		T(test_transmit_pieces),
		T(test_transmit_full),
		T(test_transmit_bad),
		T(test_transmit_offload),
		T(test_receive),
		T(test_receive_too_small),
		T(test_receive_merged),
		T(test_receive_tiny_buffers),
		T(test_receive_bad_buffers),
		T(test_receive_offload),
		T(test_filter),
		T(test_vlan),
		T(test_bad_commands),
		T(test_guest_offloads_command),
		T(test_macs),
		T(test_config),
		T(test_bad_options),
		T(test_link_down),
		T(test_pause),
		T(test_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
