/* SPDX-License-Identifier: Apache-2.0 */
/* Saving a whole machine and going on in another one: jobs, streams that lie, refusals. */
#include "cmocka_all.h"
#include "migr/machine.h"
#include "base/crc32c.h"
#include "migr/desc.h"
#include "migr/format.h"
#include <signal.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

static char *kernel;
static const char *board; /* of machine(); NULL: q35 */

static struct vm *machine(unsigned cpus, const char *incoming)
{
	struct err e = { 0 };
	struct vm_conf *c = machine_conf(kernel, cpus, incoming);
	struct vm *vm;

	if (board) {
		free(c->machine);
		c->machine = xstrdup(board);
	}
	vm = vm_new_take(c, &e);

	if (!vm || vm_start(vm, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(migr_cap_set(migr_of(vm), MIGR_CAP_EVENTS, true, &e), 0);
	return vm;
}

static void end(struct vm *vm)
{
	migr_end(vm);
	vm_free(vm);
}

static enum migr_status status(struct vm *vm)
{
	struct migr_info i;

	migr_get_info(migr_of(vm), &i);
	return i.status;
}

static const char *error_of(struct vm *vm)
{
	struct migr_info i;

	migr_get_info(migr_of(vm), &i);
	return i.error ?: "";
}

/* Runs the loop until the job is over. */
static enum migr_status finish(struct vm *vm)
{
	uint64_t until = clock_now_ns() + 60 * NS_PER_SEC;

	while (status(vm) == MIGR_SETUP || status(vm) == MIGR_ACTIVE ||
	       status(vm) == MIGR_CANCELLING || status(vm) == MIGR_DEVICE) {
		assert_true(clock_now_ns() < until);
		loop_once(vm->loop, 20);
	}
	return status(vm);
}

static void wait_count(struct vm *vm, uint64_t more)
{
	uint64_t from = machine_word(vm, COUNT), until = clock_now_ns() + 60 * NS_PER_SEC;

	while (machine_word(vm, COUNT) < from + more) {
		assert_true(clock_now_ns() < until);
		loop_once(vm->loop, 1);
	}
}

static int new_file(void)
{
	int fd = memfd_create("saved", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void save_to(struct vm *vm, int fd)
{
	autofree char *uri = xasprintf("fd:%d", dup(fd));
	struct err e = { 0 };

	if (migr_save(migr_of(vm), uri, NULL, &e) < 0)
		fail_msg("%s", e.msg);
}

static void load_from(struct vm *vm, int fd)
{
	autofree char *uri = xasprintf("fd:%d", dup(fd));
	struct err e = { 0 };

	assert_true(lseek(fd, 0, SEEK_SET) <= 0);
	if (migr_load(migr_of(vm), uri, NULL, false, &e) < 0)
		fail_msg("%s", e.msg);
}

/* What happened, in QEMU's words. */
struct heard {
	struct vm_observer o;
	char text[512];
};

static void hear(struct vm_observer *o, const struct vm_event *ev)
{
	struct heard *h = container_of(o, struct heard, o);
	size_t n = strlen(h->text);
	static const char *const names[] = {
		[VM_EV_STOP] = "STOP", [VM_EV_RESUME] = "RESUME", [VM_EV_MIGRATION_PASS] = "PASS"
	};

	snprintf(h->text + n, sizeof(h->text) - n, "%s ",
		 ev->kind == VM_EV_MIGRATION ? ev->name : names[ev->kind] ?: "?");
}

static void listen_to(struct vm *vm, struct heard *h)
{
	*h = (struct heard){ .o.fn = hear };
	vm_observe(vm, &h->o);
}

/* ---- going on ---- */

static void goes_on(unsigned cpus)
{
	struct vm *a = machine(cpus, NULL), *b;
	struct heard ha, hb;
	int fd = new_file();
	uint64_t tsc, count;

	listen_to(a, &ha);
	wait_count(a, 5000);
	save_to(a, fd);
	assert_int_equal(finish(a), MIGR_COMPLETED);
	assert_int_equal(a->state, VM_POSTMIGRATE);
	assert_string_equal(ha.text, "setup STOP PASS active PASS device completed ");
	count = machine_word(a, COUNT);
	tsc = machine_word(a, TSC_LAST);

	b = machine(cpus, "defer");
	b->conf->start_paused = true;
	listen_to(b, &hb);
	assert_int_equal(b->state, VM_INMIGRATE);
	load_from(b, fd);
	if (finish(b) != MIGR_COMPLETED)
		fail_msg("%s", error_of(b));
	assert_string_equal(hb.text, "setup active completed ");
	assert_int_equal(b->state, VM_PAUSED);
	assert_memory_equal(b->ram->host, a->ram->host, GUEST_RAM);
	assert_int_equal(machine_word(b, COUNT), count);
	usleep(100000); /* in which the guest's time stands still */
	assert_int_equal(vm_cont(b, &(struct err){ 0 }), 0);
	wait_count(b, 5000);
	assert_int_equal(machine_word(b, TSC_BACK), 0);
	assert_true(machine_word(b, TSC_LAST) > tsc);

	/* And the first one, where it was. */
	assert_int_equal(vm_cont(a, &(struct err){ 0 }), 0);
	wait_count(a, 5000);
	assert_int_equal(machine_word(a, TSC_BACK), 0);
	close(fd);
	end(a);
	end(b);
}

static void one_cpu_goes_on(void **state)
{
	goes_on(1);
}

static void four_cpus_go_on(void **state)
{
	goes_on(4);
}

static void a_microvm_goes_on(void **state)
{
	board = "microvm";
	goes_on(2);
	board = NULL;
}

/* The guest finds no gap: its counter goes on where it stood, whatever passed meanwhile. */
static void time_has_no_gap(void **state)
{
	struct vm *vm = machine(1, NULL);
	uint64_t before, gap = NS_PER_SEC;

	wait_count(vm, 5000);
	/* A loaded host may take the vCPU's thread away: the best of several counts. */
	for (int i = 0; i < 20; i++) {
		uint64_t last, next;

		vm_pause(vm);
		last = machine_word(vm, TSC_LAST);
		before = machine_word(vm, COUNT);
		usleep(50000);
		vm_resume(vm);
		while (machine_word(vm, COUNT) < before + 2)
			;
		next = machine_word(vm, TSC_LAST);
		gap = MIN(gap, mul_div_u64(next - last, 1000000, vm->tsc_khz));
	}
	assert_in_range(gap, 0, 45 * NS_PER_MS);
	end(vm);
}

/* A pipe with a slow reader at its end holds nobody up. */
static void through_a_pipe(void **state)
{
	struct vm *a = machine(1, NULL), *b = machine(1, "defer");
	int fds[2];

	wait_count(a, 5000);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	save_to(a, fds[1]);
	close(fds[1]);
	for (int i = 0; i < 20; i++)
		loop_once(a->loop, 5); /* returns, although nobody reads */
	assert_int_equal(status(a), MIGR_ACTIVE);
	load_from(b, fds[0]);
	close(fds[0]);
	if (finish(b) != MIGR_COMPLETED)
		fail_msg("%s", error_of(b));
	assert_int_equal(finish(a), MIGR_COMPLETED);
	assert_int_equal(b->state, VM_RUNNING); /* it ran when it was saved */
	wait_count(b, 5000);
	end(a);
	end(b);
}

static void through_a_command(void **state)
{
	struct vm *a = machine(1, NULL), *b = machine(1, "defer");
	autofree char *path = xasprintf("%s.saved", kernel);
	autofree char *to = xasprintf("exec:gzip -1 >%s", path);
	autofree char *from = xasprintf("exec:gzip -d <%s", path);
	struct err e = { 0 };

	wait_count(a, 5000);
	assert_int_equal(migr_save(migr_of(a), to, NULL, &e), 0);
	assert_int_equal(finish(a), MIGR_COMPLETED);
	assert_int_equal(migr_load(migr_of(b), from, NULL, false, &e), 0);
	if (finish(b) != MIGR_COMPLETED)
		fail_msg("%s", error_of(b));
	wait_count(b, 5000);
	assert_int_equal(migr_save(migr_of(b), "exec:cat >/dev/null; exit 3", NULL, &e), 0);
	assert_int_equal(finish(b), MIGR_FAILED);
	assert_non_null(strstr(error_of(b), "exit code 3"));
	assert_int_equal(b->state, VM_RUNNING);
	unlink(path);
	end(a);
	end(b);
}

static void through_a_socket(void **state)
{
	struct vm *a = machine(1, NULL), *b = machine(1, "defer");
	autofree char *uri = xasprintf("unix:%s.sock", kernel);
	struct err e = { 0 };

	wait_count(a, 5000);
	assert_int_equal(migr_load(migr_of(b), uri, NULL, false, &e), 0);
	for (int i = 0; i < 5; i++)
		loop_once(b->loop, 5);
	assert_int_equal(migr_save(migr_of(a), uri, NULL, &e), 0);
	assert_int_equal(finish(a), MIGR_COMPLETED);
	if (finish(b) != MIGR_COMPLETED)
		fail_msg("%s", error_of(b));
	wait_count(b, 5000);
	unlink(uri + 5);
	end(a);
	end(b);
}

/* Nobody is at the other end of a FIFO when saving, or loading, begins. */
static void through_a_fifo(void **state)
{
	struct vm *a = machine(1, NULL), *b = machine(1, "defer");
	autofree char *uri = xasprintf("file:%s.fifo", kernel);
	struct err e = { 0 };

	assert_int_equal(mkfifo(uri + 5, 0600), 0);
	wait_count(a, 100);
	for (int i = 0; i < 2; i++) { /* the first is cancelled */
		assert_int_equal(migr_save(migr_of(a), uri, NULL, &e), 0);
		wait_count(a, 100); /* it runs on until somebody reads */
		assert_int_equal(status(a), MIGR_SETUP);
		if (i)
			break;
		migr_cancel(migr_of(a));
		assert_int_equal(finish(a), MIGR_CANCELLED);
	}
	assert_int_equal(migr_load(migr_of(b), uri, NULL, false, &e), 0);
	for (int i = 0; i < 200 && status(b) != MIGR_ACTIVE; i++)
		loop_once(b->loop, 5);
	assert_int_equal(finish(a), MIGR_COMPLETED);
	if (finish(b) != MIGR_COMPLETED)
		fail_msg("%s", error_of(b));
	wait_count(b, 100);
	unlink(uri + 5);
	end(a);
	end(b);
}

/* A listening socket of family whose queue is full: connections to it neither come about nor fail. */
static char *busy_listener(int family, int *fd, int *first)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_un un;
	} to = { .sa.sa_family = (sa_family_t)family };
	socklen_t len = family == AF_UNIX ? sizeof(to.un) : sizeof(to.in);

	if (family == AF_UNIX)
		snprintf(to.un.sun_path, sizeof(to.un.sun_path), "%s.busy", kernel);
	else
		to.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*first = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(*fd, &to.sa, len), 0);
	assert_int_equal(listen(*fd, 0), 0);
	assert_int_equal(getsockname(*fd, &to.sa, &len), 0);
	assert_int_equal(connect(*first, &to.sa, len), 0);
	return family == AF_UNIX ? xasprintf("unix:%s", to.un.sun_path)
				 : xasprintf("tcp:127.0.0.1:%u", ntohs(to.in.sin_port));
}

static void who_does_not_answer_holds_nobody_up(void **state)
{
	static const int families[] = { AF_UNIX, AF_INET };
	struct vm *vm = machine(1, NULL);
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		int fd, first;
		autofree char *uri = busy_listener(families[i], &fd, &first);
		uint64_t start = clock_now_ns();

		assert_int_equal(migr_save(migr_of(vm), uri, NULL, &e), 0);
		assert_true(clock_now_ns() < start + 5 * NS_PER_SEC);
		wait_count(vm, 100);
		assert_int_equal(status(vm), MIGR_SETUP);
		migr_cancel(migr_of(vm));
		assert_int_equal(finish(vm), MIGR_CANCELLED);
		assert_int_equal(vm->state, VM_RUNNING);
		close(first);
		close(fd);
		if (families[i] == AF_UNIX)
			unlink(uri + 5);
	}
	/* Nobody listens: an error, at once or soon. */
	if (migr_save(migr_of(vm), "tcp:127.0.0.1:1", NULL, &e) == 0)
		assert_int_equal(finish(vm), MIGR_FAILED);
	assert_int_equal(vm->state, VM_RUNNING);
	end(vm);
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void who_listens_sleeps(void **state)
{
	struct vm *vm = machine(1, "defer");
	autofree char *uri = xasprintf("unix:%s.sock", kernel);
	struct err e = { 0 };
	uint64_t before, until;

	assert_int_equal(migr_load(migr_of(vm), uri, NULL, false, &e), 0);
	while (status(vm) != MIGR_ACTIVE)
		loop_once(vm->loop, 5);
	before = cpu_ns();
	for (until = clock_now_ns() + NS_PER_SEC; clock_now_ns() < until;)
		loop_once(vm->loop, 100);
	assert_true(cpu_ns() - before < NS_PER_SEC / 4);
	migr_cancel(migr_of(vm));
	assert_int_equal(finish(vm), MIGR_CANCELLED);
	unlink(uri + 5);
	end(vm);
}

/* Neither one that has not read all of it, nor one that goes on behind the end of it. */
static void commands_that_do_not_end_are_ended(void **state)
{
	static const char *const commands[] = {
		"exec:trap '' TERM; while :; do sleep 0.1; done",
		"exec:trap '' TERM; cat >/dev/null; while :; do sleep 0.1; done"
	};
	struct err e = { 0 };

	for (size_t i = 0; i < 2 * ARRAY_SIZE(commands); i++) {
		struct vm *vm = machine(1, NULL);
		uint64_t start;

		wait_count(vm, 100);
		assert_int_equal(migr_save(migr_of(vm), commands[i / 2], NULL, &e), 0);
		for (int n = 0; n < 100; n++)
			loop_once(vm->loop, 5);
		assert_int_equal(status(vm), MIGR_ACTIVE);
		start = clock_now_ns();
		if (i % 2) { /* else the end of the machine ends it */
			migr_cancel(migr_of(vm));
			assert_int_equal(finish(vm), MIGR_CANCELLED);
			assert_int_equal(vm->state, VM_RUNNING);
		}
		end(vm);
		assert_true(clock_now_ns() < start + 10 * NS_PER_SEC);
	}
}

static void cancelled_and_failed_ones_run_on(void **state)
{
	struct vm *vm = machine(1, NULL);
	struct heard h;
	struct err e = { 0 };
	int fds[2];

	wait_count(vm, 100);
	listen_to(vm, &h);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	save_to(vm, fds[1]);
	for (int i = 0; i < 10; i++)
		loop_once(vm->loop, 5);
	assert_int_equal(vm->state, VM_FINISH_MIGRATE);
	assert_true(vm_cont(vm, &e) < 0); /* not now */
	assert_true(migr_save(migr_of(vm), "exec:true", NULL, &e) < 0);
	migr_cancel(migr_of(vm));
	assert_int_equal(finish(vm), MIGR_CANCELLED);
	assert_string_equal(h.text, "setup STOP PASS active cancelling RESUME cancelled ");
	wait_count(vm, 100);

	close(fds[0]);
	save_to(vm, fds[1]); /* nobody will ever read it */
	close(fds[1]);
	assert_int_equal(finish(vm), MIGR_FAILED);
	assert_non_null(strstr(error_of(vm), "Broken pipe"));
	assert_int_equal(vm->state, VM_RUNNING);
	wait_count(vm, 100);
	/* Ended in the middle: nothing is left behind. */
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	save_to(vm, fds[1]);
	loop_once(vm->loop, 5);
	end(vm);
	close(fds[0]);
	close(fds[1]);
}

static void waits_before_the_switchover(void **state)
{
	struct vm *vm = machine(1, NULL);
	struct migr *m = migr_of(vm);
	struct err e = { 0 };
	int fd = new_file();

	wait_count(vm, 100);
	assert_int_equal(migr_cap_set(m, MIGR_CAP_PAUSE_BEFORE_SWITCHOVER, true, &e), 0);
	assert_true(migr_continue(m, &e) < 0);
	save_to(vm, fd);
	assert_int_equal(finish(vm), MIGR_PRE_SWITCHOVER);
	assert_int_equal(migr_continue(m, &e), 0);
	assert_int_equal(finish(vm), MIGR_COMPLETED);
	assert_int_equal(vm_cont(vm, &e), 0);
	save_to(vm, fd);
	assert_int_equal(finish(vm), MIGR_PRE_SWITCHOVER);
	migr_cancel(m);
	assert_int_equal(status(vm), MIGR_CANCELLED);
	assert_int_equal(vm->state, VM_RUNNING);
	close(fd);
	end(vm);
}

static void bandwidth_is_kept(void **state)
{
	struct vm *vm = machine(1, NULL);
	struct migr_params p = { .max_bandwidth = KIB(64) };
	int fd = new_file();

	wait_count(vm, 100);
	migr_set_params(migr_of(vm), &p);
	save_to(vm, fd);
	for (int i = 0; i < 20; i++)
		loop_once(vm->loop, 5);
	assert_int_equal(status(vm), MIGR_ACTIVE);
	p.max_bandwidth = UINT64_MAX / 2; /* what libvirt says for no limit */
	migr_set_params(migr_of(vm), &p);
	assert_int_equal(finish(vm), MIGR_COMPLETED);
	close(fd);
	end(vm);
}

/* ---- streams that lie ---- */

/* A saved machine as bytes. */
static uint8_t *saved_bytes(size_t *len)
{
	struct vm *vm = machine(1, NULL);
	int fd = new_file();
	uint8_t *p;

	wait_count(vm, 100);
	save_to(vm, fd);
	assert_int_equal(finish(vm), MIGR_COMPLETED);
	*len = (size_t)lseek(fd, 0, SEEK_END);
	p = xcalloc(1, *len);
	assert_int_equal(pread(fd, p, *len, 0), *len);
	close(fd);
	end(vm);
	return p;
}

/* As the worker and the loop do it, without the job around it. */
static int try_load(struct vm *vm, const uint8_t *p, size_t len, struct err *e)
{
	struct migr_stream s;
	struct load l = { .state = NULL };
	struct ram_count count = { 0 };
	struct migr_text here = { 0 };
	int fd = new_file(), ret;

	assert_int_equal(pwrite(fd, p, len, 0), len);
	assert_int_equal(stream_init_take(&s, fd, e), 0);
	desc_machine(vm, "", &here);
	ret = load_head(&s, &l.text, e);
	if (ret == 0)
		ret = desc_check(&l.text, &here, e);
	if (ret == 0)
		ret = load_state_section(&s, &l, e);
	if (ret == 0)
		ret = load_ram(vm, &s, &count, e);
	if (ret == 0)
		ret = load_apply(vm, &l, e);
	text_fini(&here);
	load_fini(&l);
	stream_fini(&s);
	return ret;
}

static void damage_is_refused(void **state)
{
	struct err e = { 0 };
	size_t len, at = 0;
	autofree uint8_t *p = saved_bytes(&len);
	struct vm *vm = machine(1, "defer");

	assert_true(len < MIB(4)); /* pages of zeroes are not in it */
	for (size_t n = 0; n < len; n += 1 + n / 64)
		assert_true(try_load(vm, p, n, &e) < 0);
	assert_true(try_load(vm, p, len - 1, &e) < 0);
	/* Every byte of header and state, some of RAM, the end. */
	while (at < len) {
		p[at] ^= (uint8_t)(1u << at % 8);
		e.msg[0] = 0;
		if (try_load(vm, p, len, &e) == 0)
			fail_msg("byte %zu of %zu may be anything", at, len);
		assert_true(e.msg[0]);
		p[at] ^= (uint8_t)(1u << at % 8);
		at += at < 2000 || len - at < 64 ? 1 : at < 40000 ? 97 : 20011;
	}
	if (try_load(vm, p, len, &e) < 0)
		fail_msg("%s", e.msg);
	end(vm);
}

/* Changes the header's text and makes its checksum right again. */
static uint8_t *with_text(const uint8_t *p, size_t *len, const char *key, const char *val)
{
	struct migr_text t = { 0 };
	struct state_buf b = { 0 };
	size_t old = ld_le32(p + 12);
	uint8_t *out;

	assert_int_equal(text_decode(&t, p + FMT_HEADER_LEN, old, &(struct err){ 0 }), 0);
	for (size_t i = 0; i < t.n; i++) {
		if (strcmp(t.pair[i].key, key))
			continue;
		free(t.pair[i].val);
		t.pair[i].val = xstrdup(val);
		break;
	}
	text_encode(&t, &b);
	out = xcalloc(1, *len + b.len);
	memcpy(out, p, FMT_HEADER_LEN);
	memcpy(out + FMT_HEADER_LEN, b.data, b.len);
	st_le32(out + 12, (uint32_t)b.len);
	st_le32(out + FMT_HEADER_LEN + b.len, crc32c(0, out, FMT_HEADER_LEN + b.len));
	memcpy(out + FMT_HEADER_LEN + b.len + 4, p + FMT_HEADER_LEN + old + 4,
	       *len - FMT_HEADER_LEN - old - 4);
	*len += b.len - old;
	text_fini(&t);
	state_buf_fini(&b);
	return out;
}

static void other_machines_are_refused_by_name(void **state)
{
	static const char *const changes[][3] = {
		{ "machine", "microvm", "machine" },
		{ "cpus", "2", "cpus" },
		{ "memory", "1", "memory" },
		{ "topology", "x", "topology" },
		{ "cpu-vendor", "GenuineX", "cpu-vendor" },
		{ "cpu-signature", "0x1", "cpu-signature" },
		{ "cpu-addresses", "33 44", "cpu-addresses" },
		{ "cpu-xcr0", "0xff", "cpu-xcr0" },
		{ "cpu-features", "fpu amx-tile de amx-int8", "(amx-tile, amx-int8)" },
		{ "tsc-khz", "1", "time stamp counter" },
		{ "tsc-khz", "9999999999999999999999", "time stamp counter" },
		{ "tsc-khz", "-1", "tsc-khz" },
		{ "ram", "ram 123", "ram" },
		{ "device", "sound0 sound", "device" },
	};
	struct err e = { 0 };
	size_t len, n;
	autofree uint8_t *p = saved_bytes(&len), *q = NULL;
	autofree char *rate = NULL;
	struct migr_text said = { 0 };
	struct vm *vm = machine(1, "defer");

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		n = len;
		free(take_ptr(q));
		q = with_text(p, &n, changes[i][0], changes[i][1]);
		assert_true(try_load(vm, q, n, &e) < 0);
		if (!strstr(e.msg, changes[i][2]))
			fail_msg("%s: %s", changes[i][0], e.msg);
	}
	free(take_ptr(q));
	/* Near enough, but not what its state says. */
	assert_int_equal(text_decode(&said, p + FMT_HEADER_LEN, ld_le32(p + 12), &e), 0);
	rate = xasprintf("%llu", strtoull(text_get(&said, "tsc-khz"), NULL, 10) + 1);
	text_fini(&said);
	n = len;
	q = with_text(p, &n, "tsc-khz", rate);
	assert_true(try_load(vm, q, n, &e) < 0);
	assert_non_null(strstr(e.msg, rate));
	/* A newer format says so. */
	st_le32(p + 8, FMT_VERSION + 1);
	assert_true(try_load(vm, p, len, &e) < 0);
	assert_non_null(strstr(e.msg, "version 2"));
	end(vm);
}

