/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The QEMU options that hanok takes, one row each: the parser and -help read this table. Each
 * handler translates into the configuration tree; nothing of QEMU's
 * spelling goes further down.
 */
#ifndef CLI_QEMU_OPTS_H
#define CLI_QEMU_OPTS_H

#include "cli/front.h"

/* What a command line has said so far beyond the configuration itself. */
struct qemu_line {
	struct vm_conf *conf;
	bool nodefaults, nographic, display_none, serial_given, monitor_given;
	bool parse_only; /* touch nothing of the process: descriptors, files */
	bool numa_given;
	char *numa_cpus;	 /* of -numa node,cpus= */
	char *net_nic, *net_end; /* of -net: "nic,..." and "user,..." */
	unsigned nr_serial, nr_nic, nr_drive, nr_monitor;
	bool help_shown;     /* an option printed what was asked: exit 0 */
	char *accel_refused; /* the last list in which nothing works here */
};

struct qemu_opt {
	const char *name;
	const char *arg; /* NULL = takes none; else how to call it in help */
	int (*fn)(struct qemu_line *, const char *arg, const char *where, struct err *e);
	const char *help;
};

extern const struct qemu_opt qemu_opts[]; /* ends with a NULL name */

/*
 * Adds a chardev made from a -serial/-monitor style specification under the name label, which is
 * QEMU's for its purpose; returns its id (owned by conf).
 */
int qemu_add_chardev_spec(struct qemu_line *, const char *spec, const char *label,
			  const char *where, const char **id, struct err *e) MUST_CHECK;
/* -chardev */
int qemu_opt_chardev(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_add_serial(struct qemu_line *, const char *spec, const char *where,
		    struct err *e) MUST_CHECK;
/* At the end of the line: every chardev that is named exists. */
int qemu_check_chardevs(struct qemu_line *, struct err *e) MUST_CHECK;
int qemu_opt_serial(struct qemu_line *, const char *arg, const char *where, struct err *e);
/* -object, -mem-path, -mem-prealloc, -overcommit */
int qemu_opt_object(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_mem_path(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_mem_prealloc(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_overcommit(struct qemu_line *, const char *arg, const char *where, struct err *e);
/* -global, -readconfig */
int qemu_opt_global(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_readconfig(struct qemu_line *, const char *arg, const char *where, struct err *e);
/* Carries out the options in text (changed); name is the file's, for messages. */
int qemu_read_config(struct qemu_line *, char *text, const char *name, struct err *e) MUST_CHECK;
/* NULL when there is no such option. */
const struct qemu_opt *qemu_find_opt(const char *name);
/* -daemonize, -pidfile, -msg, -D, -d, -action, -watchdog-action, -sandbox, -run-with */
int qemu_opt_daemonize(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_pidfile(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_msg(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_trace(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_perfmap(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_jitdump(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_log_file(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_log(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_action(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_watchdog_action(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_sandbox(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_run_with(struct qemu_line *, const char *arg, const char *where, struct err *e);
/* -audiodev, -numa, -parallel, -echr */
int qemu_opt_audiodev(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_numa(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_parallel(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_echr(struct qemu_line *, const char *arg, const char *where, struct err *e);
/* -mon, -monitor, -qmp, -qmp-pretty, -add-fd */
int qemu_opt_mon(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_monitor(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_qmp(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_qmp_pretty(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_add_fd(struct qemu_line *, const char *arg, const char *where, struct err *e);
/* A monitor on the chardev of that id; mode is "control" or "readline". */
struct conf_node *qemu_add_monitor(struct qemu_line *, const char *chardev, const char *mode,
				   bool pretty, const char *where);
/* -drive, -blockdev, -netdev, -nic, -device */
int qemu_opt_drive(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_blockdev(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_netdev(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_nic(struct qemu_line *, const char *arg, const char *where, struct err *e);
int qemu_opt_net(struct qemu_line *, const char *arg, const char *where, struct err *e);
/* At the end of the line: the -net nic and the -net back end become one. */
int qemu_join_net(struct qemu_line *, struct err *e) MUST_CHECK;
int qemu_opt_device(struct qemu_line *, const char *arg, const char *where, struct err *e);

/*
 * Reads a whole command line into line->conf (made by the caller) and applies QEMU's defaults.
 * The caller frees what the line has besides with qemu_line_fini().
 */
int qemu_read_line(struct qemu_line *, int argc, char **argv, struct err *e) MUST_CHECK;

void qemu_line_fini(struct qemu_line *);

/* "help" or "?" */
bool qemu_wants_help(const char *arg);
struct prop;
void qemu_props_help(const struct prop *);
/* Lists the device types, or the properties of one. */
void qemu_device_help(const char *type);

#endif
