/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON out of a stream: the same values and errors come out however it is cut, and what is kept is
 * bounded. The first two bytes say how it is cut.
 */
#include "base/base.h"

#include "mon/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A hash of the results, so that two ways can be compared. */
static uint64_t run(const uint8_t *data, size_t size, size_t piece)
{
	struct frame f;
	uint64_t hash = 0;

	frame_init(&f);
	for (size_t at = 0; at < size; at += piece) {
		uint64_t start = 0, end = 0;
		struct err e = { 0 };
		json_t *json = NULL;
		int ret;

		frame_put(&f, data + at, MIN(piece, size - at));
		while ((ret = frame_next(&f, &json, &start, &end, &e)) != 0) {
			hash = hash * 31 + (ret < 0 ? 7 : end - start + 11);
			if (ret > 0 && end <= start)
				abort();
			json_decref(json);
			json = NULL;
		}
		if (f.base + f.len > at + piece)
			abort();
	}
	frame_fini(&f);
	return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3 || size > 65536)
		return 0;
	if (run(data + 2, size - 2, (size_t)data[0] + 1) !=
	    run(data + 2, size - 2, (size_t)data[1] + 1))
		abort();
	return 0;
}
