/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal as a character end: stdin and stdout, raw while it is open, with the keys behind
 * Ctrl-A. On pipes and files it works without the terminal's part.
 *
 * O_NONBLOCK would be shared with the shell that gave us the terminal; so the output is opened
 * again through /proc where that works, for a file description of our own.
 *
 * Threads: the loop's; char_restore_terminal() any, also a signal handler, which is why the saved
 * settings are the one static object of this folder: a process has one standard input, too.
 * State: none.
 */
#include "base/base.h"
#include "base/log.h"
#include "char/char_int.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* #syscalls control: dup2 ioctl(TCGETS) ioctl(TCSETS) ioctl(TCSETSW) ioctl(TCSETSF)
 * ioctl(TIOCGWINSZ) kill dup dup3 signalfd4 */

/* What a signal handler needs to put the terminal back. */
static struct {
	struct termios before;
	_Atomic bool changed;
	_Atomic bool in_use; /* standard input and output, also when they are no terminal */
} terminal;

struct stdio_kind {
	struct char_end *c;
	struct loop_fd signals; /* signalfd of what a terminal sends; -1 = none */
	struct termios raw;	/* our settings, when owner */
	bool owner;		/* of the terminal settings */
};

void char_restore_terminal(void)
{
	int saved = errno;

	if (atomic_exchange(&terminal.changed, false))
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before);
	errno = saved;
}

/* Perhaps called by an engine's handler, so the default action is set here; raise() ends us. */
static void on_fatal(int sig)
{
	char_restore_terminal();
	signal(sig, SIG_DFL);
	raise(sig);
}

void char_guard_terminal(void)
{
	static const int fatal[] = { SIGQUIT, SIGABRT, SIGBUS,	SIGILL,	 SIGFPE,  SIGSEGV,
				     SIGSYS,  SIGTRAP, SIGALRM, SIGUSR1, SIGUSR2, SIGXCPU };
	struct sigaction guard = { .sa_handler = on_fatal }, now;

	if (!isatty(STDIN_FILENO))
		return; /* nothing will be changed */
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		if (sigaction(fatal[i], NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
		    now.sa_handler == SIG_DFL)
			sigaction(fatal[i], &guard, NULL);
}

static void set_raw(struct stdio_kind *k)
{
	/* First the flag: a signal in between restores what is there already. */
	atomic_store(&terminal.changed, true);
	tcsetattr(STDIN_FILENO, TCSANOW, &k->raw);
}

/* Keys reach us one by one and unchanged; with signals, Ctrl-C still ends hanok. */
static void make_raw(struct char_end *c, bool signals)
{
	struct stdio_kind *k = c->kind;
	struct termios t;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &t) < 0)
		return;
	terminal.before = t;
	t.c_iflag &= (tcflag_t) ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	t.c_oflag |= OPOST; /* the person's own messages keep their line ends */
	t.c_lflag &= (tcflag_t) ~(ECHO | ECHONL | ICANON | IEXTEN);
	if (!signals)
		t.c_lflag &= (tcflag_t)~ISIG;
	t.c_cflag &= (tcflag_t) ~(CSIZE | PARENB);
	t.c_cflag |= CS8;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	k->raw = t;
	k->owner = true;
	set_raw(k);
}

/* A descriptor like fd that does not block, without changing what others share with it. */
static int private_copy(int fd, int flags)
{
	char path[32];
	struct stat st;
	int copy = -1;

	if (fstat(fd, &st) == 0 && (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode))) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		copy = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	}
	return copy >= 0 ? copy : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* ---- size, stopping and going on ---- */

static bool stdio_size(const struct char_end *c, unsigned *cols, unsigned *rows)
{
	struct winsize w;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 || !w.ws_col || !w.ws_row)
		return false;
	*cols = w.ws_col;
	*rows = w.ws_row;
	return true;
}

/*
 * The shell gets its terminal back while we are stopped, and may have changed it, and its size,
 * when we go on. A stop that cannot be caught (SIGSTOP) leaves the settings to the shell.
 */
static void signal_ready(struct loop_fd *f, uint32_t ready)
{
	struct stdio_kind *k = container_of(f, struct stdio_kind, signals);
	struct signalfd_siginfo si;
	unsigned cols, rows;

	if (read(f->fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGTSTP) {
		char_restore_terminal();
		kill(getpid(), SIGSTOP);
		return;
	}
	if (si.ssi_signo == SIGCONT && k->owner)
		set_raw(k);
	if (stdio_size(k->c, &cols, &rows))
		char_tell_resized(k->c, cols, rows);
}

/* Threads made later inherit the mask, so the signals wait for us. */
static void watch_signals(struct char_end *c)
{
	struct stdio_kind *k = c->kind;
	sigset_t set;
	struct err e;

	k->c = c;
	k->signals = (struct loop_fd){ .fd = -1, .events = EPOLLIN, .fn = signal_ready };
	if (!k->owner && !isatty(STDOUT_FILENO))
		return;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	if (k->owner) {
		sigaddset(&set, SIGTSTP);
		sigaddset(&set, SIGCONT);
	}
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	k->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (k->signals.fd >= 0 && loop_add(c->loop, &k->signals, &e) < 0)
		log_debug("%s", e.msg);
}

static int stdio_open(struct char_end *c, struct conf_node *node, struct err *e)
{
	bool signals = false;
	int ret = conf_get_bool(node, "signal", &signals, e), in_fd, out_fd;

	if (ret < 0)
		return ret;
	if (atomic_load(&terminal.in_use))
		return err_set(e, EBUSY,
			       "%s: standard input and output are in use by another stdio: give "
			       "this one a file, socket or pty",
			       node->where);
	in_fd = private_copy(STDIN_FILENO, O_RDONLY);
	out_fd = private_copy(STDOUT_FILENO, O_WRONLY);
	if (in_fd < 0 || out_fd < 0) {
		close_fd_(&in_fd);
		close_fd_(&out_fd);
		return err_set(e, EBADF, "%s: standard input or output is closed; use 'null'",
			       node->where);
	}
	c->kind = xnew(struct stdio_kind);
	atomic_store(&terminal.in_use, true);
	make_raw(c, signals);
	watch_signals(c);
	char_up_take(c, in_fd, out_fd);
	return 0;
}

static void stdio_close(struct char_end *c)
{
	struct stdio_kind *k = c->kind;

	if (!k)
		return;
	if (k->owner)
		char_restore_terminal();
	loop_del(c->loop, &k->signals);
	close_fd_(&k->signals.fd);
	atomic_store(&terminal.in_use, false);
	free(take_ptr(c->kind));
}

/* No more input does not mean that nobody reads. */
static void stdio_lost(struct char_end *c)
{
	if (c->in.fd >= 0) {
		loop_del(c->loop, &c->in);
		close(take_fd(&c->in.fd));
	} else {
		char_down(c);
	}
}

static const char *const stdio_keys[] = { "signal", NULL };

const struct char_type char_stdio = {
	.name = "stdio",
	.keys = stdio_keys,
	.open = stdio_open,
	.close = stdio_close,
	.lost = stdio_lost,
	.keys_always = true,
	.size = stdio_size,
};
