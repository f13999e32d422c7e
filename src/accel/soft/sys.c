/* SPDX-License-Identifier: Apache-2.0 */
/* Which handler a system instruction (class SYS) has. */
#include "accel/soft/sys.h"

insn_fn bind_sys(struct soft_cpu *c, struct insn *in)
{
	static insn_fn (*const files[])(const struct insn *, unsigned) = {
		bind_sys_seg, bind_sys_far, bind_sys_ctl, bind_sys_flags,
		bind_sys_io,  bind_sys_call, bind_sys_msr,
	};
	unsigned mn = op_descs[in->op].mn;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		insn_fn fn = files[i](in, mn);

		if (fn)
			return fn;
	}
	return NULL;
}
