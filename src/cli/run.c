/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `hanok run`: a VM in three words, console on the terminal. Reads its own options into the
 * configuration tree. Control thread, start-up only.
 */
#include "base/base.h"

#include "base/log.h"
#include "cli/front.h"
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

static const char usage[] =
	"usage: hanok run --kernel FILE [options] [-- kernel arguments]\n"
	"\n"
	"Boots a Linux kernel with its console on this terminal. Ctrl-A x ends, Ctrl-A h helps.\n"
	"\n"
	"  --kernel FILE        a bzImage or an ELF vmlinux (Debian: /boot/vmlinuz-*)\n"
	"  --initrd FILE        the initial RAM disk\n"
	"  --disk FILE[,ro]     a raw image or block device, seen as /dev/vda, vdb, ... (repeatable)\n"
	"  --net user           a network through passt, no privileges needed (repeatable)\n"
	"  --net user,hostfwd=tcp::2222-:22\n"
	"                       ... with the host's port 2222 forwarded to the guest's 22\n"
	"  --net tap=NAME       a network through an existing tap device\n"
	"  --machine q35|microvm[,pcie=on][,isa-serial=off]\n"
	"                       the board (default q35; microvm starts quickest)\n"
	"  --cpus N             virtual CPUs (default 1)\n"
	"  --memory SIZE        guest memory, e.g. 512M or 2G (default 512M)\n"
	"  --cpu MODEL[,+F,-F]  default, x86-64-v2, x86-64-v3, max, ... (--cpu help lists them)\n"
	"  --sandbox on|off     each thread makes the system calls of its role only (default on)\n"
	"  --accel kvm|soft     the CPU engine (default: kvm where it works, else hanok's own)\n"
	"  --name NAME          the guest's name, and how `hanok save NAME FILE` finds it\n"
	"  --control SOCKET     where its control socket (QMP) is, instead of by the name\n"
	"  --quiet              do not put console=ttyS0 in front of the kernel arguments\n"
	"  --help               this text\n"
	"\n"
	"Example: hanok run --kernel vmlinuz --initrd initrd.img --disk root.img --net user -- "
	"root=/dev/vda1\n";

enum {
	OPT_KERNEL = 1,
	OPT_INITRD,
	OPT_DISK,
	OPT_NET,
	OPT_MACHINE,
	OPT_CPUS,
	OPT_MEMORY,
	OPT_CPU,
	OPT_ACCEL,
	OPT_SANDBOX,
	OPT_NAME,
	OPT_CONTROL,
	OPT_QUIET,
	OPT_HELP,
};

static const struct option options[] = {
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "disk", required_argument, NULL, OPT_DISK },
	{ "net", required_argument, NULL, OPT_NET },
	{ "machine", required_argument, NULL, OPT_MACHINE },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "cpu", required_argument, NULL, OPT_CPU },
	{ "accel", required_argument, NULL, OPT_ACCEL },
	{ "sandbox", required_argument, NULL, OPT_SANDBOX },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

struct run_line {
	struct vm_conf *conf;
	unsigned nr_disk, nr_net;
	bool quiet;
	bool help_shown; /* an option printed what was asked: exit 0 */
};

static int add_disk(struct run_line *line, const char *arg, struct err *e)
{
	autofree char *where = xasprintf("--disk %s", arg);
	autofree char *id = xasprintf("disk%u", line->nr_disk++);
	struct conf_node *node;
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, arg, "file", e);

	if (r < 0)
		return err_prefix(e, "%s: ", where);
	node = conf_add(line->conf, CONF_DRIVE, NULL, id, where);
	conf_set(node, "format", "raw");
	for (size_t i = 0; i < kvs.n; i++)
		conf_set(node, strcmp(kvs.kv[i].key, "ro") ? kvs.kv[i].key : "readonly",
			 kvs.kv[i].val);
	keyvals_fini(&kvs);
	front_add_disk(line->conf, id, where);
	return 0;
}

/* "user" or "tap=NAME" in front; NULL when it is neither. */
static const char *net_type(const struct keyvals *kvs)
{
	const char *key = kvs->n ? kvs->kv[0].key : "", *val = kvs->n ? kvs->kv[0].val : "";
	bool alone = !strcmp(val, "on"); /* what a word without "=" is read as */

	if (!strcmp(key, "user") && alone)
		return "user";
	return !strcmp(key, "tap") && !alone && *val ? "tap" : NULL;
}

static int add_net(struct run_line *line, const char *arg, struct err *e)
{
	autofree char *where = xasprintf("--net %s", arg);
	autofree char *id = xasprintf("net%u", line->nr_net++);
	autofree char *mac = NULL;
	struct conf_node *node;
	struct keyvals kvs;
	const char *type;
	int r = keyvals_parse(&kvs, arg, NULL, e);

	if (r < 0)
		return err_prefix(e, "%s: ", where);
	type = net_type(&kvs);
	if (!type) {
		keyvals_fini(&kvs);
		return err_set(e, EINVAL, "%s: say --net user or --net tap=NAME", where);
	}
	mac = keyvals_take(&kvs, "mac");
	node = conf_add(line->conf, CONF_NETDEV, type, id, where);
	if (!strcmp(type, "tap")) {
		conf_set(node, "ifname", kvs.kv[0].val);
		conf_set(node, "create", "off");
		conf_set(node, "script", "no");
		conf_set(node, "downscript", "no");
	}
	for (size_t i = 1; i < kvs.n; i++)
		conf_set_option(node, kvs.kv[i].key, kvs.kv[i].val);
	keyvals_fini(&kvs);
	front_add_nic(line->conf, "virtio-net", id, mac, where);
	return 0;
}

