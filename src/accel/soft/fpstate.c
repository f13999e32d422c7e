/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving and loading floating-point state: FNSTENV and FLDENV, FNSAVE and FRSTOR in all layouts,
 * FXSAVE and FXRSTOR, LDMXCSR and STMXCSR, EMMS, and the XSAVE family in the standard and the
 * compacted format. Intel SDM vol. 1 8.1.10, 10.5, chapter 13; AMD APM vol. 2 11.4.4 (FFXSR).
 *
 * The environment instructions run on the host too, on a 32-bit protected-mode image, so that the
 * status word's summary bit and the tags come out as they should; only the pointers are replaced.
 * Everything is checked and memory probed before state changes. vCPU thread only.
 */
#include "accel/soft/fpu.h"
#include "base/bytes.h"
#include "accel/soft/exec.h"
#include "accel/soft/native.h"
#include "accel/soft/soft_vm.h"
#include "isa/x86/cpuid.h"

#define XCOMP_COMPACT BIT64(63)
#define XS_X87	      1u
#define XS_SSE	      2u
#define XS_AVX	      4u
#define XS_AVX512     0xe0u
#define XS_LEGACY     7u /* AVX too, of which MXCSR is a part in the standard format */
#define XS_ALL	      (7u | XS_AVX512)
#define XS_HEADER     512
#define XS_EXTENDED   576 /* where the components behind the legacy region begin */

/* ---- x87 environment ---- */

/* Offsets in the 32-bit protected-mode environment */
enum { ENV_FCW = 0, ENV_FSW = 4, ENV_FTW = 8, ENV_FIP = 12, ENV_FCS = 16, ENV_FDP = 20,
       ENV_FDS = 24, ENV_SIZE = 28, SAVE_SIZE = ENV_SIZE + 80 };

static bool real_layout(const struct soft_cpu *c)
{
	return !(c->s.cr0 & CR0_PE) || (c->rflags & FLAG_VM);
}

/* From the host's environment to the guest's in the layout of opsize; returns its size. */
static unsigned env_to_guest(const struct soft_cpu *c, const uint8_t *env, uint8_t *to, bool wide)
{
	uint64_t fip = c->s.fip, fdp = c->s.fdp;
	uint16_t fop = c->s.fop & 0x7ff;

	if (wide) {
		memcpy(to, env, ENV_FIP);
		st_le32(to + ENV_FIP, (uint32_t)fip);
		st_le32(to + ENV_FCS, c->s.fcs | (uint32_t)fop << 16);
		st_le32(to + ENV_FDP, (uint32_t)fdp);
		st_le32(to + ENV_FDS, c->s.fds | 0xffff0000u);
		if (!real_layout(c))
			return ENV_SIZE;
		fip += (uint64_t)c->s.fcs << 4;
		fdp += (uint64_t)c->s.fds << 4;
		st_le32(to + ENV_FIP, (uint32_t)(fip & 0xffff) | 0xffff0000u);
		st_le32(to + ENV_FCS, fop | (uint32_t)(fip >> 16 & 0xffff) << 12);
		st_le32(to + ENV_FDP, (uint32_t)(fdp & 0xffff) | 0xffff0000u);
		st_le32(to + ENV_FDS, (uint32_t)(fdp >> 16 & 0xffff) << 12);
		return ENV_SIZE;
	}
	for (unsigned i = 0; i < 3; i++)
		memcpy(to + 2 * i, env + 4 * i, 2);
	if (real_layout(c)) {
		fip += (uint64_t)c->s.fcs << 4;
		fdp += (uint64_t)c->s.fds << 4;
		st_le16(to + 8, (uint16_t)(fop | (fip >> 16 & 15) << 12));
		st_le16(to + 12, (uint16_t)((fdp >> 16 & 15) << 12));
	} else {
		st_le16(to + 8, c->s.fcs);
		st_le16(to + 12, c->s.fds);
	}
	st_le16(to + 6, (uint16_t)fip);
	st_le16(to + 10, (uint16_t)fdp);
	return 14;
}

