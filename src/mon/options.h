/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the front end's options take, for query-command-line-options; the front end defines it
 * (cli/qemu_groups.c), beside the parsers.
 */
#ifndef MON_OPTIONS_H
#define MON_OPTIONS_H

enum opt_param_type { OPT_STRING, OPT_BOOL, OPT_NUMBER, OPT_SIZE };

struct opt_param {
	const char *name;
	enum opt_param_type type;
	const char *help; /* or NULL */
};

struct opt_group {
	const char *name;
	const struct opt_param *params; /* up to one without a name */
};

extern const struct opt_group opt_groups[]; /* up to one without a name */

#endif
