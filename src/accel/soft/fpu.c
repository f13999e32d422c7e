/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vCPU's floating-point state: moving x87 and MXCSR between soft_cpu.s and the host's
 * registers, who may use them now (CR0.EM/TS/MP, CR4.OSFXSR/OSXSAVE, XCR0: Intel SDM vol. 3
 * 2.5 and 13.1), and host exceptions inside thunks.
 *
 * A thunk's SIGFPE is the guest's #XM or #MF: the handler recognises the program counter and
 * makes the thread continue in thunk_fault(), as if the thunk had called it. SIGILL and SIGSEGV
 * from a general protection fault (not from an address) are treated alike: the host refuses an
 * encoding or an alignment for the same reason as the guest's processor would.
 * Threads: all on the vCPU's thread, but fpu_init() and fpu_fini().
 */
#include "accel/soft/fpu.h"
#include "accel/soft/jit/jit.h"
#include "base/bytes.h"
#include "isa/x86/cpuid.h"

#include <signal.h>
#include <ucontext.h>

/* The vCPU that interprets on this thread: how the signal handler finds its thunks. */
static _Thread_local struct soft_cpu *current_cpu;

static const int trap_signals[] = {SIGFPE, SIGILL, SIGSEGV};
static struct sigaction old_action[ARRAY_SIZE(trap_signals)];
static pthread_mutex_t action_lock = PTHREAD_MUTEX_INITIALIZER;

static uint32_t get_mxcsr(void)
{
	uint32_t v;

	__asm__ volatile("stmxcsr %0" : "=m"(v));
	return v;
}

static void set_mxcsr(uint32_t v)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(v));
}

uint32_t fpu_mxcsr(const struct soft_cpu *c)
{
	return c->fpu->live & FPU_LIVE_MXCSR ? get_mxcsr() : c->s.mxcsr;
}

int fpu_denied(const struct soft_cpu *c, enum fpu_need need)
{
	uint64_t cr0 = c->s.cr0, cr4 = c->s.cr4;
	bool vex_off = !(cr0 & CR0_PE) || (c->rflags & FLAG_VM);

	switch (need) {
	case FPN_NONE:
		return -1;
	case FPN_BMI:
		return vex_off ? X86_UD : -1;
	case FPN_X87:
	case FPN_FXSAVE:
		return cr0 & (CR0_EM | CR0_TS) ? X86_NM : -1;
	case FPN_WAIT:
		return (cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS) ? X86_NM : -1;
	case FPN_MMX:
		return cr0 & CR0_EM ? X86_UD : cr0 & CR0_TS ? X86_NM : -1;
	case FPN_SSE:
	case FPN_SSE_MX:
	case FPN_SSE_MM:
		if ((cr0 & CR0_EM) || !(cr4 & CR4_OSFXSR))
			return X86_UD;
		return cr0 & CR0_TS ? X86_NM : -1;
	case FPN_AVX:
	case FPN_AVX_MX:
		if (vex_off || !(cr4 & CR4_OSXSAVE) || (c->s.xcr0 & 6) != 6)
			return X86_UD;
		return cr0 & CR0_TS ? X86_NM : -1;
	case FPN_EVEX:
	case FPN_EVEX_MX:
		if (vex_off || !(cr4 & CR4_OSXSAVE) || (c->s.xcr0 & 0xe6) != 0xe6)
			return X86_UD;
		return cr0 & CR0_TS ? X86_NM : -1;
	case FPN_XSAVE:
		if (!(cr4 & CR4_OSXSAVE))
			return X86_UD;
		return cr0 & CR0_TS ? X86_NM : -1;
	}
	return X86_UD;
}

static unsigned live_for(enum fpu_need need)
{
	switch (need) {
	case FPN_X87:
	case FPN_MMX:
	case FPN_WAIT:
		return FPU_LIVE_X87;
	case FPN_SSE_MX:
	case FPN_AVX_MX:
	case FPN_EVEX_MX:
		return FPU_LIVE_MXCSR;
	case FPN_SSE_MM:
		return FPU_LIVE_X87 | FPU_LIVE_MXCSR;
	default:
		return 0;
	}
}

/* What fpu_denied() and live_for() look at. */
static uint64_t ready_key(const struct soft_cpu *c)
{
	return (c->s.cr0 & (CR0_PE | CR0_MP | CR0_EM | CR0_TS)) |
	       (c->s.cr4 & (CR4_OSFXSR | CR4_OSXSAVE)) << 8 | (c->s.xcr0 & 0xe7) << 32 |
	       (c->rflags & FLAG_VM) << 20 | (uint64_t)c->fpu->live << 48 | BIT64(63);
}

