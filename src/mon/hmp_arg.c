/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments of the human monitor's commands after QEMU's rules: words and quoted words, numbers as
 * expressions, sizes, flags, formats. The text is hostile: recursion is bounded, arithmetic wraps.
 * Control thread. State: none.
 */
#include "base/base.h"
#include "core/arch.h"
#include "core/conf.h"
#include "mon/hmp_arg.h"
#include <ctype.h>
#include <stdio.h>

#define MAX_DEPTH 32u

static void skip_blanks(const char **p)
{
	while (isspace((unsigned char)**p))
		(*p)++;
}

/* ---- expressions ---- */

struct expr {
	struct hmp *h;
	const char *p;
	unsigned depth;
	struct err *e;
};

static int read_register(struct hmp *h, const char *name, uint64_t *out, struct err *e)
{
	const char *names[128];
	unsigned n = 0;
	const char *near;

	if (h->cpu < (h->vm ? h->vm->nr_vcpus : 0) &&
	    arch_read_register(h->vm->vcpus[h->cpu], name, out) == 0)
		return 0;
	while (n < ARRAY_SIZE(names) - 1 && (names[n] = arch_register_name(n)))
		n++;
	names[n] = NULL;
	near = nearest_word(name, names);
	return err_set(e, ENOENT, "unknown register '$%s'%s%s%s", name,
		       near ? " (did you mean '$" : "", near ?: "", near ? "'?)" : "");
}

static int read_or(struct expr *x, int64_t *out);

static int read_number(struct expr *x, int64_t *out)
{
	char *end;

	errno = 0;
	*out = (int64_t)strtoull(x->p, &end, 0);
	if (errno == ERANGE)
		return err_set(x->e, ERANGE, "number too large");
	if (end == x->p)
		return err_set(x->e, EINVAL, "invalid char '%c' in expression",
			       isprint((unsigned char)*x->p) ? *x->p : '?');
	x->p = end;
	return 0;
}

static int read_reg(struct expr *x, int64_t *out)
{
	char name[32];
	size_t n = 0;
	uint64_t val = 0;
	int ret;

	x->p++;
	while (isalnum((unsigned char)*x->p) || *x->p == '_' || *x->p == '.') {
		if (n < sizeof(name) - 1)
			name[n++] = *x->p;
		x->p++;
	}
	name[n] = '\0';
	ret = read_register(x->h, name, &val, x->e);
	*out = (int64_t)val;
	return ret;
}

static int read_unary(struct expr *x, int64_t *out)
{
	char op;
	int ret;

	skip_blanks(&x->p);
	op = *x->p;
	if (op != '-' && op != '+' && op != '~' && op != '(')
		return op == '$' ? read_reg(x, out) : read_number(x, out);
	if (++x->depth > MAX_DEPTH)
		return err_set(x->e, EINVAL, "the expression is nested too deep");
	x->p++;
	ret = op == '(' ? read_or(x, out) : read_unary(x, out);
	x->depth--;
	if (ret < 0)
		return ret;
	if (op == '-')
		*out = (int64_t)(0 - (uint64_t)*out);
	else if (op == '~')
		*out = ~*out;
	if (op != '(')
		return 0;
	skip_blanks(&x->p);
	if (*x->p++ != ')')
		return err_set(x->e, EINVAL, "')' expected");
	return 0;
}

static int apply(struct expr *x, char op, int64_t *a, int64_t b)
{
	uint64_t ua = (uint64_t)*a, ub = (uint64_t)b;

	switch (op) {
	case '*':
		*a = (int64_t)(ua * ub);
		return 0;
	case '/':
	case '%':
		if (!ub)
			return err_set(x->e, EDOM, "division by zero");
		*a = (int64_t)(op == '/' ? ua / ub : ua % ub);
		return 0;
	case '+':
		*a = (int64_t)(ua + ub);
		return 0;
	case '-':
		*a = (int64_t)(ua - ub);
		return 0;
	case '&':
		*a = (int64_t)(ua & ub);
		return 0;
	case '|':
		*a = (int64_t)(ua | ub);
		return 0;
	case '^':
	default:
		*a = (int64_t)(ua ^ ub);
		return 0;
	}
}

/* Left to right over operators of one level; levels as in QEMU: products, logic, sums. */
static int read_chain(struct expr *x, const char *ops, int (*next)(struct expr *, int64_t *),
		      int64_t *out)
{
	int ret = next(x, out);

	while (ret == 0) {
		int64_t b;
		char op;

		skip_blanks(&x->p);
		op = *x->p;
		if (!op || !strchr(ops, op))
			return 0;
		x->p++;
		ret = next(x, &b);
		if (ret == 0)
			ret = apply(x, op, out, b);
	}
	return ret;
}

static int read_product(struct expr *x, int64_t *out)
{
	return read_chain(x, "*/%", read_unary, out);
}

static int read_logic(struct expr *x, int64_t *out)
{
	return read_chain(x, "&|^", read_product, out);
}

