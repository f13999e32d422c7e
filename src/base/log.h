/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to the person who runs hanok, on stderr, one line each: "hanok: <level>: text".
 * Guest text is escaped by the caller with log_escape(). Any thread.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
/* What -d and the monitor's log choose from, up to one without a name: the level that shows it. */
struct log_item {
	const char *name;
	enum log_level level;
	const char *help;
};
extern const struct log_item log_items[];
/* What stands in front of each line; default "hanok". name must outlive the process. */
void log_set_name(const char *name);
/* Dates in front of each line; a name in front of its text (copied; NULL: none),
 * to be set before there are threads. */
void log_set_timestamps(bool on);
void log_set_guest(const char *name);
/* An error's line whose text needs no formatting: safe in a signal handler. */
void log_from_handler(const char *text);
/* Lines go to fd from now on, which stays open for ever; those of log_event() to one of their own. */
void log_set_fd(int fd);
void log_set_event_fd(int fd);
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A trace point's line (trace.h), at any level: "NAME text", or dated "TID@SEC.USEC:NAME text". */
void log_event(const char *name, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

#define log_error(...) log_msg(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_msg(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_msg(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* Copies at most n bytes of src to dst (size bytes, always terminated), unprintables as \xNN. */
void log_escape(char *dst, size_t size, const void *src, size_t n);

/* A budget of messages for one source: true while it may log; counts what it swallowed. */
struct log_limit {
	uint64_t window_ns;
	uint32_t in_window, swallowed;
};
bool log_allow(struct log_limit *l);

#endif
