/* SPDX-License-Identifier: Apache-2.0 */
/* A struct with every kind of state field, for the tests and the fuzz target of the engine. */
#ifndef TESTS_CORE_SAMPLE_STATE_H
#define TESTS_CORE_SAMPLE_STATE_H

#include "base/base.h"
#include "core/state.h"

struct sample_part {
	uint8_t a;
	uint32_t b[2];
};

struct sample {
	void *host;
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	bool flag;
	uint8_t bytes[5];
	uint16_t words[3];
	uint64_t longs[2];
	bool flags[4];
	struct sample_part one;
	struct sample_part many[3];
	uint32_t nr_list;
	struct sample_part *list;
	uint32_t newer; /* since version 2 */
	uint32_t derived;
	uint32_t index;		     /* checked: < 3 */
	uint64_t when, never, ticks; /* moments */
	uint8_t grid[2][3];
};

static int sample_post_load(void *obj, struct err *e)
{
	struct sample *s = obj;

	if (s->index >= ARRAY_SIZE(s->many))
		return err_set(e, EINVAL, "index %u is out of range", s->index);
	s->derived = s->u32 * 2;
	return 0;
}

static const struct state_field sample_part_fields[] = {
	ST_U8(struct sample_part, a),
	ST_U32A(struct sample_part, b),
	ST_END,
};

static const struct state_desc sample_part_state = {
	.name = "sample-part",
	.struct_name = "sample_part",
	.version = 1,
	.fields = sample_part_fields,
};

static const struct state_field sample_fields[] = {
	ST_HOST(struct sample, host),
	ST_U8(struct sample, u8),
	ST_U16(struct sample, u16),
	ST_U32(struct sample, u32),
	ST_U64(struct sample, u64),
	ST_BOOL(struct sample, flag),
	ST_U8A(struct sample, bytes),
	ST_U16A(struct sample, words),
	ST_U64A(struct sample, longs),
	ST_BOOLA(struct sample, flags),
	ST_SUB(struct sample, one, &sample_part_state),
	ST_SUBA(struct sample, many, &sample_part_state),
	ST_HOST(struct sample, nr_list),
	ST_SUBS(struct sample, list, nr_list, &sample_part_state),
	{ .name = "newer",
	  .kind = STATE_U32,
	  .offset = offsetof(struct sample, newer),
	  .elem = 4,
	  .count = 1,
	  .since = 2 },
	ST_DERIVED(struct sample, derived),
	ST_U32(struct sample, index),
	ST_NS(struct sample, when),
	ST_NS(struct sample, never),
	ST_TSC(struct sample, ticks),
	ST_U8AA(struct sample, grid),
	ST_END,
};

static const struct state_desc sample_state = {
	.name = "sample",
	.struct_name = "sample",
	.version = 2,
	.fields = sample_fields,
	.post_load = sample_post_load,
};

/* list: nr of them, the caller's */
static inline void sample_fill(struct sample *s, struct sample_part *list, uint32_t nr)
{
	memset(s, 0, sizeof(*s));
	s->list = list;
	s->nr_list = nr;
	for (uint32_t i = 0; i < nr; i++)
		list[i] = (struct sample_part){ .a = (uint8_t)i, .b = { i * 3, i * 5 } };
	s->u8 = 0x81;
	s->u16 = 0x8281;
	s->u32 = 0x84838281;
	s->u64 = 0x8887868584838281;
	s->flag = true;
	s->when = 0x1122334455667788;
	s->never = UINT64_MAX;
	s->ticks = 0x99aabbccddeeff00;
	memcpy(s->grid, "\x0a\x0b\x0c\x0d\x0e\x0f", 6);
	memcpy(s->bytes, "\x01\x02\x03\x04\x05", 5);
	for (uint16_t i = 0; i < 3; i++) {
		s->words[i] = (uint16_t)(0x1100 + i);
		s->many[i].a = (uint8_t)(0x70 + i);
		s->many[i].b[0] = 0xaabb0000u + i;
		s->many[i].b[1] = 0xccdd0000u + i;
	}
	s->longs[1] = UINT64_MAX;
	s->flags[2] = true;
	s->one.a = 9;
	s->one.b[1] = 99;
	s->newer = 0x4e4e4e4e;
	s->index = 2;
}

#endif
