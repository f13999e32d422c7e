/* SPDX-License-Identifier: Apache-2.0 */
/* Whole command lines of both front ends into the configuration tree. */
#include "cmocka_all.h"

#include "base/log.h"
#include "cli/qemu_opts.h"
#include "mon/options.h"
#include <stdio.h>

#define MAX_WORDS 64

/* Splits at single spaces; 'x y' keeps a blank. */
static int split(char *text, char **argv)
{
	int n = 1;

	argv[0] = (char *)"prog";
	while (*text && n < MAX_WORDS) {
		char end = ' ';

		if (*text == '\'') {
			end = '\'';
			text++;
		}
		argv[n++] = text;
		text = strchr(text, end);
		if (!text)
			break;
		*text++ = '\0';
		while (*text == ' ')
			text++;
	}
	argv[n] = NULL;
	return n;
}

static struct vm_conf *qemu(const char *text, struct err *e, int *result)
{
	struct qemu_line line = { .conf = vm_conf_new(), .parse_only = true };
	autofree char *copy = xstrdup(text);
	char *argv[MAX_WORDS + 1];
	int argc = split(copy, argv);

	*result = qemu_read_line(&line, argc, argv, e);
	qemu_line_fini(&line);
	return line.conf;
}

static struct vm_conf *qemu_ok(const char *text)
{
	struct err e = { 0 };
	int r;
	struct vm_conf *conf = qemu(text, &e, &r);

	if (r < 0)
		fail_msg("'%s' was refused: %s", text, e.msg);
	return conf;
}

/* Refused, and the message names what. */
static void qemu_bad(const char *text, const char *names)
{
	struct err e = { 0 };
	int r;
	struct vm_conf *conf = qemu(text, &e, &r);

	vm_conf_free(conf);
	if (r >= 0)
		fail_msg("'%s' was taken", text);
	if (!strstr(e.msg, names))
		fail_msg("'%s': the message does not name '%s': %s", text, names, e.msg);
}

static struct conf_node *nth(struct vm_conf *conf, enum conf_kind kind, unsigned n)
{
	for (struct conf_node *node = conf->nodes; node; node = node->next)
		if (node->kind == kind && !n--)
			return node;
	return NULL;
}

static void expect(struct conf_node *node, const char *key, const char *val)
{
	const char *got;

	assert_non_null(node);
	got = conf_get(node, key);
	assert_non_null(got);
	assert_string_equal(got, val);
}

static void test_typed_line(void **state)
{
	struct vm_conf *conf = qemu_ok(
		"-M q35 -accel tcg -smp 4 -m 1G -kernel K -initrd I -append 'console=ttyS0 a' "
		"-nographic -drive file=D,if=virtio,format=raw -nic user,model=virtio-net-pci");

	assert_string_equal(conf->machine, "q35");
	assert_string_equal(conf->accel, "soft");
	assert_int_equal(conf->cpus, 4);
	assert_int_equal(conf->mem_size, GIB(1));
	assert_string_equal(conf->kernel, "K");
	assert_string_equal(conf->initrd, "I");
	assert_string_equal(conf->append, "console=ttyS0 a");
	expect(nth(conf, CONF_DRIVE, 0), "file", "D");
	expect(nth(conf, CONF_DRIVE, 0), "format", "raw");
	assert_string_equal(nth(conf, CONF_DEVICE, 0)->type, "virtio-blk");
	expect(nth(conf, CONF_DEVICE, 0), "drive", nth(conf, CONF_DRIVE, 0)->id);
	assert_string_equal(nth(conf, CONF_NETDEV, 0)->type, "user");
	assert_string_equal(nth(conf, CONF_DEVICE, 1)->type, "virtio-net-pci");
	expect(nth(conf, CONF_DEVICE, 1), "netdev", nth(conf, CONF_NETDEV, 0)->id);
	assert_string_equal(nth(conf, CONF_CHARDEV, 0)->type, "stdio");
	assert_string_equal(conf->serial[0], nth(conf, CONF_CHARDEV, 0)->id);
	vm_conf_free(conf);
}

static void test_serial(void **state)
{
	struct vm_conf *conf = qemu_ok(
		"-display none -chardev stdio,id=c0,mux=on,signal=off -serial chardev:c0 "
		"-serial none -serial unix:/s,server,nowait -serial tcp:h:12,server=on,wait=off");

	assert_string_equal(conf->serial[0], "c0");
	assert_null(conf->serial[1]);
	expect(conf_find(conf, CONF_CHARDEV, conf->serial[2]), "path", "/s");
	expect(conf_find(conf, CONF_CHARDEV, conf->serial[2]), "server", "on");
	expect(conf_find(conf, CONF_CHARDEV, conf->serial[2]), "wait", "off");
	expect(conf_find(conf, CONF_CHARDEV, conf->serial[3]), "host", "h");
	expect(conf_find(conf, CONF_CHARDEV, conf->serial[3]), "port", "12");
	vm_conf_free(conf);
	qemu_bad("-serial chardev:nope", "nope");
	qemu_bad("-serial socket", "unix:PATH");
	qemu_bad("-serial tcp:server=on", "tcp:HOST:PORT");
	qemu_bad("-serial unix:", "unix:PATH");
	qemu_bad("-serial stdin", "stdio");
	qemu_bad("-serial null -serial null -serial null -serial null -serial null",
		 "serial ports");
}

