/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that look at guest memory: schema/show.json. RAM and ROM only: looking at a device's
 * registers would do something to it. The guest runs meanwhile. Control thread. State: none.
 */
#include "base/base.h"
#include "core/arch.h"
#include "mon/cmd.h"
#include "mon/show_mem.h"

static int read_physical(void *arg, uint64_t addr, void *buf, size_t len)
{
	struct map *map = arg;

	return mem_read(map, addr, buf, len);
}

struct virtual
{
	struct map *map;
	struct arch_space space;
};

static int read_virtual(void *arg, uint64_t addr, void *buf, size_t len)
{
	const struct virtual *v = arg;

	while (len) {
		uint64_t gpa, run;
		size_t n;

		if (arch_space_find(&v->space, addr, &gpa, &run) < 0)
			return -EFAULT;
		n = (size_t)MIN(run, (uint64_t)len);
		if (!n || mem_read(v->map, gpa, buf, n) < 0)
			return -EFAULT;
		buf = (uint8_t *)buf + n;
		addr += n;
		len -= n;
	}
	return 0;
}

/* The chosen CPU's address space. */
static int space_of(struct hmp *h, struct virtual *v, struct err *e)
{
	v->map = h->vm->map;
	if (h->cpu >= h->vm->nr_vcpus)
		return err_set(e, EINVAL, "this machine has no CPU %u", h->cpu);
	return arch_space_of(h->vm->vcpus[h->cpu], &v->space, e);
}

static void show(struct hmp *h, const struct hmp_format *f, uint64_t addr,
		 int (*read)(void *, uint64_t, void *, size_t), void *arg)
{
	autofree char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return;
	show_memory(out, f, addr, read, arg);
	fclose(out);
	hmp_printf(h, "%s", text);
}

void hmp_x(struct hmp *h, const struct hmp_x_args *a)
{
	struct hmp_format f = a->fmt;
	struct err e = { 0 };
	struct virtual v;

	if (show_format_check(&f, &h->format, &e) < 0 || space_of(h, &v, &e) < 0)
		hmp_error(h, &e);
	else
		show(h, &f, (uint64_t)a->addr, read_virtual, &v);
}

void hmp_xp(struct hmp *h, const struct hmp_xp_args *a)
{
	struct hmp_format f = a->fmt;
	struct err e = { 0 };

	if (show_format_check(&f, &h->format, &e) < 0)
		hmp_error(h, &e);
	else
		show(h, &f, (uint64_t)a->addr, read_physical, h->vm->map);
}

void hmp_print(struct hmp *h, const struct hmp_print_args *a)
{
	struct hmp_format f = a->fmt;
	autofree char *text = NULL;
	struct err e = { 0 };
	size_t len = 0;
	FILE *out;

	if (show_format_check(&f, &h->format, &e) < 0) {
		hmp_error(h, &e);
		return;
	}
	out = open_memstream(&text, &len);
	if (!out)
		return;
	show_value(out, &f, (uint64_t)a->val);
	fclose(out);
	hmp_printf(h, "%s\n", text);
}

void hmp_gva2gpa(struct hmp *h, const struct hmp_gva2gpa_args *a)
{
	uint64_t gpa, run;
	struct err e = { 0 };
	struct virtual v;

	if (space_of(h, &v, &e) < 0)
		hmp_error(h, &e);
	else if (arch_space_find(&v.space, (uint64_t)a->addr, &gpa, &run) < 0)
		hmp_printf(h, "Unmapped\n");
	else
		hmp_printf(h, "gpa: 0x%" PRIx64 "\n", gpa);
}
