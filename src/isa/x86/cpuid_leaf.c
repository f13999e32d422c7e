/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID: the leaves that a guest reads, computed from model, topology and control registers.
 * Sources: Intel SDM vol. 2A CPUID, AMD APM vol. 3 appendix E; the hypervisor leaves:
 * Linux Documentation/virt/kvm/x86/cpuid.rst. No threads, no state.
 */
#include "isa/x86/cpuid_int.h"
#include <stdio.h>

#define CR4_OSXSAVE_BIT	     BIT64(18)
#define MISC_LIMIT_CPUID_BIT BIT64(22)

struct feature_bit {
	uint32_t leaf;
	uint8_t sub, reg, bit;
};

static const struct feature_bit feature_bits[X86F_NR] = {
#define X(id, n, l, s, r, b) [X86F_##id] = { l, s, r, b },
	X86_FEATURES(X)
#undef X
};

void x86_named_bits(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	for (unsigned f = 1; f < X86F_NR; f++)
		if (feature_bits[f].leaf == leaf && feature_bits[f].sub == sub)
			r[feature_bits[f].reg] |= BIT32(feature_bits[f].bit);
}

/* Set bits of the model in one (sub)leaf. */
static void or_features(const struct x86_cpu_model *m, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	for (size_t i = 0; m->passthrough && i < X86_RAW_LEAVES; i++)
		for (unsigned k = 0; m->raw[i].leaf == leaf && m->raw[i].sub == sub && k < 4; k++)
			r[k] |= m->raw[i].r[k];
	for (unsigned f = 1; f < X86F_NR; f++) {
		const struct feature_bit *b = &feature_bits[f];

		if (b->leaf == leaf && b->sub == sub && x86_model_has(m, f))
			r[b->reg] |= BIT32(b->bit);
	}
}

/* Bits needed to number n things. */
static unsigned width(unsigned n)
{
	return n <= 1 ? 0 : 32 - (unsigned)__builtin_clz(n - 1);
}

static unsigned at_least_1(unsigned n)
{
	return n ? n : 1;
}

/* Bit positions in the APIC id above threads, cores and dies. */
static void topo_shifts(const struct x86_topology *t, unsigned *core, unsigned *die, unsigned *pkg)
{
	*core = width(at_least_1(t->threads));
	*die = *core + width(at_least_1(t->cores));
	*pkg = *die + width(at_least_1(t->dies));
}

uint32_t x86_apic_id(const struct x86_topology *t, unsigned index)
{
	unsigned threads = at_least_1(t->threads), cores = at_least_1(t->cores);
	unsigned dies = at_least_1(t->dies), s_core, s_die, s_pkg;

	topo_shifts(t, &s_core, &s_die, &s_pkg);
	return index % threads | index / threads % cores << s_core |
	       index / threads / cores % dies << s_die | index / threads / cores / dies << s_pkg;
}

static unsigned logical_per_package(const struct x86_topology *t)
{
	return at_least_1(t->threads) * at_least_1(t->cores) * at_least_1(t->dies);
}

static uint32_t signature(const struct x86_cpu_model *m)
{
	uint32_t fam = MIN(m->family, 15u), ext = m->family - fam;

	return m->stepping | (m->model & 15) << 4 | fam << 8 | (m->model >> 4) << 16 | ext << 20;
}

static void leaf_1(const struct x86_cpuid_env *v, uint32_t r[4])
{
	unsigned logical = logical_per_package(&v->topo);

	r[0] = signature(v->model);
	/* CLFLUSH line in units of 8 bytes, ids in a package, initial APIC id */
	r[1] = 8u << 8 | MIN(logical, 255u) << 16 | (v->apic_id & 0xff) << 24;
	or_features(v->model, 1, 0, r);
	if (logical > 1)
		r[3] |= BIT32(28);
	if (v->cr4 & CR4_OSXSAVE_BIT && x86_model_has(v->model, X86F_XSAVE))
		r[2] |= BIT32(27);
}