static void other_devices_are_refused(void **state)
{
	struct vm_conf *c = machine_conf(kernel, 1, "defer");
	struct err e = { 0 };
	struct vm *vm;
	size_t len;
	autofree uint8_t *p = saved_bytes(&len);

	conf_add(c, CONF_DEVICE, "virtio-rng-pci", NULL, "-device virtio-rng-pci");
	vm = vm_new_take(c, &e);
	assert_non_null(vm);
	assert_true(try_load(vm, p, len, &e) < 0);
	assert_non_null(strstr(e.msg, "virtio-rng-pci"));
	end(vm);
}

/* Out of order, twice the same, behind the memory: with right checksums. */
/* What it was doing, it goes on with: nobody continues a guest that is shut down. */
static void the_run_state_comes_along(void **state)
{
	static const enum vm_state states[] = { VM_PAUSED,	   VM_SHUTDOWN,	 VM_GUEST_PANICKED,
						VM_INTERNAL_ERROR, VM_IO_ERROR,	 VM_WATCHDOG,
						VM_POSTMIGRATE,	   VM_PRELAUNCH, VM_DEBUG };
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		struct vm *a = machine(1, NULL), *b = machine(1, "defer");
		bool needs_reset = states[i] == VM_SHUTDOWN || states[i] == VM_INTERNAL_ERROR;
		int fd = new_file();

		wait_count(a, 100);
		vm_stop(a, states[i]);
		save_to(a, fd);
		assert_int_equal(finish(a), MIGR_COMPLETED);
		load_from(b, fd);
		if (finish(b) != MIGR_COMPLETED)
			fail_msg("%s", error_of(b));
		if (b->state != states[i])
			fail_msg("%s became %s", vm_state_name(states[i]), vm_state_name(b->state));
		assert_int_equal(vm_cont(b, &e) < 0, needs_reset);
		close(fd);
		end(a);
		end(b);
	}
}

