/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What schema/gen.py makes: arguments of a schema of its own (schema.json) are read, checked and
 * refused by name; its tables of commands, events and HMP.
 */
#include "cmocka_all.h"
#include "test_qmp_gen.h"
#include "mon/hmp_arg.h"
#include <stdio.h>

/* ---- the schema's commands ---- */

static const void *got;

json_t *qmp_draw(struct mon_cmd *c, const struct qmp_draw_args *a, struct err *e)
{
	got = a;
	return json_object();
}

int qmp_sizes(struct mon_cmd *c, const struct qmp_sizes_args *a, struct err *e)
{
	got = a;
	return 0;
}

json_t *qmp_grow(struct mon_cmd *c, const struct qmp_tree *a, struct err *e)
{
	got = a;
	return json_array();
}

json_t *qmp_raw(struct mon_cmd *c, json_t *a, struct err *e)
{
	return json_incref(a);
}

int qmp_quiet(struct mon_cmd *c, struct err *e)
{
	return err_set(e, EIO, "as told");
}

void hmp_look(struct hmp *h, const struct hmp_look_args *a)
{
	got = a;
}

void hmp_put(struct hmp *h, const struct hmp_put_args *a)
{
	got = a;
}

/* ---- QMP ---- */

/* Decodes text as the arguments of command; NULL with e on failure. */
struct decoded {
	json_t *json;
	struct qmp_arena arena;
	const void *args;
	struct err e;
	bool ok;
};

static void decode(struct decoded *d, const char *command, const char *text)
{
	const struct qmp_command *c = qmp_command_find(command);

	assert_non_null(c);
	memset(d, 0, sizeof(*d));
	d->json = json_loads(text, JSON_DECODE_ANY, NULL);
	assert_non_null(d->json);
	d->ok = qmp_decode(c->takes, d->json, &d->arena, &d->args, &d->e) == 0;
}

static void done(struct decoded *d)
{
	qmp_arena_fini(&d->arena);
	json_decref(d->json);
}

static void unions_and_lists(void **state)
{
	struct decoded d;
	const struct qmp_draw_args *a;

	decode(&d, "draw",
	       "{\"shape\":{\"kind\":\"path\",\"colour\":\"light-blue\",\"points\":[{\"x\":1},"
	       "{\"x\":-2,\"y\":-128}]},\"label\":{\"x\":7},"
	       "\"more\":[{\"kind\":\"circle\",\"radius\":2},{\"kind\":\"nothing\"}]}");
	assert_true(d.ok);
	a = d.args;
	assert_int_equal(a->shape->kind, QMP_SHAPE_KIND_PATH);
	assert_true(a->shape->has_colour);
	assert_int_equal(a->shape->colour, QMP_COLOUR_LIGHT_BLUE);
	assert_int_equal(a->shape->u.path->points.n, 2);
	assert_false(a->shape->u.path->points.v[0]->has_y);
	assert_int_equal(a->shape->u.path->points.v[1]->x, -2);
	assert_int_equal(a->shape->u.path->points.v[1]->y, -128);
	assert_false(a->shape->u.path->has_closed);
	assert_int_equal(a->label->is, QMP_TEXT_OR_POINT_IS_POINT);
	assert_int_equal(a->label->u.point->x, 7);
	assert_true(a->has_more);
	assert_int_equal(a->more.n, 2);
	assert_true(a->more.v[0]->u.circle->radius == 2.0);
	assert_null(a->more.v[1]->u.any_);
	done(&d);
	decode(&d, "draw", "{\"shape\":{\"kind\":\"nothing\"},\"label\":null}");
	assert_true(d.ok);
	a = d.args;
	assert_int_equal(a->label->is, QMP_TEXT_OR_POINT_IS_OFF);
	assert_false(a->has_more);
	done(&d);
	decode(&d, "draw", "{\"shape\":{\"kind\":\"nothing\"},\"label\":\"here\"}");
	a = d.args;
	assert_string_equal(a->label->u.text, "here");
	done(&d);
}

static void simple_types(void **state)
{
	struct decoded d;
	const struct qmp_sizes_args *a;

	decode(&d, "sizes",
	       "{\"a\":-9223372036854775808,\"b\":9223372036854775807,\"d\":65535,\"e\":[{}],"
	       "\"colours\":[\"green\",\"red\"],\"flags\":[true,false]}");
	assert_true(d.ok);
	a = d.args;
	assert_true(a->a == INT64_MIN);
	assert_true(a->has_b && a->b == INT64_MAX);
	assert_false(a->has_c);
	assert_int_equal(a->d, 65535);
	assert_true(json_is_array(a->e));
	assert_int_equal(a->colours.v[0], QMP_COLOUR_GREEN);
	assert_true(a->flags.n == 2 && a->flags.v[0] && !a->flags.v[1]);
	done(&d);
}