/* The caches that we claim: L1d, L1i, L2 of a core, L3 of a die. */
struct cache {
	uint8_t type, level; /* 1 data, 2 code, 3 both */
	uint16_t ways;
	uint32_t size;
};
static const struct cache caches[] = {
	{ 1, 1, 8, 32 << 10 }, { 2, 1, 8, 32 << 10 }, { 3, 2, 8, 1 << 20 }, { 3, 3, 16, 16 << 20 },
};

static void cache_leaf(const struct x86_cpuid_env *v, uint32_t sub, bool amd, uint32_t r[4])
{
	const struct cache *c;
	unsigned s_core, s_die, s_pkg, shift, sets;

	if (sub >= ARRAY_SIZE(caches))
		return;
	c = &caches[sub];
	topo_shifts(&v->topo, &s_core, &s_die, &s_pkg);
	shift = c->level == 3 ? s_die : s_core;
	sets = c->size / 64 / c->ways;
	r[0] = c->type | (uint32_t)c->level << 5 | BIT32(8);
	if (amd)
		r[0] |= ((1u << shift) - 1) << 14;
	else
		r[0] |= ((1u << shift) - 1) << 14 | ((1u << (s_pkg - s_core)) - 1) << 26;
	r[1] = 63 | (uint32_t)(c->ways - 1) << 22;
	r[2] = sets - 1;
	r[3] = 0;
}

static void topo_leaf(const struct x86_cpuid_env *v, uint32_t sub, bool with_dies, uint32_t r[4])
{
	unsigned s_core, s_die, s_pkg, threads = at_least_1(v->topo.threads);
	unsigned cores = threads * at_least_1(v->topo.cores);
	unsigned all = cores * at_least_1(v->topo.dies);

	topo_shifts(&v->topo, &s_core, &s_die, &s_pkg);
	r[2] = sub & 0xff;
	r[3] = v->apic_id;
	if (sub == 0) {
		r[0] = s_core;
		r[1] = threads;
		r[2] |= 1u << 8;
	} else if (sub == 1) {
		r[0] = with_dies ? s_die : s_pkg;
		r[1] = with_dies ? cores : all;
		r[2] |= 2u << 8;
	} else if (sub == 2 && with_dies) {
		r[0] = s_pkg;
		r[1] = all;
		r[2] |= 5u << 8;
	}
}

bool x86_xsave_component(unsigned n, uint32_t *offset, uint32_t *size)
{
	switch (n) {
	case 0: /* x87: in the legacy area */
		*offset = 0;
		*size = 160;
		return true;
	case 1: /* SSE: in the legacy area */
		*offset = 160;
		*size = 256;
		return true;
	case 2: /* upper halves of YMM */
		*offset = 576;
		*size = 256;
		return true;
	default:
		return false;
	}
}

/* Of the processor where guests run on it; else what the engine has. */
bool x86_model_xsave(const struct x86_cpu_model *m, unsigned n, struct x86_xsave_part *out)
{
	*out = (struct x86_xsave_part){ 0 };
	if (m && n < X86_XSAVE_COMPONENTS && m->xsave[n].size) {
		*out = m->xsave[n];
		return true;
	}
	return x86_xsave_component(n, &out->offset, &out->size);
}

static uint32_t area_size(const struct x86_cpu_model *m, uint64_t mask, bool compacted)
{
	struct x86_xsave_part c;
	uint32_t end = 576;

	for (unsigned n = 2; n < 63; n++) {
		if (!(mask >> n & 1) || !x86_model_xsave(m, n, &c))
			continue;
		if (compacted && c.flags & 2) /* begins at a multiple of 64 */
			end = (end + 63) & ~63u;
		end = compacted ? end + c.size : MAX(end, c.offset + c.size);
	}
	return end;
}

uint32_t x86_xsave_size(uint64_t mask, bool compacted)
{
	return area_size(NULL, mask, compacted);
}

