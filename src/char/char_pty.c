/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pseudo-terminal as a character end; its name is printed so that somebody can open it.
 *
 * The kernel says "hang-up" on our side while nobody has the other side open, so the end is down
 * then and looks again from time to time. Loop's thread. State: none.
 */
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "char/char_int.h"
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

/* #syscalls control: ioctl(TIOCGPTN) ioctl(TIOCSPTLCK) */

#define LOOK_NS (100 * NS_PER_MS)

struct pty_kind {
	struct char_end *c;
	int master;
	char *name; /* of the other side */
	struct loop_timer look;
};

static bool somebody_there(int master)
{
	struct pollfd p = { .fd = master, .events = POLLIN | POLLOUT };

	return poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
}

static void try_up(struct pty_kind *k)
{
	int in, out;

	if (k->c->up)
		return;
	if (!somebody_there(k->master)) {
		loop_arm(k->c->loop, &k->look, clock_now_ns() + LOOK_NS);
		return;
	}
	in = fcntl(k->master, F_DUPFD_CLOEXEC, 3);
	out = fcntl(k->master, F_DUPFD_CLOEXEC, 3);
	char_up_take(k->c, in, out);
}

static void look(struct loop_timer *t)
{
	try_up(container_of(t, struct pty_kind, look));
}

static void pty_lost(struct char_end *c)
{
	struct pty_kind *k = c->kind;

	char_down(c);
	loop_arm(c->loop, &k->look, clock_now_ns() + LOOK_NS);
}

static int pty_open(struct char_end *c, struct conf_node *node, struct err *e)
{
	struct pty_kind *k = xnew(struct pty_kind);
	char name[128];
	struct termios t;
	int slave;

	c->kind = k;
	k->c = c;
	k->master = -1;
	k->look.fn = look;
	if (openpty(&k->master, &slave, name, NULL, NULL) < 0)
		return err_set_errno(e, errno, "%s: no pseudo-terminal", node->where);
	if (tcgetattr(slave, &t) == 0) {
		cfmakeraw(&t);
		tcsetattr(slave, TCSAFLUSH, &t);
	}
	close(slave);
	k->name = xstrdup(name);
	fcntl(k->master, F_SETFD, FD_CLOEXEC);
	fcntl(k->master, F_SETFL, O_RDWR | O_NONBLOCK);
	/* The words that management tools look for. */
	fprintf(stderr, "char device redirected to %s (label %s)\n", name, c->id);
	try_up(k);
	return 0;
}

static void pty_close(struct char_end *c)
{
	struct pty_kind *k = c->kind;

	if (!k)
		return;
	loop_disarm(c->loop, &k->look);
	close_fd_(&k->master);
	free(k->name);
	free(take_ptr(c->kind));
}

static char *pty_describe(const struct char_end *c)
{
	const struct pty_kind *k = c->kind;

	return xasprintf("pty:%s", k->name);
}

static const char *const pty_keys[] = { NULL };

const struct char_type char_pty = {
	.name = "pty",
	.keys = pty_keys,
	.open = pty_open,
	.close = pty_close,
	.lost = pty_lost,
	.describe = pty_describe,
};
