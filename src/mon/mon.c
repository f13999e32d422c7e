/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitors of a VM (mon.h): opening and closing them, and output to clients that may be slow.
 * Control thread. State: none; a conversation does not move with a saved machine.
 */
#include "base/base.h"
#include "core/backend.h"
#include "mon/mon_int.h"
#include <unistd.h>

struct mon *mon_new(struct vm *vm)
{
	struct mon *m = xnew(struct mon);

	m->vm = vm;
	m->observer.fn = mon_hear;
	vm_observe(vm, &m->observer);
	return m;
}

int mon_open(struct mon *m, struct conf_node *node, struct err *e)
{
	static const char *const keys[] = { "chardev", "mode", "pretty", NULL };
	const char *id = conf_get(node, "chardev"), *mode = conf_get(node, "mode");
	struct char_end *end = id ? backend_find(m->vm, BACKEND_CHAR, id) : NULL;
	bool pretty = false, control = mode && !strcmp(mode, "control");

	if (!end)
		return err_set(e, ENOENT, "%s: there is no chardev '%s'", node->where, id ?: "");
	if (conf_get_bool(node, "pretty", &pretty, e) < 0 || conf_check_unused(node, keys, e) < 0)
		return -EINVAL;
	if (mode && !control && strcmp(mode, "readline") != 0)
		return err_set(e, EINVAL, "%s: mode=%s: a monitor is 'control' (QMP) or 'readline'",
			       node->where, mode);
	return control ? mon_qmp_open(m, end, pretty, e) : mon_readline_open(m, end, e);
}

struct mon *mon_free(struct mon *m)
{
	if (!m)
		return NULL;
	vm_unobserve(m->vm, &m->observer);
	mon_event_fini(m);
	mon_qmp_free_all(m);
	mon_readline_free_all(m);
	if (m->saver)
		mon_finish(m->saver, NULL, NULL);
	while (m->fds) {
		struct mon_fd *f = m->fds;

		m->fds = f->next;
		close(f->fd);
		free(f->name);
		free(f);
	}
	free(m);
	return NULL;
}

/* ---- output ---- */

void mon_out_put(struct mon_out *o, const char *text, size_t len)
{
	if (!len)
		return;
	if (o->len + len > o->cap) {
		o->cap = MAX(o->len + len, 2 * o->cap);
		o->buf = xrealloc(o->buf, o->cap, 1);
	}
	memcpy(o->buf + o->len, text, len);
	o->len += len;
	mon_out_flush(o);
}

void mon_out_flush(struct mon_out *o)
{
	size_t done = 0, n;

	if (!o->len)
		return;
	while (done < o->len && (n = char_write(o->end, o->buf + done, o->len - done)) > 0)
		done += n;
	memmove(o->buf, o->buf + done, o->len - done);
	o->len -= done;
	if (!o->len)
		mon_out_drop(o);
}

void mon_out_drop(struct mon_out *o)
{
	free(take_ptr(o->buf));
	o->len = o->cap = 0;
}
