/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU models and features as tables. A feature is one CPUID bit; a model is a set of features.
 * Sources: Intel SDM vol. 2 (CPUID), AMD APM vol. 3 appendix E; x86-64-v2/v3: x86-64 psABI.
 */
#ifndef ISA_X86_CPUID_H
#define ISA_X86_CPUID_H

#include "base/base.h"

/* X(enum suffix, name on the command line, leaf, subleaf, register 0..3 = eax..edx, bit) */
#define X86_FEATURES(X)                              \
	X(FPU, "fpu", 1, 0, 3, 0)                    \
	X(VME, "vme", 1, 0, 3, 1)                    \
	X(DE, "de", 1, 0, 3, 2)                      \
	X(PSE, "pse", 1, 0, 3, 3)                    \
	X(TSC, "tsc", 1, 0, 3, 4)                    \
	X(MSR, "msr", 1, 0, 3, 5)                    \
	X(PAE, "pae", 1, 0, 3, 6)                    \
	X(MCE, "mce", 1, 0, 3, 7)                    \
	X(CX8, "cx8", 1, 0, 3, 8)                    \
	X(APIC, "apic", 1, 0, 3, 9)                  \
	X(SEP, "sep", 1, 0, 3, 11)                   \
	X(MTRR, "mtrr", 1, 0, 3, 12)                 \
	X(PGE, "pge", 1, 0, 3, 13)                   \
	X(MCA, "mca", 1, 0, 3, 14)                   \
	X(CMOV, "cmov", 1, 0, 3, 15)                 \
	X(PAT, "pat", 1, 0, 3, 16)                   \
	X(PSE36, "pse36", 1, 0, 3, 17)               \
	X(CLFLUSH, "clflush", 1, 0, 3, 19)           \
	X(MMX, "mmx", 1, 0, 3, 23)                   \
	X(FXSR, "fxsr", 1, 0, 3, 24)                 \
	X(SSE, "sse", 1, 0, 3, 25)                   \
	X(SSE2, "sse2", 1, 0, 3, 26)                 \
	X(HT, "ht", 1, 0, 3, 28)                     \
	X(SSE3, "pni", 1, 0, 2, 0)                   \
	X(PCLMULQDQ, "pclmulqdq", 1, 0, 2, 1)        \
	X(MONITOR, "monitor", 1, 0, 2, 3)            \
	X(SSSE3, "ssse3", 1, 0, 2, 9)                \
	X(FMA, "fma", 1, 0, 2, 12)                   \
	X(CX16, "cx16", 1, 0, 2, 13)                 \
	X(PCID, "pcid", 1, 0, 2, 17)                 \
	X(SSE41, "sse4.1", 1, 0, 2, 19)              \
	X(SSE42, "sse4.2", 1, 0, 2, 20)              \
	X(X2APIC, "x2apic", 1, 0, 2, 21)             \
	X(MOVBE, "movbe", 1, 0, 2, 22)               \
	X(POPCNT, "popcnt", 1, 0, 2, 23)             \
	X(TSC_DEADLINE, "tsc-deadline", 1, 0, 2, 24) \
	X(AES, "aes", 1, 0, 2, 25)                   \
	X(XSAVE, "xsave", 1, 0, 2, 26)               \
	X(AVX, "avx", 1, 0, 2, 28)                   \
	X(F16C, "f16c", 1, 0, 2, 29)                 \
	X(RDRAND, "rdrand", 1, 0, 2, 30)             \
	X(HYPERVISOR, "hypervisor", 1, 0, 2, 31)     \
	X(ARAT, "arat", 6, 0, 0, 2)                  \
	X(FSGSBASE, "fsgsbase", 7, 0, 1, 0)          \
	X(TSC_ADJUST, "tsc_adjust", 7, 0, 1, 1)      \
	X(BMI1, "bmi1", 7, 0, 1, 3)                  \
	X(AVX2, "avx2", 7, 0, 1, 5)                  \
	X(SMEP, "smep", 7, 0, 1, 7)                  \
	X(BMI2, "bmi2", 7, 0, 1, 8)                  \
	X(ERMS, "erms", 7, 0, 1, 9)                  \
	X(INVPCID, "invpcid", 7, 0, 1, 10)           \
	X(RDSEED, "rdseed", 7, 0, 1, 18)             \
	X(ADX, "adx", 7, 0, 1, 19)                   \
	X(SMAP, "smap", 7, 0, 1, 20)                 \
	X(CLFLUSHOPT, "clflushopt", 7, 0, 1, 23)     \
	X(CLWB, "clwb", 7, 0, 1, 24)                 \
	X(SHA, "sha-ni", 7, 0, 1, 29)                \
	X(UMIP, "umip", 7, 0, 2, 2)                  \
	X(GFNI, "gfni", 7, 0, 2, 8)                  \
	X(VAES, "vaes", 7, 0, 2, 9)                  \
	X(VPCLMULQDQ, "vpclmulqdq", 7, 0, 2, 10)     \
	X(LA57, "la57", 7, 0, 2, 16)                 \
	X(RDPID, "rdpid", 7, 0, 2, 22)               \
	X(MOVDIRI, "movdiri", 7, 0, 2, 27)           \
	X(MOVDIR64B, "movdir64b", 7, 0, 2, 28)       \
	X(FSRM, "fsrm", 7, 0, 3, 4)                  \
	X(MD_CLEAR, "md-clear", 7, 0, 3, 10)         \
	X(STIBP, "stibp", 7, 0, 3, 27)               \
	X(SSBD, "ssbd", 7, 0, 3, 31)                 \
	X(SPEC_CTRL, "spec-ctrl", 7, 0, 3, 26)       \
	X(ARCH_CAP, "arch-capabilities", 7, 0, 3, 29) \
	X(AVX_VNNI, "avx-vnni", 7, 1, 0, 4)          \
	X(BHI_CTRL, "bhi-ctrl", 7, 2, 3, 4)          \
	X(XSAVEOPT, "xsaveopt", 13, 1, 0, 0)         \
	X(XSAVEC, "xsavec", 13, 1, 0, 1)             \
	X(XGETBV1, "xgetbv1", 13, 1, 0, 2)           \
	X(XSAVES, "xsaves", 13, 1, 0, 3)             \
	X(LAHF_LM, "lahf_lm", 0x80000001, 0, 2, 0)   \
	X(CMP_LEGACY, "cmp_legacy", 0x80000001, 0, 2, 1) \
	X(ABM, "abm", 0x80000001, 0, 2, 5)           \
	X(SSE4A, "sse4a", 0x80000001, 0, 2, 6)       \
	X(PREFETCHW, "3dnowprefetch", 0x80000001, 0, 2, 8) \
	X(TOPOEXT, "topoext", 0x80000001, 0, 2, 22)  \
	X(SYSCALL, "syscall", 0x80000001, 0, 3, 11)  \
	X(NX, "nx", 0x80000001, 0, 3, 20)            \
	X(MMXEXT, "mmxext", 0x80000001, 0, 3, 22)    \
	X(FXSR_OPT, "fxsr_opt", 0x80000001, 0, 3, 25) \
	X(PDPE1GB, "pdpe1gb", 0x80000001, 0, 3, 26)  \
	X(RDTSCP, "rdtscp", 0x80000001, 0, 3, 27)    \
	X(LM, "lm", 0x80000001, 0, 3, 29)            \
	X(OVERFLOW_RECOV, "overflow-recov", 0x80000007, 0, 1, 0) \
	X(SUCCOR, "succor", 0x80000007, 0, 1, 1)     \
	X(INVTSC, "invtsc", 0x80000007, 0, 3, 8)     \
	X(CLZERO, "clzero", 0x80000008, 0, 1, 0)     \
	X(XSAVEERPTR, "xsaveerptr", 0x80000008, 0, 1, 2) \
	X(AMD_SSB_NO, "amd-no-ssb", 0x80000008, 0, 1, 26) \
	X(AMD_IBPB, "ibpb", 0x80000008, 0, 1, 12) \
	X(AMD_IBRS, "amd-ibrs", 0x80000008, 0, 1, 14) \
	X(AMD_STIBP, "amd-stibp", 0x80000008, 0, 1, 15) \
	X(AMD_SSBD, "amd-ssbd", 0x80000008, 0, 1, 24) \
	X(LFENCE_RDTSC, "lfence-always-serializing", 0x80000021, 0, 0, 2) \
	X(NULL_SEL_CLR_BASE, "null-sel-clr-base", 0x80000021, 0, 0, 6) \
	X(AUTO_IBRS, "auto-ibrs", 0x80000021, 0, 0, 8) \
	X(AVX512F, "avx512f", 7, 0, 1, 16) \
	X(AVX512DQ, "avx512dq", 7, 0, 1, 17) \
	X(AVX512IFMA, "avx512ifma", 7, 0, 1, 21) \
	X(AVX512CD, "avx512cd", 7, 0, 1, 28) \
	X(AVX512BW, "avx512bw", 7, 0, 1, 30) \
	X(AVX512VL, "avx512vl", 7, 0, 1, 31) \
	X(AVX512VBMI, "avx512vbmi", 7, 0, 2, 1) \
	X(AVX512VBMI2, "avx512vbmi2", 7, 0, 2, 6) \
	X(AVX512VNNI, "avx512vnni", 7, 0, 2, 11) \
	X(AVX512BITALG, "avx512bitalg", 7, 0, 2, 12) \
	X(AVX512VPOPCNTDQ, "avx512-vpopcntdq", 7, 0, 2, 14) \
	X(AVX512_FP16, "avx512-fp16", 7, 0, 3, 23) \
	X(AVX512_BF16, "avx512-bf16", 7, 1, 0, 5) \
	/* from here on only where guests run on the processor: X86F_HARDWARE */ \
	X(VMX, "vmx", 1, 0, 2, 5) \
	X(SS, "ss", 1, 0, 3, 27) \
	X(HLE, "hle", 7, 0, 1, 4) \
	X(RTM, "rtm", 7, 0, 1, 11) \
	X(AVX512PF, "avx512pf", 7, 0, 1, 26) \
	X(AVX512ER, "avx512er", 7, 0, 1, 27) \
	X(PKU, "pku", 7, 0, 2, 3) \
	X(WAITPKG, "waitpkg", 7, 0, 2, 5) \
	X(BUS_LOCK_DETECT, "bus-lock-detect", 7, 0, 2, 24) \
	X(CLDEMOTE, "cldemote", 7, 0, 2, 25) \
	X(AVX512_4VNNIW, "avx512-4vnniw", 7, 0, 3, 2) \
	X(AVX512_4FMAPS, "avx512-4fmaps", 7, 0, 3, 3) \
	X(AVX512_VP2INTERSECT, "avx512-vp2intersect", 7, 0, 3, 8) \
	X(SERIALIZE, "serialize", 7, 0, 3, 14) \
	X(TSXLDTRK, "tsx-ldtrk", 7, 0, 3, 16) \
	X(FLUSH_L1D, "flush-l1d", 7, 0, 3, 28) \
	X(SHA512, "sha512", 7, 1, 0, 0) \
	X(SM3, "sm3", 7, 1, 0, 1) \
	X(SM4, "sm4", 7, 1, 0, 2) \
	X(CMPCCXADD, "cmpccxadd", 7, 1, 0, 7) \
	X(FZRM, "fzrm", 7, 1, 0, 10) \
	X(FSRS, "fsrs", 7, 1, 0, 11) \
	X(FSRC, "fsrc", 7, 1, 0, 12) \
	X(WRMSRNS, "wrmsrns", 7, 1, 0, 19) \
	X(AVX_IFMA, "avx-ifma", 7, 1, 0, 23) \
	X(LAM, "lam", 7, 1, 0, 26) \
	X(AVX_VNNI_INT8, "avx-vnni-int8", 7, 1, 3, 4) \
	X(AVX_NE_CONVERT, "avx-ne-convert", 7, 1, 3, 5) \
	X(PREFETCHITI, "prefetchiti", 7, 1, 3, 14) \
	X(SVM, "svm", 0x80000001, 0, 2, 2) \
	X(CR8LEGACY, "cr8legacy", 0x80000001, 0, 2, 4) \
	X(MISALIGNSSE, "misalignsse", 0x80000001, 0, 2, 7) \
	X(OSVW, "osvw", 0x80000001, 0, 2, 9) \
	X(XOP, "xop", 0x80000001, 0, 2, 11) \
	X(FMA4, "fma4", 0x80000001, 0, 2, 16) \
	X(TBM, "tbm", 0x80000001, 0, 2, 21) \
	X(WBNOINVD, "wbnoinvd", 0x80000008, 0, 1, 9) \
	X(AMD_VIRT_SSBD, "virt-ssbd", 0x80000008, 0, 1, 25) \
	X(AMD_PSFD, "amd-psfd", 0x80000008, 0, 1, 28)

