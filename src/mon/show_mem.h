/* SPDX-License-Identifier: Apache-2.0 */
/* Values of memory as text; src/mon/ only. */
#ifndef MON_SHOW_MEM_H
#define MON_SHOW_MEM_H

#include "mon/hmp_type.h"
#include <stdio.h>

/*
 * What is absent of f is as in *last (zeros: x, a word), which becomes f; one value; a character
 * has one byte. -EINVAL with e set for a format that cannot be shown.
 */
int show_format_check(struct hmp_format *f, struct hmp_format *last, struct err *e) MUST_CHECK;
#define SHOW_MAX_VALUES 65536u
unsigned show_value_size(const struct hmp_format *); /* bytes */

/* One value as print has it: without blanks in front of it. */
void show_value(FILE *out, const struct hmp_format *, uint64_t val);
/*
 * Lines of 16 bytes, or 8 of single ones, the address in front. read: fills buf with len bytes at
 * addr, or -errno: then the listing ends with "Cannot access memory".
 */
void show_memory(FILE *out, const struct hmp_format *, uint64_t addr,
		 int (*read)(void *arg, uint64_t addr, void *buf, size_t len), void *arg);

#endif
