/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace points: lines about what the machine does, which are off until somebody asks for them by
 * name. trace.def lists them. One that is off costs a relaxed load, a branch and what its arguments
 * cost, so these are plain members; still, none stands where the soft engine passes for each
 * instruction. Any thread.
 *
 * A line goes where the log's go (log.h), in one write(2): "NAME text", or with dates
 * "TID@SEC.USEC:NAME text", as QEMU's log backend has it. Control characters in it are question
 * marks: guests and clients have a say in the text.
 */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include "base/base.h"

enum trace_id {
#define TRACE_EVENT(name, params, ...) TRACE_ID_##name,
#include "base/trace.def"
#undef TRACE_EVENT
	TRACE_NR,
};

/*
 * Whether each event is on; trace_set() changes it. Process-wide, as the log that it goes to.
 * Hidden, so that a look at it is one instruction without a register.
 */
extern _Atomic bool trace_on[TRACE_NR] __attribute__((visibility("hidden")));

/* Whether its lines are written just now: for arguments that cost something. */
static inline bool trace_is_on(enum trace_id id)
{
	return unlikely(atomic_load_explicit(&trace_on[id], memory_order_relaxed));
}

/* One line of the event, whether it is on or not. errno stays. */
void trace_line(enum trace_id id, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));

#define TRACE_EVENT(name, params, ...)                            \
	static inline void trace_##name params                    \
	{                                                         \
		if (trace_is_on(TRACE_ID_##name))                 \
			trace_line(TRACE_ID_##name, __VA_ARGS__); \
	}
#include "base/trace.def"
#undef TRACE_EVENT

/* The event's name; id < TRACE_NR. */
const char *trace_name(enum trace_id id);

/*
 * Whether the event's name matches pattern, in which * stands for anything and ? for a letter; all
 * else, brackets too, stands for itself, as in QEMU.
 */
bool trace_match(enum trace_id id, const char *pattern);
/* Whether text has any of those two; else it is the name of one event. */
bool trace_is_pattern(const char *text);

/* Switches the events that match; returns how many do. */
unsigned trace_set(const char *pattern, bool on);

/*
 * A word of -trace or line of its events file: a pattern to switch on, or "-" and one to switch
 * off. An event's plain name that there is not is a warning, as in QEMU.
 */
void trace_ask(const char *word);

#endif
