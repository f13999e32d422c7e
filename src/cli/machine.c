/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board by name, and its properties: those of QEMU's microvm that mean something here, with
 * QEMU's words. Both front ends. Control thread, start-up only.
 */
#include "base/base.h"

#include "cli/front.h"
#include "core/arch.h"
#include <stdio.h>

/* "pc-q35-10.0": versions of a board are one board here. */
static bool is_version_of(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);
	unsigned major, minor;
	char rest;

	return !strncmp(name, prefix, len) &&
	       sscanf(name + len, "%2u.%2u%c", &major, &minor, &rest) == 2;
}

int front_set_machine(struct vm_conf *conf, const char *name, struct err *e)
{
	const char *names[16] = { NULL }, *near;

	if (is_version_of(name, "pc-q35-"))
		name = "q35";
	if (!strcmp(name, "pc") || !strncmp(name, "pc-i440fx", 9))
		return err_set(e, EINVAL, "machine '%s' is not here yet: use q35", name);
	for (unsigned i = 0; i + 1 < ARRAY_SIZE(names) && (names[i] = arch_machine(i, NULL)); i++)
		if (!strcmp(names[i], name)) {
			front_set(&conf->machine, name);
			return 0;
		}
	if (!strcmp(name, "none")) {
		front_set(&conf->machine, name);
		return 0;
	}
	near = nearest_word(name, names);
	return err_set(e, EINVAL, "machine '%s' is not known: use %s", name,
		       near ?: "q35 or microvm");
}

void front_machine_help(void)
{
	const char *name, *what;

	puts("Supported machines are:");
	for (unsigned i = 0; (name = arch_machine(i, &what)); i++)
		printf("%-20s %s%s\n", name, what, i ? "" : " (default)");
	puts("none                 no board and no CPU: only the monitor");
}

/* Chips that QEMU's microvm can have and ours has not, and what a guest does without. */
static const struct {
	const char *key, *instead;
} lacking[] = {
	{ "pit", "guests take their time from the TSC and the local APIC's timer" },
	{ "pic", "interrupts come through the IOAPIC and the local APICs" },
	{ "rtc", "guests take the time of day from the paravirtual clock (kvm-clock)" },
	{ "ioapic2", "more devices than the IOAPIC has inputs share them" },
};

static int microvm_prop(struct vm_conf *conf, const char *key, const char *val, struct err *e)
{
	bool automatic = !strcmp(val, "auto"), on = false;
	int r;

	if (!strcmp(key, "x-option-roms")) /* of a firmware */
		return parse_onoff(key, val, &on, e);
	for (size_t i = 0; i < ARRAY_SIZE(lacking); i++) {
		if (strcmp(key, lacking[i].key))
			continue;
		r = automatic ? 0 : parse_onoff(key, val, &on, e);
		if (!r && on)
			r = err_set(e, ENOTSUP, "%s=on: the microvm board has none; %s", key,
				    lacking[i].instead);
		return r;
	}
	if (!strcmp(key, "isa-serial")) {
		r = parse_onoff(key, val, &on, e);
		conf->no_serial = !on;
		return r;
	}
	if (!strcmp(key, "pcie")) {
		r = automatic ? 0 : parse_onoff(key, val, &on, e);
		conf->pcie = on;
		return r;
	}
	if (!strcmp(key, "auto-kernel-cmdline")) {
		r = parse_onoff(key, val, &on, e);
		conf->no_auto_append = !on;
		return r;
	}
	return -ENOENT;
}

int front_machine_prop(struct vm_conf *conf, const char *key, const char *val, struct err *e)
{
	bool on = true;
	int r;

	if (!strcmp(key, "acpi")) {
		r = strcmp(val, "auto") ? parse_onoff(key, val, &on, e) : 0;
		if (!r && !on)
			r = err_set(e, ENOTSUP,
				    "acpi=off: the %s board tells its devices by ACPI alone",
				    conf->machine);
		return r;
	}
	return strcmp(conf->machine, "microvm") ? -ENOENT : microvm_prop(conf, key, val, e);
}

int front_parse_machine(struct vm_conf *conf, const char *text, struct err *e)
{
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, text, "type", e);

	if (r < 0)
		return r;
	if (keyvals_get(&kvs, "type"))
		r = front_set_machine(conf, keyvals_get(&kvs, "type"), e);
	for (size_t i = 0; !r && i < kvs.n; i++) {
		const char *key = kvs.kv[i].key;

		r = strcmp(key, "type") ? front_machine_prop(conf, key, kvs.kv[i].val, e) : 0;
		if (r == -ENOENT)
			r = err_set(e, EINVAL, "the %s board has no property '%s'", conf->machine,
				    key);
	}
	keyvals_fini(&kvs);
	return r;
}
