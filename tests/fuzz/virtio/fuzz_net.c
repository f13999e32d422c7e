/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the virtio network device: a hostile driver on one side, on the other an end that gives
 * frames whenever the loop turns, and is full now and then.
 */
#include "base/base.h"

#include "core/backend.h"
#include "net/net_int.h"
#include "vfuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fake {
	struct net_end end; /* first */
	unsigned count;
};

static ssize_t fake_send(struct net_end *end, const struct iovec *v, unsigned n)
{
	struct fake *f = container_of(end, struct fake, end);
	size_t len = 0;

	if (++f->count % 7 == 0)
		return -EAGAIN;
	assert(v[0].iov_len == NET_HDR_LEN);
	for (unsigned i = 0; i < n; i++) {
		volatile uint8_t *p = v[i].iov_base;

		for (size_t k = 0; k < v[i].iov_len; k += 64)
			(void)p[k];
		len += v[i].iov_len;
	}
	assert(len >= NET_HDR_LEN + 14 && len <= NET_MAX_FRAME);
	return (ssize_t)len;
}

static void fake_resume(struct net_end *end)
{
	static uint8_t frame[9000];
	static const size_t len[] = { 60 + NET_HDR_LEN, 1514 + NET_HDR_LEN, 9000, 20, 26 };
	struct fake *f = container_of(end, struct fake, end);

	for (unsigned i = 0; i < 3; i++) {
		struct iovec v = { frame, len[f->count++ % ARRAY_SIZE(len)] };

		frame[NET_HDR_LEN] = f->count % 3 ? 0xff : 0x52;
		if (!end->nic->receive(end->nic, &v, 1))
			break;
	}
	if (end->nic->writable)
		end->nic->writable(end->nic);
}

static int fake_offload(struct net_end *end, uint32_t guest)
{
	assert(!(guest & ~end->offloads));
	return 0;
}

static void fake_close(struct net_end *end)
{
}

static void close_net(void *p)
{
	net_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct net_ops ops = { fake_send, fake_resume, fake_offload, fake_close };
	static const char *const kv[] = { "netdev", "n0", NULL };
	struct vfuzz f = { .p = data, .end = data + size };
	struct fake fake = { 0 };
	struct rig rig;
	struct err e;

	log_set_level((enum log_level) - 1); /* not even errors */
	rig_init(&rig);
	net_end_init(&fake.end, &ops, rig.vm.loop);
	fake.end.offloads = NET_OFF_CSUM | NET_OFF_TSO4 | NET_OFF_TSO6 | NET_OFF_USO;
	if (backend_add_take(&rig.vm, BACKEND_NET, "n0", &fake.end, close_net, &e) < 0)
		abort();
	vdrv_find(&f.d, &rig, rig_device(&rig, "virtio-net-pci", kv, &e));
	fuzz_run(&f);
	rig_fini(&rig);
	return 0;
}
