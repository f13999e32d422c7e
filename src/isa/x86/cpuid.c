/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU models: tables of features, and the parser of "model,+feature,-feature".
 * A feature is either carried out by the engine in C (its bit does not depend on the host) or by
 * the same instruction on the host. Sources: Intel SDM vol. 2A CPUID, AMD APM vol. 3 appendix E,
 * x86-64 psABI (levels v2 and v3). No threads, no state.
 */
#include "isa/x86/cpuid_int.h"
#include "base/log.h"
#include <cpuid.h>
#include <stdio.h>

struct feature_desc {
	const char *name;
	uint32_t leaf;
	uint8_t sub, reg, bit;
};

static const struct feature_desc feature_descs[X86F_NR] = {
#define X(id, n, l, s, r, b) [X86F_##id] = { n, l, s, r, b },
	X86_FEATURES(X)
#undef X
};

/* Other spellings that are in use ('-', '_' and '.' are all the same to us). */
static const struct {
	const char *name;
	uint16_t feature;
} feature_aliases[] = {
	{ "sse3", X86F_SSE3 },	   { "lzcnt", X86F_ABM },	{ "sha", X86F_SHA },
	{ "lm64", X86F_LM },	   { "i64", X86F_LM },		{ "xd", X86F_NX },
	{ "1gb-pages", X86F_PDPE1GB }, { "fxsr-opt", X86F_FXSR_OPT }, { "ibrs", X86F_SPEC_CTRL },
	{ "lahf-lm", X86F_LAHF_LM }, { "ffxsr", X86F_FXSR_OPT },
};

/* Done by the engine itself: needs nothing of the host. */
static const uint8_t engine_features[] = {
	X86F_VME, X86F_DE, X86F_PSE, X86F_TSC, X86F_MSR, X86F_PAE, X86F_MCE, X86F_APIC, X86F_SEP,
	X86F_MTRR, X86F_PGE, X86F_MCA, X86F_PAT, X86F_PSE36, X86F_CLFLUSH, X86F_HT, X86F_MONITOR,
	X86F_PCID, X86F_X2APIC, X86F_MOVBE, X86F_TSC_DEADLINE, X86F_HYPERVISOR,
	X86F_ARAT, X86F_FSGSBASE, X86F_TSC_ADJUST, X86F_SMEP, X86F_ERMS, X86F_INVPCID,
	X86F_SMAP, X86F_UMIP, X86F_LA57, X86F_RDPID, X86F_FSRM, X86F_LAHF_LM,
	X86F_PREFETCHW, X86F_SYSCALL, X86F_NX, X86F_PDPE1GB, X86F_RDTSCP, X86F_LM,
	X86F_CMP_LEGACY, X86F_TOPOEXT, X86F_SPEC_CTRL, X86F_ARCH_CAP, X86F_AMD_SSB_NO,
	X86F_LFENCE_RDTSC, X86F_NULL_SEL_CLR_BASE, X86F_AUTO_IBRS, X86F_OVERFLOW_RECOV, X86F_SUCCOR,
	X86F_BHI_CTRL,
};

