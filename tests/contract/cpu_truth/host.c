/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side: loads all registers, jumps to the instruction, and stores all registers at the
 * jump behind it. Exceptions arrive as signals; the handler continues at the storing code with the
 * general registers as the signal frame has them.
 */
#include "truth.h"
#include "base/bytes.h"
#include "prog.h"

#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <asm/ldt.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define CTX 0x40000000ul

/* At CTX; the offsets are in the assembly below. */
struct host_ctx {
	uint64_t in[16];      /* 0 */
	uint64_t out[16];     /* 128 */
	uint64_t in_flags;    /* 256 */
	uint64_t out_flags;   /* 264 */
	uint64_t host_rsp;    /* 272 */
	uint64_t target;      /* 280 */
	uint64_t exit;	      /* 288 */
	uint64_t exit_taken;  /* 296 */
	uint64_t taken;	      /* 304 */
	uint32_t host_mxcsr;  /* 312 */
	uint32_t components;  /* 316: of XSAVE that are loaded and stored */
	/* of the handler */
	int64_t vector;	      /* 320 */
	uint64_t error, cr2, fault_rip;
	uint64_t active; /* 352 */
	struct {
		uint32_t off;
		uint16_t sel;
	} far; /* 360: where 32-bit code is, or nothing */
	uint8_t pad2[16];
	uint8_t xs_in[4096];  /* 384 */
	uint8_t xs_out[4096]; /* 4480 */
};
_Static_assert(offsetof(struct host_ctx, xs_in) == 384, "the assembly's offsets");
_Static_assert(offsetof(struct host_ctx, xs_out) == 4480, "the assembly's offsets");
_Static_assert(offsetof(struct host_ctx, far) == 360, "the assembly's offsets");
_Static_assert(offsetof(struct host_ctx, vector) == 320, "the assembly's offsets");

/* Linux's segments. */
#define CODE64 0x33
#define CODE32 0x23
#define DATA   0x2b
#define LDT_0  7

static struct host_ctx *const ctx = (struct host_ctx *)CTX;

void truth_enter(void);
extern char truth_exit[], truth_exit_taken[], truth_finish[], truth_far[];

__asm__(".text\n"
	".globl truth_enter, truth_exit, truth_exit_taken, truth_finish, truth_far\n"
	"truth_enter:\n"
	"  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
	"  mov %rsp, 0x40000000+272\n"
	"  stmxcsr 0x40000000+312\n"
	"  movq $0, 0x40000000+304\n"
	"  mov 0x40000000+316, %eax\n  xor %edx, %edx\n  xrstor64 0x40000000+384\n"
	"  pushq 0x40000000+256\n  popfq\n"
	"  mov 0x40000000+0, %rax\n  mov 0x40000000+8, %rcx\n  mov 0x40000000+16, %rdx\n"
	"  mov 0x40000000+24, %rbx\n  mov 0x40000000+32, %rsp\n  mov 0x40000000+40, %rbp\n"
	"  mov 0x40000000+48, %rsi\n  mov 0x40000000+56, %rdi\n  mov 0x40000000+64, %r8\n"
	"  mov 0x40000000+72, %r9\n  mov 0x40000000+80, %r10\n  mov 0x40000000+88, %r11\n"
	"  mov 0x40000000+96, %r12\n  mov 0x40000000+104, %r13\n  mov 0x40000000+112, %r14\n"
	"  mov 0x40000000+120, %r15\n"
	"  jmp *0x40000000+280\n"
	"truth_far:\n"
	"  ljmp *0x40000000+360\n"
	"truth_exit_taken:\n"
	"  movq $1, 0x40000000+304\n"
	"truth_exit:\n"
	"  mov %rax, 0x40000000+128\n  mov %rcx, 0x40000000+136\n  mov %rdx, 0x40000000+144\n"
	"  mov %rbx, 0x40000000+152\n  mov %rsp, 0x40000000+160\n  mov %rbp, 0x40000000+168\n"
	"  mov %rsi, 0x40000000+176\n  mov %rdi, 0x40000000+184\n  mov %r8, 0x40000000+192\n"
	"  mov %r9, 0x40000000+200\n  mov %r10, 0x40000000+208\n  mov %r11, 0x40000000+216\n"
	"  mov %r12, 0x40000000+224\n  mov %r13, 0x40000000+232\n  mov %r14, 0x40000000+240\n"
	"  mov %r15, 0x40000000+248\n"
	"  mov 0x40000000+272, %rsp\n"
	"  pushfq\n  popq 0x40000000+264\n"
	"truth_finish:\n"
	"  cld\n"
	"  mov 0x40000000+316, %eax\n  xor %edx, %edx\n  xsave64 0x40000000+4480\n"
	"  fninit\n  ldmxcsr 0x40000000+312\n  vzeroupper\n"
	"  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n"
	"  ret\n");

