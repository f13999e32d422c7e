/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration nodes, typed reads, sizes, suggestions; and device properties made from them. */
#include "core/fake.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* ---- sizes ---- */

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t suffix_default, want;
	} good[] = {
		{ "0", 1, 0 },
		{ "512", 1, 512 },
		{ "512", MIB(1), MIB(512) },
		{ "64K", MIB(1), KIB(64) },
		{ "64k", 1, KIB(64) },
		{ "2G", 1, GIB(2) },
		{ "2GB", 1, GIB(2) },
		{ "2GiB", 1, GIB(2) },
		{ "1.5G", 1, GIB(3) / 2 },
		{ "0.25M", 1, KIB(256) },
		{ "1.000000000999K", 1, 1024 },
		{ "3T", 1, GIB(3072) },
		{ "7b", MIB(1), 7 },
		{ "15E", 1, 15ull << 60 },
		{ "18446744073709551615", 1, UINT64_MAX },
	};
	static const char *const bad[] = { "",
					   "-1",
					   "K",
					   "1Q",
					   "1.",
					   "1.K",
					   " 1",
					   "1 ",
					   "0x10",
					   "1KK",
					   "1Bi",
					   "1iB",
					   "16E",
					   "1e3",
					   "18446744073709551616",
					   "99999999999T" };
	struct err e = { 0 };
	uint64_t v;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		v = 12345;
		assert_int_equal(parse_size(good[i].text, good[i].suffix_default, &v, &e), 0);
		assert_int_equal(v, good[i].want);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		v = 12345;
		e.msg[0] = 0;
		assert_true(parse_size(bad[i], 1, &v, &e) < 0);
		assert_int_equal(v, 12345);
		assert_true(e.msg[0]);
	}
}

