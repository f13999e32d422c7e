/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C library's string functions beside loops that a child understands: all alignments, lengths around the
 * sizes of vectors, and buffers that end where the next page may not be touched. Which implementation runs
 * is the library's choice by the processor, and GLIBC_TUNABLES's (../programs.py).
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096
#define LEN  160 /* more than two vectors of 64 bytes */

static unsigned failures;

static void expect(int ok, const char *what, size_t align, size_t len)
{
	if (!ok && ++failures < 20)
		printf("%s is wrong: %zu bytes, %zu in front of the page's end\n", what, len, align);
}

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

/* The last two of three pages may be used, then none: returns that end. */
static char *page_end(void)
{
	char *m = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED || mprotect(m + 3 * PAGE, PAGE, PROT_NONE)) {
		perror("mmap");
		exit(1);
	}
	return m + 3 * PAGE;
}

static int same(const char *p, const char *q, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != q[i])
			return 0;
	}
	return 1;
}

static void fill(char *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (char)(1 + (i * 7 + seed * 13) % 250);
}

/* Copies and sets of len bytes that end `gap` bytes in front of a page's end. */
static void moves(char *a, char *b, size_t gap, size_t len)
{
	static char image[PAGE];
	char *from = a - gap - len, *to = b - (gap * 5 % 64) - len;

	fill(from, len, (unsigned)gap);
	memset(to, 0, len);
	to[-1] = 'x';
	expect(memcpy(to, from, len) == to && same(to, from, len) && to[-1] == 'x', "memcpy", gap, len);
	expect(mempcpy(to, from, len) == to + len && same(to, from, len), "mempcpy", gap, len);
	expect(memset(to, (int)len, len) == to && to[-1] == 'x', "memset", gap, len);
	for (size_t i = 0; i < len; i++)
		expect(to[i] == (char)len, "memset", gap, len);
	/* Over itself, to both sides. */
	memcpy(image, from, len);
	memmove(from - len / 3, from, len);
	expect(same(from - len / 3, image, len), "memmove down", gap, len);
	memmove(from, from - len / 3, len);
	expect(same(from, image, len), "memmove up", gap, len);
}

static void finds(char *a, size_t gap, size_t len)
{
	char *p = a - gap - len;
	const size_t at = len * 2 / 3;

	fill(p, len, 3);
	for (size_t i = 0; i < len; i++)
		p[i] = p[i] == (char)255 || p[i] == (char)254 ? 'a' : p[i];
	expect(memchr(p, 255, len) == NULL && memrchr(p, 255, len) == NULL, "memchr of nothing", gap, len);
	if (!len)
		return;
	p[at] = (char)255;
	expect(memchr(p, 255, len) == p + at, "memchr", gap, len);
	expect(memrchr(p, 255, len) == p + at, "memrchr", gap, len);
	expect(rawmemchr(p, 255) == p + at, "rawmemchr", gap, len);
	p[len - 1] = 0;
	expect(strlen(p) == len - 1 && strnlen(p, len) == len - 1, "strlen", gap, len);
	expect(strnlen(p, len / 2) == len / 2 || len == 1, "strnlen", gap, len);
	expect(strchr(p, 255) == (at < len - 1 ? p + at : NULL), "strchr", gap, len);
	expect(strrchr(p, 255) == (at < len - 1 ? p + at : NULL), "strrchr", gap, len);
	expect(strchrnul(p, 254) == p + len - 1, "strchrnul", gap, len);
	expect(strcspn(p, "\xfe\xff") == (at < len - 1 ? at : len - 1), "strcspn", gap, len);
}

static void compares(char *a, char *b, size_t gap, size_t len)
{
	char *p = a - gap - len, *q = b - (gap * 3 % 64) - len;

	fill(p, len, 9);
	fill(q, len, 9);
	expect(memcmp(p, q, len) == 0, "memcmp", gap, len);
	if (!len)
		return;
	p[len - 1] = q[len - 1] = 0;
	expect(strcmp(p, q) == 0 && strncmp(p, q, len) == 0 && strcasecmp(p, q) == 0, "strcmp", gap, len);
	expect(strstr(p, q) == p, "strstr", gap, len);
	for (size_t at = 0; at < len; at += 1 + len / 9) {
		char was = q[at];

		q[at] = (char)(was ^ 0x80);
		int want = sign((int)(unsigned char)p[at] - (int)(unsigned char)q[at]);

		expect(sign(memcmp(p, q, len)) == want, "memcmp", gap, len);
		expect(sign(strcmp(p, q)) == want, "strcmp", gap, len);
		expect(sign(strncmp(p, q, at + 1)) == want && strncmp(p, q, at) == 0, "strncmp", gap, len);
		q[at] = was;
	}
	memset(q, 1, len);
	expect(strcpy(q, p) == q && same(p, q, len), "strcpy", gap, len);
	memset(q, 1, len);
	expect(stpcpy(q, p) == q + len - 1 && same(p, q, len), "stpcpy", gap, len);
	memset(q, 1, len);
	expect(strncpy(q, p, len) == q && same(p, q, len), "strncpy", gap, len);
}

int main(void)
{
	char *a = page_end(), *b = page_end();

	for (size_t gap = 0; gap < 64; gap++) {
		for (size_t len = 0; len <= LEN; len++) {
			moves(a, b, gap, len);
			finds(a, gap, len);
			compares(a, b, gap, len);
		}
		for (size_t len = 255; len <= 2048; len = len * 2 + 1) {
			moves(a, b, gap, len);
			finds(a, gap, len);
			compares(a, b, gap, len);
		}
	}
	printf("strings: %u failures\n", failures);
	return failures != 0;
}
