/* SPDX-License-Identifier: Apache-2.0 */
/* What the front ends share: parsing of common values, nodes of the configuration. No state. */
#include "base/base.h"

#include "cli/front.h"
#include <ctype.h>
#include <stdio.h>

void front_set(char **slot, const char *val)
{
	free(*slot);
	*slot = xstrdup(val);
}

void front_keep_words(struct vm_conf *conf, const char *front, int argc, char **argv)
{
	unsigned n = 0;

	/* The words go into a saved machine, where no secret belongs. */
	for (struct conf_node *o = conf->nodes; o; o = o->next) {
		if (o->kind == CONF_OBJECT && o->type && !strcmp(o->type, "secret") &&
		    conf_get(o, "data"))
			return;
	}
	conf->argv = xnew_n(char *, (size_t)argc + 2);
	conf->argv[n++] = xstrdup(front);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(front, "qemu") &&
		    (!strcmp(argv[i], "-incoming") || !strcmp(argv[i], "--incoming"))) {
			i++;
			continue;
		}
		conf->argv[n++] = xstrdup(argv[i]);
	}
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int front_parse_uuid(struct vm_conf *conf, const char *text, struct err *e)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	unsigned nibble = 0;

	if (strlen(text) != sizeof(form) - 1)
		goto bad;
	memset(conf->uuid, 0, sizeof(conf->uuid));
	for (size_t i = 0; form[i]; i++) {
		int d = hex_digit(text[i]);

		if (form[i] == '-') {
			if (text[i] != '-')
				goto bad;
			continue;
		}
		if (d < 0)
			goto bad;
		conf->uuid[nibble / 2] |= (uint8_t)(d << (nibble & 1 ? 0 : 4));
		nibble++;
	}
	conf->has_uuid = true;
	return 0;
bad:
	return err_set(e, EINVAL, "uuid '%s' is not of the form %s", text, form);
}

static int parse_count(const char *key, const char *text, unsigned *out, struct err *e)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno || !isdigit((unsigned char)*text) || *end || !v || v > FRONT_MAX_CPUS)
		return err_set(e, EINVAL, "%s=%s: a number from 1 to %d is needed", key, text,
			       FRONT_MAX_CPUS);
	*out = (unsigned)v;
	return 0;
}

struct smp {
	unsigned cpus, maxcpus, sockets, dies, cores, threads;
};

static int read_smp(struct smp *smp, const struct keyvals *kvs, struct err *e)
{
	static const char *const known[] = { "cpus",	 "maxcpus", "sockets", "dies", "cores",
					     "clusters", "modules", "threads", NULL };

	for (size_t i = 0; i < kvs->n; i++) {
		const char *key = kvs->kv[i].key, *val = kvs->kv[i].val;
		unsigned one = 1; /* levels that this board does not have */
		unsigned *slot[] = { &smp->cpus,  &smp->maxcpus, &smp->sockets, &smp->dies,
				     &smp->cores, &one,		 &one,		&smp->threads };
		size_t k = 0;
		int r;

		while (known[k] && strcmp(known[k], key))
			k++;
		if (!known[k])
			return err_set(e, EINVAL, "'%s' is not known; did you mean '%s'?", key,
				       nearest_word(key, known) ?: "cpus");
		r = parse_count(key, val, slot[k], e);
		if (r < 0)
			return r;
		if (one != 1)
			return err_set(e, EINVAL, "%s=%u: only 1 is supported", key, one);
	}
	return 0;
}

/* What is left out is derived as QEMU does: cores first, then threads, then sockets. */
static int settle_smp(struct vm_conf *conf, struct smp *s, struct err *e)
{
	unsigned dies = s->dies ?: 1, total = s->maxcpus ?: s->cpus;

	if (!total)
		total = (s->sockets ?: 1) * dies * (s->cores ?: 1) * (s->threads ?: 1);
	if (!s->cores) {
		s->sockets = s->sockets ?: 1;
		s->threads = s->threads ?: 1;
		s->cores = total / (s->sockets * dies * s->threads);
	} else if (!s->sockets) {
		s->threads = s->threads ?: 1;
		s->sockets = total / (dies * s->cores * s->threads);
	} else if (!s->threads) {
		s->threads = total / (s->sockets * dies * s->cores);
	}
	if (!s->cpus)
		s->cpus = total;
	if (s->sockets * dies * s->cores * s->threads != total || total > FRONT_MAX_CPUS)
		return err_set(
			e, EINVAL,
			"sockets (%u) * dies (%u) * cores (%u) * threads (%u) is not the number "
			"of CPUs (%u, at most %d)",
			s->sockets, dies, s->cores, s->threads, total, FRONT_MAX_CPUS);
	if (s->cpus != total)
		return err_set(e, EINVAL,
			       "cpus=%u, maxcpus=%u: CPU hot-plug is not supported; let "
			       "both be equal",
			       s->cpus, total);
	conf->cpus = s->cpus;
	conf->sockets = s->sockets;
	conf->dies = dies;
	conf->cores = s->cores;
	conf->threads = s->threads;
	return 0;
}

/* Engines that QEMU has somewhere: in a list they are passed over, as QEMU itself does. */
static const char *const elsewhere[] = { "hvf", "mshv", "nvmm", "qtest", "whpx", "xen", NULL };

