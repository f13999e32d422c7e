/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vector operations whose memory accesses depend on a mask: VMASKMOV, VPMASKMOV, MASKMOVDQU,
 * MASKMOVQ and the AVX2 gathers; and VZEROALL, VZEROUPPER. Intel SDM vol. 2.
 *
 * A masked store faults for any of its elements before it writes one (MASKMOVDQU and MASKMOVQ for
 * any of the bytes, set in the mask or not). A gather that faults has done the elements before:
 * they are in the destination and their mask elements are clear, the rest is as it was - but that
 * Intel's processors make mask elements all ones or zeros first.
 * vCPU thread only.
 */
#include "accel/soft/fpu.h"
#include "base/bytes.h"
#include "accel/soft/exec.h"
#include "accel/soft/native.h"
#include "accel/soft/soft_vm.h"

#include "accel/soft/decode/decode.h"

static unsigned vector_size(const struct insn *in)
{
	return in->flags & INSN_VEXL ? 32 : 16;
}

static bool element_on(const uint8_t *mask, unsigned at, unsigned size)
{
	return mask[at + size - 1] & 0x80;
}

HANDLER_ATTR static const struct insn *mask_load(struct soft_cpu *c, const struct insn *in)
{
	unsigned vl = vector_size(in), size = in->opsize;
	const uint8_t *mask = c->s.vec[in->vvvv];
	uint8_t out[64] = {0};

	fpu_require(c, FPN_AVX);
	for (unsigned i = 0; i < vl; i += size) {
		if (element_on(mask, i, size))
			st_le(out + i, mmu_ld_slow(c, native_linear(c, in, vl, false) + i, size),
			      size);
	}
	memcpy(c->s.vec[in->reg_n], out, sizeof(out));
	NEXT();
}

HANDLER_ATTR static const struct insn *mask_store(struct soft_cpu *c, const struct insn *in)
{
	unsigned vl = vector_size(in), size = in->opsize;
	const uint8_t *mask = c->s.vec[in->vvvv], *data = c->s.vec[in->reg_n];

	fpu_require(c, FPN_AVX);
	for (int commit = 0; commit < 2; commit++) {
		for (unsigned i = 0; i < vl; i += size) {
			if (!element_on(mask, i, size))
				continue;
			uint64_t lin = native_linear(c, in, vl, true) + i;

			if (commit)
				mmu_st_slow(c, lin, ld_le(data + i, size), size);
			else
				mmu_probe_write(c, lin, size);
		}
	}
	NEXT();
}

/*
 * MASKMOVDQU and MASKMOVQ: the host stores into two buffers of different contents; where they
 * agree afterwards the mask was set.
 */
HANDLER_ATTR static const struct insn *mask_bytes(struct soft_cpu *c, const struct insn *in)
{
	uint8_t a[16], b[16];
	unsigned n = in->opsize;

	fpu_require(c, in->pad[0]);
	memset(a, 0, sizeof(a));
	memset(b, 0xff, sizeof(b));
	((thunk_fn)in->native)(c->s.vec[in->reg_n], c->s.vec[in->rm_n], a, NULL, c);
	((thunk_fn)in->native)(c->s.vec[in->reg_n], c->s.vec[in->rm_n], b, NULL, c);
	uint64_t lin = native_linear(c, in, n, true);

	mmu_probe_write(c, lin, n);
	for (unsigned i = 0; i < n; i++)
		if (a[i] == b[i])
			mmu_st_slow(c, lin + i, a[i], 1);
	NEXT();
}

/* opsize is the element's size, imm the index's. */
static uint64_t gather_linear(struct soft_cpu *c, const struct insn *in, unsigned i)
{
	const uint8_t *index = c->s.vec[in->vidx];
	uint64_t idx = in->imm == 4 ? (uint64_t)(int32_t)ld_le32(index + 4 * i)
				    : ld_le64(index + 8 * i);
	uint64_t ea = R64(c, in->base) + (uint64_t)(int64_t)in->disp + (idx << in->scale);

	if (in->flags & INSN_A32)
		ea = (uint32_t)ea;
	if (in->flags & INSN_SEGCK)
		return seg_linear(c, in->seg, ea, in->opsize, false);
	return ea + c->segbase[in->seg];
}

static void widen_mask(uint8_t *mask, unsigned vl, unsigned size)
{
	for (unsigned i = 0; i < vl; i += size)
		memset(mask + i, element_on(mask, i, size) ? 0xff : 0, size);
	memset(mask + vl, 0, 64 - vl);
}

HANDLER_ATTR static const struct insn *gather(struct soft_cpu *c, const struct insn *in)
{
	uint8_t *mask = c->s.vec[in->vvvv], *to = c->s.vec[in->reg_n];
	unsigned size = in->opsize, n = vector_size(in) / MAX(size, (unsigned)in->imm);

	fpu_require(c, FPN_AVX);
	if (!cpu_is_amd(c))
		widen_mask(mask, vector_size(in), size);
	for (unsigned i = 0; i < n; i++) {
		if (element_on(mask, i * size, size))
			st_le(to + i * size, mmu_ld_slow(c, gather_linear(c, in, i), size), size);
		memset(mask + i * size, 0, size);
	}
	memset(mask, 0, 64);
	memset(to + n * size, 0, 64 - n * size);
	NEXT();
}

HANDLER_ATTR static const struct insn *vzeroupper(struct soft_cpu *c, const struct insn *in)
{
	unsigned n = c->code_bits == 64 ? 16 : 8;

	fpu_require(c, FPN_AVX);
	for (unsigned i = 0; i < n; i++)
		memset(c->s.vec[i] + 16, 0, 48);
	NEXT();
}

HANDLER_ATTR static const struct insn *vzeroall(struct soft_cpu *c, const struct insn *in)
{
	unsigned n = c->code_bits == 64 ? 16 : 8;

	fpu_require(c, FPN_AVX);
	memset(c->s.vec, 0, 64 * n);
	NEXT();
}

insn_fn bind_masked(struct soft_cpu *c, struct insn *in, const uint8_t *bytes)
{
	bool w = in->flags & INSN_W;

	switch (op_descs[in->op].mn) {
	case MN_VPMASKMOVD:
	case MN_VPMASKMOVQ:
	case MN_VMASKMOVPS:
	case MN_VMASKMOVPD:
		in->opsize = op_descs[in->op].mn == MN_VPMASKMOVQ ||
			     op_descs[in->op].mn == MN_VMASKMOVPD ? 8 : 4;
		return op_descs[in->op].operand[0].kind == OPK_M ? mask_store : mask_load;
	case MN_VPGATHERDD:
	case MN_VPGATHERDQ:
	case MN_VGATHERDPS:
	case MN_VGATHERDPD:
		in->opsize = w ? 8 : 4;
		in->imm = 4;
		return gather;
	case MN_VPGATHERQD:
	case MN_VPGATHERQQ:
	case MN_VGATHERQPS:
	case MN_VGATHERQPD:
		in->opsize = w ? 8 : 4;
		in->imm = 8;
		return gather;
	case MN_VZEROALL:
		return vzeroall;
	case MN_VZEROUPPER:
		return vzeroupper;
	case MN_MASKMOVQ:
	case MN_MASKMOVDQU:
	case MN_VMASKMOVDQU:
		in->opsize = op_descs[in->op].mn == MN_MASKMOVQ ? 8 : 16;
		in->native = (void *)thunk_get(c->fpu->thunks, in, bytes, c->code_bits);
		return in->native ? mask_bytes : exec_ud;
	default:
		return NULL;
	}
}