static void other_run_states_are_refused(void **state)
{
	static const char *const bad[] = { "finish-migrate", "inmigrate", "save-vm", "",
					   "Running" };
	size_t len;
	autofree uint8_t *p = saved_bytes(&len);
	struct vm *vm = machine(1, "defer");

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		size_t n = len;
		autofree uint8_t *q = with_text(p, &n, "run-state", bad[i]);
		int fd = new_file();

		assert_int_equal(pwrite(fd, q, n, 0), n);
		load_from(vm, fd);
		assert_int_equal(finish(vm), MIGR_FAILED);
		assert_non_null(strstr(error_of(vm), "run-state"));
		assert_int_equal(vm->state, VM_INMIGRATE);
		close(fd);
	}
	end(vm);
}

static void chunks_that_lie_are_refused(void **state)
{
	struct err e = { 0 };
	size_t len, ram;
	autofree uint8_t *p = saved_bytes(&len);
	struct vm *vm = machine(1, "defer");

	for (ram = 0; ld_le32(p + ram) != FMT_CHUNK_MAGIC; ram += FMT_PAGE)
		assert_true(ram < len);
	for (int i = 0; i < 4; i++) {
		autofree uint8_t *q = xcalloc(1, len);

		memcpy(q, p, len);
		if (i == 0)
			st_le64(q + ram + CHUNK_FIRST, UINT64_MAX - 511);
		else if (i == 1)
			st_le64(q + ram + CHUNK_FIRST, GUEST_RAM / FMT_PAGE);
		else if (i == 2)
			st_le32(q + ram + CHUNK_BLOCK, 1);
		else
			st_le64(q + ram + CHUNK_FIRST, 1);
		st_le32(q + ram + CHUNK_CRC, 0);
		st_le32(q + ram + CHUNK_CRC, crc32c(0, q + ram, FMT_PAGE));
		assert_true(try_load(vm, q, len, &e) < 0);
		assert_non_null(strstr(e.msg, "RAM"));
	}
	end(vm);
}

