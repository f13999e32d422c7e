/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of memory as text, as QEMU's "x", "xp" and "print" show them. Source: their output. Any
 * thread. State: none.
 */
#include "base/base.h"
#include "mon/show_mem.h"
#include <ctype.h>

#define LINE 16u
int show_format_check(struct hmp_format *f, struct hmp_format *last, struct err *e)
{
	if (f->format == 'i')
		return err_set(e, ENOTSUP,
			       "instructions are not shown here: save them with memsave, and look "
			       "at them with objdump -D -b binary -m i386:x86-64");
	if (f->format == 's')
		return err_set(e, ENOTSUP, "strings are not shown: look at characters, /32c");
	if (!f->format)
		f->format = last->format ?: 'x';
	if (!f->count)
		f->count = 1;
	if (!f->size)
		f->size = last->size ?: 'w';
	*last = *f;
	if (f->format == 'c')
		f->size = 'b';
	if (f->count > SHOW_MAX_VALUES)
		return err_set(e, EINVAL, "at most %u values at once", SHOW_MAX_VALUES);
	return 0;
}

unsigned show_value_size(const struct hmp_format *f)
{
	return f->size == 'b' ? 1 : f->size == 'h' ? 2 : f->size == 'w' ? 4 : 8;
}

static void show_char(FILE *out, unsigned char c)
{
	static const struct {
		char c;
		const char *text;
	} named[] = { { '\'', "\\'" }, { '\\', "\\\\" }, { '\n', "\\n" }, { '\r', "\\r" } };

	for (unsigned i = 0; i < ARRAY_SIZE(named); i++) {
		if (named[i].c == (char)c) {
			fprintf(out, "'%s'", named[i].text);
			return;
		}
	}
	if (c >= 32 && c <= 126)
		fprintf(out, "'%c'", c);
	else
		fprintf(out, "'\\x%02x'", c);
}

void show_value(FILE *out, const struct hmp_format *f, uint64_t val)
{
	switch (f->format) {
	case 'x':
		fprintf(out, "0x%" PRIx64, val);
		break;
	case 'o':
		fprintf(out, val ? "0%" PRIo64 : "%" PRIo64, val);
		break;
	case 'u':
		fprintf(out, "%" PRIu64, val);
		break;
	case 'c':
		show_char(out, (unsigned char)val);
		break;
	case 'd':
	default:
		fprintf(out, "%" PRId64, (int64_t)val);
		break;
	}
}

/* In columns: as wide as the widest one of its size. */
static void show_column(FILE *out, const struct hmp_format *f, uint64_t val)
{
	unsigned size = show_value_size(f), bits = size * 8;
	int64_t number = (int64_t)(val << (64 - bits)) >> (64 - bits);

	fputc(' ', out);
	switch (f->format) {
	case 'x':
		fprintf(out, "0x%0*" PRIx64, (int)size * 2, val);
		break;
	case 'o':
		fprintf(out, "%#*" PRIo64, (int)(bits + 2) / 3, val);
		break;
	case 'u':
		fprintf(out, "%*" PRIu64, (int)(bits * 10 + 32) / 33, val);
		break;
	case 'c':
		show_char(out, (unsigned char)val);
		break;
	case 'd':
	default:
		fprintf(out, "%*" PRId64, (int)(bits * 10 + 32) / 33, number);
		break;
	}
}

void show_memory(FILE *out, const struct hmp_format *f, uint64_t addr,
		 int (*read)(void *, uint64_t, void *, size_t), void *arg)
{
	unsigned size = show_value_size(f);
	unsigned line = size == 1 && f->format != 'c' ? LINE / 2 : LINE;
	uint64_t left = (uint64_t)f->count * size;

	while (left) {
		uint8_t buf[LINE];
		unsigned n = (unsigned)MIN(left, (uint64_t)line);

		fprintf(out, "%016" PRIx64 ":", addr);
		if (read(arg, addr, buf, n) < 0) {
			fprintf(out, " Cannot access memory\n");
			return;
		}
		for (unsigned i = 0; i < n; i += size) {
			uint64_t val = 0;

			for (unsigned k = size; k-- > 0;)
				val = val << 8 | buf[i + k];
			show_column(out, f, val);
		}
		fputc('\n', out);
		addr += n;
		left -= n;
	}
}
