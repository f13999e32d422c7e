/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thunks: host code that runs one guest instruction as itself (Intel SDM vol. 2: encodings).
 *
 * The instruction is encoded anew with operands that are always the same: ModRM.reg, ModRM.rm,
 * VEX.vvvv and the is4 register become XMM1..XMM4 or R10, R11, R9, memory becomes [rsi]. Around it
 * the thunk loads what is read and stores what is written, through the pointers it is called with
 * (rdi, rsi, rdx, rcx; r8 is the cpu). x87 and MMX registers keep their numbers, being live in
 * the host's. So thunks differ by operation, immediate and form only: a guest uses some thousands, of
 * some 40 bytes. One that is after more gets them, at the price of all being made anew.
 *
 * Code memory is one memfd with two mappings, one writable and one executable; a vCPU thread
 * makes and runs its own thunks only.
 */
#include "accel/soft/thunk_int.h"
#include "accel/soft/decode/decode.h"

#include <cpuid.h>
#include <sys/mman.h>
#include <unistd.h>

#define CODE_SIZE  MIB(1)
#define KEY_SIZE   16
#define FIRST_BITS 9

struct thunk_key {
	uint8_t b[KEY_SIZE]; /* op, length, encoding */
};

struct thunk_slot {
	struct thunk_key key; /* length 0: free */
	uint32_t off;
};

struct thunks {
	uint8_t *rw, *rx;
	size_t used;
	struct thunk_slot *slots;
	unsigned bits, nr;
	bool reused; /* the memory held other code before */
	bool zmm;    /* registers are of 64 bytes */
};

enum { X_FIX = 0, X_REG = 1, X_RM = 2, X_VVVV = 3, X_IS4 = 4 };

/* The parts of an encoding. */
struct enc {
	const struct insn *in;
	const struct op_desc *d;
	bool p66, w, l, vex, has_modrm, zmm;
	uint8_t rep, map /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */, opcode, modrm, pp;
	uint8_t imm[2], nr_imm;
	uint8_t out[15], len; /* as encoded for the host */
};

static const struct op_operand *find(const struct op_desc *d, unsigned kinds_from,
				     unsigned kinds_to)
{
	for (unsigned i = 0; i < d->nr_operands; i++)
		if (d->operand[i].kind >= kinds_from && d->operand[i].kind <= kinds_to)
			return &d->operand[i];
	return NULL;
}

static bool op_vvvv_gpr(const struct op_desc *d)
{
	return find(d, OPK_VVVV, OPK_VVVV);
}

/* ---- taking the guest's encoding apart ---- */

static bool is_prefix(uint8_t b)
{
	return b == 0x66 || b == 0x67 || b == 0xf2 || b == 0xf3 || b == 0xf0 || b == 0x26 ||
	       b == 0x2e || b == 0x36 || b == 0x3e || b == 0x64 || b == 0x65;
}

static const uint8_t *parse_vex(struct enc *e, const uint8_t *p)
{
	uint8_t last = p[1];

	e->vex = true;
	e->map = 1;
	if (p[0] == 0xc4) {
		e->map = p[1] & 31;
		last = p[2];
		e->w = last & 0x80;
		p++;
	}
	e->l = last & 4;
	e->pp = last & 3;
	return p + 2;
}

static const uint8_t *parse_legacy(struct enc *e, const uint8_t *p)
{
	if (*p != 0x0f)
		return p;
	e->map = 1;
	p++;
	if (*p == 0x38 || *p == 0x3a) {
		e->map = *p == 0x38 ? 2 : 3;
		p++;
	}
	return p;
}

static unsigned count_imm(const struct op_desc *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d->nr_operands; i++)
		if (d->operand[i].kind == OPK_IMM || d->operand[i].kind == OPK_L)
			n++;
	return n;
}

/* In EAX and EDX, or with W in RAX and RDX. */
static bool takes_lengths(const struct op_desc *d)
{
	return d->mn == MN_VPCMPESTRI || d->mn == MN_VPCMPESTRM;
}

