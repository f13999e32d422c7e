/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of a VM (conf.h): nodes with keys, and the typed reads that check values. */
#include "base/base.h"
#include "base/clock.h"
#include "core/conf.h"
#include "core/fdset.h"
#include <ctype.h>
#include <stdio.h>

struct vm_conf *vm_conf_new(void)
{
	struct vm_conf *c = xnew(struct vm_conf);

	c->machine = xstrdup("q35");
	c->cpu = xstrdup("default");
	c->cpus = c->sockets = c->dies = c->cores = c->threads = 1;
	c->mem_size = MIB(512);
	c->panic_action = 1; /* shutdown, as QEMU has it */
	return c;
}

struct conf_node *conf_node_free(struct conf_node *n)
{
	if (!n)
		return NULL;
	while (n->kv) {
		struct conf_kv *kv = n->kv;

		n->kv = kv->next;
		free(kv->key);
		free(kv->val);
		free(kv);
	}
	free(n->type);
	free(n->id);
	free(n->where);
	free(n);
	return NULL;
}

struct vm_conf *vm_conf_free(struct vm_conf *c)
{
	if (!c)
		return NULL;
	while (c->nodes) {
		struct conf_node *n = c->nodes;

		c->nodes = n->next;
		conf_node_free(n);
	}
	fdset_free_all(c);
	for (size_t i = 0; i < ARRAY_SIZE(c->serial); i++)
		free(c->serial[i]);
	free(c->name);
	free(c->machine);
	free(c->accel);
	free(c->cpu);
	free(c->kernel);
	free(c->initrd);
	free(c->append);
	free(c->rtc_base);
	free(c->incoming);
	free(c->control);
	for (size_t i = 0; c->argv && c->argv[i]; i++)
		free(c->argv[i]);
	free(c->argv);
	free(c->mem_backend);
	free(c->mem_path);
	free(c->pidfile);
	free(c->chroot);
	free(c->user);
	free(c->trace);
	free(c->trace_file);
	free(c->log_file);
	free(c);
	return NULL;
}

struct conf_node *conf_find(const struct vm_conf *c, enum conf_kind kind, const char *id)
{
	for (struct conf_node *n = c->nodes; n; n = n->next) {
		if (n->kind == kind && n->id && !strcmp(n->id, id))
			return n;
	}
	return NULL;
}

static struct conf_node *new_node(struct vm_conf *c, enum conf_kind kind, const char *where)
{
	struct conf_node *n = xnew(struct conf_node);

	n->conf = c;
	n->kind = kind;
	n->where = xstrdup(where ? where : "configuration");
	return n;
}

struct conf_node *conf_add(struct vm_conf *c, enum conf_kind kind, const char *type, const char *id,
			   const char *where)
{
	struct conf_node *n = new_node(c, kind, where), **p = &c->nodes;

	n->type = type ? xstrdup(type) : NULL;
	n->id = id ? xstrdup(id) : NULL;
	while (*p)
		p = &(*p)->next;
	*p = n;
	return n;
}

struct conf_node *conf_child(struct conf_node *n, const char *prefix)
{
	struct conf_node *child = NULL;
	size_t len = strlen(prefix);

	for (struct conf_kv *kv = n->kv; kv; kv = kv->next) {
		const char *key = kv->key + len + 1;

		if (strncmp(kv->key, prefix, len) || kv->key[len] != '.' || !*key)
			continue;
		kv->used = true;
		child = child ?: new_node(n->conf, n->kind, n->where);
		if (!strcmp(key, "driver") || !strcmp(key, "node-name")) {
			char **slot = *key == 'd' ? &child->type : &child->id;

			free(*slot);
			*slot = xstrdup(kv->val);
		} else {
			conf_set(child, key, kv->val);
		}
	}
	return child;
}

static struct conf_kv *find_kv(const struct conf_node *n, const char *key)
{
	for (struct conf_kv *kv = n->kv; kv; kv = kv->next) {
		if (!strcmp(kv->key, key))
			return kv;
	}
	return NULL;
}

void conf_set(struct conf_node *n, const char *key, const char *val)
{
	struct conf_kv *kv = find_kv(n, key);

	if (kv) { /* the last one counts, as on QEMU's command line */
		free(kv->val);
		kv->val = xstrdup(val);
	} else {
		conf_add_val(n, key, val);
	}
}

void conf_set_option(struct conf_node *node, const char *key, const char *val)
{
	unsigned n;
	int end = 0;

	/* In JSON the forwards are a list of objects with one member. */
	if (node->kind == CONF_NETDEV &&
	    (!strcmp(key, "hostfwd") ||
	     (sscanf(key, "hostfwd.%u.str%n", &n, &end) == 1 && end && !key[end])))
		conf_add_val(node, "hostfwd", val);
	else
		conf_set(node, key, val);
}

void conf_remove(struct conf_node *n)
{
	struct conf_node **p = &n->conf->nodes;

	while (*p && *p != n)
		p = &(*p)->next;
	if (*p)
		*p = n->next;
	conf_node_free(n);
}

void conf_add_val(struct conf_node *n, const char *key, const char *val)
{
	struct conf_kv *kv = xnew(struct conf_kv), **p = &n->kv;

	kv->key = xstrdup(key);
	kv->val = xstrdup(val);
	while (*p)
		p = &(*p)->next;
	*p = kv;
}

const char *conf_get(struct conf_node *n, const char *key)
{
	struct conf_kv *kv = find_kv(n, key);

	if (!kv)
		return NULL;
	kv->used = true;
	return kv->val;
}

static bool parse_u64(const char *text, uint64_t *out)
{
	char *end;

	if (!isdigit((unsigned char)text[0])) /* strtoull() takes signs and spaces */
		return false;
	errno = 0;
	*out = strtoull(text, &end, text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10);
	return !*end && !errno;
}