static void test_defaults(void **state)
{
	struct vm_conf *conf = qemu_ok("-display none -nodefaults");

	assert_null(conf->serial[0]);
	assert_null(conf->accel); /* what the host has */
	assert_int_equal(conf->cpus, 1);
	vm_conf_free(conf);
	conf = qemu_ok(
		"-nographic -no-reboot -no-shutdown -name guest=g,debug-threads=on "
		"-uuid 00112233-4455-6677-8899-aabbccddeeff -rtc base=localtime,clock=host -boot strict=on "
		"-no-user-config -monitor none -vga none -net none -cpu max,+avx");
	assert_true(conf->no_reboot && conf->no_shutdown && conf->has_uuid);
	assert_string_equal(conf->name, "g");
	assert_string_equal(conf->rtc_base, "localtime");
	assert_string_equal(conf->cpu, "max,+avx");
	assert_non_null(conf->serial[0]);
	vm_conf_free(conf);
}

static void accel_is(const char *line, const char *want)
{
	struct vm_conf *conf = qemu_ok(line);

	assert_string_equal(conf->accel, want);
	vm_conf_free(conf);
}

static void test_accel(void **state)
{
	struct vm_conf *conf;

	accel_is("-accel kvm -nographic", "kvm");
	accel_is("-enable-kvm -nographic", "kvm");
	accel_is("-accel kvm -accel tcg,thread=multi -nographic", "kvm:soft");
	accel_is("-machine q35,accel=kvm:mshv:tcg,usb=off -nographic", "kvm:soft");
	vm_conf_free(qemu_ok("-machine pc-q35-9.0 -nographic"));
	qemu_bad("-machine q35,accel=xen", "xen");
	qemu_bad("-accel kvn", "'kvm'");
	qemu_bad("-accel kvm,kernel-irqchip=maybe", "on, off or split");
	conf = qemu_ok("-accel kvm,dirty-ring-size=4096,halt-poll-ns=0 -nographic");
	assert_int_equal(conf->dirty_ring_size, 4096);
	assert_true(conf->has_halt_poll && !conf->halt_poll_ns);
	vm_conf_free(conf);
	conf = qemu_ok("-accel kvm -nographic");
	assert_false(conf->has_halt_poll || conf->dirty_ring_size);
	vm_conf_free(conf);
	qemu_bad("-accel kvm,dirty-ring-size=-1", "dirty-ring-size=-1");
	qemu_bad("-accel kvm,dirty-ring-size=4294967296", "a number is needed");
	qemu_bad("-accel kvm,halt-poll-ns=fast", "halt-poll-ns=fast");
}

/* What query-command-line-options says that an option takes, its parser knows. */
static void test_groups(void **state)
{
	static const char *const others[][2] = { { "smp-opts", "smp" },
						 { "memory", "m" },
						 { "boot-opts", "boot" } };

	for (const struct opt_group *g = opt_groups; g->name; g++)
		for (const struct opt_param *p = g->params; p->name; p++) {
			const char *name = g->name;
			struct err e = { 0 };
			char text[200];
			int r;

			for (size_t i = 0; i < ARRAY_SIZE(others); i++)
				if (!strcmp(name, others[i][0]))
					name = others[i][1];
			snprintf(text, sizeof(text), "-%s %s=nonsense", name, p->name);
			vm_conf_free(qemu(text, &e, &r));
			/* taken, or the value is what is wrong with it */
			if (r < 0 &&
			    (strstr(e.msg, "did you mean") || !strstr(e.msg, "nonsense")) &&
			    !strstr(e.msg, "missing"))
				fail_msg("'%s': %s", text, e.msg);
			snprintf(text, sizeof(text), "-%s no-such-thing=on", name);
			qemu_bad(text, "no-such-thing");
		}
}

static void sandbox_is(const char *line, bool on, bool spawn)
{
	struct vm_conf *conf = qemu_ok(line);

	assert_int_equal(conf->sandbox.on, on);
	assert_int_equal(conf->sandbox.spawn, spawn);
	vm_conf_free(conf);
}

