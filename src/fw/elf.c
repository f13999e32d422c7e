/* SPDX-License-Identifier: Apache-2.0 */
/* Reading an ELF-64 kernel image (see elf.h). The image is hostile. Any thread; no state. */
#include "base/base.h"

#include "base/cursor.h"
#include "fw/elf.h"

#define EHDR_SIZE   64
#define PHDR_SIZE   56
#define MAX_PHDRS   128
#define PT_LOAD	    1
#define PT_NOTE	    4
#define ET_EXEC	    2
#define ET_DYN	    3
#define EM_X86_64   62
#define NOTE_PHYS32 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
#define MAX_NOTES   256

struct phdr {
	uint32_t type;
	uint64_t off, paddr, filesz, memsz;
};

bool elf_is(const uint8_t *data, size_t len)
{
	return len >= EHDR_SIZE && !memcmp(data, "\177ELF", 4);
}

/* The first have bytes of len are in data. */
static int read_phdr(const uint8_t *data, size_t have, size_t len, uint64_t at, struct phdr *ph,
		     struct err *e)
{
	struct cursor c = cursor_of(data, have);

	rd_seek(&c, at);
	ph->type = rd_le32(&c);
	rd_le32(&c); /* flags */
	ph->off = rd_le64(&c);
	rd_le64(&c); /* vaddr */
	ph->paddr = rd_le64(&c);
	ph->filesz = rd_le64(&c);
	ph->memsz = rd_le64(&c);
	if (c.bad)
		return err_set(e, EINVAL, "the program headers lie outside the file");
	if ((ph->type == PT_LOAD || ph->type == PT_NOTE) &&
	    (ph->off > len || ph->filesz > len - ph->off))
		return err_set(e, EINVAL,
			       "a segment lies outside the file: the image is cut short");
	return 0;
}

static int add_seg(struct elf_kernel *k, const struct phdr *ph, struct err *e)
{
	struct elf_seg *seg = &k->seg[k->nr_segs];
	uint64_t end;

	if (!ph->memsz)
		return 0;
	if (ph->filesz > ph->memsz)
		return err_set(e, EINVAL, "a segment has more bytes in the file than in memory");
	if (__builtin_add_overflow(ph->paddr, ph->memsz, &end) || end > BIT64(46))
		return err_set(e, EINVAL,
			       "a segment at 0x%" PRIx64 " of 0x%" PRIx64 " bytes is absurd",
			       ph->paddr, ph->memsz);
	if (k->nr_segs == ELF_MAX_SEGS)
		return err_set(e, EINVAL, "more than %d loadable segments", ELF_MAX_SEGS);
	for (unsigned i = 0; i < k->nr_segs; i++)
		if (ph->paddr < k->seg[i].paddr + k->seg[i].memsz && k->seg[i].paddr < end)
			return err_set(e, EINVAL, "segments overlap at 0x%" PRIx64, ph->paddr);
	*seg = (struct elf_seg){
		.paddr = ph->paddr, .filesz = ph->filesz, .memsz = ph->memsz, .off = ph->off
	};
	k->nr_segs++;
	k->first = MIN(k->first, ph->paddr);
	k->end = MAX(k->end, end);
	return 0;
}

/* Notes are { namesz, descsz, type, name, desc }, each part padded to 4 bytes. */
static void scan_notes(struct elf_kernel *k, const uint8_t *data, size_t len)
{
	struct cursor c = cursor_of(data, len);

	for (unsigned n = 0; n < MAX_NOTES && c.pos < len; n++) {
		uint32_t namesz = rd_le32(&c), descsz = rd_le32(&c), type = rd_le32(&c);
		const uint8_t *name = rd_bytes(&c, align_up(namesz, 4));
		const uint8_t *desc = rd_bytes(&c, align_up(descsz, 4));

		if (c.bad)
			return;
		if (type == NOTE_PHYS32 && namesz == 4 && !memcmp(name, "Xen", 4) && descsz >= 4)
			k->pvh_entry = descsz >= 8 ? ld_le64(desc) : ld_le32(desc);
	}
}

static bool inside(const struct elf_kernel *k, uint64_t addr)
{
	for (unsigned i = 0; i < k->nr_segs; i++)
		if (addr >= k->seg[i].paddr && addr - k->seg[i].paddr < k->seg[i].filesz)
			return true;
	return false;
}

static int check_entries(struct elf_kernel *k, struct err *e)
{
	if (!k->nr_segs)
		return err_set(e, EINVAL, "nothing in it is to be loaded");
	if (!inside(k, k->pvh_entry) || k->pvh_entry > UINT32_MAX)
		k->pvh_entry = 0;
	if (!k->pvh_entry && !inside(k, k->entry))
		return err_set(e, EINVAL, "the entry point 0x%" PRIx64 " is in no loaded segment",
			       k->entry);
	return 0;
}

int elf_parse(const uint8_t *data, size_t len, struct elf_kernel *out, struct err *e)
{
	return elf_parse_head(data, len, len, out, e);
}

int elf_parse_head(const uint8_t *data, size_t have, size_t len, struct elf_kernel *out,
		   struct err *e)
{
	struct cursor c = cursor_of(data, have);
	uint16_t type, machine, phentsize, phnum;
	uint64_t phoff;

	memset(out, 0, sizeof(*out));
	out->first = UINT64_MAX;
	if (!elf_is(data, have) || data[4] != 2 || data[5] != 1)
		return err_set(e, EINVAL, "not a 64-bit little-endian ELF file");
	rd_seek(&c, 16);
	type = rd_le16(&c);
	machine = rd_le16(&c);
	rd_le32(&c);
	out->entry = rd_le64(&c);
	phoff = rd_le64(&c);
	rd_seek(&c, 54);
	phentsize = rd_le16(&c);
	phnum = rd_le16(&c);
	if (machine != EM_X86_64)
		return err_set(e, EINVAL, "the ELF file is for machine %u, not for x86-64 (62)",
			       machine);
	if ((type != ET_EXEC && type != ET_DYN) || phentsize != PHDR_SIZE || !phnum ||
	    phnum > MAX_PHDRS)
		return err_set(e, EINVAL, "the ELF file is no kernel (type %u, %u program headers)",
			       type, phnum);
	for (unsigned i = 0; i < phnum; i++) {
		struct phdr ph;
		int r = phoff > have ? -EINVAL
				     : read_phdr(data, have, len, phoff + i * PHDR_SIZE, &ph, e);

		if (phoff > have)
			return err_set(e, EINVAL, "the program headers lie outside the file");
		if (!r && ph.type == PT_LOAD)
			r = add_seg(out, &ph, e);
		if (r < 0)
			return r;
		if (ph.type == PT_NOTE && ph.off <= have && ph.filesz <= have - ph.off)
			scan_notes(out, data + ph.off, ph.filesz);
	}
	return check_entries(out, e);
}
