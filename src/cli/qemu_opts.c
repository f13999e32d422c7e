/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of QEMU options and the handlers of the simple ones (see qemu_opts.h).
 * Control thread, start-up only.
 */
#include "base/base.h"

#include "cli/qemu_opts.h"
#include "isa/x86/cpuid.h"
#include "mon/mon.h"
#include <stdio.h>

static int on_machine(struct qemu_line *line, const char *arg, const char *where, struct err *e);
static int on_accel(struct qemu_line *line, const char *arg, const char *where, struct err *e);

/* Machine properties that name what this board has anyhow; value NULL = any. */
static const struct {
	const char *key, *val;
} machine_given[] = {
	{ "usb", "off" },      { "vmport", "off" },  { "hpet", "off" }, { "smm", "off" },
	{ "graphics", "off" }, { "vmport", "auto" }, { "smm", "auto" },
};

static int set_irqchip(struct qemu_line *line, const char *val, struct err *e)
{
	bool on = true, split = !strcmp(val, "split");

	if (!split && parse_onoff("kernel-irqchip", val, &on, e) < 0)
		return err_set(e, EINVAL, "kernel-irqchip=%s: say on, off or split", val);
	line->conf->no_irqchip = !on;
	line->conf->split_irqchip = split;
	return 0;
}

static int machine_prop(struct qemu_line *line, const char *key, const char *val, const char *where,
			struct err *e)
{
	static const char *const known[] = { "type",
					     "accel",
					     "usb",
					     "dump-guest-core",
					     "vmport",
					     "hpet",
					     "smm",
					     "acpi",
					     "graphics",
					     "mem-merge",
					     "memory-backend",
					     "kernel-irqchip",
					     "pcie",
					     "isa-serial",
					     "pit",
					     "pic",
					     "rtc",
					     "auto-kernel-cmdline",
					     NULL };
	const char *near;
	bool seen = false;
	int r;

	if (!strcmp(key, "type"))
		return front_set_machine(line->conf, val, e);
	if (!strcmp(key, "accel"))
		return on_accel(line, val, where, e);
	if (!strcmp(key, "memory-backend")) {
		front_set(&line->conf->mem_backend, val);
		return 0;
	}
	if (!strcmp(key, "kernel_irqchip") || !strcmp(key, "kernel-irqchip"))
		return set_irqchip(line, val, e);
	if (!strcmp(key, "mem-merge"))
		return parse_onoff(key, val, &line->conf->mem_merge, e);
	if (!strcmp(key, "dump-guest-core"))
		return parse_onoff(key, val, &line->conf->mem_dump, e);
	r = front_machine_prop(line->conf, key, val, e);
	if (r != -ENOENT)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(machine_given); i++) {
		if (strcmp(machine_given[i].key, key))
			continue;
		seen = true;
		if (!machine_given[i].val || !strcmp(machine_given[i].val, val))
			return 0;
	}
	if (seen)
		return err_set(e, EINVAL, "%s=%s is not possible on this board", key, val);
	near = nearest_word(key, known);
	return err_set(e, EINVAL, "machine property '%s' is not known%s%s%s", key,
		       near ? " (did you mean '" : "", near ?: "", near ? "'?)" : "");
}

static int on_machine(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	struct keyvals kvs;
	int r;

	if (qemu_wants_help(arg)) {
		front_machine_help();
		line->help_shown = true;
		return 0;
	}
	r = keyvals_parse(&kvs, arg, "type", e);
	if (r < 0)
		return r;
	for (size_t i = 0; !r && i < kvs.n; i++)
		r = machine_prop(line, kvs.kv[i].key, kvs.kv[i].val, where, e);
	keyvals_fini(&kvs);
	return r;
}

static int choose_accel(struct qemu_line *line, const char *list, struct err *e)
{
	int r = front_parse_accel(line->conf, list, e);

	/* A later -accel may still name one that works; qemu_read_line() has the last word. */
	if (!r && !line->conf->accel) {
		free(line->accel_refused);
		line->accel_refused = xstrdup(list);
	}
	return r;
}

static int accel_number(const struct keyvals *kvs, const char *key, uint32_t *out, struct err *e)
{
	const char *text = keyvals_get(kvs, key);
	char *end;
	unsigned long n;

	if (!text)
		return 0;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || n > UINT32_MAX)
		return err_set(e, EINVAL, "%s=%s: a number is needed", key, text);
	*out = (uint32_t)n;
	return 0;
}

