/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options in both of QEMU's spellings, key=value and JSON: whatever comes is a list of keys with
 * values, none of them without a name, or a message.
 */
#include "base/base.h"

#include "core/keyval.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	autofree char *text = NULL;
	struct keyvals kvs;
	struct err e = { 0 };

	if (size > 4096)
		return 0;
	text = xcalloc(size + 1, 1);
	memcpy(text, data, size);
	if (keyvals_parse_any(&kvs, text, "driver", &e) < 0) {
		assert(e.msg[0] && !kvs.kv && !kvs.n);
		return 0;
	}
	for (size_t i = 0; i < kvs.n; i++)
		assert(kvs.kv[i].key[0] && kvs.kv[i].val);
	keyvals_fini(&kvs);
	return 0;
}
