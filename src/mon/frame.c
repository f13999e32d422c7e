/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Framing of JSON in a stream (frame.h): brackets are counted outside of strings, and the text of a
 * whole value goes to the library. RFC 8259. Control thread. State: none.
 */
#include "base/base.h"
#include "mon/frame.h"

void frame_init(struct frame *f)
{
	memset(f, 0, sizeof(*f));
}

void frame_fini(struct frame *f)
{
	free(f->buf);
	frame_init(f);
}

void frame_put(struct frame *f, const void *data, size_t len)
{
	if (!len)
		return;
	if (f->len + len > f->cap) {
		f->cap = MAX(f->len + len, 2 * f->cap);
		f->buf = xrealloc(f->buf, f->cap, 1);
	}
	memcpy(f->buf + f->len, data, len);
	f->len += len;
}

static void start_over(struct frame *f)
{
	f->scanned = 0;
	f->depth = 0;
	f->quote = 0;
	f->escaped = f->single = false;
}

static void consume(struct frame *f, size_t n)
{
	memmove(f->buf, f->buf + n, f->len - n);
	f->len -= n;
	f->base += n;
	start_over(f);
	if (!f->len) { /* a large text does not keep its buffer */
		free(take_ptr(f->buf));
		f->cap = 0;
	}
}

/* Drops the rest of a bad line, as far as it has come. True when its end was there. */
static bool skip_line(struct frame *f)
{
	char *end = f->len ? memchr(f->buf, '\n', f->len) : NULL;

	f->skipping = !end;
	if (f->len)
		consume(f, end ? (size_t)(end - f->buf) + 1 : f->len);
	return !f->skipping;
}

static int bad(struct frame *f, struct err *e, const char *what)
{
	/* What was looked at is part of the bad text, also line ends in it. */
	consume(f, f->scanned);
	skip_line(f);
	return err_set(e, EINVAL, "JSON parse error, %s", what);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t blanks(const struct frame *f)
{
	size_t n = 0;

	while (n < f->len && is_space(f->buf[n]))
		n++;
	return n;
}

bool frame_is_blank(const struct frame *f)
{
	return blanks(f) == f->len;
}

static void skip_space(struct frame *f)
{
	size_t n = blanks(f);

	if (n)
		consume(f, n);
}

enum step { GO_ON, COMPLETE, NOT_CLOSED_SO, CONTROL, TOO_DEEP };

/* One byte inside of a value that began with a bracket. */
static enum step step(struct frame *f, char c)
{
	if (f->quote) {
		if ((unsigned char)c < 0x20)
			return CONTROL;
		if (f->escaped)
			f->escaped = false;
		else if (c == '\\')
			f->escaped = true;
		else if (c == f->quote)
			f->quote = 0;
		return GO_ON;
	}
	switch (c) {
	case '\'':
		f->single = true;
		f->quote = c;
		return GO_ON;
	case '"':
		f->quote = c;
		return GO_ON;
	case '{':
	case '[':
		if (f->depth == FRAME_MAX_DEPTH)
			return TOO_DEEP;
		f->objects = f->objects << 1 | (c == '{');
		f->depth++;
		return GO_ON;
	case '}':
	case ']':
		if ((f->objects & 1) != (c == '}'))
			return NOT_CLOSED_SO;
		f->objects >>= 1;
		return --f->depth ? GO_ON : COMPLETE;
	default:
		return GO_ON;
	}
}

/* text with its single-quoted strings in double quotes; the caller frees. n becomes its length. */
static char *double_quotes(const char *text, size_t *n)
{
	char *out = xcalloc(*n, 2), quote = 0;
	size_t len = 0;

	for (size_t i = 0; i < *n; i++) {
		char c = text[i];

		if (quote && c == '\\' && i + 1 < *n) {
			c = text[++i];
			if (c != '\'')
				out[len++] = '\\';
		} else if (quote ? c == quote : c == '\'' || c == '"') {
			quote = quote ? 0 : c;
			c = '"';
		} else if (c == '"') { /* one like any other in single quotes */
			out[len++] = '\\';
		}
		out[len++] = c;
	}
	*n = len;
	return out;
}

static int load(struct frame *f, size_t n, json_t **out, struct err *e)
{
	autofree char *doubled = f->single ? double_quotes(f->buf, &n) : NULL;
	json_error_t why;

	*out = json_loadb(doubled ?: f->buf, n, JSON_REJECT_DUPLICATES, &why);
	return *out ? 1 : err_set(e, EINVAL, "JSON parse error, %s", why.text);
}

static int next_in_brackets(struct frame *f, json_t **out, struct err *e)
{
	while (f->scanned < f->len) {
		int ret;

		switch (step(f, f->buf[f->scanned])) {
		case COMPLETE:
			ret = load(f, ++f->scanned, out, e);
			consume(f, f->scanned);
			return ret;
		case NOT_CLOSED_SO:
			return bad(f, e, "a bracket is closed that was not opened");
		case CONTROL:
			return bad(f, e, "a control character or the end of the line in a string");
		case TOO_DEEP:
			return bad(f, e, "brackets are nested too deep");
		case GO_ON:
		default:
			f->scanned++;
			break;
		}
		if (f->scanned > FRAME_MAX_SIZE)
			return bad(f, e, "the text is longer than 1 MiB");
	}
	return 0;
}

/* A value of one word: never a request, but perhaps well-formed. */
static int word(struct frame *f, struct err *e)
{
	char text[32];
	size_t n = 0;

	while (n < f->len && !is_space(f->buf[n]) && n < sizeof(text) - 1)
		n++;
	if (n == f->len && n < sizeof(text) - 1)
		return 0;
	for (size_t i = 0; i < n; i++)
		text[i] = f->buf[i] > 0x20 && f->buf[i] < 0x7f ? f->buf[i] : '?';
	text[n] = '\0';
	f->scanned = 0;
	skip_line(f);
	return err_set(e, EINVAL,
		       "JSON parse error, invalid keyword '%s': QMP input must be a JSON object",
		       text);
}

int frame_next(struct frame *f, json_t **out, uint64_t *start, uint64_t *end, struct err *e)
{
	int ret;

	if (f->skipping && !skip_line(f))
		return 0;
	if (!f->scanned)
		skip_space(f);
	if (!f->len)
		return 0;
	if (f->buf[0] != '{' && f->buf[0] != '[')
		return word(f, e);
	if (!f->scanned)
		f->objects = 0;
	*start = f->base;
	ret = next_in_brackets(f, out, e);
	*end = f->base;
	return ret;
}
