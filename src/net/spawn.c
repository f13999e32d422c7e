/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a helper program at start-up and waits for it. Control thread; no state. */
#include "net/net_int.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

/* #syscalls control: wait4 */

extern char **environ;

#define HELPER_FD 3 /* where pass_fd is in the helper */

static int set_actions(posix_spawn_file_actions_t *fa, posix_spawnattr_t *attr, int err_fd,
		       int pass_fd)
{
	sigset_t none;
	int ret;

	sigemptyset(&none);
	ret = posix_spawnattr_setsigmask(attr, &none);
	if (!ret)
		ret = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK);
	if (!ret)
		ret = posix_spawn_file_actions_addopen(fa, 0, "/dev/null", O_RDONLY, 0);
	if (!ret)
		ret = posix_spawn_file_actions_addopen(fa, 1, "/dev/null", O_WRONLY, 0);
	if (!ret)
		ret = posix_spawn_file_actions_adddup2(fa, err_fd, 2);
	if (!ret && pass_fd >= 0)
		ret = posix_spawn_file_actions_adddup2(fa, pass_fd, HELPER_FD);
	return -ret;
}

static int spawn(const char *const argv[], int err_fd, int pass_fd, pid_t *pid)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	int ret;

	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&attr);
	ret = set_actions(&fa, &attr, err_fd, pass_fd);
	if (!ret)
		ret = -posix_spawnp(pid, argv[0], &fa, &attr, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return ret;
}

/* Reads until the helper is done with its stderr; keeps the last size - 1 bytes. */
static void read_text(int fd, char *text, size_t size)
{
	size_t len = 0;
	char buf[512];
	ssize_t ret;

	while ((ret = read(fd, buf, sizeof(buf))) > 0 || (ret < 0 && errno == EINTR))
		for (ssize_t i = 0; i < ret; i++) {
			if (len == size - 1) {
				memmove(text, text + 1, size - 2);
				len--;
			}
			text[len++] = buf[i];
		}
	text[len] = '\0';
}

int net_run_program(const char *const argv[], int pass_fd, char *err_text, size_t size)
{
	autoclose int rd = -1, high = -1;
	int fds[2], status = 0, ret;
	pid_t pid = -1;

	err_text[0] = '\0';
	/* dup2() onto itself would keep close-on-exec: have pass_fd above HELPER_FD */
	if (pass_fd >= 0) {
		high = fcntl(pass_fd, F_DUPFD_CLOEXEC, HELPER_FD + 1);
		if (high < 0)
			return -errno;
	}
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	rd = fds[0];
	ret = spawn(argv, fds[1], high, &pid);
	close(fds[1]);
	if (ret < 0)
		return ret;
	read_text(rd, err_text, size);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ECHILD;
}
