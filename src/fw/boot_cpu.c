/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Linux kernel finds when it starts: the zero page (64-bit protocol) or the PVH start
 * info, page tables, a GDT, and the boot CPU's registers. Sources: Linux
 * Documentation/arch/x86/boot.rst section "64-bit BOOT PROTOCOL", zero-page.rst; Xen
 * public/arch-x86/hvm/start_info.h (layout facts).
 */
#include "base/base.h"

#include "base/bytes.h"
#include "fw/boot_int.h"
#include "isa/x86/cpu_state.h"
#include "isa/x86/x86.h"
#include "mem/map.h"

/* Offsets in the zero page (struct boot_params) */
#define ZP_ACPI_RSDP   0x070
#define ZP_EXT_RAMDISK 0x0c0
#define ZP_EXT_RAMSIZE 0x0c4
#define ZP_E820_COUNT  0x1e8
#define ZP_BOOT_FLAG   0x1fe
#define ZP_MAGIC       0x202
#define ZP_VERSION     0x206
#define ZP_LOADER      0x210
#define ZP_LOADFLAGS   0x211
#define ZP_RAMDISK     0x218
#define ZP_RAMSIZE     0x21c
#define ZP_CMDLINE     0x228
#define ZP_INITRD_MAX  0x22c
#define ZP_ALIGNMENT   0x230
#define ZP_RELOCATABLE 0x234
#define ZP_E820	       0x2d0
#define E820_ENTRY     20

#define LOADER_UNDEFINED 0xff
#define LOADED_HIGH	 0x01

#define SEL_CODE 0x10
#define SEL_DATA 0x18
#define SEL_TSS	 0x20

static int put(struct map *map, uint64_t gpa, const void *data, size_t len, struct err *e)
{
	return mem_write(map, gpa, data, len) < 0
		       ? err_set(e, EFAULT,
				 "0x%" PRIx64 " is not RAM: the guest has too little memory", gpa)
		       : 0;
}

/* Null, null, 64-bit code, data, a TSS: as the protocol wants them in memory too. */
static int write_gdt(struct map *map, bool code64, struct err *e)
{
	uint64_t gdt[] = { 0,
			   0,
			   code64 ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull,
			   0x00cf93000000ffffull,
			   0x00008b0000000067ull,
			   0 };

	return put(map, LOW_GDT, gdt, sizeof(gdt), e);
}

/* Identity map of the first 4 GiB in 2 MiB pages. */
static int write_page_tables(struct map *map, struct err *e)
{
	autofree uint64_t *pt = xcalloc(6, 4096);

	pt[0] = (LOW_PML4 + 0x1000) | 3;
	for (unsigned i = 0; i < 4; i++)
		pt[512 + i] = (LOW_PML4 + 0x2000 + 0x1000 * i) | 3;
	for (unsigned i = 0; i < 4 * 512; i++)
		pt[1024 + i] = ((uint64_t)i << 21) | 0x83;
	return put(map, LOW_PML4, pt, 6 * 4096, e);
}

static void fill_header(const struct fw_boot *b, uint8_t *zp)
{
	if (b->has_bz) {
		memcpy(zp + BZ_HEADER_OFF, b->bz.header, b->bz.header_len);
	} else {
		st_le16(zp + ZP_BOOT_FLAG, 0xaa55);
		memcpy(zp + ZP_MAGIC, "HdrS", 4);
		st_le16(zp + ZP_VERSION, 0x020c);
		st_le32(zp + ZP_ALIGNMENT, 0x1000000);
		st_le32(zp + ZP_INITRD_MAX, 0x7fffffff);
	}
	zp[ZP_LOADER] = LOADER_UNDEFINED;
	zp[ZP_LOADFLAGS] |= LOADED_HIGH;
	st_le32(zp + ZP_CMDLINE, (uint32_t)LOW_CMDLINE);
	st_le32(zp + ZP_RAMDISK, (uint32_t)b->initrd_addr);
	st_le32(zp + ZP_EXT_RAMDISK, (uint32_t)(b->initrd_addr >> 32));
	st_le32(zp + ZP_RAMSIZE, (uint32_t)b->initrd.len);
	st_le32(zp + ZP_EXT_RAMSIZE, (uint32_t)((uint64_t)b->initrd.len >> 32));
	st_le64(zp + ZP_ACPI_RSDP, b->rsdp);
}

