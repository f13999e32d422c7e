/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of file descriptors that somebody else opened for this VM, by number: the file name
 * "/dev/fdset/N" stands for one of set N, wherever a file name is taken. Control thread.
 */
#ifndef CORE_FDSET_H
#define CORE_FDSET_H

#include "base/base.h"
#include "core/conf.h"
#include <sys/types.h>

struct fdset_fd {
	int fd;
	char *opaque; /* the caller's own words, or NULL */
	struct fdset_fd *next;
};

struct fdset {
	int64_t id;
	struct fdset_fd *fds;
	struct fdset *next; /* conf->fdsets, ascending ids */
};

/*
 * Puts fd (taken, also on failure) into set id; id < 0: into a new one, the lowest number that is
 * free. Returns the set's number, or -errno.
 */
int64_t fdset_add_take(struct vm_conf *, int64_t id, int fd, const char *opaque,
		       struct err *e) MUST_CHECK;
/* Closes fd of set id; fd < 0: all of them. An empty set is gone. -ENOENT when there is none. */
int fdset_remove(struct vm_conf *, int64_t id, int fd, struct err *e) MUST_CHECK;
void fdset_free_all(struct vm_conf *);

/*
 * open(2) with O_CLOEXEC, or for "/dev/fdset/N" a copy of the set's descriptor that has flags'
 * access mode. The copy shares file position and status flags with the original. Returns the
 * descriptor or -errno, with errno set and e saying what could not be opened.
 */
int fdset_open(const struct vm_conf *, const char *path, int flags, mode_t mode,
	       struct err *e) MUST_CHECK;

#endif