static void env_from_guest(struct soft_cpu *c, const uint8_t *from, uint8_t *env, bool wide)
{
	bool real = real_layout(c);

	memset(env, 0, ENV_SIZE);
	for (unsigned i = 0; i < 3; i++)
		memcpy(env + 4 * i, from + (wide ? 4 : 2) * i, 2);
	c->s.fop = c->s.fcs = c->s.fds = 0;
	if (wide && real) {
		c->s.fip = ld_le16(from + ENV_FIP) | (ld_le32(from + ENV_FCS) >> 12 & 0xffff) << 16;
		c->s.fdp = ld_le16(from + ENV_FDP) | (ld_le32(from + ENV_FDS) >> 12 & 0xffff) << 16;
		c->s.fop = ld_le16(from + ENV_FCS) & 0x7ff;
	} else if (wide) {
		c->s.fip = ld_le32(from + ENV_FIP);
		c->s.fcs = ld_le16(from + ENV_FCS);
		c->s.fop = ld_le16(from + ENV_FCS + 2) & 0x7ff;
		c->s.fdp = ld_le32(from + ENV_FDP);
		c->s.fds = ld_le16(from + ENV_FDS);
	} else if (real) {
		c->s.fip = ld_le16(from + 6) | (uint32_t)(ld_le16(from + 8) >> 12) << 16;
		c->s.fdp = ld_le16(from + 10) | (uint32_t)(ld_le16(from + 12) >> 12) << 16;
		c->s.fop = ld_le16(from + 8) & 0x7ff;
	} else {
		c->s.fip = ld_le16(from + 6);
		c->s.fcs = ld_le16(from + 8);
		c->s.fdp = ld_le16(from + 10);
		c->s.fds = ld_le16(from + 12);
	}
}

HANDLER_ATTR static const struct insn *fnstenv(struct soft_cpu *c, const struct insn *in)
{
	bool wide = in->opsize != 2;
	uint8_t env[ENV_SIZE], out[ENV_SIZE];

	fpu_require(c, FPN_X87);
	unsigned size = wide ? ENV_SIZE : 14;
	uint64_t lin = native_linear(c, in, size, true);

	mmu_probe_write(c, lin, size);
	__asm__ volatile("fnstenv %0" : "=m"(env));
	env_to_guest(c, env, out, wide);
	mmu_write(c, lin, out, size);
	return in + 1;
}

HANDLER_ATTR static const struct insn *fldenv(struct soft_cpu *c, const struct insn *in)
{
	bool wide = in->opsize != 2;
	uint8_t env[ENV_SIZE], from[ENV_SIZE];

	fpu_require(c, FPN_X87);
	native_check_mf(c);
	unsigned size = wide ? ENV_SIZE : 14;

	mmu_read(c, native_linear(c, in, size, false), from, size);
	env_from_guest(c, from, env, wide);
	__asm__ volatile("fldenv %0" : : "m"(env));
	return in + 1;
}

HANDLER_ATTR static const struct insn *fnsave(struct soft_cpu *c, const struct insn *in)
{
	bool wide = in->opsize != 2;
	uint8_t image[SAVE_SIZE], out[SAVE_SIZE];

	fpu_require(c, FPN_X87);
	unsigned env = wide ? ENV_SIZE : 14, size = env + 80;
	uint64_t lin = native_linear(c, in, size, true);

	mmu_probe_write(c, lin, size);
	__asm__ volatile("fnsave %0" : "=m"(image));
	env_to_guest(c, image, out, wide);
	memcpy(out + env, image + ENV_SIZE, 80);
	mmu_write(c, lin, out, size);
	c->s.fop = c->s.fcs = c->s.fds = 0;
	c->s.fip = c->s.fdp = 0;
	return in + 1;
}

HANDLER_ATTR static const struct insn *frstor(struct soft_cpu *c, const struct insn *in)
{
	bool wide = in->opsize != 2;
	uint8_t image[SAVE_SIZE], from[SAVE_SIZE];

	fpu_require(c, FPN_X87);
	native_check_mf(c);
	unsigned env = wide ? ENV_SIZE : 14, size = env + 80;

	mmu_read(c, native_linear(c, in, size, false), from, size);
	env_from_guest(c, from, image, wide);
	memcpy(image + ENV_SIZE, from + env, 80);
	__asm__ volatile("frstor %0" : : "m"(image));
	return in + 1;
}

