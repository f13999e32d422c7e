/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Character ends: byte streams between a device (UART, console, debug port) and the host (stdio,
 * file, null, socket, pty). A device is the front of one end.
 *
 * Host input is read only while the front says it has room, so nothing is dropped. Output never
 * blocks the guest for long: what the host does not take at once is kept in a bounded ring; when
 * that is full char_write() takes less, and calls front->writable when there is room again.
 */
#ifndef CHAR_CHAR_H
#define CHAR_CHAR_H

#include "base/base.h"
#include "core/conf.h"
#include "loop/loop.h"

struct char_end;

/* Calls into the device, on the loop's thread. */
struct char_front {
	size_t (*room)(struct char_front *); /* how many bytes receive() will take now */
	void (*receive)(struct char_front *, const uint8_t *data, size_t len); /* len <= room */
	void (*writable)(struct char_front *);				       /* optional */
	void (*connected)(struct char_front *, bool up); /* optional; sockets, ptys */
	void (*brk)(struct char_front *);		 /* optional: a break */
	void (*resized)(struct char_front *, unsigned cols, unsigned rows); /* optional */
	void (*focused)(struct char_front *, bool has); /* optional; on a muxed end: input comes */
	/*
	 * Optional: descriptors (the front's now, close-on-exec) that came over a unix socket with
	 * the len bytes that receive() gets next. Without it they are closed.
	 */
	void (*fds)(struct char_front *, const int *fds, size_t n, size_t len);
	bool (*in_use)(struct char_front *); /* optional: the guest has it open; absent: always */
};

/*
 * Opens the end of node (CONF_CHARDEV: stdio, file, null, socket, pty). NULL with e on failure.
 * Keys of every kind: mux=on (several fronts share the end; input goes to the one in focus),
 * logfile=PATH and logappend=on (what the fronts write is kept there as well).
 */
struct char_end *char_open(struct loop *, struct conf_node *node, struct err *e);
struct char_end *char_close(struct char_end *); /* flushes what it can; restores the terminal */
const char *char_id(const struct char_end *);
/* Somebody is at the other side (sockets, ptys; always true for the others). Loop's thread. */
bool char_is_up(const struct char_end *);

/* Columns and rows of the terminal behind the end; false when there is none. */
bool char_size(const struct char_end *, unsigned *cols, unsigned *rows);

/*
 * One front an end, CHAR_FRONTS on a muxed one, where the first has the focus. -EBUSY when taken.
 * Loop's thread, like char_detach().
 */
#define CHAR_FRONTS 4u
int char_attach(struct char_end *, struct char_front *, struct err *e) MUST_CHECK;
void char_detach(struct char_end *, struct char_front *); /* also of one that is not attached */
bool char_is_mux(const struct char_end *);
bool char_has_front(const struct char_end *);
/* Somebody uses the end from inside: a front that is open. Loop's thread. */
bool char_front_open(const struct char_end *);
/* What char_open() takes as a type: kind i, NULL behind the last. */
const char *char_kind(unsigned i);
/*
 * Where the end leads, as query-chardev says it: "pty:/dev/pts/3", "unix:/run/x,server=on",
 * with "disconnected:" in front while nobody is there. The caller's to free. Loop's thread.
 */
char *char_describe(const struct char_end *);
/*
 * Any thread. Returns how many bytes were taken; the rest is offered again when front->writable
 * was called. While nobody is at the other side of a socket or pty, output is taken and dropped.
 */
size_t char_write(struct char_end *, const void *data, size_t len);
/* The front has room again: read on. Any thread. */
void char_accept_input(struct char_end *);

/*
 * The keys behind Ctrl-A on a stdio or muxed end: x quits, h helps, b sends a break, c gives the
 * next front the focus, Ctrl-A itself. Without an escape set, and on other ends, Ctrl-A is a byte
 * like others. Set before input arrives.
 */
struct char_escape {
	void (*quit)(struct char_escape *); /* Ctrl-A x */
	uint8_t key;			    /* instead of Ctrl-A; 0 = Ctrl-A */
};
void char_set_escape(struct char_end *, struct char_escape *);

/*
 * Puts the terminal back as it was before a stdio end opened it. Async-signal-safe, any thread,
 * any number of times: for exit paths and signal handlers that do not get to char_close().
 */
void char_restore_terminal(void);

/*
 * From now on a signal that ends the process by default puts the terminal back first. To be called
 * before an engine installs handlers, which pass on what is not theirs. Handlers that are there
 * already stay.
 */
void char_guard_terminal(void);

#endif
