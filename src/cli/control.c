/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How people name a running machine: a control socket (QMP) at $XDG_RUNTIME_DIR/hanok/NAME.sock,
 * or where --control says. Start-up, and `hanok save`. No state.
 */
#include "base/base.h"

#include "cli/front.h"
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Where the sockets are; made when it is not there. NULL with e set. */
static char *control_dir(bool make, struct err *e)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	autofree char *dir = run && *run ? xasprintf("%s/hanok", run)
					 : xasprintf("/tmp/hanok-%u", (unsigned)getuid());
	struct stat st;

	if (make && mkdir(dir, 0700) < 0 && errno != EEXIST) {
		err_set_errno(e, errno, "cannot make '%s' for the control socket", dir);
		return NULL;
	}
	/* /tmp is everybody's: somebody else's directory is not ours to use. */
	if (lstat(dir, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 022)) {
		err_set(e, EPERM,
			make ? "'%s' is not a directory of yours alone: say --control SOCKET"
			     : "no machine of yours runs under a name ('%s' is not there)",
			dir);
		return NULL;
	}
	return take_ptr(dir);
}

char *control_path(const char *name, bool make, struct err *e)
{
	autofree char *dir = NULL;

	if (!*name || strchr(name, '/') || name[0] == '.') {
		err_set(e, EINVAL, "'%s' is no name for a control socket", name);
		return NULL;
	}
	dir = control_dir(make, e);
	return dir ? xasprintf("%s/%s.sock", dir, name) : NULL;
}

int control_connect(const char *path, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(e, ENAMETOOLONG, "'%s' is too long for a socket", path);
	strcpy(addr.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_set_errno(e, errno, "no machine answers at '%s'", path);
	return take_fd(&fd);
}

int control_add(struct vm_conf *conf, struct err *e)
{
	autofree char *path = conf->control ? xstrdup(conf->control) : NULL;
	struct err none = { 0 };
	struct conf_node *node;
	int fd;

	if (!path && !conf->name)
		return 0;
	if (!path)
		path = control_path(conf->name, true, e);
	if (!path)
		return -EINVAL;
	fd = control_connect(path, &none);
	if (fd >= 0) {
		close(fd);
		return err_set(e, EADDRINUSE,
			       "a machine answers at '%s' already: give this one "
			       "another --name or --control",
			       path);
	}
	node = conf_add(conf, CONF_CHARDEV, "socket", "control", "the control socket");
	conf_set(node, "path", path);
	conf_set(node, "server", "on");
	conf_set(node, "wait", "off");
	node = conf_add(conf, CONF_MONITOR, NULL, NULL, "the control socket");
	conf_set(node, "chardev", "control");
	conf_set(node, "mode", "control");
	return 0;
}
