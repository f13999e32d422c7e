/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One image, one writer. A process that opens an image says what it does with it (perform) and
 * what it cannot bear others to do (forbid) by shared locks on single bytes of the file, far from
 * any data that could matter: byte 100 + n says "performs n", byte 200 + n says "forbids n". The
 * bytes are those that QEMU uses, so that hanok and QEMU keep out of each other's images too.
 *
 * All are shared locks, so taking them never fails; after taking its own, a process tests whether
 * a lock of another stands against it. Of two that start at once both may refuse, never none.
 * Locks belong to the open file description (OFD): they go with the last descriptor.
 */
#include "block/block_int.h"

#include "base/log.h"
#include <fcntl.h>

/* #syscalls control: fcntl */

enum { PERM_READ = 0, PERM_WRITE = 1, PERM_RESIZE = 3 };
enum { PERFORM_BASE = 100, FORBID_BASE = 200 };

static int lock_op(int fd, int cmd, short type, unsigned byte, short *found)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	int ret;

	do
		ret = fcntl(fd, cmd, &fl);
	while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return -errno;
	if (found)
		*found = fl.l_type;
	return 0;
}

/* 1 when another process holds a lock on the byte. */
static int lock_of_other(int fd, unsigned byte)
{
	short found = F_UNLCK;
	int ret = lock_op(fd, F_OFD_GETLK, F_WRLCK, byte, &found);

	return ret < 0 ? ret : found != F_UNLCK;
}

static int refuse(struct err *e, const char *path, bool read_only)
{
	return err_set(e, EBUSY,
		       "'%s' is in use by another virtual machine%s: stop that one, or give this "
		       "one a copy of its own (locking=off overrides this, and corrupts the image "
		       "if both write)",
		       path, read_only ? " that writes to it" : "");
}

int blk_lock_file(int fd, bool read_only, const char *path, struct err *e)
{
	const unsigned mine[] = { PERFORM_BASE + PERM_READ, FORBID_BASE + PERM_WRITE,
				  FORBID_BASE + PERM_RESIZE, PERFORM_BASE + PERM_WRITE };
	/* Whom it would hurt: a lock of somebody else on one of these. */
	const unsigned theirs[] = { FORBID_BASE + PERM_READ, PERFORM_BASE + PERM_WRITE,
				    PERFORM_BASE + PERM_RESIZE, FORBID_BASE + PERM_WRITE };
	unsigned n = read_only ? 3 : 4;
	int ret;

	for (unsigned i = 0; i < n; i++) {
		ret = lock_op(fd, F_OFD_SETLK, F_RDLCK, mine[i], NULL);
		if (ret == -EAGAIN || ret == -EACCES) /* a whole-file lock by something else */
			return refuse(e, path, read_only);
		if (ret < 0) {
			log_warn(
				"'%s' cannot be locked (%s): do not let two virtual machines use it",
				path, strerror(-ret));
			return 0;
		}
	}
	for (unsigned i = 0; i < n; i++) {
		ret = lock_of_other(fd, theirs[i]);
		if (ret > 0)
			return refuse(e, path, read_only);
		if (ret < 0)
			return err_set_errno(e, -ret, "cannot test the locks of '%s'", path);
	}
	return 0;
}
