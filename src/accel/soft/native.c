/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that run as themselves on the host: x87, MMX, SSE, AVX and BMI. A handler here
 * checks that the instruction may run now (fpu_require), finds the memory operand (in guest RAM
 * itself, or a copy in the bounce buffer), and calls the thunk.
 *
 * bind_native() puts what the handlers need into fields of struct insn that have no use any more
 * behind the decoder: pad[0] enum fpu_need, pad[1] alignment - 1 of the memory operand, opsize its
 * size, imm2 the is4 register; of x87 operations cc and vvvv are FOP.
 * Sources: Intel SDM vol. 2; AMD APM vol. 4 and 5. vCPU thread only.
 */
#include "accel/soft/fpu.h"
#include "accel/soft/exec.h"
#include "accel/soft/native.h"
#include "accel/soft/soft_vm.h"
#include "accel/soft/decode/decode.h"

#define NEED(in)  ((in)->pad[0])
#define ALIGN(in) ((in)->pad[1])

enum { REG_VEC, REG_GPR };

static inline void *vec_of(struct soft_cpu *c, unsigned n)
{
	return c->s.vec[n];
}

static inline void *gpr_of(struct soft_cpu *c, unsigned off)
{
	return (char *)c->r + off;
}

/* ---- memory operands ---- */

struct native_mem {
	uint64_t lin;
	void *host; /* the page itself, or the bounce buffer */
	bool bounced;
};

/* Where to read the operand. */
static inline void *mem_source(struct soft_cpu *c, const struct insn *in)
{
	unsigned size = in->opsize;
	uint64_t lin = native_linear(c, in, size, false);
	const struct tlb_entry *t = &c->tlb->e[TLB_READ][(lin >> 12) & (TLB_SIZE - 1)];

	native_check_align(c, lin, ALIGN(in));
	if (likely(t->tag == ((lin + size - 1) & ~0xfffull)))
		return (void *)(uintptr_t)(lin + t->addend);
	void *p = mmu_ptr(c, lin, size, false);

	if (p)
		return p;
	p = c->fpu->bounce + (lin & 15);
	mmu_read(c, lin, p, size);
	return p;
}

/* Where to write it; native_written() afterwards. keep: the operation may leave it as it is. */
static inline struct native_mem mem_target(struct soft_cpu *c, const struct insn *in, bool keep)
{
	unsigned size = in->opsize;
	struct native_mem m = {.lin = native_linear(c, in, size, true)};

	native_check_align(c, m.lin, ALIGN(in));
	m.host = mmu_ptr(c, m.lin, size, true);
	if (likely(m.host))
		return m;
	mmu_probe_write(c, m.lin, size);
	m.bounced = true;
	m.host = c->fpu->bounce + (m.lin & 15);
	if (keep)
		mmu_read(c, m.lin, m.host, size);
	return m;
}

static inline void mem_written(struct soft_cpu *c, const struct insn *in,
			       const struct native_mem *m)
{
	if (unlikely(m->bounced))
		mmu_write(c, m->lin, m->host, in->opsize);
	else
		mmu_wrote(c, m->lin, in->opsize);
}

/* ---- handlers: registers and memory of all combinations ---- */

CALLS_MADE_CODE static inline void run_thunk(struct soft_cpu *c, const struct insn *in, void *reg,
					     void *rm, void *vvvv)
{
	((thunk_fn)in->native)(reg, rm, vvvv, vec_of(c, in->imm2), c);
}

#define RUN(reg, rm, vvvv) run_thunk(c, in, reg, rm, vvvv)

#define NATIVE(name, reg_, rm_, vvvv_)                                                    \
	HANDLER_ATTR static const struct insn *name(struct soft_cpu *c, const struct insn *in)          \
	{                                                                                  \
		fpu_require(c, NEED(in));                                                  \
		RUN(reg_, rm_, vvvv_);                                                     \
		NEXT();                                                             \
	}
#define NATIVE_STORE(name, reg_, vvvv_, mmx)                                               \
	HANDLER_ATTR static const struct insn *name(struct soft_cpu *c, const struct insn *in)          \
	{                                                                                  \
		fpu_require(c, NEED(in));                                                  \
		if (mmx)                                                                   \
			native_check_mf(c);                                                \
		struct native_mem m = mem_target(c, in, false);                            \
		RUN(reg_, m.host, vvvv_);                                                  \
		mem_written(c, in, &m);                                                    \
		NEXT();                                                             \
	}

#define V_REG  vec_of(c, in->reg_n)
#define V_RM   vec_of(c, in->rm_n)
#define V_VVVV vec_of(c, in->vvvv)
#define G_REG  gpr_of(c, in->reg)
#define G_RM   gpr_of(c, in->rm)
#define G_VVVV gpr_of(c, R_OFF(in->vvvv))