void fpu_mode_changed(struct soft_cpu *c)
{
	struct fpu *f = c->fpu;
	uint64_t key = ready_key(c);
	unsigned ready = 0;

	if (f->ready_key == key)
		return; /* each system call of the guest comes by here */
	f->ready_key = key;
	for (unsigned n = FPN_NONE; n <= FPN_WAIT; n++)
		if (!(live_for(n) & ~f->live) && fpu_denied(c, n) < 0)
			ready |= 1u << n;
	f->ready = (uint16_t)ready;
}

/* The XSAVE header behind the legacy region says which components the image holds. */
static void x87_load(struct soft_cpu *c)
{
	struct fpu *f = c->fpu;
	uint8_t *im = f->image;

	memset(im, 0, 32);
	st_le16(im, c->s.fcw);
	st_le16(im + 2, c->s.fsw);
	im[4] = c->s.ftw;
	st_le32(im + 24, MXCSR_INIT);
	memcpy(im + 32, c->s.st, sizeof(c->s.st));
	memset(im + 512, 0, 64);
	im[512] = 1;
	__asm__ volatile("xrstor64 %0" : : "m"(f->image), "a"(1), "d"(0));
	f->live |= FPU_LIVE_X87;
}

static void x87_store(struct soft_cpu *c)
{
	struct fpu *f = c->fpu;
	uint8_t *im = f->image;

	memset(im + 512, 0, 64);
	__asm__ volatile("xsave64 %0; fninit" : "+m"(f->image) : "a"(1), "d"(0));
	f->live &= (uint8_t)~FPU_LIVE_X87;
	if (!(im[512] & 1)) { /* the initial configuration is not always written */
		memset(c->s.st, 0, sizeof(c->s.st));
		c->s.fcw = 0x37f;
		c->s.fsw = 0;
		c->s.ftw = 0;
		return;
	}
	c->s.fcw = ld_le16(im);
	c->s.fsw = ld_le16(im + 2);
	c->s.ftw = im[4];
	memcpy(c->s.st, im + 32, sizeof(c->s.st));
	for (unsigned i = 0; i < 8; i++)
		memset(c->s.st[i] + 10, 0, 6);
}

void fpu_prepare(struct soft_cpu *c, enum fpu_need need)
{
	struct fpu *f = c->fpu;
	int vector = fpu_denied(c, need);
	unsigned want = live_for(need) & ~f->live;

	if (vector >= 0)
		cpu_raise(c, (unsigned)vector);
	current_cpu = c;
	if (want & FPU_LIVE_X87)
		x87_load(c);
	if (want & FPU_LIVE_MXCSR) {
		set_mxcsr(c->s.mxcsr);
		f->live |= FPU_LIVE_MXCSR;
	}
	fpu_mode_changed(c);
}

void fpu_unlive_mxcsr(struct soft_cpu *c)
{
	struct fpu *f = c->fpu;

	c->s.mxcsr = get_mxcsr();
	set_mxcsr(f->host_mxcsr);
	f->live &= (uint8_t)~FPU_LIVE_MXCSR;
	f->ready_key = 0;
	f->ready &= (uint16_t)~(BIT32(FPN_SSE_MX) | BIT32(FPN_SSE_MM) | BIT32(FPN_AVX_MX) |
				BIT32(FPN_EVEX_MX));
}

void fpu_spill(struct soft_cpu *c)
{
	fpu_host(c);
	if (!(c->fpu->live & FPU_LIVE_X87))
		return;
	x87_store(c);
	fpu_mode_changed(c);
}

/* Continued here by on_trap(), on the thunk's stack frame, with the guest's MXCSR loaded. */
static _Noreturn void thunk_fault(struct soft_cpu *c)
{
	unsigned trap = c->fpu->fault_trap;

	fpu_host(c);
	if (trap == X86_GP)
		cpu_raise_err(c, X86_GP, 0);
	if (trap == X86_XM && !(c->s.cr4 & CR4_OSXMMEXCPT))
		trap = X86_UD;
	cpu_raise(c, trap);
}

static void pass_on(int sig, siginfo_t *info, void *uc)
{
	const struct sigaction *old = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(trap_signals); i++)
		if (trap_signals[i] == sig)
			old = &old_action[i];
	if (old && (old->sa_flags & SA_SIGINFO)) {
		old->sa_sigaction(sig, info, uc);
	} else if (old && old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
		old->sa_handler(sig);
	} else {
		struct sigaction dfl = {.sa_handler = SIG_DFL};

		sigaction(sig, &dfl, NULL); /* the instruction is repeated and ends the process */
	}
}