static bool in_list(const char *name, const char *const *list)
{
	while (*list && strcmp(*list, name))
		list++;
	return *list;
}

int front_parse_accel(struct vm_conf *conf, const char *list, struct err *e)
{
	static const char *const known[] = { "kvm", "tcg", "soft", NULL };
	autofree char *copy = xstrdup(list);
	char *save = NULL;

	for (char *name = strtok_r(copy, ":", &save); name; name = strtok_r(NULL, ":", &save)) {
		const char *near = nearest_word(name, known);
		autofree char *all = NULL;

		if (in_list(name, elsewhere))
			continue;
		if (!in_list(name, known))
			return err_set(e, EINVAL, "accelerator '%s' is not known; %s '%s'", name,
				       near ? "did you mean" : "there are 'kvm' and",
				       near ? near : "tcg");
		all = xasprintf("%s%s%s", conf->accel ? conf->accel : "", conf->accel ? ":" : "",
				strcmp(name, "tcg") ? name : "soft");
		front_set(&conf->accel, all);
	}
	return 0;
}

int front_parse_sandbox(struct vm_conf *conf, const char *text, struct err *e)
{
	static const char *const allow[] = { "allow", "deny", NULL };
	static const char *const privileges[] = { "allow", "deny", "children", NULL };
	static const struct keyval_rule rules[] = { { "enable", keyval_onoff },
						    { "spawn", allow },
						    { "obsolete", allow },
						    { "resourcecontrol", allow },
						    { "elevateprivileges", privileges },
						    { NULL, NULL } };
	const char *spawn;
	struct keyvals kvs;
	int r = keyvals_parse(&kvs, text, "enable", e);

	if (r == 0)
		r = keyvals_check(&kvs, rules, e);
	if (r == 0 && keyvals_get(&kvs, "enable"))
		r = parse_onoff("enable", keyvals_get(&kvs, "enable"), &conf->sandbox.on, e);
	spawn = r == 0 ? keyvals_get(&kvs, "spawn") : NULL;
	if (spawn)
		conf->sandbox.spawn = !strcmp(spawn, "allow");
	if (r == 0 && conf->sandbox.spawn && !conf->sandbox.on)
		r = err_set(e, EINVAL, "spawn=allow belongs to a sandbox that is on");
	keyvals_fini(&kvs);
	return r;
}

int front_parse_smp(struct vm_conf *conf, const char *text, struct err *e)
{
	struct keyvals kvs;
	struct smp smp = { 0 };
	int r = keyvals_parse(&kvs, text, "cpus", e);

	if (r < 0)
		return r;
	r = read_smp(&smp, &kvs, e);
	keyvals_fini(&kvs);
	return r < 0 ? r : settle_smp(conf, &smp, e);
}

static int get_size(const struct keyvals *kvs, const char *key, uint64_t unit, uint64_t *out,
		    struct err *e)
{
	const char *val = keyvals_get(kvs, key);

	return val ? parse_size(val, unit, out, e) : 0;
}

int front_parse_memory(struct vm_conf *conf, const char *text, struct err *e)
{
	static const struct keyval_rule rules[] = {
		{ "size", NULL }, { "slots", NULL }, { "maxmem", NULL }, { NULL, NULL }
	};
	struct keyvals kvs;
	uint64_t size = conf->mem_size, slots = 0, max = 0;
	int r = keyvals_parse(&kvs, text, "size", e);

	if (r < 0)
		return r;
	r = keyvals_check(&kvs, rules, e);
	if (!r)
		r = get_size(&kvs, "size", MIB(1), &size, e);
	if (!r)
		r = get_size(&kvs, "slots", 1, &slots, e);
	if (!r)
		r = get_size(&kvs, "maxmem", MIB(1), &max, e);
	keyvals_fini(&kvs);
	if (r < 0)
		return r;
	if (slots || (max && max != size))
		return err_set(e, ENOTSUP,
			       "slots= and maxmem= ask for memory hot-plug, which is not here yet: "
			       "leave them out");
	if (size < MIB(1) || size > GIB(1024))
		return err_set(e, EINVAL, "%s: guest memory goes from 1M to 1T", text);
	conf->mem_size = align_up(size, MIB(1));
	conf->mem_given = true;
	return 0;
}

struct conf_node *front_add_node(struct vm_conf *conf, enum conf_kind kind, const char *type,
				 struct keyvals *kvs, const char *where)
{
	autofree char *id = keyvals_take(kvs, "id");
	struct conf_node *node = conf_add(conf, kind, type, id, where);

	keyvals_put(kvs, node);
	return node;
}

struct conf_node *front_add_disk(struct vm_conf *conf, const char *id, const char *where)
{
	struct conf_node *dev = conf_add(conf, CONF_DEVICE, "virtio-blk", NULL, where);

	conf_set(dev, "drive", id);
	return dev;
}

void front_add_nic(struct vm_conf *conf, const char *model, const char *netdev_id, const char *mac,
		   const char *where)
{
	struct conf_node *dev = conf_add(conf, CONF_DEVICE, model, NULL, where);

	conf_set(dev, "netdev", netdev_id);
	if (mac)
		conf_set(dev, "mac", mac);
}
