/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the monitors (mon.h); src/mon/ only. */
#ifndef MON_MON_INT_H
#define MON_MON_INT_H

#include "char/char.h"
#include "core/event.h"
#include "mon/cmd.h"
#include "mon/frame.h"
#include "mon/mon.h"

#define MON_PACKAGE "hanok " HANOK_VERSION

#define MON_MAX_QUEUE  8u	    /* requests of a client that wait */
#define MON_MAX_OUT    (256u << 10) /* replies beyond this wait until the client reads */
#define MON_MAX_EVENTS (4u << 20)   /* events beyond this are dropped */
#define MON_MAX_FDS    16u	    /* sent along and not taken yet */

/* getfd */
struct mon_fd {
	char *name;
	int fd;
	struct mon_fd *next;
};

struct mon {
	struct vm *vm;
	struct vm_observer observer;
	struct mon_qmp *qmps;
	struct mon_readline *readlines;
	struct mon_fd *fds;
	struct mon_limit *limits; /* event.c */
	struct mon_later *laters; /* under way */
	struct mon_later *saver;  /* of a person who waits for the end of "migrate" */
};

/* Text on its way to a client that may be slow. */
struct mon_out {
	struct char_end *end;
	char *buf;
	size_t len, cap;
};
void mon_out_put(struct mon_out *, const char *text, size_t len);
/* Hands over what the end takes now. */
void mon_out_flush(struct mon_out *);
void mon_out_drop(struct mon_out *); /* and frees */

/* qmp.c */
int mon_qmp_open(struct mon *, struct char_end *, bool pretty, struct err *e);
void mon_qmp_free_all(struct mon *);
void mon_qmp_send_event(struct mon *, json_t *event);
/* Runs what with args; the common part of every way to call a command. */
json_t *mon_call(struct mon_cmd *, json_t *args, struct err *e);
int mon_qmp_negotiate(struct mon_qmp *, bool oob, struct err *e);

/* readline.c */
int mon_readline_open(struct mon *, struct char_end *, struct err *e);
void mon_readline_free_all(struct mon *);
/* The line that r has run ends when mon_readline_finish() is called; until then r takes no other. */
void mon_readline_wait(struct mon_readline *);
void mon_readline_finish(struct mon_readline *, const struct err *e);
/* qmp.c: nobody is left at r who could wait. */
void mon_forget_reader(struct mon *, const struct mon_readline *);
/* cmd_migrate.c: the status has changed. */
void mon_migration_told(struct mon *);

/* hmp.c */
void hmp_run_line(struct hmp *, const char *line);
void hmp_fini(struct hmp *);
/*
 * Completes the last word of line (len bytes): calls found for each candidate, whole words.
 */
void hmp_complete(struct mon *, const char *line, void (*found)(void *, const char *), void *arg);

/* event.c */
void mon_event_fini(struct mon *);
void mon_hear(struct vm_observer *, const struct vm_event *);

#endif
