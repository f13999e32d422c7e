/* SPDX-License-Identifier: Apache-2.0 */
/* Properties as tables (prop.h): reading them from a node with checks of kind and range. No state. */
#include "base/base.h"
#include "core/prop.h"

static void store_uint(void *at, enum prop_kind kind, uint64_t val)
{
	switch (kind) {
	case PROP_BOOL:
		*(bool *)at = val != 0;
		break;
	case PROP_U8:
	case PROP_ONOFFAUTO:
		*(uint8_t *)at = (uint8_t)val;
		break;
	case PROP_U16:
		*(uint16_t *)at = (uint16_t)val;
		break;
	case PROP_U32:
		*(uint32_t *)at = (uint32_t)val;
		break;
	case PROP_U64:
	case PROP_SIZE:
		*(uint64_t *)at = val;
		break;
	case PROP_STR:
	case PROP_END:
	default:
		break;
	}
}

static uint64_t kind_max(enum prop_kind kind)
{
	switch (kind) {
	case PROP_U8:
		return UINT8_MAX;
	case PROP_U16:
		return UINT16_MAX;
	case PROP_U32:
		return UINT32_MAX;
	default:
		return UINT64_MAX;
	}
}

static int get_onoffauto(struct conf_node *node, const char *key, uint64_t *val, struct err *e)
{
	const char *text = conf_get(node, key);
	bool on = false;
	int ret;

	if (!text)
		return 0;
	if (!strcmp(text, "auto")) {
		*val = PROP_AUTO;
		return 0;
	}
	ret = conf_get_bool(node, key, &on, e);
	if (ret == 0)
		*val = on ? PROP_ON : PROP_OFF;
	return ret;
}

static int get_size_checked(struct conf_node *node, const struct prop *p, uint64_t max,
			    uint64_t *val, struct err *e)
{
	int ret = conf_get_size(node, p->name, val, e);

	if (ret == 0 && (*val < p->min || *val > max))
		return err_set(e, EINVAL, "%s: %s=%" PRIu64 " is outside %" PRIu64 " to %" PRIu64,
			       node->where, p->name, *val, p->min, max);
	return ret;
}

/* Sets one property from node (NULL: the default). */
static int set_prop(void *base, const struct prop *p, struct conf_node *node, struct err *e)
{
	void *at = (char *)base + p->offset;
	uint64_t val = p->def, max = p->max ? p->max : kind_max(p->kind);
	bool on = p->def != 0;
	int ret = 0;

	if (p->kind == PROP_STR) {
		const char *text = node ? conf_get(node, p->name) : NULL;

		if (!text)
			text = p->def_str;
		*(char **)at = text ? xstrdup(text) : NULL;
		return 0;
	}
	if (!node) {
		store_uint(at, p->kind, val);
		return 0;
	}
	switch (p->kind) {
	case PROP_BOOL:
		ret = conf_get_bool(node, p->name, &on, e);
		val = on;
		break;
	case PROP_ONOFFAUTO:
		ret = get_onoffauto(node, p->name, &val, e);
		break;
	case PROP_SIZE:
		ret = get_size_checked(node, p, max, &val, e);
		break;
	default:
		ret = conf_get_u64(node, p->name, p->min, max, &val, e);
		break;
	}
	store_uint(at, p->kind, val);
	return ret;
}

int props_set(void *base, const struct prop *props, struct conf_node *node, struct err *e)
{
	for (const struct prop *p = props; p && p->kind != PROP_END; p++) {
		int ret = set_prop(base, p, node, e);

		if (ret < 0)
			return ret;
	}
	return 0;
}

void props_free(void *base, const struct prop *props)
{
	for (const struct prop *p = props; p && p->kind != PROP_END; p++) {
		if (p->kind == PROP_STR)
			free(take_ptr(*(char **)((char *)base + p->offset)));
	}
}

const char **props_names(const struct prop *props, const char *const *more, size_t n_more)
{
	const char **names;
	size_t n = 0;

	for (const struct prop *p = props; p && p->kind != PROP_END; p++)
		n++;
	names = xnew_n(const char *, n + n_more + 1);
	n = 0;
	for (const struct prop *p = props; p && p->kind != PROP_END; p++)
		names[n++] = p->name;
	for (size_t i = 0; i < n_more; i++)
		names[n++] = more[i];
	return names;
}

int props_check_known(const struct conf_node *node, const char *const *known, const char *help,
		      struct err *e)
{
	for (const struct conf_kv *kv = node->kv; kv; kv = kv->next) {
		const char *near;
		size_t i = 0;

		while (known[i] && strcmp(known[i], kv->key))
			i++;
		if (known[i])
			continue;
		near = nearest_word(kv->key, known);
		return err_set(e, EINVAL, "%s: unknown property '%s'%s%s%s; %s lists them",
			       node->where, kv->key, near ? ", did you mean '" : "", near ?: "",
			       near ? "'?" : "", help);
	}
	return 0;
}
