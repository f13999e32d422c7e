/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the 16550A: registers, and a line that takes and gives at will. */
#include "base/base.h"
#include "fuzz_input.h"
#include "dev/uart16550.h"

struct line {
	struct uart u;
	size_t takes;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t line_send(void *opaque, const uint8_t *data, size_t len)
{
	struct line *l = opaque;
	uint8_t copy[UART_FIFO];

	if (len > sizeof(copy))
		__builtin_trap();
	memcpy(copy, data, len); /* all of it must be there */
	return MIN(len, l->takes);
}

static void line_accept(void *opaque)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct line l = { .takes = 16 };
	struct fuzz_input in = { data, data + size };
	struct uart other = { 0 };
	uint8_t bytes[UART_FIFO];

	l.u.send = line_send;
	l.u.accept = line_accept;
	l.u.opaque = &l;
	uart_reset(&l.u);
	while (fuzz_more(&in)) {
		uint8_t op = fuzz_u8(&in);
		size_t n;

		switch (op >> 5) {
		case 0:
		case 1:
			uart_read(&l.u, op);
			break;
		case 2:
		case 3:
			uart_write(&l.u, op, fuzz_u8(&in));
			break;
		case 4:
			n = MIN(uart_room(&l.u), (size_t)(op & 31));
			for (size_t i = 0; i < n; i++)
				bytes[i] = fuzz_u8(&in);
			uart_receive(&l.u, bytes, n);
			break;
		case 5:
			l.takes = op & 3;
			uart_writable(&l.u);
			break;
		case 6:
			uart_break(&l.u);
			break;
		default:
			if (uart_idle_ns(&l.u))
				uart_idle(&l.u);
		}
		if (uart_room(&l.u) > UART_FIFO)
			__builtin_trap();
	}
	fuzz_check_state(&uart_state, &l.u, &other);
	return 0;
}
