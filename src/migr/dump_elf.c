/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ELF core file of a whole machine, as crash, drgn and gdb read it: the vCPUs' registers as
 * notes, then each run of guest RAM as a segment whose p_paddr is where the guest has it. Source:
 * System V ABI, "Object Files" (program header, note section), and what QEMU writes.
 * State: none that is saved.
 */
#include "base/base.h"
#include "mem/map.h"
#include "migr/dump_core.h"
#include <elf.h>

#define STEP (64u << 10)

static int write_headers(const struct dump_core *c, struct migr_stream *s, struct err *e)
{
	size_t len = sizeof(Elf64_Ehdr) + (1 + c->n) * sizeof(Elf64_Phdr);
	autofree uint8_t *head = xnew_n(uint8_t, len);
	Elf64_Ehdr *eh = (void *)head;
	Elf64_Phdr *ph = (void *)(head + sizeof(*eh));
	uint64_t at = len;

	*eh = (Elf64_Ehdr){ .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
					 ELFDATA2LSB, EV_CURRENT },
			    .e_type = ET_CORE,
			    .e_machine = EM_X86_64,
			    .e_version = EV_CURRENT,
			    .e_phoff = sizeof(*eh),
			    .e_ehsize = sizeof(*eh),
			    .e_phentsize = sizeof(*ph),
			    .e_phnum = (Elf64_Half)(1 + c->n) };
	*ph = (Elf64_Phdr){
		.p_type = PT_NOTE, .p_offset = at, .p_filesz = c->notes_len, .p_memsz = c->notes_len
	};
	at += c->notes_len;
	for (size_t i = 0; i < c->n; i++) {
		const struct dump_piece *p = &c->pieces[i];

		ph[1 + i] = (Elf64_Phdr){ .p_type = PT_LOAD,
					  .p_offset = at,
					  .p_vaddr = p->gpa,
					  .p_paddr = p->gpa,
					  .p_filesz = p->len,
					  .p_memsz = p->len };
		at += p->len;
	}
	return stream_write(s, head, len, e);
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
