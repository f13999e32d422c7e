/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A QMP conversation: greeting, negotiation, requests in order or out of band, replies, events.
 * After QEMU's docs/interop/qmp-spec; texts of errors are QEMU's where clients may know them.
 *
 * Requests wait in a short queue while one is under way that finishes later, or while the client
 * does not read its replies; when the queue is full nothing more is read. Control thread.
 */
#include "base/base.h"
#include "base/log.h"
#include "base/trace.h"
#include "mon/mon_int.h"
#include <unistd.h>

/* A descriptor that came with the bytes before stream offset end. */
struct sent_fd {
	int fd;
	uint64_t end;
};

struct sent_fds {
	struct sent_fd v[MON_MAX_FDS];
	unsigned n;
};

struct request {
	json_t *json; /* NULL: a bad text, and why */
	struct err why;
	struct sent_fds fds;
	struct request *next;
};

struct mon_qmp {
	struct char_front front;
	struct mon_out out;
	struct mon *mon;
	struct frame frame;
	struct request *queue, **queue_tail;
	unsigned nr_queue;
	struct mon_later *pending; /* in band */
	bool up, negotiated, oob, pretty;
	bool busy; /* inside the queue's loop */
	uint64_t events_lost;
	struct sent_fds fds; /* of no request yet */
	uint64_t received;   /* stream offset of what comes next */
	struct mon_qmp *next;
};

struct mon_later {
	struct mon *mon;
	struct mon_qmp *session;	/* NULL: the client is gone, or is a person */
	struct mon_readline *reader;	/* a person who waits, or NULL */
	const struct qmp_command *what; /* NULL: a line that is no command of QMP's */
	json_t *id;
	struct mon_later *next; /* mon->laters */
};

/* ---- sending ---- */

static void send_json(struct mon_qmp *q, json_t *json)
{
	char *text = json_dumps(json, q->pretty ? JSON_INDENT(4) : 0);

	if (!text) {
		log_error("monitor: a reply cannot be written as JSON");
		return;
	}
	trace_monitor_qmp_respond(char_id(q->out.end), text);
	mon_out_put(&q->out, text, strlen(text));
	mon_out_put(&q->out, "\r\n", 2);
	free(text);
}

static const char *class_name(enum err_class cls)
{
	switch (cls) {
	case ERR_COMMAND_NOT_FOUND:
		return "CommandNotFound";
	case ERR_DEVICE_NOT_ACTIVE:
		return "DeviceNotActive";
	case ERR_DEVICE_NOT_FOUND:
		return "DeviceNotFound";
	case ERR_KVM_MISSING_CAP:
		return "KVMMissingCap";
	case ERR_GENERIC:
	default:
		return "GenericError";
	}
}