static int write_zero_page(const struct fw_boot *b, struct map *map, struct err *e)
{
	uint8_t zp[4096] = { 0 };
	struct mem_entry entries[MEM_ENTRIES_MAX];
	unsigned n = boot_memory_map(&b->board, entries);

	fill_header(b, zp);
	zp[ZP_E820_COUNT] = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		uint8_t *p = zp + ZP_E820 + i * E820_ENTRY;

		st_le64(p, entries[i].addr);
		st_le64(p + 8, entries[i].size);
		st_le32(p + 16, entries[i].type);
	}
	return put(map, LOW_ZERO_PAGE, zp, sizeof(zp), e);
}

static void set_flat_segments(struct cpu_state *s, uint16_t code_attr)
{
	for (unsigned i = 0; i < SEG_NR; i++)
		s->seg[i] = (struct x86_seg){ .limit = UINT32_MAX,
					      .sel = SEL_DATA,
					      .attr = SEG_G | SEG_DB | SEG_P | SEG_S | 3 };
	s->seg[SEG_CS] =
		(struct x86_seg){ .limit = UINT32_MAX, .sel = SEL_CODE, .attr = code_attr };
	s->tr = (struct x86_seg){ .limit = 0x67, .sel = SEL_TSS, .attr = SEG_P | 0xb };
	s->gdtr = (struct x86_dtable){ .base = LOW_GDT, .limit = 6 * 8 - 1 };
	s->idtr = (struct x86_dtable){ 0 };
	s->rflags = FLAG_R1;
}

int boot_setup_64(struct fw_boot *b, struct map *map, struct cpu_state *s, struct err *e)
{
	int r = write_zero_page(b, map, e);

	if (!r)
		r = write_gdt(map, true, e);
	if (!r)
		r = write_page_tables(map, e);
	if (r < 0)
		return r;
	set_flat_segments(s, SEG_G | SEG_L | SEG_P | SEG_S | 0xb);
	s->cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_NE | CR0_MP;
	s->cr3 = LOW_PML4;
	s->cr4 = CR4_PAE;
	s->efer = EFER_LME | EFER_LMA;
	s->gpr[RSI] = LOW_ZERO_PAGE;
	s->gpr[RSP] = LOW_ZERO_PAGE; /* the protocol gives no stack; below is scratch */
	s->rip = b->how == BOOT_BZIMAGE ? b->bz.pref_address + 0x200 : b->elf.entry;
	return 0;
}

int boot_setup_pvh(struct fw_boot *b, struct map *map, struct cpu_state *s, struct err *e)
{
	uint8_t info[4096] = { 0 };
	uint8_t *mods = info + 0x100, *mem = info + 0x200;
	struct mem_entry entries[MEM_ENTRIES_MAX];
	unsigned n = boot_memory_map(&b->board, entries);
	int r;

	st_le32(info, 0x336ec578); /* magic "xEn3" with the top bit, version 1 */
	st_le32(info + 4, 1);
	if (b->initrd.len) {
		st_le32(info + 12, 1);
		st_le64(info + 16, LOW_PVH_INFO + 0x100);
		st_le64(mods, b->initrd_addr);
		st_le64(mods + 8, b->initrd.len);
	}
	st_le64(info + 24, LOW_CMDLINE);
	st_le64(info + 32, b->rsdp);
	st_le64(info + 40, LOW_PVH_INFO + 0x200);
	st_le32(info + 48, n);
	for (unsigned i = 0; i < n; i++) {
		st_le64(mem + i * 24, entries[i].addr);
		st_le64(mem + i * 24 + 8, entries[i].size);
		st_le32(mem + i * 24 + 16, entries[i].type);
	}
	r = put(map, LOW_PVH_INFO, info, sizeof(info), e);
	if (!r)
		r = write_gdt(map, false, e);
	if (r < 0)
		return r;
	set_flat_segments(s, SEG_G | SEG_DB | SEG_P | SEG_S | 0xb);
	s->cr0 = CR0_PE | CR0_ET;
	s->cr4 = 0;
	s->efer = 0;
	s->gpr[RBX] = LOW_PVH_INFO;
	s->rip = b->elf.pvh_entry;
	return 0;
}
