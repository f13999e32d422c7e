/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a fuzzer as a stream of numbers; behind the end come zeros. */
#ifndef TESTS_LIB_FUZZ_INPUT_H
#define TESTS_LIB_FUZZ_INPUT_H

#include "base/base.h"
#include "core/state.h"

struct fuzz_input {
	const uint8_t *p, *end;
};

static inline bool fuzz_more(const struct fuzz_input *in)
{
	return in->p < in->end;
}

static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
	uint16_t low = fuzz_u8(in);

	return (uint16_t)(low | fuzz_u8(in) << 8);
}

static inline uint32_t fuzz_u32(struct fuzz_input *in)
{
	uint32_t low = fuzz_u16(in);

	return low | (uint32_t)fuzz_u16(in) << 16;
}

/* A step in time from nothing to hours, in ns. */
static inline uint64_t fuzz_ns(struct fuzz_input *in)
{
	uint64_t mantissa = fuzz_u8(in);

	return mantissa << (fuzz_u8(in) % 40);
}

/* What a guest can bring about, a stream must be able to carry: saves obj, loads it into other. */
static inline void fuzz_check_state(const struct state_desc *d, void *obj, void *other)
{
	struct state_buf b = {0};
	struct err e = {0};
	const uint8_t *pos;

	state_save(&b, "it", d, obj);
	pos = b.data;
	if (state_load(&pos, b.data + b.len, "it", d, other, &e))
		__builtin_trap();
	state_buf_fini(&b);
}

#endif
