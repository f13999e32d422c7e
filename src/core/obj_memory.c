/* SPDX-License-Identifier: Apache-2.0 */
/*
 * -object memory-backend-ram, -file and -memfd (object.h): the machine's RAM with a say in where
 * the host takes it from. Control thread. State: none; the RAM is the machine's.
 */
#include "base/base.h"
#include "core/accel.h"
#include "core/object_int.h"
#include "core/vm.h"
#include "mem/ram.h"
#include <ctype.h>

struct memory {
	struct obj o;
	uint64_t size, offset, hugetlbsize, align;
	uint32_t threads;
	char *path, *policy;
	bool share, prealloc, merge, dump, reserve, hugetlb, seal, guest_memfd;
	struct ram_block *ram; /* until the machine takes it */
	bool taken;
};

#define FLAG(name, member, def, help) PROP_FLAG(name, struct memory, member, def, help)
#define COMMON                                                                            \
	PROP_UINT("size", struct memory, size, PROP_SIZE, 0, 0, 0, "bytes"),              \
		FLAG("merge", merge, false, "equal pages may be shared (KSM)"),           \
		FLAG("dump", dump, false, "part of hanok's core dump"),                   \
		FLAG("prealloc", prealloc, false, "take all of it at the start"),         \
		PROP_UINT("prealloc-threads", struct memory, threads, PROP_U32, 1, 1, 64, \
			  "threads that do so"),                                          \
		FLAG("reserve", reserve, true, "set huge pages aside"),                   \
		PROP_STRING("policy", struct memory, policy, "default",                   \
			    "NUMA: default, preferred, bind or interleave")

static const struct prop ram_props[] = {
	COMMON,
	FLAG("share", share, false, "nothing else changes: it is the process's own"),
	PROPS_END,
};

static const struct prop file_props[] = {
	COMMON,
	PROP_STRING("mem-path", struct memory, path, NULL, "a file, or a folder for one"),
	PROP_UINT("offset", struct memory, offset, PROP_SIZE, 0, 0, 0, "where in the file"),
	PROP_UINT("align", struct memory, align, PROP_SIZE, 0, 0, 0,
		  "alignment, as the pages have"),
	FLAG("share", share, false, "what the guest writes goes into the file"),
	PROPS_END,
};

static const struct prop memfd_props[] = {
	COMMON,
	FLAG("share", share, true, "other processes may be handed it"),
	FLAG("hugetlb", hugetlb, false, "of huge pages"),
	PROP_UINT("hugetlbsize", struct memory, hugetlbsize, PROP_SIZE, 0, 0, 0,
		  "their size; 0 = the host's default"),
	FLAG("seal", seal, true, "nobody can change its size"),
	FLAG("guest-memfd", guest_memfd, false, "memory that KVM makes (Linux 6.18)"),
	PROPS_END,
};

/* Lists are keys of their own: host-nodes=0-1, or host-nodes.0=0 and so on. */
static const char *const list_keys[] = { "host-nodes", NULL };

static struct memory *memory_of(struct obj *o)
{
	return container_of(o, struct memory, o);
}

/* "3" or "0-2" to bits. */
static int add_nodes(const char *text, uint64_t *nodes, struct err *e)
{
	char *end;
	unsigned long first, last;

	first = last = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 64;
	if (first < 64 && *end == '-')
		last = strtoul(end + 1, &end, 10);
	if (first > 63 || last > 63 || last < first || *end)
		return err_set(e, EINVAL, "host-nodes=%s: nodes from 0 to 63, as 0 or 0-1", text);
	*nodes |= (UINT64_MAX >> (63 - (last - first))) << first;
	return 0;
}

