/* SPDX-License-Identifier: Apache-2.0 */
/* A Linux bzImage: its setup header. Source: Documentation/arch/x86/boot.rst. */
#ifndef FW_BZIMAGE_H
#define FW_BZIMAGE_H

#include "base/base.h"

#define BZ_HEADER_OFF 0x1f1
#define BZ_HEADER_MAX (0x290 - BZ_HEADER_OFF)

struct bzimage {
	uint8_t header[BZ_HEADER_MAX]; /* as it goes into the zero page at BZ_HEADER_OFF */
	size_t header_len;
	uint16_t version;		   /* protocol, 0x020f = 2.15 */
	uint64_t code_off, code_len;	   /* the protected-mode part, in the file */
	uint64_t payload_off, payload_len; /* the compressed kernel, in the file; len 0 = unknown */
	uint64_t pref_address, init_size;
	uint32_t alignment, cmdline_size, initrd_max;
	bool relocatable, above_4g;
};

bool bzimage_is(const uint8_t *data, size_t len);
/* Needs the 64-bit entry (protocol 2.12, XLF_KERNEL_64); all extents lie in the file. */
int bzimage_parse(const uint8_t *data, size_t len, struct bzimage *out, struct err *e) MUST_CHECK;

#endif
