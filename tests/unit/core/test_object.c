/* SPDX-License-Identifier: Apache-2.0 */
/* Objects: making, finding, refusing; memory back ends as RAM; secrets; sources of randomness. */
#include "cmocka_all.h"

#include "core/fake.h"
#include "core/object.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const struct dev_type *const dev_types[] = { NULL };

static int setup(void **state)
{
	fake_guest = NULL;
	fake_log[0] = 0;
	fake_failure = NULL;
	return 0;
}

static struct vm_conf *new_conf(void)
{
	struct vm_conf *c = vm_conf_new();

	c->mem_size = MIB(1);
	return c;
}

/* kv: type, then keys and values. */
static void add(struct vm_conf *c, const char *id, const char *const *kv)
{
	struct conf_node *n = conf_add(c, CONF_OBJECT, kv[0], id, "-object");

	for (kv++; kv[0]; kv += 2)
		conf_set(n, kv[0], kv[1]);
}

#define OBJ(c, id, ...) add(c, id, (const char *const[]){ __VA_ARGS__, NULL })

static struct vm *vm_of(struct vm_conf *c)
{
	struct err e = { 0 };
	struct vm *vm = vm_new_take(c, &e);

	if (!vm)
		fail_msg("%s", e.msg);
	return vm;
}

static void expect_bad(struct vm_conf *c, const char *word)
{
	struct err e = { 0 };
	struct vm *vm = vm_new_take(c, &e);

	if (vm)
		fail_msg("taken; wanted '%s'", word);
	if (!strstr(e.msg, word))
		fail_msg("'%s' lacks '%s'", e.msg, word);
}

static char *temp_file(const void *data, size_t len)
{
	char *path = xstrdup("object-test.XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	close(fd);
	return path;
}

/* ---- memory ---- */

static void memory_is_the_ram(void **state)
{
	static const char *const types[] = { "memory-backend-ram", "memory-backend-memfd" };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct vm_conf *c = new_conf();
		struct vm *vm;

		OBJ(c, "pc.ram", types[i], "size", "2M", "prealloc", "on", "prealloc-threads", "3");
		c->mem_backend = xstrdup("pc.ram");
		vm = vm_of(c);
		assert_int_equal(vm->ram->size, MIB(2));
		assert_int_equal(vm->conf->mem_size, MIB(2));
		vm->ram->host[MIB(2) - 1] = 1;
		/* Of a memfd others may get, none may change the size. */
		assert_int_equal(vm->ram->fd >= 0, i == 1);
		assert_true(ftruncate(vm->ram->fd, MIB(1)) < 0);
		vm_free(vm);
	}
}

static void memory_in_a_file(void **state)
{
	autofree char *path = temp_file("", 0);
	char byte = 0;
	int fd = open(path, O_RDWR);
	struct err e;

	for (int share = 1; share >= 0; share--) {
		struct vm_conf *c = new_conf();
		struct vm *vm;

		OBJ(c, "m", "memory-backend-file", "size", "1M", "mem-path", path, "share",
		    share ? "on" : "off");
		c->mem_backend = xstrdup("m");
		vm = vm_of(c);
		assert_int_equal(vm->ram->host[4096], share ? 0 : 's');
		vm->ram->host[4096] = share ? 's' : 'p';
		assert_int_equal(pread(fd, &byte, 1, 4096), 1);
		assert_int_equal(byte, 's');
		assert_int_equal(vm->ram->fd >= 0, share);
		assert_in_range(ram_next_data(vm->ram, 0), 0, 4096); /* by file system */
		if (!share) { /* emptied: what lies in the file does not come back */
			assert_int_equal(ram_discard(vm->ram, &e), 0);
			assert_int_equal(vm->ram->host[4096], 0);
		}
		vm_free(vm);
	}
	close(fd);
	unlink(path);
}

static void mem_path_and_folder(void **state)
{
	struct vm_conf *c = new_conf();
	struct vm *vm;

	c->mem_path = xstrdup(".");
	c->mem_prealloc = true;
	vm = vm_of(c);
	vm->ram->host[0] = 1;
	vm_free(vm);
}

