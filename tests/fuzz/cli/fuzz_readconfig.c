/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files: whatever is in one ends in a configuration or in a message that names it. */
#include "base/base.h"

#include "base/log.h"
#include "cli/qemu_opts.h"
#include <stdio.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_set_level(LOG_LEVEL_ERROR);
	return freopen("/dev/null", "w", stdout) ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qemu_line line = { .conf = vm_conf_new(), .parse_only = true };
	char *text = xcalloc(size + 1, 1);
	struct err e = { 0 };

	memcpy(text, data, size);
	if (size <= 8192 && qemu_read_config(&line, text, "fuzz.cfg", &e) < 0)
		assert(!strncmp(e.msg, "fuzz.cfg:", 9));
	qemu_line_fini(&line);
	vm_conf_free(line.conf);
	free(text);
	return 0;
}