static void parse(struct enc *e, const uint8_t *p, unsigned bits)
{
	const uint8_t *end = p + e->in->len;

	for (; is_prefix(*p); p++) {
		if (*p == 0x66)
			e->p66 = true;
		else if (*p == 0xf2 || *p == 0xf3)
			e->rep = *p;
	}
	while (bits == 64 && (*p & 0xf0) == 0x40)
		e->w = *p++ & 8;
	p = e->in->flags & INSN_VEX ? parse_vex(e, p) : parse_legacy(e, p);
	e->opcode = *p++;
	e->has_modrm = !(e->map == 1 && e->opcode == 0x77) && !(e->map == 0 && e->opcode == 0x9b);
	if (e->has_modrm)
		e->modrm = *p;
	e->nr_imm = (uint8_t)count_imm(e->d);
	for (unsigned i = 0; i < e->nr_imm && i < 2; i++)
		e->imm[i] = end[(int)i - (int)e->nr_imm];
	if (bits != 64 && (find(e->d, OPK_REG, OPK_R) || op_vvvv_gpr(e->d) || takes_lengths(e->d)))
		e->w = false; /* 64-bit registers are not there */
	/* Operations with a 16-bit form: the prefix has the other sense in 16-bit code. */
	if (bits == 16 && e->d->cls == OPC_BMI && !e->vex && e->rep)
		e->p66 = !e->p66;
}

/* ---- encoding it for the host ---- */

/* The operand in a field of the encoding, or NULL. */
static const struct op_operand *op_reg(const struct op_desc *d)
{
	const struct op_operand *o = find(d, OPK_REG, OPK_REG);

	o = o ? o : find(d, OPK_V, OPK_V);
	return o ? o : find(d, OPK_P, OPK_P);
}

static const struct op_operand *op_rm(const struct op_desc *d)
{
	const struct op_operand *o = find(d, OPK_RM, OPK_R);

	o = o ? o : find(d, OPK_W, OPK_W);
	o = o ? o : find(d, OPK_U, OPK_U);
	return o ? o : find(d, OPK_Q, OPK_N);
}

static const struct op_operand *op_vvvv(const struct op_desc *d)
{
	const struct op_operand *o = find(d, OPK_H, OPK_H);

	return o ? o : find(d, OPK_VVVV, OPK_VVVV);
}

static bool is_gpr(const struct op_operand *o)
{
	return o && (o->kind == OPK_REG || o->kind == OPK_RM || o->kind == OPK_R ||
		     o->kind == OPK_VVVV);
}

static bool is_xmm(const struct op_operand *o)
{
	return o && (o->kind == OPK_V || o->kind == OPK_W || o->kind == OPK_U || o->kind == OPK_H ||
		     o->kind == OPK_L);
}

static bool in_memory(const struct enc *e)
{
	return (e->in->flags & INSN_MEM) && (e->modrm & 0xc0) != 0xc0;
}

static uint8_t host_modrm(const struct enc *e)
{
	const struct op_operand *reg = op_reg(e->d), *rm = op_rm(e->d);
	uint8_t m = e->modrm & 0x38;

	if (is_xmm(reg))
		m = X_REG << 3;
	else if (is_gpr(reg))
		m = (H_R10 & 7) << 3;
	if (in_memory(e))
		return m | H_RSI;
	if (is_xmm(rm))
		return 0xc0 | m | X_RM;
	if (is_gpr(rm))
		return 0xc0 | m | (H_R11 & 7);
	return 0xc0 | m | (e->modrm & 7);
}

static void encode(struct enc *e)
{
	const struct op_operand *vvvv = op_vvvv(e->d);
	bool ext_r = is_gpr(op_reg(e->d)), ext_b = is_gpr(op_rm(e->d)) && !in_memory(e);
	uint8_t *p = e->out, v = !vvvv ? 0 : is_gpr(vvvv) ? H_R9 : X_VVVV;

	if (e->vex) {
		*p++ = 0xc4;
		*p++ = (uint8_t)(0x40 | (ext_r ? 0 : 0x80) | (ext_b ? 0 : 0x20) | e->map);
		*p++ = (uint8_t)((e->w ? 0x80 : 0) | (~v & 15) << 3 | (e->l ? 4 : 0) | e->pp);
	} else {
		if (e->p66 && e->d->cls != OPC_X87)
			*p++ = 0x66;
		if (e->rep && e->d->cls != OPC_X87)
			*p++ = e->rep;
		if ((e->w && e->d->cls != OPC_X87) || ext_r || ext_b)
			*p++ = (uint8_t)(0x40 | (e->w ? 8 : 0) | (ext_r ? 4 : 0) | (ext_b ? 1 : 0));
		if (e->map)
			*p++ = 0x0f;
		if (e->map >= 2)
			*p++ = e->map == 2 ? 0x38 : 0x3a;
	}
	*p++ = e->opcode;
	if (e->has_modrm)
		*p++ = host_modrm(e);
	for (unsigned i = 0; i < e->nr_imm; i++)
		*p++ = e->imm[i];
	if (find(e->d, OPK_L, OPK_L))
		p[-1] = (uint8_t)(X_IS4 << 4 | (p[-1] & 15));
	e->len = (uint8_t)(p - e->out);
}

