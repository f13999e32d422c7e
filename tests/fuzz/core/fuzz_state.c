/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the state reader with a sealed object around the input as its body, so that the fuzzer
 * gets behind the checksum; and with the raw input, for the header.
 */
#include "core/sample_state.h"
#include "base/bytes.h"
#include "base/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_load(const uint8_t *p, size_t n)
{
	struct sample_part list[2] = { 0 };
	struct sample s = { .host = &s, .list = list, .nr_list = 2 };
	struct err e = { 0 };
	const uint8_t *pos = p;

	if (state_load(&pos, p + n, "s0", &sample_state, &s, &e) == 0) {
		struct state_buf again = { 0 };

		assert(s.index < 3);
		state_save(&again, "s0", &sample_state, &s);
		state_buf_fini(&again);
	} else {
		assert(e.msg[0] && pos == p);
	}
	assert(s.host == &s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *sealed;

	try_load(data, size);
	if (size > 65536)
		return 0;
	sealed = malloc(size + 12);
	memcpy(sealed, "HKOB", 4);
	st_le32(sealed + 4, (uint32_t)size);
	memcpy(sealed + 8, data, size);
	st_le32(sealed + 8 + size, crc32c(0, sealed, size + 8));
	try_load(sealed, size + 12);
	free(sealed);
	return 0;
}