static void test_sandbox(void **state)
{
	sandbox_is(
		"-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		true, false);
	sandbox_is("-sandbox on,spawn=allow", true, true);
	sandbox_is("-sandbox off", false, false);
	qemu_bad("-sandbox maybe", "on or off");
	qemu_bad("-sandbox on,spawn=perhaps", "allow");
	qemu_bad("-sandbox on,spam=deny", "spawn");
	qemu_bad("-sandbox off,spawn=allow", "spawn=allow");
}

static void test_refused(void **state)
{
	qemu_bad("-kernal K", "-kernel");
	qemu_bad("-chardev null,id=", "identifier");
	qemu_bad("-netdev user,id=1bad", "1bad");
	qemu_bad("-drive file=F,if=none,id=a/b,format=raw", "a/b");
	qemu_bad("-kernel", "argument");
	qemu_bad("disk.img", "-drive");
	qemu_bad("-M pc", "q35");
	qemu_bad("-M q36", "q35");
	qemu_bad("-M q35,usb=on", "usb=on");
	qemu_bad("-M q35,dump-guest-coro=on", "dump-guest-core");
	qemu_bad("-drive file=x", "if=virtio");
	qemu_bad("-drive file=x,if=ide", "if=ide");
	qemu_bad("-drive if=virtio", "file=");
	qemu_bad("-drive file=x,if=virtio,media=cdrom", "cdrom");
	qemu_bad("-device virtio-blk-pcj", "virtio-blk-pci");
	qemu_bad("-netdev usr,id=x", "user");
	qemu_bad("-netdev user", "id");
	qemu_bad("-nic user,model=e1000", "e1000");
	qemu_bad("-chardev stdio", "id");
	qemu_bad("-chardev studio,id=x", "stdio");
	qemu_bad("-chardev null,id=x -chardev null,id=x", "already");
	qemu_bad("-display sdl", "sdl");
	qemu_bad("-monitor mon:stdio", "-serial");
	qemu_bad("-mon chardev=c,mode=contrl", "control or readline");
	qemu_bad("-mon id=m", "which chardev");
	qemu_bad("-chardev null,id=chr0 -mon chr1", "'chr0'");
	qemu_bad("-chardev null,id=c -mon c,id=m -mon c,id=m", "already");
	qemu_bad("-add-fd set=1", "fd= is missing");
	qemu_bad("-add-fd set=x,fd=9", "set=x");
	qemu_bad("-add-fd set=1,fd=2", "standard");
	qemu_bad("-smp 0", "smp");
	qemu_bad("-boot ordr=c", "'order'");
	qemu_bad("-boot order=q", "order=q");
	qemu_bad("-boot cc", "each once");
	qemu_bad("-boot menu=perhaps", "on or off");
	qemu_bad("-name guest=g,debug-threads=maybe", "debug-threads=maybe");
	qemu_bad("-name gest=g", "'guest'");
	qemu_bad("-rtc driftfix=bar", "none or slew");
	qemu_bad("-rtc clock=vm", "clock=vm");
	qemu_bad("-rtc bas=utc", "'base'");
	qemu_bad("-rtc whatever=1", "base, clock or driftfix");
	qemu_bad("-accel tcg,thread=many", "single or multi");
	qemu_bad("-accel tcg -accel tcg,tb-sise=1", "tb-size");
	qemu_bad("-M pc-q35-abc", "pc-q35-abc");
	qemu_bad("-M pc-q35-9.0x", "pc-q35-9.0x");
	qemu_bad("-net user", "-nic user");
	qemu_bad("-net nic", "back end");
	qemu_bad("-net nic -net user -net nic", "-nic for more");
	qemu_bad("-net nic,modl=virtio -net user", "model or macaddr");
	qemu_bad("-net nic,model=e1000 -net user", "e1000");
	qemu_bad("-smp 4,modules=2", "modules=2");
}

static void test_monitors(void **state)
{
	struct vm_conf *conf = qemu_ok(
		"-S -nodefaults -display none -chardev socket,id=cm,fd=27,server=on,wait=off "
		"-mon chardev=cm,id=monitor,mode=control -monitor unix:/m,server,nowait "
		"-qmp-pretty tcp:[::1]:4444,server=on,wait=off -qmp chardev:late "
		"-chardev pty,id=late,logfile=/dev/fdset/0,logappend=on");
	struct conf_node *m = conf_find(conf, CONF_MONITOR, "monitor");

	assert_true(conf->start_paused);
	expect(m, "chardev", "cm");
	expect(m, "mode", "control");
	expect(conf_find(conf, CONF_CHARDEV, "cm"), "fd", "27");
	m = nth(conf, CONF_MONITOR, 1);
	expect(m, "mode", "readline");
	expect(conf_find(conf, CONF_CHARDEV, conf_get(m, "chardev")), "path", "/m");
	expect(conf_find(conf, CONF_CHARDEV, conf_get(m, "chardev")), "wait", "off");
	m = nth(conf, CONF_MONITOR, 2);
	expect(m, "mode", "control");
	expect(m, "pretty", "on");
	expect(conf_find(conf, CONF_CHARDEV, conf_get(m, "chardev")), "host", "::1");
	expect(nth(conf, CONF_MONITOR, 3), "chardev", "late");
	vm_conf_free(conf);
}

/* What -nographic puts on the terminal, by what the line said besides. */
static void test_default_monitor(void **state)
{
	static const struct {
		const char *line;
		const char *chardev; /* the kind under COM1, NULL: none */
		bool mux, monitor;   /* a monitor in readline mode */
	} cases[] = {
		{ "-nographic", "stdio", true, true },
		{ "-nographic -monitor none", "stdio", false, false },
		{ "-nographic -qmp unix:/q,server,nowait", "stdio", false, false },
		{ "-nographic -serial pty", "pty", false, true },
		{ "-nographic -serial stdio", "stdio", false, false },
		{ "-nodefaults -nographic -serial mon:stdio", "stdio", true, true },
		{ "-display none -serial null", "null", false, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vm_conf *conf = qemu_ok(cases[i].line);
		struct conf_node *c = conf_find(conf, CONF_CHARDEV, conf->serial[0]);
		bool monitor = false;

		assert_non_null(c);
		assert_string_equal(c->type, cases[i].chardev);
		assert_int_equal(conf_get(c, "mux") != NULL, cases[i].mux);
		for (unsigned n = 0; nth(conf, CONF_MONITOR, n); n++)
			monitor |=
				!strcmp(conf_get(nth(conf, CONF_MONITOR, n), "mode"), "readline");
		if (monitor != cases[i].monitor)
			fail_msg("'%s': a monitor for people: %d", cases[i].line, monitor);
		vm_conf_free(conf);
	}
}

static void test_microvm(void **state)
{
	struct vm_conf *conf = qemu_ok("-M microvm,pit=off,pic=auto,rtc=off,acpi=on,pcie=on,"
				       "auto-kernel-cmdline=on,x-option-roms=off,usb=off "
				       "-drive file=D,if=virtio,format=raw -nic user -nographic");

	assert_string_equal(conf->machine, "microvm");
	assert_true(conf->pcie);
	assert_false(conf->no_serial);
	/* Where they go the board says. */
	assert_string_equal(nth(conf, CONF_DEVICE, 0)->type, "virtio-blk");
	assert_string_equal(nth(conf, CONF_DEVICE, 1)->type, "virtio-net");
	vm_conf_free(conf);
	conf = qemu_ok("-M microvm,isa-serial=off -nic user,model=virtio-net-device -nographic");
	assert_true(conf->no_serial);
	assert_false(conf->pcie);
	assert_string_equal(nth(conf, CONF_DEVICE, 0)->type, "virtio-net-device");
	vm_conf_free(conf);
	qemu_bad("-M microvm,pit=on", "local APIC");
	qemu_bad("-M microvm,pic=on", "IOAPIC");
	qemu_bad("-M microvm,rtc=on", "kvm-clock");
	qemu_bad("-M microvm,acpi=off", "ACPI alone");
	qemu_bad("-M microvm,pcie=maybe", "pcie");
	qemu_bad("-M microvn", "microvm");
	qemu_bad("-M q35,pcie=on", "pcie");
}

/* The two spellings are one. JSON has commas and quotes, which split() leaves alone. */
static void test_json_lines(void **state)
{
	struct vm_conf *conf = qemu_ok(
		"-nodefaults -display none "
		"-device {\"driver\":\"virtio-blk-pci\",\"bus\":\"pcie.0\",\"addr\":\"0x1.0x1\","
		"\"multifunction\":true,\"drive\":\"f1\",\"id\":\"d0\",\"num-queues\":4} "
		"-netdev {\"type\":\"user\",\"id\":\"n0\",\"hostfwd\":[{\"str\":\"tcp::1-:22\"},"
		"{\"str\":\"udp::2-:53\"}]}");
	struct conf_node *d = conf_find(conf, CONF_DEVICE, "d0");
	struct conf_node *n = conf_find(conf, CONF_NETDEV, "n0");

	assert_non_null(d);
	assert_string_equal(d->type, "virtio-blk-pci");
	expect(d, "addr", "0x1.0x1");
	expect(d, "multifunction", "on");
	expect(d, "num-queues", "4");
	assert_non_null(n);
	assert_string_equal(n->type, "user");
	assert_string_equal(n->kv->val, "tcp::1-:22");
	assert_string_equal(n->kv->next->key, "hostfwd");
	assert_string_equal(n->kv->next->val, "udp::2-:53");
	vm_conf_free(conf);
	qemu_bad("-device {\"driver\":\"virtio-blk-pcj\"}", "virtio-blk-pci");
	qemu_bad("-device {\"driver\":\"virtio-blk-pci\"", "column");
	qemu_bad("-netdev {\"id\":\"n\"}", "say which");
}

static void test_blockdev(void **state)
{
	struct vm_conf *conf = qemu_ok(
		"-nodefaults -display none "
		"-blockdev {\"driver\":\"file\",\"filename\":\"/d,1\",\"node-name\":\"l-1-storage\","
		"\"auto-read-only\":true,\"discard\":\"unmap\",\"cache\":{\"direct\":true}} "
		"-blockdev node-name=l-1-format,read-only=off,driver=raw,file=l-1-storage "
		"-blockdev driver=raw,node-name=two,file.driver=file,file.filename=/d2 "
		"-device virtio-blk-pci,drive=l-1-format,id=d");
	struct conf_node *n = conf_find(conf, CONF_DRIVE, "l-1-storage");

	assert_non_null(n);
	assert_string_equal(n->type, "file");
	expect(n, "filename", "/d,1");
	expect(n, "cache.direct", "on");
	n = conf_find(conf, CONF_DRIVE, "l-1-format");
	assert_non_null(n);
	assert_string_equal(n->type, "raw");
	expect(n, "file", "l-1-storage");
	n = conf_find(conf, CONF_DRIVE, "two");
	assert_non_null(n);
	expect(n, "file.filename", "/d2");
	vm_conf_free(conf);
	qemu_bad("-blockdev driver=file", "node-name");
	qemu_bad("-blockdev node-name=n", "driver=");
	qemu_bad("-blockdev driver=raw,node-name=a/b", "identifier");
	qemu_bad("-drive if=none,id=a,file=F -blockdev driver=raw,node-name=a", "already");
}

static void test_objects(void **state)
{
	struct vm_conf *conf = qemu_ok(
		"-nodefaults -display none -m size=524288k -overcommit mem-lock=off "
		"-machine pc-q35-10.0,usb=off,dump-guest-core=off,memory-backend=pc.ram "
		"-object {\"qom-type\":\"memory-backend-ram\",\"id\":\"pc.ram\",\"size\":536870912,"
		"\"host-nodes\":[0,1],\"policy\":\"bind\",\"prealloc\":true} "
		"-object secret,id=masterKey0,format=raw,file=/k -chardev null,id=c "
		"-object {\"qom-type\":\"monitor-qmp\",\"id\":\"monitor\",\"chardev\":\"c\"}");
	struct conf_node *m = conf_find(conf, CONF_OBJECT, "pc.ram");

	assert_int_equal(conf->mem_size, MIB(512));
	assert_string_equal(conf->mem_backend, "pc.ram");
	assert_false(conf->mem_dump);
	assert_non_null(m);
	assert_string_equal(m->type, "memory-backend-ram");
	expect(m, "size", "536870912");
	expect(m, "host-nodes.1", "1");
	expect(m, "prealloc", "on");
	expect(conf_find(conf, CONF_OBJECT, "masterKey0"), "file", "/k");
	expect(conf_find(conf, CONF_MONITOR, "monitor"), "mode", "control");
	vm_conf_free(conf);
	conf = qemu_ok(
		"-nodefaults -display none -mem-path /x -mem-prealloc -machine q35,mem-merge=on"
		" -overcommit mem-lock=on-fault -machine dump-guest-core=on");
	assert_string_equal(conf->mem_path, "/x");
	assert_true(conf->mem_prealloc && conf->mem_merge && conf->mem_dump);
	assert_int_equal(conf->mem_lock, MEM_LOCK_TOUCHED);
	vm_conf_free(conf);
	vm_conf_free(qemu_ok("-object help"));
	vm_conf_free(qemu_ok("-object memory-backend-file,help"));
	qemu_bad("-object memory-backend-rum,id=x", "memory-backend-ram");
	qemu_bad("-object rng-builtin", "id is missing");
	qemu_bad("-object rng-builtin,id=a -object rng-builtin,id=a", "already");
	qemu_bad("-object monitor-qmp,id=m", "chardev=");
	qemu_bad("-overcommit mem-lok=on", "mem-lock");
	qemu_bad("-overcommit cpu-pm=yes", "cpu-pm");
	conf = qemu_ok("-overcommit cpu-pm=on,mem-lock=on -nographic");
	assert_true(conf->cpu_pm && conf->mem_lock == MEM_LOCK_ALL);
	vm_conf_free(conf);
	qemu_bad("-m 512,slots=2,maxmem=1G", "hot-plug");
	qemu_bad("-m sise=1G", "'size'");
}

/* The older spelling, card and back end apart. */
static void test_net(void **state)
{
	struct vm_conf *conf =
		qemu_ok("-display none -net nic,model=virtio,macaddr=52:54:00:00:00:07 "
			"-net user,hostfwd=tcp::10022-:22");
	struct conf_node *end = nth(conf, CONF_NETDEV, 0), *card = nth(conf, CONF_DEVICE, 0);

	assert_non_null(end);
	assert_string_equal(end->type, "user");
	expect(end, "hostfwd", "tcp::10022-:22");
	assert_string_equal(card->type, "virtio-net");
	expect(card, "netdev", end->id);
	expect(card, "mac", "52:54:00:00:00:07");
	vm_conf_free(conf);
	conf = qemu_ok("-display none -net none");
	assert_null(conf->nodes);
	vm_conf_free(conf);
}

/* Everything that libvirt puts on a line besides. */
static void test_libvirt_words(void **state)
{
	struct vm_conf *conf = qemu_ok(
		"-name guest=t1,debug-threads=on -S -machine pc-q35-10.0,usb=off,dump-guest-core=off,"
		"hpet=off,acpi=on,kernel_irqchip=off -accel tcg -cpu max -rtc base=utc,driftfix=slew "
		"-global kvm-pit.lost_tick_policy=delay -no-shutdown -global ICH9-LPC.disable_s3=1 "
		"-global ICH9-LPC.disable_s4=1 -boot strict=on -display none -nodefaults "
		"-audiodev {\"id\":\"audio1\",\"driver\":\"none\"} -global ICH9-LPC.noreboot=off "
		"-watchdog-action poweroff -sandbox "
		"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny "
		"-msg timestamp=on -global driver=virtio-blk-pci,property=num-queues,value=3");
	struct conf_node *g = nth(conf, CONF_GLOBAL, 0);

	assert_true(conf->no_shutdown && conf->no_irqchip && conf->log_timestamp);
	assert_int_equal(conf->watchdog_action, 2);
	assert_true(conf->sandbox.on && !conf->sandbox.spawn);
	assert_non_null(g);
	assert_string_equal(g->type, "virtio-blk-pci");
	expect(g, "num-queues", "3");
	assert_null(nth(conf, CONF_GLOBAL, 1));
	vm_conf_free(conf);
}

static void test_process_words(void **state)
{
	struct vm_conf *conf = qemu_ok(
		"-display none -daemonize -pidfile /p -D /l -d guest_errors,info,int,out_asm -run-with "
		"user=nobody,chroot=/c -action panic=pause,reboot=shutdown,watchdog=none -echr 2 "
		"-perfmap -jitdump -sandbox off -smp 4 -numa node,nodeid=0,cpus=0-3,memdev=m -parallel none -k de");

	assert_true(conf->daemonize && conf->no_reboot && !conf->sandbox.on);
	assert_true(conf->perf_map && conf->jit_dump);
	assert_string_equal(conf->pidfile, "/p");
	assert_string_equal(conf->log_file, "/l");
	assert_int_equal(conf->log_level, 3);
	assert_int_equal(conf->log_engine, LOG_INT | LOG_OUT_ASM);
	assert_string_equal(conf->user, "nobody");
	assert_string_equal(conf->chroot, "/c");
	assert_int_equal(conf->panic_action, 0);
	assert_int_equal(conf->watchdog_action, 5);
	assert_int_equal(conf->escape_key, 2);
	assert_string_equal(conf->mem_backend, "m");
	vm_conf_free(conf);
	qemu_bad("-nographic -daemonize", "no terminal");
	qemu_bad("-d gest_errors", "guest_errors");
	qemu_bad("-trace events=/no/such/file", "/no/such/file");
	qemu_bad("-trace enable=virtio*,evnts=x", "events");
	conf = qemu_ok("-trace virtio* -d trace:kvm_run_exit,info -trace enable=-vm*,file=/t");
	assert_string_equal(conf->trace, "virtio*\nkvm_run_exit\n-vm*\n");
	assert_string_equal(conf->trace_file, "/t");
	assert_null(conf->log_file);
	assert_int_equal(conf->log_level, 2);
	vm_conf_free(conf);
	qemu_bad("-msg timestmp=on", "timestamp");
	qemu_bad("-action panic=shutdwn", "exit-failure");
	qemu_bad("-watchdog-action explode", "inject-nmi");
	qemu_bad("-sandbox maybe", "on or off");
	qemu_bad("-sandbox on,spwan=deny", "'spawn'");
	qemu_bad("-run-with async-teardown=on", "async-teardown");
	qemu_bad("-audiodev pa,id=a", "only none");
	qemu_bad("-numa node -numa node", "one NUMA node");
	qemu_bad("-numa node,nodeid=1", "one NUMA node");
	qemu_bad("-smp 4 -numa node,cpus=0-1", "all 4 CPUs");
	qemu_bad("-echr 0", "control key");
	qemu_bad("-M q35,kernel_irqchip=half", "on, off or split");
	qemu_bad("-global ICH9-LPC.disable_s3=0", "no sleep state");
	qemu_bad("-global ICH9-LCP.disable_s3=1", "'ICH9-LPC'");
	qemu_bad("-global ICH9-LPC.disable_s5=1", "no property");
	qemu_bad("-global virtio-blk-pci.num-queue=1", "'num-queues'");
	qemu_bad("-global kvm-pit.lost_tick_policy=catchup", "delay or discard");
	qemu_bad("-global junk", "'junk' is not known");
	qemu_bad("-global driver=virtio-blk-pci", "DRIVER.PROPERTY=VALUE");
}

static int read_config(struct vm_conf *conf, const char *text, struct err *e)
{
	struct qemu_line line = { .conf = conf, .parse_only = true };
	autofree char *copy = xstrdup(text);
	int r = qemu_read_config(&line, copy, "f.cfg", e);

	qemu_line_fini(&line);
	return r;
}

static void test_readconfig(void **state)
{
	static const char good[] =
		"# a machine\n[machine]\n\ttype = \"q35\"\n  accel=\"tcg\"\n\n"
		"[memory]\n size = \"256M\"\n[smp-opts]\n cpus = \"2\"\r\n"
		"[object \"rng0\"]\n qom-type = \"rng-builtin\"\n"
		"[drive \"d0\"]\n file = \"/a,b\"\n if = \"none\"\n"
		"[device \"net0\"]\n driver = \"virtio-net-pci\"\n netdev = \"n\"\n"
		"[global]\n driver = \"virtio-blk-pci\"\n property = \"num-queues\"\n"
		" value = \"1\"";
	static const char *const bad[][2] = {
		{ "[machin]\n", "f.cfg:1: there is no group 'machin'; did you mean 'machine'?" },
		{ "\n[device \"x\"]\n drivr = \"a\"\n", "f.cfg:2: [device]: say which device" },
		{ "key = \"x\"", "f.cfg:1: 'key' stands in front of all sections" },
		{ "[memory]\nsize 5", "f.cfg:2: say key = \"value\"" },
		{ "[memory]\nsize = 5", "f.cfg:2: say key" },
		{ "[memory]\nsize = \"5\" 6", "f.cfg:2: say key" },
		{ "[memory]\nsize = \"5", "f.cfg:2: say key" },
		{ "[memory\n", "f.cfg:1: say [group]" },
		{ "[]\n", "f.cfg:1: say [group]" },
		{ "[device \"x\" y]\n", "f.cfg:1: say [group]" },
		{ "[memory]\n[rtc]", "f.cfg:1: [memory]: the section is empty" },
	};
	struct vm_conf *conf = vm_conf_new();
	struct err e = { 0 };

	if (read_config(conf, good, &e) < 0)
		fail_msg("%s", e.msg);
	assert_string_equal(conf->accel, "soft");
	assert_int_equal(conf->mem_size, MIB(256));
	assert_int_equal(conf->cpus, 2);
	assert_string_equal(conf_find(conf, CONF_OBJECT, "rng0")->type, "rng-builtin");
	expect(conf_find(conf, CONF_DRIVE, "d0"), "file", "/a,b");
	expect(conf_find(conf, CONF_DEVICE, "net0"), "netdev", "n");
	expect(nth(conf, CONF_GLOBAL, 0), "num-queues", "1");
	vm_conf_free(conf);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		conf = vm_conf_new();
		if (read_config(conf, bad[i][0], &e) >= 0)
			fail_msg("'%s' was taken", bad[i][0]);
		if (!strstr(e.msg, bad[i][1]))
			fail_msg("'%s': '%s'", bad[i][0], e.msg);
		vm_conf_free(conf);
	}
}

/* What QEMU has and hanok has not: named as that, with what to say instead. */
static void test_absent(void **state)
{
	qemu_bad("-hda x", "-drive file=");
	qemu_bad("-bios x", "-kernel");
	qemu_bad("-frobnicate", "not known");
}

/* Nothing is made that was not asked for. */
static void test_nodefaults(void **state)
{
	struct vm_conf *conf = qemu_ok("-nodefaults -nographic");

	assert_null(conf->serial[0]);
	assert_null(conf->nodes);
	vm_conf_free(conf);
	conf = qemu_ok("-nodefaults -nographic -serial mon:stdio");
	assert_non_null(conf->serial[0]);
	vm_conf_free(conf);
}

static void test_help_words(void **state)
{
	static const char *const words[] = { "-M help",	     "-cpu help",	    "-accel help",
					     "-device help", "-chardev help",	    "-netdev help",
					     "-nic help",    "-nic user,model=help" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		struct vm_conf *conf = qemu_ok(words[i]);

		assert_null(conf->nodes);
		vm_conf_free(conf);
	}
}

static struct vm_conf *run_line(const char *text, struct err *e, int *result)
{
	struct vm_conf *conf = vm_conf_new();
	autofree char *copy = xstrdup(text);
	char *argv[MAX_WORDS + 1];
	int argc = split(copy, argv);
	bool help_shown = false;

	*result = run_read_line(conf, argc, argv, &help_shown, e);
	return conf;
}

static void test_run(void **state)
{
	struct err e = { 0 };
	int r;
	struct vm_conf *conf = run_line(
		"--kernel K --initrd I --disk D --disk E,ro --net user --net tap=t0,mac=52:54:00:00:00:01 "
		"--cpus 2 --memory 1G --cpu x86-64-v2 -- root=/dev/vda quiet",
		&e, &r);

	assert_int_equal(r, 0);
	assert_string_equal(conf->append, "console=ttyS0 root=/dev/vda quiet");
	assert_int_equal(conf->cpus, 2);
	assert_int_equal(conf->mem_size, GIB(1));
	assert_string_equal(conf->cpu, "x86-64-v2");
	expect(nth(conf, CONF_DRIVE, 0), "file", "D");
	expect(nth(conf, CONF_DRIVE, 1), "readonly", "on");
	assert_string_equal(nth(conf, CONF_NETDEV, 0)->type, "user");
	expect(nth(conf, CONF_NETDEV, 1), "ifname", "t0");
	expect(nth(conf, CONF_NETDEV, 1), "create", "off");
	expect(nth(conf, CONF_DEVICE, 3), "mac", "52:54:00:00:00:01");
	assert_string_equal(conf->serial[0], "console");
	vm_conf_free(conf);
}

static void run_bad(const char *text, const char *names)
{
	struct err e = { 0 };
	int r;
	struct vm_conf *conf = run_line(text, &e, &r);

	vm_conf_free(conf);
	if (r >= 0)
		fail_msg("'%s' was taken", text);
	if (!strstr(e.msg, names))
		fail_msg("'%s': the message does not name '%s': %s", text, names, e.msg);
}

/* Several forwards are several, not the last one. */
static void expect_forwards(struct conf_node *node, const char *const *want)
{
	assert_non_null(node);
	for (struct conf_kv *kv = node->kv; kv; kv = kv->next) {
		if (strcmp(kv->key, "hostfwd"))
			continue;
		assert_non_null(*want);
		assert_string_equal(kv->val, *want++);
	}
	assert_null(*want);
}

static void test_hostfwd(void **state)
{
	static const char *const want[] = { "tcp::1-:22", "udp::2-:53", NULL };
	struct err e = { 0 };
	int r;
	struct vm_conf *conf =
		run_line("--kernel K --net user,hostfwd=tcp::1-:22,hostfwd=udp::2-:53", &e, &r);

	assert_int_equal(r, 0);
	expect_forwards(nth(conf, CONF_NETDEV, 0), want);
	vm_conf_free(conf);
	conf = qemu_ok("-nographic -nic user,hostfwd=tcp::1-:22,hostfwd=udp::2-:53 "
		       "-netdev user,id=n,hostfwd=tcp::1-:22,hostfwd=udp::2-:53");
	expect_forwards(nth(conf, CONF_NETDEV, 0), want);
	expect_forwards(nth(conf, CONF_NETDEV, 1), want);
	vm_conf_free(conf);
}

static void test_run_bad(void **state)
{
	run_bad("--disk D", "--kernel");
	run_bad("--kernel K --accel kvn", "'kvm'");
	run_bad("--kernal K", "--kernel");
	run_bad("--kernel", "argument");
	run_bad("--kernel K quiet", "--");
	run_bad("-kernel K", "option -kernel");
	run_bad("--kernel K -x", "-x");
	run_bad("--kernal=K", "did you mean --kernel?");
	run_bad("--kernel K --net wifi", "--net user");
	run_bad("--kernel K --net tap", "--net tap=NAME");
	run_bad("--kernel K --net tap=", "--net tap=NAME");
	run_bad("--kernel K --net user=me", "--net tap=NAME");
	run_bad("--kernel K --cpus 0", "--cpus 0");
	run_bad("--kernel K --memory lots", "--memory lots");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_typed_line),    cmocka_unit_test(test_serial),
		cmocka_unit_test(test_defaults),      cmocka_unit_test(test_accel),
		cmocka_unit_test(test_groups),	      cmocka_unit_test(test_refused),
		cmocka_unit_test(test_run),	      cmocka_unit_test(test_run_bad),
		cmocka_unit_test(test_hostfwd),	      cmocka_unit_test(test_absent),
		cmocka_unit_test(test_nodefaults),    cmocka_unit_test(test_help_words),
		cmocka_unit_test(test_monitors),      cmocka_unit_test(test_default_monitor),
		cmocka_unit_test(test_json_lines),    cmocka_unit_test(test_blockdev),
		cmocka_unit_test(test_microvm),	      cmocka_unit_test(test_objects),
		cmocka_unit_test(test_libvirt_words), cmocka_unit_test(test_process_words),
		cmocka_unit_test(test_readconfig),    cmocka_unit_test(test_net),
		cmocka_unit_test(test_sandbox),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