/* first is of no use without second */
static const uint8_t feature_deps[][2] = {
	{ X86F_XSAVEOPT, X86F_XSAVE },	 { X86F_XSAVEC, X86F_XSAVE }, { X86F_XGETBV1, X86F_XSAVE },
	{ X86F_XSAVES, X86F_XSAVEC },	 { X86F_AVX, X86F_XSAVE },    { X86F_FMA, X86F_AVX },
	{ X86F_F16C, X86F_AVX },	 { X86F_AVX2, X86F_AVX },     { X86F_VAES, X86F_AVX },
	{ X86F_VPCLMULQDQ, X86F_AVX },	 { X86F_AVX_VNNI, X86F_AVX2 }, { X86F_SSE2, X86F_SSE },
	{ X86F_SSE3, X86F_SSE2 },	 { X86F_SSSE3, X86F_SSE3 },   { X86F_SSE41, X86F_SSSE3 },
	{ X86F_SSE42, X86F_SSE41 },	 { X86F_AVX, X86F_SSE42 },    { X86F_SSE, X86F_FXSR },
	{ X86F_AES, X86F_SSE2 },	 { X86F_PCLMULQDQ, X86F_SSE2 }, { X86F_SHA, X86F_SSE2 },
	{ X86F_INVPCID, X86F_PCID },	 { X86F_PCID, X86F_LM },      { X86F_X2APIC, X86F_APIC },
	{ X86F_TSC_DEADLINE, X86F_APIC }, { X86F_LA57, X86F_LM },     { X86F_PDPE1GB, X86F_LM },
	{ X86F_FSGSBASE, X86F_LM },	 { X86F_LAHF_LM, X86F_LM },
	{ X86F_AVX512F, X86F_AVX2 },	 { X86F_AVX512DQ, X86F_AVX512F },
	{ X86F_AVX512IFMA, X86F_AVX512F }, { X86F_AVX512PF, X86F_AVX512F },
	{ X86F_AVX512ER, X86F_AVX512F }, { X86F_AVX512CD, X86F_AVX512F },
	{ X86F_AVX512BW, X86F_AVX512F }, { X86F_AVX512VL, X86F_AVX512F },
	{ X86F_AVX512VBMI, X86F_AVX512F }, { X86F_AVX512VBMI2, X86F_AVX512F },
	{ X86F_AVX512VNNI, X86F_AVX512F }, { X86F_AVX512BITALG, X86F_AVX512F },
	{ X86F_AVX512VPOPCNTDQ, X86F_AVX512F }, { X86F_AVX512_4VNNIW, X86F_AVX512F },
	{ X86F_AVX512_4FMAPS, X86F_AVX512F }, { X86F_AVX512_VP2INTERSECT, X86F_AVX512F },
	{ X86F_AVX512_FP16, X86F_AVX512F }, { X86F_AVX512_BF16, X86F_AVX512F },
	{ X86F_PKU, X86F_XSAVE },	 { X86F_AVX_IFMA, X86F_AVX2 },
	{ X86F_AVX_VNNI_INT8, X86F_AVX2 }, { X86F_AVX_NE_CONVERT, X86F_AVX2 },
	{ X86F_SHA512, X86F_AVX2 },	 { X86F_SM3, X86F_AVX }, { X86F_SM4, X86F_AVX2 },
	{ X86F_FMA4, X86F_AVX },	 { X86F_XOP, X86F_AVX },
};

/* Without these no 64-bit system starts. */
#define FEATS_BASE                                                                        \
	X86F_FPU, X86F_PSE, X86F_TSC, X86F_MSR, X86F_PAE, X86F_CX8, X86F_APIC, X86F_PGE,  \
		X86F_CMOV, X86F_MMX, X86F_FXSR, X86F_SSE, X86F_SSE2, X86F_SYSCALL, X86F_NX, \
		X86F_LM, X86F_HYPERVISOR, X86F_X2APIC, X86F_TSC_DEADLINE, X86F_ARAT
/* In every model, where the host has them: hosts that are guests themselves may lack some. */
#define FEATS_COMMON                                                                       \
	X86F_VME, X86F_DE, X86F_MCE, X86F_SEP, X86F_MTRR, X86F_MCA, X86F_PAT, X86F_PSE36,  \
		X86F_CLFLUSH, X86F_TSC_ADJUST, X86F_RDTSCP
#define FEATS_V2                                                                              \
	X86F_SSE3, X86F_SSSE3, X86F_CX16, X86F_SSE41, X86F_SSE42, X86F_POPCNT, X86F_LAHF_LM
#define FEATS_V3                                                                           \
	X86F_AVX, X86F_AVX2, X86F_BMI1, X86F_BMI2, X86F_F16C, X86F_FMA, X86F_ABM, X86F_MOVBE, \
		X86F_XSAVE