enum x86_feature {
	X86F_NONE,
#define X(id, name, leaf, sub, reg, bit) X86F_##id,
	X86_FEATURES(X)
#undef X
	X86F_NR
};
#define X86F_HARDWARE X86F_VMX


/*
 * Whose rules hold where the vendors differ (SYSENTER in long mode, the SMM save-state map, the
 * cache leaves). Hygon counts as AMD, Zhaoxin and Centaur as Intel.
 */
enum x86_vendor { X86_VENDOR_INTEL, X86_VENDOR_AMD };

/* Feature bits without a name, of a leaf. */
struct x86_raw_leaf {
	uint32_t leaf, sub, r[4];
};
#define X86_RAW_LEAVES 9

/* A component of the XSAVE area: bytes, offset in the standard format, flags as in leaf 0xd. */
struct x86_xsave_part {
	uint32_t size, offset, flags;
};
#define X86_XSAVE_COMPONENTS 10

struct x86_cpu_model {
	const char *name; /* of the table: "default" */
	enum x86_vendor vendor;
	char vendor_id[13]; /* "AuthenticAMD" */
	char brand[49];
	uint32_t family, model, stepping;
	uint32_t phys_bits, lin_bits; /* width of physical and linear addresses */
	bool show_kvm; /* hypervisor leaves say KVM */
	bool passthrough; /* "host": raw and svm too, which the host has beyond this table */
	struct x86_raw_leaf raw[X86_RAW_LEAVES];
	uint32_t svm[4]; /* leaf 8000000ah, for guests with guests of their own */
	/* of the processor; size 0: as x86_xsave_component() says */
	struct x86_xsave_part xsave[X86_XSAVE_COMPONENTS];
	bool hardware; /* the guest runs on the processor itself: see x86_cpu_source */
	uint64_t xcr0; /* XCR0 bits that the guest may set */
	uint64_t feat[(X86F_NR + 63) / 64];
};