static const int greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI,
				REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13,
				REG_R14, REG_R15};

static void on_signal(int sig, siginfo_t *info, void *ucp)
{
	greg_t *g = ((ucontext_t *)ucp)->uc_mcontext.gregs;

	if (!ctx->active) {
		signal(sig, SIG_DFL);
		return;
	}
	for (unsigned i = 0; i < 16; i++)
		ctx->out[i] = (uint64_t)g[greg_of[i]];
	ctx->out_flags = (uint64_t)g[REG_EFL];
	ctx->vector = g[REG_TRAPNO];
	ctx->error = (uint64_t)g[REG_ERR];
	ctx->cr2 = (uint64_t)g[REG_CR2];
	ctx->fault_rip = (uint64_t)g[REG_RIP];
	g[REG_RSP] = (greg_t)ctx->host_rsp;
	g[REG_RIP] = (greg_t)(uintptr_t)truth_finish;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~(greg_t)0xffff) | CODE64;
	g[REG_EFL] &= ~0x40500; /* TF, DF, AC */
}

static void *map_at(uintptr_t at, size_t size, int prot)
{
	void *p = mmap((void *)at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE |
		       MAP_POPULATE, -1, 0);

	return p == (void *)at ? p : NULL;
}

static uint8_t *scratch_rw;
static uint32_t part_at[8]; /* where components of XSAVE are */

void host_find_components(void)
{
	ctx->components = truth_zmm() ? 0xe7 : 7;
	for (unsigned n = 2; n < 8; n++) {
		uint32_t r[4];

		__cpuid_count(0xd, n, r[0], r[1], r[2], r[3]);
		part_at[n] = r[1];
	}
}