#define FEATS_ENGINE                                                                      \
	X86F_FSGSBASE, X86F_SMEP, X86F_SMAP, X86F_UMIP, X86F_PCID, X86F_INVPCID,          \
		X86F_PDPE1GB, X86F_ERMS, X86F_FSRM, X86F_RDPID, X86F_PREFETCHW
#define FEATS_XTRA X86F_AES, X86F_SHA, X86F_PCLMULQDQ, X86F_ADX, X86F_XSAVEOPT, X86F_XSAVEC, \
	X86F_XGETBV1, X86F_XSAVEERPTR, X86F_CLFLUSHOPT, X86F_CLWB, X86F_RDRAND, X86F_RDSEED

static const uint8_t req_qemu64[] = { FEATS_BASE, X86F_SSE3, X86F_CX16, X86F_LAHF_LM, 0 };
static const uint8_t req_v2[] = { FEATS_BASE, FEATS_V2, 0 };
static const uint8_t req_v3[] = { FEATS_BASE, FEATS_V2, FEATS_V3, 0 };
static const uint8_t req_default[] = { FEATS_BASE, 0 };
static const uint8_t none[] = { 0 };
static const uint8_t opt_common[] = { FEATS_COMMON, 0 };
static const uint8_t opt_default[] = { FEATS_COMMON, FEATS_ENGINE, FEATS_V2, FEATS_V3,
				       FEATS_XTRA, 0 };
#define FEATS_AVX512                                                                      \
	X86F_AVX512F, X86F_AVX512DQ, X86F_AVX512IFMA, X86F_AVX512CD, X86F_AVX512BW,       \
		X86F_AVX512VL, X86F_AVX512VBMI, X86F_AVX512VBMI2, X86F_AVX512VNNI,        \
		X86F_AVX512BITALG, X86F_AVX512VPOPCNTDQ, X86F_AVX512_FP16, X86F_AVX512_BF16
/* All that the engine knows how to run. */
static const uint8_t opt_max[] = { FEATS_COMMON, FEATS_ENGINE, FEATS_V2, FEATS_V3, FEATS_XTRA,
				   X86F_LA57, X86F_INVTSC,
				   X86F_GFNI, X86F_VAES, X86F_VPCLMULQDQ, X86F_AVX_VNNI,
				   X86F_MMXEXT, X86F_SSE4A, FEATS_AVX512, 0 };

static const struct model_desc {
	const char *name, *what;
	const uint8_t *required, *optional; /* optional: where the host has them */
	bool host_id; /* family, model and brand of the host */
} model_descs[] = {
	{ "default", "x86-64-v3 and crypto, random numbers, XSAVE family, as the host has them",
	  req_default, opt_default, false },
	{ "x86-64-v2", "psABI level 2 (SSE4.2, POPCNT)", req_v2, opt_common, false },
	{ "x86-64-v3", "psABI level 3 (AVX2, BMI, FMA)", req_v3, opt_common, false },
	{ "max", "everything that both the host and the engine have", req_default, opt_max, true },
	{ "host", "on KVM all that the host has, known here or not; else the same as max",
	  req_default, opt_max, true },
	{ "qemu64", "the old minimum of QEMU", req_qemu64, opt_common, false },
	{ "base", "no feature but those named behind it", none, none, false },
};

/* Signatures for the models that are not the host's: recent, and known to kernels. */
static const struct {
	uint32_t family, model, stepping;
} signatures[] = {
	[X86_VENDOR_INTEL] = { 6, 0x6a, 6 },
	[X86_VENDOR_AMD] = { 0x19, 1, 1 },
};

static void feat_set(struct x86_cpu_model *m, unsigned f, bool on)
{
	if (on)
		m->feat[f / 64] |= BIT64(f % 64);
	else
		m->feat[f / 64] &= ~BIT64(f % 64);
}

/* Leaf is one that every 64-bit processor has, or is known to be there. */
static void host_cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	__cpuid_count(leaf, sub, r[0], r[1], r[2], r[3]);
}