static inline bool x86_model_has(const struct x86_cpu_model *m, unsigned feature)
{
	return feature == X86F_NONE || (m->feat[feature / 64] >> (feature % 64) & 1);
}

/*
 * What an engine can give its guests on this host, as the most that CPUID may say. hardware: guest
 * code runs on the processor, so that its speculation and the defences against it are real; an
 * engine that interprets has none to defend.
 */
struct x86_cpu_source {
	void (*leaf)(const struct x86_cpu_source *, uint32_t leaf, uint32_t sub, uint32_t r[4]);
	bool hardware;
	const char *name; /* for messages: "KVM on this host" */
};

/*
 * Fills *m from "model[,+feat][,-feat][,feat=on|off][,property=value]". The models: default,
 * x86-64-v2, x86-64-v3, max (host), qemu64, base (nothing). src says what there is; NULL is the
 * soft engine, where features that the engine does itself are always to be had, the rest only when
 * the host has them.
 * check warns of features of the model that are not to be had, enforce refuses.
 * -EINVAL with e naming the word, its nearest relative, or what the host lacks.
 */
int x86_model_parse(struct x86_cpu_model *m, const char *text, const struct x86_cpu_source *src,
		    struct err *e) MUST_CHECK;
/* Models, then features: names for help texts, NULL behind the last. */
const char *x86_model_name(unsigned i, const char **what);
const char *x86_feature_name(unsigned feature);
/* Whether model i leaves out nothing that a host might have more than another. */
bool x86_model_fixed(unsigned i);
/* Calls fn for each feature without which model i does not start, and that src does not have. */
void x86_model_missing(unsigned i, const struct x86_cpu_source *src,
		       void (*fn)(void *arg, const char *feature), void *arg);