static int on_accel(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	/* Of a translator and its threads; here each vCPU has a thread in any case. */
	static const char *const threads[] = { "single", "multi", NULL };
	static const char *const chips[] = { "on", "off", "split", NULL };
	static const struct keyval_rule rules[] = {
		{ "accel", NULL },
		{ "thread", threads },
		{ "tb-size", NULL },
		{ "split-wx", keyval_onoff },
		{ "kernel-irqchip", chips },
		{ "halt-poll-ns", NULL },
		{ "dirty-ring-size", NULL },
		{ "lockstep", keyval_onoff },
		{ NULL, NULL },
	};
	struct keyvals kvs;
	int r;

	if (qemu_wants_help(arg)) {
		puts("Accelerators supported:\nkvm\ntcg\nsoft");
		line->help_shown = true;
		return 0;
	}
	r = keyvals_parse(&kvs, arg, "accel", e);
	if (r < 0)
		return r;
	r = keyvals_check(&kvs, rules, e);
	for (size_t i = 0; !r && i < kvs.n; i++)
		if (!strcmp(kvs.kv[i].key, "accel"))
			r = choose_accel(line, kvs.kv[i].val, e);
	if (!r)
		r = accel_number(&kvs, "dirty-ring-size", &line->conf->dirty_ring_size, e);
	if (!r && keyvals_get(&kvs, "halt-poll-ns")) {
		r = accel_number(&kvs, "halt-poll-ns", &line->conf->halt_poll_ns, e);
		line->conf->has_halt_poll = true;
	}
	if (!r && keyvals_get(&kvs, "kernel-irqchip"))
		r = set_irqchip(line, keyvals_get(&kvs, "kernel-irqchip"), e);
	if (!r && keyvals_get(&kvs, "lockstep"))
		line->conf->lockstep = !strcmp(keyvals_get(&kvs, "lockstep"), "on");
	keyvals_fini(&kvs);
	return r;
}

static int on_enable_kvm(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	return choose_accel(line, "kvm", e);
}

void front_cpu_help(void)
{
	const char *name, *what;
	unsigned col = 80;

	puts("Available CPUs:");
	for (unsigned i = 0; (name = x86_model_name(i, &what)); i++)
		printf("  %-12s %s\n", name, what);
	fputs("\nRecognized CPUID flags:", stdout);
	for (unsigned f = 1; (name = x86_feature_name(f)); f++) {
		if (col + strlen(name) + 1 > 78) {
			fputs("\n ", stdout);
			col = 1;
		}
		col += (unsigned)printf(" %s", name);
	}
	putchar('\n');
}

static int on_cpu(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	if (qemu_wants_help(arg)) {
		front_cpu_help();
		line->help_shown = true;
		return 0;
	}
	front_set(&line->conf->cpu, arg);
	return 0;
}

static int on_smp(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	return front_parse_smp(line->conf, arg, e);
}

static int on_m(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	return front_parse_memory(line->conf, arg, e);
}

static int on_kernel(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	front_set(&line->conf->kernel, arg);
	return 0;
}

static int on_initrd(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	front_set(&line->conf->initrd, arg);
	return 0;
}

static int on_append(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	front_set(&line->conf->append, arg);
	return 0;
}

static int on_name(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	static const struct keyval_rule rules[] = { { "guest", NULL },
						    { "process", NULL },
						    { "debug-threads", keyval_onoff },
						    { NULL, NULL } };
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, arg, "guest", e);

	if (r < 0)
		return r;
	r = keyvals_check(&kvs, rules, e);
	if (!r && keyvals_get(&kvs, "guest"))
		front_set(&line->conf->name, keyvals_get(&kvs, "guest"));
	keyvals_fini(&kvs);
	return r;
}

static int on_uuid(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	return front_parse_uuid(line->conf, arg, e);
}

static int on_rtc(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	static const char *const clocks[] = { "host", "rt", NULL };
	static const char *const drifts[] = { "none", "slew", NULL };
	static const struct keyval_rule rules[] = {
		{ "base", NULL }, { "clock", clocks }, { "driftfix", drifts }, { NULL, NULL }
	};
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, arg, NULL, e);

	if (r < 0)
		return r;
	r = keyvals_check(&kvs, rules, e);
	if (!r && keyvals_get(&kvs, "base"))
		front_set(&line->conf->rtc_base, keyvals_get(&kvs, "base"));
	keyvals_fini(&kvs);
	return r;
}

/* Drive letters: a, b floppies, c disk, d CD, n network and so on, each once. */
static int check_boot_order(const char *key, const char *order, struct err *e)
{
	unsigned seen = 0;

	for (const char *p = order; p && *p; p++) {
		unsigned bit = *p >= 'a' && *p <= 'p' ? 1u << (*p - 'a') : 0;

		if (!bit || (seen & bit))
			return err_set(e, EINVAL,
				       "%s=%s: letters from a to p, each once (c is the disk, n "
				       "the network)",
				       key, order);
		seen |= bit;
	}
	return 0;
}

