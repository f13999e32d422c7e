/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ELF core file of a whole machine, as crash, drgn and gdb read it: the vCPUs' registers as
 * notes, then all guest RAM, and what addresses it has as segments whose p_paddr is where the guest
 * has it: one for each run of memory, or one for each run of pages that its tables lead to. Source:
 * System V ABI, "Object Files" (program header, note section); elf(5) (PN_XNUM); what QEMU writes.
 * State: none that is saved.
 */
#include "base/base.h"
#include "mem/map.h"
#include "migr/dump_core.h"
#include <elf.h>

#define STEP (64u << 10)

/* Where in the file a byte of guest memory lies, when memory begins at base. */
static uint64_t place_of(const struct dump_core *c, uint64_t base, uint64_t gpa)
{
	size_t i;

	for (i = 0; gpa - c->pieces[i].gpa >= c->pieces[i].len; i++)
		base += c->pieces[i].len;
	return base + (gpa - c->pieces[i].gpa);
}

static int write_loads(const struct dump_core *c, uint64_t base, struct migr_stream *s,
		       struct err *e)
{
	Elf64_Phdr ph[64];
	int ret = 0;

	for (size_t i = 0, n = 0; ret == 0 && i < c->nr_loads; i++) {
		const struct dump_load *l = &c->loads[i];

		ph[n++] = (Elf64_Phdr){ .p_type = PT_LOAD,
					.p_offset = place_of(c, base, l->gpa),
					.p_vaddr = l->addr,
					.p_paddr = l->gpa,
					.p_filesz = l->len,
					.p_memsz = l->len };
		if (n == ARRAY_SIZE(ph) || i + 1 == c->nr_loads) {
			ret = stream_write(s, ph, n * sizeof(*ph), e);
			n = 0;
		}
	}
	return ret;
}

static int write_headers(const struct dump_core *c, struct migr_stream *s, struct err *e)
{
	size_t n = 1 + c->nr_loads, at = sizeof(Elf64_Ehdr) + n * sizeof(Elf64_Phdr);
	/* More than the header can say are told by a section. */
	bool many = n >= PN_XNUM;
	Elf64_Ehdr eh = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				       EV_CURRENT },
			  .e_type = ET_CORE,
			  .e_machine = EM_X86_64,
			  .e_version = EV_CURRENT,
			  .e_phoff = sizeof(eh),
			  .e_shoff = many ? at : 0,
			  .e_ehsize = sizeof(eh),
			  .e_phentsize = sizeof(Elf64_Phdr),
			  .e_phnum = (Elf64_Half)MIN(n, (size_t)PN_XNUM),
			  .e_shentsize = many ? sizeof(Elf64_Shdr) : 0,
			  .e_shnum = many };
	Elf64_Shdr sh = { .sh_info = (Elf64_Word)n };
	Elf64_Phdr note = { .p_type = PT_NOTE,
			    .p_offset = at += many ? sizeof(sh) : 0,
			    .p_filesz = c->notes_len,
			    .p_memsz = c->notes_len };
	int ret = stream_write(s, &eh, sizeof(eh), e);

	if (ret == 0)
		ret = stream_write(s, &note, sizeof(note), e);
	if (ret == 0)
		ret = write_loads(c, at + c->notes_len, s, e);
	return ret < 0 || !many ? ret : stream_write(s, &sh, sizeof(sh), e);
}

static int write_piece(const struct dump_piece *p, struct migr_stream *s, _Atomic uint64_t *done,
		       struct err *e)
{
	static const uint8_t zeroes[STEP];

	for (uint64_t at = 0; at < p->len;) {
		/* What was never touched stays so. */
		uint64_t next = ram_next_data(p->rb, p->off + at) - p->off;
		uint64_t n = MIN(p->len - at, (uint64_t)STEP);
		int ret;

		if (next > at)
			ret = stream_write(s, zeroes, n = MIN(n, next - at), e);
		else
			ret = stream_write(s, p->rb->host + p->off + at, n, e);
		if (ret < 0)
			return ret;
		at += n;
		atomic_fetch_add(done, n);
	}
	return 0;
}

int dump_elf_write(const struct dump_core *c, struct migr_stream *s, _Atomic uint64_t *done,
		   struct err *e)
{
	int ret = write_headers(c, s, e);

	if (ret == 0)
		ret = stream_write(s, c->notes, c->notes_len, e);
	for (size_t i = 0; ret == 0 && i < c->n; i++)
		ret = write_piece(&c->pieces[i], s, done, e);
	return ret;
}
