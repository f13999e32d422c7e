/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects: what -object makes for devices and the machine to use, by id. Constant type
 * descriptors in one table, like devices; an instance lives in the VM's registry of back ends
 * (BACKEND_OBJECT) until the VM ends or it is deleted. Control thread.
 */
#ifndef CORE_OBJECT_H
#define CORE_OBJECT_H

#include "base/base.h"
#include "core/conf.h"
#include "core/prop.h"
#include "loop/loop.h"
#include "base/qsbr.h"
#include <pthread.h>
#include <sys/types.h>

struct ram_block;
struct vm;
struct obj;

struct obj_type {
	const char *name, *help;
	size_t size; /* of the whole instance; struct obj comes first in it */
	const struct prop *props;
	const char *const *more_keys; /* that init reads itself; NULL-terminated, or NULL */
	int (*init)(struct obj *, struct conf_node *, struct err *e); /* props are set */
	void (*fini)(struct obj *);				      /* accepts a half-done init */
};

struct obj {
	const struct obj_type *type;
	struct vm *vm;
	char *id;
};

/* The table of types; NULL-terminated. */
extern const struct obj_type *const obj_types[];
const struct obj_type *obj_type_find(const char *name);
/* -ENOENT, e naming the nearest type. */
int obj_type_unknown(const char *name, struct err *e);

/* Makes the object of node (type, id, properties) and puts it into the registry. */
int obj_create(struct vm *, struct conf_node *node, struct err *e) MUST_CHECK;
/* NULL with e set when there is none of that id, or it is of another type (NULL: any). */
struct obj *obj_find(struct vm *, const char *id, const struct obj_type *type, struct err *e);

/* ---- memory-backend-ram, -file, -memfd ---- */

/* The RAM of the memory back end id, for the machine alone, which frees it. NULL with e set. */
struct ram_block *obj_memory_take(struct vm *, const char *id, struct err *e);

/* ---- secret ---- */

extern const struct obj_type obj_secret;
/* The bytes of the secret id: *data (the object's) and their number. */
int obj_secret_get(struct vm *, const char *id, const uint8_t **data, size_t *len,
		   struct err *e) MUST_CHECK;

/* ---- rng-random, rng-builtin ---- */

/*
 * Up to len random bytes; 0 when the source has none now. -errno when it is broken. Any thread,
 * while the device that claimed the object holds it.
 */
ssize_t obj_rng_read(struct obj *, void *buf, size_t len);
bool obj_is_rng(const struct obj *);

/* ---- iothread ---- */

/*
 * A thread with a loop, for the queues of devices that name it. It is there from the making of the
 * object on, so that it can be pinned before the guest runs, and outlives all devices.
 */
struct obj_iothread {
	struct obj o;
	uint64_t poll_max_ns, poll_grow, poll_shrink, aio_max_batch, pool_min, pool_max;
	struct loop *loop;
	pid_t tid;
	/* obj_iothread.c's */
	pthread_t thread;
	bool running;
	struct qsbr_reader reader; /* of the map */
	struct loop_idle idle;
};
extern const struct obj_type obj_iothread;
/*
 * Runs fn(arg) on the thread and waits for it: for what only a loop's own thread may do. Control
 * thread, without a lock that a handler of that loop may want.
 */
void obj_iothread_run(struct obj_iothread *, void (*fn)(void *arg), void *arg);

#endif