static void leaf_d(const struct x86_cpuid_env *v, uint32_t sub, uint32_t r[4])
{
	const struct x86_cpu_model *m = v->model;
	struct x86_xsave_part c;

	if (!m->xcr0)
		return;
	if (sub == 0) {
		r[0] = (uint32_t)m->xcr0;
		r[1] = area_size(m, v->xcr0, false);
		r[2] = area_size(m, m->xcr0, false);
		r[3] = (uint32_t)(m->xcr0 >> 32);
	} else if (sub == 1) {
		or_features(m, 0xd, 1, r);
		if (x86_model_has(m, X86F_XSAVEC))
			r[1] = area_size(m, v->xcr0 | v->xss, true);
	} else if (sub < 63 && m->xcr0 >> sub & 1 && x86_model_xsave(m, sub, &c)) {
		r[0] = c.size;
		r[1] = c.offset;
		r[2] = c.flags;
	}
}

/* How many subleaves leaf 7 has behind the first. */
static uint32_t last_of_leaf_7(const struct x86_cpu_model *m)
{
	for (uint32_t sub = 2; sub; sub--) {
		uint32_t r[4] = { 0 };

		or_features(m, 7, sub, r);
		if (r[0] | r[1] | r[2] | r[3])
			return sub;
	}
	return 0;
}

static void hypervisor_leaf(const struct x86_cpuid_env *v, uint32_t leaf, uint32_t r[4])
{
	if (!v->model->show_kvm)
		return;
	switch (leaf) {
	case 0x40000000:
		r[0] = 0x40000010;
		memcpy(&r[1], "KVMKVMKVM\0\0\0", 12);
		break;
	case 0x40000010:
		r[0] = (uint32_t)v->tsc_khz;
		r[1] = 1000000; /* APIC bus in kHz: 1 ns */
		break;
	default: /* 0x40000001: the paravirtual code of the board fills it */
		break;
	}
}

static void leaf_basic(const struct x86_cpuid_env *v, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	const struct x86_cpu_model *m = v->model;
	bool intel = m->vendor == X86_VENDOR_INTEL;

	switch (leaf) {
	case 0:
		r[0] = v->misc_enable & MISC_LIMIT_CPUID_BIT ? 3 : intel ? 0x1f : 0x10;
		memcpy(&r[1], m->vendor_id, 4);
		memcpy(&r[3], m->vendor_id + 4, 4);
		memcpy(&r[2], m->vendor_id + 8, 4);
		break;
	case 1:
		leaf_1(v, r);
		break;
	case 2:
		if (intel) { /* "leaf 4 has the caches", no TLB facts */
			r[0] = 0x01;
			r[1] = 0xff;
		}
		break;
	case 4:
		if (intel)
			cache_leaf(v, sub, false, r);
		break;
	case 5: /* MONITOR line sizes */
		if (x86_model_has(m, X86F_MONITOR)) {
			r[0] = r[1] = 64;
			r[2] = 3;
		}
		break;
	case 6:
		or_features(m, 6, 0, r);
		break;
	case 7:
		or_features(m, 7, sub, r);
		if (sub == 0)
			r[0] = last_of_leaf_7(m);
		break;
	case 0xb:
		topo_leaf(v, sub, false, r);
		break;
	case 0xd:
		leaf_d(v, sub, r);
		break;
	case 0x15:
		if (intel && v->tsc_khz) { /* TSC = crystal (1 MHz) * ebx / eax */
			r[0] = 1000;
			r[1] = (uint32_t)v->tsc_khz;
			r[2] = 1000000;
		}
		break;
	case 0x16:
		if (intel)
			r[0] = r[1] = (uint32_t)(v->tsc_khz / 1000);
		if (intel)
			r[2] = 100;
		break;
	case 0x1f:
		if (intel)
			topo_leaf(v, sub, true, r);
		break;
	default:
		break;
	}
}

static void leaf_amd_cores(const struct x86_cpuid_env *v, uint32_t r[4])
{
	unsigned s_core, s_die, s_pkg;

	topo_shifts(&v->topo, &s_core, &s_die, &s_pkg);
	r[0] = v->apic_id;
	r[1] = v->apic_id >> s_core | (at_least_1(v->topo.threads) - 1) << 8;
	r[2] = v->apic_id >> s_die | (at_least_1(v->topo.dies) - 1) << 8;
}