/* XCR0 of the host, 0 when it has none. */
static uint64_t host_xcr0(void)
{
	uint32_t r[4], lo, hi;

	host_cpuid(1, 0, r);
	if (!(r[2] & BIT32(27)))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

static bool is_engine_feature(unsigned f)
{
	for (size_t i = 0; i < ARRAY_SIZE(engine_features); i++)
		if (engine_features[i] == f)
			return true;
	return false;
}

/* Whatever the processor: machine checks come from us, and are such as these promise. */
static bool is_machine_check_feature(unsigned f)
{
	return f == X86F_OVERFLOW_RECOV || f == X86F_SUCCOR;
}

static bool is_avx512(unsigned f)
{
	return f >= X86F_AVX512F && f <= X86F_AVX512_BF16;
}

static bool needs_avx_state(unsigned f)
{
	switch (f) {
	case X86F_AVX:
	case X86F_AVX2:
	case X86F_FMA:
	case X86F_F16C:
	case X86F_VAES:
	case X86F_VPCLMULQDQ:
	case X86F_AVX_VNNI:
		return true;
	default:
		return is_avx512(f);
	}
}

/*
 * What the host said of its features, asked for once: CPUID traps where the host is a guest
 * itself, and a model asks for a hundred bits of a handful of leaves.
 */
struct host_leaves {
	const struct x86_cpu_source *src; /* NULL: the soft engine */
	struct {
		uint32_t leaf, sub, r[4];
	} known[20];
	unsigned n;
	uint32_t max[2]; /* highest leaf from 0, and from 80000000h; 0 = not asked yet */
	uint64_t xcr0;
};

static bool has_leaf(struct host_leaves *h, uint32_t leaf)
{
	uint32_t *max = &h->max[leaf >> 31], r[4];

	if (!*max) {
		host_cpuid(leaf & 0x80000000u, 0, r);
		*max = r[0];
	}
	return leaf <= *max;
}

/*
 * The soft engine moves vectors and masks with instructions of AVX512F and BW; what has those two has
 * DQ and VL too, but for Xeon Phi, which has none of the three.
 */
static bool runs_avx512(struct host_leaves *h)
{
	uint32_t r[4] = { 0 }, need = BIT32(16) | BIT32(17) | BIT32(30) | BIT32(31);

	if ((h->xcr0 & 0xe0) != 0xe0 || !has_leaf(h, 7))
		return false;
	host_cpuid(7, 0, r);
	return (r[1] & need) == need;
}

static bool host_has(struct host_leaves *h, unsigned f)
{
	const struct feature_desc *d = &feature_descs[f];
	uint32_t r[4] = { 0 };

	if (is_machine_check_feature(f) || (!h->src && is_engine_feature(f)))
		return true;
	if (!h->src && f >= X86F_HARDWARE)
		return false;
	if (!h->src && needs_avx_state(f)) {
		if (!h->xcr0)
			h->xcr0 = host_xcr0() | BIT64(63); /* known now */
		if ((h->xcr0 & 6) != 6 || (is_avx512(f) && !runs_avx512(h)))
			return false;
	}
	for (unsigned i = 0; i < h->n; i++) {
		if (h->known[i].leaf == d->leaf && h->known[i].sub == d->sub)
			return h->known[i].r[d->reg] >> d->bit & 1;
	}
	if (h->src)
		h->src->leaf(h->src, d->leaf, d->sub, r);
	else if (has_leaf(h, d->leaf))
		host_cpuid(d->leaf, d->sub, r);
	if (h->n < ARRAY_SIZE(h->known)) {
		h->known[h->n].leaf = d->leaf;
		h->known[h->n].sub = d->sub;
		memcpy(h->known[h->n++].r, r, sizeof(r));
	}
	return r[d->reg] >> d->bit & 1;
}

const char *x86_model_name(unsigned i, const char **what)
{
	if (i >= ARRAY_SIZE(model_descs))
		return NULL;
	if (what)
		*what = model_descs[i].what;
	return model_descs[i].name;
}

bool x86_model_fixed(unsigned i)
{
	return i < ARRAY_SIZE(model_descs) && model_descs[i].optional != opt_default &&
	       model_descs[i].optional != opt_max;
}

void x86_model_missing(unsigned i, const struct x86_cpu_source *src,
		       void (*fn)(void *arg, const char *feature), void *arg)
{
	struct host_leaves host = { .src = src };

	if (i >= ARRAY_SIZE(model_descs))
		return;
	for (const uint8_t *f = model_descs[i].required; *f; f++)
		if (!host_has(&host, *f))
			fn(arg, feature_descs[*f].name);
}

const char *x86_feature_name(unsigned feature)
{
	return feature && feature < X86F_NR ? feature_descs[feature].name : NULL;
}

/* Equality of names with '-', '_' and '.' taken as one. */
static bool same_word(const char *a, const char *b)
{
	for (;; a++, b++) {
		char ca = *a == '_' || *a == '.' ? '-' : *a, cb = *b == '_' || *b == '.' ? '-' : *b;

		if (ca != cb)
			return false;
		if (!ca)
			return true;
	}
}

static unsigned find_feature(const char *name)
{
	for (unsigned f = 1; f < X86F_NR; f++)
		if (same_word(feature_descs[f].name, name))
			return f;
	for (size_t i = 0; i < ARRAY_SIZE(feature_aliases); i++)
		if (same_word(feature_aliases[i].name, name))
			return feature_aliases[i].feature;
	return X86F_NONE;
}

/* Edit distance, at most 31 characters a side; core's helper is not below this layer. */
static unsigned word_distance(const char *a, const char *b)
{
	size_t la = MIN(strlen(a), (size_t)31), lb = MIN(strlen(b), (size_t)31);
	unsigned row[32];

	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned diag = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned up = row[j], sub = diag + (a[i - 1] != b[j - 1]);
			unsigned step = MIN(up, row[j - 1]) + 1;

			row[j] = MIN(sub, step);
			diag = up;
		}
	}
	return row[lb];
}

