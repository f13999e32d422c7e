/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deliberately wrong state tables: what tools/check_state.py must find (test_check_state.py).
 * Nothing runs here.
 */
#include "base/base.h"
#include "core/state.h"

struct forgetful {
	uint32_t listed;
	uint8_t pad_before; /* padding behind it must not count */
	uint64_t forgotten;
	struct {
		uint16_t in_anonymous;
	};
	struct {
		uint8_t a, b;
	} half;
	void *host;
};

static const struct state_field forgetful_fields[] = {
	ST_U32(struct forgetful, listed),
	ST_U8(struct forgetful, pad_before),
	ST_U8(struct forgetful, half.a),
	ST_HOST(struct forgetful, host),
	ST_END,
};

__attribute__((used)) static const struct state_desc forgetful_state = {
	.name = "forgetful",
	.struct_name = "forgetful",
	.version = 1,
	.fields = forgetful_fields,
};

struct doubled {
	uint32_t a, b;
};

static const struct state_field doubled_fields[] = {
	ST_U32(struct doubled, a),
	ST_DERIVED(struct doubled, b),
	{ .name = "again",
	  .kind = STATE_U32,
	  .offset = offsetof(struct doubled, b),
	  .elem = 4,
	  .count = 1 },
	{ .name = "beyond",
	  .kind = STATE_U32,
	  .offset = sizeof(struct doubled),
	  .elem = 4,
	  .count = 1 },
	ST_SUB(struct doubled, a, &forgetful_state),
	ST_END,
};

__attribute__((used)) static const struct state_desc doubled_state = {
	.name = "doubled",
	.struct_name = "doubled",
	.version = 1,
	.fields = doubled_fields,
};

struct enlarged {
	uint32_t nr;
	struct doubled *list;
};

static const struct state_field enlarged_fields[] = {
	ST_U32(struct enlarged, nr), /* a stream could make it larger than the list is */
	ST_SUBS(struct enlarged, list, nr, &doubled_state),
	ST_END,
};

__attribute__((used)) static const struct state_desc enlarged_state = {
	.name = "enlarged",
	.struct_name = "enlarged",
	.version = 1,
	.fields = enlarged_fields,
};

__attribute__((used)) static const struct state_desc nameless_state = {
	.name = "nameless",
	.struct_name = "renamed_since",
	.version = 1,
	.fields = doubled_fields,
};

int main(void)
{
	return 0;
}