HANDLER_ATTR static const struct insn *emms(struct soft_cpu *c, const struct insn *in)
{
	fpu_require(c, FPN_MMX);
	native_check_mf(c);
	__asm__ volatile("emms");
	return in + 1;
}

/* ---- MXCSR ---- */

static enum fpu_need mxcsr_need(const struct insn *in)
{
	return in->flags & INSN_VEX ? FPN_AVX : FPN_SSE;
}

HANDLER_ATTR static const struct insn *ldmxcsr(struct soft_cpu *c, const struct insn *in)
{
	fpu_require(c, mxcsr_need(in));
	uint32_t v = (uint32_t)mmu_ld(c, native_linear(c, in, 4, false), 4);

	if (v & ~MXCSR_MASK)
		cpu_raise_err(c, X86_GP, 0);
	fpu_host(c);
	c->s.mxcsr = v;
	return in + 1;
}

HANDLER_ATTR static const struct insn *stmxcsr(struct soft_cpu *c, const struct insn *in)
{
	fpu_require(c, mxcsr_need(in));
	fpu_host(c);
	mmu_st(c, native_linear(c, in, 4, true), c->s.mxcsr, 4);
	return in + 1;
}

/* ---- FXSAVE image ---- */

static unsigned nr_xmm(const struct soft_cpu *c)
{
	return c->code_bits == 64 ? 16 : 8;
}

/* x87 part: bytes 0..23 and 32..159. */
static void x87_to_image(const struct soft_cpu *c, uint8_t *im, bool w)
{
	memset(im, 0, 24);
	st_le16(im, c->s.fcw);
	st_le16(im + 2, c->s.fsw);
	im[4] = c->s.ftw;
	st_le16(im + 6, c->s.fop & 0x7ff);
	if (w) {
		st_le64(im + 8, c->s.fip);
		st_le64(im + 16, c->s.fdp);
	} else {
		st_le32(im + 8, (uint32_t)c->s.fip);
		st_le16(im + 12, c->s.fcs);
		st_le32(im + 16, (uint32_t)c->s.fdp);
		st_le16(im + 20, c->s.fds);
	}
	memcpy(im + 32, c->s.st, sizeof(c->s.st));
}

/* Pointers hold linear addresses as wide as the processor's. */
static uint64_t canonical(const struct soft_cpu *c, uint64_t v)
{
	unsigned unused = cpu_has(c, X86F_LA57) ? 64 - 57 : 64 - 48;

	return (uint64_t)((int64_t)(v << unused) >> unused);
}

static void x87_from_image(struct soft_cpu *c, const uint8_t *im, bool w)
{
	c->s.fcw = (ld_le16(im) & 0x1f7f) | 0x40;
	c->s.fsw = ld_le16(im + 2) & 0x7f7f; /* ES and B follow from the rest */
	if (c->s.fsw & ~c->s.fcw & 0x3f)
		c->s.fsw |= 0x8080;
	c->s.ftw = im[4];
	c->s.fop = ld_le16(im + 6) & 0x7ff;
	c->s.fip = w ? canonical(c, ld_le64(im + 8)) : ld_le32(im + 8);
	c->s.fdp = w ? canonical(c, ld_le64(im + 16)) : ld_le32(im + 16);
	c->s.fcs = w ? 0 : ld_le16(im + 12);
	c->s.fds = w ? 0 : ld_le16(im + 20);
	for (unsigned i = 0; i < 8; i++) {
		memcpy(c->s.st[i], im + 32 + 16 * i, 10);
		memset(c->s.st[i] + 10, 0, 6);
	}
}

static void x87_init(struct soft_cpu *c)
{
	c->s.fcw = 0x37f;
	c->s.fsw = c->s.fop = c->s.fcs = c->s.fds = 0;
	c->s.ftw = 0;
	c->s.fip = c->s.fdp = 0;
	memset(c->s.st, 0, sizeof(c->s.st));
}

/* Here, unlike with vector operands, an address that is not canonical comes before alignment. */
static void fx_check(struct soft_cpu *c, uint64_t lin)
{
	if (!mmu_canonical(c, lin))
		mmu_probe_write(c, lin, 1);
	native_check_align(c, lin, 15);
}

/* AMD's fast FXSAVE leaves out the XMM registers. */
static bool fast_fx(const struct soft_cpu *c)
{
	return (c->s.efer & EFER_FFXSR) && c->cpl == 0 && c->code_bits == 64;
}