/* ---- what is around it ---- */

/* movups, or vmovups of the vector length. */
static void put_vec(struct code *c, const struct enc *e, unsigned xmm, unsigned ptr, bool store,
		    bool full)
{
	uint8_t op = store ? 0x11 : 0x10, modrm = (uint8_t)(xmm << 3 | ptr);

	if (e->zmm && e->vex && full)
		put_zmm(c, xmm, ptr, store);
	else if (e->vex)
		PUT(c, 0xc5, e->l || full ? 0xfc : 0xf8, op, modrm);
	else
		PUT(c, 0x0f, op, modrm);
}

/* mov r64, [r8 + disp32] and back */
static void put_cpu_gpr(struct code *c, unsigned reg, size_t disp, bool store)
{
	PUT(c, (uint8_t)(0x49 | (reg & 8 ? 4 : 0)), store ? 0x89 : 0x8b,
	    (uint8_t)(0x80 | (reg & 7) << 3));
	put_disp32(c, disp);
}

static bool uses_flags(const struct op_desc *d)
{
	return d->flags_r | d->flags_w | d->flags_u;
}

/*
 * Flags go in even when they are only written: what the host leaves as it was, or sets in its own
 * way where the manuals say undefined, then comes out as on the host.
 */
static void put_flags_in(struct code *c, const struct op_desc *d)
{
	if (!uses_flags(d) || (d->flags_w & FLAGS_STATUS) == FLAGS_STATUS)
		return;
	PUT(c, 0x41, 0x8b, 0x80); /* mov eax, [r8 + fl] */
	put_disp32(c, offsetof(struct soft_cpu, fl));
	PUT(c, 0x04, 0x7f, 0x9e); /* add al, 0x7f: OF; sahf */
}

/* Registers that an operation uses without its encoding naming them. */
struct implicit {
	uint8_t in, out; /* bit RAX, RCX, RDX */
	bool xmm0_in, xmm0_out;
};

static struct implicit implicit_of(const struct op_desc *d)
{
	struct implicit im = {.xmm0_in = find(d, OPK_FIXV, OPK_FIXV)};

	for (unsigned i = 0; i < d->nr_operands; i++)
		if (d->operand[i].kind == OPK_FIX) /* FNSTSW AX: the rest of RAX stays */
			im.in = im.out = (uint8_t)BIT32(d->operand[i].fix);
	switch (d->mn) {
	case MN_MULX:
		im.in = 1 << RDX;
		break;
	case MN_PCMPESTRI:
	case MN_VPCMPESTRI:
		im.in = 1 << RAX | 1 << RDX;
		im.out = 1 << RCX;
		break;
	case MN_PCMPISTRI:
	case MN_VPCMPISTRI:
		im.out = 1 << RCX;
		break;
	case MN_PCMPESTRM:
	case MN_VPCMPESTRM:
		im.in = 1 << RAX | 1 << RDX;
		im.xmm0_out = true;
		break;
	case MN_PCMPISTRM:
	case MN_VPCMPISTRM:
		im.xmm0_out = true;
		break;
	default:
		break;
	}
	return im;
}

/* RAX, RCX and RDX have the same numbers in the guest and the host. */
static void put_implicit(struct code *c, unsigned set, bool store)
{
	for (unsigned r = RAX; r <= RDX; r++)
		if (set & BIT32(r))
			put_cpu_gpr(c, r, offsetof(struct soft_cpu, r) + R_OFF(r), store);
}