static void recursion(void **state)
{
	struct decoded d;
	const struct qmp_tree *t;

	decode(&d, "grow", "{\"value\":1,\"left\":{\"value\":2,\"right\":{\"value\":255}}}");
	assert_true(d.ok);
	t = d.args;
	assert_null(t->right);
	assert_int_equal(t->left->right->value, 255);
	done(&d);
}

static void refused_by_name(void **state)
{
	static const struct {
		const char *command, *text, *why;
	} t[] = {
		{ "sizes", "{}", "Parameter 'a' is missing" },
		{ "sizes", "{\"a\":1.5}", "Invalid parameter type for 'a', expected: integer" },
		{ "sizes", "{\"a\":true}", "Invalid parameter type for 'a', expected: integer" },
		{ "sizes", "{\"a\":1,\"b\":-1}", "Parameter 'b' expects a number from 0 to" },
		{ "sizes", "{\"a\":1,\"d\":65536}",
		  "Parameter 'd' expects a number from 0 to 65535" },
		{ "sizes", "{\"a\":1,\"colours\":[\"red\",\"gren\"]}",
		  "Parameter 'colours[1]' does not accept value 'gren' (did you mean 'green'?)" },
		{ "sizes", "{\"a\":1,\"colours\":\"red\"}",
		  "Invalid parameter type for 'colours', expected: array" },
		{ "sizes", "{\"a\":1,\"colour\":[]}",
		  "Parameter 'colour' is unexpected (did you mean 'colours'?)" },
		{ "sizes", "{\"a\":1,\"b\":null}", "Invalid parameter type for 'b'" },
		{ "draw", "{\"shape\":{}}", "Parameter 'shape.kind' is missing" },
		{ "draw", "{\"shape\":{\"kind\":\"circle\"}}",
		  "Parameter 'shape.radius' is missing" },
		{ "draw", "{\"shape\":{\"kind\":\"nothing\",\"radius\":1}}",
		  "Parameter 'shape.radius' is unexpected" },
		{ "draw",
		  "{\"shape\":{\"kind\":\"path\",\"points\":[{\"x\":1},{\"x\":1,\"y\":128}]}}",
		  "Parameter 'shape.points[1].y' expects a number from -128 to 127, not 128" },
		{ "draw", "{\"shape\":{\"kind\":\"nothing\"},\"label\":3}",
		  "Invalid parameter type for 'label', expected: string or object or null" },
		{ "draw", "{\"shape\":[]}",
		  "Invalid parameter type for 'shape', expected: object" },
		{ "grow", "{\"value\":1,\"left\":{\"left\":{}}}",
		  "Parameter 'left.left.value' is missing" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct decoded d;

		decode(&d, t[i].command, t[i].text);
		assert_false(d.ok);
		if (strncmp(d.e.msg, t[i].why, strlen(t[i].why)) != 0)
			fail_msg("%s: %s", t[i].text, d.e.msg);
		done(&d);
	}
}

/* A place in a message cannot outgrow its buffer. */
static void deep_places(void **state)
{
	char text[2048] = "";
	struct decoded d;

	for (int i = 0; i < 60; i++)
		strcat(text, "{\"value\":1,\"left\":");
	strcat(text, "{}");
	for (int i = 0; i < 60; i++)
		strcat(text, "}");
	decode(&d, "grow", text);
	assert_false(d.ok);
	assert_non_null(strstr(d.e.msg, "left.left"));
	done(&d);
}

static void replies_are_checked(void **state)
{
	const struct qmp_type *t = qmp_command_find("draw")->gives;
	struct err e = { 0 };
	json_t *good = json_pack("{s:i,s:s,s:[s]}", "x", 1, "name", "n", "tags", "a");
	json_t *bad = json_pack("{s:i,s:s,s:[i]}", "x", 1, "name", "n", "tags", 1);

	assert_int_equal(qmp_check(t, good, &e), 0);
	assert_int_equal(qmp_check(t, bad, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "'tags[0]'"));
	json_decref(good);
	json_decref(bad);
}

static void calls(void **state)
{
	struct mon_cmd c = { 0 };
	struct err e = { 0 };
	json_t *args = json_pack("{s:i}", "anything", 3), *raw = NULL, *ret;

	raw = args;
	ret = qmp_command_find("raw")->call(&c, &raw, &e);
	assert_ptr_equal(ret, args);
	json_decref(ret);
	json_decref(args);
	assert_null(qmp_command_find("quiet")->call(&c, NULL, &e));
	assert_string_equal(e.msg, "as told");
	assert_true(qmp_command_find("quiet")->oob);
	assert_null(qmp_command_find("quiet")->takes);
	assert_null(qmp_command_find("quie"));
	assert_string_equal(qmp_command_near("qiet"), "quiet");
	assert_int_equal(qmp_event_find("RANG")->limit_ms, 1000);
	assert_string_equal(qmp_event_find("RANG")->limit_key, "id");
	assert_null(qmp_event_find("DONE")->gives);
	assert_null(qmp_event_find("RING"));
}

static void introspection(void **state)
{
	json_t *all = json_loads(qmp_schema_json, 0, NULL), *e;
	size_t i, commands = 0, arrays = 0;

	assert_non_null(all);
	json_array_foreach(all, i, e)
	{
		const char *meta = json_string_value(json_object_get(e, "meta-type"));

		commands += !strcmp(meta, "command");
		arrays += !strcmp(meta, "array");
		if (!strcmp(meta, "object") && json_object_get(e, "tag"))
			assert_int_equal(json_array_size(json_object_get(e, "variants")), 3);
	}
	assert_int_equal(commands, 5);
	assert_int_equal(arrays, 5); /* of Shape, Point, Colour, bool, str */
	json_decref(all);
}

/* ---- HMP ---- */

static union {
	struct hmp_look_args look;
	struct hmp_put_args put;
} args;
static struct qmp_arena arena;

static const struct hmp_command *hmp_find(const char *name)
{
	for (size_t i = 0; i < hmp_nr_commands; i++)
		if (!strcmp(hmp_commands[i].name, name))
			return &hmp_commands[i];
	fail();
	return NULL;
}

static int read_line(const char *command, const char *text, struct err *e)
{
	struct hmp h = { 0 };

	memset(&args, 0, sizeof(args));
	qmp_arena_fini(&arena);
	return hmp_read_args(&h, hmp_find(command), text, &args, &arena, e);
}

static void hmp_lines(void **state)
{
	struct err e = { 0 };

	assert_int_equal(read_line("look", "/4xg 0x10 + 2*(3-1) 7", &e), 0);
	assert_int_equal(args.look.fmt.count, 4);
	assert_int_equal(args.look.fmt.format, 'x');
	assert_int_equal(args.look.fmt.size, 'g');
	assert_int_equal(args.look.addr, 0x14);
	assert_true(args.look.has_n);
	assert_int_equal(args.look.n, 7);
	assert_int_equal(read_line("look", " 1", &e), 0);
	assert_int_equal(args.look.fmt.count, 0);
	assert_false(args.look.has_n);
	assert_int_equal(read_line("put", "-fq \"a \\\"b\\\"\" 2G on all the rest ", &e), 0);
	assert_true(args.put.quiet && args.put.fast && args.put.on && args.put.has_on);
	assert_string_equal(args.put.name, "a \"b\"");
	assert_true(args.put.size == GIB(2));
	assert_string_equal(args.put.rest, "all the rest ");
	assert_int_equal(read_line("put", "-q name", &e), 0);
	assert_true(args.put.quiet && !args.put.fast && !args.put.has_size);
	assert_null(args.put.rest);
	assert_string_equal(hmp_find("put")->usage, "[-quiet] [-fast] name [size] [on] [rest]");
	assert_string_equal(hmp_find("put")->alias, "p");
	qmp_arena_fini(&arena);
}

static void hmp_expressions(void **state)
{
	static const struct {
		const char *text;
		int64_t val;
	} t[] = {
		{ "10", 10 },	     { "010", 8 },     { "0xffffffffffffffff", -1 },
		{ "1+2*3", 7 },	     { "(1+2)*3", 9 }, { "-1", -1 },
		{ "~0", -1 },	     { "7&3|8", 11 },  { "6/4", 1 },
		{ "6 % 4 - 5", -3 }, { "1 - -1", 2 },  { "- - 3", 3 },
		{ "2+1&1", 3 }, /* as in QEMU, sums bind least */
	};
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(read_line("look", t[i].text, &e), 0);
		assert_true(args.look.addr == t[i].val);
	}
	qmp_arena_fini(&arena);
}

