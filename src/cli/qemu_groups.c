/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What options take, for those who ask before they write a command line (mon/options.h). Each
 * parameter is one that the option's parser accepts: tests/unit/cli checks that. Constant.
 */
#include "mon/options.h"

#include <stddef.h>

#define PARAMS(...)                            \
	(const struct opt_param[])             \
	{                                      \
		__VA_ARGS__,                   \
		{                              \
			NULL, OPT_STRING, NULL \
		}                              \
	}

const struct opt_group opt_groups[] = {
	{ "machine",
	  PARAMS({ "type", OPT_STRING, "the board" }, { "accel", OPT_STRING, "CPU engines" },
		 { "usb", OPT_BOOL, NULL }, { "dump-guest-core", OPT_BOOL, NULL },
		 { "vmport", OPT_STRING, NULL }, { "hpet", OPT_BOOL, NULL },
		 { "smm", OPT_STRING, NULL }, { "acpi", OPT_STRING, NULL },
		 { "graphics", OPT_BOOL, NULL }, { "mem-merge", OPT_BOOL, NULL }) },
	{ "smp-opts", PARAMS({ "cpus", OPT_NUMBER, NULL }, { "sockets", OPT_NUMBER, NULL },
			     { "dies", OPT_NUMBER, NULL }, { "cores", OPT_NUMBER, NULL },
			     { "threads", OPT_NUMBER, NULL }, { "maxcpus", OPT_NUMBER, NULL }) },
	{ "memory", PARAMS({ "size", OPT_SIZE, "guest memory" }) },
	{ "name", PARAMS({ "guest", OPT_STRING, "the guest's name" },
			 { "process", OPT_STRING, NULL }, { "debug-threads", OPT_BOOL, NULL }) },
	{ "rtc", PARAMS({ "base", OPT_STRING, "utc, localtime or a date" },
			{ "clock", OPT_STRING, NULL }, { "driftfix", OPT_STRING, NULL }) },
	{ "mon", PARAMS({ "chardev", OPT_STRING, NULL }, { "mode", OPT_STRING, NULL },
			{ "pretty", OPT_BOOL, NULL }) },
	{ "add-fd", PARAMS({ "set", OPT_NUMBER, NULL }, { "fd", OPT_NUMBER, NULL },
			   { "opaque", OPT_STRING, NULL }) },
	{ NULL, NULL },
};
