/* SPDX-License-Identifier: Apache-2.0 */
/* Error values with text (err.h). No state, any thread. */
#include "base/base.h"
#include "base/err.h"
#include <stdarg.h>
#include <stdio.h>

static void err_vset(struct err *e, int code, const char *fmt, va_list ap)
{
	e->code = code;
	e->cls = ERR_GENERIC;
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	if (e) {
		va_list ap;

		va_start(ap, fmt);
		err_vset(e, code, fmt, ap);
		va_end(ap);
	}
	return -code;
}

int err_set_errno(struct err *e, int code, const char *fmt, ...)
{
	if (e) {
		va_list ap;
		size_t len;
		char why[96];

		va_start(ap, fmt);
		err_vset(e, code, fmt, ap);
		va_end(ap);
		len = strlen(e->msg);
		/* the GNU strerror_r() may return a constant instead of filling the buffer */
		snprintf(e->msg + len, sizeof(e->msg) - len, ": %s",
			 strerror_r(code, why, sizeof(why)));
	}
	return -code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	char old[sizeof(e->msg)];
	size_t len;
	va_list ap;

	if (!e)
		return -EINVAL;
	memcpy(old, e->msg, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	len = strlen(e->msg);
	snprintf(e->msg + len, sizeof(e->msg) - len, "%s", old);
	return e->code ? -e->code : -EINVAL;
}
