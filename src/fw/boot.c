/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct boot: reads and checks kernel and initrd, places them with firmware tables in guest
 * memory (see boot.h). A bzImage's payload is unpacked here with the format's library, which is
 * many times quicker than the guest's own decompressor in an interpreter; what cannot be unpacked
 * is left to the guest. (The guest's decompressor would also choose a random kernel address;
 * an unpacked kernel runs where it was linked.) An image that is not compressed is mapped where
 * that is safe (kernel_map.h).
 *
 * Control thread. State: none of the machine's; a reset places everything again from the files.
 */
#include "base/base.h"

#include "base/log.h"
#include "base/trace.h"
#include "core/vm.h"
#include "fw/acpi.h"
#include "fw/boot_int.h"
#include "fw/smbios.h"
#include "fw/unpack.h"
#include "isa/x86/cpu_state.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* #syscalls control: pread64 */

#define FILE_MAX GIB(16)

static int file_open(struct fw_file *f, const char *what, const char *path, struct err *e)
{
	struct stat st;

	f->path = xstrdup(path);
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would wait for a writer */
	if (f->fd < 0)
		return err_set_errno(e, errno, "%s '%s' cannot be opened", what, path);
	if (fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s '%s' is not a regular file", what, path);
	if (!st.st_size)
		return err_set(e, EINVAL, "%s '%s' is empty", what, path);
	if ((uint64_t)st.st_size > FILE_MAX)
		return err_set(e, EFBIG, "%s '%s' is larger than 16 GiB", what, path);
	f->len = (size_t)st.st_size;
	trace_load_file(what, path);
	return 0;
}

static int file_changed(const struct fw_file *f, struct err *e)
{
	return err_set(e, ESTALE, "'%s' changed while the machine ran", f->path);
}

/*
 * A private read-only view of the file. Whoever truncates it while we look ends us by SIGBUS: a
 * copy by pread() has no such edge and costs as much as the placing does anyway, but kernels are
 * tens of megabytes and the page cache is shared, so the view it is; the files are the operator's,
 * not the guest's. Between start and a reset, though, a package upgrade may well write them anew.
 */
static int file_view(struct fw_file *f, struct err *e)
{
	void *p = mmap(NULL, f->len, PROT_READ, MAP_PRIVATE, f->fd, 0);
	if (p == MAP_FAILED)
		return err_set_errno(e, errno, "'%s' cannot be mapped", f->path);
	f->data = p;
	return 0;
}

/* The same some time after it was opened, if there is none yet. */
static int file_map(struct fw_file *f, struct err *e)
{
	struct stat st;

	if (f->data)
		return 0;
	if (fstat(f->fd, &st) < 0 || (uint64_t)st.st_size != f->len)
		return file_changed(f, e);
	return file_view(f, e);
}

static void file_unmap(struct fw_file *f)
{
	if (f->data)
		munmap(f->data, f->len);
	f->data = NULL;
}

static void file_fini(struct fw_file *f)
{
	file_unmap(f);
	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
}

/* The kernel's extent must be RAM below the PCI hole and above the first megabyte. */
static int check_extent(struct fw_boot *b, uint64_t first, uint64_t end, struct err *e)
{
	if (first < MIB(1))
		return err_set(e, EINVAL, "the kernel wants to lie at 0x%" PRIx64 ", below 1 MiB",
			       first);
	if (end > b->board.low_end)
		return err_set(e, ENOMEM,
			       "the kernel needs memory up to %" PRIu64
			       " MiB, the guest has %" PRIu64
			       " MiB there: give it more (-m, --memory)",
			       (end + MIB(1) - 1) >> 20, b->board.low_end >> 20);
	b->kernel_first = first;
	b->kernel_end = end;
	return 0;
}

/* The first have bytes of len are in data. */
static int parse_elf_kernel(struct fw_boot *b, const uint8_t *data, size_t have, size_t len,
			    struct err *e)
{
	int r = elf_parse_head(data, have, len, &b->elf, e);
	uint64_t end = b->elf.end;

	if (r < 0)
		return r;
	/* A bzImage's header also tells how much the kernel needs before it reads the memory map. */
	if (b->has_bz)
		end = MAX(end, b->bz.pref_address + b->bz.init_size);
	b->how = b->elf.pvh_entry && !b->has_bz ? BOOT_PVH : BOOT_64;
	return check_extent(b, b->elf.first, end, e);
}

/* Where an ELF kernel's program headers are. */
#define HEAD KIB(64)

static int parse_payload(struct fw_boot *b, struct err *e)
{
	autofree uint8_t *head = xcalloc(1, HEAD);
	size_t total;
	ssize_t n = unpack_head(b->kernel.data + b->bz.payload_off, b->bz.payload_len, head, HEAD,
				&total, e);

	if (n < 0)
		return n == -ENOTSUP ? 0 : (int)n;
	b->packed = elf_is(head, (size_t)n);
	return b->packed ? parse_elf_kernel(b, head, (size_t)n, total, e) : 0;
}

static int parse_bzimage(struct fw_boot *b, struct err *e)
{
	int r = bzimage_parse(b->kernel.data, b->kernel.len, &b->bz, e);

	b->packed = false;
	if (r < 0)
		return r;
	b->has_bz = true;
	if (b->bz.payload_len)
		r = parse_payload(b, e);
	if (r < 0 || b->packed)
		return r;
	b->how = BOOT_BZIMAGE;
	return check_extent(b, b->bz.pref_address, b->bz.pref_address + b->bz.init_size, e);
}

static int parse_kernel(struct fw_boot *b, struct err *e)
{
	const uint8_t *data = b->kernel.data;
	size_t len = b->kernel.len;

	if (elf_is(data, len))
		return parse_elf_kernel(b, data, len, len, e);
	if (bzimage_is(data, len))
		return parse_bzimage(b, e);
	return err_set(e, EINVAL, "neither a bzImage nor an ELF kernel for x86-64");
}

/* As high as the kernel takes it, so that it stays out of the kernel's way. */
static int place_initrd_at(struct fw_boot *b, struct err *e)
{
	uint64_t top = b->board.low_end, max = b->has_bz ? b->bz.initrd_max : UINT32_MAX;

	if (!b->initrd.len)
		return 0;
	if (max && max < UINT32_MAX && !(b->has_bz && b->bz.above_4g))
		top = MIN(top, max + 1);
	if (b->initrd.len > top || align_down(top - b->initrd.len, 4096) < b->kernel_end)
		return err_set(
			e, ENOMEM,
			"initrd '%s' (%zu MiB) does not fit between the kernel's end (%" PRIu64
			" MiB) and %" PRIu64 " MiB: give the guest more memory",
			b->initrd.path, b->initrd.len >> 20, b->kernel_end >> 20, top >> 20);
	b->initrd_addr = align_down(top - b->initrd.len, 4096);
	return 0;
}

static int check_append(struct fw_boot *b, struct err *e)
{
	size_t len = strlen(b->append),
	       max = b->has_bz && b->bz.cmdline_size ? b->bz.cmdline_size : 2047;

	max = MIN(max, (size_t)LOW_CMDLINE_MAX - 1);
	if (len > max)
		return err_set(e, EINVAL,
			       "the kernel arguments have %zu bytes, the kernel takes %zu", len,
			       max);
	return 0;
}

static int check_all(struct fw_boot *b, const char *kernel, const char *initrd, struct err *e)
{
	int r = file_open(&b->kernel, "kernel", kernel, e);

	if (!r && initrd)
		r = file_open(&b->initrd, "initrd", initrd, e);
	if (!r)
		r = file_view(&b->kernel, e);
	if (r < 0)
		return r;
	r = parse_kernel(b, e);
	if (r < 0)
		return err_prefix(e, "kernel '%s': ", kernel);
	r = check_append(b, e);
	return r < 0 ? r : place_initrd_at(b, e);
}

struct fw_boot *fw_boot_new(const char *kernel, const char *initrd, const char *append,
			    const struct fw_board *board, struct err *e)
{
	struct fw_boot *b = xnew(struct fw_boot);

	b->board = *board;
	b->kernel.fd = b->initrd.fd = -1;
	b->append = xstrdup(append ? append : "");
	return check_all(b, kernel, initrd, e) < 0 ? fw_boot_free(b) : b;
}

struct fw_boot *fw_boot_free(struct fw_boot *b)
{
	if (!b)
		return NULL;
	kernel_map_fini(&b->map);
	file_fini(&b->kernel);
	file_fini(&b->initrd);
	free(b->append);
	free(b);
	return NULL;
}

unsigned boot_memory_map(const struct fw_board *board, struct mem_entry *out)
{
	unsigned n = 0;

	out[n++] = (struct mem_entry){ 0, LOW_EBDA, 1 };
	out[n++] = (struct mem_entry){ LOW_EBDA, 0xa0000 - LOW_EBDA, 2 };
	out[n++] = (struct mem_entry){ LOW_TABLES, MIB(1) - LOW_TABLES, 2 };
	out[n++] = (struct mem_entry){ MIB(1), board->low_end - MIB(1), 1 };
	if (board->ecam_buses)
		out[n++] = (struct mem_entry){ board->ecam_base, (uint64_t)board->ecam_buses << 20,
					       2 };
	if (board->high_size)
		out[n++] = (struct mem_entry){ GIB(4), board->high_size, 1 };
	return n;
}

static int write_at(struct map *map, uint64_t gpa, const void *data, uint64_t len, struct err *e)
{
	if (mem_write(map, gpa, data, len) < 0)
		return err_set(e, EFAULT, "0x%" PRIx64 " bytes at 0x%" PRIx64 " are not all RAM",
			       len, gpa);
	return 0;
}

static int zero_at(struct map *map, uint64_t gpa, uint64_t len, struct err *e)
{
	while (len) {
		uint64_t run;
		void *p = mem_view(map, gpa, len, true, &run);

		if (!p)
			return err_set(e, EFAULT, "0x%" PRIx64 " is not RAM", gpa);
		memset(p, 0, run);
		mem_wrote(map, gpa, run);
		gpa += run;
		len -= run;
	}
	return 0;
}

/* On the first boot RAM is zero already: leave its pages untouched. */
static int zero_rest(struct fw_boot *b, struct map *map, const struct elf_seg *s, struct err *e)
{
	return b->placed ? zero_at(map, s->paddr + s->filesz, s->memsz - s->filesz, e) : 0;
}

static int place_elf(struct fw_boot *b, struct map *map, const uint8_t *data, struct err *e)
{
	for (unsigned i = 0; i < b->elf.nr_segs; i++) {
		const struct elf_seg *s = &b->elf.seg[i];
		uint64_t n = kernel_map_segment(&b->map, s->paddr, s->off, s->filesz);
		int r = write_at(map, s->paddr + n, data + s->off + n, s->filesz - n, e);

		if (!r)
			r = zero_rest(b, map, s, e);
		if (r < 0)
			return r;
	}
	return 0;
}

struct placing {
	struct fw_boot *b;
	struct map *map;
	uint64_t end; /* up to here it was unpacked */
};

/* What is of segments in a piece of the kernel goes to its place. */
static int place_piece(void *arg, const uint8_t *data, size_t len, size_t at, struct err *e)
{
	struct placing *p = arg;

	p->end = at + len;
	for (unsigned i = 0; i < p->b->elf.nr_segs; i++) {
		const struct elf_seg *s = &p->b->elf.seg[i];
		uint64_t from = MAX(s->off, at), end = MIN(s->off + s->filesz, p->end);
		int r = from < end ? write_at(p->map, s->paddr + (from - s->off),
					      data + (from - at), end - from, e)
				   : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

static int place_packed(struct fw_boot *b, struct map *map, struct err *e)
{
	struct placing p = { .b = b, .map = map };
	int r = unpack(b->kernel.data + b->bz.payload_off, b->bz.payload_len, place_piece, &p, e);

	for (unsigned i = 0; !r && i < b->elf.nr_segs; i++) {
		const struct elf_seg *s = &b->elf.seg[i];

		if (s->off + s->filesz > p.end)
			r = err_set(e, EINVAL, "the payload is cut short");
		else
			r = zero_rest(b, map, s, e);
	}
	return r < 0 ? err_prefix(e, "kernel '%s': ", b->kernel.path) : 0;
}

static int place_kernel(struct fw_boot *b, struct map *map, struct err *e)
{
	const uint8_t *data = b->kernel.data;

	if (b->how == BOOT_BZIMAGE)
		return write_at(map, b->bz.pref_address, data + b->bz.code_off, b->bz.code_len, e);
	return b->packed ? place_packed(b, map, e) : place_elf(b, map, data, e);
}

/* Writes a blob of tables and gives its memory back. */
static int place_blob_take(struct map *map, struct fw_blob *blob, struct err *e)
{
	int r = write_at(map, blob->addr, blob->data, blob->len, e);

	free(blob->data);
	return r;
}

static int place_tables(struct fw_boot *b, struct map *map, struct err *e)
{
	struct fw_blob acpi = { 0 }, smbios = { 0 };
	int r = acpi_build(&b->board, LOW_TABLES, LOW_TABLES_LEN, &acpi, e);

	if (r < 0)
		return r;
	b->rsdp = acpi.addr;
	r = place_blob_take(map, &acpi, e);
	if (!r)
		r = smbios_build(&b->board, LOW_SMBIOS, LOW_SMBIOS_LEN, &smbios, e);
	return r < 0 ? r : place_blob_take(map, &smbios, e);
}

/*
 * There is no firmware, yet guests jump to where it would start, as F000:FFF0 or FFFF:0000 in real
 * mode, to restart the machine: Linux does so on hardware-reduced ACPI without EFI. A triple fault
 * does what the firmware would have done.
 */
static int place_reset_vector(struct map *map, struct err *e)
{
	static const uint8_t entry[] = { 0xea, 0x00, 0xff, 0x00, 0xf0 }; /* jmp F000:FF00 */
	static const uint8_t code[] = {
		0x2e, 0x0f, 0x01, 0x1e, 0x07, 0xff, /* lidt cs:[FF07] */
		0xcc,				    /* int3 */
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* no vectors at all */
	};
	int r = write_at(map, LOW_RESET, code, sizeof(code), e);

	return r < 0 ? r : write_at(map, LOW_RESET_ENTRY, entry, sizeof(entry), e);
}

/* Read into its place: a view of it would be two calls more, and would fault page by page. */
static int place_initrd(struct fw_boot *b, struct map *map, struct err *e)
{
	const struct fw_file *f = &b->initrd;
	uint64_t run, done;
	ssize_t n;

	for (done = 0; done < f->len; done += (uint64_t)n) {
		void *p = mem_view(map, b->initrd_addr + done, f->len - done, true, &run);

		if (!p)
			return err_set(e, EFAULT, "initrd '%s': 0x%" PRIx64 " is not RAM", f->path,
				       b->initrd_addr + done);
		n = pread(f->fd, p, run, (off_t)done);
		if (n < 0)
			return err_set_errno(e, errno, "initrd '%s' cannot be read", f->path);
		if (!n)
			return file_changed(f, e);
		mem_wrote(map, b->initrd_addr + done, (uint64_t)n);
	}
	return 0;
}

/* The files may have changed since they were checked: what is placed is checked again. */
static int recheck(struct fw_boot *b, struct err *e)
{
	uint64_t first = b->kernel_first, end = b->kernel_end;
	int r = file_map(&b->kernel, e);

	if (r < 0)
		return r;
	r = parse_kernel(b, e);
	if (!r && (b->kernel_first != first || b->kernel_end != end))
		r = err_set(e, ESTALE, "the file changed while the machine ran");
	return r < 0 ? err_prefix(e, "kernel '%s': ", b->kernel.path) : 0;
}

/* With a lease the file stays as it is from here on. */
static void lease_kernel(struct fw_boot *b, struct vm *vm)
{
	if (!b->has_bz && b->kernel.len >= KERNEL_MAP_MIN)
		kernel_map_lease(&b->map, vm, b->kernel.fd);
}

int fw_boot_place(struct fw_boot *b, struct vm *vm, struct cpu_state *state, struct err *e)
{
	int r;

	lease_kernel(b, vm);
	r = recheck(b, e);

	if (!r)
		r = place_kernel(b, vm->map, e);
	file_unmap(&b->kernel);
	if (!r)
		r = place_initrd(b, vm->map, e);
	if (!r)
		r = place_tables(b, vm->map, e);
	if (!r)
		r = place_reset_vector(vm->map, e);
	if (!r)
		r = write_at(vm->map, LOW_CMDLINE, b->append, strlen(b->append) + 1, e);
	if (!r)
		r = b->how == BOOT_PVH ? boot_setup_pvh(b, vm->map, state, e)
				       : boot_setup_64(b, vm->map, state, e);
	b->placed = true;
	return r;
}
