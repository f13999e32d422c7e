/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines on stderr (log.h). Each line is one write(2), so lines of several threads do not mix.
 * Level and name are process-wide on purpose: they describe this process's stderr, not a VM.
 */
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_MAX	  2048
#define LOG_PER_WINDOW	  10
#define LOG_WINDOW_LENGTH (5 * NS_PER_SEC)

static _Atomic int log_level_now = LOG_LEVEL_INFO;
static const char *_Atomic log_name = "hanok";
static const char *_Atomic log_guest; /* NULL, or log_guest_copy */
static char log_guest_copy[128];
static _Atomic bool log_dates;
static _Atomic int log_fd = STDERR_FILENO;
static _Atomic int log_event_fd = -1; /* -1: where the others go */

_Atomic uint32_t log_engine;

const struct log_item log_items[] = {
	{ "error", LOG_LEVEL_ERROR, 0, "only what went wrong" },
	{ "warn", LOG_LEVEL_WARN, 0, "and what is likely to" },
	{ "info", LOG_LEVEL_INFO, 0, "and what is good to know (without -d)" },
	{ "debug", LOG_LEVEL_DEBUG, 0, "and everything else" },
	{ "guest_errors", LOG_LEVEL_DEBUG, 0, "what guests do that specifications forbid" },
	{ "unimp", LOG_LEVEL_DEBUG, 0, "what guests ask for that is not here" },
	{ "int", LOG_LEVEL_INFO, LOG_INT, "exceptions and interrupts, with the registers" },
	{ "in_asm", LOG_LEVEL_INFO, LOG_IN_ASM, "guest code, as it is decoded" },
	{ "out_asm", LOG_LEVEL_INFO, LOG_OUT_ASM, "host code, as it is made" },
	{ "exec", LOG_LEVEL_INFO, LOG_EXEC, "each block that runs" },
	{ "cpu", LOG_LEVEL_INFO, LOG_CPU, "the registers in front of each block" },
	{ "nochain", LOG_LEVEL_INFO, LOG_NOCHAIN, "host code comes back after each block" },
	{ NULL, LOG_LEVEL_ERROR, 0, NULL },
};

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

void log_set_engine(uint32_t bits)
{
	atomic_store_explicit(&log_engine, bits, memory_order_relaxed);
}

void log_text(const char *text, size_t len)
{
	/* nobody to tell when this itself fails */
	if (write(atomic_load_explicit(&log_fd, memory_order_relaxed), text, len) < 0)
		return;
}

void log_set_name(const char *name)
{
	atomic_store_explicit(&log_name, name, memory_order_release);
}

void log_set_timestamps(bool on)
{
	atomic_store(&log_dates, on);
}

void log_set_guest(const char *name)
{
	if (name)
		snprintf(log_guest_copy, sizeof(log_guest_copy), "%s", name);
	atomic_store_explicit(&log_guest, name ? log_guest_copy : NULL, memory_order_release);
}

void log_set_fd(int fd)
{
	atomic_store(&log_fd, fd);
}

void log_set_event_fd(int fd)
{
	atomic_store(&log_event_fd, fd);
}

/* ISO 8601 in UTC with microseconds, and a blank; or nothing. */
static void format_date(char *out, size_t size)
{
	struct timespec now;
	struct tm tm;
	size_t n;

	*out = '\0';
	if (!atomic_load_explicit(&log_dates, memory_order_relaxed))
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, size - n, ".%06ldZ ", now.tv_nsec / 1000);
}

/*
 * head bytes of line are there; the text and the line's end follow, and all of it is written to fd.
 * one_line: control characters in the text become question marks.
 */
__attribute__((format(printf, 5, 0))) static void
finish_line(int fd, char *line, int head, bool one_line, const char *fmt, va_list ap)
{
	int body;
	size_t len;

	if (head < 0 || (size_t)head >= LOG_LINE_MAX - 1)
		return;
	body = vsnprintf(line + head, LOG_LINE_MAX - (size_t)head, fmt, ap);
	if (body < 0)
		return;
	len = MIN((size_t)head + (size_t)body, (size_t)LOG_LINE_MAX - 2);
	for (size_t i = (size_t)head; one_line && i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[len] = '\n';
	/* nobody to tell when this itself fails */
	if (write(fd, line, len + 1) < 0)
		return;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	static const char *const word[] = { "error", "warning", "info", "debug" };
	const char *guest = atomic_load_explicit(&log_guest, memory_order_acquire);
	char line[LOG_LINE_MAX], date[40];
	int head, saved = errno;
	va_list ap;

	if ((int)level > atomic_load_explicit(&log_level_now, memory_order_relaxed))
		return;
	format_date(date, sizeof(date));
	head = snprintf(line, sizeof(line), "%s%s%s%s: %s: ", date, guest ? guest : "",
			guest ? " " : "", atomic_load_explicit(&log_name, memory_order_acquire),
			word[level]);
	va_start(ap, fmt);
	finish_line(atomic_load_explicit(&log_fd, memory_order_relaxed), line, head, false, fmt,
		    ap);
	va_end(ap);
	errno = saved;
}

void log_from_handler(const char *text)
{
	const char *part[] = { atomic_load_explicit(&log_name, memory_order_acquire),
			       ": error: ", text, "\n" };
	int fd = atomic_load_explicit(&log_fd, memory_order_relaxed);
	char line[LOG_LINE_MAX];
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(part); i++) {
		size_t n = MIN(strlen(part[i]), sizeof(line) - len);

		memcpy(line + len, part[i], n);
		len += n;
	}
	if (write(fd, line, len) < 0)
		return;
}

void log_event(const char *name, const char *fmt, va_list ap)
{
	char line[LOG_LINE_MAX];
	int fd = atomic_load_explicit(&log_event_fd, memory_order_relaxed), head, saved = errno;
	struct timespec now;

	if (atomic_load_explicit(&log_dates, memory_order_relaxed)) {
		clock_gettime(CLOCK_REALTIME, &now);
		head = snprintf(line, sizeof(line), "%d@%lld.%06ld:%s ", (int)gettid(),
				(long long)now.tv_sec, now.tv_nsec / 1000, name);
	} else {
		head = snprintf(line, sizeof(line), "%s ", name);
	}
	if (fd < 0)
		fd = atomic_load_explicit(&log_fd, memory_order_relaxed);
	finish_line(fd, line, head, true, fmt, ap);
	errno = saved;
}

void log_escape(char *dst, size_t size, const void *src, size_t n)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *s = src;
	size_t o = 0;

	if (!size)
		return;
	for (size_t i = 0; i < n; i++) {
		bool plain = s[i] >= 0x20 && s[i] < 0x7f && s[i] != '\\';

		if (o + (plain ? 1 : 4) >= size)
			break;
		if (plain) {
			dst[o++] = (char)s[i];
			continue;
		}
		dst[o++] = '\\';
		dst[o++] = 'x';
		dst[o++] = hex[s[i] >> 4];
		dst[o++] = hex[s[i] & 15];
	}
	dst[o] = 0;
}

bool log_allow(struct log_limit *l)
{
	uint64_t now = clock_now_ns();

	/* Racing callers may let a line too many through; that is harmless, so no lock. */
	if (!l->window_ns || now - l->window_ns >= LOG_WINDOW_LENGTH) {
		l->window_ns = now;
		l->in_window = 0;
	}
	if (l->in_window >= LOG_PER_WINDOW) {
		l->swallowed++;
		return false;
	}
	l->in_window++;
	return true;
}