static const char *nearest(const char *word, bool models)
{
	const char *best = NULL, *name;
	unsigned best_d = (unsigned)MAX(strlen(word) / 3, (size_t)1) + 1;

	for (unsigned i = 0; (models ? i < ARRAY_SIZE(model_descs) : i + 1 < X86F_NR); i++) {
		unsigned d;

		name = models ? model_descs[i].name : feature_descs[i + 1].name;
		d = word_distance(word, name);
		if (d < best_d) {
			best_d = d;
			best = name;
		}
	}
	return best;
}

static int unknown_word(const char *kind, const char *word, bool models, struct err *e)
{
	const char *near = nearest(word, models);

	if (near)
		return err_set(e, EINVAL, "CPU %s '%s' not found; did you mean '%s'?", kind,
			       word, near);
	return err_set(e, EINVAL, "CPU %s '%s' not found; '-cpu help' lists them", kind, word);
}

static void host_identity(struct x86_cpu_model *m, bool all)
{
	uint32_t r[4], id[3];

	host_cpuid(0, 0, r);
	id[0] = r[1];
	id[1] = r[3];
	id[2] = r[2];
	memcpy(m->vendor_id, id, 12);
	m->vendor = !strcmp(m->vendor_id, "AuthenticAMD") || !strcmp(m->vendor_id, "HygonGenuine") ?
			    X86_VENDOR_AMD : X86_VENDOR_INTEL;
	m->family = signatures[m->vendor].family;
	m->model = signatures[m->vendor].model;
	m->stepping = signatures[m->vendor].stepping;
	snprintf(m->brand, sizeof(m->brand), "Hanok %s CPU", m->name);
	if (!all)
		return;
	host_cpuid(1, 0, r);
	m->stepping = r[0] & 15;
	m->model = r[0] >> 4 & 15;
	m->family = r[0] >> 8 & 15;
	if (m->family == 6 || m->family == 15)
		m->model |= r[0] >> 12 & 0xf0;
	if (m->family == 15)
		m->family += r[0] >> 20 & 0xff;
	if (__get_cpuid_max(0x80000000u, NULL) < 0x80000004u)
		return;
	for (unsigned i = 0; i < 3; i++) {
		host_cpuid(0x80000002u + i, 0, r);
		memcpy(m->brand + 16 * i, r, 16);
	}
	m->brand[48] = '\0';
}

