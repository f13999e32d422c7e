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

#define AHEAD_MAX 4096u

struct mon_readline {
	struct char_front front;
	struct mon_out out;
	struct mon *mon;
	struct hmp hmp;
	struct edit edit;
	bool up, focus, greeted;
	bool running;		  /* inside a line */
	uint8_t ahead[AHEAD_MAX]; /* typed while a line goes on */
	size_t nr_ahead;
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

	r->running = true;
	hmp_run_line(&r->hmp, line);
	r->running = false;
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
	if (!r->edit.hold)
		edit_prompt(&r->edit);
}

static void take_keys(struct mon_readline *r, const uint8_t *keys, size_t len)
{
	size_t n = edit_keys(&r->edit, keys, len);

	len = MIN(len - n, AHEAD_MAX - r->nr_ahead);
	memcpy(r->ahead + r->nr_ahead, keys + n, len);
	r->nr_ahead += len;
}

void mon_readline_wait(struct mon_readline *r)
{
	r->edit.hold = true;
}

void mon_readline_finish(struct mon_readline *r, const struct err *e)
{
	uint8_t keys[AHEAD_MAX];
	size_t n = r->nr_ahead;

	if (e && e->code) {
		hmp_error(&r->hmp, e);
		say(r, r->hmp.out, r->hmp.out_len);
		hmp_fini(&r->hmp);
	}
	r->edit.hold = false;
	if (r->running) /* before the line's own end: that says the prompt */
		return;
	edit_prompt(&r->edit);
	memcpy(keys, r->ahead, n);
	r->nr_ahead = 0;
	take_keys(r, keys, n);
	char_accept_input(r->out.end);
}

static struct mon_readline *of_front(struct char_front *front)
{
	return container_of(front, struct mon_readline, front);
}

static size_t readline_room(struct char_front *front)
{
	struct mon_readline *r = of_front(front);

	return r->out.len >= MON_MAX_OUT ? 0 : AHEAD_MAX - r->nr_ahead;
}

static void readline_receive(struct char_front *front, const uint8_t *data, size_t len)
{
	take_keys(of_front(front), data, len);
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
	r->nr_ahead = 0;
	mon_forget_reader(r->mon, r);
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
		mon_forget_reader(m, r);
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
