/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices: constant type descriptors in one table (dev/types.def), instances made from
 * configuration nodes. Composition only: struct virtio_blk { struct virtio v; ... }.
 */
#ifndef CORE_DEV_H
#define CORE_DEV_H

#include "base/base.h"
#include "base/log.h"
#include "core/conf.h"
#include "core/prop.h"
#include "core/state.h"
#include <pthread.h>

struct vm;
struct dev;

/*
 * A property that has its value only in a running device: for the monitor's qom-get and qom-set.
 * Control thread, vCPUs may run. Types in QEMU's words: "bool", "int", "str", or a struct's name.
 */
struct json_t;
struct dev_attr {
	const char *name, *type, *help;
	/* A new reference; NULL with e set. */
	struct json_t *(*get)(struct dev *, struct err *e);
	int (*set)(struct dev *, const struct json_t *val, struct err *e); /* NULL: read only */
};

enum dev_bus {
	DEV_BUS_BOARD,
	DEV_BUS_ISA,
	DEV_BUS_PCI,
	DEV_BUS_VIRTIO_MMIO,
	DEV_BUS_VIRTIO_SERIAL
};

struct dev_type {
	const char *name; /* QEMU's name where there is one: "virtio-blk-pci" */
	/* "virtio-blk", or NULL; of several types with one alias the machine's buses choose */
	const char *alias;
	enum dev_bus bus;
	const char *help;
	size_t size; /* of the whole instance; struct dev comes first in it */
	const struct prop *props;
	const struct state_desc *state;		  /* NULL only for a device without state */
	const struct dev_attr *attrs;		  /* up to one without a name; or NULL */
	bool internal;				  /* made by the board only, not by -device */
	int (*init)(struct dev *, struct err *e); /* props are set; fini accepts a half-done init */
	void (*fini)(struct dev *);
	void (*reset)(struct dev *);
	void (*pause)(struct dev *); /* quiesce: nothing of it runs or touches memory afterwards */
	void (*resume)(struct dev *);
};

struct dev {
	const struct dev_type *type;
	struct vm *vm;
	bool user;	      /* made from the configuration, not by the board */
	char *id;	      /* unique in the VM, or NULL */
	char *path;	      /* stable name in streams and messages: id, or "type.N" */
	pthread_mutex_t lock; /* recursive; the map takes it around register accesses */
	struct dev *next;     /* vm->devs */
	/* During init only, NULL for internal devices: bus code reads its own keys ("addr") here. */
	struct conf_node *node;
	_Atomic uint64_t guest_errors;
	struct log_limit guest_error_limit;
};

/* Makes a device of node's type: checks and sets properties, calls init, adds it to the VM. */
int dev_create(struct vm *, struct conf_node *node, struct dev **out, struct err *e) MUST_CHECK;
/* The same for the board's own devices, by type, with defaults; prepare may set members. */
int dev_create_internal(struct vm *, const struct dev_type *type, const char *id,
			void (*prepare)(struct dev *, void *), void *arg, struct dev **out,
			struct err *e) MUST_CHECK;
void dev_destroy(struct dev *);
struct dev *dev_find(struct vm *, const char *id);
/*
 * All devices in the order of their making, a bus before what sits on it; *out is the caller's to
 * free.
 */
size_t dev_list(struct vm *, struct dev ***out);
void dev_reset_all(struct vm *); /* in that order */

/*
 * Whether "NAME-non-transitional" is another name of t, as for QEMU's virtio devices on PCI: ours
 * know no legacy interface anyhow.
 */
bool dev_type_non_transitional(const struct dev_type *t);

/* The table of user-creatable types; NULL-terminated. Defined beside types.def. */
extern const struct dev_type *const dev_types[];
const struct dev_type *dev_type_find(const char *name_or_alias);
/* The same on this machine: an alias of virtio devices means the one for vm->virtio_bus. */
const struct dev_type *dev_type_find_on(const struct vm *, const char *name_or_alias);

/*
 * The guest did something that its specification forbids: counted, logged at a limited rate,
 * never fatal. Any thread.
 */
void dev_guest_error(struct dev *, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
