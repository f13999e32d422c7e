/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of a guest, or a program of the host: 32-bit code without a library. Prints a checksum for
 * each thing that it does, the same everywhere; then powers off, where it is PID 1. Linux's i386
 * ABI.
 */
#include <stdint.h>

typedef uint8_t u8;
typedef uint32_t u32;

enum {
	SYS_EXIT = 1,
	SYS_FORK = 2,
	SYS_WRITE = 4,
	SYS_GETPID = 20,
	SYS_KILL = 37,
	SYS_REBOOT = 88,
	SYS_MMAP = 90,
	SYS_WAIT4 = 114,
	SYS_RT_SIGACTION = 174,
	SYS_SET_THREAD_AREA = 243,
	SYS_CLOCK_GETTIME = 265
};

static int sys(int nr, int a, int b, int c, int d)
{
	int ret;

	__asm__ volatile("int $0x80"
			 : "=a"(ret)
			 : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d)
			 : "memory");
	return ret;
}

/* The compiler calls these. */
void *memcpy(void *to, const void *from, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		((volatile u8 *)to)[i] = ((const u8 *)from)[i];
	return to;
}

void *memset(void *to, int c, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		((volatile u8 *)to)[i] = (u8)c;
	return to;
}

static void say(const char *name, u32 value)
{
	char line[64];
	int n = 0;

	for (; name[n]; n++)
		line[n] = name[n];
	line[n++] = ' ';
	for (int shift = 28; shift >= 0; shift -= 4)
		line[n++] = "0123456789abcdef"[value >> shift & 15];
	line[n++] = '\n';
	sys(SYS_WRITE, 1, (int)line, n, 0);
}

static u32 seed;

static u32 next(void)
{
	seed = seed * 1103515245u + 12345u;
	return seed >> 8;
}

static u32 crc(const void *data, u32 n)
{
	static u32 table[256];
	const u8 *p = data;
	u32 c = ~0u;

	for (u32 i = 0; i < 256; i++) {
		table[i] = i;
		for (int k = 0; k < 8; k++)
			table[i] = table[i] & 1 ? table[i] >> 1 ^ 0xedb88320 : table[i] >> 1;
	}
	while (n--)
		c = table[(c ^ *p++) & 255] ^ c >> 8;
	return ~c;
}

