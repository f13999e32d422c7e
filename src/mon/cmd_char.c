/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Character devices: where they lead. Source: QEMU's QAPI documentation of char. Control thread; no
 * state.
 */
#include "base/base.h"
#include "char/char.h"
#include "core/backend.h"
#include "core/vm.h"
#include "mon/cmd.h"

json_t *qmp_query_chardev(struct mon_cmd *c, struct err *e)
{
	json_t *list = json_array();

	for (struct backend *b = c->vm->backends; b; b = b->next) {
		autofree char *where = NULL;

		if (b->kind != BACKEND_CHAR)
			continue;
		where = char_describe(b->end);
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:b}", "label", b->id, "filename",
						where, "frontend-open", char_front_open(b->end)));
	}
	return list;
}

json_t *qmp_query_chardev_backends(struct mon_cmd *c, struct err *e)
{
	json_t *list = json_array();

	for (unsigned i = 0; char_kind(i); i++)
		json_array_append_new(list, json_pack("{s:s}", "name", char_kind(i)));
	return list;
}

void hmp_info_chardev(struct hmp *h)
{
	json_t *list = hmp_qmp(h, "query-chardev", NULL), *o;
	size_t i;

	json_array_foreach(list, i, o)
		hmp_printf(h, "%s: filename=%s\n", json_string_value(json_object_get(o, "label")),
			   json_string_value(json_object_get(o, "filename")));
	json_decref(list);
}