HANDLER_ATTR static const struct insn *fxsave(struct soft_cpu *c, const struct insn *in)
{
	uint8_t im[FXSAVE_SIZE];
	unsigned n = fast_fx(c) ? 0 : nr_xmm(c), size = 160 + 16 * n;

	fpu_require(c, FPN_FXSAVE);
	uint64_t lin = native_linear(c, in, FXSAVE_SIZE, true);

	fx_check(c, lin);
	fpu_spill(c);
	x87_to_image(c, im, in->flags & INSN_W);
	st_le32(im + 24, c->s.mxcsr);
	st_le32(im + 28, MXCSR_MASK);
	for (unsigned i = 0; i < n; i++)
		memcpy(im + 160 + 16 * i, c->s.vec[i], 16);
	mmu_probe_write(c, lin, FXSAVE_SIZE);
	mmu_write(c, lin, im, size);
	return in + 1;
}

HANDLER_ATTR static const struct insn *fxrstor(struct soft_cpu *c, const struct insn *in)
{
	uint8_t im[FXSAVE_SIZE];
	unsigned n = fast_fx(c) ? 0 : nr_xmm(c);

	fpu_require(c, FPN_FXSAVE);
	uint64_t lin = native_linear(c, in, FXSAVE_SIZE, false);

	fx_check(c, lin);
	mmu_read(c, lin, im, FXSAVE_SIZE);
	if (ld_le32(im + 24) & ~MXCSR_MASK)
		cpu_raise_err(c, X86_GP, 0);
	fpu_spill(c);
	x87_from_image(c, im, in->flags & INSN_W);
	c->s.mxcsr = ld_le32(im + 24);
	for (unsigned i = 0; i < n; i++)
		memcpy(c->s.vec[i], im + 160 + 16 * i, 16);
	return in + 1;
}

/* ---- XSAVE ---- */

static bool all_zero(const uint8_t *p, size_t n)
{
	uint64_t any = 0;

	for (size_t i = 0; i < n; i += 8)
		any |= ld_le64(p + i);
	return !any;
}

static unsigned avx512_in_use(const struct soft_cpu *c)
{
	unsigned use = all_zero((const uint8_t *)c->s.k, sizeof(c->s.k)) ? 0 : BIT32(5);

	for (unsigned i = 0; i < nr_xmm(c); i++)
		if (!all_zero(c->s.vec[i] + 32, 32))
			use |= BIT32(6);
	if (c->code_bits == 64 && !all_zero(c->s.vec[16], 16 * 64))
		use |= BIT32(7);
	return use;
}

/* Of the components: those not in their initial configuration. s must be up to date. */
static unsigned in_use(const struct soft_cpu *c)
{
	unsigned use = 0, n = nr_xmm(c);

	if (c->s.fcw != 0x37f || c->s.fsw || c->s.ftw || c->s.fop || c->s.fip || c->s.fdp ||
	    c->s.fcs || c->s.fds || !all_zero(c->s.st[0], sizeof(c->s.st)))
		use |= XS_X87;
	for (unsigned i = 0; i < n; i++) {
		if (!all_zero(c->s.vec[i], 16))
			use |= XS_SSE;
		if (!all_zero(c->s.vec[i] + 16, 16))
			use |= XS_AVX;
	}
	if (c->s.xcr0 & XS_AVX512)
		use |= avx512_in_use(c);
	return use;
}

uint64_t fpu_xinuse(struct soft_cpu *c)
{
	fpu_spill(c);
	return in_use(c) | (c->s.mxcsr != MXCSR_INIT ? XS_SSE : 0);
}

/* Stores to an area: all of it is probed in a first round. */
struct xs_store {
	struct soft_cpu *c;
	uint64_t lin;
	bool commit;
};

static void xs_put(const struct xs_store *x, unsigned off, const void *from, unsigned n)
{
	if (x->commit)
		mmu_write(x->c, x->lin + off, from, n);
	else
		mmu_probe_write(x->c, x->lin + off, n);
}

/* The extended components, and in a buffer for all of them where each is. */
static const struct {
	uint8_t nr;
	uint16_t at, size;
} xs_parts[] = { { 2, 0, 256 }, { 5, 256, 64 }, { 6, 320, 512 }, { 7, 832, 1024 } };
#define XS_PARTS_SIZE 1856

