/* SPDX-License-Identifier: Apache-2.0 */
/* key=value syntax, and the values both front ends read. */
#include "cmocka_all.h"

#include "cli/front.h"

static void expect_kv(const char *text, const char *implied, const char *key, const char *val)
{
	struct keyvals kvs;
	struct err e;
	const char *got;

	assert_int_equal(keyvals_parse(&kvs, text, implied, &e), 0);
	got = keyvals_get(&kvs, key);
	if (!val) {
		assert_null(got);
	} else {
		assert_non_null(got);
		assert_string_equal(got, val);
	}
	keyvals_fini(&kvs);
}

static void test_parse(void **state)
{
	expect_kv("a=1,b=2", NULL, "b", "2");
	expect_kv("user,id=n0", "type", "type", "user");
	expect_kv("user,id=n0", "type", "id", "n0");
	expect_kv("file=a,,b,if=virtio", NULL, "file", "a,b");
	expect_kv("file=a,,b,if=virtio", NULL, "if", "virtio");
	expect_kv("path=/x,server,nowait", NULL, "server", "on");
	expect_kv("path=/x,server,nowait", NULL, "wait", "off");
	expect_kv("a=1,a=2", NULL, "a", "2");
	expect_kv("a=", NULL, "a", "");
	expect_kv("a=x=y", NULL, "a", "x=y");
	expect_kv("a=1", NULL, "b", NULL);
}

static void test_parse_bad(void **state)
{
	struct keyvals kvs;
	struct err e;

	assert_int_equal(keyvals_parse(&kvs, "=x", NULL, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "name is missing"));
	assert_int_equal(keyvals_parse(&kvs, "a=1,", NULL, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "comma"));
	assert_int_equal(keyvals_parse(&kvs, "", NULL, &e), -EINVAL);
}

static void expect_json(const char *text, const char *key, const char *val)
{
	struct keyvals kvs;
	struct err e = { 0 };

	if (keyvals_parse_any(&kvs, text, "driver", &e) < 0)
		fail_msg("%s: %s", text, e.msg);
	assert_non_null(keyvals_get(&kvs, key));
	assert_string_equal(keyvals_get(&kvs, key), val);
	keyvals_fini(&kvs);
}

static void test_json(void **state)
{
	static const char deep[] = "{\"a\":{\"b\":{\"c\":[{\"d\":true},{\"d\":-3}]}}}";

	expect_json("virtio-blk-pci,drive=d", "driver", "virtio-blk-pci");
	expect_json("{\"driver\":\"x\",\"port\":8}", "port", "8");
	expect_json(" \n{\"multifunction\":true,\"b\":false}", "multifunction", "on");
	expect_json("{\"multifunction\":true,\"b\":false}", "b", "off");
	expect_json("{\"cache\":{\"direct\":true}}", "cache.direct", "on");
	expect_json(deep, "a.b.c.0.d", "on");
	expect_json(deep, "a.b.c.1.d", "-3");
	expect_json("{\"backing\":null}", "backing", "");
	expect_json("{\"size\":9223372036854775807}", "size", "9223372036854775807");
	expect_json("{\"f\":\"a,b=c\"}", "f", "a,b=c");
}

static void test_json_bad(void **state)
{
	static const char *const bad[][2] = {
		{ "{\"a\":1", "line 1, column 6" },
		{ "{\n\"a\":1,\n\"b\":}", "line 3, column 5" },
		{ "{\"a\":1,\"a\":2}", "duplicate" },
		{ "{\"a\":1} x", "end of file" },
		{ "{\"x\":{\"speed\":1.5}}", "'x.speed' is a fraction" },
		{ "{\"\":1}", "empty" },
		{ "{\"id\":\"1bad\"}", "1bad" },
		{ "{\"size\":99999999999999999999}", "too big" },
		{ "{\"a\":[[[[[[[[[[1]]]]]]]]]]}", "nested deeper" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct keyvals kvs;
		struct err e = { 0 };

		if (keyvals_parse_any(&kvs, bad[i][0], NULL, &e) >= 0)
			fail_msg("%s was taken", bad[i][0]);
		if (!strstr(e.msg, bad[i][1]))
			fail_msg("%s: '%s' lacks '%s'", bad[i][0], e.msg, bad[i][1]);
		assert_null(kvs.kv);
	}
}

static void test_check(void **state)
{
	static const char *const few[] = { "one", "two", "three", NULL };
	static const struct keyval_rule rules[] = {
		{ "any", NULL }, { "few", few }, { "flag", keyval_onoff }, { NULL, NULL }
	};
	static const char *const bad[][2] = {
		{ "few=four", "few=four: say one, two or three" },
		{ "any=1,flag=maybe", "flag=maybe: say on or off" },
		{ "flg=on", "'flg' is not known; did you mean 'flag'?" },
		{ "another=1", "'another' is not known; say any, few or flag" },
	};
	struct keyvals kvs;
	struct err e;

	assert_int_equal(keyvals_parse(&kvs, "any=x,few=two,flag", NULL, &e), 0);
	assert_int_equal(keyvals_check(&kvs, rules, &e), 0);
	keyvals_fini(&kvs);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(keyvals_parse(&kvs, bad[i][0], NULL, &e), 0);
		assert_int_equal(keyvals_check(&kvs, rules, &e), -EINVAL);
		assert_string_equal(e.msg, bad[i][1]);
		keyvals_fini(&kvs);
	}
}