static void put_loads(struct code *c, const struct enc *e)
{
	const struct op_desc *d = e->d;
	const struct op_operand *reg = op_reg(d), *rm = op_rm(d), *vvvv = op_vvvv(d);

	const struct implicit im = implicit_of(d);

	put_flags_in(c, d);
	if (im.xmm0_in) { /* movups xmm0, [r8 + vec[0]] */
		PUT(c, 0x41, 0x0f, 0x10, 0x80);
		put_disp32(c, offsetof(struct soft_cpu, s.vec));
	}
	if (find(d, OPK_L, OPK_L))
		put_vec(c, e, X_IS4, H_RCX, false, false);
	if (is_xmm(vvvv))
		put_vec(c, e, X_VVVV, H_RDX, false, false);
	else if (is_gpr(vvvv))
		put_gpr(c, H_R9, H_RDX, false);
	/* Old SSE keeps what it does not write, whatever the table says. */
	if (is_xmm(reg) && (!e->vex || (reg->rw & 1)))
		put_vec(c, e, X_REG, H_RDI, false, false);
	else if (is_gpr(reg))
		put_gpr(c, H_R10, H_RDI, false);
	if (!in_memory(e)) {
		if (is_xmm(rm) && (!e->vex || (rm->rw & 1)))
			put_vec(c, e, X_RM, H_RSI, false, false);
		else if (is_gpr(rm) && rm->size == 1 && (rm->rw & 1))
			PUT(c, 0x44, 0x0f, 0xb6, 0x1e); /* movzx r11d, byte [rsi]: may be AH */
		else if (is_gpr(rm))
			put_gpr(c, H_R11, H_RSI, false);
	}
	if (vvvv && (vvvv->rw & 2))
		PUT(c, 0x48, 0x89, 0xd1); /* mov rcx, rdx: MULX needs rdx */
	if (d->mn == MN_MASKMOVQ || d->mn == MN_MASKMOVDQU || d->mn == MN_VMASKMOVDQU)
		PUT(c, 0x48, 0x89, 0xd7); /* mov rdi, rdx: where it stores */
	put_implicit(c, im.in, false);
}

static void put_stores(struct code *c, const struct enc *e)
{
	const struct op_desc *d = e->d;
	const struct op_operand *reg = op_reg(d), *rm = op_rm(d), *vvvv = op_vvvv(d);
	const struct implicit im = implicit_of(d);

	if (vvvv && (vvvv->rw & 2)) {
		if (is_xmm(vvvv))
			put_vec(c, e, X_VVVV, H_RCX, true, true);
		else
			put_gpr(c, H_R9, H_RCX, true);
	}
	if (reg && (reg->rw & 2)) {
		if (is_xmm(reg))
			put_vec(c, e, X_REG, H_RDI, true, true);
		else if (is_gpr(reg))
			put_gpr(c, H_R10, H_RDI, true);
	}
	if (!in_memory(e) && rm && (rm->rw & 2)) {
		if (is_xmm(rm))
			put_vec(c, e, X_RM, H_RSI, true, true);
		else if (is_gpr(rm))
			put_gpr(c, H_R11, H_RSI, true);
	}
	put_implicit(c, im.out, true);
	if (im.xmm0_out) {
		if (e->zmm && e->vex)
			PUT(c, 0x62, 0xd1, 0x7c, 0x48, 0x11, 0x80); /* vmovups [r8 + vec[0]], zmm0 */
		else if (e->vex)
			PUT(c, 0xc4, 0xc1, 0x7c, 0x11, 0x80);
		else
			PUT(c, 0x41, 0x0f, 0x11, 0x80);
		put_disp32(c, offsetof(struct soft_cpu, s.vec));
	}
	if (uses_flags(d))
		put_flags_out(c);
	if (e->vex && (e->l || d->cls == OPC_AVX || is_xmm(reg)))
		PUT(c, 0xc5, 0xf8, 0x77); /* vzeroupper */
	PUT(c, 0xc3);
}

/* ---- the cache ---- */