/* Outside 64-bit mode there are eight registers, and the last sixteen are left alone. */
static unsigned xs_part_size(const struct soft_cpu *c, unsigned i)
{
	if (c->code_bits == 64 || xs_parts[i].nr == 5)
		return xs_parts[i].size;
	return xs_parts[i].nr == 7 ? 0 : xs_parts[i].size / 2;
}

/* Registers to the image of a component; or, load, back. Masks are the same in both. */
static void xs_move(struct soft_cpu *c, unsigned i, uint8_t *im, bool load)
{
	unsigned nr = xs_parts[i].nr, len = nr == 2 ? 16 : nr == 6 ? 32 : 64;
	unsigned first = nr == 7 ? 16 : 0, off = nr == 7 ? 0 : len, size = xs_part_size(c, i);

	if (nr == 5) {
		memcpy(load ? (void *)c->s.k : im, load ? (void *)im : c->s.k, size);
		return;
	}
	for (unsigned at = 0; at < size; at += len) {
		uint8_t *reg = c->s.vec[first + at / len] + off;

		memcpy(load ? reg : im + at, load ? im + at : reg, len);
	}
}

/* Where a component is in the area: comp is XCOMP_BV, 0 in the standard format. */
static unsigned xs_offset(const struct soft_cpu *c, unsigned nr, uint64_t comp)
{
	struct x86_xsave_part part;
	unsigned off = XS_EXTENDED;

	if (!comp)
		return x86_model_xsave(c->vm->model, nr, &part) ? part.offset : off;
	for (unsigned n = 2; n <= nr; n++) {
		if (!(comp >> n & 1) || !x86_model_xsave(c->vm->model, n, &part))
			continue;
		if (part.flags & 2)
			off = (off + 63) & ~63u;
		off += n < nr ? part.size : 0;
	}
	return off;
}

static void xs_put_components(const struct xs_store *x, unsigned set, uint64_t comp, bool mxcsr, bool w)
{
	struct soft_cpu *c = x->c;
	uint8_t im[FXSAVE_SIZE], part[1024];
	unsigned n = nr_xmm(c);

	if (set & XS_X87) {
		x87_to_image(c, im, w);
		xs_put(x, 0, im, 24);
		xs_put(x, 32, im + 32, 128);
	}
	if (mxcsr) {
		st_le32(im, c->s.mxcsr);
		st_le32(im + 4, MXCSR_MASK);
		xs_put(x, 24, im, 8);
	}
	for (unsigned i = 0; i < n; i++)
		memcpy(im + 16 * i, c->s.vec[i], 16);
	if (set & XS_SSE)
		xs_put(x, 160, im, 16 * n);
	for (unsigned i = 0; i < ARRAY_SIZE(xs_parts); i++) {
		unsigned size = xs_part_size(c, i);

		if (!(set >> xs_parts[i].nr & 1) || !size)
			continue;
		xs_move(c, i, part, false);
		xs_put(x, xs_offset(c, xs_parts[i].nr, comp), part, size);
	}
}

static uint64_t requested(const struct soft_cpu *c)
{
	return (uint32_t)c->r[RAX] | c->r[RDX] << 32;
}

static unsigned wanted(const struct soft_cpu *c)
{
	return (unsigned)(requested(c) & c->s.xcr0 & XS_ALL);
}

/*
 * Where the area is. The header is accessed whatever is asked for, the legacy region too by AMD's
 * processors; Intel's access that if legacy.
 */
static uint64_t xs_area(struct soft_cpu *c, const struct insn *in, bool legacy, bool write)
{
	fpu_require(c, FPN_XSAVE);
	uint64_t lin = native_linear(c, in, XS_EXTENDED, write);
	unsigned from = legacy || cpu_is_amd(c) ? 0 : XS_HEADER;

	native_check_align(c, lin, 63);
	if (write)
		mmu_probe_write(c, lin + from, XS_EXTENDED - from);
	else
		mmu_probe(c, lin + from, XS_EXTENDED - from, false);
	return lin;
}

/* What is not saved, being in its initial configuration, Intel's processors look at for faults. */
static unsigned xs_touched(const struct xs_store *x, unsigned set, unsigned rfbm)
{
	return x->commit || cpu_is_amd(x->c) ? set : rfbm;
}