/* After a failed load nothing of it is left, and the machine waits for another. */
static void may_try_again(void **state)
{
	size_t len;
	autofree uint8_t *p = saved_bytes(&len);
	struct vm *vm = machine(1, "defer");
	int fd = new_file();

	p[len - 3] ^= 1;
	assert_int_equal(pwrite(fd, p, len, 0), len);
	load_from(vm, fd);
	assert_int_equal(finish(vm), MIGR_FAILED);
	assert_int_equal(vm->state, VM_INMIGRATE);
	p[len - 3] ^= 1;
	assert_int_equal(pwrite(fd, p, len, 0), len);
	load_from(vm, fd);
	if (finish(vm) != MIGR_COMPLETED)
		fail_msg("%s", error_of(vm));
	wait_count(vm, 100);
	close(fd);
	end(vm);
}

static void bad_addresses(void **state)
{
	struct vm *vm = machine(1, NULL);
	static const char *const bad[] = { "",
					   "nonsense",
					   "fd:",
					   "fd:x",
					   "fd:999",
					   "file:",
					   "tcp:",
					   "file:/nonexistent/x",
					   "disk:x",
					   "tcp:example.com:1",
					   "tcp:127.0.0.1:http" };
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_true(migr_save(migr_of(vm), bad[i], NULL, &e) < 0);
		assert_int_equal(status(vm), MIGR_NONE);
	}
	assert_true(migr_load(migr_of(vm), "fd:0", NULL, false, &e) < 0); /* not INMIGRATE */
	end(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_cpu_goes_on),
		cmocka_unit_test(four_cpus_go_on),
		cmocka_unit_test(a_microvm_goes_on),
		cmocka_unit_test(time_has_no_gap),
		cmocka_unit_test(through_a_pipe),
		cmocka_unit_test(through_a_command),
		cmocka_unit_test(through_a_socket),
		cmocka_unit_test(through_a_fifo),
		cmocka_unit_test(who_does_not_answer_holds_nobody_up),
		cmocka_unit_test(who_listens_sleeps),
		cmocka_unit_test(commands_that_do_not_end_are_ended),
		cmocka_unit_test(cancelled_and_failed_ones_run_on),
		cmocka_unit_test(waits_before_the_switchover),
		cmocka_unit_test(bandwidth_is_kept),
		cmocka_unit_test(damage_is_refused),
		cmocka_unit_test(other_machines_are_refused_by_name),
		cmocka_unit_test(other_devices_are_refused),
		cmocka_unit_test(the_run_state_comes_along),
		cmocka_unit_test(other_run_states_are_refused),
		cmocka_unit_test(chunks_that_lie_are_refused),
		cmocka_unit_test(may_try_again),
		cmocka_unit_test(bad_addresses),
	};
	int ret;

	signal(SIGPIPE, SIG_IGN);
	kernel = machine_kernel();
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(kernel);
	free(kernel);
	return ret;
}
