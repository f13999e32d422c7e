/* SPDX-License-Identifier: Apache-2.0 */
/* The line editor: what a sequence of keys becomes, and what the terminal shows afterwards. */
#include "cmocka_all.h"
#include "mon/edit.h"
#include <stdio.h>

#define COLS 200

/* A terminal of one row, enough of one to see what the editor draws. */
struct term {
	struct edit ed;
	char row[COLS + 1];
	size_t at;
	unsigned escape, arg;
	char lines[1024]; /* those that were entered, with | behind each */
};

static void put(struct term *t, char c)
{
	if (t->escape == 1) {
		t->escape = c == '[' ? 2 : 0;
		t->arg = 0;
	} else if (t->escape == 2) {
		if (c >= '0' && c <= '9') {
			t->arg = t->arg * 10 + (unsigned)(c - '0');
			return;
		}
		t->escape = 0;
		if (c == 'D')
			t->at -= MIN((size_t)t->arg, t->at);
		else if (c == 'K')
			t->row[t->at] = 0;
	} else if (c == 27) {
		t->escape = 1;
	} else if (c == '\r') {
		t->at = 0;
	} else if (c == '\n') {
		t->row[0] = 0;
	} else if (c >= 32 && t->at < COLS) {
		if (!t->row[t->at])
			t->row[t->at + 1] = 0;
		t->row[t->at++] = c;
	}
}

static void say(struct edit *ed, const char *text, size_t len)
{
	while (len--)
		put(container_of(ed, struct term, ed), *text++);
}

static void line(struct edit *ed, const char *text)
{
	struct term *t = container_of(ed, struct term, ed);
	size_t n = strlen(t->lines);

	snprintf(t->lines + n, sizeof(t->lines) - n, "%s|", text);
}

static void complete(struct edit *ed, const char *text)
{
	static const char *const words[] = { "stop", "status", "start", "quit", NULL };
	const char *word = strrchr(text, ' ');

	word = word ? word + 1 : text;
	for (size_t i = 0; words[i]; i++)
		if (!strncmp(words[i], word, strlen(word)))
			edit_candidate(ed, words[i]);
}

static void type(struct term *t, const char *keys, size_t piece)
{
	size_t len = strlen(keys);

	memset(t, 0, sizeof(*t));
	t->ed = (struct edit){ .prompt = "> ", .say = say, .line = line, .complete = complete };
	edit_prompt(&t->ed);
	for (size_t at = 0; at < len; at += piece)
		edit_keys(&t->ed, (const uint8_t *)keys + at, MIN(piece, len - at));
}

static void keys(void **state)
{
	static const struct {
		const char *keys, *lines, *row;
		size_t at;
	} t[] = {
		{ "abc", "", "> abc", 5 },
		{ "abc\r", "abc|", "> ", 2 },
		{ "a\rb\nc\r\nd\n", "a|b|c|d|", "> ", 2 },
		{ "abd\x02"
		  "c",
		  "", "> abcd", 5 },
		{ "abd\033[Dc\033[C!", "", "> abcd!", 7 },
		{ "bc\001a\005d", "", "> abcd", 6 },
		{ "bc\033[Ha\033[Fd\033OD", "", "> abcd", 5 },
		{ "abc\x7f\x08"
		  "d",
		  "", "> ad", 4 },
		{ "abcd\001\004\033[3~", "", "> cd", 2 },
		{ "abcd\002\002\013", "", "> ab", 4 },
		{ "abcd\002\002\025", "", "> cd", 2 },
		{ "one two  \027", "", "> one ", 6 },
		{ "abc\003x", "", "> x", 3 },
		{ "\x7f\x7f\033[D\033[C\004", "", "> ", 2 },
		{ "a\rb\r\033[A", "a|b|", "> b", 3 },
		{ "a\rb\r\033[A\033[A\033[A\r", "a|b|a|", "> ", 2 },
		{ "a\rnew\020\020\016", "a|", "> new", 5 },
		{ "a\ra\r\020\020", "a|a|", "> a", 3 }, /* twice the same is kept once */
		{ "q\t", "", "> quit ", 7 },
		{ "st\t", "", "> st", 4 },   /* several: listed, the line is drawn again */
		{ "sta\t", "", "> sta", 5 }, /* stat, star: nothing more in common */
		{ "stat\tx", "", "> status x", 10 },
		{ "help sto\t\r", "help stop |", "> ", 2 },
		{ "zz\t", "", "> zz", 4 },
		{ "\033[1;5D\033[999999999999~\033\033[Ax", "", "> x", 3 },
		{ "\xc3\xa9\xc3\xa8\x7f"
		  "a",
		  "",
		  "> \xc3\xa9"
		  "a",
		  5 },
		{ "\xc3\xa9"
		  "b\002\002\x04",
		  "", "> b", 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		for (size_t piece = 1; piece < 40; piece += 13) {
			struct term term;

			type(&term, t[i].keys, piece);
			assert_string_equal(term.lines, t[i].lines);
			/* the terminal above counts bytes, so no columns with UTF-8 */
			if (!strchr(t[i].keys, '\xc3')) {
				assert_string_equal(term.row, t[i].row);
				assert_int_equal(term.at, t[i].at);
			} else {
				term.ed.buf[term.ed.len] = 0;
				assert_string_equal(term.ed.buf, t[i].row + 2);
			}
			edit_fini(&term.ed);
		}
	}
}

static void long_lines(void **state)
{
	struct term *t = xnew(struct term);
	char *text = xcalloc(1, 3 * EDIT_MAX_LINE);

	memset(text, 'x', 2 * EDIT_MAX_LINE);
	type(t, text, 100);
	assert_true(t->ed.len < EDIT_MAX_LINE);
	edit_keys(&t->ed, (const uint8_t *)"\t\x01\x0b\r", 4);
	assert_string_equal(t->lines, "|");
	edit_fini(&t->ed);
	free(text);
	free(t);
}

static void history_is_bounded(void **state)
{
	struct term *t = xnew(struct term);

	type(t, "", 1);
	for (unsigned i = 0; i < 3 * EDIT_MAX_HISTORY; i++) {
		char text[16];

		t->lines[0] = 0;
		snprintf(text, sizeof(text), "%u\r", i);
		edit_keys(&t->ed, (const uint8_t *)text, strlen(text));
	}
	assert_int_equal(t->ed.nr_history, EDIT_MAX_HISTORY);
	for (unsigned i = 0; i < EDIT_MAX_HISTORY + 5; i++)
		edit_keys(&t->ed, (const uint8_t *)"\x10", 1);
	edit_keys(&t->ed, (const uint8_t *)"\r", 1);
	assert_string_equal(t->lines, "191|128|");
	edit_fini(&t->ed);
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys),
		cmocka_unit_test(long_lines),
		cmocka_unit_test(history_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