/* XSAVE, and XSAVEOPT, which leaves out what is in its initial configuration. */
static const struct insn *xsave_standard(struct soft_cpu *c, const struct insn *in, bool opt)
{
	unsigned rfbm = wanted(c), use, set;
	struct xs_store x = {c, xs_area(c, in, rfbm & XS_LEGACY, true), false};
	uint64_t bv = mmu_ld_slow(c, x.lin + XS_HEADER, 8);

	fpu_spill(c);
	use = in_use(c);
	set = opt ? rfbm & use : rfbm;
	bv = (bv & ~(uint64_t)rfbm) | (rfbm & use);
	for (; ; x.commit = true) {
		xs_put_components(&x, xs_touched(&x, set, rfbm), 0, rfbm & (XS_SSE | XS_AVX),
				  in->flags & INSN_W);
		xs_put(&x, XS_HEADER, &bv, 8);
		if (x.commit)
			break;
	}
	return in + 1;
}

HANDLER_ATTR static const struct insn *xsave(struct soft_cpu *c, const struct insn *in)
{
	return xsave_standard(c, in, false);
}

HANDLER_ATTR static const struct insn *xsaveopt(struct soft_cpu *c, const struct insn *in)
{
	return xsave_standard(c, in, true);
}

/* XSAVEC and XSAVES, which are the same: there are no supervisor components here. */
HANDLER_ATTR static const struct insn *xsave_compact(struct soft_cpu *c, const struct insn *in)
{
	unsigned rfbm = wanted(c), set;
	struct xs_store x = {c, xs_area(c, in, rfbm & (XS_X87 | XS_SSE), true), false};
	uint64_t header[2];

	set = rfbm & (unsigned)fpu_xinuse(c);
	header[0] = set;
	header[1] = XCOMP_COMPACT | rfbm;
	for (; ; x.commit = true) {
		xs_put_components(&x, xs_touched(&x, set, rfbm), header[1], set & XS_SSE,
				  in->flags & INSN_W);
		xs_put(&x, XS_HEADER, header, sizeof(header));
		if (x.commit)
			break;
	}
	return in + 1;
}

HANDLER_ATTR static const struct insn *xsaves(struct soft_cpu *c, const struct insn *in)
{
	if (c->cpl != 0)
		cpu_raise_err(c, X86_GP, 0);
	return xsave_compact(c, in);
}

struct xs_header {
	uint64_t bv, comp;
	bool compact;
};

/* Reads and checks the header, which tells of the legacy region whether rfbm needs it. */
static struct xs_header xs_header(struct soft_cpu *c, uint64_t lin, unsigned rfbm,
				  bool need_compact)
{
	uint8_t b[64];
	struct xs_header h;
	bool bad;

	mmu_read(c, lin + XS_HEADER, b, sizeof(b));
	h.bv = ld_le64(b);
	h.comp = ld_le64(b + 8);
	h.compact = h.comp & XCOMP_COMPACT;
	if (h.compact) {
		bad = ((h.comp & ~XCOMP_COMPACT) & ~c->s.xcr0) || (h.bv & ~h.comp) ||
		      (h.bv & XCOMP_COMPACT) || !all_zero(b + 16, 48) ||
		      !cpu_has(c, X86F_XSAVEC);
	} else {
		bad = need_compact || (h.bv & ~c->s.xcr0) || !all_zero(b + 8, 16);
	}
	if (h.compact ? rfbm & h.comp & (XS_X87 | XS_SSE) : rfbm & XS_LEGACY)
		mmu_probe(c, lin, XS_HEADER, false);
	if (bad)
		cpu_raise_err(c, X86_GP, 0);
	return h;
}

static void xs_load(struct soft_cpu *c, const uint8_t *im, unsigned rfbm, unsigned bv, bool w)
{
	unsigned n = nr_xmm(c);

	if (rfbm & bv & XS_X87)
		x87_from_image(c, im, w);
	else if (rfbm & XS_X87)
		x87_init(c);
	for (unsigned i = 0; i < n; i++) {
		if (rfbm & bv & XS_SSE)
			memcpy(c->s.vec[i], im + 160 + 16 * i, 16);
		else if (rfbm & XS_SSE)
			memset(c->s.vec[i], 0, 16);
	}
}

