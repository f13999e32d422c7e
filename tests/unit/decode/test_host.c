/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder against this machine's CPU: random instructions of every user-level operation that it
 * has are single-stepped. None may be #UD, and RIP behind those that complete gives the length.
 *
 * A child process runs them, driven from its signal handler: each signal ends one case and starts
 * the next by changing the interrupted context.
 */
#include "base/base.h"
#include "accel/soft/decode/decode.h"
#include "accel/soft/decode/decode_tbl.h"
#include "insn_gen.h"
#include "isa/x86/cpuid.h"
#include "isa/x86/x86.h"
#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <cmocka.h>

enum { ROUNDS = 12, MAX_BAD = 16, SCRATCH = 1 << 20 };

static struct shared {
	unsigned long stepped, cases;
	unsigned nr_bad;
	struct {
		unsigned op;
		int sig, len;
		long at;
		uint8_t code[15];
	} bad[MAX_BAD];
} *shared;

static struct {
	uint8_t *code, *scratch;
	bool features[X86F_NR];
	struct rng r;
	unsigned op, round;
	bool running;
	uint8_t bytes[15];
	int len;
} run;

static bool host_has(unsigned feature)
{
	static const struct {
		uint32_t leaf, sub;
		uint8_t reg, bit;
	} f[X86F_NR] = {
#define X(id, name, leaf, sub, reg, bit) [X86F_##id] = { leaf, sub, reg, bit },
		X86_FEATURES(X)
#undef X
	};
	uint32_t r[4] = { 0 };

	if (!feature)
		return true;
	return __get_cpuid_count(f[feature].leaf, f[feature].sub, &r[0], &r[1], &r[2], &r[3]) &&
	       (r[f[feature].reg] >> f[feature].bit & 1);
}

/* Left out: what the host's vendor decides, what traps by design, what takes more than a step. */
static bool wanted(const struct op_desc *d)
{
	if (d->cls == OPC_SYS || d->cls == OPC_FPSTATE || (d->attr & (OPA_BRANCH | OPA_REP)))
		return false;
	return run.features[d->feature];
}

static bool next_case(void)
{
	for (; run.round < ROUNDS; run.round++, run.op = 0)
		while (++run.op < OP_NR)
			if (wanted(&op_descs[run.op])) {
				run.len = insn_gen(run.op, 64, INSN_GEN_NOSEG, &run.r, run.bytes);
				if (run.len)
					return true;
			}
	return false;
}

static void judge(int sig, long at)
{
	bool wrong = sig == SIGILL || (sig == SIGTRAP && at != run.len);

	shared->cases++;
	shared->stepped += sig == SIGTRAP;
	if (!wrong || shared->nr_bad == MAX_BAD)
		return;
	unsigned i = shared->nr_bad++;

	shared->bad[i].op = run.op;
	shared->bad[i].sig = sig;
	shared->bad[i].len = run.len;
	shared->bad[i].at = at;
	memcpy(shared->bad[i].code, run.bytes, sizeof(run.bytes));
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	greg_t *g = u->uc_mcontext.gregs;

	if (run.running)
		judge(sig, g[REG_RIP] - (long)run.code);
	if (!next_case())
		_exit(0);
	run.running = true;
	memcpy(run.code, run.bytes, sizeof(run.bytes));
	memset(run.scratch + SCRATCH / 2 - 1024, 0, 2048);
	for (int i = REG_R8; i <= REG_RSP; i++)
		g[i] = (long)run.scratch + SCRATCH / 2;
	g[REG_RIP] = (long)run.code;
	g[REG_EFL] = FLAG_TF | FLAG_IF | FLAG_R1;
	u->uc_mcontext.fpregs->mxcsr = 0x1f80;
	u->uc_mcontext.fpregs->cwd = 0x37f;
	u->uc_mcontext.fpregs->swd = 0;
	u->uc_mcontext.fpregs->ftw = 0;
}

static void child(void)
{
	static const int signals[] = { SIGTRAP, SIGSEGV, SIGILL, SIGBUS, SIGFPE };
	static uint8_t stack[1 << 16];
	stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_sigaction = on_signal,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

	sigaltstack(&alt, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &sa, NULL);
	raise(SIGTRAP);
	_exit(1);
}

static void *map_at(uintptr_t at, size_t size, int prot)
{
	return mmap((void *)at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

static void print_bad(void)
{
	for (unsigned i = 0; i < shared->nr_bad; i++) {
		print_error("%s: signal %d at %ld, length %d:", op_name(shared->bad[i].op),
			    shared->bad[i].sig, shared->bad[i].at, shared->bad[i].len);
		for (unsigned k = 0; k < 15; k++)
			print_error(" %02x", shared->bad[i].code[k]);
		print_error("\n");
	}
}

static void test_against_host(void **state)
{
	int status;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	/* low addresses, so that 32-bit addressing reaches them too */
	run.code = map_at(0x10000000, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
	run.scratch = map_at(0x20000000, SCRATCH, PROT_READ | PROT_WRITE);
	if (run.code == MAP_FAILED || run.scratch == MAP_FAILED)
		skip();
	for (unsigned f = 0; f < X86F_NR; f++)
		run.features[f] = host_has(f);
	run.r.state = 7;

	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		child();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	print_bad();
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(shared->nr_bad, 0);
	assert_true(shared->cases > 1000 * ROUNDS / 2);
	assert_true(shared->stepped > shared->cases / 3);
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(test_against_host) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