static int one_option(struct run_line *line, int opt, const char *arg, struct err *e)
{
	struct vm_conf *conf = line->conf;

	switch (opt) {
	case OPT_KERNEL:
		front_set(&conf->kernel, arg);
		return 0;
	case OPT_INITRD:
		front_set(&conf->initrd, arg);
		return 0;
	case OPT_CPU:
		if (!strcmp(arg, "help")) {
			front_cpu_help();
			line->help_shown = true;
			return 0;
		}
		front_set(&conf->cpu, arg);
		return 0;
	case OPT_CONTROL:
		front_set(&conf->control, arg);
		return 0;
	case OPT_NAME:
		front_set(&conf->name, arg);
		return 0;
	case OPT_DISK:
		return add_disk(line, arg, e);
	case OPT_NET:
		return add_net(line, arg, e);
	case OPT_MACHINE:
		if (!strcmp(arg, "help")) {
			front_machine_help();
			line->help_shown = true;
			return 0;
		}
		return front_parse_machine(conf, arg, e) < 0 ? err_prefix(e, "--machine %s: ", arg)
							     : 0;
	case OPT_CPUS:
		return front_parse_smp(conf, arg, e) < 0 ? err_prefix(e, "--cpus %s: ", arg) : 0;
	case OPT_MEMORY:
		return front_parse_memory(conf, arg, e) < 0 ? err_prefix(e, "--memory %s: ", arg)
							    : 0;
	case OPT_ACCEL:
		return front_parse_accel(conf, arg, e) < 0 ? err_prefix(e, "--accel %s: ", arg) : 0;
	case OPT_SANDBOX:
		return front_parse_sandbox(conf, arg, e) < 0 ? err_prefix(e, "--sandbox %s: ", arg)
							     : 0;
	case OPT_QUIET:
		line->quiet = true;
		return 0;
	case OPT_HELP:
	case 'h':
		fputs(usage, stdout);
		line->help_shown = true;
		return 0;
	default:
		return err_set(e, EINVAL, "see hanok run --help");
	}
}

/* What getopt_long() did not like: ':' an argument is missing, '?' no such option. */
static int bad_option(int opt, const char *word, struct err *e)
{
	const char *names[ARRAY_SIZE(options)] = { NULL };
	autofree char *name = xasprintf("%.*s", (int)strcspn(word, "="), word);
	const char *near;

	if (opt == ':')
		return err_set(e, EINVAL, "%s needs an argument; see hanok run --help", word);
	for (size_t i = 0; options[i].name; i++)
		names[i] = options[i].name;
	near = nearest_word(name + strspn(name, "-"), names);
	return err_set(e, EINVAL, "option %s is not known%s%s%s; see hanok run --help", name,
		       near ? " (did you mean --" : "", near ?: "", near ? "?)" : "");
}

/* Everything behind "--", joined by spaces, with the console in front. */
static void set_append(struct run_line *line, int argc, char **argv)
{
	char *text = xstrdup(line->quiet || line->conf->no_serial ? "" : "console=ttyS0");

	for (int i = optind; i < argc; i++) {
		char *longer = xasprintf("%s%s%s", text, *text ? " " : "", argv[i]);

		free(text);
		text = longer;
	}
	free(line->conf->append);
	line->conf->append = text;
}

/* Options end at "--"; a bare word before it is a mistake worth a clear answer. */
static int check_rest(int argc, char **argv, struct err *e)
{
	if (optind >= argc || (optind > 1 && !strcmp(argv[optind - 1], "--")))
		return 0;
	return err_set(e, EINVAL, "'%s' is no option; kernel arguments go behind --", argv[optind]);
}

int run_read_line(struct vm_conf *conf, int argc, char **argv, bool *help_shown, struct err *e)
{
	struct run_line line = { .conf = conf };
	struct conf_node *console;
	int opt, r, at = 1;

	optind = 0; /* GNU getopt: start anew, also behind a line that ended early */
	while ((opt = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		if (opt == '?' || opt == ':')
			return bad_option(opt, argv[at], e);
		r = one_option(&line, opt, optarg, e);
		at = optind;
		*help_shown = line.help_shown;
		if (r < 0 || line.help_shown)
			return r;
	}
	r = check_rest(argc, argv, e);
	if (r < 0)
		return r;
	if (!conf->kernel)
		return err_set(e, EINVAL,
			       "--kernel is missing: which kernel shall boot? On Debian "
			       "/boot/vmlinuz-$(uname -r) is one");
	set_append(&line, argc, argv);
	console = conf_add(conf, CONF_CHARDEV, "stdio", "console", "the console");
	front_set(&conf->serial[0], console->id);
	return 0;
}

int run_main(int argc, char **argv)
{
	struct vm_conf *conf = vm_conf_new();
	struct err e = { 0 };
	bool help_shown = false;
	int r;

	conf->sandbox.on = true;
	r = run_read_line(conf, argc, argv, &help_shown, &e);

	if (r == 0 && !help_shown)
		r = control_add(conf, &e);
	if (r < 0)
		log_error("%s", e.msg);
	if (r < 0 || help_shown) {
		vm_conf_free(conf);
		return r < 0;
	}
	front_keep_words(conf, "run", argc, argv);
	return front_start_take(conf);
}
