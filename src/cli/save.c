/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `hanok save` and `hanok restore`: a running machine to a file, and one from a file. The first is
 * a QMP client of the machine's control socket; the second reads the words that made the machine
 * out of the file and starts with them. One thread; no state.
 */
#include "base/base.h"

#include "base/log.h"
#include "cli/front.h"
#include "cli/qemu_opts.h"
#include "migr/format.h"
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

static const char save_usage[] =
	"usage: hanok save NAME FILE\n"
	"       hanok save --qmp SOCKET FILE\n"
	"\n"
	"Saves a running machine and ends it; `hanok restore FILE` goes on where it stood. NAME is\n"
	"what `hanok run --name NAME` called it; SOCKET is a QMP socket of any machine (--control,\n"
	"-qmp unix:SOCKET,server=on,wait=off). Its disks stay where they are: do not change them\n"
	"meanwhile. FILE is readable by you alone, for it holds all that the guest has in memory.\n"
	"Ctrl-C gives up, and the machine runs on.\n";

static const char restore_usage[] =
	"usage: hanok restore [--accel kvm|soft] FILE\n"
	"\n"
	"Goes on from a machine that `hanok save` put into FILE, with the words and in the directory\n"
	"that it was started with. FILE says what is run: restore only what you trust.\n"
	"\n"
	"  --accel LIST   another CPU engine; its CPU must have what the saved guest's had\n";

/* ---- a QMP client ---- */

struct client {
	int fd, signals;
	FILE *in;
};

/* The next reply; events are passed over. NULL with e set. */
static json_t *next_reply(struct client *c, struct err *e)
{
	for (;;) {
		autofree char *line = NULL;
		json_error_t why;
		size_t cap = 0;
		json_t *j;

		errno = 0;

		if (getline(&line, &cap, c->in) < 0) {
			err_set(e, EPIPE, "%s",
				errno == EAGAIN ? "no answer: is another client connected to "
						  "that socket?"
						: "the machine went away");
			return NULL;
		}
		j = json_loads(line, 0, &why);
		if (!j) {
			err_set(e, EPROTO, "the machine answered no JSON: %s", why.text);
			return NULL;
		}
		if (!json_object_get(j, "event"))
			return j;
		json_decref(j);
	}
}

/* args is taken. The reply's "return", a new reference, or NULL with e set. */
static json_t *command(struct client *c, const char *name, json_t *args, struct err *e)
{
	json_t *req = json_pack("{s:s,s:o*}", "execute", name, "arguments", args), *reply, *ret;
	autofree char *text = json_dumps(req, JSON_COMPACT);

	json_decref(req);
	if (dprintf(c->fd, "%s\n", text) < 0) {
		err_set_errno(e, errno, "the machine went away");
		return NULL;
	}
	reply = next_reply(c, e);
	if (!reply)
		return NULL;
	ret = json_incref(json_object_get(reply, "return"));
	if (!ret)
		err_set(e, EINVAL, "%s",
			json_string_value(json_object_get(json_object_get(reply, "error"), "desc"))
				?: "the machine did not understand");
	json_decref(reply);
	return ret;
}

static int run(struct client *c, const char *name, json_t *args, struct err *e)
{
	json_t *ret = command(c, name, args, e);

	json_decref(ret);
	return ret ? 0 : -EINVAL;
}

static int client_open(struct client *c, const char *path, struct err *e)
{
	/* A socket serves one client at a time: the greeting may never come. */
	struct timeval patience = { .tv_sec = 10 };
	json_t *greeting;

	c->fd = control_connect(path, e);
	if (c->fd < 0)
		return c->fd;
	c->in = fdopen(dup(c->fd), "r");
	if (!c->in)
		return err_set_errno(e, errno, "'%s'", path);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	greeting = next_reply(c, e);
	patience.tv_sec = 0;
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (!greeting)
		return -EPIPE;
	json_decref(greeting);
	return run(c, "qmp_capabilities", NULL, e);
}

static void client_close(struct client *c)
{
	if (c->in)
		fclose(c->in);
	close_fd_(&c->fd);
	close_fd_(&c->signals);
}

/* ---- save ---- */

static void show(const json_t *ram, bool last)
{
	double total = (double)json_integer_value(json_object_get(ram, "total"));
	double left = (double)json_integer_value(json_object_get(ram, "remaining"));
	double sent = (double)json_integer_value(json_object_get(ram, "transferred"));

	if (isatty(STDERR_FILENO) && total > 0)
		fprintf(stderr, "\rsaving: %3.0f %%, %.0f MiB written%s",
			100 * (total - left) / total, sent / (double)MIB(1), last ? "\n" : "");
}

/* Waits for the end of the job; Ctrl-C gives it up. */
static int watch(struct client *c, struct err *e)
{
	for (;;) {
		struct pollfd p = { .fd = c->signals, .events = POLLIN };
		json_t *info = command(c, "query-migrate", NULL, e);
		const char *status = json_string_value(json_object_get(info, "status"));
		bool over = status && (!strcmp(status, "completed") || !strcmp(status, "failed") ||
				       !strcmp(status, "cancelled"));
		int ret = -EINVAL;

		if (!info)
			return ret;
		show(json_object_get(info, "ram"), over);
		if (over && !strcmp(status, "completed"))
			ret = 0;
		else if (over)
			err_set(e, EIO, "%s",
				json_string_value(json_object_get(info, "error-desc"))
					?: "given up: the machine runs on");
		json_decref(info);
		if (over)
			return ret;
		if (poll(&p, 1, 100) > 0) {
			struct signalfd_siginfo si;

			if (read(c->signals, &si, sizeof(si)) == sizeof(si) &&
			    run(c, "migrate_cancel", NULL, e) < 0)
				return -EINVAL;
		}
	}
}

