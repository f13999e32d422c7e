/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's back ends by id: what -drive, -netdev and -chardev opened, for the devices that use
 * them. Core knows their kinds and how to close them, not their types. Control thread.
 */
#ifndef CORE_BACKEND_H
#define CORE_BACKEND_H

#include "base/base.h"

struct vm;

enum backend_kind { BACKEND_BLOCK, BACKEND_NET, BACKEND_CHAR, BACKEND_OBJECT };

struct backend {
	enum backend_kind kind;
	char *id;
	void *end; /* struct blk_node *, net_end *, char_end *, ... by kind */
	void (*close)(void *end);
	bool shared;	  /* claimed by any number of users */
	char *user;	  /* path of the device that claimed it, or NULL */
	unsigned holders; /* backend_hold() */
	char *uses;	  /* id of another one of the kind, claimed by this one; or NULL */
	struct backend *next;
};

/* Adds end under id (copied). Takes end, also on failure (a second one of the same id). */
int backend_add_take(struct vm *, enum backend_kind, const char *id, void *end,
		     void (*close)(void *end), struct err *e) MUST_CHECK;

/* The end, whoever uses it; NULL when there is none. */
void *backend_find(struct vm *, enum backend_kind, const char *id);

/*
 * The end, for user alone (a device's path, for messages). NULL with e set when there is none of
 * that id, or it is in use. The end stays the VM's: it outlives all devices.
 */
void *backend_claim(struct vm *, enum backend_kind, const char *id, const char *user,
		    struct err *e);
void backend_release(struct vm *, enum backend_kind, const char *id);

/* From now on backend_claim() gives the end to everybody: what many may use at once. */
void backend_share(struct vm *, enum backend_kind, const char *id);

/* For ends that many use at once: it is not removed before each has let go. */
void backend_hold(struct vm *, enum backend_kind, const char *id);
void backend_let_go(struct vm *, enum backend_kind, const char *id);

/* The end of id holds its claim on used: it is released when id goes. */
void backend_uses(struct vm *, enum backend_kind, const char *id, const char *used);
/* Closes an end that nobody uses: -ENOENT, or -EBUSY with e naming the user. */
int backend_remove(struct vm *, enum backend_kind, const char *id, struct err *e) MUST_CHECK;

void backend_close_all(struct vm *);

#endif