/* In the translator's code: the interpreter does that instruction. */
static bool leave_host_code(struct soft_cpu *c, greg_t *g)
{
	uint32_t id;
	const void *to = jit_trap(c, (uintptr_t)g[REG_RIP], (uint64_t)g[REG_EFL], &id);

	if (!to)
		return false;
	g[REG_R13] = id;
	g[REG_RIP] = (greg_t)(uintptr_t)to;
	return true;
}

static void on_trap(int sig, siginfo_t *info, void *ucp)
{
	ucontext_t *uc = ucp;
	greg_t *g = uc->uc_mcontext.gregs;
	struct soft_cpu *c = current_cpu;
	unsigned trap = (unsigned)g[REG_TRAPNO];
	bool ours = trap == X86_DE || trap == X86_XM || trap == X86_MF || trap == X86_UD || trap == X86_GP;

	if (ours && c && leave_host_code(c, g))
		return;
	if (!ours || !c || !thunks_contain(c->fpu->thunks, (uintptr_t)g[REG_RIP])) {
		pass_on(sig, info, ucp);
		return;
	}
	c->fpu->fault_trap = (uint8_t)trap;
	g[REG_RIP] = (greg_t)(uintptr_t)thunk_fault;
	g[REG_RDI] = (greg_t)(uintptr_t)c;
}

/* Again for every vCPU: something else (a test's runner) may have put its handler over ours. */
int fpu_catch_traps(struct err *e)
{
	struct sigaction sa = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK}, now;
	int ret = 0;

	sigemptyset(&sa.sa_mask);
	pthread_mutex_lock(&action_lock);
	for (size_t i = 0; i < ARRAY_SIZE(trap_signals) && !ret; i++) {
		if (sigaction(trap_signals[i], NULL, &now) < 0)
			ret = -errno;
		else if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_trap) {
			old_action[i] = now;
			if (sigaction(trap_signals[i], &sa, NULL) < 0)
				ret = -errno;
		}
	}
	pthread_mutex_unlock(&action_lock);
	return ret ? err_set_errno(e, -ret, "soft: cannot install the handler of SIGFPE") : 0;
}

void fpu_reset(struct soft_cpu *c)
{
	fpu_spill(c);
	memset(c->s.st, 0, sizeof(c->s.st));
	memset(c->s.vec, 0, sizeof(c->s.vec));
	memset(c->s.k, 0, sizeof(c->s.k));
	c->s.fcw = 0x40;
	c->s.fsw = 0;
	c->s.ftw = 0xff;
	c->s.fop = 0;
	c->s.fip = c->s.fdp = 0;
	c->s.fcs = c->s.fds = 0;
	c->s.mxcsr = MXCSR_INIT;
}

struct fpu *fpu_new(struct soft_cpu *c, struct err *e)
{
	struct fpu *f;

	if (fpu_catch_traps(e))
		return NULL;
	f = aligned_alloc(64, sizeof(*f));
	if (!f) {
		err_set_errno(e, ENOMEM, "soft: floating-point state");
		return NULL;
	}
	memset(f, 0, sizeof(*f));
	f->host_mxcsr = get_mxcsr();
	f->thunks = thunks_new(cpu_has(c, X86F_AVX512F), e);
	if (!f->thunks) {
		free(f);
		return NULL;
	}
	c->fpu = f;
	fpu_reset(c);
	fpu_mode_changed(c);
	return f;
}

struct fpu *fpu_free(struct fpu *f)
{
	if (f)
		thunks_free(f->thunks);
	free(f);
	return NULL;
}

void fpu_sync_out(struct soft_cpu *c)
{
	fpu_spill(c);
}

void fpu_sync_in(struct soft_cpu *c)
{
	if (c->fpu->live & FPU_LIVE_MXCSR)
		set_mxcsr(c->fpu->host_mxcsr);
	if (c->fpu->live & FPU_LIVE_X87)
		__asm__ volatile("fninit");
	c->fpu->live = 0;
	fpu_mode_changed(c);
}

void fpu_enter(struct soft_cpu *c)
{
	current_cpu = c;
	c->fpu->host_mxcsr = get_mxcsr();
	fpu_mode_changed(c);
}

void fpu_leave(struct soft_cpu *c)
{
	fpu_spill(c);
	current_cpu = NULL;
}
