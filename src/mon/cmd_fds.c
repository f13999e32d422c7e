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

int qmp_getfd(struct mon_cmd *c, const struct qmp_getfd_args *a, struct err *e)
{
	int fd = mon_take_sent_fd(c, e);
	struct mon_fd **p, *f;
	unsigned n = 0;

	if (fd < 0)
		return fd;
	for (f = c->mon->fds; f; f = f->next)
		n++;
	if (!a->fdname[0] || isdigit((unsigned char)a->fdname[0]) || n >= MAX_NAMED_FDS) {
		close(fd);
		return n >= MAX_NAMED_FDS
			       ? err_set(e, EMFILE, "%u descriptors are kept already; closefd some",
					 MAX_NAMED_FDS)
			       : err_set(e, EINVAL,
					 "Parameter 'fdname' expects a name not starting with a "
					 "digit");
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
	if (a->has_fdset_id && a->fdset_id < 0) {
		close(fd);
		err_set(e, EINVAL, "Parameter 'fdset-id' expects a non-negative value");
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