/* With a kernel given there is nothing to choose; the words are checked all the same. */
static int on_boot(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	static const struct keyval_rule rules[] = {
		{ "order", NULL },	    { "once", NULL },	     { "menu", keyval_onoff },
		{ "splash", NULL },	    { "splash-time", NULL }, { "reboot-timeout", NULL },
		{ "strict", keyval_onoff }, { NULL, NULL },
	};
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, arg, "order", e);

	if (r < 0)
		return r;
	r = keyvals_check(&kvs, rules, e);
	if (!r)
		r = check_boot_order("order", keyvals_get(&kvs, "order"), e);
	if (!r)
		r = check_boot_order("once", keyvals_get(&kvs, "once"), e);
	keyvals_fini(&kvs);
	return r;
}

static int on_display(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	if (strcmp(arg, "none"))
		return err_set(e, EINVAL,
			       "display '%s' is not here yet: -display none or -nographic", arg);
	line->display_none = true;
	return 0;
}

static int on_vga(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	return strcmp(arg, "none") ? err_set(e, EINVAL, "there is no graphics card yet: -vga none")
				   : 0;
}

static int on_incoming(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	static const char *const known[] = { "file:", "fd:", "exec:", "unix:", "tcp:" };
	bool ok = !strcmp(arg, "defer");

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		ok |= !strncmp(arg, known[i], strlen(known[i]));
	if (!ok)
		return err_set(e, EINVAL,
			       "say defer, file:PATH, fd:NUMBER, exec:COMMAND, unix:PATH or "
			       "tcp:HOST:PORT");
	front_set(&line->conf->incoming, arg);
	return 0;
}

static int on_stopped(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	line->conf->start_paused = true;
	return 0;
}

/* The old way to say what -nic says. */

static int on_nographic(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	line->nographic = true;
	return 0;
}

static int on_nodefaults(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	line->nodefaults = true;
	return 0;
}

static int on_no_reboot(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	line->conf->no_reboot = true;
	return 0;
}

static int on_no_shutdown(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	line->conf->no_shutdown = true;
	return 0;
}

static int on_nothing(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	return 0;
}

static int on_nothing_with(struct qemu_line *line, const char *arg, const char *where,
			   struct err *e)
{
	return 0;
}

static int on_version(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	printf("QEMU emulator version %d.%d.%d (hanok " HANOK_VERSION ")\n"
	       "A virtual machine monitor that takes QEMU's command line; not QEMU.\n",
	       MON_QEMU_MAJOR, MON_QEMU_MINOR, MON_QEMU_MICRO);
	line->help_shown = true;
	return 0;
}

static int on_help(struct qemu_line *line, const char *arg, const char *where, struct err *e)
{
	printf("hanok %s, called by QEMU's name: it takes these of QEMU's options.\n"
	       "usage: qemu-system-x86_64 [options]\n\n",
	       HANOK_VERSION);
	for (const struct qemu_opt *o = qemu_opts; o->name; o++) {
		autofree char *head =
			xasprintf("-%s%s%s", o->name, o->arg ? " " : "", o->arg ?: "");

		if (o->help)
			printf("%-34s %s\n", head, o->help);
	}
	line->help_shown = true;
	return 0;
}

