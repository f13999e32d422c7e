/* SPDX-License-Identifier: Apache-2.0 */
/* See thread.h. Any thread. State: none. */
#include "base/base.h"
#include "base/thread.h"
#include <signal.h>

int thread_start(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* inherited by the new thread */
	ret = pthread_create(thread, attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -ret;
}
