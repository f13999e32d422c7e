/* SPDX-License-Identifier: Apache-2.0 */
/* Opens what a migration's address names (migr.h), for one direction. */
#ifndef MIGR_CHAN_H
#define MIGR_CHAN_H

#include "migr/migr.h"
#include <sys/socket.h>

struct chan_addr {
	struct sockaddr_storage sa;
	socklen_t len;
};

struct migr_chan {
	int fd;
	bool listening;		/* fd is a socket to accept(2) the stream's own on */
	bool sync;		/* a file that was made here: it shall be on the disk in the end */
	pid_t child;		/* of exec:, or 0 */
	char *path;		/* of a file that was made here */
	bool settled;		/* chan_settle() has said so */
	char *uri;		/* for messages */
	char *fifo;		/* to open for writing */
	struct chan_addr *addr; /* to connect to: the first that answers */
	size_t nr_addrs, at;
};

/*
 * Waits for nobody: what the other end has to do first, chan_settle() sees to.
 *
 * out: to save. confined: under the sandbox of the control thread, which starts no commands.
 */
int chan_open(struct migr_chan *, const char *uri, bool out, bool confined, struct migr_fds *,
	      struct err *e) MUST_CHECK;
/* 1: fd is there. 0: the other end is not yet: ask again later. Never waits. */
int chan_settle(struct migr_chan *, struct err *e) MUST_CHECK;
/*
 * Closes fd (a command at the other end sees the end) and waits for the command, until it ends or
 * *cancel (may be NULL) is set.
 */
int chan_close(struct migr_chan *, const atomic_bool *cancel, struct err *e);
/* The same without waiting for anything good: a command is ended, in CHAN_GRACE_MS at most. */
#define CHAN_GRACE_MS 1000u
void chan_hang_up(struct migr_chan *);
/* And a file that was made here goes: control thread, for a worker's sandbox has no files. */
void chan_abandon(struct migr_chan *);

#endif
