/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read leases on files (fcntl(2), F_SETLEASE): whoever opens such a file for writing or truncates
 * it waits until its lease was given back, which the kernel asks for by a signal. The signal is the
 * process's: all threads block it, and the control thread reads it from its signalfd with those
 * that end the machine.
 */
#ifndef CORE_LEASE_H
#define CORE_LEASE_H

#include "base/base.h"

struct vm;

struct lease {
	struct vm *vm;
	int fd;
	void (*broken)(struct lease *); /* calls lease_give_back() in the end */
	bool held;
	struct lease *next;
};

/* The signal; blocked by whoever makes threads (thread_start(), vCPUs) or reads it. */
int lease_signal(void);

/*
 * Asks for a lease on fd, open for reading only and the caller's until it is given back; broken is
 * set by the caller. Whether it was to be had: not of another user's file, of one that somebody has
 * open for writing, or on a file system without. Control thread, as all of them.
 */
bool lease_take(struct lease *, struct vm *, int fd);
void lease_give_back(struct lease *); /* fine when it is not held */

/* The signal came, for fd. */
void lease_signalled(struct vm *, int fd);

#endif