static int read_nodes(struct conf_node *node, uint64_t *nodes, struct err *e)
{
	for (struct conf_kv *kv = node->kv; kv; kv = kv->next) {
		int ret;

		if (strncmp(kv->key, "host-nodes", 10) || (kv->key[10] && kv->key[10] != '.'))
			continue;
		kv->used = true;
		ret = add_nodes(kv->val, nodes, e);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int read_policy(struct memory *m, struct conf_node *node, struct ram_options *o,
		       struct err *e)
{
	static const char *const names[] = { "default", "preferred", "bind", "interleave", NULL };
	unsigned i = 0;
	int ret = read_nodes(node, &o->nodes, e);

	while (names[i] && strcmp(names[i], m->policy))
		i++;
	if (ret < 0)
		return ret;
	if (!names[i])
		return err_set(e, EINVAL, "policy=%s: say default, preferred, bind or interleave",
			       m->policy);
	o->policy = (enum ram_policy)i;
	if (!o->nodes != (o->policy == RAM_POLICY_DEFAULT))
		return err_set(e, EINVAL,
			       "host-nodes= and policy=bind, preferred or interleave go together");
	return 0;
}

static int check(const struct memory *m, struct err *e)
{
	if (!m->size || m->size % RAM_PAGE_SIZE)
		return err_set(e, EINVAL, "size=%" PRIu64 ": a multiple of 4096 is needed",
			       m->size);
	if (m->o.type == &obj_memory_file && !m->path)
		return err_set(e, EINVAL, "mem-path= is missing: which file?");
	if (m->hugetlbsize && !m->hugetlb)
		return err_set(e, EINVAL, "hugetlbsize= needs hugetlb=on");
	if (m->hugetlb && m->hugetlbsize && !is_pow2(m->hugetlbsize))
		return err_set(e, EINVAL, "hugetlbsize=%" PRIu64 " is no power of two",
			       m->hugetlbsize);
	if (m->guest_memfd && (m->hugetlb || !m->share))
		return err_set(e, EINVAL,
			       "guest-memfd=on is shared memory of plain pages: hugetlb=on and "
			       "share=off do not go with it");
	if (m->align && (!is_pow2(m->align) || m->align > MIB(2)))
		return err_set(e, EINVAL, "align=%" PRIu64 ": a power of two up to 2M", m->align);
	return 0;
}

/* Asks the engine, which so has to be there before. */
static int make_guest_memfd(struct vm *vm, uint64_t size, struct ram_options *o, struct err *e)
{
	if (!vm->accel->memory_fd)
		return err_set(e, ENOTSUP,
			       "guest-memfd=on: such memory is KVM's, and the engine here is '%s': "
			       "use -accel kvm, or leave it out",
			       vm->accel->name);
	o->engine_fd = vm->accel->memory_fd(vm, size, e);
	o->from_engine = o->engine_fd >= 0;
	return o->from_engine ? 0 : o->engine_fd;
}

static int memory_init(struct obj *obj, struct conf_node *node, struct err *e)
{
	struct memory *m = memory_of(obj);
	struct ram_options o = {
		.path = m->path,
		.offset = m->offset,
		.share = m->share,
		.huge = m->hugetlb ? m->hugetlbsize ?: 1 : 0,
		.seal = m->seal && obj->type == &obj_memory_memfd,
		.merge = m->merge,
		.dump = m->dump,
		.prealloc = m->prealloc,
		.threads = m->threads,
		.reserve = m->reserve && obj->type != &obj_memory_ram,
	};
	int ret = check(m, e);

	if (!ret)
		ret = read_policy(m, node, &o, e);
	if (!ret && m->guest_memfd)
		ret = make_guest_memfd(obj->vm, m->size, &o, e);
	if (ret < 0)
		return ret;
	m->ram = ram_new_with(obj->id, m->size, &o, e);
	return m->ram ? 0 : -(e ? e->code : ENOMEM);
}

static void memory_fini(struct obj *o)
{
	ram_free(memory_of(o)->ram);
}

static bool is_memory(const struct obj *o)
{
	return o->type == &obj_memory_ram || o->type == &obj_memory_file ||
	       o->type == &obj_memory_memfd;
}

struct ram_block *obj_memory_take(struct vm *vm, const char *id, struct err *e)
{
	struct obj *o = obj_find(vm, id, NULL, e);

	if (!o)
		return NULL;
	if (!is_memory(o)) {
		err_set(e, EINVAL, "object '%s' is a %s, no memory-backend", id, o->type->name);
		return NULL;
	}
	if (memory_of(o)->taken) {
		err_set(e, EBUSY, "memory-backend '%s' is in use already", id);
		return NULL;
	}
	memory_of(o)->taken = true;
	memory_of(o)->ram->name = "pc.ram"; /* the id goes before the RAM does */
	return take_ptr(memory_of(o)->ram);
}

#define MEMORY(var, type, text, table)         \
	const struct obj_type var = {          \
		.name = type,                  \
		.help = text,                  \
		.size = sizeof(struct memory), \
		.props = table,                \
		.more_keys = list_keys,        \
		.init = memory_init,           \
		.fini = memory_fini,           \
	}
MEMORY(obj_memory_ram, "memory-backend-ram", "guest memory of the process's own", ram_props);
MEMORY(obj_memory_file, "memory-backend-file", "guest memory in a file", file_props);
MEMORY(obj_memory_memfd, "memory-backend-memfd", "guest memory to be shared", memfd_props);
