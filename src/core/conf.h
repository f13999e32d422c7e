/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one configuration of a VM that every front end fills: typed values for what there is one
 * of, nodes in order for what there may be many of. Names are hanok's own, which are QEMU's where
 * QEMU has one; translation from other contracts happens in the front end.
 */
#ifndef CORE_CONF_H
#define CORE_CONF_H

#include "base/base.h"
#include "sandbox/sandbox.h"

struct conf_kv {
	char *key, *val;
	bool used; /* set by the reader; what stays unused is refused by name */
	struct conf_kv *next;
};

enum conf_kind {
	CONF_DEVICE,
	CONF_DRIVE,
	CONF_NETDEV,
	CONF_CHARDEV,
	CONF_OBJECT,
	CONF_MONITOR, /* keys: chardev=ID, mode=control|readline, pretty=on|off */
	CONF_GLOBAL   /* type is a device's; the keys are defaults of its properties */
};

/* One -device, -drive, -netdev, -chardev, -object or -mon. */
struct conf_node {
	struct vm_conf *conf; /* whose it is */
	enum conf_kind kind;
	char *type; /* "virtio-blk-pci", "tap", "stdio"; of -blockdev its driver; NULL: -drive, -mon
		     */
	char *id;   /* NULL when anonymous */
	char *where; /* how the user wrote it, for messages */
	struct conf_kv *kv;
	struct conf_node *next;
};

enum mem_lock { MEM_LOCK_NONE, MEM_LOCK_ALL, MEM_LOCK_TOUCHED };

struct fdset;

struct vm_conf {
	char *name;
	uint8_t uuid[16];
	bool has_uuid;
	char *machine;	     /* "q35" or "microvm" */
	bool pcie;	     /* the microvm has PCI Express too */
	bool no_serial;	     /* the microvm has no serial port */
	bool no_auto_append; /* the microvm adds nothing to append */
	char *accel; /* "kvm:soft": the first that works here; NULL: any, in accel_engines' order */
	bool lockstep;	 /* the soft engine's translator is compared with its interpreter */
	bool no_irqchip; /* interrupt controllers are the board's even where the engine has some */
	bool has_halt_poll;
	uint32_t halt_poll_ns;	  /* how long a halted vCPU is looked after before it sleeps */
	bool cpu_pm;		  /* idle guests keep their host CPUs, which sleep as they say */
	bool split_irqchip;	  /* or all but the local APICs are */
	uint32_t dirty_ring_size; /* entries of a vCPU's ring of dirty pages; 0: bitmaps */
	char *cpu;     /* "default", "x86-64-v2", ..., with ",+feature,-feature" behind */
	unsigned cpus; /* >= 1 */
	unsigned sockets, dies, cores, threads; /* product == cpus */
	uint64_t mem_size;			/* bytes */
	bool mem_given;				/* the user said mem_size */
	char *mem_backend;	/* id of the memory-backend object that is the RAM; NULL: none */
	char *mem_path;		/* without one: the file, or folder for one, of the RAM; or NULL */
	enum mem_lock mem_lock; /* of the whole process: never paged out */
	bool mem_prealloc, mem_merge, mem_dump; /* as of a memory-backend */
	char *kernel, *initrd, *append;
	char *incoming; /* the address of a saved machine to load, or "defer"; NULL: boots */
	char *control;	/* where `hanok run` has its control socket; NULL: by the name, if any */
	bool show_progress; /* of loading, where standard error is a terminal */
	char **argv; /* the words that made this, NULL-terminated, or NULL: saved with the machine */
	char *rtc_base; /* "utc", "localtime" or an ISO 8601 date */
	bool no_reboot, no_shutdown;
	unsigned panic_action, watchdog_action; /* enum vm_panic_action, vm_watchdog_action */
	bool tco_no_reboot;			/* the chipset's own watchdog has no effect */
	struct sandbox_conf sandbox;		/* front ends switch it on */
	char *chroot, *user; /* -run-with, or NULL: folder to go into, user to become */
	char *trace;	     /* words for trace_ask(), each with its "\n"; or NULL */
	char *trace_file;    /* of the events' lines; NULL: where the log goes */
	char *log_file;	     /* instead of standard error, or NULL */
	int log_level;	     /* enum log_level at least; 0 = as it is */
	bool log_timestamp, log_guest_name;
	uint32_t log_engine;	 /* LOG_* of the engine */
	bool perf_map, jit_dump; /* files for perf(1) about translated code */
	uint8_t escape_key;	 /* of terminals and muxed chardevs; 0 = Ctrl-A */
	bool daemonize;		 /* into the background once it runs */
	char *pidfile;		 /* where to write which process that is, or NULL */
	bool start_paused;	 /* the guest waits for the first vm_cont() */
	struct fdset *fdsets;	 /* core/fdset.h: what /dev/fdset/N stands for */
	char *serial[4];	 /* chardev ids; NULL = absent */
	struct conf_node *nodes;
};

struct vm_conf *vm_conf_new(void); /* defaults: q35, default CPU, 1 CPU, 512 MiB */
struct vm_conf *vm_conf_free(struct vm_conf *);

/* Appends a node (type and id are copied, may be NULL). */
struct conf_node *conf_add(struct vm_conf *, enum conf_kind, const char *type, const char *id,
			   const char *where);
struct conf_node *conf_find(const struct vm_conf *, enum conf_kind, const char *id);

/*
 * A node of its own, in no list, from n's keys that begin with "prefix." (which it marks used):
 * "driver" becomes the type and "node-name" the id. NULL when there are none. For conf_node_free().
 */
struct conf_node *conf_child(struct conf_node *n, const char *prefix);
struct conf_node *conf_node_free(struct conf_node *); /* of conf_child(); returns NULL */

void conf_set(struct conf_node *, const char *key, const char *val);
/* As the user wrote it: the last value counts, but of hostfwd= every one does. */
void conf_set_option(struct conf_node *, const char *key, const char *val);
/* Takes it out of the configuration and frees it. */
void conf_remove(struct conf_node *);
/* Adds a value beside those that key has: for keys that are lists (hostfwd). */
void conf_add_val(struct conf_node *, const char *key, const char *val);
/* The value, marked used; NULL when absent. */
const char *conf_get(struct conf_node *, const char *key);
/* Typed reads: 0 and *out (kept when absent), or -EINVAL with e naming node, key and value. */
int conf_get_u64(struct conf_node *, const char *key, uint64_t min, uint64_t max, uint64_t *out,
		 struct err *e) MUST_CHECK;
int conf_get_size(struct conf_node *, const char *key, uint64_t *out, struct err *e) MUST_CHECK;
int conf_get_bool(struct conf_node *, const char *key, bool *out, struct err *e) MUST_CHECK;
/* -EINVAL when a key was never read: says which, and the nearest of known[] (NULL-terminated). */
int conf_check_unused(const struct conf_node *, const char *const *known, struct err *e) MUST_CHECK;

/* "512", "64K", "1.5G", "2GiB" -> bytes; suffix_default is applied when there is none. */
int parse_size(const char *text, uint64_t suffix_default, uint64_t *out, struct err *e) MUST_CHECK;
/* The member of names[] nearest to word by edit distance, or NULL when none is near. */
const char *nearest_word(const char *word, const char *const *names);

#endif
