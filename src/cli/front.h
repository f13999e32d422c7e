/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front ends (hanok run, the QEMU command line) and what they share. Each reads its own
 * language into a struct vm_conf and hands that to front_start(), which builds and runs the VM.
 */
#ifndef CLI_FRONT_H
#define CLI_FRONT_H

#include "base/base.h"
#include "core/keyval.h"
#include "core/conf.h"

/* How many of what a command line may name: far above any use, bounds what a script can ask. */
#define FRONT_MAX_CPUS 255

/*
 * Keeps the words that made conf, so that a saved machine carries what `hanok restore` needs:
 * front ("run", "qemu"), then those of argv[1...] but -incoming and its argument.
 */
void front_keep_words(struct vm_conf *, const char *front, int argc, char **argv);

/* Builds the VM (taking conf), runs it, cleans up; returns the exit code. Messages on stderr. */
int front_start_take(struct vm_conf *conf);

/* main() of each front end; argv[0] is the program (or subcommand) name. Return the exit code. */
int run_main(int argc, char **argv);
int qemu_main(int argc, char **argv);
int save_main(int argc, char **argv);
int restore_main(int argc, char **argv);

/* The control socket of a machine's name; make: its directory too. NULL with e set. */
char *control_path(const char *name, bool make, struct err *e);
/* A connection to it, or -errno with e set. */
int control_connect(const char *path, struct err *e) MUST_CHECK;
/* Gives conf a control socket, when it has a name or a place for one. */
int control_add(struct vm_conf *conf, struct err *e) MUST_CHECK;

/* Reads hanok run's words into conf; *help_shown = the user asked for help instead and got it. */
int run_read_line(struct vm_conf *conf, int argc, char **argv, bool *help_shown,
		  struct err *e) MUST_CHECK;

/* Fills conf->uuid from its text form. */
int front_parse_uuid(struct vm_conf *, const char *text, struct err *e) MUST_CHECK;
/* "4" or "cpus=4,sockets=1,cores=4,threads=1,maxcpus=4": fills the topology. */
int front_parse_smp(struct vm_conf *, const char *text, struct err *e) MUST_CHECK;
/* "microvm" or "microvm,pcie=on": the board. */
int front_parse_machine(struct vm_conf *, const char *text, struct err *e) MUST_CHECK;
int front_set_machine(struct vm_conf *, const char *name, struct err *e) MUST_CHECK;
/* A property of the board chosen; -ENOENT, without a message, when it has none of that name. */
int front_machine_prop(struct vm_conf *, const char *key, const char *val,
		       struct err *e) MUST_CHECK;
/* Prints the boards. */
void front_machine_help(void);
/* "512", "2G" or "size=2G": fills mem_size; plain numbers are MiB. */
int front_parse_memory(struct vm_conf *, const char *text, struct err *e) MUST_CHECK;
/* "on", "off", "on,spawn=allow": QEMU's -sandbox; what QEMU can forbid beyond spawn always is. */
int front_parse_sandbox(struct vm_conf *, const char *text, struct err *e) MUST_CHECK;
/*
 * Adds the engines of "kvm:tcg" to conf->accel; those that only QEMU has are passed over, so that
 * conf->accel may still be NULL afterwards.
 */
int front_parse_accel(struct vm_conf *, const char *list, struct err *e) MUST_CHECK;
/* Prints the CPU models and features. */
void front_cpu_help(void);
/* Sets *slot (an owned string) to a copy of val. */
void front_set(char **slot, const char *val);

/* A node of kind from keyvals; "id" goes to the node's id, the rest become its keys. */
struct conf_node *front_add_node(struct vm_conf *, enum conf_kind, const char *type,
				 struct keyvals *, const char *where);

/*
 * A raw disk on a virtio-blk device of its own. file is a path; id NULL = generated.
 * Used by both front ends.
 */
struct conf_node *front_add_disk(struct vm_conf *, const char *id, const char *where);
/* A NIC of type model on back end netdev_id. */
void front_add_nic(struct vm_conf *, const char *model, const char *netdev_id, const char *mac,
		   const char *where);

#endif
