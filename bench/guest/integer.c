/* SPDX-License-Identifier: Apache-2.0 */
/* Integer kernels: what compilers, interpreters and data structures do all day. */
#include "run.h"

/* Like EEMBC's CoreMark in kind, not in code: a list, a matrix, a state machine, a checksum. */
struct node {
	struct node *next;
	int32_t value, key;
};

static struct node *list_sort(struct node *head, unsigned len)
{
	struct node *a = head, *b, *tail = NULL, *out = NULL;

	if (len < 2)
		return head;
	for (unsigned i = 1; i < len / 2; i++)
		a = a->next;
	b = a->next;
	a->next = NULL;
	a = list_sort(head, len / 2);
	b = list_sort(b, len - len / 2);
	while (a || b) {
		struct node **from = !b || (a && a->value <= b->value) ? &a : &b, *n = *from;

		*from = n->next;
		*(tail ? &tail->next : &out) = n;
		tail = n;
	}
	tail->next = NULL;
	return out;
}

static uint16_t crc16(uint16_t crc, uint8_t byte)
{
	for (int i = 0; i < 8; i++, byte >>= 1)
		crc = (crc ^ byte) & 1 ? (uint16_t)(crc >> 1 ^ 0xa001) : crc >> 1;
	return crc;
}

static uint16_t matrix(int32_t m[3][20][20], uint16_t crc)
{
	for (int i = 0; i < 20; i++) {
		for (int j = 0; j < 20; j++) {
			int32_t sum = 0;

			for (int k = 0; k < 20; k++)
				sum += (int16_t)m[0][i][k] * (int16_t)m[1][k][j];
			m[2][i][j] = sum;
			crc = crc16(crc, (uint8_t)(sum >> 3));
		}
	}
	return crc;
}

/* How many of the words of s are numbers of which kind. */
static unsigned states(const char *s)
{
	enum { START, SIGN, INT, POINT, EXP, BAD } state = START;
	unsigned count[BAD + 1] = { 0 };

	for (; *s; s++) {
		if (*s == ',') {
			count[state]++;
			state = START;
			continue;
		}
		switch (state) {
		case START:
			state = *s == '-' || *s == '+' ? SIGN : *s >= '0' && *s <= '9' ? INT : BAD;
			break;
		case SIGN:
			state = *s >= '0' && *s <= '9' ? INT : BAD;
			break;
		case INT:
			if (*s == '.')
				state = POINT;
			else if (*s == 'e')
				state = EXP;
			else if (*s < '0' || *s > '9')
				state = BAD;
			break;
		case POINT:
			state = *s == 'e' ? EXP : *s >= '0' && *s <= '9' ? POINT : BAD;
			break;
		case EXP:
			state = *s >= '0' && *s <= '9' ? EXP : BAD;
			break;
		case BAD:
			break;
		}
	}
	return count[INT] * 3 + count[POINT] * 5 + count[EXP] * 7 + count[BAD];
}

static uint64_t mix(unsigned n)
{
	static struct node nodes[200];
	static int32_t m[3][20][20];
	static const char text[] =
		"5012,-874,+122,35.54400,.1234500,-110.700,5.500e3,-.123e-2,1.2e7,"
		"T0.3e-1F,-T.T++Tq,1T3.4e4z,34.0e-T^,abc,12,-6.25,77e1,";
	uint64_t seed = 88172645463325252u;
	uint16_t crc = 0;

	for (int i = 0; i < 2 * 400; i++)
		(&m[0][0][0])[i] = (int32_t)next_random(&seed) & 0xff;
	for (unsigned round = 0; round < n; round++) {
		struct node *list = NULL;

		for (int i = 0; i < 200; i++) {
			nodes[i] = (struct node){ list, (int32_t)(next_random(&seed) & 0xffff), i };
			list = &nodes[i];
		}
		list = list_sort(list, 200);
		for (struct node *i = list; i; i = i->next)
			crc = crc16(crc, (uint8_t)(i->value ^ i->key));
		crc = matrix(m, crc);
		crc = crc16(crc, (uint8_t)states(text));
		m[0][round % 20][crc % 20] = crc & 0xff;
	}
	return crc;
}

static uint64_t sieve(unsigned n)
{
	static uint8_t composite[1 << 20];
	uint64_t primes = 0;

	for (unsigned round = 0; round < n; round++) {
		memset(composite, 0, sizeof(composite));
		for (size_t i = 2; i < sizeof(composite); i++) {
			if (composite[i])
				continue;
			primes++;
			for (size_t j = i * 2; j < sizeof(composite); j += i)
				composite[j] = 1;
		}
	}
	return primes;
}

static int compare_ints(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t sort(unsigned n)
{
	static uint32_t a[100000];
	uint64_t seed = 12345, sum = 0;

	for (unsigned round = 0; round < n; round++) {
		for (size_t i = 0; i < 100000; i++)
			a[i] = (uint32_t)next_random(&seed);
		qsort(a, 100000, sizeof(*a), compare_ints);
		for (size_t i = 0; i < 100000; i += 1000)
			sum = sum * 31 + a[i];
	}
	return sum;
}

__attribute__((noinline)) static uint64_t fib(unsigned n)
{
	/* Two calls that stay calls. */
	uint64_t a = n < 2 ? n : fib(n - 1);

	__asm__ volatile("" : "+r"(a));
	return n < 2 ? a : a + fib(n - 2);
}

static uint64_t recursion(unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += fib(27 + i % 2);
	return sum;
}

/* An interpreter of a stack machine, by computed goto as CPython, Ruby and Lua are built. */
static uint64_t interpreter(unsigned n)
{
	enum { PUSH, LOAD, STORE, ADD, MUL, XOR, SHR, LOOP, HALT };
	static const uint8_t code[] = { PUSH, 1,   STORE, 0,  LOAD, 0,	   LOAD, 1,    MUL, LOAD,
					1,    ADD, PUSH,  77, XOR,  STORE, 0,	 LOAD, 0,   PUSH,
					5,    SHR, LOAD,  0,  ADD,  STORE, 0,	 LOOP, 4,   HALT };
	static const void *const go[] = { &&push, &&load, &&store, &&add, &&mul,
					  &&xor,  &&shr,  &&loop,  &&halt };
	uint64_t stack[16], var[2] = { 0, n }, *sp = stack;
	const uint8_t *pc = code;

#define NEXT goto *go[*pc++]
	NEXT;
push:
	*sp++ = *pc++;
	NEXT;
load:
	*sp++ = var[*pc++];
	NEXT;
store:
	var[*pc++] = *--sp;
	NEXT;
add:
	sp--;
	sp[-1] += sp[0];
	NEXT;
mul:
	sp--;
	sp[-1] *= sp[0];
	NEXT;
	xor : sp--;
	sp[-1] ^= sp[0];
	NEXT;
shr:
	sp--;
	sp[-1] >>= sp[0] & 63;
	NEXT;
loop:
	pc = --var[1] ? code + *pc : pc + 1;
	NEXT;
halt:
#undef NEXT
	return var[0];
}

static const struct kernel kernels[] = {
	{ "mix", mix, 6000 },
	{ "sieve", sieve, 120 },
	{ "qsort", sort, 12 },
	{ "fib", recursion, 90 },
	{ "interp", interpreter, 8000000 },
};

RUN_MAIN(kernels)
