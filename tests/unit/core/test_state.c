/* SPDX-License-Identifier: Apache-2.0 */
/* The state engine: round trips, versions, and streams that lie. */
#include "core/sample_state.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* What a and b of each test point to. */
static struct sample_part list_a[2], list_b[2];

static struct state_buf saved(const struct state_desc *d, struct sample *s)
{
	struct state_buf b = { 0 };

	state_save(&b, "s0", d, s);
	return b;
}

static int load(const struct state_buf *b, const struct state_desc *d, struct sample *s,
		struct err *e)
{
	const uint8_t *pos = b->data;
	int ret;

	s->list = list_b;
	s->nr_list = ARRAY_SIZE(list_b);
	memset(list_b, 0, sizeof(list_b));
	ret = state_load(&pos, b->data + b->len, "s0", d, s, e);
	assert_ptr_equal(s->list, list_b);

	if (ret == 0)
		assert_ptr_equal(pos, b->data + b->len);
	else
		assert_ptr_equal(pos, b->data);
	return ret;
}

/* Makes the checksum right again, as an attacker would. */
static void reseal(struct state_buf *b)
{
	st_le32(b->data + 4, (uint32_t)(b->len - 12));
	st_le32(b->data + b->len - 4, crc32c(0, b->data, b->len - 4));
}

static void same_state(const struct sample *a, const struct sample *b)
{
	assert_int_equal(a->u8, b->u8);
	assert_int_equal(a->u16, b->u16);
	assert_int_equal(a->u32, b->u32);
	assert_int_equal(a->u64, b->u64);
	assert_int_equal(a->flag, b->flag);
	assert_memory_equal(a->bytes, b->bytes, sizeof(a->bytes));
	assert_memory_equal(a->words, b->words, sizeof(a->words));
	assert_memory_equal(a->longs, b->longs, sizeof(a->longs));
	assert_memory_equal(a->flags, b->flags, sizeof(a->flags));
	assert_memory_equal(&a->one, &b->one, sizeof(a->one));
	assert_int_equal(a->when, b->when);
	assert_int_equal(a->never, b->never);
	assert_int_equal(a->ticks, b->ticks);
	assert_memory_equal(a->grid, b->grid, sizeof(a->grid));
	assert_memory_equal(a->many, b->many, sizeof(a->many));
	assert_int_equal(a->index, b->index);
	assert_memory_equal(a->list, b->list, sizeof(list_a));
}

static void round_trip(void **state)
{
	struct sample a, b = { .host = &b };
	struct err e = { 0 };
	struct state_buf buf;

	sample_fill(&a, list_a, 2);
	buf = saved(&sample_state, &a);
	assert_int_equal(load(&buf, &sample_state, &b, &e), 0);
	same_state(&a, &b);
	assert_int_equal(b.newer, a.newer);
	assert_ptr_equal(b.host, &b);			    /* not touched */
	assert_int_equal(b.derived, (uint32_t)(a.u32 * 2)); /* rebuilt */
	state_buf_fini(&buf);
}

static void several_objects_in_a_row(void **state)
{
	struct sample a, b = { 0 };
	struct state_buf buf = { 0 };
	struct err e = { 0 };
	const uint8_t *pos;

	sample_fill(&a, list_a, 2);
	b.list = list_b;
	b.nr_list = 2;
	state_save(&buf, "x", &sample_state, &a);
	state_save(&buf, "y", &sample_part_state, &a.one);
	pos = buf.data;
	assert_int_equal(state_load(&pos, buf.data + buf.len, "x", &sample_state, &b, &e), 0);
	assert_int_equal(state_load(&pos, buf.data + buf.len, "z", &sample_part_state, &b.one, &e),
			 -EINVAL);
	assert_string_equal(e.msg, "state of z expected, found that of 'y'");
	assert_int_equal(state_load(&pos, buf.data + buf.len, "y", &sample_part_state, &b.one, &e),
			 0);
	assert_ptr_equal(pos, buf.data + buf.len);
	assert_int_equal(state_load(&pos, buf.data + buf.len, "y", &sample_part_state, &b.one, &e),
			 -EINVAL);
	state_buf_fini(&buf);
}

static void every_truncation_is_refused(void **state)
{
	struct sample a, b;
	struct state_buf buf;

	sample_fill(&a, list_a, 2);
	buf = saved(&sample_state, &a);
	for (size_t n = 0; n < buf.len; n++) {
		/* a copy of exact size, so that the address sanitizer sees the end */
		autofree uint8_t *cut = xcalloc(n, 1);
		struct state_buf c = { .data = cut, .len = n };
		struct err e = { 0 };

		memcpy(cut, buf.data, n);
		assert_int_equal(load(&c, &sample_state, &b, &e), -EINVAL);
		if (n > 12) { /* and when length and checksum agree with the cut */
			reseal(&c);
			assert_int_equal(load(&c, &sample_state, &b, &e), -EINVAL);
		}
	}
	state_buf_fini(&buf);
}

