/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that work for others and hear no signals. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include "base/base.h"
#include <pthread.h>

/*
 * pthread_create() of a thread with all signals blocked from its first instruction: they are for
 * the control and vCPU threads; but SIGBUS, which is about what the thread itself touches
 * (core/memory_lost.h). attr may be NULL. 0 or -errno.
 */
int thread_start(pthread_t *, const pthread_attr_t *attr, void *(*fn)(void *),
		 void *arg) MUST_CHECK;

#endif
