/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside src/net only: what an end type provides. All on the loop's thread. */
#ifndef NET_NET_INT_H
#define NET_NET_INT_H

#include "net/net.h"

#define NET_RX_BUDGET 64 /* frames an end gives to the guest in one round of the loop */

struct net_ops {
	ssize_t (*send)(struct net_end *, const struct iovec *, unsigned n);
	void (*rx_resume)(struct net_end *); /* the NIC is there, or has buffers again */
	int (*set_offload)(struct net_end *, uint32_t guest); /* optional */
	void (*close)(struct net_end *);		      /* frees the type's struct */
};

/* First member of each type's struct. */
struct net_end {
	const struct net_ops *ops;
	struct loop *loop;
	struct net_nic *nic; /* NULL: nobody listens */
	struct loop_work rx_work;
	uint32_t offloads;
	bool down;
};

void net_end_init(struct net_end *, const struct net_ops *, struct loop *);
/* The end is dead: tells the NIC once. */
void net_end_down(struct net_end *);

/* stream.c: frames behind 4-byte big-endian lengths on a connected stream socket (taken). */
struct net_end *net_stream_new_take(struct loop *, int fd, struct err *e);
/* passt.c, tap.c */
struct net_end *net_user_open(struct loop *, struct conf_node *, struct err *e);
struct net_end *net_tap_open(struct loop *, struct conf_node *, struct err *e);

/* passt.c: "tcp:[addr]:port-[addr]:port" to what passt's -t and -u take. Exposed for tests. */
int net_hostfwd_spec(const char *text, const char *guest_addr, bool *udp, char *out, size_t size,
		     struct err *e);

/* spawn.c: runs a program to its end; err_text gets the end of what it wrote to stderr. */
int net_run_program(const char *const argv[], int pass_fd, char *err_text, size_t size);

#endif
