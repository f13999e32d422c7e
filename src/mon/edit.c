/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line editor (edit.h). Keys are those of readline's emacs mode; sequences are ECMA-48's.
 * Bytes from 0x80 on are parts of UTF-8 characters and are kept together. Control thread.
 */
#include "base/base.h"
#include "mon/edit.h"
#include <stdio.h>

#define MAX_FOUND 256u
#define CTRL(c)	  ((c)&0x1f)

enum { NO_ESCAPE, ESCAPE, CSI, SS3 };

static void say(struct edit *ed, const char *text)
{
	ed->say(ed, text, strlen(text));
}

static bool is_tail(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* How many columns n bytes take: as many as there are characters. */
static size_t columns(const char *p, size_t n)
{
	size_t cols = 0;

	for (size_t i = 0; i < n; i++)
		cols += !is_tail(p[i]);
	return cols;
}

static void redraw(struct edit *ed)
{
	size_t back = columns(ed->buf + ed->pos, ed->len - ed->pos);
	char move[32];

	say(ed, "\r");
	say(ed, ed->prompt);
	ed->say(ed, ed->buf, ed->len);
	say(ed, "\033[K");
	if (back) {
		snprintf(move, sizeof(move), "\033[%zuD", back);
		say(ed, move);
	}
}

void edit_prompt(struct edit *ed)
{
	say(ed, ed->prompt);
	if (ed->len)
		redraw(ed);
}

static void set_line(struct edit *ed, const char *text)
{
	ed->len = MIN(strlen(text), sizeof(ed->buf) - 1);
	memcpy(ed->buf, text, ed->len);
	ed->pos = ed->len;
	redraw(ed);
}

static void insert(struct edit *ed, const char *text, size_t n)
{
	if (ed->len + n >= sizeof(ed->buf)) {
		say(ed, "\a");
		return;
	}
	memmove(ed->buf + ed->pos + n, ed->buf + ed->pos, ed->len - ed->pos);
	memcpy(ed->buf + ed->pos, text, n);
	ed->len += n;
	ed->pos += n;
	if (ed->pos == ed->len)
		ed->say(ed, text, n);
	else if (ed->pos == ed->len || !is_tail(ed->buf[ed->pos]))
		redraw(ed);
}

static void erase(struct edit *ed, size_t from, size_t to)
{
	memmove(ed->buf + from, ed->buf + to, ed->len - to);
	ed->len -= to - from;
	ed->pos = from;
	redraw(ed);
}

static size_t left_of(const struct edit *ed, size_t pos)
{
	while (pos && is_tail(ed->buf[--pos]))
		;
	return pos;
}

static size_t right_of(const struct edit *ed, size_t pos)
{
	if (pos < ed->len)
		pos++;
	while (pos < ed->len && is_tail(ed->buf[pos]))
		pos++;
	return pos;
}

static void move_to(struct edit *ed, size_t pos)
{
	ed->pos = pos;
	redraw(ed);
}

/* ---- history ---- */

static void remember(struct edit *ed, const char *line)
{
	if (!*line || (ed->nr_history && !strcmp(ed->history[ed->nr_history - 1], line)))
		return;
	if (ed->nr_history == EDIT_MAX_HISTORY) {
		free(ed->history[0]);
		memmove(&ed->history[0], &ed->history[1],
			(EDIT_MAX_HISTORY - 1) * sizeof(ed->history[0]));
		ed->nr_history--;
	}
	ed->history[ed->nr_history++] = xstrdup(line);
}

static void show_history(struct edit *ed, unsigned at)
{
	ed->buf[ed->len] = '\0';
	if (ed->at == ed->nr_history) {
		free(ed->kept);
		ed->kept = xstrdup(ed->buf);
	}
	ed->at = at;
	set_line(ed, at == ed->nr_history ? ed->kept : ed->history[at]);
}

static void older(struct edit *ed)
{
	if (ed->at)
		show_history(ed, ed->at - 1);
}

static void newer(struct edit *ed)
{
	if (ed->at < ed->nr_history)
		show_history(ed, ed->at + 1);
}

/* ---- completion ---- */

void edit_candidate(void *opaque, const char *word)
{
	struct edit *ed = opaque;

	for (unsigned i = 0; i < ed->nr_found; i++)
		if (!strcmp(ed->found[i], word))
			return;
	if (ed->nr_found == MAX_FOUND)
		return;
	if (!ed->found)
		ed->found = xnew_n(char *, MAX_FOUND);
	ed->found[ed->nr_found++] = xstrdup(word);
}

static void drop_found(struct edit *ed)
{
	for (unsigned i = 0; i < ed->nr_found; i++)
		free(ed->found[i]);
	free(take_ptr(ed->found));
	ed->nr_found = 0;
}

/* How much all candidates have in common. */
static size_t common(const struct edit *ed)
{
	size_t n = strlen(ed->found[0]);

	for (unsigned i = 1; i < ed->nr_found; i++) {
		size_t k = 0;

		while (k < n && ed->found[i][k] == ed->found[0][k])
			k++;
		n = k;
	}
	return n;
}

static void list_found(struct edit *ed)
{
	say(ed, "\r\n");
	for (unsigned i = 0; i < ed->nr_found; i++) {
		say(ed, ed->found[i]);
		say(ed, (i + 1) % 6 && i + 1 < ed->nr_found ? "  " : "\r\n");
	}
	redraw(ed);
}

static void complete(struct edit *ed)
{
	char text[EDIT_MAX_LINE];
	size_t word = ed->pos, have, n;

	if (!ed->complete)
		return;
	memcpy(text, ed->buf, ed->pos);
	text[ed->pos] = '\0';
	while (word && text[word - 1] != ' ')
		word--;
	have = ed->pos - word;
	ed->complete(ed, text);
	if (!ed->nr_found) {
		say(ed, "\a");
		return;
	}
	n = common(ed);
	if (n > have)
		insert(ed, ed->found[0] + have, n - have);
	if (ed->nr_found == 1)
		insert(ed, " ", 1);
	else if (n <= have)
		list_found(ed);
	drop_found(ed);
}

/* ---- keys ---- */

static void enter(struct edit *ed)
{
	autofree char *line = NULL;

	ed->buf[ed->len] = '\0';
	line = xstrdup(ed->buf);
	say(ed, "\r\n");
	ed->len = ed->pos = 0;
	remember(ed, line);
	ed->at = ed->nr_history;
	ed->line(ed, line);
	if (!ed->hold)
		say(ed, ed->prompt);
}

static void erase_word(struct edit *ed)
{
	size_t from = ed->pos;

	while (from && ed->buf[from - 1] == ' ')
		from--;
	while (from && ed->buf[from - 1] != ' ')
		from--;
	erase(ed, from, ed->pos);
}

static void control_key(struct edit *ed, uint8_t key)
{
	switch (key) {
	case '\r':
		enter(ed);
		break;
	case '\t':
		complete(ed);
		break;
	case CTRL('a'):
		move_to(ed, 0);
		break;
	case CTRL('e'):
		move_to(ed, ed->len);
		break;
	case CTRL('b'):
		move_to(ed, left_of(ed, ed->pos));
		break;
	case CTRL('f'):
		move_to(ed, right_of(ed, ed->pos));
		break;
	case CTRL('d'):
		erase(ed, ed->pos, right_of(ed, ed->pos));
		break;
	case CTRL('h'):
	case 0x7f:
		erase(ed, left_of(ed, ed->pos), ed->pos);
		break;
	case CTRL('k'):
		erase(ed, ed->pos, ed->len);
		break;
	case CTRL('u'):
		erase(ed, 0, ed->pos);
		break;
	case CTRL('w'):
		erase_word(ed);
		break;
	case CTRL('c'):
		say(ed, "^C\r\n");
		ed->len = ed->pos = 0;
		ed->at = ed->nr_history;
		say(ed, ed->prompt);
		break;
	case CTRL('l'):
		say(ed, "\033[H\033[2J");
		redraw(ed);
		break;
	case CTRL('p'):
		older(ed);
		break;
	case CTRL('n'):
		newer(ed);
		break;
	case 0x1b:
		ed->escape = ESCAPE;
		break;
	default:
		break;
	}
}

/* The last byte of ESC [ ... or ESC O. */
static void sequence(struct edit *ed, uint8_t key)
{
	static const char keys[] = "ABCDHF", same[] = { CTRL('p'), CTRL('n'), CTRL('f'),
							CTRL('b'), CTRL('a'), CTRL('e') };
	const char *p = strchr(keys, key);

	if (p && key)
		control_key(ed, (uint8_t)same[p - keys]);
	else if (key == '~' && ed->escape_arg == 3)
		control_key(ed, CTRL('d'));
	else if (key == '~' && (ed->escape_arg == 1 || ed->escape_arg == 7))
		control_key(ed, CTRL('a'));
	else if (key == '~' && (ed->escape_arg == 4 || ed->escape_arg == 8))
		control_key(ed, CTRL('e'));
}

static void in_escape(struct edit *ed, uint8_t key)
{
	if (key == 0x1b) { /* a new one */
		ed->escape = ESCAPE;
	} else if (ed->escape == ESCAPE) {
		ed->escape = key == '[' ? CSI : key == 'O' ? SS3 : NO_ESCAPE;
		ed->escape_arg = 0;
	} else if (key >= '0' && key <= '9') {
		ed->escape_arg = (ed->escape_arg * 10 + key - '0') % 1000;
	} else if (key == ';') {
		ed->escape_arg = 0;
	} else {
		ed->escape = NO_ESCAPE;
		sequence(ed, key);
	}
}

size_t edit_keys(struct edit *ed, const uint8_t *keys, size_t len)
{
	size_t i;

	for (i = 0; i < len && !ed->hold; i++) {
		uint8_t key = keys[i];
		bool after_cr = ed->after_cr;

		ed->after_cr = key == '\r';
		if (key == '\n' && after_cr)
			continue;
		if (key == '\n')
			key = '\r';
		if (ed->escape)
			in_escape(ed, key);
		else if (key < 0x20 || key == 0x7f)
			control_key(ed, key);
		else
			insert(ed, (const char *)&key, 1);
	}
	return i;
}

void edit_reset(struct edit *ed)
{
	ed->len = ed->pos = 0;
	ed->escape = NO_ESCAPE;
	ed->after_cr = false;
	ed->hold = false;
	for (unsigned i = 0; i < ed->nr_history; i++)
		free(ed->history[i]);
	ed->nr_history = ed->at = 0;
	free(take_ptr(ed->kept));
	drop_found(ed);
}

void edit_fini(struct edit *ed)
{
	edit_reset(ed);
}