static void every_bit_flip_is_refused(void **state)
{
	struct sample a, b;
	struct state_buf buf;

	sample_fill(&a, list_a, 2);
	buf = saved(&sample_state, &a);
	for (size_t bit = 0; bit < buf.len * 8; bit++) {
		struct err e = { 0 };

		buf.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(load(&buf, &sample_state, &b, &e), -EINVAL);
		assert_true(e.msg[0]);
		buf.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	state_buf_fini(&buf);
}

/* With a right checksum a flip may pass as data, but never out of bounds or past the checks. */
static void resealed_bit_flips_stay_in_bounds(void **state)
{
	struct sample a;
	struct state_buf buf;

	sample_fill(&a, list_a, 2);
	buf = saved(&sample_state, &a);
	for (size_t bit = 64; bit < (buf.len - 4) * 8; bit++) {
		struct sample b = { .host = &a };
		struct err e = { 0 };

		buf.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		reseal(&buf);
		if (load(&buf, &sample_state, &b, &e) == 0) {
			assert_true(b.index < 3);
			assert_true(*(uint8_t *)&b.flag <= 1);
		}
		assert_ptr_equal(b.host, &a);
		buf.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	state_buf_fini(&buf);
}

/* ---- versions ---- */

static void older_streams_may_lack_newer_fields(void **state)
{
	struct state_field old_fields[ARRAY_SIZE(sample_fields)];
	struct state_desc old = sample_state;
	struct sample a, b = { .newer = 5 };
	struct err e = { 0 };
	struct state_buf buf;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sample_fields); i++) {
		if (!sample_fields[i].since)
			old_fields[n++] = sample_fields[i];
	}
	old.fields = old_fields;
	old.version = 1;
	sample_fill(&a, list_a, 2);
	buf = saved(&old, &a);
	assert_int_equal(load(&buf, &sample_state, &b, &e), 0);
	same_state(&a, &b);
	assert_int_equal(b.newer, 5); /* keeps what reset gave it */
	state_buf_fini(&buf);

	old.version = 2; /* but not in a stream that should have it */
	buf = saved(&old, &a);
	assert_int_equal(load(&buf, &sample_state, &b, &e), -EINVAL);
	assert_string_equal(e.msg, "state of s0: 'sample' version 2 lacks field 'newer' "
				   "(this hanok has version 2)");
	state_buf_fini(&buf);
}

static void newer_and_unknown_are_refused(void **state)
{
	struct state_desc newer = sample_state, other = sample_state, small = sample_state;
	struct state_field few[ARRAY_SIZE(sample_fields)];
	struct sample a, b;
	struct err e = { 0 };
	struct state_buf buf;

	sample_fill(&a, list_a, 2);
	newer.version = 3;
	buf = saved(&newer, &a);
	assert_int_equal(load(&buf, &sample_state, &b, &e), -EINVAL);
	assert_string_equal(e.msg,
			    "state of s0: 'sample' has version 3, this hanok knows 1 to 2; load it "
			    "with the version that saved it, or a later one");
	state_buf_fini(&buf);
	newer.version = 0;
	buf = saved(&newer, &a);
	assert_int_equal(load(&buf, &sample_state, &b, &e), -EINVAL);
	state_buf_fini(&buf);

	buf = saved(&sample_state, &a);
	memcpy(few, sample_fields, sizeof(few));
	few[2].name = "u16x";
	small.fields = few;
	assert_int_equal(load(&buf, &small, &b, &e), -EINVAL);
	assert_string_equal(e.msg, "state of s0: 'sample' version 2 has an unknown field 'u16' "
				   "(this hanok has version 2)");
	other.name = "simple";
	assert_int_equal(load(&buf, &other, &b, &e), -EINVAL);
	assert_string_equal(e.msg, "state of s0: type 'simple' expected, found 'sample'");
	state_buf_fini(&buf);
}

static void shapes_must_match(void **state)
{
	struct state_field f[ARRAY_SIZE(sample_fields)];
	struct state_desc d = sample_state;
	struct sample a, b;
	struct err e = { 0 };
	struct state_buf buf;

	sample_fill(&a, list_a, 2);
	d.fields = f;
	memcpy(f, sample_fields, sizeof(f));
	f[7].count = 2; /* words[3] saved as [2] */
	buf = saved(&d, &a);
	assert_int_equal(load(&buf, &sample_state, &b, &e), -EINVAL);
	assert_string_equal(e.msg, "state of s0: field 'words' has 4 bytes, 6 expected");
	state_buf_fini(&buf);

	memcpy(f, sample_fields, sizeof(f));
	f[11].count = 2; /* many[3] saved as [2] */
	buf = saved(&d, &a);
	assert_int_equal(load(&buf, &sample_state, &b, &e), -EINVAL);
	state_buf_fini(&buf);
	f[10].count = 1;
	f[11].count = 3;
	f[11].offset = f[10].offset; /* one + many[0..1]: three elements, loaded as two */
	buf = saved(&sample_state, &a);
	f[11].count = 2;
	assert_int_equal(load(&buf, &d, &b, &e), -EINVAL);
	assert_string_equal(e.msg, "state of s0: field 'many' has more than 2 elements");
	state_buf_fini(&buf);

	memcpy(f, sample_fields, sizeof(f));
	f[3].kind = STATE_BOOL;
	f[3].elem = 1;
	buf = saved(&d, &a);
	assert_int_equal(load(&buf, &sample_state, &b, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "field 'u32' is of kind 5, 3 expected"));
	state_buf_fini(&buf);
}

