/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the human monitor as tables (schema/gen.py fills them). */
#ifndef MON_HMP_TYPE_H
#define MON_HMP_TYPE_H

#include "base/base.h"

struct hmp;

enum hmp_arg_kind {
	HMP_WORD,  /* one word, or "with \"quotes\"" */
	HMP_REST,  /* all that follows */
	HMP_INT,   /* an expression: numbers, $registers, + - * / % & | ^ ( ) */
	HMP_SIZE,  /* "512M"; plain numbers are MiB, as in QEMU */
	HMP_BOOL,  /* on, off */
	HMP_FLAG,  /* -f */
	HMP_FORMAT /* /4xw: count, format, size */
};

/* What /FMT said; what is absent is 0. */
struct hmp_format {
	uint32_t count;
	char format; /* x, d, u, o, c, i, s */
	char size;   /* b, h, w, g */
};

struct hmp_arg {
	const char *name;
	enum hmp_arg_kind kind;
	bool optional;
	uint32_t off;
	int32_t has_off;
	const char *complete; /* what Tab offers: "chardev", "block", "device", "netdev", "object",
				 "trace-event", "help", words "a|b", or "" */
};

struct hmp_command {
	const char *name; /* "info status" */
	const char *alias;
	const char *usage; /* of its arguments */
	const char *help;
	const struct hmp_arg *args; /* ends with a NULL name; NULL: none */
	size_t args_size;
	void (*call)(struct hmp *, const void *args);
	const char *qmp; /* instead: the QMP command of that name, without arguments */
};

extern const struct hmp_command hmp_commands[]; /* sorted by name */
extern const size_t hmp_nr_commands;

#endif
