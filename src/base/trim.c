/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives back the pages of programs and libraries that only the start needed: those that are never
 * written, so that the file still has them and a later touch brings them back. Any thread; no state.
 */
#include "base/base.h"
#include "base/trim.h"
#include <link.h>
#include <sys/mman.h>

#define PAGE 4096ul

/* A library whose code was changed when it was loaded has pages that its file has not. */
static bool has_text_relocations(const struct dl_phdr_info *info)
{
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		const ElfW(Dyn) *d = (const void *)(info->dlpi_addr + p->p_vaddr);

		for (; p->p_type == PT_DYNAMIC && d->d_tag != DT_NULL; d++)
			if (d->d_tag == DT_TEXTREL ||
			    (d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_TEXTREL)))
				return true;
	}
	return false;
}

static int trim_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	if (has_text_relocations(info))
		return 0;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t first = align_up(info->dlpi_addr + p->p_vaddr, PAGE);
		uintptr_t end = align_down(info->dlpi_addr + p->p_vaddr + p->p_filesz, PAGE);

		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W) && end > first)
			madvise((void *)first, end - first, MADV_DONTNEED);
	}
	return 0;
}

void trim_text(void)
{
	dl_iterate_phdr(trim_object, NULL);
}
