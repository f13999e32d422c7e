/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside fw/: where direct boot puts things in low memory, and the parts of a boot. */
#ifndef FW_BOOT_INT_H
#define FW_BOOT_INT_H

#include "fw/boot.h"
#include "fw/bzimage.h"
#include "fw/elf.h"
#include "fw/kernel_map.h"

struct map;

/* Guest-physical layout below 1 MiB. All of it is RAM; what must survive is reserved in the e820. */
#define LOW_GDT		0x00500ull
#define LOW_PVH_INFO	0x06000ull
#define LOW_ZERO_PAGE	0x07000ull
#define LOW_PML4	0x09000ull /* + PDPT + 4 PDs: identity map of 4 GiB in 2 MiB pages */
#define LOW_CMDLINE	0x20000ull
#define LOW_CMDLINE_MAX 0x10000ull
#define LOW_EBDA	0x9fc00ull
#define LOW_TABLES	0xe0000ull /* ACPI */
#define LOW_TABLES_LEN	0x10000ull
#define LOW_SMBIOS	0xf0000ull
#define LOW_SMBIOS_LEN	0xff00ull
#define LOW_RESET	0xfff00ull /* restarts the machine, in real mode with CS = F000 */
#define LOW_RESET_ENTRY 0xffff0ull /* where firmware would start */

enum boot_how {
	BOOT_BZIMAGE, /* the guest's own decompressor, entered at its 64-bit entry */
	BOOT_64,      /* an unpacked kernel by the 64-bit protocol */
	BOOT_PVH,     /* an unpacked kernel by its PVH entry */
};

struct fw_file {
	char *path;
	int fd;
	uint8_t *data; /* mapped while in use */
	size_t len;
};

struct fw_boot {
	struct fw_board board;
	struct fw_file kernel, initrd;
	char *append;
	enum boot_how how;
	struct bzimage bz;
	bool has_bz;
	struct elf_kernel elf;
	bool packed;	       /* its payload is an ELF kernel, which is unpacked into its place */
	bool placed;	       /* RAM is no longer zero */
	struct kernel_map map; /* of a kernel that is not compressed */
	uint64_t kernel_first, kernel_end; /* what the kernel occupies while it starts */
	uint64_t initrd_addr, rsdp;
};

/* One entry of the memory map handed to the kernel. */
struct mem_entry {
	uint64_t addr, size;
	uint32_t type; /* 1 RAM, 2 reserved */
};
#define MEM_ENTRIES_MAX 16
unsigned boot_memory_map(const struct fw_board *, struct mem_entry *out);

/* Zero page or PVH start info, page tables, GDT, and the CPU to match. */
int boot_setup_64(struct fw_boot *, struct map *, struct cpu_state *, struct err *e) MUST_CHECK;
int boot_setup_pvh(struct fw_boot *, struct map *, struct cpu_state *, struct err *e) MUST_CHECK;

#endif