/* How the vCPUs are arranged; product = number of vCPUs. 0 counts as 1. */
struct x86_topology {
	unsigned sockets, dies, cores, threads;
};

/* The APIC id of vCPU number index: bit fields for thread, core, die and socket. */
uint32_t x86_apic_id(const struct x86_topology *, unsigned index);

/* All that CPUID's answer depends on. */
struct x86_cpuid_env {
	const struct x86_cpu_model *model;
	struct x86_topology topo;
	uint32_t apic_id;
	uint64_t cr4, xcr0, xss; /* for OSXSAVE and the sizes in leaf 0xd */
	uint64_t misc_enable;
	uint64_t tsc_khz; /* 0 = unknown */
};

/* CPUID as the guest sees it, r = eax, ebx, ecx, edx. */
void x86_cpuid(const struct x86_cpuid_env *, uint32_t leaf, uint32_t subleaf, uint32_t r[4]);

/* Offset and size of an XSAVE component in the standard format; false for what we do not have. */
bool x86_xsave_component(unsigned n, uint32_t *offset, uint32_t *size);
/* The same as the model has it: of the processor where its layout is known. */
bool x86_model_xsave(const struct x86_cpu_model *, unsigned n, struct x86_xsave_part *out);
/* Bytes of an XSAVE area for the components in mask: standard or compacted format. */
uint32_t x86_xsave_size(uint64_t mask, bool compacted);

#endif
