/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host memory of a RAM block: private memory, which the host can give in transparent huge
 * pages, or a memfd (plain or of huge pages) or a file for those who want to share it; mapped
 * between guard pages, on the NUMA nodes that were asked for. Control thread. State: none.
 */
#include "base/base.h"
#include "mem/ram_int.h"
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* #syscalls control: mbind memfd_create ftruncate fallocate fstat newfstatat fstatfs openat unlink
 * fcntl */

#define RAM_ALIGN MIB(2) /* lets the host use huge pages */
#define HUGETLBFS 0x958458f6

/* Nobody else is to see it, and no size of pages was asked for. */
static bool is_private(const struct ram_options *o)
{
	return !o->path && !o->share && !o->huge && !o->seal;
}

static int open_memfd(struct ram_block *rb, const struct ram_options *o, struct err *e)
{
	unsigned flags = MFD_CLOEXEC | (o->seal ? MFD_ALLOW_SEALING : 0);

	if (o->huge)
		flags |= MFD_HUGETLB;
	if (o->huge > 1)
		flags |= (unsigned)__builtin_ctzll(o->huge) << MAP_HUGE_SHIFT;
	rb->fd = memfd_create(rb->name, flags);
	if (rb->fd < 0 && o->huge)
		return err_set_errno(e, errno,
				     "memory '%s': no memfd of such huge pages (see "
				     "/sys/kernel/mm/hugepages)",
				     rb->name);
	return rb->fd < 0 ? err_set_errno(e, errno, "memory '%s': memfd_create", rb->name) : 0;
}

/* A file without a name in the folder path: hugetlbfs and tmpfs are used that way. */
static int open_in_folder(struct ram_block *rb, const char *path, struct err *e)
{
	autofree char *name = xasprintf("%s/hanok-ram.XXXXXX", path);

	rb->fd = mkostemp(name, O_CLOEXEC);
	if (rb->fd < 0)
		return err_set_errno(e, errno, "memory '%s': cannot make a file in '%s'", rb->name,
				     path);
	unlink(name);
	return 0;
}