/* parts: as xs_parts[] says, zeros for what is in its initial configuration. */
static void xs_load_parts(struct soft_cpu *c, uint8_t *parts, unsigned rfbm)
{
	for (unsigned i = 0; i < ARRAY_SIZE(xs_parts); i++)
		if (rfbm >> xs_parts[i].nr & 1)
			xs_move(c, i, parts + xs_parts[i].at, true);
}

static void xs_read_parts(struct soft_cpu *c, uint64_t lin, uint8_t *parts, unsigned got, uint64_t comp)
{
	memset(parts, 0, XS_PARTS_SIZE);
	for (unsigned i = 0; i < ARRAY_SIZE(xs_parts); i++) {
		unsigned nr = xs_parts[i].nr, size = xs_part_size(c, i);

		if ((got >> nr & 1) && size)
			mmu_read(c, lin + xs_offset(c, nr, comp), parts + xs_parts[i].at, size);
	}
}

static const struct insn *xrstor_common(struct soft_cpu *c, const struct insn *in, bool compact)
{
	uint64_t lin = xs_area(c, in, false, false);
	unsigned rfbm = wanted(c);
	struct xs_header h = xs_header(c, lin, rfbm, compact);
	unsigned bv = (unsigned)h.bv & XS_ALL, got = rfbm & bv;
	uint8_t im[XS_EXTENDED] = {0}, parts[XS_PARTS_SIZE];
	uint32_t mxcsr = MXCSR_INIT;
	bool set_mxcsr = h.compact ? rfbm & XS_SSE : rfbm & (XS_SSE | XS_AVX);

	if (got & XS_X87) {
		mmu_read(c, lin, im, 24);
		mmu_read(c, lin + 32, im + 32, 128);
	}
	if (got & XS_SSE)
		mmu_read(c, lin + 160, im + 160, 16 * nr_xmm(c));
	xs_read_parts(c, lin, parts, got, h.compact ? h.comp : 0);
	if (set_mxcsr && (!h.compact || (bv & XS_SSE)))
		mxcsr = (uint32_t)mmu_ld_slow(c, lin + 24, 4);
	if (mxcsr & ~MXCSR_MASK)
		cpu_raise_err(c, X86_GP, 0);
	fpu_spill(c);
	xs_load(c, im, rfbm, bv, in->flags & INSN_W);
	xs_load_parts(c, parts, rfbm);
	if (set_mxcsr)
		c->s.mxcsr = mxcsr;
	return in + 1;
}

HANDLER_ATTR static const struct insn *xrstor(struct soft_cpu *c, const struct insn *in)
{
	return xrstor_common(c, in, false);
}

HANDLER_ATTR static const struct insn *xrstors(struct soft_cpu *c, const struct insn *in)
{
	if (c->cpl != 0)
		cpu_raise_err(c, X86_GP, 0);
	return xrstor_common(c, in, true);
}

insn_fn bind_fpstate(struct soft_cpu *c, struct insn *in)
{
	static const struct {
		uint16_t mn;
		insn_fn fn;
	} fns[] = {
		{MN_FNSTENV, fnstenv}, {MN_FLDENV, fldenv}, {MN_FNSAVE, fnsave},
		{MN_FRSTOR, frstor}, {MN_EMMS, emms}, {MN_FXSAVE, fxsave}, {MN_FXRSTOR, fxrstor},
		{MN_LDMXCSR, ldmxcsr}, {MN_STMXCSR, stmxcsr}, {MN_VLDMXCSR, ldmxcsr},
		{MN_VSTMXCSR, stmxcsr}, {MN_XSAVE, xsave}, {MN_XSAVEOPT, xsaveopt},
		{MN_XSAVEC, xsave_compact}, {MN_XSAVES, xsaves}, {MN_XRSTOR, xrstor},
		{MN_XRSTORS, xrstors},
	};
	const struct op_desc *d = &op_descs[in->op];

	for (size_t i = 0; i < ARRAY_SIZE(fns); i++) {
		if (fns[i].mn == d->mn)
			return d->feature && !cpu_has(c, d->feature) ? exec_ud : fns[i].fn;
	}
	return NULL;
}
