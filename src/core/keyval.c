/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's key=value option syntax (see keyval.h). Pure text work; no state. */
#include "base/base.h"

#include "core/keyval.h"
#include "core/conf.h"
#include <ctype.h>

/* Copies one part up to an unescaped comma into a fresh string; *next is behind the comma. */
static char *take_part(const char *text, const char **next)
{
	char *out = xcalloc(strlen(text) + 1, 1);
	size_t n = 0;

	while (*text) {
		if (*text == ',') {
			if (text[1] != ',')
				break;
			text++;
		}
		out[n++] = *text++;
	}
	*next = *text ? text + 1 : NULL;
	return out;
}

static void add_n(struct keyvals *kvs, const char *key, size_t key_len, const char *val)
{
	kvs->kv = xrealloc(kvs->kv, kvs->n + 1, sizeof(*kvs->kv));
	kvs->kv[kvs->n].key = xasprintf("%.*s", (int)key_len, key);
	kvs->kv[kvs->n].val = xstrdup(val);
	kvs->n++;
}

void keyvals_add(struct keyvals *kvs, const char *key, const char *val)
{
	add_n(kvs, key, strlen(key), val);
}

static int add_part(struct keyvals *kvs, const char *part, const char *implied, struct err *e)
{
	const char *eq = strchr(part, '=');

	if (eq == part)
		return err_set(e, EINVAL, "'%s': a name is missing in front of '='", part);
	if (eq) {
		add_n(kvs, part, (size_t)(eq - part), eq + 1);
		return 0;
	}
	if (implied) {
		add_n(kvs, implied, strlen(implied), part);
		return 0;
	}
	if (!*part)
		return err_set(e, EINVAL, "an option is empty (a stray comma?)");
	/* The old flag spellings: server, nowait, readonly. */
	if (!strncmp(part, "no", 2) && part[2])
		add_n(kvs, part + 2, strlen(part) - 2, "off");
	else
		add_n(kvs, part, strlen(part), "on");
	return 0;
}

bool is_identifier(const char *s)
{
	if (!isalpha((unsigned char)*s))
		return false;
	while (*s && (isalnum((unsigned char)*s) || strchr("-._", *s)))
		s++;
	return !*s;
}

/* Names that others refer to: as in QEMU, so that a line works on both. */
int keyvals_check_id(const struct keyvals *kvs, struct err *e)
{
	const char *id = keyvals_get(kvs, "id");

	if (!id || is_identifier(id))
		return 0;
	return err_set(
		e, EINVAL,
		"id '%s' is not an identifier: a letter, then letters, digits, '-', '.' or '_'",
		id);
}

int keyvals_parse(struct keyvals *kvs, const char *text, const char *implied, struct err *e)
{
	const char *next = text;

	memset(kvs, 0, sizeof(*kvs));
	while (next) {
		autofree char *part = take_part(next, &next);
		int r = add_part(kvs, part, implied, e);

		if (r < 0) {
			keyvals_fini(kvs);
			return r;
		}
		implied = NULL;
	}
	if (keyvals_check_id(kvs, e)) {
		keyvals_fini(kvs);
		return -EINVAL;
	}
	return 0;
}

void keyvals_fini(struct keyvals *kvs)
{
	for (size_t i = 0; i < kvs->n; i++) {
		free(kvs->kv[i].key);
		free(kvs->kv[i].val);
	}
	free(kvs->kv);
	memset(kvs, 0, sizeof(*kvs));
}

const char *keyvals_get(const struct keyvals *kvs, const char *key)
{
	const char *val = NULL;

	for (size_t i = 0; i < kvs->n; i++)
		if (!strcmp(kvs->kv[i].key, key))
			val = kvs->kv[i].val;
	return val;
}

char *keyvals_take(struct keyvals *kvs, const char *key)
{
	char *val = NULL;
	size_t kept = 0;

	for (size_t i = 0; i < kvs->n; i++) {
		if (strcmp(kvs->kv[i].key, key)) {
			kvs->kv[kept++] = kvs->kv[i];
			continue;
		}
		free(val);
		val = kvs->kv[i].val;
		free(kvs->kv[i].key);
	}
	kvs->n = kept;
	return val;
}

int parse_onoff(const char *key, const char *val, bool *out, struct err *e)
{
	static const char *const on[] = { "on", "yes", "true" }, *const off[] = { "off", "no",
										  "false" };

	for (size_t i = 0; i < ARRAY_SIZE(on); i++) {
		if (!strcmp(val, on[i])) {
			*out = true;
			return 0;
		}
		if (!strcmp(val, off[i])) {
			*out = false;
			return 0;
		}
	}
	return err_set(e, EINVAL, "%s=%s: say on or off", key, val);
}

const char *const keyval_onoff[] = { "on", "off", NULL };

static bool is_one_of(const char *word, const char *const *words)
{
	while (*words && strcmp(*words, word))
		words++;
	return *words;
}

/* "a, b or c" */
static char *join_words(const char *const *words)
{
	char *text = xstrdup(words[0]);

	for (size_t i = 1; words[i]; i++) {
		char *longer = xasprintf("%s%s%s", text, words[i + 1] ? ", " : " or ", words[i]);

		free(text);
		text = longer;
	}
	return text;
}

static int unknown_key(const char *key, const struct keyval_rule *rules, struct err *e)
{
	const char *names[32];
	autofree char *all = NULL;
	const char *near;
	size_t n = 0;

	for (; n < ARRAY_SIZE(names) - 1 && rules[n].key; n++)
		names[n] = rules[n].key;
	names[n] = NULL;
	near = nearest_word(key, names);
	if (near)
		return err_set(e, EINVAL, "'%s' is not known; did you mean '%s'?", key, near);
	all = join_words(names);
	return err_set(e, EINVAL, "'%s' is not known; say %s", key, all);
}

int keyvals_check(const struct keyvals *kvs, const struct keyval_rule *rules, struct err *e)
{
	for (size_t i = 0; i < kvs->n; i++) {
		const struct keyval_rule *rule = rules;

		while (rule->key && strcmp(rule->key, kvs->kv[i].key))
			rule++;
		if (!rule->key)
			return unknown_key(kvs->kv[i].key, rules, e);
		if (rule->vals && !is_one_of(kvs->kv[i].val, rule->vals)) {
			autofree char *all = join_words(rule->vals);

			return err_set(e, EINVAL, "%s=%s: say %s", rule->key, kvs->kv[i].val, all);
		}
	}
	return 0;
}

void keyvals_put(const struct keyvals *kvs, struct conf_node *node)
{
	for (size_t i = 0; i < kvs->n; i++)
		conf_set_option(node, kvs->kv[i].key, kvs->kv[i].val);
}
