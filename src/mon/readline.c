/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The human monitor on a terminal, pipe or socket: prompt, lines, and what commands say. Lines are
 * edited in edit.c. Control thread. State: none.
 */
#include "base/base.h"
#include "mon/edit.h"
#include "mon/mon_int.h"

/* What scripts wait for. */
#define PROMPT "(qemu) "

struct mon_readline {
	struct char_front front;
	struct mon_out out;
	struct mon *mon;
	struct hmp hmp;
	struct edit edit;
	bool up, focus, greeted;
	struct mon_readline *next;
};

/* A terminal in raw mode wants both. */
static void say(struct mon_readline *r, const char *text, size_t len)
{
	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;

		mon_out_put(&r->out, text, n);
		if (end)
			mon_out_put(&r->out, "\r\n", 2);
		n += end != NULL;
		text += n;
		len -= n;
	}
}

static void edit_say(struct edit *ed, const char *text, size_t len)
{
	struct mon_readline *r = container_of(ed, struct mon_readline, edit);

	mon_out_put(&r->out, text, len);
}

static void edit_line(struct edit *ed, const char *line)
{
	struct mon_readline *r = container_of(ed, struct mon_readline, edit);

	hmp_run_line(&r->hmp, line);
	if (r->hmp.out_len)
		say(r, r->hmp.out, r->hmp.out_len);
	hmp_fini(&r->hmp);
}

static void edit_complete(struct edit *ed, const char *text)
{
	struct mon_readline *r = container_of(ed, struct mon_readline, edit);

	hmp_complete(r->mon, text, edit_candidate, ed);
}

static void show(struct mon_readline *r)
{
	static const char hello[] = MON_PACKAGE " monitor - type 'help' for more information\n";

	if (!r->up || !r->focus)
		return;
	if (!r->greeted)
		say(r, hello, strlen(hello));
	else
		say(r, "\n", 1);
	r->greeted = true;
	edit_prompt(&r->edit);
}

static struct mon_readline *of_front(struct char_front *front)
{
	return container_of(front, struct mon_readline, front);
}

static size_t readline_room(struct char_front *front)
{
	return of_front(front)->out.len >= MON_MAX_OUT ? 0 : 4096;
}

static void readline_receive(struct char_front *front, const uint8_t *data, size_t len)
{
	edit_keys(&of_front(front)->edit, data, len);
}

static void readline_writable(struct char_front *front)
{
	struct mon_readline *r = of_front(front);

	mon_out_flush(&r->out);
	char_accept_input(r->out.end);
}

static void readline_connected(struct char_front *front, bool up)
{
	struct mon_readline *r = of_front(front);

	r->up = up;
	r->greeted = false;
	edit_reset(&r->edit);
	mon_out_drop(&r->out);
	show(r);
}

static void readline_focused(struct char_front *front, bool has)
{
	struct mon_readline *r = of_front(front);

	r->focus = has;
	if (has)
		show(r);
}

int mon_readline_open(struct mon *m, struct char_end *end, struct err *e)
{
	struct mon_readline *r = xnew(struct mon_readline);
	int ret;

	r->front = (struct char_front){ .room = readline_room,
					.receive = readline_receive,
					.writable = readline_writable,
					.connected = readline_connected,
					.focused = readline_focused };
	r->mon = m;
	r->out.end = end;
	r->hmp = (struct hmp){ .mon = m, .vm = m->vm, .session = r };
	r->edit = (struct edit){
		.prompt = PROMPT, .say = edit_say, .line = edit_line, .complete = edit_complete
	};
	r->up = char_is_up(end);
	ret = char_attach(end, &r->front, e);
	if (ret < 0) {
		free(r);
		return ret;
	}
	r->next = m->readlines;
	m->readlines = r;
	return 0;
}

void mon_readline_free_all(struct mon *m)
{
	while (m->readlines) {
		struct mon_readline *r = m->readlines;

		m->readlines = r->next;
		if (r->focus && r->greeted)
			mon_out_put(&r->out, "\r\n", 2);
		mon_out_flush(&r->out);
		char_detach(r->out.end, &r->front);
		mon_out_drop(&r->out);
		hmp_fini(&r->hmp);
		edit_fini(&r->edit);
		free(r);
	}
}