static void memory_refused(void **state)
{
	autofree char *path = temp_file("short", 5);
	static const struct {
		const char *kv[8], *word;
	} bad[] = {
		{ { "memory-backend-ram", NULL }, "size=0" },
		{ { "memory-backend-ram", "size", "5000", NULL }, "multiple of 4096" },
		{ { "memory-backend-ram", "size", "1M", "polcy", "bind", NULL }, "'policy'" },
		{ { "memory-backend-ram", "size", "1M", "policy", "bind", NULL }, "host-nodes=" },
		{ { "memory-backend-ram", "size", "1M", "policy", "bnd", NULL }, "interleave" },
		{ { "memory-backend-ram", "size", "1M", "host-nodes", "64", NULL }, "0 to 63" },
		{ { "memory-backend-ram", "size", "1M", "host-nodes", "3-1", NULL }, "0 to 63" },
		{ { "memory-backend-file", "size", "1M", NULL }, "mem-path=" },
		{ { "memory-backend-file", "size", "1M", "mem-path", "/no/such/x", NULL },
		  "No such file" },
		{ { "memory-backend-file", "size", "1M", "mem-path", "FILE", NULL }, "5 bytes" },
		{ { "memory-backend-memfd", "size", "1M", "hugetlbsize", "2M", NULL },
		  "hugetlb=on" },
		{ { "memory-backend-memfd", "size", "1M", "guest-memfd", "on", NULL }, "KVM's" },
		{ { "memory-backend-memfd", "size", "1M", "guest-memfd", "on", "share", "off",
		    NULL },
		  "share=off" },
		{ { "memory-backend-rm", "size", "1M", NULL }, "memory-backend-ram" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vm_conf *c = new_conf();
		const char *kv[8] = { 0 };

		for (size_t k = 0; bad[i].kv[k]; k++)
			kv[k] = strcmp(bad[i].kv[k], "FILE") ? bad[i].kv[k] : path;
		add(c, "m", kv);
		expect_bad(c, bad[i].word);
	}
	unlink(path);
}

static void sizes_have_to_agree(void **state)
{
	struct vm_conf *c = new_conf();

	OBJ(c, "m", "memory-backend-ram", "size", "2M");
	c->mem_backend = xstrdup("m");
	c->mem_given = true;
	expect_bad(c, "let both be the same");
	c = new_conf();
	c->mem_backend = xstrdup("nothing");
	expect_bad(c, "no object 'nothing'");
	c = new_conf();
	OBJ(c, "r", "rng-builtin");
	c->mem_backend = xstrdup("r");
	expect_bad(c, "no memory-backend");
}

/* A node that the host has takes it; one that it has not says so. */
static void numa_nodes(void **state)
{
	struct vm_conf *c = new_conf();
	struct err e = { 0 };
	struct vm *vm;

	OBJ(c, "m", "memory-backend-ram", "size", "1M", "host-nodes.0", "0", "policy", "bind");
	vm = vm_new_take(c, &e);
	if (!vm && e.code == ENOSYS)
		skip();
	assert_non_null(vm);
	vm_free(vm);
	c = new_conf();
	OBJ(c, "m", "memory-backend-ram", "size", "1M", "host-nodes", "62-63", "policy", "bind");
	expect_bad(c, "NUMA");
}

/* ---- secrets ---- */

static void expect_secret(const char *key, const char *val, const char *format, const void *want,
			  size_t len)
{
	struct vm_conf *c = new_conf();
	const uint8_t *data;
	struct err e = { 0 };
	size_t n;
	struct vm *vm;

	OBJ(c, "s", "secret", key, val, "format", format);
	vm = vm_of(c);
	assert_int_equal(obj_secret_get(vm, "s", &data, &n, &e), 0);
	assert_int_equal(n, len);
	assert_memory_equal(data, want, len);
	vm_free(vm);
}

static void secrets(void **state)
{
	static const uint8_t key[4] = { 0, 0xff, 10, 0x80 };
	autofree char *raw = temp_file(key, 4), *coded = temp_file("AP8KgA==\n", 9);

	expect_secret("file", raw, "raw", key, 4);
	expect_secret("file", coded, "base64", key, 4);
	expect_secret("data", "letmein", "raw", "letmein", 7);
	expect_secret("data", "bGV0bWVpbg==", "base64", "letmein", 7);
	expect_secret("data", "", "base64", "", 0);
	unlink(raw);
	unlink(coded);
}

static void secrets_refused(void **state)
{
	static const char *const bad[][6] = {
		{ "secret", "format", "raw", NULL, NULL, "either file= or data=" },
		{ "secret", "data", "x", "file", "y", "either file= or data=" },
		{ "secret", "file", "/no/such/x", NULL, NULL, "No such file" },
		{ "secret", "file", "/dev/zero", NULL, NULL, "more than" },
		{ "secret", "data", "x", "format", "hex", "raw or base64" },
		{ "secret", "data", "x", "keyid", "k", "encrypted" },
		{ "secret", "data", "abc", "format", "base64", "multiple of four" },
		{ "secret", "data", "a=bc", "format", "base64", "byte 3" },
		{ "secret", "data", "ab*d", "format", "base64", "byte 3" },
		{ "secret", "data", "====", "format", "base64", "byte 3" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vm_conf *c = new_conf();
		const char *kv[6] = { bad[i][0], bad[i][1], bad[i][2], bad[i][3], bad[i][4], NULL };

		add(c, "s", kv);
		expect_bad(c, bad[i][5]);
	}
}

/* The place where it was reads as nothing once the object is gone. */
static void secret_is_wiped(void **state)
{
	struct vm_conf *c = new_conf();
	struct conf_node *n;
	const uint8_t *data;
	struct err e = { 0 };
	size_t len;
	struct vm *vm;

	OBJ(c, "s", "secret", "data", "letmein");
	n = conf_find(c, CONF_OBJECT, "s");
	vm = vm_of(c);
	assert_string_equal(conf_get(n, "data"), "");
	assert_int_equal(obj_secret_get(vm, "s", &data, &len, &e), 0);
	assert_int_equal(backend_remove(vm, BACKEND_OBJECT, "s", &e), 0);
	assert_int_equal(mincore((void *)data, 4096, &(unsigned char){ 0 }), -1); /* unmapped */
	assert_int_equal(obj_secret_get(vm, "s", &data, &len, &e), -ENOENT);
	vm_free(vm);
}

/* ---- randomness ---- */

static void randomness(void **state)
{
	autofree char *path = temp_file("abcdef", 6);
	struct vm_conf *c = new_conf();
	struct err e = { 0 };
	uint8_t buf[8], zero[8] = { 0 };
	struct vm *vm;

	OBJ(c, "f", "rng-random", "filename", path);
	OBJ(c, "u", "rng-random");
	OBJ(c, "b", "rng-builtin");
	OBJ(c, "t", "iothread", "poll-max-ns", "0");
	vm = vm_of(c);
	assert_int_equal(obj_rng_read(obj_find(vm, "f", NULL, &e), buf, 4), 4);
	assert_memory_equal(buf, "abcd", 4);
	assert_int_equal(obj_rng_read(obj_find(vm, "f", NULL, &e), buf, 4), 2);
	assert_int_equal(obj_rng_read(obj_find(vm, "f", NULL, &e), buf, 4), -ENODATA);
	for (unsigned i = 0; i < 2; i++) {
		memset(buf, 0, 8);
		assert_int_equal(obj_rng_read(obj_find(vm, i ? "u" : "b", NULL, &e), buf, 8), 8);
		assert_memory_not_equal(buf, zero, 8);
	}
	assert_true(obj_is_rng(obj_find(vm, "u", NULL, &e)));
	assert_false(obj_is_rng(obj_find(vm, "t", NULL, &e)));
	assert_null(obj_find(vm, "u", &obj_iothread, &e));
	assert_non_null(strstr(e.msg, "a iothread is needed"));
	vm_free(vm);
	unlink(path);
	c = new_conf();
	OBJ(c, "f", "rng-random", "filename", "/no/such/x");
	expect_bad(c, "No such file");
}

static void same_id_twice(void **state)
{
	struct vm_conf *c = new_conf();

	OBJ(c, "x", "rng-builtin");
	OBJ(c, "x", "iothread");
	expect_bad(c, "two objects");
	c = new_conf();
	OBJ(c, "x", "iothread", "thread-pool-max", "0");
	expect_bad(c, "thread-pool-max");
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup(fn, setup)
	const struct CMUnitTest tests[] = {
		T(memory_is_the_ram), T(memory_in_a_file),    T(mem_path_and_folder),
		T(memory_refused),    T(sizes_have_to_agree), T(numa_nodes),
		T(secrets),	      T(secrets_refused),     T(secret_is_wiped),
		T(randomness),	      T(same_id_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
