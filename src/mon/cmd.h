/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands of the monitors are written with: src/mon/cmd_*.c and src/mon/hmp_*.c.
 *
 * A QMP handler gets arguments that the schema's tables have checked, and returns its reply (a new
 * reference) or NULL with e set; one without a reply returns 0 or a negative errno with e set. The
 * error's class is e->cls. It runs on the control thread with the guest running, and must not
 * wait for the guest, a disk or the network: for that it says mon_defer() and finishes later.
 */
#ifndef MON_CMD_H
#define MON_CMD_H

#include "base/base.h"
#include "core/vm.h"
#include "migr/migr.h"
#include "mon/mon.h"
#include "mon/qmp_gen.h"
#include <jansson.h>

struct mon_qmp;
struct mon_later;
struct sent_fds;

/* A command under way. */
struct mon_cmd {
	struct mon *mon;
	struct vm *vm;
	const struct qmp_command *what;
	/* the rest is the monitor's */
	struct mon_qmp *session; /* NULL: for a person */
	json_t *id;
	struct sent_fds *fds; /* that came with it; NULL: none */
	struct mon_later *later;
};

/*
 * The reply comes later: the handler returns NULL or 0 after this, and mon_finish() is called once,
 * on the control thread, also when the client is gone by then. In the meantime the client's
 * further commands wait, but for those out of band.
 */
struct mon_later *mon_defer(struct mon_cmd *);
/* ret (taken; NULL = {}) is the reply, or with e->code set the error is. */
void mon_finish(struct mon_later *, json_t *ret, const struct err *e);

/* Sends an event of the schema to every client. data is taken; NULL: none. */
void mon_event(struct mon *, const char *name, json_t *data);

struct hmp;
/*
 * Executes a QMP command for a person. args is borrowed, NULL = none. Returns the reply, a new
 * reference, or NULL with e set. What finishes later returns {}, and the person waits.
 */
json_t *mon_run(struct hmp *, const char *name, json_t *args, struct err *e);
/*
 * Makes the person who typed wait for mon_finish(); NULL when nobody does, as h is a line of
 * human-monitor-command.
 */
struct mon_later *hmp_defer(struct hmp *h);

/* Executes a line of HMP and returns what it says; the caller frees. cpu: of whom "info" tells. */
char *mon_run_hmp(struct mon *, const char *line, unsigned cpu);

/*
 * A JSON string of a text that may hold any bytes (a guest's, a file's name): those that are no
 * UTF-8 become '?'. json_pack() with "s" fails on them. NULL is "".
 */
json_t *mon_text(const char *text);

/*
 * The descriptor that was sent along with this command, the caller's from now on; -ENOENT with e
 * set when there is none.
 */
int mon_take_sent_fd(struct mon_cmd *, struct err *e);
/* The one that getfd put under name, the caller's from now on (QEMU's "fd:name"). */
int mon_take_named_fd(struct mon *, const char *name, struct err *e);
/* The names of getfd as migr's jobs take them; for the call that begins one. */
struct mon_migr_fds {
	struct migr_fds fds;
	struct mon *mon;
};
struct mon_migr_fds mon_migr_fds(struct mon *);

/* ---- for HMP handlers ---- */

struct hmp {
	struct mon *mon;
	struct vm *vm;
	unsigned cpu;		  /* the current one, of the "cpu" command */
	struct hmp_format format; /* the last one of "x", "xp" and "print" */
	/* the monitor's */
	char *out;
	size_t out_len, out_cap;
	struct mon_readline *session; /* NULL: for human-monitor-command */
};

void hmp_printf(struct hmp *, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "Error: text", as QEMU says it. */
void hmp_error(struct hmp *, const struct err *e);
/* Runs a QMP command (args taken, NULL = none); says what went wrong. NULL then. */
json_t *hmp_qmp(struct hmp *, const char *name, json_t *args);

/* cmd_perf.c: the engine's statistics that are not zero. */
void hmp_print_stats(struct hmp *);

#endif