/*
 * On the soft engine, what tells the guest that a speculation defence is not for it to build: its
 * branches are the engine's branches, so retpolines, PTI and buffer clearing cost time and protect
 * nothing. On the processor itself, the defences that it has.
 */
static void vendor_features(struct x86_cpu_model *m, struct host_leaves *host)
{
	static const uint8_t intel[] = { X86F_SPEC_CTRL, X86F_ARCH_CAP, X86F_MD_CLEAR, X86F_STIBP,
					 X86F_SSBD, X86F_BHI_CTRL, 0 };
	static const uint8_t amd[] = { X86F_AMD_SSB_NO, X86F_LFENCE_RDTSC, X86F_NULL_SEL_CLR_BASE,
				       X86F_AUTO_IBRS, X86F_TOPOEXT, X86F_AMD_IBPB, X86F_AMD_IBRS,
				       X86F_AMD_STIBP, X86F_AMD_SSBD, X86F_OVERFLOW_RECOV,
				       X86F_SUCCOR, 0 };

	for (const uint8_t *f = m->vendor == X86_VENDOR_AMD ? amd : intel; *f; f++)
		if (m->hardware ? host_has(host, *f) : is_engine_feature(*f))
			feat_set(m, *f, true);
}

static const char *whose(const struct host_leaves *h)
{
	return h->src ? h->src->name : "this host's CPU";
}

/* What a model and the words behind its name are read with. */
struct model_parse {
	struct x86_cpu_model *m;
	const struct x86_cpu_source *src;
	uint64_t asked[(X86F_NR + 63) / 64]; /* features named by the user */
	uint64_t lacking[(X86F_NR + 63) / 64]; /* of the model, and not to be had here */
	bool check, enforce; /* say what is lacking; refuse it */
};

/* All that the host has, but what says how processors are arranged and what ties it to this host. */
static void pass_through(struct x86_cpu_model *m, struct host_leaves *host)
{
	for (unsigned f = 1; f < X86F_NR; f++)
		if (f != X86F_HT && f != X86F_CMP_LEGACY && f != X86F_TOPOEXT && f != X86F_INVTSC &&
		    !is_machine_check_feature(f) && host_has(host, f))
			feat_set(m, f, true);
	m->passthrough = true;
	x86_host_features(m, host->src);
}

static int apply_model(struct model_parse *p, const struct model_desc *d, struct err *e)
{
	struct host_leaves host = { .src = p->src };
	struct x86_cpu_model *m = p->m;

	memset(m, 0, sizeof(*m));
	m->name = d->name;
	m->phys_bits = 46;
	m->show_kvm = true;
	m->hardware = p->src && p->src->hardware;
	host_identity(m, d->host_id);
	for (const uint8_t *f = d->required; *f; f++) {
		if (!host_has(&host, *f))
			return err_set(e, EINVAL, "CPU model '%s' needs '%s', which %s does not have; "
				       "use -cpu default", d->name, feature_descs[*f].name,
				       whose(&host));
		feat_set(m, *f, true);
	}
	for (const uint8_t *f = d->optional; *f; f++) {
		if (host_has(&host, *f))
			feat_set(m, *f, true);
		else if (!d->host_id) /* the host's own model lacks nothing */
			p->lacking[*f / 64] |= BIT64(*f % 64);
	}
	vendor_features(m, &host);
	if (m->hardware)
		x86_host_xsave(m, p->src);
	if (m->hardware && !strcmp(d->name, "host"))
		pass_through(m, &host);
	return 0;
}

