/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the ELF reader: what it accepts must keep to what placing relies on. */
#include "base/base.h"

#include "fw/elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct elf_kernel k;
	struct err e = { 0 };

	if (elf_parse(data, size, &k, &e) < 0) {
		assert(e.msg[0]);
		return 0;
	}
	assert(k.nr_segs > 0 && k.nr_segs <= ELF_MAX_SEGS);
	for (unsigned i = 0; i < k.nr_segs; i++) {
		const struct elf_seg *s = &k.seg[i];

		assert(s->off <= size && s->filesz <= size - s->off && s->filesz <= s->memsz);
		assert(s->paddr >= k.first && s->paddr + s->memsz <= k.end);
		for (unsigned j = 0; j < i; j++)
			assert(s->paddr + s->memsz <= k.seg[j].paddr ||
			       k.seg[j].paddr + k.seg[j].memsz <= s->paddr);
	}
	return 0;
}