NATIVE(run_v_v, V_REG, V_RM, V_VVVV)
NATIVE(run_v_g, V_REG, G_RM, V_VVVV)
NATIVE(run_g_v, G_REG, V_RM, V_VVVV)
NATIVE(run_g_g, G_REG, G_RM, G_VVVV)
NATIVE(run_v_m, V_REG, mem_source(c, in), V_VVVV)
NATIVE(run_mm_m, V_REG, (native_check_mf(c), mem_source(c, in)), NULL)
NATIVE(run_g_m, G_REG, mem_source(c, in), G_VVVV)
NATIVE_STORE(run_v_s, V_REG, V_VVVV, false)
NATIVE_STORE(run_mm_s, V_REG, NULL, true)
NATIVE_STORE(run_g_s, G_REG, G_VVVV, false)

/* ---- x87 ---- */

static void note_x87(struct soft_cpu *c, const struct insn *in)
{
	c->s.fop = (uint16_t)(in->cc << 8 | in->vvvv);
	c->s.fip = cpu_cur_rip(c);
	c->s.fcs = c->s.seg[SEG_CS].sel;
}

static void note_x87_data(struct soft_cpu *c, const struct insn *in)
{
	c->s.fdp = native_ea(c, in);
	c->s.fds = c->s.seg[in->seg == SEG_NONE ? SEG_DS : in->seg].sel;
}

HANDLER_ATTR static const struct insn *run_x87_reg(struct soft_cpu *c, const struct insn *in)
{
	fpu_require(c, FPN_X87);
	RUN(NULL, NULL, NULL);
	note_x87(c, in);
	NEXT();
}

HANDLER_ATTR static const struct insn *run_x87_load(struct soft_cpu *c, const struct insn *in)
{
	fpu_require(c, FPN_X87);
	native_check_mf(c);
	RUN(NULL, mem_source(c, in), NULL);
	note_x87(c, in);
	note_x87_data(c, in);
	NEXT();
}

/* With an unmasked exception the store does not happen. */
HANDLER_ATTR static const struct insn *run_x87_store(struct soft_cpu *c, const struct insn *in)
{
	fpu_require(c, FPN_X87);
	native_check_mf(c);
	struct native_mem m = mem_target(c, in, true);

	RUN(NULL, m.host, NULL);
	mem_written(c, in, &m);
	note_x87(c, in);
	note_x87_data(c, in);
	NEXT();
}

/* Control instructions leave the pointers alone. */
HANDLER_ATTR static const struct insn *run_x87_ctl(struct soft_cpu *c, const struct insn *in)
{
	fpu_require(c, FPN_X87);
	RUN(NULL, NULL, NULL);
	NEXT();
}

HANDLER_ATTR static const struct insn *run_x87_ctl_load(struct soft_cpu *c, const struct insn *in)
{
	fpu_require(c, FPN_X87);
	native_check_mf(c);
	RUN(NULL, mem_source(c, in), NULL);
	NEXT();
}

HANDLER_ATTR static const struct insn *run_x87_ctl_store(struct soft_cpu *c, const struct insn *in)
{
	fpu_require(c, FPN_X87);
	struct native_mem m = mem_target(c, in, false);

	RUN(NULL, m.host, NULL);
	mem_written(c, in, &m);
	NEXT();
}

HANDLER_ATTR static const struct insn *run_fninit(struct soft_cpu *c, const struct insn *in)
{
	fpu_require(c, FPN_X87);
	RUN(NULL, NULL, NULL);
	c->s.fop = c->s.fcs = c->s.fds = 0;
	c->s.fip = c->s.fdp = 0;
	NEXT();
}

HANDLER_ATTR static const struct insn *run_fwait(struct soft_cpu *c, const struct insn *in)
{
	fpu_require(c, FPN_WAIT);
	RUN(NULL, NULL, NULL);
	NEXT();
}

/* The 287's and 8087's: nothing today. */
HANDLER_ATTR static const struct insn *run_x87_nop(struct soft_cpu *c, const struct insn *in)
{
	fpu_require(c, FPN_X87);
	NEXT();
}

/* The low 11 bits of the opcode, without prefixes. */
static void set_fop(struct insn *in, const uint8_t *bytes)
{
	while ((*bytes & 0xf8) != 0xd8 && *bytes != 0x9b)
		bytes++;
	in->cc = bytes[0] & 7;
	in->vvvv = bytes[1];
}