static int read_or(struct expr *x, int64_t *out)
{
	return read_chain(x, "+-", read_logic, out);
}

int hmp_read_expr(struct hmp *h, const char **text, int64_t *out, struct err *e)
{
	struct expr x = { .h = h, .p = *text, .e = e };
	int ret = read_or(&x, out);

	*text = x.p;
	return ret;
}

/* ---- the kinds ---- */

/* A word, with quotes taken off; in memory of the arena. */
static int read_word(const char **p, struct qmp_arena *arena, const char **out, struct err *e)
{
	char *w = qmp_arena_alloc(arena, strlen(*p) + 1, 1);

	*out = w;
	if (**p != '"') {
		while (**p && !isspace((unsigned char)**p))
			*w++ = *(*p)++;
		return 0;
	}
	for ((*p)++; **p && **p != '"'; (*p)++) {
		if (**p == '\\' && (*p)[1])
			(*p)++;
		*w++ = **p;
	}
	if (**p != '"')
		return err_set(e, EINVAL, "unterminated string");
	(*p)++;
	return 0;
}

static int read_format(const char **p, struct hmp_format *f, struct err *e)
{
	unsigned long count;
	char *end;

	if (**p != '/')
		return 0;
	(*p)++;
	if (isdigit((unsigned char)**p)) {
		count = strtoul(*p, &end, 10);
		*p = end;
		f->count = (uint32_t)MIN(count, 1u << 20);
	}
	for (; **p && !isspace((unsigned char)**p); (*p)++) {
		if (strchr("xduoci", **p) || (**p == 's' && !f->format))
			f->format = **p;
		else if (strchr("bhwgL", **p))
			f->size = **p == 'L' ? 'g' : **p;
		else
			return err_set(e, EINVAL, "invalid char in format: '%c'",
				       isprint((unsigned char)**p) ? **p : '?');
	}
	return 0;
}

static int read_one(struct hmp *h, const struct hmp_arg *a, const char **p, uint8_t *at,
		    struct qmp_arena *arena, struct err *e)
{
	const char *word;
	int ret;

	switch (a->kind) {
	case HMP_WORD:
		return read_word(p, arena, (const char **)at, e);
	case HMP_REST:
		*(const char **)at = *p;
		*p += strlen(*p);
		return 0;
	case HMP_INT:
		return hmp_read_expr(h, p, (int64_t *)at, e);
	case HMP_SIZE:
		ret = read_word(p, arena, &word, e);
		return ret < 0 ? ret : parse_size(word, MIB(1), (uint64_t *)at, e);
	case HMP_BOOL:
		ret = read_word(p, arena, &word, e);
		if (ret < 0)
			return ret;
		*(bool *)at = !strcmp(word, "on");
		return !strcmp(word, "on") || !strcmp(word, "off")
			       ? 0
			       : err_set(e, EINVAL, "expected 'on' or 'off'");
	case HMP_FORMAT:
		return read_format(p, (struct hmp_format *)at, e);
	case HMP_FLAG:
	default:
		return 0;
	}
}

/* -x stands in front of what is no flag; several in one word are fine. */
static int read_flags(const struct hmp_command *c, const char **p, uint8_t *args, struct err *e)
{
	bool any = false;

	for (const struct hmp_arg *a = c->args; a && a->name; a++)
		any |= a->kind == HMP_FLAG;
	for (skip_blanks(p); any && **p == '-' && isalpha((unsigned char)(*p)[1]); skip_blanks(p)) {
		for ((*p)++; isalpha((unsigned char)**p); (*p)++) {
			const struct hmp_arg *a = c->args;

			while (a->name && (a->kind != HMP_FLAG || a->name[0] != **p))
				a++;
			if (!a->name)
				return err_set(e, EINVAL, "unsupported option -%c", **p);
			*(bool *)(args + a->off) = true;
		}
	}
	return 0;
}

int hmp_read_args(struct hmp *h, const struct hmp_command *c, const char *text, void *args,
		  struct qmp_arena *arena, struct err *e)
{
	int ret = read_flags(c, &text, args, e);

	for (const struct hmp_arg *a = c->args; ret == 0 && a && a->name; a++) {
		struct err why = { 0 };

		if (a->kind == HMP_FLAG)
			continue;
		skip_blanks(&text);
		if (!*text && a->optional)
			continue;
		if (!*text && a->kind != HMP_FORMAT)
			return err_set(e, EINVAL, "argument '%s' is missing", a->name);
		ret = read_one(h, a, &text, (uint8_t *)args + a->off, arena, &why);
		if (ret < 0)
			return err_set(e, EINVAL, "%s: %s", a->name, why.msg);
		if (a->has_off >= 0)
			*(bool *)((uint8_t *)args + a->has_off) = true;
	}
	skip_blanks(&text);
	if (ret == 0 && *text)
		return err_set(e, EINVAL, "extraneous characters at the end of line");
	return ret;
}