json_t *mon_text(const char *text)
{
	autofree char *safe = NULL;
	json_t *s = json_string(text ?: "");

	if (s)
		return s;
	safe = xstrdup(text);
	for (char *p = safe; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	return json_string(safe);
}

/* ret is taken. */
static void reply(struct mon_qmp *q, json_t *id, json_t *ret, const struct err *e)
{
	json_t *r = json_object();

	if (ret || !e)
		json_object_set_new(r, "return", ret ? ret : json_object());
	else
		json_object_set_new(r, "error",
				    json_pack("{s:s,s:o}", "class", class_name(e->cls), "desc",
					      mon_text(e->msg)));
	if (id)
		json_object_set(r, "id", id);
	send_json(q, r);
	json_decref(r);
}

void mon_qmp_send_event(struct mon *m, json_t *event)
{
	for (struct mon_qmp *q = m->qmps; q; q = q->next) {
		if (!q->up || !q->negotiated)
			continue;
		if (q->out.len < MON_MAX_EVENTS)
			send_json(q, event);
		else if (!q->events_lost++)
			log_warn("monitor %s: the client does not read, events are lost",
				 char_id(q->out.end));
	}
}

static void greet(struct mon_qmp *q)
{
	json_t *hello = json_pack("{s:{s:{s:{s:i,s:i,s:i},s:s},s:[s]}}", "QMP", "version", "qemu",
				  "micro", MON_QEMU_MICRO, "minor", MON_QEMU_MINOR, "major",
				  MON_QEMU_MAJOR, "package", MON_PACKAGE, "capabilities", "oob");

	send_json(q, hello);
	json_decref(hello);
}

/* ---- calling a command ---- */

/* A reply that the schema does not describe is a mistake of ours that clients may trip over. */
static void check_reply(const struct qmp_command *what, json_t *ret)
{
	struct err e = { 0 };

	if (what->gives && qmp_check(what->gives, ret, &e) < 0)
		log_error("monitor: the reply of %s is not what the schema says: %s", what->name,
			  e.msg);
}

json_t *mon_call(struct mon_cmd *c, json_t *args, struct err *e)
{
	const struct qmp_command *what = c->what;
	struct qmp_arena arena = { 0 };
	json_t *empty = json_object(), *ret = NULL;
	const void *decoded = NULL;
	const char *first;

	if (!args)
		args = empty;
	first = json_object_iter_key(json_object_iter(args));
	if (!what->takes && first)
		err_set(e, EINVAL, "Parameter '%.100s' is unexpected: %s takes none", first,
			what->name);
	else if (!what->takes || qmp_decode(what->takes, args, &arena, &decoded, e) == 0)
		ret = what->call(c, decoded, e);
	if (ret && !c->later)
		check_reply(what, ret);
	qmp_arena_fini(&arena);
	json_decref(empty);
	return ret;
}

static void let_wait(struct mon_later *l, struct hmp *h)
{
	l->reader = h->session;
	if (l->reader)
		mon_readline_wait(l->reader);
}

json_t *mon_run(struct hmp *h, const char *name, json_t *args, struct err *e)
{
	struct mon_cmd c = { .mon = h->mon, .vm = h->vm, .what = qmp_command_find(name) };
	json_t *ret;

	if (!c.what) {
		err_set(e, ENOENT, "there is no command '%s'", name);
		return NULL;
	}
	ret = mon_call(&c, args, e);
	if (!c.later)
		return ret;
	let_wait(c.later, h);
	json_decref(ret);
	return json_object();
}

struct mon_later *hmp_defer(struct hmp *h)
{
	struct mon_cmd c = { .mon = h->mon, .vm = h->vm };

	if (!h->session)
		return NULL;
	let_wait(mon_defer(&c), h);
	return c.later;
}

void mon_forget_reader(struct mon *m, const struct mon_readline *r)
{
	for (struct mon_later *l = m->laters; l; l = l->next)
		if (l->reader == r)
			l->reader = NULL;
}

struct mon_later *mon_defer(struct mon_cmd *c)
{
	struct mon_later *l = xnew(struct mon_later);

	l->mon = c->mon;
	l->session = c->session;
	l->what = c->what;
	l->id = json_incref(c->id);
	l->next = c->mon->laters;
	c->mon->laters = l;
	c->later = l;
	return l;
}

static void run_queue(struct mon_qmp *q);

void mon_finish(struct mon_later *l, json_t *ret, const struct err *e)
{
	struct mon_qmp *q = l->session;

	for (struct mon_later **p = l->mon ? &l->mon->laters : NULL; p && *p; p = &(*p)->next) {
		if (*p == l) {
			*p = l->next;
			break;
		}
	}
	if (e && e->code) {
		json_decref(ret);
		ret = NULL;
	} else if (!ret) {
		ret = json_object();
	}
	if (ret && l->what)
		check_reply(l->what, ret);
	if (l->reader)
		mon_readline_finish(l->reader, e);
	if (q)
		reply(q, l->id, ret, e);
	else
		json_decref(ret);
	json_decref(l->id);
	if (q && q->pending == l) {
		q->pending = NULL;
		run_queue(q);
		char_accept_input(q->out.end);
	}
	free(l);
}

/* ---- requests ---- */

static int not_found(const char *name, struct err *e)
{
	const char *near = qmp_command_near(name);

	err_set(e, ENOENT, "The command %.100s has not been found%s%s%s", name,
		near ? " (did you mean '" : "", near ?: "", near ? "'?)" : "");
	e->cls = ERR_COMMAND_NOT_FOUND;
	return -ENOENT;
}

/* Shape of a request; *name and *args are borrowed. */
static int check_request(struct mon_qmp *q, json_t *json, const char **name, json_t **args,
			 bool *oob, struct err *e)
{
	json_t *exec = json_object_get(json, "execute"), *val;
	const char *key;

	json_object_foreach(json, key, val)
	{
		if (strcmp(key, "execute") != 0 && strcmp(key, "arguments") != 0 &&
		    strcmp(key, "id") != 0 && (strcmp(key, "exec-oob") != 0 || !q->oob))
			return err_set(e, EINVAL, "QMP input member '%.100s' is unexpected", key);
	}
	*oob = !exec;
	if (!exec)
		exec = json_object_get(json, "exec-oob");
	else if (json_object_get(json, "exec-oob"))
		return err_set(e, EINVAL, "QMP input member 'execute' clashes with 'exec-oob'");
	if (!exec)
		return err_set(e, EINVAL, "QMP input lacks member 'execute'");
	*name = json_string_value(exec);
	if (!*name)
		return err_set(e, EINVAL, "QMP input member '%s' must be a string",
			       *oob ? "exec-oob" : "execute");
	*args = json_object_get(json, "arguments");
	if (*args && !json_is_object(*args))
		return err_set(e, EINVAL, "QMP input member 'arguments' must be an object");
	return 0;
}

static int find_command(struct mon_qmp *q, const char *name, bool oob,
			const struct qmp_command **what, struct err *e)
{
	if (!name) /* never: check_request() has said so */
		return -EINVAL;
	*what = qmp_command_find(name);
	if (!q->negotiated && strcmp(name, "qmp_capabilities") != 0) {
		err_set(e, EINVAL, "Expecting capabilities negotiation with 'qmp_capabilities'");
		e->cls = ERR_COMMAND_NOT_FOUND;
		return -EINVAL;
	}
	if (!*what)
		return not_found(name, e);
	if (oob && !(*what)->oob)
		return err_set(e, EINVAL, "The command %s does not support OOB", name);
	return 0;
}

int mon_qmp_negotiate(struct mon_qmp *q, bool oob, struct err *e)
{
	if (!q || q->negotiated) {
		err_set(e, EINVAL, "Capabilities negotiation is already complete, command ignored");
		e->cls = ERR_COMMAND_NOT_FOUND;
		return -EINVAL;
	}
	q->negotiated = true;
	q->oob = oob;
	return 0;
}

static bool is_oob(const struct mon_qmp *q, json_t *json)
{
	return q->oob && json_is_object(json) && json_object_get(json, "exec-oob") &&
	       !json_object_get(json, "execute");
}

static void close_fds(struct sent_fds *fds)
{
	while (fds->n)
		close(fds->v[--fds->n].fd);
}

static void execute(struct mon_qmp *q, struct request *r)
{
	struct mon_cmd c = { .mon = q->mon, .vm = q->mon->vm, .session = q, .fds = &r->fds };
	struct err e = r->why;
	json_t *args = NULL, *ret = NULL;
	const char *name = NULL;
	bool oob = false;

	if (r->json && !json_is_object(r->json))
		err_set(&e, EINVAL, "QMP input must be a JSON object");
	c.id = json_object_get(r->json, "id");
	if (!e.code && check_request(q, r->json, &name, &args, &oob, &e) == 0 &&
	    find_command(q, name, oob, &c.what, &e) == 0)
		ret = mon_call(&c, args, &e);
	if (c.later) {
		json_decref(ret);
		if (!oob)
			q->pending = c.later;
		return;
	}
	if (!ret && !e.code)
		err_set(&e, EIO, "the command failed");
	reply(q, c.id, ret, &e);
}

static void free_request(struct request *r)
{
	close_fds(&r->fds); /* nobody wanted them */
	json_decref(r->json);
	free(r);
}

static struct request *dequeue(struct mon_qmp *q)
{
	struct request *r = q->queue;

	q->queue = r->next;
	if (!q->queue)
		q->queue_tail = &q->queue;
	q->nr_queue--;
	return r;
}

/* A command's effects may come back here; the outer loop goes on then. */
static void run_queue(struct mon_qmp *q)
{
	if (q->busy)
		return;
	q->busy = true;
	while (q->queue && !q->pending && q->out.len < MON_MAX_OUT) {
		struct request *r = dequeue(q);

		execute(q, r);
		free_request(r);
	}
	q->busy = false;
}

/*
 * The kernel says with which piece of the stream descriptors came, and ends the piece behind the
 * write(2) that carried them, or inside of it. So they are the request's that has the piece's last
 * byte: what was written before is no part of the request, only blanks may be behind it. They may
 * also ride on blanks in front, as QEMU's own tools have it.
 */
static void give_fds(struct mon_qmp *q, struct request *r)
{
	bool last = frame_is_blank(&q->frame);
	unsigned kept = 0;

	for (unsigned i = 0; i < q->fds.n; i++) {
		if (last || q->fds.v[i].end <= q->frame.base)
			r->fds.v[r->fds.n++] = q->fds.v[i];
		else
			q->fds.v[kept++] = q->fds.v[i];
	}
	q->fds.n = kept;
}

static void trace_request(const struct mon_qmp *q, const json_t *json)
{
	autofree char *text = json ? json_dumps(json, JSON_ENCODE_ANY) : NULL;

	trace_handle_qmp_command(char_id(q->out.end), text ?: "(not JSON)");
}

static void take_request(struct mon_qmp *q, json_t *json, const struct err *why)
{
	struct request *r = xnew(struct request);

	if (trace_is_on(TRACE_ID_handle_qmp_command))
		trace_request(q, json);
	r->json = json;
	r->why = *why;
	give_fds(q, r);
	if (is_oob(q, json)) {
		execute(q, r);
		free_request(r);
		return;
	}
	*q->queue_tail = r;
	q->queue_tail = &r->next;
	q->nr_queue++;
	run_queue(q);
}

/* ---- the front of a chardev ---- */

static struct mon_qmp *of_front(struct char_front *front)
{
	return container_of(front, struct mon_qmp, front);
}

static size_t qmp_room(struct char_front *front)
{
	struct mon_qmp *q = of_front(front);

	return q->nr_queue >= MON_MAX_QUEUE || q->out.len >= MON_MAX_OUT ? 0 : 4096;
}

static void qmp_receive(struct char_front *front, const uint8_t *data, size_t len)
{
	struct mon_qmp *q = of_front(front);
	int ret;

	q->received += len;
	frame_put(&q->frame, data, len);
	do {
		struct err e = { 0 };
		uint64_t start, end;
		json_t *json = NULL;

		ret = frame_next(&q->frame, &json, &start, &end, &e);
		if (ret)
			take_request(q, json, &e);
	} while (ret);
}

static void qmp_fds(struct char_front *front, const int *fds, size_t n, size_t len)
{
	struct mon_qmp *q = of_front(front);

	for (size_t i = 0; i < n; i++) {
		if (q->fds.n == MON_MAX_FDS)
			close(fds[i]);
		else
			q->fds.v[q->fds.n++] = (struct sent_fd){ fds[i], q->received + len };
	}
}

int mon_take_sent_fd(struct mon_cmd *c, struct err *e)
{
	struct sent_fds *fds = c->fds;
	int fd;

	if (!fds || !fds->n)
		return err_set(e, ENOENT, "No file descriptor supplied via SCM_RIGHTS");
	fd = fds->v[0].fd;
	memmove(&fds->v[0], &fds->v[1], --fds->n * sizeof(fds->v[0]));
	return fd;
}

static void qmp_writable(struct char_front *front)
{
	struct mon_qmp *q = of_front(front);

	mon_out_flush(&q->out);
	run_queue(q);
	char_accept_input(q->out.end);
}

static void hang_up(struct mon_qmp *q)
{
	for (struct mon_later *l = q->mon->laters; l; l = l->next) {
		if (l->session == q)
			l->session = NULL;
	}
	q->pending = NULL;
	while (q->queue)
		free_request(dequeue(q));
	frame_fini(&q->frame);
	mon_out_drop(&q->out);
	close_fds(&q->fds);
	q->received = 0;
	q->negotiated = q->oob = false;
	q->events_lost = 0;
	q->up = false;
}

static void qmp_connected(struct char_front *front, bool up)
{
	struct mon_qmp *q = of_front(front);

	hang_up(q);
	q->up = up;
	if (up)
		greet(q);
}

int mon_qmp_open(struct mon *m, struct char_end *end, bool pretty, struct err *e)
{
	struct mon_qmp *q = xnew(struct mon_qmp);
	int ret;

	q->front = (struct char_front){ .room = qmp_room,
					.receive = qmp_receive,
					.fds = qmp_fds,
					.writable = qmp_writable,
					.connected = qmp_connected };
	q->mon = m;
	q->pretty = pretty;
	q->out.end = end;
	q->queue_tail = &q->queue;
	frame_init(&q->frame);
	ret = char_attach(end, &q->front, e);
	if (ret < 0) {
		free(q);
		return ret;
	}
	q->next = m->qmps;
	m->qmps = q;
	if (char_is_up(end))
		qmp_connected(&q->front, true);
	return 0;
}

void mon_qmp_free_all(struct mon *m)
{
	while (m->qmps) {
		struct mon_qmp *q = m->qmps;

		m->qmps = q->next;
		mon_out_flush(&q->out);
		char_detach(q->out.end, &q->front);
		hang_up(q);
		free(q);
	}
	/* Whoever holds one finishes it all the same. */
	for (struct mon_later *l = m->laters; l; l = l->next)
		l->mon = NULL;
}
