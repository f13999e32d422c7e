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
		 { "memory-backend", OPT_STRING, "the object that is guest memory" },
		 { "kernel-irqchip", OPT_STRING, "on, off or split" }, { "usb", OPT_BOOL, NULL },
		 { "dump-guest-core", OPT_BOOL, NULL }, { "vmport", OPT_STRING, NULL },
		 { "hpet", OPT_BOOL, NULL }, { "smm", OPT_STRING, NULL },
		 { "acpi", OPT_STRING, NULL }, { "graphics", OPT_BOOL, NULL },
		 { "mem-merge", OPT_BOOL, NULL }) },
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
	{ "msg", PARAMS({ "timestamp", OPT_BOOL, NULL }, { "guest-name", OPT_BOOL, NULL }) },
	{ "action", PARAMS({ "reboot", OPT_STRING, NULL }, { "shutdown", OPT_STRING, NULL },
			   { "panic", OPT_STRING, NULL }, { "watchdog", OPT_STRING, NULL }) },
	{ "sandbox",
	  PARAMS({ "enable", OPT_BOOL, NULL }, { "obsolete", OPT_STRING, NULL },
		 { "elevateprivileges", OPT_STRING, NULL }, { "spawn", OPT_STRING, NULL },
		 { "resourcecontrol", OPT_STRING, NULL }) },
	/* async-teardown=on is refused: who asks here does not ask for it then */
	{ "run-with", PARAMS({ "chroot", OPT_STRING, NULL }, { "user", OPT_STRING, NULL }) },
	{ "overcommit", PARAMS({ "mem-lock", OPT_STRING, NULL }, { "cpu-pm", OPT_BOOL, NULL }) },
	{ "boot-opts",
	  PARAMS({ "order", OPT_STRING, NULL }, { "once", OPT_STRING, NULL },
		 { "menu", OPT_BOOL, NULL }, { "splash", OPT_STRING, NULL },
		 { "splash-time", OPT_NUMBER, NULL }, { "reboot-timeout", OPT_NUMBER, NULL },
		 { "strict", OPT_BOOL, NULL }) },
	{ "global", PARAMS({ "driver", OPT_STRING, NULL }, { "property", OPT_STRING, NULL },
			   { "value", OPT_STRING, NULL }) },
	/* What these take depends on their first word; device-list-properties and the like know. */
	{ "accel", PARAMS({ NULL, OPT_STRING, NULL }) },
	{ "device", PARAMS({ NULL, OPT_STRING, NULL }) },
	{ "net", PARAMS({ NULL, OPT_STRING, NULL }) },
	{ "netdev", PARAMS({ NULL, OPT_STRING, NULL }) },
	{ "nic", PARAMS({ NULL, OPT_STRING, NULL }) },
	{ "numa", PARAMS({ NULL, OPT_STRING, NULL }) },
	{ "object", PARAMS({ NULL, OPT_STRING, NULL }) },
	{ NULL, NULL },
};
