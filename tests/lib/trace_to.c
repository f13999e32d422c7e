/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In every test program: with TRACE_TO=FILE in the environment all trace events are on, and their
 * lines go to that file's end. tests/contract/qmp/test_trace_points.py looks which there were.
 */
#include "base/base.h"
#include "base/log.h"
#include "base/trace.h"
#include <fcntl.h>
#include <stdlib.h>

__attribute__((constructor)) static void trace_to(void)
{
	const char *path = getenv("TRACE_TO");
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return;
	log_set_fd(fd);
	trace_set("*", true);
}