static int parse_number(const char *key, const char *val, uint32_t min, uint32_t max, uint32_t *out,
			struct err *e)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(val, &end, 0);
	if (!*val || *end || errno || n < min || n > max)
		return err_set(e, EINVAL, "CPU property %s=%s: a number from %u to %u is needed",
			       key, val, min, max);
	*out = (uint32_t)n;
	return 0;
}

static int parse_bool(const char *key, const char *val, bool *out, struct err *e)
{
	if (!strcmp(val, "on") || !strcmp(val, "yes") || !strcmp(val, "true"))
		*out = true;
	else if (!strcmp(val, "off") || !strcmp(val, "no") || !strcmp(val, "false"))
		*out = false;
	else
		return err_set(e, EINVAL, "CPU property %s=%s: on or off is needed", key, val);
	return 0;
}

static int set_feature(struct model_parse *p, const char *name, bool on, struct err *e)
{
	struct host_leaves host = { .src = p->src };
	struct x86_cpu_model *m = p->m;
	uint64_t *asked = p->asked;
	unsigned f = find_feature(name);

	if (!f)
		return unknown_word("feature", name, false, e);
	if (on && !host_has(&host, f))
		return err_set(e, EINVAL, "CPU feature '%s': %s does not have it",
			       feature_descs[f].name, whose(&host));
	feat_set(m, f, on);
	if (on) {
		asked[f / 64] |= BIT64(f % 64);
	} else { /* who does without it does not lack it */
		asked[f / 64] &= ~BIT64(f % 64);
		p->lacking[f / 64] &= ~BIT64(f % 64);
	}
	return 0;
}

/* key=value that is not a feature: 1 = not ours. */
static int set_property(struct model_parse *p, const char *key, const char *val, struct err *e)
{
	struct x86_cpu_model *m = p->m;
	static const char *const accepted_off[] = { "pmu", "migratable", "host-cache-info",
						    "l3-cache", NULL };
	bool on;

	if (same_word(key, "phys-bits"))
		return parse_number(key, val, 36, 52, &m->phys_bits, e);
	if (same_word(key, "family"))
		return parse_number(key, val, 0, 255 + 15, &m->family, e);
	if (same_word(key, "model"))
		return parse_number(key, val, 0, 255, &m->model, e);
	if (same_word(key, "stepping"))
		return parse_number(key, val, 0, 15, &m->stepping, e);
	if (same_word(key, "model-id")) {
		snprintf(m->brand, sizeof(m->brand), "%s", val);
		return 0;
	}
	if (same_word(key, "kvm"))
		return parse_bool(key, val, &m->show_kvm, e);
	if (same_word(key, "check"))
		return parse_bool(key, val, &p->check, e);
	if (same_word(key, "enforce"))
		return parse_bool(key, val, &p->enforce, e);
	for (const char *const *k = accepted_off; *k; k++)
		if (same_word(key, *k)) {
			int r = parse_bool(key, val, &on, e);

			if (!r && on && !strcmp(*k, "pmu"))
				return err_set(e, EINVAL, "CPU property pmu=on: the soft engine "
					       "has no performance counters; leave it out");
			return r;
		}
	return 1;
}

static int parse_item(struct model_parse *p, char *item, struct err *e)
{
	char *eq = strchr(item, '=');
	bool on;
	int r;

	if (*item == '+' || *item == '-')
		return set_feature(p, item + 1, *item == '+', e);
	if (!eq) {
		if (same_word(item, "check") || same_word(item, "enforce"))
			return set_property(p, item, "on", e);
		return set_feature(p, item, true, e);
	}
	*eq = '\0';
	r = set_property(p, item, eq + 1, e);
	if (r <= 0)
		return r;
	if (!find_feature(item))
		return unknown_word("property", item, false, e);
	r = parse_bool(item, eq + 1, &on, e);
	return r ? r : set_feature(p, item, on, e);
}