static __attribute__((noinline)) u32 fib(u32 n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static u8 bytes[300000];

static u32 primes(void)
{
	u32 sum = 0;

	memset(bytes, 0, sizeof(bytes));
	for (u32 i = 2; i < sizeof(bytes); i++) {
		if (bytes[i])
			continue;
		sum += i;
		for (u32 j = i * 2; j < sizeof(bytes); j += i)
			bytes[j] = 1;
	}
	return sum;
}

static u32 noise(void)
{
	for (u32 i = 0; i < sizeof(bytes); i++)
		bytes[i] = (u8)next();
	return crc(bytes, sizeof(bytes));
}

static int compare(u32 a, u32 b)
{
	return a < b ? -1 : a > b;
}

static void sort(u32 *a, int lo, int hi, int (*cmp)(u32, u32))
{
	u32 pivot = a[(lo + hi) / 2];
	int i = lo, j = hi;

	while (i <= j) {
		while (cmp(a[i], pivot) < 0)
			i++;
		while (cmp(a[j], pivot) > 0)
			j--;
		if (i > j)
			break;
		u32 t = a[i];

		a[i++] = a[j];
		a[j--] = t;
	}
	if (lo < j)
		sort(a, lo, j, cmp);
	if (i < hi)
		sort(a, i, hi, cmp);
}

static u32 sorted(void)
{
	static u32 words[20000];

	for (u32 i = 0; i < 20000; i++)
		words[i] = next() << 8 | (next() & 255);
	sort(words, 0, 19999, compare);
	return crc(words, sizeof(words));
}

/* SSE and x87 */
static u32 floats(void)
{
	volatile long double x = 1;
	double sum = 0, y;
	float v[64];

	for (int i = 1; i < 30000; i++) {
		sum += 1.0 / (i * (double)i);
		x = x * 1.0001L + i % 7;
	}
	for (int i = 0; i < 64; i++)
		v[i] = (float)i * 0.5f;
	for (int i = 0; i < 64 * 500; i++)
		v[i % 64] = v[i % 64] * 0.99f + (float)(i % 64);
	y = (double)x;
	return crc(v, sizeof(v)) ^ crc(&sum, sizeof(sum)) ^ crc(&y, sizeof(y));
}

static u32 product(void)
{
	uint64_t a = 1;

	for (u32 i = 0; i < 200000; i++) {
		a = a * 6364136223846793005u + 1442695040888963407u;
		a ^= a >> 29;
	}
	return (u32)(a ^ a >> 32);
}

/* By GS, on both sides of where it begins. */
static u32 thread_local(void)
{
	static u32 area[16];
	static u32 desc[4] = { (u32)-1, 0, 0xfffff, 0x51 }; /* entry, base, limit, flags */
	u32 sum = 0, v;

	memset(area, 0, sizeof(area));
	desc[1] = (u32)&area[8];
	if (sys(SYS_SET_THREAD_AREA, (int)desc, 0, 0, 0))
		return 0;
	__asm__ volatile("mov %0, %%gs" : : "r"(desc[0] * 8 + 3));
	for (u32 i = 0; i < 100000; i++) {
		__asm__ volatile("mov %1, %%gs:-8\n\tadd %1, %%gs:4\n\tmov %%gs:4, %0"
				 : "=r"(v)
				 : "r"(i)
				 : "memory");
		sum += v ^ area[6];
	}
	return sum;
}

static volatile u32 hits;

static void on_signal(int sig)
{
	hits += (u32)sig;
}

void restorer(void);
__asm__("restorer: pop %eax\n\tmov $119, %eax\n\tint $0x80"); /* sigreturn */

static u32 signals(void)
{
	struct {
		void (*handler)(int);
		u32 flags;
		void (*restorer)(void);
		u32 mask[2];
	} action = { on_signal, 0x04000000, restorer, { 0, 0 } };
	int pid = sys(SYS_GETPID, 0, 0, 0, 0);

	hits = 0;
	sys(SYS_RT_SIGACTION, 10, (int)&action, 0, 8);
	for (int i = 0; i < 500; i++)
		sys(SYS_KILL, pid, 10, 0, 0);
	return hits;
}

/* A function that is another one each time. */
static u32 patched(void)
{
	u32 map[6] = { 0, 8192, 7, 0x22, (u32)-1, 0 }, sum = 0;
	u8 *code = (u8 *)sys(SYS_MMAP, (int)map, 0, 0, 0);

	for (u32 i = 0; i < 2000; i++) {
		code[0] = 0xb8; /* mov $i, %eax; inc %eax; ret */
		memcpy(code + 1, &i, 4);
		code[5] = 0x40;
		code[6] = 0xc3;
		sum += ((u32(*)(void))code)();
	}
	return sum;
}

static u32 forks(void)
{
	u32 sum = 0;

	for (u32 i = 0; i < 20; i++) {
		int pid = sys(SYS_FORK, 0, 0, 0, 0), status = 0;

		if (!pid)
			sys(SYS_EXIT, (int)((fib(12) + i) & 63), 0, 0, 0);
		sys(SYS_WAIT4, pid, (int)&status, 0, 0);
		sum = sum * 3 + (u32)status;
	}
	return sum;
}

static u32 milliseconds(void)
{
	u32 t[2] = { 0, 0 };

	sys(SYS_CLOCK_GETTIME, 1, (int)t, 0, 0);
	return t[0] * 1000 + t[1] / 1000000;
}

void start(void);
__asm__(".globl _start\n_start: and $-16, %esp\n\tcall start");

void start(void)
{
	u32 since = milliseconds();

	for (int turn = 0; turn < 5; turn++) {
		seed = 12345;
		say("fib", fib(20));
		say("primes", primes());
		say("noise", noise());
		say("sorted", sorted());
		say("floats", floats());
		say("product", product());
		say("thread-local", thread_local());
		say("signals", signals());
		say("patched", patched());
		say("forks", forks());
	}
	if (sys(SYS_GETPID, 0, 0, 0, 0) == 1) {
		say("milliseconds", milliseconds() - since);
		sys(SYS_REBOOT, (int)0xfee1dead, 672274793, 0x4321fedc, 0);
	}
	sys(SYS_EXIT, 0, 0, 0, 0);
}
