/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a QMP client against a whole machine whose vCPUs do not run: framing, arguments, every
 * handler. The first byte says how the rest is cut. Replies are JSON that fits the schema, or an
 * error; the machine takes requests afterwards.
 */
#include "base/base.h"

#include "base/log.h"
#include "mon_fuzz.h"
#include "mon_vm.h"
#include <jansson.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fuzz_machine f;

static const char hello[] =
	"{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}";

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_set_level((enum log_level) - 1);
	lock_up();
	return 0;
}

static void tell(const void *text, size_t len)
{
	const char *p = text;

	while (len) {
		ssize_t n = write(f.client, p, len);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
		mon_vm_run(f.vm, 0);
		if (n < 0) { /* it waits until its replies are read */
			free(mon_vm_read(f.vm, f.client));
			if (f.vm->ended)
				return;
		}
	}
}

/* Each line is a JSON object. */
static void check(const char *text)
{
	while (*text) {
		const char *end = strstr(text, "\r\n");
		json_t *got;

		if (!end)
			abort();
		got = json_loadb(text, (size_t)(end - text), 0, NULL);
		if (!json_is_object(got))
			abort();
		json_decref(got);
		text = end + 2;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece;
	char *text;

	if (size < 2 || size > 16384)
		return 0;
	fuzz_begin(&f, "control");
	tell(hello, strlen(hello));
	free(mon_vm_read(f.vm, f.client));
	piece = data[0] ?: size;
	for (size_t at = 1; at < size && !f.vm->ended; at += piece) {
		tell(data + at, MIN(piece, size - at));
		if (data[0])
			free(mon_vm_read(f.vm, f.client));
	}
	text = mon_vm_read(f.vm, f.client);
	check(text);
	free(text);
	fuzz_end(&f);
	return 0;
}
