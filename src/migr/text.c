/* SPDX-License-Identifier: Apache-2.0 */
/* The header's text (text.h). No threads, no state. */
#include "base/base.h"
#include "base/bytes.h"
#include "migr/text.h"
#include <stdarg.h>
#include <stdio.h>

void text_fini(struct migr_text *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->pair[i].key);
		free(t->pair[i].val);
	}
	free(t->pair);
	*t = (struct migr_text){ 0 };
}

static void add_take(struct migr_text *t, char *key, char *val)
{
	if (t->n == t->room) {
		t->room = t->room ? t->room * 2 : 32;
		t->pair = xrealloc(t->pair, t->room, sizeof(*t->pair));
	}
	t->pair[t->n++] = (struct migr_pair){ key, val };
}

void text_add(struct migr_text *t, const char *key, const char *val)
{
	add_take(t, xstrdup(key), xstrdup(val));
}

void text_addf(struct migr_text *t, const char *key, const char *fmt, ...)
{
	char *val = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&val, fmt, ap);
	va_end(ap);
	add_take(t, xstrdup(key), n < 0 ? xstrdup("") : val);
}

const char *text_get(const struct migr_text *t, const char *key)
{
	for (size_t i = 0; i < t->n; i++) {
		if (!strcmp(t->pair[i].key, key))
			return t->pair[i].val;
	}
	return NULL;
}

static void put(struct state_buf *b, const void *p, size_t n)
{
	if (b->cap - b->len < n) {
		b->cap = MAX(b->cap * 2, b->len + n + 256);
		b->data = xrealloc(b->data, b->cap, 1);
	}
	if (n)
		memcpy(b->data + b->len, p, n);
	b->len += n;
}

static void put_text(struct state_buf *b, const char *s, unsigned size)
{
	uint8_t len[4] = { 0 };

	st_le(len, strlen(s), size);
	put(b, len, size);
	put(b, s, strlen(s));
}

void text_encode(const struct migr_text *t, struct state_buf *out)
{
	for (size_t i = 0; i < t->n; i++) {
		put_text(out, t->pair[i].key, 2);
		put_text(out, t->pair[i].val, 4);
	}
}

/* Takes one string; NULL when it is no good. */
static char *take_text(const uint8_t **p, const uint8_t *end, unsigned size, bool key)
{
	uint64_t n;
	char *s;

	if ((size_t)(end - *p) < size)
		return NULL;
	n = ld_le(*p, size);
	*p += size;
	if ((uint64_t)(end - *p) < n || memchr(*p, 0, n) || (key && !n))
		return NULL;
	for (uint64_t i = 0; key && i < n; i++)
		if ((*p)[i] <= ' ' || (*p)[i] > '~')
			return NULL;
	s = xcalloc(1, n + 1);
	memcpy(s, *p, n);
	*p += n;
	return s;
}

int text_decode(struct migr_text *t, const uint8_t *p, size_t len, struct err *e)
{
	const uint8_t *end = p + len;

	while (p < end) {
		char *key = take_text(&p, end, 2, true);
		char *val = key ? take_text(&p, end, 4, false) : NULL;

		if (!val || t->n == MIGR_PAIRS_MAX) {
			free(key);
			free(val);
			return err_set(e, EINVAL,
				       "the saved machine's header has a damaged entry behind "
				       "'%s'",
				       t->n ? t->pair[t->n - 1].key : "its start");
		}
		add_take(t, key, val);
	}
	return 0;
}