static void leaf_extended(const struct x86_cpuid_env *v, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	const struct x86_cpu_model *m = v->model;
	bool amd = m->vendor == X86_VENDOR_AMD;
	unsigned s_core, s_die, s_pkg, logical = logical_per_package(&v->topo);

	switch (leaf) {
	case 0x80000000:
		r[0] = amd ? 0x80000021 : 0x80000008;
		if (amd) {
			memcpy(&r[1], m->vendor_id, 4);
			memcpy(&r[3], m->vendor_id + 4, 4);
			memcpy(&r[2], m->vendor_id + 8, 4);
		}
		break;
	case 0x80000001:
		r[0] = amd ? signature(m) : 0;
		or_features(m, leaf, 0, r);
		if (amd) { /* the common bits of leaf 1 again */
			uint32_t one[4] = { 0 };

			or_features(m, 1, 0, one);
			r[3] |= one[3] & 0x0183f3ff;
			if (logical > 1)
				r[2] |= BIT32(1);
		}
		break;
	case 0x80000002:
	case 0x80000003:
	case 0x80000004:
		memcpy(r, m->brand + 16 * (leaf - 0x80000002), 16);
		break;
	case 0x80000005:
		if (amd) {
			r[0] = r[1] = 0xff40ff40; /* 64 entries, fully associative */
			r[2] = r[3] = 32u << 24 | 8u << 16 | 1u << 8 | 64;
		}
		break;
	case 0x80000006:
		r[2] = 1024u << 16 | 6u << 12 | 1u << 8 | 64;
		if (amd) {
			r[0] = r[1] = 0x64006400;
			r[3] = 32u << 18 | 8u << 12 | 1u << 8 | 64;
		}
		break;
	case 0x80000007:
		or_features(m, leaf, 0, r);
		break;
	case 0x80000008:
		r[0] = m->phys_bits | m->lin_bits << 8;
		or_features(m, leaf, 0, r);
		if (amd) {
			topo_shifts(&v->topo, &s_core, &s_die, &s_pkg);
			r[2] = (logical - 1) & 0xff;
			r[2] |= s_pkg << 12;
		}
		break;
	case 0x8000000a:
		if (amd && x86_model_has(m, X86F_SVM))
			memcpy(r, m->svm, 16);
		break;
	case 0x8000001d:
		if (amd && x86_model_has(m, X86F_TOPOEXT))
			cache_leaf(v, sub, true, r);
		break;
	case 0x8000001e:
		if (amd && x86_model_has(m, X86F_TOPOEXT))
			leaf_amd_cores(v, r);
		break;
	case 0x80000021:
		if (amd) {
			or_features(m, leaf, 0, r);
			if (m->hardware)
				break;
			r[0] |= BIT32(29); /* SRSO_NO */
			r[2] |= 6; /* TSA_SQ_NO, TSA_L1_NO */
		}
		break;
	default:
		break;
	}
}

void x86_cpuid(const struct x86_cpuid_env *v, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	uint32_t top[4] = { 0 };

	memset(r, 0, 16);
	if (leaf >= 0x40000000 && leaf < 0x40000100) {
		if (x86_model_has(v->model, X86F_HYPERVISOR))
			hypervisor_leaf(v, leaf, r);
		return;
	}
	if (leaf >= 0x80000000) {
		leaf_extended(v, 0x80000000, 0, top);
		if (leaf <= top[0]) {
			leaf_extended(v, leaf, sub, r);
			return;
		}
		if (v->model->vendor == X86_VENDOR_AMD)
			return;
	}
	leaf_basic(v, 0, 0, top);
	if (leaf > top[0]) { /* Intel: as the highest basic leaf; AMD: zeros */
		if (v->model->vendor == X86_VENDOR_AMD)
			return;
		leaf = top[0];
	}
	leaf_basic(v, leaf, sub, r);
}
