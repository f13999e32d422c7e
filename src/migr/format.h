/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file format of a saved machine, as docs/state.md describes it. Little-endian throughout.
 *
 *	header		FMT_HEADER_LEN bytes, text of the given length, CRC-32C of both
 *	state section	section head, then the objects of core/state.h
 *	RAM section	section head, zeroes up to a page boundary, chunks; the last one is empty
 *	end section	section head alone; its length is that of everything in front of it
 */
#ifndef MIGR_FORMAT_H
#define MIGR_FORMAT_H

#include "base/base.h"
#include "migr/stream.h"
#include "migr/text.h"

struct vm;

#define FMT_MAGIC      "HANOKVM\x1a"
#define FMT_VERSION    1u
#define FMT_HEADER_LEN 16u /* magic, version, length of the text */

#define FMT_SECTION_MAGIC 0x43534b48u /* "HKSC" */
#define FMT_SECTION_LEN	  28u /* magic, kind, length (8), of the payload: CRC; reserved; own CRC */
enum fmt_section { FMT_STATE = 1, FMT_RAM = 2, FMT_END = 3 };

#define FMT_STATE_MAX MIB(64)

/*
 * A chunk: one page of head, then the pages that it has. RAM in runs of FMT_CHUNK_PAGES pages,
 * ascending by block and page; pages that are all zero, and chunks of only such, are left out.
 */
#define FMT_PAGE	4096u
#define FMT_CHUNK_MAGIC 0x4d524b48u /* "HKRM" */
#define FMT_CHUNK_PAGES 512u
enum {
	CHUNK_MAGIC = 0,
	CHUNK_CRC = 4,	  /* of the head, with zeroes here */
	CHUNK_BLOCK = 8,  /* which "ram" of the header */
	CHUNK_PAGES = 12, /* that follow; 0 = the end */
	CHUNK_FIRST = 16, /* page number of the first bit, a multiple of FMT_CHUNK_PAGES */
	CHUNK_DATA_CRC = 24,
	CHUNK_MAP = 32, /* a bit a page */
};

/* Progress of RAM, for whoever asks meanwhile. */
struct ram_count {
	_Atomic uint64_t total, done;  /* bytes of guest memory, and how far */
	_Atomic uint64_t zero, normal; /* pages left out, pages in the stream */
};

/* save.c. Control thread, machine at a stand: header and state section to out. */
int save_state(struct vm *, const char *run_state, struct state_buf *out, struct err *e) MUST_CHECK;
/* Worker thread: RAM and end section. */
int save_ram(struct vm *, struct migr_stream *, struct ram_count *, struct err *e) MUST_CHECK;

/* What a stream's header and state section hold. */
struct load {
	struct migr_text text;
	uint8_t *state;
	size_t state_len;
};
void load_fini(struct load *);
/* load.c. Any thread: header and state section, unchecked but for their checksums. */
int load_head(struct migr_stream *, struct migr_text *out, struct err *e) MUST_CHECK;
int load_state_section(struct migr_stream *, struct load *, struct err *e) MUST_CHECK;
/* Worker thread, machine at a stand and reset: RAM, and the end section. */
int load_ram(struct vm *, struct migr_stream *, struct ram_count *, struct err *e) MUST_CHECK;
/* Control thread, RAM is there: gives every object what was saved. The machine is to be reset or
 * given up after an error. */
int load_apply(struct vm *, const struct load *, struct err *e) MUST_CHECK;

/* Section heads, for save.c, load.c and the RAM's. */
void section_encode(uint8_t *head, enum fmt_section, uint64_t len, uint32_t crc);
/* One of the wanted kind, with a right checksum of its own. */
int section_read(struct migr_stream *, enum fmt_section, uint64_t *len, uint32_t *crc,
		 struct err *e) MUST_CHECK;

#endif
