/* SPDX-License-Identifier: Apache-2.0 */
/* Writes each ACPI table of the test board to a file: dump_tables DIR CPUS [reduced]. For
 * check_iasl.py. */
#include "base/base.h"

#include "base/bytes.h"
#include "fw/acpi.h"
#include "fw/smbios.h"
#include "test_board.h"
#include <stdio.h>

static int write_file(const char *dir, const char *name, const uint8_t *p, size_t len)
{
	autofree char *path = xasprintf("%s/%.4s.dat", dir, name);
	FILE *f = fopen(path, "wb");

	if (!f || fwrite(p, 1, len, f) != len || fclose(f))
		return 1;
	return 0;
}

int main(int argc, char **argv)
{
	unsigned cpus = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
	uint32_t ids[300];
	struct fw_board board = test_board(cpus, ids);
	struct fw_blob blob;
	struct err e;
	uint64_t xsdt;
	int bad = 0;

	if (argc < 3 || cpus > ARRAY_SIZE(ids))
		return 2;
	for (unsigned i = 0; i < cpus; i++)
		ids[i] = i;
	if (argc > 3)
		test_board_reduce(&board);
	if (acpi_build(&board, 0xe0000, 0x10000, &blob, &e) < 0)
		return 1;
	xsdt = ld_le64(blob.data + 24) - blob.addr;
	bad |= write_file(argv[1], "XSDT", blob.data + xsdt, ld_le32(blob.data + xsdt + 4));
	for (unsigned i = 0; i < (ld_le32(blob.data + xsdt + 4) - 36) / 8; i++) {
		const uint8_t *t = blob.data + (ld_le64(blob.data + xsdt + 36 + i * 8) - blob.addr);

		bad |= write_file(argv[1], (const char *)t, t, ld_le32(t + 4));
		if (!memcmp(t, "FACP", 4)) {
			const uint8_t *dsdt = blob.data + (ld_le32(t + 40) - blob.addr);
			uint32_t facs_at = ld_le32(t + 36);
			const uint8_t *facs = blob.data + (facs_at - blob.addr);

			bad |= write_file(argv[1], "DSDT", dsdt, ld_le32(dsdt + 4));
			if (facs_at)
				bad |= write_file(argv[1], "FACS", facs, ld_le32(facs + 4));
		}
	}
	free(blob.data);
	if (smbios_build(&board, 0xf0000, 0x10000, &blob, &e) < 0)
		return 1;
	bad |= write_file(argv[1], "_SM3", blob.data, blob.len);
	free(blob.data);
	return bad;
}
