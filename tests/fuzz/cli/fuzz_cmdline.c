/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines of both front ends: the first byte chooses which, newlines part the words.
 * Whatever is typed ends in a configuration or in a message, never in a crash or a leak.
 */
#include "base/base.h"

#include "base/log.h"
#include "cli/qemu_opts.h"
#include <stdio.h>

#define MAX_WORDS 64

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	/* Help texts go to stdout, notes to stderr: neither is of interest here. */
	log_set_level(LOG_LEVEL_ERROR);
	return freopen("/dev/null", "w", stdout) ? 0 : 1;
}

static int split(char *text, char **argv)
{
	int n = 1;

	argv[0] = (char *)"fuzz";
	for (char *save = NULL, *word = strtok_r(text, "\n", &save); word && n < MAX_WORDS;
	     word = strtok_r(NULL, "\n", &save))
		argv[n++] = word;
	argv[n] = NULL;
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[MAX_WORDS + 1];
	autofree char *text = NULL;
	struct vm_conf *conf;
	struct err e = { 0 };
	bool help = false;
	int argc;

	if (size < 2 || size > 4096)
		return 0;
	text = xcalloc(size, 1);
	memcpy(text, data + 1, size - 1);
	argc = split(text, argv);
	conf = vm_conf_new();
	if (data[0] & 1) {
		struct qemu_line line = { .conf = conf, .parse_only = true };

		if (qemu_read_line(&line, argc, argv, &e) < 0)
			assert(e.msg[0]);
		qemu_line_fini(&line);
	} else if (run_read_line(conf, argc, argv, &help, &e) < 0) {
		assert(e.msg[0]);
	}
	vm_conf_free(conf);
	return 0;
}
