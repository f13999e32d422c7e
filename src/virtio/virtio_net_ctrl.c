/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio network device: the control queue, and the receive filter that it sets.
 * VIRTIO 1.2 section 5.1.6.5. Commands of the classes RX, MAC, VLAN and GUEST_OFFLOADS.
 * Loop's thread, under virtio_net.lock. State: vnet_filter_state.
 */
#include "virtio/virtio_net.h"

#include "base/bytes.h"

#define BUDGET	 64u
#define ACK_OK	 0u
#define ACK_ERR	 1u
#define CMD_LEN	 2u
#define MAX_DATA (8u + VNET_MAX_MACS * VNET_MAC_LEN)

enum { CLASS_RX = 0, CLASS_MAC = 1, CLASS_VLAN = 2, CLASS_OFFLOADS = 5 };
enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST };
enum { MAC_TABLE_SET, MAC_ADDR_SET };
enum { VLAN_ADD, VLAN_DEL };
enum { OFFLOADS_SET };

#define ETH_TYPE_VLAN 0x8100u

/* ---- the filter ---- */

void vnet_filter_reset(struct virtio_net *n)
{
	n->filter = (struct vnet_filter){ .promisc = true };
	memcpy(n->filter.mac, n->own_mac, VNET_MAC_LEN);
	memcpy(n->v.cfg + VNET_CFG_MAC, n->own_mac, VNET_MAC_LEN);
}

static bool in_table(const struct vnet_filter *f, uint32_t first, uint32_t count,
		     const uint8_t *mac)
{
	for (uint32_t i = first; i < first + count; i++)
		if (!memcmp(f->table + i * VNET_MAC_LEN, mac, VNET_MAC_LEN))
			return true;
	return false;
}

static bool wants_multicast(const struct vnet_filter *f, const uint8_t *mac)
{
	static const uint8_t all[VNET_MAC_LEN] = { 255, 255, 255, 255, 255, 255 };

	if (!memcmp(mac, all, VNET_MAC_LEN))
		return !f->nobcast;
	if (f->nomulti)
		return false;
	return f->allmulti || f->overflow_multi || in_table(f, f->nr_uni, f->nr_multi, mac);
}

static bool wants_unicast(const struct vnet_filter *f, const uint8_t *mac)
{
	if (f->nouni)
		return false;
	return f->alluni || f->overflow_uni || !memcmp(mac, f->mac, VNET_MAC_LEN) ||
	       in_table(f, 0, f->nr_uni, mac);
}

bool vnet_filter_wants(const struct vnet_filter *f, const uint8_t eth[18])
{
	unsigned vid = ld_be16(eth + 14) & 0xfff;

	if (f->promisc)
		return true;
	if (f->vlan_on && ld_be16(eth + 12) == ETH_TYPE_VLAN &&
	    !(f->vlan[vid / 64] >> vid % 64 & 1))
		return false;
	return eth[0] & 1 ? wants_multicast(f, eth) : wants_unicast(f, eth);
}

/* ---- commands ---- */

struct cmd {
	uint8_t class, cmd;
	const uint8_t *data;
	size_t len; /* of all data; only the first MAX_DATA bytes were copied */
	const struct vq_chain *c;
};

static uint8_t do_rx(struct vnet_filter *f, const struct cmd *c)
{
	bool *const modes[] = {
		[RX_PROMISC] = &f->promisc, [RX_ALLMULTI] = &f->allmulti,
		[RX_ALLUNI] = &f->alluni,   [RX_NOMULTI] = &f->nomulti,
		[RX_NOUNI] = &f->nouni,	    [RX_NOBCAST] = &f->nobcast,
	};

	if (c->cmd >= ARRAY_SIZE(modes) || c->len < 1)
		return ACK_ERR;
	*modes[c->cmd] = c->data[0] != 0;
	return ACK_OK;
}

/*
 * One of the two tables: a count and so many addresses at *at of the data. Those that fit go to
 * the filter; with more than that, all of their kind are let through.
 */
static bool read_table(const struct cmd *c, size_t *at, struct vnet_filter *f, uint32_t *nr,
		       bool *overflow)
{
	uint8_t count_le[4];
	uint32_t count, used = f->nr_uni + f->nr_multi;
	size_t off = CMD_LEN + *at;

	if (c->len < *at + 4)
		return false;
	iov_to_buf(c->c->iov, c->c->out_n, off, count_le, 4);
	count = ld_le32(count_le);
	if ((c->len - *at - 4) / VNET_MAC_LEN < count)
		return false;
	*overflow = count > VNET_MAX_MACS - used;
	if (!*overflow) {
		iov_to_buf(c->c->iov, c->c->out_n, off + 4, f->table + used * VNET_MAC_LEN,
			   (size_t)count * VNET_MAC_LEN);
		*nr = count;
	}
	*at += 4 + (size_t)count * VNET_MAC_LEN;
	return true;
}

static uint8_t do_mac_table(struct vnet_filter *f, const struct cmd *c)
{
	struct vnet_filter new = *f;
	size_t at = 0;

	new.nr_uni = new.nr_multi = 0;
	memset(new.table, 0, sizeof(new.table));
	if (!read_table(c, &at, &new, &new.nr_uni, &new.overflow_uni) ||
	    !read_table(c, &at, &new, &new.nr_multi, &new.overflow_multi) || at != c->len)
		return ACK_ERR;
	*f = new;
	return ACK_OK;
}

