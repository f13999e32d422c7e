/* SPDX-License-Identifier: Apache-2.0 */
/* JSON out of a stream: the same values however the bytes are cut, errors, offsets, limits. */
#include "cmocka_all.h"
#include "mon/frame.h"
#include <stdio.h>

/* Feeds text in pieces of n bytes; out gets a letter a result: o an object, a an array, e error. */
static void feed(const char *text, size_t len, size_t n, char *out)
{
	struct frame f;

	frame_init(&f);
	for (size_t at = 0; at < len; at += n) {
		uint64_t start, end;
		struct err e = { 0 };
		json_t *json;
		int ret;

		frame_put(&f, text + at, MIN(n, len - at));
		while ((ret = frame_next(&f, &json, &start, &end, &e)) != 0) {
			*out++ = ret < 0 ? 'e' : json_is_object(json) ? 'o' : 'a';
			if (ret > 0)
				json_decref(json);
			else
				assert_true(e.msg[0]);
		}
	}
	*out = 0;
	frame_fini(&f);
}

static void any_cut(void **state)
{
	static const struct {
		const char *text, *want;
	} t[] = {
		{ "{}{}\r\n[1] {\"a\":\"}\"}", "ooao" },
		{ "\n\t {\"a\":\n[1,\n2]}\n", "o" },
		{ "nonsense {}\n{}\n", "eo" },
		{ "{]{}\n{}\n", "eo" },
		{ "}\n{}\n", "eo" },
		{ "{\"a\":\"\\\"}{\"}[]", "oa" },
		{ "{\"a\nb\"}\n{}", "eeo" },
		{ "{\"a\":}\n{}", "eo" },
		{ "{\"a\":}{}", "eo" }, /* whole but wrong: what follows on the line is good */
		{ "12 \n\"x\"\n{}", "eeo" },
		{ "{\"a\":1,\"a\":1}[]", "ea" },
		{ "{'a':'}'}['\"']{}", "oao" },
		{ "{'a\":1}\n{}", "eo" }, /* closed by another: the line ends inside */
		{ "{'a'\"b\"}{}", "eo" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		size_t len = strlen(t[i].text);

		for (size_t n = 1; n <= len; n++) {
			char out[64];

			feed(t[i].text, len, n, out);
			assert_string_equal(out, t[i].want);
		}
	}
}

static void single_quotes(void **state)
{
	static const char text[] = "{'a\\'b': \"it\\'s '\", \"c\": '\"\\\\\\u0041\\n\"'}";
	struct frame f;
	struct err e = { 0 };
	uint64_t start, end;
	json_t *json;

	frame_init(&f);
	frame_put(&f, text, strlen(text));
	assert_int_equal(frame_next(&f, &json, &start, &end, &e), 1);
	assert_true(end == strlen(text));
	assert_string_equal(json_string_value(json_object_get(json, "a'b")), "it's '");
	assert_string_equal(json_string_value(json_object_get(json, "c")), "\"\\A\n\"");
	json_decref(json);
	frame_fini(&f);
}

static void offsets(void **state)
{
	static const char text[] = "  {\"a\":1}\r\n[2] nonsense\n{}";
	struct frame f;
	struct err e = { 0 };
	uint64_t start, end;
	json_t *json;

	frame_init(&f);
	frame_put(&f, text, strlen(text));
	assert_int_equal(frame_next(&f, &json, &start, &end, &e), 1);
	assert_true(start == 2 && end == 9);
	json_decref(json);
	assert_int_equal(frame_next(&f, &json, &start, &end, &e), 1);
	assert_true(start == 11 && end == 14);
	json_decref(json);
	assert_int_equal(frame_next(&f, &json, &start, &end, &e), -EINVAL);
	assert_int_equal(frame_next(&f, &json, &start, &end, &e), 1);
	assert_true(start == 24 && end == 26);
	json_decref(json);
	assert_int_equal(frame_next(&f, &json, &start, &end, &e), 0);
	assert_null(f.buf); /* nothing is kept for an idle client */
	frame_fini(&f);
}

static void limits(void **state)
{
	static char text[3 << 20];
	char out[16];
	size_t n = 0;

	/* just deep enough, and one more */
	for (unsigned deep = FRAME_MAX_DEPTH; deep <= FRAME_MAX_DEPTH + 1; deep++) {
		memset(text, '[', deep);
		memset(text + deep, ']', deep);
		memcpy(text + 2 * deep, "\n{}", 3);
		feed(text, 2 * deep + 3, 4096, out);
		assert_string_equal(out, deep == FRAME_MAX_DEPTH ? "ao" : "eo");
	}
	/* too long, twice: memory stays bounded and the stream goes on */
	n += (size_t)snprintf(text, sizeof(text), "{\"a\":\"");
	memset(text + n, 'x', FRAME_MAX_SIZE + 5000);
	n += FRAME_MAX_SIZE + 5000;
	n += (size_t)snprintf(text + n, 16, "\"}\n{}");
	feed(text, n, 4096, out);
	assert_string_equal(out, "eo");
	memset(text, ' ', sizeof(text)); /* blanks are nothing */
	memcpy(text + sizeof(text) - 2, "{}", 2);
	feed(text, sizeof(text), 4096, out);
	assert_string_equal(out, "o");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_cut),
		cmocka_unit_test(offsets),
		cmocka_unit_test(single_quotes),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
