/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which trace points are on, and their lines (trace.h). Process-wide for log.c's reason: it is this
 * process's standard error that they describe, not a VM.
 */
#include "base/base.h"
#include "base/log.h"
#include "base/trace.h"
#include <stdarg.h>

_Atomic bool trace_on[TRACE_NR];

static const char *const names[] = {
#define TRACE_EVENT(name, params, ...) #name,
#include "base/trace.def"
#undef TRACE_EVENT
};
static_assert(ARRAY_SIZE(names) == TRACE_NR, "a name for each event");

void trace_line(enum trace_id id, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_event(names[id], fmt, ap);
	va_end(ap);
}

const char *trace_name(enum trace_id id)
{
	return names[id];
}

bool trace_is_pattern(const char *text)
{
	return strpbrk(text, "*?") != NULL;
}

/* A star first stands for nothing, and for one letter more each time the rest does not fit. */
bool trace_match(enum trace_id id, const char *pattern)
{
	const char *name = names[id], *star = NULL, *behind = NULL;

	while (*name) {
		if (*pattern == '*') {
			star = pattern++;
			behind = name;
		} else if (*pattern == '?' || *pattern == *name) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star + 1;
			name = ++behind;
		} else {
			return false;
		}
	}
	return pattern[strspn(pattern, "*")] == '\0';
}

unsigned trace_set(const char *pattern, bool on)
{
	unsigned n = 0;

	for (unsigned i = 0; i < TRACE_NR; i++) {
		if (!trace_match((enum trace_id)i, pattern))
			continue;
		atomic_store_explicit(&trace_on[i], on, memory_order_relaxed);
		n++;
	}
	return n;
}

void trace_ask(const char *word)
{
	bool on = word[0] != '-';
	const char *pattern = on ? word : word + 1;

	if (!trace_set(pattern, on) && !trace_is_pattern(pattern))
		log_warn("trace event '%s' does not exist; -trace help lists them", pattern);
}
