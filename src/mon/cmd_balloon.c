/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the memory balloon: schema/balloon.json. Control thread. */
#include "base/base.h"
#include "mon/cmd.h"
#include "virtio/virtio_balloon.h"

static void class_of(int ret, struct err *e)
{
	if (ret == -ENODEV && e)
		e->cls = ERR_DEVICE_NOT_ACTIVE;
}

json_t *qmp_query_balloon(struct mon_cmd *c, struct err *e)
{
	uint64_t bytes;
	int ret = balloon_get_actual(c->vm, &bytes, e);

	class_of(ret, e);
	return ret < 0 ? NULL : json_pack("{s:I}", "actual", (json_int_t)bytes);
}

int qmp_balloon(struct mon_cmd *c, const struct qmp_balloon_args *a, struct err *e)
{
	int ret;

	if (a->value <= 0)
		return err_set(e, EINVAL, "value is a size in bytes, more than 0");
	ret = balloon_set_target(c->vm, (uint64_t)a->value, e);
	class_of(ret, e);
	return ret;
}

void hmp_info_balloon(struct hmp *h)
{
	json_t *info = hmp_qmp(h, "query-balloon", NULL);

	if (info)
		hmp_printf(h, "balloon: actual=%" PRIu64 "\n",
			   (uint64_t)json_integer_value(json_object_get(info, "actual")) >> 20);
	json_decref(info);
}

void hmp_balloon(struct hmp *h, const struct hmp_balloon_args *a)
{
	json_int_t bytes = (json_int_t)MIN(a->value, (uint64_t)INT64_MAX);

	json_decref(hmp_qmp(h, "balloon", json_pack("{s:I}", "value", bytes)));
}