int conf_get_u64(struct conf_node *n, const char *key, uint64_t min, uint64_t max, uint64_t *out,
		 struct err *e)
{
	const char *text = conf_get(n, key);
	uint64_t val;

	if (!text)
		return 0;
	if (!parse_u64(text, &val))
		return err_set(e, EINVAL, "%s: %s='%s' is not a number", n->where, key, text);
	if (val < min || val > max)
		return err_set(e, EINVAL, "%s: %s=%s is outside %" PRIu64 " to %" PRIu64, n->where,
			       key, text, min, max);
	*out = val;
	return 0;
}

int conf_get_size(struct conf_node *n, const char *key, uint64_t *out, struct err *e)
{
	const char *text = conf_get(n, key);

	if (!text)
		return 0;
	if (parse_size(text, 1, out, e) < 0)
		return err_prefix(e, "%s: %s: ", n->where, key);
	return 0;
}

int conf_get_bool(struct conf_node *n, const char *key, bool *out, struct err *e)
{
	static const char *const yes[] = { "on", "yes", "true", "y" };
	static const char *const no[] = { "off", "no", "false", "n" };
	const char *text = conf_get(n, key);

	if (!text)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		bool is_yes = strcmp(text, yes[i]) == 0;

		if (is_yes || strcmp(text, no[i]) == 0) {
			*out = is_yes;
			return 0;
		}
	}
	return err_set(e, EINVAL, "%s: %s='%s' is neither on nor off", n->where, key, text);
}

int conf_check_unused(const struct conf_node *n, const char *const *known, struct err *e)
{
	for (const struct conf_kv *kv = n->kv; kv; kv = kv->next) {
		const char *near;

		if (kv->used)
			continue;
		near = known ? nearest_word(kv->key, known) : NULL;
		if (near && strcmp(near, kv->key))
			return err_set(e, EINVAL, "%s: unknown key '%s'; did you mean '%s'?",
				       n->where, kv->key, near);
		return err_set(e, EINVAL, "%s: '%s' means nothing here", n->where, kv->key);
	}
	return 0;
}

/* ---- sizes ---- */

/* The factor of a suffix letter; 0 when it is none. */
static uint64_t suffix_factor(char c)
{
	switch (toupper((unsigned char)c)) {
	case 'B':
		return 1;
	case 'K':
		return KIB(1);
	case 'M':
		return MIB(1);
	case 'G':
		return GIB(1);
	case 'T':
		return GIB(1) << 10;
	case 'P':
		return GIB(1) << 20;
	case 'E':
		return GIB(1) << 30;
	default:
		return 0;
	}
}

/* "", "G", "GB", "GiB" -> factor; false when it is something else. */
static bool parse_suffix(const char *s, uint64_t suffix_default, uint64_t *factor)
{
	*factor = suffix_default;
	if (!*s)
		return true;
	*factor = suffix_factor(*s++);
	if (!*factor)
		return false;
	if (*factor > 1 && (s[0] == 'i' || s[0] == 'I') && (s[1] == 'B' || s[1] == 'b'))
		s += 2;
	else if (*factor > 1 && (*s == 'B' || *s == 'b'))
		s++;
	return !*s;
}

int parse_size(const char *text, uint64_t suffix_default, uint64_t *out, struct err *e)
{
	uint64_t whole = 0, num = 0, den = 1, factor, bytes;
	const char *s = text;

	if (!isdigit((unsigned char)*s))
		return err_set(e, EINVAL, "'%s' is not a size; write for example 512M or 2G", text);
	for (; isdigit((unsigned char)*s); s++) {
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*s - '0'), &whole))
			return err_set(e, ERANGE, "size '%s' is too large", text);
	}
	if (*s == '.') {
		const char *first = ++s;

		/* Digits behind the ninth do not change a number of bytes that anyone means. */
		for (; isdigit((unsigned char)*s); s++) {
			if (s - first < 9) {
				num = num * 10 + (uint64_t)(*s - '0');
				den *= 10;
			}
		}
		if (s == first)
			return err_set(e, EINVAL, "'%s': digits are missing behind the point",
				       text);
	}
	if (!parse_suffix(s, suffix_default, &factor))
		return err_set(e, EINVAL, "'%s': '%s' is not a unit; use K, M, G or T", text, s);
	if (__builtin_mul_overflow(whole, factor, &bytes) ||
	    __builtin_add_overflow(bytes, mul_div_u64(num, factor, den), &bytes))
		return err_set(e, ERANGE, "size '%s' is too large", text);
	*out = bytes;
	return 0;
}

/* ---- suggestions ---- */

#define WORD_MAX 64

/* Edit distance (insert, delete, replace), ignoring case; words are short. */
static unsigned edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned row[WORD_MAX + 1];

	for (size_t j = 0; j <= nb; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= na; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned above = row[j];
			bool same = tolower((unsigned char)a[i - 1]) ==
				    tolower((unsigned char)b[j - 1]);

			row[j] = MIN(above, row[j - 1]) + 1;
			row[j] = MIN(row[j], diagonal + !same);
			diagonal = above;
		}
	}
	return row[nb];
}

const char *nearest_word(const char *word, const char *const *names)
{
	size_t n = strlen(word);
	unsigned best = n <= 2 ? 1 : (unsigned)n / 3 + 1;
	const char *found = NULL;

	if (!n || n > WORD_MAX)
		return NULL;
	for (; *names; names++) {
		size_t len = strlen(*names);
		unsigned d;

		if (len > WORD_MAX)
			continue;
		d = edit_distance(word, n, *names, len);
		if (d < best || (d == best && !found)) {
			best = d;
			found = *names;
		}
	}
	return found;
}
