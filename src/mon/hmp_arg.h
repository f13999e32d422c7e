/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of the human monitor's commands; src/mon/ only. */
#ifndef MON_HMP_ARG_H
#define MON_HMP_ARG_H

#include "mon/cmd.h"

/* Reads text into c's argument struct (args; NULL when it takes none). */
int hmp_read_args(struct hmp *, const struct hmp_command *c, const char *text, void *args,
		  struct qmp_arena *, struct err *e) MUST_CHECK;

/*
 * An expression: numbers (0x.., 0.., 1..), 'c' characters, $registers of the current CPU, and
 * | ^ & + - * / % ~ ( ). *text moves behind it.
 */
int hmp_read_expr(struct hmp *, const char **text, int64_t *out, struct err *e) MUST_CHECK;

#endif
