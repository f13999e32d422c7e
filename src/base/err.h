/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors as values with context.
 *
 * A function that can fail returns 0 or a negative errno. Where a person or an API client reads
 * the cause, it takes a caller-owned `struct err *` as its last parameter and fills it before it
 * fails. No heap, no global state; e may be NULL when the caller does not care for the text.
 * The text says what, where, why, and what to do about it.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdint.h>

/* The error classes of QMP (qapi/error.json); most errors are generic. */
enum err_class {
	ERR_GENERIC,
	ERR_COMMAND_NOT_FOUND,
	ERR_DEVICE_NOT_ACTIVE,
	ERR_DEVICE_NOT_FOUND,
	ERR_KVM_MISSING_CAP,
};

struct err {
	int code; /* positive errno, 0 = none */
	enum err_class cls;
	char msg[504];
};

/* Sets e. code is a positive errno. Returns -code, so: return err_set(e, EINVAL, "..."); */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Like err_set() with ": <strerror(code)>" behind the text. */
int err_set_errno(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts a prefix ("drive0: ") in front of e's text. Returns -e->code (-EINVAL when e is NULL). */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
