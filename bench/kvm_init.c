/* SPDX-License-Identifier: Apache-2.0 */
/* PID 1 of the guests of bench/kvm.py: says on the debug console that it is there, and waits. */
#include <sys/io.h>
#include <unistd.h>

int main(void)
{
	if (iopl(3) == 0)
		outb('!', 0xe9);
	for (;;)
		pause();
}
