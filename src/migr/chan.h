/* SPDX-License-Identifier: Apache-2.0 */
/* Opens what a migration's address names (migr.h), for one direction. */
#ifndef MIGR_CHAN_H
#define MIGR_CHAN_H

#include "migr/migr.h"

struct migr_chan {
	int fd;
	bool listening; /* fd is a socket to accept(2) the stream's own on */
	bool sync;	/* a file that was made here: it shall be on the disk in the end */
	pid_t child;	/* of exec:, or 0 */
	char *path;	/* of a file that was made here */
};

/*
 * out: to save. confined: under the sandbox of the control thread, which starts no commands and
 * resolves no names.
 */
int chan_open(struct migr_chan *, const char *uri, bool out, bool confined, struct migr_fds *,
	      struct err *e) MUST_CHECK;
/* Closes fd (a command at the other end sees the end) and waits for the command. */
int chan_close(struct migr_chan *, struct err *e);
/* The same without waiting for anything good: a command is ended. */
void chan_abandon(struct migr_chan *);

#endif
