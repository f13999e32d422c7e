/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The description of a machine and the comparison of two. Keys of one machine:
 *
 *	machine, cpus, topology, memory	must be equal
 *	cpu-*				the processor as the guest saw it: must be equal, but for
 *	cpu-features			... of which the new one must have all
 *	tsc-khz				within one percent: guests measured it
 *	ram, device			every one, in order: name and size; path, type, place
 *	run-state			what the machine was doing, and goes on with
 *	hanok, engine, saved-at, ...	for people
 *	cwd, argv			the words it was started with (`hanok restore`)
 *
 * Control thread, but for desc_check().
 */
#include "base/base.h"
#include "base/log.h"
#include "core/accel.h"
#include "core/arch.h"
#include "core/dev.h"
#include "core/vm.h"
#include "migr/desc.h"
#include "pci/pci.h"
#include <ctype.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* #syscalls control: getcwd */

#define TSC_TOLERANCE 100 /* one in so many */

static void add_devices(struct vm *vm, struct migr_text *t)
{
	autofree struct dev **all = NULL;
	size_t n = dev_list(vm, &all);

	for (size_t i = 0; i < n; i++) {
		struct dev *d = all[i];

		if (d->type->bus == DEV_BUS_PCI) {
			uint8_t devfn = container_of(d, struct pci_dev, d)->devfn;

			text_addf(t, "device", "%s %s pci=%x.%x", d->path, d->type->name,
				  devfn >> 3, devfn & 7);
		} else {
			text_addf(t, "device", "%s %s", d->path, d->type->name);
		}
	}
}

static void add_line(struct vm *vm, struct migr_text *t)
{
	autofree char *cwd = getcwd(NULL, 0);

	if (!vm->conf->argv)
		return;
	text_add(t, "cwd", cwd ? cwd : "/");
	for (char **word = vm->conf->argv; *word; word++)
		text_add(t, "argv", *word);
}

static void add_pair(void *arg, const char *key, const char *val)
{
	text_add(arg, key, val);
}

void desc_machine(struct vm *vm, const char *run_state, struct migr_text *t)
{
	const struct vm_conf *c = vm->conf;
	time_t now = time(NULL);
	struct tm tm;
	char date[32];

	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &tm);
	text_add(t, "hanok", HANOK_VERSION);
	text_add(t, "saved-at", date);
	text_add(t, "run-state", run_state);
	if (c->name)
		text_add(t, "name", c->name);
	text_add(t, "engine", vm->accel->name);
	text_addf(t, "cpus", "%u", vm->nr_vcpus);
	text_addf(t, "topology", "sockets=%u,dies=%u,cores=%u,threads=%u", c->sockets, c->dies,
		  c->cores, c->threads);
	text_addf(t, "memory", "%" PRIu64, c->mem_size);
	arch_describe(vm, add_pair, t);
	text_addf(t, "tsc-khz", "%" PRIu64, vm->tsc_khz);
	text_addf(t, "ram", "%s %" PRIu64, vm->ram->name, vm->ram->size);
	add_devices(vm, t);
	add_line(vm, t);
}

/* ---- comparing ---- */

static int differs(const char *key, const char *saved, const char *here, struct err *e)
{
	char s[160], h[160];

	log_escape(s, sizeof(s), saved ? saved : "", saved ? strlen(saved) : 0);
	log_escape(h, sizeof(h), here ? here : "", here ? strlen(here) : 0);
	return err_set(e, EINVAL, "the saved machine has %s %s, this one %s: give it the same %s",
		       key, saved ? s : "none", here ? h : "none", key);
}

static int check_equal(const char *key, const struct migr_text *saved, const struct migr_text *here,
		       struct err *e)
{
	const char *s = text_get(saved, key), *h = text_get(here, key);

	if (s && h && !strcmp(s, h))
		return 0;
	return differs(key, s, h, e);
}

/* Whether list, words with spaces between, has this one. */
static bool has_word(const char *list, const char *word, size_t n)
{
	while (list && *list) {
		size_t len = strcspn(list, " ");

		if (len == n && !memcmp(list, word, n))
			return true;
		list += len + strspn(list + len, " ");
	}
	return false;
}

