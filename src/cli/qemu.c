/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front end that takes QEMU's command line: walks the words, finds each option in the table,
 * applies QEMU's defaults, starts the VM. Control thread, start-up only.
 */
#include "base/base.h"

#include "base/log.h"
#include "cli/qemu_opts.h"
#include <stdio.h>

const struct qemu_opt *qemu_find_opt(const char *name)
{
	for (const struct qemu_opt *o = qemu_opts; o->name; o++)
		if (!strcmp(o->name, name))
			return o;
	return NULL;
}

/* Options of QEMU that are not here, with what to say instead where there is something. */
static const struct {
	const char *name, *instead;
} absent[] = {
	{ "hda", "-drive file=F,if=virtio,format=raw" },
	{ "hdb", "-drive file=F,if=virtio,format=raw" },
	{ "hdc", "-drive file=F,if=virtio,format=raw" },
	{ "hdd", "-drive file=F,if=virtio,format=raw" },
	{ "cdrom", "-drive file=F,if=virtio,format=raw,readonly=on" },
	{ "bios", "-kernel and -initrd: there is no firmware" },
	{ "pflash", "-kernel and -initrd: there is no firmware" },
	{ "vnc", "-nographic" },
	{ "spice", "-nographic" },
	{ "curses", "-nographic" },
	{ "debugcon", "-chardev file,path=F,id=d0 -device isa-debugcon,chardev=d0" },
	{ "s", NULL },
	{ "gdb", NULL },
	{ "snapshot", NULL },
	{ "loadvm", NULL },
	{ "usb", NULL },
	{ "usbdevice", NULL },
	{ "fsdev", NULL },
	{ "virtfs", NULL },
	{ "smbios", NULL },
	{ "acpitable", NULL },
	{ "fw_cfg", NULL },
	{ "icount", NULL },
	{ "tpmdev", NULL },
};

static int unknown_opt(const char *word, struct err *e)
{
	const char *names[128];
	size_t n = 0;
	const char *near;

	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		if (!strcmp(absent[i].name, word))
			return err_set(e, ENOTSUP, "option -%s of QEMU is not here yet%s%s", word,
				       absent[i].instead ? ": say " : "; -help lists what there is",
				       absent[i].instead ?: "");
	for (const struct qemu_opt *o = qemu_opts; o->name && n < ARRAY_SIZE(names) - 1; o++)
		names[n++] = o->name;
	names[n] = NULL;
	near = nearest_word(word, names);
	return err_set(e, EINVAL, "option -%s is not known%s%s%s; -help lists what there is", word,
		       near ? " (did you mean -" : "", near ?: "", near ? "?)" : "");
}

/* One option at argv[*i]; advances *i past its argument. */
static int one_option(struct qemu_line *line, int argc, char **argv, int *i, struct err *e)
{
	const char *word = argv[*i];
	const struct qemu_opt *opt;
	const char *arg = NULL;
	autofree char *where = NULL;
	int r;

	if (*word != '-')
		return err_set(e, EINVAL,
			       "'%s' is no option (a disk image goes with -drive "
			       "file=%s,if=virtio,format=raw)",
			       word, word);
	word += word[1] == '-' ? 2 : 1;
	opt = qemu_find_opt(word);
	if (!opt)
		return unknown_opt(word, e);
	if (opt->arg) {
		if (*i + 1 >= argc)
			return err_set(e, EINVAL, "-%s needs an argument: -%s %s", word, word,
				       opt->arg);
		arg = argv[++*i];
	}
	where = arg ? xasprintf("-%s %s", word, arg) : xasprintf("-%s", word);
	r = opt->fn(line, arg, where, e);
	return r < 0 ? err_prefix(e, "%s: ", where) : 0;
}

static bool uses_stdio(const struct vm_conf *conf)
{
	for (const struct conf_node *n = conf->nodes; n; n = n->next)
		if (n->kind == CONF_CHARDEV && !strcmp(n->type, "stdio"))
			return true;
	return false;
}

/*
 * What QEMU adds unasked. With -nographic, and here without any screen, COM1 and the monitor share
 * the terminal; where one of them was placed by an option, the other has it alone.
 */
static int apply_defaults(struct qemu_line *line, struct err *e)
{
	static const char where[] = "the default serial port";
	int r = 0;

	if (line->nodefaults || (line->display_none && !line->nographic))
		return 0;
	if (!line->nographic && !line->serial_given)
		log_info("there is no screen in this version: COM1 is on the terminal, as with "
			 "-nographic");
	if (!line->serial_given)
		r = qemu_add_serial(line, line->monitor_given ? "stdio" : "mon:stdio", where, e);
	else if (!line->monitor_given && line->nographic && !uses_stdio(line->conf))
		r = qemu_opt_monitor(line, "stdio", "the default monitor", e);
	return r;
}

/* The one node has every CPU. */
static int check_numa(const struct qemu_line *line, struct err *e)
{
	unsigned first, last = line->conf->cpus - 1;
	char rest;

	if (!line->numa_cpus)
		return 0;
	if (sscanf(line->numa_cpus, "%3u-%3u%c", &first, &last, &rest) == 2 ||
	    sscanf(line->numa_cpus, "%3u%c", &last, &rest) == 1)
		if (last + 1 == line->conf->cpus && (!last || !strncmp(line->numa_cpus, "0-", 2)))
			return 0;
	return err_set(e, ENOTSUP,
		       "-numa node,cpus=%s: the guest has one NUMA node, with all %u CPUs",
		       line->numa_cpus, line->conf->cpus);
}

int qemu_read_line(struct qemu_line *line, int argc, char **argv, struct err *e)
{
	int r;

	for (int i = 1; i < argc && !line->help_shown; i++) {
		r = one_option(line, argc, argv, &i, e);
		if (r < 0)
			return r;
	}
	if (line->help_shown)
		return 0;
	if (line->accel_refused && !line->conf->accel)
		return err_set(
			e, EINVAL,
			"accelerator '%s' is not one of hanok's: use -accel kvm, or -accel tcg "
			"(its own soft engine)",
			line->accel_refused);
	r = check_numa(line, e);
	if (!r)
		r = qemu_join_net(line, e);
	if (!r)
		r = apply_defaults(line, e);
	if (!r)
		r = qemu_check_chardevs(line, e);
	if (!r && line->conf->daemonize && uses_stdio(line->conf))
		r = err_set(e, EINVAL,
			    "-daemonize leaves no terminal for stdio: put -serial and -monitor "
			    "elsewhere, or say -display none instead of -nographic");
	return r;
}

void qemu_line_fini(struct qemu_line *line)
{
	free(take_ptr(line->accel_refused));
	free(take_ptr(line->numa_cpus));
	free(take_ptr(line->net_nic));
	free(take_ptr(line->net_end));
}

int qemu_main(int argc, char **argv)
{
	struct qemu_line line = { .conf = vm_conf_new() };
	struct err e = { 0 };
	int r;

	line.conf->sandbox.on = true;
	r = qemu_read_line(&line, argc, argv, &e);

	qemu_line_fini(&line);
	if (r < 0) {
		log_error("%s", e.msg);
		vm_conf_free(line.conf);
		return 1;
	}
	if (line.help_shown) {
		vm_conf_free(line.conf);
		return 0;
	}
	front_keep_words(line.conf, "qemu", argc, argv);
	return front_start_take(line.conf);
}
