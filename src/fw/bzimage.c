/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a bzImage's setup header (see bzimage.h). The image is hostile. Any thread; no state. */
#include "base/base.h"

#include "base/cursor.h"
#include "fw/bzimage.h"

#define HDR_SETUP_SECTS	 0x1f1
#define HDR_BOOT_FLAG	 0x1fe
#define HDR_JUMP_LEN	 0x201
#define HDR_MAGIC	 0x202
#define HDR_VERSION	 0x206
#define HDR_INITRD_MAX	 0x22c
#define HDR_ALIGNMENT	 0x230
#define HDR_RELOCATABLE	 0x234
#define HDR_XLOADFLAGS	 0x236
#define HDR_CMDLINE_SIZE 0x238
#define HDR_PAYLOAD_OFF	 0x248
#define HDR_PAYLOAD_LEN	 0x24c
#define HDR_PREF_ADDRESS 0x258
#define HDR_INIT_SIZE	 0x260
#define HDR_END		 0x268

#define XLF_KERNEL_64	    BIT32(0)
#define XLF_CAN_BE_ABOVE_4G BIT32(1)

bool bzimage_is(const uint8_t *data, size_t len)
{
	return len >= HDR_END && ld_le16(data + HDR_BOOT_FLAG) == 0xaa55 &&
	       !memcmp(data + HDR_MAGIC, "HdrS", 4);
}

static int check_header(const uint8_t *d, struct bzimage *bz, struct err *e)
{
	uint16_t flags = ld_le16(d + HDR_XLOADFLAGS);

	bz->version = ld_le16(d + HDR_VERSION);
	if (bz->version < 0x020c)
		return err_set(
			e, EINVAL,
			"boot protocol %u.%02u is too old: 2.12 (Linux 3.8) or newer is needed",
			bz->version >> 8, bz->version & 0xff);
	if (!(flags & XLF_KERNEL_64))
		return err_set(e, EINVAL,
			       "the kernel has no 64-bit entry point (a 32-bit kernel?)");
	bz->above_4g = flags & XLF_CAN_BE_ABOVE_4G;
	bz->relocatable = d[HDR_RELOCATABLE];
	bz->alignment = ld_le32(d + HDR_ALIGNMENT);
	bz->cmdline_size = ld_le32(d + HDR_CMDLINE_SIZE);
	bz->initrd_max = ld_le32(d + HDR_INITRD_MAX);
	bz->pref_address = ld_le64(d + HDR_PREF_ADDRESS);
	bz->init_size = ld_le32(d + HDR_INIT_SIZE);
	if (bz->pref_address < MIB(1) || bz->pref_address > GIB(4) || !bz->init_size ||
	    bz->init_size > GIB(2))
		return err_set(e, EINVAL,
			       "the header wants 0x%" PRIx64 " bytes at 0x%" PRIx64
			       ", which is absurd",
			       bz->init_size, bz->pref_address);
	return 0;
}

int bzimage_parse(const uint8_t *data, size_t len, struct bzimage *out, struct err *e)
{
	uint64_t setup;
	int r;

	memset(out, 0, sizeof(*out));
	if (!bzimage_is(data, len))
		return err_set(e, EINVAL, "not a Linux bzImage");
	r = check_header(data, out, e);
	if (r < 0)
		return r;
	setup = data[HDR_SETUP_SECTS] ? data[HDR_SETUP_SECTS] : 4;
	out->code_off = (setup + 1) * 512;
	if (out->code_off >= len || len - out->code_off < 0x400)
		return err_set(e, EINVAL,
			       "the image is cut short: %zu bytes, the kernel begins at %" PRIu64,
			       len, out->code_off);
	out->code_len = len - out->code_off;
	out->header_len = MIN((size_t)(HDR_MAGIC + data[HDR_JUMP_LEN]) - BZ_HEADER_OFF,
			      (size_t)BZ_HEADER_MAX);
	memcpy(out->header, data + BZ_HEADER_OFF, out->header_len);
	out->payload_off = out->code_off + ld_le32(data + HDR_PAYLOAD_OFF);
	out->payload_len = ld_le32(data + HDR_PAYLOAD_LEN);
	if (out->payload_off > len || out->payload_len > len - out->payload_off)
		return err_set(e, EINVAL,
			       "the image is cut short: its payload ends at %" PRIu64
			       ", the file at %zu",
			       out->payload_off + out->payload_len, len);
	if (out->code_len > out->init_size)
		return err_set(e, EINVAL,
			       "the kernel is larger than the memory its header asks for");
	return 0;
}