int host_init(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	static uint8_t stack[65536];
	stack_t ss = {.ss_size = sizeof(stack), .ss_sp = stack};
	int fd = memfd_create("scratch", MFD_CLOEXEC);

	if (!map_at(CTX, sizeof(*ctx), PROT_READ | PROT_WRITE) ||
	    !map_at(CODE, 0x1000 * PROG_PAGES, PROT_READ | PROT_WRITE | PROT_EXEC) ||
	    !map_at(PROG_EXIT, 0x1000, PROT_READ | PROT_WRITE | PROT_EXEC) || fd < 0 ||
	    ftruncate(fd, 0x3000) < 0)
		return -errno;
	scratch_rw = mmap(NULL, 0x3000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	void *rw = mmap((void *)SCRATCH_DATA, 0x2000, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd, 0);
	void *ro = mmap((void *)(SCRATCH_DATA + 0x2000), 0x1000, PROT_READ,
			MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd, 0x2000);
	close(fd);
	if (scratch_rw == MAP_FAILED || rw == MAP_FAILED || ro == MAP_FAILED)
		return -errno;
	if (sigaltstack(&ss, NULL) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &sa, NULL);
	ctx->exit = (uintptr_t)truth_exit;
	ctx->exit_taken = (uintptr_t)truth_exit_taken;
	return 0;
}

uint8_t *host_scratch(void)
{
	return scratch_rw;
}

/* jmp [abs32] */
static void put_jump(uint8_t *at, size_t field)
{
	at[0] = 0xff;
	at[1] = 0x24;
	at[2] = 0x25;
	st_le32(at + 3, (uint32_t)(CTX + field));
}

void host_code(const struct truth_case *c)
{
	uint8_t *p = (uint8_t *)c->rip;

	memcpy(p, c->bytes, c->len);
	put_jump(p + c->len, offsetof(struct host_ctx, exit));
	put_jump(p + c->len + CODE_TAKEN, offsetof(struct host_ctx, exit_taken));
}

static bool upper_used(const struct truth_state *s)
{
	uint8_t any = 0;

	for (unsigned i = 0; i < 16 * 32; i++)
		any |= s->vec[i / 32][32 + i % 32];
	return any;
}

static void load_fp(const struct truth_state *s)
{
	uint8_t *x = ctx->xs_in;

	st_le16(x, s->fcw);
	st_le16(x + 2, s->fsw);
	x[4] = s->ftw;
	st_le16(x + 6, s->fop);
	st_le64(x + 8, s->fip);
	st_le64(x + 16, s->fdp);
	st_le32(x + 24, s->mxcsr);
	memcpy(x + 32, s->st, sizeof(s->st));
	for (unsigned i = 0; i < 16; i++) {
		memcpy(x + 160 + 16 * i, s->vec[i], 16);
		memcpy(x + 576 + 16 * i, s->vec[i] + 16, 16);
		if (!truth_zmm())
			continue;
		memcpy(x + part_at[6] + 32 * i, s->vec[i] + 32, 32);
		memcpy(x + part_at[7] + 64 * i, s->vec[16 + i], 64);
	}
	if (truth_zmm())
		memcpy(x + part_at[5], s->k, sizeof(s->k));
	memset(x + 512, 0, 64);
	/* a component that was loaded counts as in use, whatever is in it */
	x[512] = (uint8_t)(ctx->components & (upper_used(s) ? ~0u : ~0x40u));
}

static void store_fp(struct truth_state *s)
{
	const uint8_t *x = ctx->xs_out;

	s->fcw = ld_le16(x);
	s->fsw = ld_le16(x + 2);
	s->ftw = x[4];
	s->fop = ld_le16(x + 6);
	s->fip = ld_le64(x + 8);
	s->fdp = ld_le64(x + 16);
	s->mxcsr = ld_le32(x + 24);
	for (unsigned i = 0; i < 8; i++)
		memcpy(s->st[i], x + 32 + 16 * i, 10);
	for (unsigned i = 0; i < 16; i++) {
		memcpy(s->vec[i], x + 160 + 16 * i, 16);
		memcpy(s->vec[i] + 16, x + 576 + 16 * i, 16);
		if (!truth_zmm())
			continue;
		memcpy(s->vec[i] + 32, x + part_at[6] + 32 * i, 32);
		memcpy(s->vec[16 + i], x + part_at[7] + 64 * i, 64);
	}
	if (truth_zmm())
		memcpy(s->k, x + part_at[5], sizeof(s->k));
}

static void go(uint64_t target, struct truth_state *s, struct truth_result *r)
{
	load_fp(s);
	memcpy(ctx->in, s->gpr, sizeof(s->gpr));
	ctx->in_flags = s->rflags;
	ctx->target = target;
	ctx->vector = -1;
	ctx->active = 1;
	truth_enter();
	ctx->active = 0;
	memcpy(s->gpr, ctx->out, sizeof(s->gpr));
	s->rflags = ctx->out_flags & ~0x10000ul; /* RF is in signal frames only */
	store_fp(s);
	r->vector = (int)ctx->vector;
	r->error = (uint32_t)ctx->error;
	r->cr2 = ctx->cr2;
}

void host_run(const struct truth_case *c, struct truth_state *s, struct truth_result *r)
{
	go(c->rip, s, r);
	s->rip = c->rip + c->len + (ctx->taken ? CODE_TAKEN : 0);
	if (r->vector >= 0) {
		s->rip = ctx->fault_rip;
		/* it has branched to where nothing is */
		if (s->rip != c->rip && r->vector != 3 && r->vector != 1)
			r->vector = -1;
	}
}

/* DS, ES and GS as 32-bit code wants them; 64-bit code does not care. */
bool host_prog_bits(unsigned bits)
{
	struct user_desc gs = { .base_addr = PROG_GS, .limit = 0xfffff, .limit_in_pages = 1, .seg_32bit = 1,
				.useable = 1 };

	if (bits == 64)
		return true;
	if (syscall(SYS_modify_ldt, 1, &gs, sizeof(gs)) != 0)
		return false;
	__asm__ volatile("mov %0, %%ds\n\tmov %0, %%es\n\tmov %1, %%gs" : : "r"(DATA), "r"(LDT_0));
	return true;
}

/* ljmp $CODE64, $the jump behind it */
static void put_exit32(uint8_t *at)
{
	at[0] = 0xea;
	st_le32(at + 1, (uint32_t)(uintptr_t)at + 7);
	st_le16(at + 5, CODE64);
	put_jump(at + 7, offsetof(struct host_ctx, exit));
}

void host_prog(const struct prog *p)
{
	memcpy((void *)p->at, p->bytes, p->len);
	if (p->bits == 64)
		put_jump((uint8_t *)PROG_EXIT, offsetof(struct host_ctx, exit));
	else
		put_exit32((uint8_t *)PROG_EXIT);
	ctx->far.off = (uint32_t)p->at;
	ctx->far.sel = CODE32;
}

void host_run_prog(const struct prog *p, struct truth_state *s, struct truth_result *r)
{
	go(p->bits == 64 ? p->at : (uintptr_t)truth_far, s, r);
	s->rip = r->vector < 0 ? PROG_EXIT : ctx->fault_rip;
}