static void suggestions(void **state)
{
	static const char *const names[] = {
		"virtio-blk-pci", "virtio-net-pci", "kernel", "q35", "on", NULL
	};
	static const char *const none[] = { NULL };

	assert_string_equal(nearest_word("virtio-blk", names), "virtio-blk-pci");
	assert_string_equal(nearest_word("virtio-net-pic", names), "virtio-net-pci");
	assert_string_equal(nearest_word("kernle", names), "kernel");
	assert_string_equal(nearest_word("KERNEL", names), "kernel");
	assert_string_equal(nearest_word("q36", names), "q35");
	assert_null(nearest_word("floppy", names));
	assert_null(nearest_word("", names));
	assert_null(nearest_word("x", none));
	assert_null(nearest_word(
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", names));
}

/* ---- nodes ---- */

static void nodes_keep_order_and_the_last_value(void **state)
{
	struct vm_conf *c = vm_conf_new();
	struct conf_node *a = conf_add(c, CONF_DEVICE, "x", "a", "-device x");
	struct conf_node *b = conf_add(c, CONF_DRIVE, NULL, "a", NULL);

	assert_ptr_equal(c->nodes, a);
	assert_ptr_equal(a->next, b);
	assert_ptr_equal(conf_find(c, CONF_DRIVE, "a"), b);
	assert_ptr_equal(conf_find(c, CONF_DEVICE, "a"), a);
	assert_null(conf_find(c, CONF_DEVICE, "b"));
	conf_set(a, "k", "1");
	conf_set(a, "l", "2");
	conf_set(a, "k", "3");
	assert_string_equal(conf_get(a, "k"), "3");
	assert_null(conf_get(a, "m"));
	assert_string_equal(a->kv->key, "k");
	assert_null(a->kv->next->next);
	vm_conf_free(c);
	assert_null(vm_conf_free(NULL));
}

static void typed_reads(void **state)
{
	struct vm_conf *c = vm_conf_new();
	struct conf_node *n = conf_add(c, CONF_DEVICE, "x", NULL, "-device x");
	struct err e = { 0 };
	uint64_t v = 7;
	bool on = true;

	assert_int_equal(conf_get_u64(n, "n", 0, 10, &v, &e), 0);
	assert_int_equal(v, 7); /* kept */
	conf_set(n, "n", "0x0A");
	assert_int_equal(conf_get_u64(n, "n", 0, 10, &v, &e), 0);
	assert_int_equal(v, 10);
	conf_set(n, "n", "010"); /* decimal: nobody means octal */
	assert_int_equal(conf_get_u64(n, "n", 0, 10, &v, &e), 0);
	assert_int_equal(v, 10);
	conf_set(n, "n", "11");
	assert_int_equal(conf_get_u64(n, "n", 0, 10, &v, &e), -EINVAL);
	assert_string_equal(e.msg, "-device x: n=11 is outside 0 to 10");
	conf_set(n, "n", "-1");
	assert_int_equal(conf_get_u64(n, "n", 0, UINT64_MAX, &v, &e), -EINVAL);
	conf_set(n, "n", "0x");
	assert_int_equal(conf_get_u64(n, "n", 0, UINT64_MAX, &v, &e), -EINVAL);
	conf_set(n, "n", "18446744073709551616");
	assert_int_equal(conf_get_u64(n, "n", 0, UINT64_MAX, &v, &e), -EINVAL);
	assert_int_equal(v, 10);

	assert_int_equal(conf_get_bool(n, "b", &on, &e), 0);
	assert_true(on);
	conf_set(n, "b", "off");
	assert_int_equal(conf_get_bool(n, "b", &on, &e), 0);
	assert_false(on);
	conf_set(n, "b", "yes");
	assert_int_equal(conf_get_bool(n, "b", &on, &e), 0);
	assert_true(on);
	conf_set(n, "b", "1");
	assert_int_equal(conf_get_bool(n, "b", &on, &e), -EINVAL);
	assert_string_equal(e.msg, "-device x: b='1' is neither on nor off");

	conf_set(n, "s", "4K");
	assert_int_equal(conf_get_size(n, "s", &v, &e), 0);
	assert_int_equal(v, 4096);
	conf_set(n, "s", "4X");
	assert_int_equal(conf_get_size(n, "s", &v, &e), -EINVAL);
	assert_string_equal(e.msg, "-device x: s: '4X': 'X' is not a unit; use K, M, G or T");
	vm_conf_free(c);
}

static void unused_keys_are_refused(void **state)
{
	static const char *const known[] = { "addr", "drive", NULL };
	struct vm_conf *c = vm_conf_new();
	struct conf_node *n = conf_add(c, CONF_DEVICE, "x", NULL, "-device x");
	struct err e = { 0 };

	assert_int_equal(conf_check_unused(n, known, &e), 0);
	conf_set(n, "drive", "d");
	assert_non_null(conf_get(n, "drive"));
	assert_int_equal(conf_check_unused(n, known, &e), 0);
	conf_set(n, "adr", "1");
	assert_int_equal(conf_check_unused(n, known, &e), -EINVAL);
	assert_string_equal(e.msg, "-device x: unknown key 'adr'; did you mean 'addr'?");
	vm_conf_free(c);
}

/* ---- devices ---- */

struct gadget {
	struct dev dev;
	bool flag;
	uint8_t u8, tri;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64, size;
	char *str;
	const char *bus_addr;
};

static int gadget_init(struct dev *d, struct err *e)
{
	struct gadget *g = container_of(d, struct gadget, dev);

	g->bus_addr = d->node ? conf_get(d->node, "addr") : NULL;
	return g->u8 == 13 ? err_set(e, EINVAL, "thirteen") : 0;
}

static unsigned finis;

static void gadget_fini(struct dev *d)
{
	finis++;
}

static const struct prop gadget_props[] = {
	PROP_FLAG("flag", struct gadget, flag, 1, "a flag"),
	PROP_UINT("u8", struct gadget, u8, PROP_U8, 3, 1, 0, "1 to 255"),
	PROP_UINT("u16", struct gadget, u16, PROP_U16, 300, 0, 1000, ""),
	PROP_UINT("u32", struct gadget, u32, PROP_U32, 1u << 31, 0, 0, ""),
	PROP_UINT("u64", struct gadget, u64, PROP_U64, UINT64_MAX, 0, 0, ""),
	PROP_UINT("size", struct gadget, size, PROP_SIZE, 4096, 512, 65536, ""),
	PROP_UINT("tri", struct gadget, tri, PROP_ONOFFAUTO, PROP_AUTO, 0, 2, ""),
	PROP_STRING("str", struct gadget, str, "none", ""),
	PROPS_END,
};

static const struct dev_type gadget_type = {
	.name = "gadget-pci",
	.alias = "gadget",
	.size = sizeof(struct gadget),
	.props = gadget_props,
	.init = gadget_init,
	.fini = gadget_fini,
};
static const struct dev_type chip_type = {
	.name = "chip",
	.size = sizeof(struct dev),
	.internal = true,
};

const struct dev_type *const dev_types[] = { &gadget_type, &chip_type, NULL };

static struct gadget *make(struct vm *vm, const char *const *kv, int want, struct err *e)
{
	struct conf_node *n = conf_add(vm->conf, CONF_DEVICE, "gadget", NULL, "-device gadget");
	struct dev *d = NULL;

	for (; *kv; kv += 2)
		conf_set(n, kv[0], kv[1]);
	assert_int_equal(dev_create(vm, n, &d, e), want);
	return d ? container_of(d, struct gadget, dev) : NULL;
}

static struct vm *empty_vm(void)
{
	struct vm *vm = xnew(struct vm);

	vm->conf = vm_conf_new();
	return vm;
}

static void end_vm(struct vm *vm)
{
	while (vm->devs)
		dev_destroy(vm->devs);
	vm_conf_free(vm->conf);
	free(vm);
}

static void properties(void **state)
{
	struct err e = { 0 };
	struct vm *vm = empty_vm();
	struct gadget *g = make(vm, (const char *const[]){ NULL }, 0, &e);

	assert_true(g->flag);
	assert_int_equal(g->u8, 3);
	assert_int_equal(g->u16, 300);
	assert_int_equal(g->u32, 1u << 31);
	assert_int_equal(g->u64, UINT64_MAX);
	assert_int_equal(g->size, 4096);
	assert_int_equal(g->tri, PROP_AUTO);
	assert_string_equal(g->str, "none");
	assert_string_equal(g->dev.path, "gadget-pci.0");
	assert_null(g->dev.node);
	g = make(vm,
		 (const char *const[]){ "flag", "off", "u8", "255", "u16", "1000", "size", "64K",
					"tri", "off", "str", "hi", "addr", "5", NULL },
		 0, &e);
	assert_false(g->flag);
	assert_int_equal(g->u8, 255);
	assert_int_equal(g->u16, 1000);
	assert_int_equal(g->size, 65536);
	assert_int_equal(g->tri, PROP_OFF);
	assert_string_equal(g->str, "hi");
	assert_string_equal(g->dev.path, "gadget-pci.1");
	assert_string_equal(g->bus_addr, "5");
	end_vm(vm);
}

static void bad_properties(void **state)
{
	static const char *const bad[][3] = {
		{ "flag", "maybe", NULL }, { "u8", "256", NULL },	  { "u8", "0", NULL },
		{ "u16", "1001", NULL },   { "u32", "4294967296", NULL }, { "size", "511", NULL },
		{ "size", "128K", NULL },  { "tri", "perhaps", NULL },	  { "strr", "x", NULL },
	};
	struct err e = { 0 };
	struct vm *vm = empty_vm();

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_null(make(vm, bad[i], -EINVAL, &e));
		assert_non_null(strstr(e.msg, "-device gadget: "));
	}
	assert_non_null(strstr(e.msg, "did you mean 'str'"));
	finis = 0;
	assert_null(make(vm, (const char *const[]){ "u8", "13", NULL }, -EINVAL, &e));
	assert_string_equal(e.msg, "-device gadget: thirteen");
	assert_int_equal(finis, 1); /* fini accepts a half-done init */
	/* A misspelt key is named before what init makes of its absence. */
	assert_null(make(vm, (const char *const[]){ "u8", "13", "adr", "1", NULL }, -EINVAL, &e));
	assert_non_null(strstr(e.msg, "unknown property 'adr', did you mean 'addr'?"));
	assert_int_equal(finis, 1);
	assert_null(vm->devs);
	end_vm(vm);
}

static void prepare(struct dev *d, void *arg)
{
	container_of(d, struct gadget, dev)->u8 = *(uint8_t *)arg;
}

static void types_and_ids(void **state)
{
	struct err e = { 0 };
	struct vm *vm = empty_vm();
	struct conf_node *n = conf_add(vm->conf, CONF_DEVICE, "chip", NULL, "-device chip");
	uint8_t nine = 9;
	struct dev *d;

	assert_int_equal(dev_create(vm, n, NULL, &e), -ENOENT); /* internal */
	assert_ptr_equal(dev_type_find("gadget"), &gadget_type);
	assert_ptr_equal(dev_type_find("gadget-pci"), &gadget_type);
	assert_null(dev_type_find("gadget-"));
	assert_int_equal(dev_create_internal(vm, &gadget_type, "g0", prepare, &nine, &d, &e), 0);
	assert_int_equal(container_of(d, struct gadget, dev)->u8, 9);
	assert_ptr_equal(dev_find(vm, "g0"), d);
	assert_null(dev_find(vm, "g1"));
	assert_int_equal(dev_create_internal(vm, &chip_type, "g0", NULL, NULL, &d, &e), -EEXIST);
	n = conf_add(vm->conf, CONF_DEVICE, "gadget", "g0", "-device gadget");
	assert_int_equal(dev_create(vm, n, NULL, &e), -EEXIST);
	for (int i = 0; i < 100; i++)
		dev_guest_error(dev_find(vm, "g0"), "bad %d", i);
	assert_int_equal(dev_find(vm, "g0")->guest_errors, 100);
	end_vm(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(suggestions),
		cmocka_unit_test(nodes_keep_order_and_the_last_value),
		cmocka_unit_test(typed_reads),
		cmocka_unit_test(unused_keys_are_refused),
		cmocka_unit_test(properties),
		cmocka_unit_test(bad_properties),
		cmocka_unit_test(types_and_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