static void test_take(void **state)
{
	struct keyvals kvs;
	struct err e;
	autofree char *a = NULL;

	assert_int_equal(keyvals_parse(&kvs, "a=1,b=2,a=3", NULL, &e), 0);
	a = keyvals_take(&kvs, "a");
	assert_string_equal(a, "3");
	assert_int_equal(kvs.n, 1);
	assert_string_equal(kvs.kv[0].key, "b");
	assert_null(keyvals_take(&kvs, "a"));
	keyvals_fini(&kvs);
}

static void test_onoff(void **state)
{
	struct err e;
	bool v = false;

	assert_int_equal(parse_onoff("k", "on", &v, &e), 0);
	assert_true(v);
	assert_int_equal(parse_onoff("k", "no", &v, &e), 0);
	assert_false(v);
	assert_int_equal(parse_onoff("k", "maybe", &v, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "k=maybe"));
}

static void test_uuid(void **state)
{
	struct vm_conf *conf = vm_conf_new();
	struct err e;

	assert_int_equal(front_parse_uuid(conf, "00112233-4455-6677-8899-AAbbccddeeff", &e), 0);
	assert_true(conf->has_uuid);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(conf->uuid[i], i * 0x11);
	assert_int_equal(front_parse_uuid(conf, "00112233445566778899aabbccddeeff", &e), -EINVAL);
	assert_int_equal(front_parse_uuid(conf, "00112233-4455-6677-8899-aabbccddeefg", &e),
			 -EINVAL);
	assert_int_equal(front_parse_uuid(conf, "", &e), -EINVAL);
	vm_conf_free(conf);
}

static void expect_smp(const char *text, unsigned cpus, unsigned sockets, unsigned cores,
		       unsigned threads)
{
	struct vm_conf *conf = vm_conf_new();
	struct err e;

	assert_int_equal(front_parse_smp(conf, text, &e), 0);
	assert_int_equal(conf->cpus, cpus);
	assert_int_equal(conf->sockets, sockets);
	assert_int_equal(conf->cores, cores);
	assert_int_equal(conf->threads, threads);
	assert_int_equal(conf->sockets * conf->dies * conf->cores * conf->threads, conf->cpus);
	vm_conf_free(conf);
}

static void test_smp(void **state)
{
	expect_smp("1", 1, 1, 1, 1);
	expect_smp("4", 4, 1, 4, 1);
	expect_smp("8,sockets=2", 8, 2, 4, 1);
	expect_smp("8,sockets=2,cores=2,threads=2", 8, 2, 2, 2);
	expect_smp("cores=3,threads=2", 6, 1, 3, 2);
	expect_smp("cpus=4,maxcpus=4", 4, 1, 4, 1);
	expect_smp("255", 255, 1, 255, 1);
}

static void test_smp_bad(void **state)
{
	static const char *const bad[] = { "0",
					   "256",
					   "-1",
					   "x",
					   "4,cores=3",
					   "8,sockets=3",
					   "4,maxcpus=8",
					   "sockets=",
					   "4,clusters=2",
					   "99999999999999999999",
					   "4,cors=4",
					   "sockets=200,cores=200,threads=200" };
	struct vm_conf *conf = vm_conf_new();
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!front_parse_smp(conf, bad[i], &e))
			fail_msg("-smp %s was taken", bad[i]);
	assert_true(front_parse_smp(conf, "4,cors=4", &e) < 0);
	assert_non_null(strstr(e.msg, "cores"));
	vm_conf_free(conf);
}

static void test_memory(void **state)
{
	struct vm_conf *conf = vm_conf_new();
	struct err e;

	assert_int_equal(front_parse_memory(conf, "512", &e), 0);
	assert_int_equal(conf->mem_size, MIB(512));
	assert_int_equal(front_parse_memory(conf, "1G", &e), 0);
	assert_int_equal(conf->mem_size, GIB(1));
	assert_int_equal(front_parse_memory(conf, "size=524288k", &e), 0);
	assert_int_equal(conf->mem_size, MIB(512));
	assert_int_equal(front_parse_memory(conf, "1T", &e), 0);
	assert_int_equal(conf->mem_size, GIB(1024));
	assert_int_equal(front_parse_memory(conf, "2T", &e), -EINVAL);
	assert_int_equal(front_parse_memory(conf, "0", &e), -EINVAL);
	assert_true(front_parse_memory(conf, "1X", &e) < 0);
	assert_int_equal(front_parse_memory(conf, "1G,slots=4", &e), -ENOTSUP);
	vm_conf_free(conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),  cmocka_unit_test(test_parse_bad),
		cmocka_unit_test(test_json),   cmocka_unit_test(test_json_bad),
		cmocka_unit_test(test_check),  cmocka_unit_test(test_take),
		cmocka_unit_test(test_onoff),  cmocka_unit_test(test_uuid),
		cmocka_unit_test(test_smp),    cmocka_unit_test(test_smp_bad),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