static int check_features(const struct migr_text *saved, const struct migr_text *here,
			  struct err *e)
{
	const char *s = text_get(saved, "cpu-features"), *h = text_get(here, "cpu-features");
	char missing[300] = "";

	if (!s)
		return differs("cpu-features", s, h, e);
	while (*s) {
		size_t len = strcspn(s, " "), n = strlen(missing);
		char name[64];

		log_escape(name, sizeof(name), s, len);
		if (len && !has_word(h, s, len))
			snprintf(missing + n, sizeof(missing) - n, "%s%s", n ? ", " : "", name);
		s += len + strspn(s + len, " ");
	}
	if (!*missing)
		return 0;
	return err_set(
		e, EINVAL,
		"the saved guest's CPU has features that this machine's lacks (%s): an engine "
		"or a host may not have them; machines that are to move start with a CPU model "
		"that both have",
		missing);
}

static int check_tsc(const struct migr_text *saved, const struct migr_text *here, struct err *e)
{
	const char *s = text_get(saved, "tsc-khz"), *h = text_get(here, "tsc-khz");
	uint64_t a, b;
	char *end;

	if (!s || !h || !isdigit((unsigned char)*s))
		return differs("tsc-khz", s, h, e);
	a = strtoull(s, &end, 10);
	b = strtoull(h, NULL, 10);
	if (*end || a < b - b / TSC_TOLERANCE || a > b + b / TSC_TOLERANCE)
		return err_set(e, EINVAL,
			       "the saved guest's time stamp counter runs at %.20s kHz, this host's"
			       " at %s kHz: it can go on only where the rates are the same",
			       s, h);
	return 0;
}

/* Every value of key, in order. */
static int check_list(const char *key, const struct migr_text *saved, const struct migr_text *here,
		      struct err *e)
{
	size_t i = 0, j = 0;

	for (;;) {
		while (i < saved->n && strcmp(saved->pair[i].key, key))
			i++;
		while (j < here->n && strcmp(here->pair[j].key, key))
			j++;
		if (i == saved->n && j == here->n)
			return 0;
		if (i == saved->n || j == here->n ||
		    strcmp(saved->pair[i].val, here->pair[j].val) != 0)
			return differs(key, i < saved->n ? saved->pair[i].val : NULL,
				       j < here->n ? here->pair[j].val : NULL, e);
		i++;
		j++;
	}
}

int desc_check(const struct migr_text *saved, const struct migr_text *here, struct err *e)
{
	static const char *const equal[] = { "machine",	      "cpus",	    "topology",
					     "memory",	      "cpu-vendor", "cpu-signature",
					     "cpu-addresses", "cpu-xcr0" };
	int ret = 0;

	for (size_t i = 0; i < ARRAY_SIZE(equal) && ret == 0; i++)
		ret = check_equal(equal[i], saved, here, e);
	if (ret == 0)
		ret = check_features(saved, here, e);
	if (ret == 0)
		ret = check_tsc(saved, here, e);
	if (ret == 0)
		ret = check_list("ram", saved, here, e);
	return ret ? ret : check_list("device", saved, here, e);
}

int desc_run_state(const struct migr_text *saved, enum vm_state *out, struct err *e)
{
	/* Those of QEMU's that are no moments of starting, saving or loading. */
	static const enum vm_state may[] = { VM_RUNNING,	VM_PRELAUNCH, VM_PAUSED,
					     VM_DEBUG,		VM_SHUTDOWN,  VM_GUEST_PANICKED,
					     VM_INTERNAL_ERROR, VM_IO_ERROR,  VM_POSTMIGRATE,
					     VM_SUSPENDED,	VM_WATCHDOG };
	const char *name = text_get(saved, "run-state");
	char safe[64];

	*out = VM_RUNNING;
	for (size_t i = 0; name && i < ARRAY_SIZE(may); i++) {
		if (strcmp(vm_state_name(may[i]), name) != 0)
			continue;
		*out = may[i];
		return 0;
	}
	if (!name)
		return 0;
	log_escape(safe, sizeof(safe), name, strlen(name));
	return err_set(e, EINVAL, "the saved machine has run-state '%s': none that one is saved in",
		       safe);
}
