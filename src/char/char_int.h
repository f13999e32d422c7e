/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a character end: the byte engine on file descriptors (char.c) that the kinds share.
 *
 * A kind opens descriptors and calls char_up(); the engine moves bytes and calls type->lost when
 * the other side is gone. Reading and writing descriptor are different ones (dup), so that each
 * has its own place in the loop.
 */
#ifndef CHAR_CHAR_INT_H
#define CHAR_CHAR_INT_H

#include "base/base.h"
#include "char/char.h"
#include <pthread.h>

#define CHAR_OUT_SIZE 65536u /* power of two */

struct char_type {
	const char *name;
	const char *const *keys; /* options, NULL-terminated */
	int (*open)(struct char_end *, struct conf_node *, struct err *e);
	void (*close)(struct char_end *); /* optional; half-open is fine */
	void (*lost)(struct char_end *);  /* end of input or an error; optional */
	bool (*size)(const struct char_end *, unsigned *cols, unsigned *rows); /* optional */
	char *(*describe)(const struct char_end *); /* optional: the name says it all */
	bool keys_always; /* Ctrl-A has its meaning also when the end is not muxed */
};

struct char_end {
	const struct char_type *type;
	struct loop *loop;
	char *id;
	struct char_front *front; /* that has the focus, or NULL */
	struct char_front *fronts[CHAR_FRONTS];
	unsigned nr_fronts;
	bool mux;
	struct char_escape *escape;
	bool after_escape;	     /* the escape key came, the next byte says what for */
	bool up;		     /* bytes go somewhere */
	bool sink;		     /* output vanishes: null */
	bool sync_in;		     /* a regular file: epoll does not know it */
	bool takes_fds;		     /* a unix socket, which may carry descriptors */
	bool left;		     /* the other side is gone, but not all of its bytes are read */
	struct loop_fd in, out;	     /* fd -1 = none */
	struct loop_work work;	     /* flush and look at the front again, from any thread */
	void *kind;		     /* the kind's own data */
	int log_fd;		     /* -1 = none; guarded by lock */
	struct loop_timer log_again; /* the log took no more */
	/* the output ring */
	pthread_mutex_t lock;
	uint8_t *ring;
	size_t head, len; /* first byte, bytes */
	bool starved;	  /* a front was refused room */
	bool taking;	  /* up, as writers see it */
};

/* The descriptors (taken; -1 = none) carry bytes from now on. Loop's thread, or before it runs. */
void char_up_take(struct char_end *, int in_fd, int out_fd);
/* Nobody is there any more: descriptors are closed, output that waits is dropped. */
void char_down(struct char_end *);
/* Whole path of a message to the person at the terminal, not to the guest. */
void char_say(struct char_end *, const char *text);

/* Tells every front (char.c). */
void char_tell_resized(struct char_end *, unsigned cols, unsigned rows);
/* keys.c: acts on what follows the escape key; returns how much of data is for the front. */
size_t char_keys_filter(struct char_end *, uint8_t *data, size_t len);
/* Gives the focus to the next front of a muxed end. */
void char_next_focus(struct char_end *);
/* char_log.c: logfile= and logappend=. */
int char_log_open(struct char_end *, struct conf_node *, struct err *e);
void char_log_close(struct char_end *);
/* How many of len bytes the log took now (all, when there is none). c->lock held. */
size_t char_log_some(struct char_end *, const uint8_t *data, size_t len);

extern const struct char_type char_null, char_file, char_stdio, char_socket, char_pty;

#endif
