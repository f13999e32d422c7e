/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about file descriptors that clients send: schema/fds.json. Sets are core's (fdset.h);
 * names are the monitors'. Control thread. State: none; descriptors do not move with a machine.
 */
#include "base/base.h"
#include "core/conf.h"
#include "core/fdset.h"
#include "mon/mon_int.h"
#include <ctype.h>
#include <unistd.h>

#define MAX_NAMED_FDS 256u
#define MAX_TEXT      8192u /* a path and some words; the texts are kept */

static struct mon_fd **find_named(struct mon *m, const char *name)
{
	struct mon_fd **p = &m->fds;

	while (*p && strcmp((*p)->name, name) != 0)
		p = &(*p)->next;
	return p;
}

static void unlink_named(struct mon_fd **p)
{
	struct mon_fd *f = *p;

	*p = f->next;
	free(f->name);
	free(f);
}

int mon_take_named_fd(struct mon *m, const char *name, struct err *e)
{
	struct mon_fd **p = find_named(m, name);
	int fd;

	if (!*p)
		return err_set(e, ENOENT, "File descriptor named '%.100s' not found", name);
	fd = (*p)->fd;
	unlink_named(p);
	return fd;
}

static int take_for_migr(struct migr_fds *fds, const char *name)
{
	struct err none = { 0 };

	return mon_take_named_fd(container_of(fds, struct mon_migr_fds, fds)->mon, name, &none);
}

struct mon_migr_fds mon_migr_fds(struct mon *m)
{
	return (struct mon_migr_fds){ .fds.take = take_for_migr, .mon = m };
}

static int check_text(const char *parameter, const char *text, struct err *e)
{
	if (text && strlen(text) > MAX_TEXT)
		return err_set(e, EINVAL, "Parameter '%s' has %zu bytes; up to %u are taken",
			       parameter, strlen(text), MAX_TEXT);
	return 0;
}

static int check_name(const struct mon *m, const char *name, struct err *e)
{
	unsigned n = 0;

	for (const struct mon_fd *f = m->fds; f; f = f->next)
		n++;
	if (n >= MAX_NAMED_FDS)
		return err_set(e, EMFILE, "%u descriptors are kept already; closefd some",
			       MAX_NAMED_FDS);
	if (!name[0] || isdigit((unsigned char)name[0]))
		return err_set(e, EINVAL,
			       "Parameter 'fdname' expects a name not starting with a digit");
	return check_text("fdname", name, e);
}

int qmp_getfd(struct mon_cmd *c, const struct qmp_getfd_args *a, struct err *e)
{
	int fd = mon_take_sent_fd(c, e), ret;
	struct mon_fd **p, *f;

	if (fd < 0)
		return fd;
	ret = check_name(c->mon, a->fdname, e);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	p = find_named(c->mon, a->fdname);
	if (*p) {
		close((*p)->fd);
		unlink_named(p);
	}
	f = xnew(struct mon_fd);
	f->name = xstrdup(a->fdname);
	f->fd = fd;
	f->next = c->mon->fds;
	c->mon->fds = f;
	return 0;
}

int qmp_closefd(struct mon_cmd *c, const struct qmp_closefd_args *a, struct err *e)
{
	int fd = mon_take_named_fd(c->mon, a->fdname, e);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

json_t *qmp_add_fd(struct mon_cmd *c, const struct qmp_add_fd_args *a, struct err *e)
{
	int fd = mon_take_sent_fd(c, e);
	int64_t set;

	if (fd < 0)
		return NULL;
	if (a->has_fdset_id && a->fdset_id < 0)
		err_set(e, EINVAL, "Parameter 'fdset-id' expects a non-negative value");
	else
		(void)check_text("opaque", a->opaque, e);
	if (e->code) {
		close(fd);
		return NULL;
	}
	set = fdset_add_take(c->vm->conf, a->has_fdset_id ? a->fdset_id : -1, fd, a->opaque, e);
	if (set < 0)
		return NULL;
	return json_pack("{s:I,s:i}", "fdset-id", (json_int_t)set, "fd", fd);
}

int qmp_remove_fd(struct mon_cmd *c, const struct qmp_remove_fd_args *a, struct err *e)
{
	if (a->has_fd && (a->fd < 0 || a->fd > INT32_MAX))
		return err_set(e, EINVAL, "Parameter 'fd' expects a file descriptor's number");
	return fdset_remove(c->vm->conf, a->fdset_id, a->has_fd ? (int)a->fd : -1, e);
}

json_t *qmp_query_fdsets(struct mon_cmd *c, struct err *e)
{
	json_t *sets = json_array();

	for (const struct fdset *s = c->vm->conf->fdsets; s; s = s->next) {
		json_t *fds = json_array();

		for (const struct fdset_fd *f = s->fds; f; f = f->next) {
			json_t *row = json_pack("{s:i}", "fd", f->fd);

			if (f->opaque)
				json_object_set_new(row, "opaque", mon_text(f->opaque));
			json_array_append_new(fds, row);
		}
		json_array_append_new(sets, json_pack("{s:I,s:o}", "fdset-id", (json_int_t)s->id,
						      "fds", fds));
	}
	return sets;
}