static int block_signals(struct client *c)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	c->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return c->signals;
}

/* Until the machine's process is gone, or so good as: its name and disks are free then. */
static void wait_gone(struct client *c)
{
	struct timeval patience = { .tv_sec = 10 };
	char rest[256];

	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	while (fread(rest, 1, sizeof(rest), c->in) > 0)
		;
}

static int save(const char *path, const char *file, struct err *e)
{
	struct client c = { .fd = -1, .signals = -1 };
	autofree char *cwd = getcwd(NULL, 0);
	autofree char *full = *file == '/' ? xstrdup(file) : xasprintf("%s/%s", cwd ?: "", file);
	autofree char *uri = xasprintf("file:%s", full);
	int ret = client_open(&c, path, e);

	block_signals(&c);
	if (ret == 0)
		ret = run(&c, "migrate", json_pack("{s:s}", "uri", uri), e);
	if (ret == 0)
		ret = watch(&c, e);
	if (ret == 0)
		ret = run(&c, "quit", NULL, e);
	if (ret == 0)
		wait_gone(&c);
	client_close(&c);
	return ret;
}

int save_main(int argc, char **argv)
{
	bool qmp = argc == 4 && !strcmp(argv[1], "--qmp");
	autofree char *path = NULL;
	struct err e = { 0 };

	if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		fputs(save_usage, stdout);
		return 0;
	}
	if (!qmp && (argc != 3 || argv[1][0] == '-')) {
		fputs(save_usage, stderr);
		return 1;
	}
	path = qmp ? xstrdup(argv[2]) : control_path(argv[1], false, &e);
	if (!path || save(path, argv[argc - 1], &e) < 0) {
		log_error("%s was not saved: %s", argv[qmp ? 2 : 1], e.msg);
		return 1;
	}
	return 0;
}

/* ---- restore ---- */

/* The header's words, as main() would have got them; argv ends with NULL and belongs to t. */
static int read_words(const char *file, struct migr_text *t, char ***argv, int *argc, struct err *e)
{
	struct migr_stream s;
	int fd = open(file, O_RDONLY | O_CLOEXEC), ret;

	*argv = NULL;
	*argc = 0;
	if (fd < 0)
		return err_set_errno(e, errno, "cannot open '%s'", file);
	ret = stream_init_take(&s, fd, e);
	if (ret == 0)
		ret = load_head(&s, t, e);
	stream_fini(&s);
	if (ret < 0)
		return err_prefix(e, "'%s': ", file);
	*argv = xnew_n(char *, t->n + 1);
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->pair[i].key, "argv"))
			(*argv)[(*argc)++] = t->pair[i].val;
	if (*argc)
		return 0;
	return err_set(e, EINVAL,
		       "'%s' does not say how its machine was made: start one like it with "
		       "-incoming file:%s",
		       file, file);
}

/* Reads the words into conf, by the front end that they are for. */
static int read_line(struct vm_conf *conf, int argc, char **argv, struct err *e)
{
	struct qemu_line line = { .conf = conf };
	bool help = false;
	int ret;

	if (!strcmp(argv[0], "run")) {
		ret = run_read_line(conf, argc, argv, &help, e);
		return ret ? ret : control_add(conf, e);
	}
	if (strcmp(argv[0], "qemu") != 0)
		return err_set(e, EINVAL, "'%s' is no front end that this hanok has", argv[0]);
	ret = qemu_read_line(&line, argc, argv, e);
	free(line.accel_refused);
	return ret;
}

static int restore(struct vm_conf *conf, const char *file, const char *accel, struct err *e)
{
	struct migr_text text = { 0 };
	autofree char **argv = NULL;
	autofree char *full = realpath(file, NULL);
	const char *cwd;
	int argc, ret = read_words(file, &text, &argv, &argc, e);

	cwd = text_get(&text, "cwd");
	if (ret == 0 && cwd && chdir(cwd) < 0)
		ret = err_set_errno(e, errno, "'%s' was started in '%s', which cannot be entered",
				    file, cwd);
	if (ret == 0)
		ret = read_line(conf, argc, argv, e);
	if (ret == 0 && accel) {
		free(take_ptr(conf->accel));
		ret = front_parse_accel(conf, accel, e);
	}
	if (ret == 0) {
		free(conf->incoming);
		conf->incoming = xasprintf("file:%s", full ? full : file);
		conf->start_paused = false; /* as it was when it was saved */
		conf->show_progress = true;
		front_keep_words(conf, argv[0], argc, argv);
	}
	text_fini(&text);
	return ret;
}

int restore_main(int argc, char **argv)
{
	static const struct option options[] = { { "accel", required_argument, NULL, 'a' },
						 { "help", no_argument, NULL, 'h' },
						 { NULL, 0, NULL, 0 } };
	struct vm_conf *conf;
	const char *accel = NULL;
	struct err e = { 0 };
	int opt;

	while ((opt = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		if (opt == 'h')
			fputs(restore_usage, stdout);
		if (opt != 'a')
			return opt != 'h';
		accel = optarg;
	}
	if (optind != argc - 1) {
		fputs(restore_usage, stderr);
		return 1;
	}
	conf = vm_conf_new();
	if (restore(conf, argv[optind], accel, &e) < 0) {
		log_error("%s", e.msg);
		vm_conf_free(conf);
		return 1;
	}
	return front_start_take(conf);
}