static insn_fn bind_x87(struct insn *in)
{
	bool mem = in->flags & INSN_MEM;

	switch (op_descs[in->op].mn) {
	case MN_FNINIT:
		return run_fninit;
	case MN_FWAIT:
		return run_fwait;
	case MN_FNENI:
	case MN_FNDISI:
	case MN_FNSETPM:
		return run_x87_nop;
	case MN_FNCLEX:
		return run_x87_ctl;
	case MN_FLDCW:
		return run_x87_ctl_load;
	case MN_FNSTCW:
	case MN_FNSTSW:
		return mem ? run_x87_ctl_store : run_x87_ctl;
	default:
		break;
	}
	if (!mem)
		return run_x87_reg;
	return op_descs[in->op].operand[0].rw & 2 && op_descs[in->op].operand[0].kind == OPK_M ?
		       run_x87_store : run_x87_load;
}

/* ---- binding ---- */

struct shape {
	bool reg_gpr, rm_gpr, gpr; /* gpr: any at all */
	bool mmx, vec;
	bool store;
	bool has_rm;
};

static struct shape shape_of(const struct op_desc *d)
{
	struct shape s = {false};

	for (unsigned i = 0; i < d->nr_operands; i++) {
		const struct op_operand *o = &d->operand[i];

		switch (o->kind) {
		case OPK_REG:
			s.reg_gpr = true;
			break;
		case OPK_R:
		case OPK_RM:
			s.rm_gpr = true;
			s.store |= o->rw & 2;
			break;
		case OPK_M:
			s.store |= o->rw & 2;
			break;
		case OPK_P:
		case OPK_N:
			s.mmx = true;
			break;
		case OPK_Q:
			s.mmx = true;
			s.store |= o->rw & 2;
			break;
		case OPK_W:
			s.vec = true;
			s.store |= o->rw & 2;
			break;
		case OPK_V:
		case OPK_U:
		case OPK_H:
			s.vec = true;
			break;
		default:
			break;
		}
	}
	return s;
}

static enum fpu_need need_of(const struct insn *in, const struct shape *s)
{
	const struct op_desc *d = &op_descs[in->op];
	bool mx = d->attr & OPA_MXCSR;

	if (s->mmx)
		return s->vec ? FPN_SSE_MM : FPN_MMX;
	if (d->cls == OPC_BMI || !s->vec)
		return in->flags & INSN_VEX ? FPN_BMI : FPN_NONE;
	if (in->flags & INSN_VEX)
		return mx ? FPN_AVX_MX : FPN_AVX;
	return mx ? FPN_SSE_MX : FPN_SSE;
}

static insn_fn bind_vector(const struct insn *in, const struct shape *s)
{
	bool reg_gpr = s->reg_gpr || (in->flags & INSN_VEX && op_descs[in->op].cls == OPC_BMI);

	if (in->flags & INSN_MEM) {
		/* CVTPI2PS and CVTPI2PD from memory have nothing to do with x87 */
		if (s->mmx && !(s->vec && op_descs[in->op].operand[0].kind == OPK_V))
			return s->store ? run_mm_s : run_mm_m;
		if (s->store)
			return reg_gpr ? run_g_s : run_v_s;
		return reg_gpr ? run_g_m : run_v_m;
	}
	if (s->rm_gpr)
		return reg_gpr ? run_g_g : run_v_g;
	return reg_gpr ? run_g_v : run_v_v;
}

/* The SHA instructions are the only ones where AMD's processors take what Intel's do not. */
static bool must_align(const struct soft_cpu *c, const struct op_desc *d)
{
	return (d->attr & OPA_ALIGN) && !(d->feature == X86F_SHA && cpu_is_amd(c));
}

insn_fn bind_native(struct soft_cpu *c, struct insn *in, const uint8_t *bytes)
{
	const struct op_desc *d = &op_descs[in->op];
	struct shape s = shape_of(d);
	insn_fn special;

	if (d->cls == OPC_EVEX)
		return bind_evex(c, in, bytes);
	if (d->cls < OPC_X87 || d->cls > OPC_BMI)
		return NULL;
	if (d->mn == MN_FNSTENV || d->mn == MN_FLDENV || d->mn == MN_FNSAVE || d->mn == MN_FRSTOR)
		return bind_fpstate(c, in);
	if (d->feature && !cpu_has(c, d->feature))
		return exec_ud;
	in->imm2 = (uint8_t)(in->imm >> 4 & (c->code_bits == 64 ? 15 : 7));
	NEED(in) = (uint8_t)need_of(in, &s);
	special = bind_masked(c, in, bytes);
	if (special)
		return special;
	in->opsize = (uint8_t)insn_mem_size(in);
	ALIGN(in) = must_align(c, d) ? (uint8_t)(in->opsize - 1) : 0;
	in->native = (void *)thunk_get(c->fpu->thunks, in, bytes, c->code_bits);
	if (!in->native)
		return exec_ud;
	if (d->cls == OPC_X87) {
		set_fop(in, bytes);
		return bind_x87(in);
	}
	return bind_vector(in, &s);
}
