/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to the person who runs hanok, on stderr, one line each: "hanok: <level>: text".
 * Guest text is escaped by the caller with log_escape(). Any thread.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
/* What the CPU engine tells, apart from levels. */
#define LOG_INT	    0x01u
#define LOG_IN_ASM  0x02u
#define LOG_OUT_ASM 0x04u
#define LOG_EXEC    0x08u
#define LOG_CPU	    0x10u
#define LOG_NOCHAIN 0x20u
/* Those for which the engine runs one block at a time. */
#define LOG_BLOCKS (LOG_EXEC | LOG_CPU | LOG_NOCHAIN)

/*
 * What -d and the monitor's log choose from, up to one without a name: the level that shows it, or
 * what the engine is to tell.
 */
struct log_item {
	const char *name;
	enum log_level level;
	uint32_t engine; /* LOG_* */
	const char *help;
};
extern const struct log_item log_items[];
/* LOG_* of the engine; what was on before is off. */
void log_set_engine(uint32_t bits);
extern _Atomic uint32_t log_engine __attribute__((visibility("hidden")));
/* Which of those are on. */
static inline uint32_t log_is_on(uint32_t bits)
{
	return atomic_load_explicit(&log_engine, memory_order_relaxed) & bits;
}
/* Lines as they are, in one write. */
void log_text(const char *text, size_t len);
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
