/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kind of file a node stands on: size, sector sizes, alignment that direct I/O wants.
 * Any thread; no state.
 */
#include "block/block_int.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* #syscalls control: openat newfstatat fstat statx lseek ioctl(BLKGETSIZE64) ioctl(BLKSSZGET)
 * ioctl(BLKPBSZGET) ioctl(BLKROTATIONAL) */

#define SECTOR 512u

/* Sector sizes that guests and hosts know; anything else a host reports is not believed. */
static bool sane_sector(uint32_t n)
{
	return n >= SECTOR && n <= 65536 && is_pow2(n);
}

static int probe_device(struct blk_node *n, struct err *e)
{
	uint64_t size;
	int sector = 0;
	unsigned int physical = 0;
	unsigned short rotational = 0;

	if (ioctl(n->fd, BLKGETSIZE64, &size) < 0)
		return err_set_errno(e, errno, "cannot read the size of '%s'", n->path);
	n->is_dev = true;
	n->info.size = size;
	if (ioctl(n->fd, BLKSSZGET, &sector) == 0 && sane_sector(sector))
		n->info.sector = sector;
	if (ioctl(n->fd, BLKPBSZGET, &physical) == 0 && sane_sector(physical))
		n->info.physical = MAX(physical, n->info.sector);
	if (ioctl(n->fd, BLKROTATIONAL, &rotational) == 0)
		n->info.rotational = rotational;
	n->mem_align = n->info.sector;
	return 0;
}

/* Tries whether a direct read of that granularity is allowed. */
static bool direct_read_works(int fd, uint32_t align)
{
	void *buf;
	ssize_t ret;

	if (posix_memalign(&buf, 4096, 4096))
		return false;
	do
		ret = pread(fd, (char *)buf + (align & 4095), align, align);
	while (ret < 0 && errno == EINTR);
	free(buf);
	return ret >= 0;
}

/*
 * A file system that does not say its alignment (statx) is asked by experiment: 512, else 4096.
 * It matters as the sector size that the guest gets: no request has to be widened, then.
 */
static void probe_direct(struct blk_node *n)
{
	uint32_t off_align = 0, mem_align = 0;

#ifdef STATX_DIOALIGN
	struct statx sx;

	if (statx(n->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
	    (sx.stx_mask & STATX_DIOALIGN)) {
		off_align = sx.stx_dio_offset_align;
		mem_align = sx.stx_dio_mem_align;
	}
#endif
	if (!is_pow2(off_align) || off_align > 65536)
		off_align = direct_read_works(n->fd, SECTOR) ? SECTOR : 4096;
	if (!is_pow2(mem_align) || mem_align > 65536)
		mem_align = off_align;
	n->info.sector = MAX(n->info.sector, off_align);
	n->info.physical = MAX(n->info.physical, n->info.sector);
	n->mem_align = mem_align;
}

int blk_probe(struct blk_node *n, struct err *e)
{
	struct stat st;
	int ret = 0;

	if (fstat(n->fd, &st) < 0)
		return err_set_errno(e, errno, "cannot look at '%s'", n->path);
	n->info.sector = SECTOR;
	n->info.physical = 4096;
	n->mem_align = 1;
	if (S_ISBLK(st.st_mode)) {
		ret = probe_device(n, e);
		if (ret < 0)
			return ret;
	} else if (S_ISREG(st.st_mode)) {
		n->info.size = st.st_size;
	} else {
		return err_set(e, EINVAL,
			       "'%s' is %s: a disk image is a regular file or a block device",
			       n->path,
			       S_ISDIR(st.st_mode) ? "a directory" : "neither file nor disk");
	}
	if (n->direct)
		probe_direct(n);
	/*
	 * Guests count whole sectors. A last sector that the file has only in part reads as if it
	 * were filled with zeroes, and grows to its full size when it is written.
	 */
	n->info.size = align_up(n->info.size, n->info.sector);
	if (!n->info.size)
		return err_set(e, EINVAL,
			       "'%s' is empty: make it the size of the disk first, "
			       "for example: truncate -s 1G %s",
			       n->path, n->path);
	return 0;
}
