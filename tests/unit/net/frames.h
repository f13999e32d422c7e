/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's side of Ethernet, just enough to talk to a network end: ARP, DHCP, UDP, TCP's start. */
#ifndef TESTS_NET_FRAMES_H
#define TESTS_NET_FRAMES_H

#include "base/base.h"
#include "base/bytes.h"
#include "net/net.h"

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

/* Builders write behind the header and return the whole length with it. */

static inline uint32_t sum16(const uint8_t *p, size_t n, uint32_t s)
{
	for (; n > 1; n -= 2, p += 2)
		s += ld_be16(p);
	return n ? s + (uint32_t)(*p << 8) : s;
}

static inline uint16_t fold(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

static inline uint8_t *put_eth(uint8_t *f, const uint8_t to[6], uint16_t type)
{
	memset(f, 0, NET_HDR_LEN);
	f += NET_HDR_LEN;
	memcpy(f, to, 6);
	memcpy(f + 6, guest_mac, 6);
	st_be16(f + 12, type);
	return f + 14;
}

static inline size_t build_arp(uint8_t *f, uint32_t who_has, uint32_t tell)
{
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 };
	uint8_t *p = put_eth(f, all, 0x0806);

	memset(p, 0, 28);
	st_be16(p, 1);
	st_be16(p + 2, 0x0800);
	p[4] = 6;
	p[5] = 4;
	st_be16(p + 6, 1);
	memcpy(p + 8, guest_mac, 6);
	st_be32(p + 14, tell);
	st_be32(p + 24, who_has);
	return NET_HDR_LEN + 14 + 28;
}

/* IPv4 with the payload (at p + 20 already, len bytes, its checksum field at sum_at). */
static inline size_t finish_ip(uint8_t *p, uint8_t proto, uint32_t src, uint32_t dst, size_t len,
			       size_t sum_at)
{
	uint8_t pseudo[12];

	memset(p, 0, 20);
	p[0] = 0x45;
	st_be16(p + 2, (uint16_t)(20 + len));
	p[8] = 64;
	p[9] = proto;
	st_be32(p + 12, src);
	st_be32(p + 16, dst);
	st_be16(p + 10, fold(sum16(p, 20, 0)));
	memcpy(pseudo, p + 12, 8);
	pseudo[8] = 0;
	pseudo[9] = proto;
	st_be16(pseudo + 10, (uint16_t)len);
	st_be16(p + 20 + sum_at, 0);
	st_be16(p + 20 + sum_at, fold(sum16(p + 20, len, sum16(pseudo, 12, 0))));
	return NET_HDR_LEN + 14 + 20 + len;
}

static inline size_t build_udp(uint8_t *f, const uint8_t to[6], uint32_t src, uint32_t dst,
			       uint16_t sport, uint16_t dport, const void *data, size_t len)
{
	uint8_t *p = put_eth(f, to, 0x0800), *u = p + 20;

	st_be16(u, sport);
	st_be16(u + 2, dport);
	st_be16(u + 4, (uint16_t)(8 + len));
	memcpy(u + 8, data, len);
	return finish_ip(p, 17, src, dst, 8 + len, 6);
}

static inline size_t build_dhcp_discover(uint8_t *f)
{
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 };
	static const uint8_t opts[] = { 0x63, 0x82, 0x53, 0x63, 53, 1, 1, 55, 3, 1, 3, 6, 255 };
	uint8_t b[300] = { 1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78 };

	memcpy(b + 28, guest_mac, 6);
	memcpy(b + 236, opts, sizeof(opts));
	return build_udp(f, all, 0, 0xffffffff, 68, 67, b, sizeof(b));
}

static inline size_t build_tcp_syn(uint8_t *f, const uint8_t to[6], uint32_t src, uint32_t dst,
				   uint16_t sport, uint16_t dport)
{
	uint8_t *p = put_eth(f, to, 0x0800), *t = p + 20;

	memset(t, 0, 20);
	st_be16(t, sport);
	st_be16(t + 2, dport);
	st_be32(t + 4, 1000);
	t[12] = 5 << 4;
	t[13] = 2;
	st_be16(t + 14, 65535);
	return finish_ip(p, 6, src, dst, 20, 16);
}

/* ---- a NIC that keeps the last frame a test waits for ---- */

struct test_nic {
	struct net_nic nic;
	unsigned frames, bytes, writable, downs;
	bool full; /* has no buffers */
	bool (*match)(struct test_nic *, const uint8_t *frame, size_t len);
	uint32_t want;
	uint8_t got[NET_MAX_FRAME];
	size_t got_len;
};

static bool test_nic_receive(struct net_nic *nic, const struct iovec *v, unsigned n)
{
	struct test_nic *t = container_of(nic, struct test_nic, nic);
	static uint8_t f[NET_MAX_FRAME];
	size_t len = 0;

	if (t->full)
		return false;
	for (unsigned i = 0; i < n; i++) {
		assert(len + v[i].iov_len <= sizeof(f));
		memcpy(f + len, v[i].iov_base, v[i].iov_len);
		len += v[i].iov_len;
	}
	t->frames++;
	t->bytes += len;
	if (!t->match || t->match(t, f, len)) {
		memcpy(t->got, f, len);
		t->got_len = len;
	}
	return true;
}

static inline void test_nic_link(struct net_nic *nic, bool up)
{
	container_of(nic, struct test_nic, nic)->downs += !up;
}

static inline void test_nic_writable(struct net_nic *nic)
{
	container_of(nic, struct test_nic, nic)->writable++;
}

static inline void test_nic_init(struct test_nic *t)
{
	memset(t, 0, sizeof(*t));
	t->nic.receive = test_nic_receive;
	t->nic.link = test_nic_link;
	t->nic.writable = test_nic_writable;
}

#endif
