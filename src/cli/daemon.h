/* SPDX-License-Identifier: Apache-2.0 */
/* Going into the background, and the file that says which process that is. */
#ifndef CLI_DAEMON_H
#define CLI_DAEMON_H

#include "base/base.h"

struct daemon {
	int ready_fd, null_fd; /* -1 = not in the background */
};

/*
 * Returns in a new process without a terminal; the caller's waits, and ends with 0 after
 * daemon_ready(), with 1 when the new one ends before that. Standard error stays the caller's
 * until then.
 */
int daemon_begin(struct daemon *, struct err *e) MUST_CHECK;
/* Everything is there: lets go of the caller, of its folder and of standard input and output. */
int daemon_ready(struct daemon *, struct err *e) MUST_CHECK;

/* Another root folder, and another user (a name, or UID:GID), with its groups; each may be NULL. */
int process_confine(const char *root, const char *user, struct err *e) MUST_CHECK;

struct pidfile {
	char *path;
	int fd; /* locked; -1 = none */
};
/* -EBUSY when another process that runs has it; one that is left over is taken. */
int pidfile_write(struct pidfile *, const char *path, struct err *e) MUST_CHECK;
void pidfile_remove(struct pidfile *);

#endif