static uint8_t do_mac(struct virtio_net *n, const struct cmd *c)
{
	if (c->cmd == MAC_TABLE_SET)
		return do_mac_table(&n->filter, c);
	if (c->cmd != MAC_ADDR_SET || c->len != VNET_MAC_LEN)
		return ACK_ERR;
	memcpy(n->filter.mac, c->data, VNET_MAC_LEN);
	memcpy(n->v.cfg + VNET_CFG_MAC, c->data, VNET_MAC_LEN);
	return ACK_OK;
}

static uint8_t do_vlan(struct vnet_filter *f, const struct cmd *c)
{
	unsigned vid;

	if (c->len != 2 || c->cmd > VLAN_DEL)
		return ACK_ERR;
	vid = ld_le16(c->data);
	if (vid >= 4096)
		return ACK_ERR;
	if (c->cmd == VLAN_ADD)
		f->vlan[vid / 64] |= BIT64(vid % 64);
	else
		f->vlan[vid / 64] &= ~BIT64(vid % 64);
	return ACK_OK;
}

static uint8_t do_offloads(struct virtio_net *n, const struct cmd *c)
{
	uint64_t want;

	if (!virtio_has(&n->v, VNET_F_CTRL_GUEST_OFFLOADS) || c->cmd != OFFLOADS_SET || c->len != 8)
		return ACK_ERR;
	want = ld_le64(c->data);
	if (want & ~vnet_guest_offload_bits(n))
		return ACK_ERR;
	n->guest_offloads = want;
	vnet_apply_offloads(n);
	return ACK_OK;
}

static uint8_t do_command(struct virtio_net *n, const struct cmd *c)
{
	const struct virtio *v = &n->v;

	switch (c->class) {
	case CLASS_RX:
		return virtio_has(v, VNET_F_CTRL_RX) ? do_rx(&n->filter, c) : ACK_ERR;
	case CLASS_MAC:
		return do_mac(n, c);
	case CLASS_VLAN:
		return virtio_has(v, VNET_F_CTRL_VLAN) ? do_vlan(&n->filter, c) : ACK_ERR;
	case CLASS_OFFLOADS:
		return do_offloads(n, c);
	default:
		return ACK_ERR;
	}
}

bool vnet_control(struct virtio_net *n)
{
	struct vq *vq = virtio_vq(&n->v, VNET_CTRL);
	uint8_t buf[CMD_LEN + MAX_DATA], ack;
	unsigned i;

	if (!n->running || n->queue[VNET_CTRL].stopped)
		return false;
	for (i = 0; i < BUDGET; i++) {
		struct vq_chain c = { .iov = n->scratch };
		struct cmd cmd = { .data = buf + CMD_LEN, .c = &c };

		if (vq_pop(vq, &c) <= 0)
			break;
		if (c.out_len < CMD_LEN || !c.in_len) {
			virtio_break(&n->v,
				     "control command of %" PRIu64 " readable and %" PRIu64
				     " writable bytes",
				     c.out_len, c.in_len);
			break;
		}
		iov_to_buf(c.iov, c.out_n, 0, buf, sizeof(buf));
		cmd.class = buf[0];
		cmd.cmd = buf[1];
		cmd.len = (size_t)c.out_len - CMD_LEN;
		ack = do_command(n, &cmd);
		iov_from_buf(c.iov + c.out_n, c.in_n, 0, &ack, 1);
		vq_push(vq, &c, 1);
	}
	vq_notify(vq);
	return i == BUDGET;
}

/* ---- state ---- */

static int filter_post_load(void *obj, struct err *e)
{
	struct vnet_filter *f = obj;

	if (f->nr_uni > VNET_MAX_MACS || f->nr_multi > VNET_MAX_MACS - f->nr_uni)
		return err_set(e, EINVAL, "a receive filter of %u + %u addresses", f->nr_uni,
			       f->nr_multi);
	return 0;
}

const struct state_desc vnet_filter_state = {
	.name = "vnet-filter",
	.struct_name = "vnet_filter",
	.version = 1,
	.post_load = filter_post_load,
	.fields =
		(const struct state_field[]){
			ST_BOOL(struct vnet_filter, promisc),
			ST_BOOL(struct vnet_filter, allmulti),
			ST_BOOL(struct vnet_filter, alluni),
			ST_BOOL(struct vnet_filter, nomulti),
			ST_BOOL(struct vnet_filter, nouni),
			ST_BOOL(struct vnet_filter, nobcast),
			ST_BOOL(struct vnet_filter, overflow_uni),
			ST_BOOL(struct vnet_filter, overflow_multi),
			ST_BOOL(struct vnet_filter, vlan_on),
			ST_U8A(struct vnet_filter, mac),
			ST_U8A(struct vnet_filter, table),
			ST_U32(struct vnet_filter, nr_uni),
			ST_U32(struct vnet_filter, nr_multi),
			ST_U64A(struct vnet_filter, vlan),
			ST_END,
		},
};