static void hmp_refusals(void **state)
{
	static const struct {
		const char *command, *text, *why;
	} t[] = {
		{ "look", "", "argument 'addr' is missing" },
		{ "look", "/q 1", "fmt: invalid char in format" },
		{ "look", "x", "addr: invalid char 'x'" },
		{ "look", "1/0", "division by zero" },
		{ "look", "(1", "')' expected" },
		{ "look", "1 2 3", "extraneous characters" },
		{ "look", "99999999999999999999", "too large" },
		{ "look", "$nothing", "nothing" },
		{ "put", "", "argument 'name' is missing" },
		{ "put", "-x a", "unsupported option -x" },
		{ "put", "\"a", "unterminated string" },
		{ "put", "a 1X", "size: " },
		{ "put", "a 1 yes", "expected 'on' or 'off'" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct err e = { 0 };

		assert_true(read_line(t[i].command, t[i].text, &e) < 0);
		if (!strstr(e.msg, t[i].why))
			fail_msg("%s: %s", t[i].text, e.msg);
	}
	qmp_arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unions_and_lists),
		cmocka_unit_test(simple_types),
		cmocka_unit_test(recursion),
		cmocka_unit_test(refused_by_name),
		cmocka_unit_test(deep_places),
		cmocka_unit_test(replies_are_checked),
		cmocka_unit_test(calls),
		cmocka_unit_test(introspection),
		cmocka_unit_test(hmp_lines),
		cmocka_unit_test(hmp_expressions),
		cmocka_unit_test(hmp_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