const struct qemu_opt qemu_opts[] = {
	{ "h", NULL, on_help, NULL },
	{ "help", NULL, on_help, "this text" },
	{ "version", NULL, on_version, "the version" },
	{ "machine", "q35|microvm[,accel=tcg]", on_machine, "the board ('help' lists them)" },
	{ "M", "q35|microvm", on_machine, "the same as -machine" },
	{ "accel", "kvm|tcg", on_accel, "the CPU engine; tcg means hanok's own soft engine" },
	{ "cpu", "MODEL[,+F,-F]", on_cpu, "the CPU model ('help' lists them)" },
	{ "smp", "N|cpus=,sockets=,...", on_smp, "virtual CPUs and their topology" },
	{ "m", "SIZE[M|G]", on_m, "guest memory; plain numbers are MiB" },
	{ "mem-path", "FILE", qemu_opt_mem_path, "guest memory in a file, or in a folder's" },
	{ "mem-prealloc", NULL, qemu_opt_mem_prealloc, "take all guest memory at the start" },
	{ "overcommit", "mem-lock=on|off,cpu-pm=on|off", qemu_opt_overcommit,
	  "keep memory from being paged out; let idle guests keep their host CPUs" },
	{ "object", "TYPE,id=ID", qemu_opt_object, "an object for others to use ('help' lists)" },
	{ "kernel", "FILE", on_kernel, "a Linux bzImage or an ELF vmlinux" },
	{ "initrd", "FILE", on_initrd, "the initial RAM disk" },
	{ "append", "TEXT", on_append, "the kernel's command line" },
	{ "drive", "file=F,if=virtio,format=raw", qemu_opt_drive,
	  "a disk image (if=virtio or none)" },
	{ "blockdev", "driver=,node-name=", qemu_opt_blockdev,
	  "a block node: driver=file, host_device or raw, also as JSON" },
	{ "device", "TYPE[,prop=value]", qemu_opt_device, "a device ('help', 'TYPE,help' list)" },
	{ "netdev", "user|tap,id=ID", qemu_opt_netdev, "a network back end" },
	{ "nic", "user|tap|none[,mac=]", qemu_opt_nic, "a NIC and its back end in one" },
	{ "net", "nic|user|tap|none", qemu_opt_net, "an older spelling of -nic, in two parts" },
	{ "chardev", "TYPE,id=ID", qemu_opt_chardev, "stdio, file, null, socket or pty" },
	{ "serial", "stdio|file:F|null|none|...", qemu_opt_serial,
	  "the next serial port (COM1 to COM4)" },
	{ "monitor", "stdio|unix:P|none|...", qemu_opt_monitor, "a monitor for people" },
	{ "qmp", "unix:P,server=on,wait=off", qemu_opt_qmp, "a monitor for programs (QMP)" },
	{ "qmp-pretty", "DEV", qemu_opt_qmp_pretty, "the same, its JSON laid out for reading" },
	{ "mon", "chardev=ID,mode=M", qemu_opt_mon,
	  "a monitor on a chardev: mode=readline or control (QMP)" },
	{ "add-fd", "set=N,fd=M[,opaque=]", qemu_opt_add_fd,
	  "an inherited descriptor, to be named /dev/fdset/N" },
	{ "incoming", "defer|file:F|fd:N|exec:CMD", on_incoming,
	  "go on from a saved machine; defer: which one, migrate-incoming says" },
	{ "daemonize", NULL, qemu_opt_daemonize, "into the background, once it runs" },
	{ "pidfile", "FILE", qemu_opt_pidfile, "write the process's number there" },
	{ "msg", "timestamp=on", qemu_opt_msg, "dates in front of messages" },
	{ "D", "FILE", qemu_opt_log_file, "messages go to FILE" },
	{ "d", "ITEM,...", qemu_opt_log, "more messages ('help' lists)" },
	{ "trace", "[enable=]PATTERN[,events=F][,file=F]", qemu_opt_trace,
	  "lines about what the machine does ('help' lists the events)" },
	{ "perfmap", NULL, qemu_opt_perfmap,
	  "/tmp/perf-PID.map names translated code for perf(1)" },
	{ "jitdump", NULL, qemu_opt_jitdump, "jit-PID.dump has translated code, for perf inject" },
	{ "global", "DRIVER.PROP=VALUE", qemu_opt_global, "a default for devices' properties" },
	{ "readconfig", "FILE", qemu_opt_readconfig, "options from a file" },
	{ "action", "panic=,reboot=,...", qemu_opt_action, "what is done when something happens" },
	{ "watchdog-action", "ACTION", qemu_opt_watchdog_action, "the same as -action watchdog=" },
	{ "sandbox", "on|off[,spawn=allow|deny]", qemu_opt_sandbox,
	  "each thread makes the system calls of its role only (default on)" },
	{ "run-with", "user=,chroot=", qemu_opt_run_with, "user and folder of the process" },
	{ "audiodev", "none,id=ID", qemu_opt_audiodev, "only none" },
	{ "numa", "node", qemu_opt_numa, "accepted for one node with everything" },
	{ "parallel", "none", qemu_opt_parallel, "only none" },
	{ "echr", "N", qemu_opt_echr, "the key in place of Ctrl-A, as 1 to 31" },
	{ "k", "LANGUAGE", on_nothing_with, "accepted: there is no keyboard to map" },
	{ "S", NULL, on_stopped, "do not run the CPUs until the monitor says cont" },
	{ "display", "none", on_display, "there is no screen yet" },
	{ "vga", "none", on_vga, "there is no graphics card yet" },
	{ "nographic", NULL, on_nographic, "COM1 on the terminal; Ctrl-A x ends, Ctrl-A h helps" },
	{ "nodefaults", NULL, on_nodefaults, "no device that was not asked for" },
	{ "no-user-config", NULL, on_nothing, "accepted: hanok reads no configuration files" },
	{ "enable-kvm", NULL, on_enable_kvm, "the same as -accel kvm" },
	{ "no-reboot", NULL, on_no_reboot, "end instead of rebooting" },
	{ "no-shutdown", NULL, on_no_shutdown, "stop, but stay, when the guest powers off" },
	{ "name", "NAME", on_name, "the guest's name" },
	{ "uuid", "UUID", on_uuid, "the guest's UUID (SMBIOS)" },
	{ "rtc", "base=utc|localtime|DATE", on_rtc, "the guest's clock" },
	{ "boot", "order=,strict=", on_boot, "accepted for direct boot, where there is no choice" },
	{ NULL, NULL, NULL, NULL },
};
