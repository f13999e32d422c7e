/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys behind Ctrl-A on a terminal or a muxed end, with QEMU's letters. Loop's thread.
 * State: none; a key that was begun is the host's.
 */
#include "base/base.h"
#include "char/char_int.h"
#include <stdio.h>
#include <unistd.h>

#define CTRL_A 0x01

static uint8_t escape_key(const struct char_end *c)
{
	return c->escape->key ?: CTRL_A;
}

static void help(struct char_end *c)
{
	bool colour = c->type->keys_always && isatty(STDOUT_FILENO);
	const char *on = colour ? "\033[1m" : "", *off = colour ? "\033[0m" : "";
	char key = (char)('@' + (escape_key(c) & 0x1f));
	static const char *const text[][2] = {
		{ "h", "this help" },
		{ "x", "end the virtual machine" },
		{ "b", "send a break" },
		{ "c", "go to the monitor, or back" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(text); i++) {
		autofree char *row = NULL;

		if (*text[i][0] == 'c' && c->nr_fronts < 2)
			continue;
		row = xasprintf("\r\n%sCtrl-%c %s%s  %s", on, key, text[i][0], off, text[i][1]);
		char_say(c, row);
	}
	{
		autofree char *row = xasprintf("\r\n%sCtrl-%c Ctrl-%c%s  send Ctrl-%c\r\n", on, key,
					       key, off, key);
		char_say(c, row);
	}
}

/* True when the front gets the key. */
static bool command_key(struct char_end *c, uint8_t key)
{
	switch (key) {
	case 'x':
	case 'X':
		if (c->escape->quit)
			c->escape->quit(c->escape);
		return false;
	case 'b':
	case 'B':
		if (c->front && c->front->brk)
			c->front->brk(c->front);
		return false;
	case 'h':
	case 'H':
	case '?':
		help(c);
		return false;
	default:
		return key == escape_key(c);
	}
}

/*
 * What stands in front of a change of focus is for the front that had it, so it is handed over
 * first; then the rest has the room that the new one offers, and not more: the remainder of what
 * a person typed at once is not worth a queue.
 */
static size_t change_focus(struct char_end *c, uint8_t *data, size_t before, size_t *i, size_t len)
{
	size_t room;

	if (before && c->front)
		c->front->receive(c->front, data, before);
	char_next_focus(c);
	room = c->front && c->front->room ? c->front->room(c->front) : 0;
	return MIN(len, *i + 1 + room);
}

size_t char_keys_filter(struct char_end *c, uint8_t *data, size_t len)
{
	size_t out = 0;

	if (!c->escape || !(c->mux || c->type->keys_always))
		return len;
	for (size_t i = 0; i < len; i++) {
		if (!c->after_escape) {
			c->after_escape = data[i] == escape_key(c);
			if (!c->after_escape)
				data[out++] = data[i];
			continue;
		}
		c->after_escape = false;
		if ((data[i] == 'c' || data[i] == 'C') && c->nr_fronts > 1) {
			len = change_focus(c, data, out, &i, len);
			out = 0;
		} else if (command_key(c, data[i])) {
			data[out++] = data[i];
		}
	}
	return out;
}
