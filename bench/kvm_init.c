/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of the guests of bench/kvm.py: says '~' on the debug console to tell that it is there, and
 * waits. Where its ports are refused (QEMU 7.2 does that to a guest's guest whose task register
 * user space has set), it says so on the console.
 */
#include <signal.h>
#include <sys/io.h>
#include <unistd.h>

static void refused(int sig)
{
	(void)!write(1, "~", 1);
	for (;;)
		pause();
}

int main(void)
{
	signal(SIGSEGV, refused);
	if (iopl(3) == 0)
		outb('~', 0xe9);
	for (;;)
		pause();
}