static void list_lengths_must_match(void **state)
{
	struct sample a, b;
	struct err e = { 0 };
	struct state_buf buf;

	sample_fill(&a, list_a, 2);
	a.nr_list = 1;
	buf = saved(&sample_state, &a);
	assert_int_equal(load(&buf, &sample_state, &b, &e), -EINVAL);
	assert_string_equal(e.msg, "state of s0: ends inside list");
	state_buf_fini(&buf);
	a.list = (struct sample_part[3]){ 0 };
	a.nr_list = 3;
	buf = saved(&sample_state, &a);
	assert_int_equal(load(&buf, &sample_state, &b, &e), -EINVAL);
	assert_string_equal(e.msg, "state of s0: field 'list' has more than 2 elements");
	state_buf_fini(&buf);
}

static void duplicates_and_bad_values(void **state)
{
	struct state_field twice[ARRAY_SIZE(sample_fields) + 1];
	struct state_desc d = sample_state;
	struct sample a, b;
	struct err e = { 0 };
	struct state_buf buf;

	sample_fill(&a, list_a, 2);
	twice[0] = sample_fields[1];
	memcpy(twice + 1, sample_fields, sizeof(sample_fields));
	d.fields = twice;
	buf = saved(&d, &a);
	assert_int_equal(load(&buf, &sample_state, &b, &e), -EINVAL);
	assert_string_equal(e.msg, "state of s0: field 'u8' is there twice");
	state_buf_fini(&buf);

	a.index = 3;
	buf = saved(&sample_state, &a);
	assert_int_equal(load(&buf, &sample_state, &b, &e), -EINVAL);
	assert_string_equal(e.msg, "state of s0: index 3 is out of range");
	state_buf_fini(&buf);
}

static unsigned pre_saves;

static void pre_save(void *obj)
{
	pre_saves++;
	((struct sample *)obj)->u8 = 0x33;
}

static void pre_save_runs(void **state)
{
	struct state_desc d = sample_state;
	struct sample a, b;
	struct err e = { 0 };
	struct state_buf buf;

	sample_fill(&a, list_a, 2);
	d.pre_save = pre_save;
	buf = saved(&d, &a);
	assert_int_equal(pre_saves, 1);
	assert_int_equal(load(&buf, &d, &b, &e), 0);
	assert_int_equal(b.u8, 0x33);
	state_buf_fini(&buf);
}

/* The bytes of the format itself (docs/state.md): a change of these breaks stored streams. */
static void format_is_stable(void **state)
{
	static const uint8_t want[] = {
		'H', 'K', 'O', 'B', 47,	  0,	0,    0,    2,	  0,	's',  '0',  11, 0,
		's', 'a', 'm', 'p', 'l',  'e',	'-',  'p',  'a',  'r',	't',  1,    0,	0,
		0,   1,	  1,   0,   'a',  1,	0,    0,    0,	  0x11, 3,    1,    0,	'b',
		8,   0,	  0,   0,   0x44, 0x33, 0x22, 0x11, 0x88, 0x77, 0x66, 0x55, 0,
	};
	struct sample_part p = { .a = 0x11, .b = { 0x11223344, 0x55667788 } };
	struct state_buf b = { 0 };

	state_save(&b, "s0", &sample_part_state, &p);
	assert_int_equal(b.len, sizeof(want) + 4);
	assert_memory_equal(b.data, want, sizeof(want));
	state_buf_fini(&b);
}

/* Only moments do, by their own clock, and never stays never. */
static void moments_move(void **state)
{
	struct sample a, b;

	sample_fill(&a, list_a, ARRAY_SIZE(list_a));
	b = a;
	state_shift(&sample_state, &b, (uint64_t)-5, 1000);
	assert_int_equal(b.when, a.when - 5);
	assert_int_equal(b.never, UINT64_MAX);
	assert_int_equal(b.ticks, a.ticks + 1000);
	b.when = a.when;
	b.ticks = a.ticks;
	same_state(&a, &b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(several_objects_in_a_row),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(every_bit_flip_is_refused),
		cmocka_unit_test(resealed_bit_flips_stay_in_bounds),
		cmocka_unit_test(older_streams_may_lack_newer_fields),
		cmocka_unit_test(newer_and_unknown_are_refused),
		cmocka_unit_test(shapes_must_match),
		cmocka_unit_test(list_lengths_must_match),
		cmocka_unit_test(duplicates_and_bad_values),
		cmocka_unit_test(pre_save_runs),
		cmocka_unit_test(moments_move),
		cmocka_unit_test(format_is_stable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