static unsigned hash_key(const struct thunk_key *k)
{
	uint64_t h = (ld_le64(k->b) ^ ld_le64(k->b + 8) * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;

	return (unsigned)(h >> 32);
}

static struct thunk_slot *lookup(const struct thunks *t, const struct thunk_key *k)
{
	unsigned mask = BIT32(t->bits) - 1, i = hash_key(k) & mask;

	while (t->slots[i].key.b[2] && memcmp(&t->slots[i].key, k, sizeof(*k)) != 0)
		i = (i + 1) & mask;
	return &t->slots[i];
}

static void grow(struct thunks *t)
{
	struct thunk_slot *old = t->slots;
	unsigned n = BIT32(t->bits);

	t->bits++;
	t->slots = xnew_n(struct thunk_slot, BIT32(t->bits));
	for (unsigned i = 0; i < n; i++)
		if (old[i].key.b[2])
			*lookup(t, &old[i].key) = old[i];
	free(old);
}

/* For code written through another mapping than it runs in (Intel SDM vol. 3, 9.1.3). */
static void serialize(void)
{
	unsigned r[4];

	__cpuid(0, r[0], r[1], r[2], r[3]);
}

static thunk_fn make(struct thunks *t, const struct enc *e, struct thunk_slot *s,
		     const struct thunk_key *k)
{
	struct code c = {.n = 0};

	if (e->d->cls == OPC_EVEX) {
		thunk_evex(&c, e->d, e->out, e->len);
	} else {
		put_loads(&c, e);
		put(&c, e->len, e->out);
		put_stores(&c, e);
	}
	if (c.n > sizeof(c.b) || t->used + c.n > CODE_SIZE)
		return NULL;
	memcpy(t->rw + t->used, c.b, c.n);
	if (t->reused)
		serialize();
	s->key = *k;
	s->off = (uint32_t)t->used;
	t->used = align_up(t->used + c.n, 16);
	thunk_fn fn = (thunk_fn)(void *)(t->rx + s->off);
	if (++t->nr * 2 > BIT32(t->bits))
		grow(t);
	return fn;
}

thunk_fn thunk_get(struct thunks *t, const struct insn *in, const uint8_t *bytes, unsigned bits)
{
	struct enc e = {.in = in, .d = &op_descs[in->op], .zmm = t->zmm};
	struct thunk_key k = {{0}};

	if (e.d->cls == OPC_EVEX) {
		e.len = (uint8_t)thunk_evex_encode(in, bytes, bits, e.out);
	} else {
		parse(&e, bytes, bits);
		if (e.nr_imm > 2)
			return NULL;
		encode(&e);
	}
	if (e.len > KEY_SIZE - 3)
		return NULL;
	st_le16(k.b, in->op);
	k.b[2] = e.len;
	memcpy(k.b + 3, e.out, e.len);
	struct thunk_slot *s = lookup(t, &k);

	if (s->key.b[2])
		return (thunk_fn)(void *)(t->rx + s->off);
	return make(t, &e, s, &k);
}

bool thunks_have_room(const struct thunks *t, unsigned n)
{
	return t->used + (size_t)n * THUNK_MAX <= CODE_SIZE;
}

void thunks_flush(struct thunks *t)
{
	memset(t->slots, 0, BIT32(t->bits) * sizeof(*t->slots));
	t->used = 0;
	t->nr = 0;
	t->reused = true;
}

size_t thunks_bytes(const struct thunks *t)
{
	return t->used + BIT32(t->bits) * sizeof(*t->slots);
}

bool thunks_contain(const struct thunks *t, uintptr_t pc)
{
	return pc - (uintptr_t)t->rx < CODE_SIZE;
}

struct thunks *thunks_new(bool zmm, struct err *e)
{
	struct thunks *t = xnew(struct thunks);
	autoclose int fd = memfd_create("hanok-thunks", MFD_CLOEXEC);

	t->rw = t->rx = MAP_FAILED;
	t->bits = FIRST_BITS;
	t->zmm = zmm;
	t->slots = xnew_n(struct thunk_slot, BIT32(FIRST_BITS));
	if (fd >= 0 && ftruncate(fd, CODE_SIZE) == 0) {
		t->rw = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		t->rx = mmap(NULL, CODE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	}
	if (t->rw != MAP_FAILED && t->rx != MAP_FAILED)
		return t;
	err_set_errno(e, errno, "soft: cannot map memory for host code (is /dev/shm or tmpfs mounted "
		      "noexec, or memfd_create(2) forbidden?)");
	return thunks_free(t);
}

struct thunks *thunks_free(struct thunks *t)
{
	if (!t)
		return NULL;
	if (t->rw != MAP_FAILED)
		munmap(t->rw, CODE_SIZE);
	if (t->rx != MAP_FAILED)
		munmap(t->rx, CODE_SIZE);
	free(t->slots);
	free(t);
	return NULL;
}