/* Drops what lost its foundation; refuses it where it was asked for by name. */
static int settle_deps(struct x86_cpu_model *m, const uint64_t *asked, struct err *e)
{
	bool again = true;

	while (again) {
		again = false;
		for (size_t i = 0; i < ARRAY_SIZE(feature_deps); i++) {
			unsigned f = feature_deps[i][0], on = feature_deps[i][1];

			if (!x86_model_has(m, f) || x86_model_has(m, on))
				continue;
			if (asked[f / 64] >> (f % 64) & 1)
				return err_set(e, EINVAL, "CPU feature '%s' needs '%s', which is "
					       "off in model '%s'; add +%s", feature_descs[f].name,
					       feature_descs[on].name, m->name,
					       feature_descs[on].name);
			feat_set(m, f, false);
			again = true;
		}
	}
	return 0;
}

/* check and enforce: the features that the model has elsewhere, and this guest does not get. */
static int judge_lacking(const struct model_parse *p, struct err *e)
{
	const struct host_leaves host = { .src = p->src };
	char names[256] = "";

	for (unsigned f = 1; f < X86F_NR; f++) {
		size_t len = strlen(names);

		if (p->lacking[f / 64] >> (f % 64) & 1)
			snprintf(names + len, sizeof(names) - len, " %s", feature_descs[f].name);
	}
	if (!names[0])
		return 0;
	if (p->enforce)
		return err_set(e, EINVAL, "CPU model '%s' is to be had whole (enforce), but %s lacks:%s",
			       p->m->name, whose(&host), names);
	if (p->check)
		log_warn("CPU model '%s': %s lacks:%s", p->m->name, whose(&host), names);
	return 0;
}

int x86_model_parse(struct x86_cpu_model *m, const char *text, const struct x86_cpu_source *src,
		    struct err *e)
{
	struct model_parse p = { .m = m, .src = src };
	char buf[4096], *save = NULL, *word;
	int r = -EINVAL;

	if (strlen(text) >= sizeof(buf))
		return err_set(e, EINVAL, "CPU model: the text is longer than %zu characters",
			       sizeof(buf) - 1);
	strcpy(buf, text);
	word = strtok_r(buf, ",", &save);
	if (!word)
		return err_set(e, EINVAL, "CPU model: no name given; try 'default'");
	for (size_t i = 0; i < ARRAY_SIZE(model_descs); i++)
		if (same_word(model_descs[i].name, word)) {
			r = apply_model(&p, &model_descs[i], e);
			if (r)
				return r;
			break;
		}
	if (r)
		return unknown_word("model", word, true, e);
	while ((word = strtok_r(NULL, ",", &save))) {
		r = parse_item(&p, word, e);
		if (r)
			return r;
	}
	r = settle_deps(m, p.asked, e);
	if (!r)
		r = judge_lacking(&p, e);
	if (r)
		return r;
	if (!x86_model_has(m, X86F_LM) || !x86_model_has(m, X86F_FPU) ||
	    !x86_model_has(m, X86F_PAE) || !x86_model_has(m, X86F_SSE2))
		return err_set(e, EINVAL, "CPU model: a guest cannot do without lm, pae, fpu and sse2");
	m->lin_bits = x86_model_has(m, X86F_LA57) ? 57 : 48;
	m->xcr0 = x86_model_has(m, X86F_XSAVE) ? 3 : 0;
	if (x86_model_has(m, X86F_AVX))
		m->xcr0 |= 4;
	if (x86_model_has(m, X86F_AVX512F)) {
		m->xcr0 |= 0xe0; /* masks, upper halves of the first 16, the other 16 */
		if (!m->hardware)
			x86_avx512_xsave(m);
	}
	if (x86_model_has(m, X86F_PKU))
		m->xcr0 |= BIT64(9);
	return 0;
}