static int open_path(struct ram_block *rb, const struct ram_options *o, struct err *e)
{
	struct stat st;

	if (stat(o->path, &st) == 0 && S_ISDIR(st.st_mode))
		return open_in_folder(rb, o->path, e);
	rb->fd = open(o->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
	return rb->fd < 0
		       ? err_set_errno(e, errno, "memory '%s': cannot open '%s'", rb->name, o->path)
		       : 0;
}

static int open_fd(struct ram_block *rb, const struct ram_options *o, struct err *e)
{
	if (o->from_engine || is_private(o))
		return 0;
	return o->path ? open_path(rb, o, e) : open_memfd(rb, o, e);
}

/* A file that is long enough stays as it is: it may have contents. */
static int size_fd(struct ram_block *rb, const struct ram_options *o, struct err *e)
{
	uint64_t end = o->offset + rb->size;
	struct stat st;

	if (fstat(rb->fd, &st) < 0)
		return err_set_errno(e, errno, "memory '%s'", rb->name);
	if (!S_ISREG(st.st_mode))
		return 0; /* a DAX device has the size that it has */
	if ((uint64_t)st.st_size >= end)
		return 0;
	if (o->path && st.st_size > 0)
		return err_set(e, EINVAL,
			       "memory '%s': '%s' has %" PRIu64 " bytes; %" PRIu64 " are needed",
			       rb->name, o->path, (uint64_t)st.st_size, end);
	if (ftruncate(rb->fd, (off_t)end) < 0)
		return err_set_errno(e, errno, "memory '%s': cannot size it to %" PRIu64 " bytes",
				     rb->name, rb->size);
	if (o->seal && fcntl(rb->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_set_errno(e, errno, "memory '%s': cannot seal it", rb->name);
	return 0;
}

/* The size of the pages behind fd. */
static uint64_t page_of(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) == 0 && (uint32_t)fs.f_type == HUGETLBFS)
		return (uint64_t)fs.f_bsize;
	return RAM_PAGE_SIZE;
}

static int map_fd(struct ram_block *rb, const struct ram_options *o, uint64_t page, struct err *e)
{
	uint64_t align = MAX(rb->size >= RAM_ALIGN ? RAM_ALIGN : RAM_PAGE_SIZE, page);
	int flags = MAP_FIXED | ((o->path && !o->share) || rb->fd < 0 ? MAP_PRIVATE : MAP_SHARED) |
		    (rb->fd < 0 ? MAP_ANONYMOUS : 0);
	uint8_t *at;
	void *p;

	rb->reserved_size = rb->size + align + 2 * RAM_PAGE_SIZE;
	p = mmap(NULL, rb->reserved_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	if (p == MAP_FAILED)
		return err_set_errno(e, errno,
				     "memory '%s': no address space for %" PRIu64
				     " bytes (see ulimit -v)",
				     rb->name, rb->size);
	rb->reserved = p;
	at = (uint8_t *)align_up((uintptr_t)p + RAM_PAGE_SIZE, align);
	if (!o->reserve)
		flags |= MAP_NORESERVE;
	if (mmap(at, rb->size, PROT_READ | PROT_WRITE, flags, rb->fd, (off_t)o->offset) ==
	    MAP_FAILED)
		return err_set_errno(
			e, errno, "memory '%s': cannot map %" PRIu64 " bytes%s", rb->name, rb->size,
			page > RAM_PAGE_SIZE ? " of huge pages (are there enough?)" : "");
	rb->host = at;
	rb->anonymous = rb->fd < 0;
	return 0;
}

static int bind_nodes(struct ram_block *rb, const struct ram_options *o, struct err *e)
{
	static const int mode[] = { MPOL_DEFAULT, MPOL_PREFERRED, MPOL_BIND, MPOL_INTERLEAVE };
	unsigned long nodes = o->nodes;

	if (o->policy == RAM_POLICY_DEFAULT)
		return 0;
	if (syscall(SYS_mbind, rb->host, rb->size, mode[o->policy], &nodes, 65ul,
		    MPOL_MF_STRICT | MPOL_MF_MOVE) < 0)
		return err_set_errno(e, errno,
				     "memory '%s': cannot place it on the host's NUMA nodes "
				     "(host-nodes=)",
				     rb->name);
	return 0;
}

/* ---- taking all of it at once ---- */

struct populate {
	pthread_t thread;
	uint8_t *at;
	uint64_t len;
	int error;
	bool running;
};

static void *populate(void *arg)
{
	struct populate *p = arg;

	p->error = madvise(p->at, p->len, MADV_POPULATE_WRITE) < 0 ? errno : 0;
	return NULL;
}

/* Chunks of whole huge pages; a thread that cannot be made does its part here. */
static int preallocate(struct ram_block *rb, unsigned threads, uint64_t page, struct err *e)
{
	unsigned n = MAX(threads, 1u);
	uint64_t part = align_up((rb->size + n - 1) / n, MAX(page, RAM_ALIGN)), off = 0;
	struct populate *p = xnew_n(struct populate, n);
	int error = 0;

	for (unsigned i = 0; i < n && off < rb->size; i++, off += part) {
		p[i].at = rb->host + off;
		p[i].len = MIN(part, rb->size - off);
		p[i].running = n > 1 && !pthread_create(&p[i].thread, NULL, populate, &p[i]);
		if (!p[i].running)
			populate(&p[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		if (p[i].running)
			pthread_join(p[i].thread, NULL);
		error = error ?: p[i].error;
	}
	free(p);
	return error ? err_set_errno(e, error, "memory '%s': the host has not all of it (prealloc)",
				     rb->name)
		     : 0;
}

/*
 * The first two megabytes have no part in it where there is more: a machine has holes there, so
 * that no guest is given them as one page, and the first byte that is written would clear them all.
 */
static void advise_huge(const struct ram_block *rb)
{
	uint64_t skip = rb->size > RAM_ALIGN ? RAM_ALIGN : 0;

	if (skip)
		madvise(rb->host, skip, MADV_NOHUGEPAGE);
	madvise(rb->host + skip, rb->size - skip, MADV_HUGEPAGE);
}

int ram_map_host(struct ram_block *rb, const struct ram_options *o, struct err *e)
{
	uint64_t page;
	int ret;

	if (rb->size > INT64_MAX - 2 * GIB(1) || o->offset > INT64_MAX - 2 * GIB(1) - rb->size)
		return err_set(e, ENOMEM, "memory '%s': %" PRIu64 " bytes are more than a host has",
			       rb->name, rb->size);
	ret = open_fd(rb, o, e);
	if (ret < 0)
		return ret;
	page = rb->fd < 0 ? RAM_PAGE_SIZE : page_of(rb->fd);
	rb->fd_off = o->offset;
	if ((rb->size | o->offset) & (page - 1))
		return err_set(e, EINVAL,
			       "memory '%s': its size has to be a multiple of its pages of %" PRIu64
			       " bytes",
			       rb->name, page);
	ret = rb->fd < 0 ? 0 : size_fd(rb, o, e);
	if (!ret)
		ret = map_fd(rb, o, page, e);
	if (!ret)
		ret = bind_nodes(rb, o, e);
	if (ret < 0)
		return ret;
	/* Advice only: failing costs speed, memory or core-dump size, nothing else. */
	advise_huge(rb);
	madvise(rb->host, rb->size, o->dump ? MADV_DODUMP : MADV_DONTDUMP);
	if (o->merge)
		madvise(rb->host, rb->size, MADV_MERGEABLE);
	if (o->path && !o->share) /* what is in the file is not what the guest has */
		close(take_fd(&rb->fd));
	rb->taken = o->prealloc;
	return o->prealloc ? preallocate(rb, o->threads, page, e) : 0;
}
