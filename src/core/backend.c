/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of back ends by id (backend.h). Control thread only. */
#include "base/base.h"
#include "core/backend.h"
#include "core/conf.h"
#include "core/vm.h"

static const char *const kind_word[] = {
	[BACKEND_BLOCK] = "drive",
	[BACKEND_NET] = "netdev",
	[BACKEND_CHAR] = "chardev",
	[BACKEND_OBJECT] = "object",
};

static struct backend *find(struct vm *vm, enum backend_kind kind, const char *id)
{
	for (struct backend *b = vm->backends; b; b = b->next) {
		if (b->kind == kind && !strcmp(b->id, id))
			return b;
	}
	return NULL;
}

static void free_backend(struct vm *vm, struct backend *b)
{
	if (b->close)
		b->close(b->end);
	if (b->uses)
		backend_release(vm, b->kind, b->uses);
	free(b->uses);
	free(b->id);
	free(b->user);
	free(b);
}

int backend_add_take(struct vm *vm, enum backend_kind kind, const char *id, void *end,
		     void (*close)(void *end), struct err *e)
{
	struct backend *b = xnew(struct backend);

	b->kind = kind;
	b->id = xstrdup(id);
	b->end = end;
	b->close = close;
	if (find(vm, kind, id)) {
		free_backend(vm, b);
		return err_set(e, EEXIST, "there are two %ss with id '%s'; give one another id",
			       kind_word[kind], id);
	}
	b->next = vm->backends;
	vm->backends = b;
	return 0;
}

void *backend_find(struct vm *vm, enum backend_kind kind, const char *id)
{
	struct backend *b = find(vm, kind, id);

	return b ? b->end : NULL;
}

static void explain_missing(struct vm *vm, enum backend_kind kind, const char *id, struct err *e)
{
	autofree const char **names = NULL;
	const char *near;
	size_t n = 0;

	for (struct backend *b = vm->backends; b; b = b->next)
		n++;
	names = xnew_n(const char *, n + 1);
	n = 0;
	for (struct backend *b = vm->backends; b; b = b->next) {
		if (b->kind == kind)
			names[n++] = b->id;
	}
	near = nearest_word(id, names);
	err_set(e, ENOENT, "there is no %s with id '%s'%s%s%s", kind_word[kind], id,
		near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

void *backend_claim(struct vm *vm, enum backend_kind kind, const char *id, const char *user,
		    struct err *e)
{
	struct backend *b = find(vm, kind, id);

	if (!b) {
		explain_missing(vm, kind, id, e);
		return NULL;
	}
	if (b->shared)
		return b->end;
	if (b->user) {
		err_set(e, EBUSY, "%s '%s' is in use by %s already", kind_word[kind], id, b->user);
		return NULL;
	}
	b->user = xstrdup(user);
	return b->end;
}

void backend_release(struct vm *vm, enum backend_kind kind, const char *id)
{
	struct backend *b = find(vm, kind, id);

	if (b)
		free(take_ptr(b->user));
}

void backend_share(struct vm *vm, enum backend_kind kind, const char *id)
{
	struct backend *b = find(vm, kind, id);

	if (b)
		b->shared = true;
}

void backend_hold(struct vm *vm, enum backend_kind kind, const char *id)
{
	struct backend *b = find(vm, kind, id);

	if (b)
		b->holders++;
}

void backend_let_go(struct vm *vm, enum backend_kind kind, const char *id)
{
	struct backend *b = find(vm, kind, id);

	if (b && b->holders)
		b->holders--;
}

void backend_uses(struct vm *vm, enum backend_kind kind, const char *id, const char *used)
{
	struct backend *b = find(vm, kind, id);

	if (b)
		b->uses = xstrdup(used);
}

int backend_remove(struct vm *vm, enum backend_kind kind, const char *id, struct err *e)
{
	struct backend *b = find(vm, kind, id), **p = &vm->backends;

	if (!b) {
		explain_missing(vm, kind, id, e);
		return -ENOENT;
	}
	if (b->holders)
		return err_set(e, EBUSY, "%s '%s' is in use by %u device%s", kind_word[kind], id,
			       b->holders, b->holders > 1 ? "s" : "");
	if (b->user)
		return err_set(e, EBUSY, "%s '%s' is in use by %s", kind_word[kind], id, b->user);
	while (*p != b)
		p = &(*p)->next;
	*p = b->next;
	free_backend(vm, b);
	return 0;
}

void backend_close_all(struct vm *vm)
{
	while (vm->backends) {
		struct backend *b = vm->backends;

		vm->backends = b->next;
		free_backend(vm, b);
	}
}
