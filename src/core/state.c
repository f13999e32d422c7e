/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state engine (state.h): writes and reads objects by their tables. Format: docs/state.md.
 *
 * The reader trusts nothing: every length is checked against the enclosing one before use, nothing
 * is allocated by a number from the stream, and recursion follows the tables, not the stream.
 */
#include "base/base.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/trace.h"
#include "core/state.h"

#define OBJECT_MAGIC  0x424f4b48u /* "HKOB" */
#define OBJECT_HEADER 8		  /* magic, body length */
#define NAME_SIZE     160	  /* of a printed, escaped name */

/* ---- saving ---- */

void state_buf_fini(struct state_buf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

static uint8_t *grow(struct state_buf *b, size_t n)
{
	if (b->cap - b->len < n) {
		b->cap = MAX(b->cap * 2, b->len + n + 256);
		b->data = xrealloc(b->data, b->cap, 1);
	}
	b->len += n;
	return b->data + b->len - n;
}

static void put(struct state_buf *b, uint64_t val, unsigned size)
{
	st_le(grow(b, size), val, size);
}

static void put_name(struct state_buf *b, const char *name)
{
	size_t n = strlen(name);

	assert(n <= UINT16_MAX);
	put(b, n, 2);
	memcpy(grow(b, n), name, n);
}

static bool is_state(const struct state_field *f)
{
	return f->kind != STATE_HOST && f->kind != STATE_DERIVED;
}

/* Bytes of one element in the stream; 0 for STATE_SUB, whose size is not fixed. */
static uint32_t wire_size(const struct state_field *f)
{
	switch (f->kind) {
	case STATE_U8:
	case STATE_BOOL:
	case STATE_BYTES:
		return 1;
	case STATE_U16:
		return 2;
	case STATE_U32:
		return 4;
	case STATE_U64:
	case STATE_NS:
	case STATE_TSC:
		return 8;
	default:
		return 0;
	}
}

static uint64_t load_scalar(const void *at, enum state_kind kind)
{
	switch (kind) {
	case STATE_U8:
	case STATE_BYTES:
		return *(const uint8_t *)at;
	case STATE_U16:
		return *(const uint16_t *)at;
	case STATE_U32:
		return *(const uint32_t *)at;
	case STATE_U64:
	case STATE_NS:
	case STATE_TSC:
		return *(const uint64_t *)at;
	case STATE_BOOL:
		return *(const uint8_t *)at != 0; /* whatever byte a bool holds */
	default:
		return 0;
	}
}

static void store_scalar(void *at, enum state_kind kind, uint64_t val)
{
	switch (kind) {
	case STATE_U8:
	case STATE_BYTES:
		*(uint8_t *)at = (uint8_t)val;
		break;
	case STATE_U16:
		*(uint16_t *)at = (uint16_t)val;
		break;
	case STATE_U32:
		*(uint32_t *)at = (uint32_t)val;
		break;
	case STATE_U64:
	case STATE_NS:
	case STATE_TSC:
		*(uint64_t *)at = val;
		break;
	case STATE_BOOL:
		*(bool *)at = val != 0;
		break;
	default:
		break;
	}
}

static void save_fields(struct state_buf *b, const struct state_desc *d, void *obj);

/* Where the elements of a field are, and how many. */
static uint8_t *elements(const struct state_field *f, void *obj, uint32_t *count)
{
	uint8_t *at = (uint8_t *)obj + f->offset;

	*count = f->count;
	if (f->kind != STATE_SUBS)
		return at;
	*count = *(uint32_t *)(void *)((uint8_t *)obj + f->count_at);
	return *(uint8_t **)(void *)at;
}

static void save_field(struct state_buf *b, const struct state_field *f, void *obj)
{
	size_t length_at;
	uint32_t count;
	uint8_t *at = elements(f, obj, &count);

	put(b, (uint64_t)f->kind, 1);
	put_name(b, f->name);
	length_at = b->len;
	put(b, 0, 4);
	for (uint32_t i = 0; i < count; i++, at += f->elem) {
		if (f->kind == STATE_SUB || f->kind == STATE_SUBS) {
			put(b, f->sub->version, 4);
			save_fields(b, f->sub, at);
		} else {
			put(b, load_scalar(at, f->kind), wire_size(f));
		}
	}
	st_le32(b->data + length_at, (uint32_t)(b->len - length_at - 4));
}

static void save_fields(struct state_buf *b, const struct state_desc *d, void *obj)
{
	if (d->pre_save)
		d->pre_save(obj);
	for (const struct state_field *f = d->fields; f->kind != STATE_END; f++) {
		if (is_state(f))
			save_field(b, f, obj);
	}
	put(b, STATE_END, 1);
}

void state_save(struct state_buf *out, const char *id, const struct state_desc *d, void *obj)
{
	size_t start = out->len;

	trace_vmstate_save(id, d->name);
	put(out, OBJECT_MAGIC, 4);
	put(out, 0, 4);
	put_name(out, id);
	put_name(out, d->name);
	put(out, d->version, 4);
	save_fields(out, d, obj);
	st_le32(out->data + start + 4, (uint32_t)(out->len - start - OBJECT_HEADER));
	put(out, crc32c(0, out->data + start, out->len - start), 4);
}

/* ---- time ---- */

static void shift_field(const struct state_field *f, void *obj, uint64_t ns, uint64_t tsc)
{
	uint32_t count;
	uint8_t *at = elements(f, obj, &count);

	for (uint32_t i = 0; i < count; i++, at += f->elem) {
		uint64_t *moment = (uint64_t *)(void *)at;

		if (f->sub)
			state_shift(f->sub, at, ns, tsc);
		else if (f->kind == STATE_TSC)
			*moment += tsc;
		else if (*moment != UINT64_MAX)
			*moment += ns;
	}
}

void state_shift(const struct state_desc *d, void *obj, uint64_t ns, uint64_t tsc)
{
	for (const struct state_field *f = d->fields; f->kind != STATE_END; f++) {
		if (f->kind == STATE_NS || f->kind == STATE_TSC || f->kind == STATE_SUB ||
		    f->kind == STATE_SUBS)
			shift_field(f, obj, ns, tsc);
	}
}

/* ---- loading ---- */

/* What is left of the innermost enclosing length, and where we are for messages. */
struct reader {
	const uint8_t *p, *end;
	const char *id; /* of the object */
	struct err *e;
};

struct name {
	const uint8_t *p;
	size_t n;
};

static bool name_is(const struct name *n, const char *s)
{
	return n->p && n->n == strlen(s) && !memcmp(n->p, s, n->n);
}

static const char *name_print(char *buf, const struct name *n)
{
	log_escape(buf, NAME_SIZE, n->p, n->n);
	return buf;
}

static int truncated(struct reader *r, const char *what)
{
	return err_set(r->e, EINVAL, "state of %s: ends inside %s", r->id, what);
}

static int get(struct reader *r, unsigned size, uint64_t *out, const char *what)
{
	*out = 0;
	if ((size_t)(r->end - r->p) < size)
		return truncated(r, what);
	*out = ld_le(r->p, size);
	r->p += size;
	return 0;
}

static int get_name(struct reader *r, struct name *out, const char *what)
{
	uint64_t n;
	int ret = get(r, 2, &n, what);

	*out = (struct name){ .p = r->p };
	if (ret < 0)
		return ret;
	if ((size_t)(r->end - r->p) < n)
		return truncated(r, what);
	out->p = r->p;
	out->n = n;
	r->p += n;
	return 0;
}

static int check_version(struct reader *r, const struct state_desc *d, uint64_t version)
{
	if (version <= d->version && version)
		return 0;
	return err_set(r->e, EINVAL,
		       "state of %s: '%s' has version %" PRIu64 ", this hanok knows 1 to %" PRIu32
		       "; load it with the version that saved it, or a later one",
		       r->id, d->name, version, d->version);
}

static int load_fields(struct reader *r, const struct state_desc *d, void *obj, uint64_t version);

static int load_subs(struct reader *r, const struct state_field *f, uint8_t *at, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++, at += f->elem) {
		uint64_t version;
		int ret = get(r, 4, &version, f->name);

		if (ret == 0)
			ret = check_version(r, f->sub, version);
		if (ret == 0)
			ret = load_fields(r, f->sub, at, version);
		if (ret < 0)
			return ret;
	}
	if (r->p != r->end)
		return err_set(r->e, EINVAL,
			       "state of %s: field '%s' has more than %" PRIu32 " elements", r->id,
			       f->name, count);
	return 0;
}

static int load_scalars(struct reader *r, const struct state_field *f, uint8_t *at)
{
	uint32_t size = wire_size(f);

	if ((uint64_t)(r->end - r->p) != (uint64_t)size * f->count)
		return err_set(r->e, EINVAL,
			       "state of %s: field '%s' has %td bytes, %" PRIu64 " expected", r->id,
			       f->name, r->end - r->p, (uint64_t)size * f->count);
	for (uint32_t i = 0; i < f->count; i++, at += f->elem, r->p += size) {
		uint64_t val = ld_le(r->p, size);

		if (f->kind == STATE_BOOL && val > 1)
			return err_set(r->e, EINVAL,
				       "state of %s: field '%s' is a truth value, but has %" PRIu64,
				       r->id, f->name, val);
		store_scalar(at, f->kind, val);
	}
	return 0;
}

/* BYTES elements are one byte each, whatever the array's declared type. */
static int load_field(struct reader *r, const struct state_field *f, uint64_t kind, void *obj)
{
	struct reader inner = *r;
	uint32_t count;
	uint8_t *at = elements(f, obj, &count);
	uint64_t length;
	int ret;

	if (kind != (uint64_t)f->kind)
		return err_set(r->e, EINVAL,
			       "state of %s: field '%s' is of kind %" PRIu64 ", %d expected", r->id,
			       f->name, kind, f->kind);
	ret = get(r, 4, &length, f->name);
	if (ret < 0)
		return ret;
	if ((size_t)(r->end - r->p) < length)
		return truncated(r, f->name);
	inner.p = r->p;
	inner.end = r->p + length;
	r->p += length;
	if (f->kind == STATE_SUB || f->kind == STATE_SUBS)
		return load_subs(&inner, f, at, count);
	return load_scalars(&inner, f, at);
}

static size_t count_fields(const struct state_desc *d)
{
	size_t n = 0;

	while (d->fields[n].kind != STATE_END)
		n++;
	return n;
}

static const struct state_field *find_field(const struct state_desc *d, const struct name *name)
{
	for (const struct state_field *f = d->fields; f->kind != STATE_END; f++) {
		if (is_state(f) && name_is(name, f->name))
			return f;
	}
	return NULL;
}

static int load_next_field(struct reader *r, const struct state_desc *d, void *obj,
			   uint64_t version, uint64_t kind, bool *seen)
{
	char text[NAME_SIZE];
	const struct state_field *f;
	struct name name;
	int ret = get_name(r, &name, "a field's name");

	if (ret < 0)
		return ret;
	f = find_field(d, &name);
	if (!f)
		return err_set(r->e, EINVAL,
			       "state of %s: '%s' version %" PRIu64 " has an unknown field '%s'"
			       " (this hanok has version %" PRIu32 ")",
			       r->id, d->name, version, name_print(text, &name), d->version);
	if (seen[f - d->fields])
		return err_set(r->e, EINVAL, "state of %s: field '%s' is there twice", r->id,
			       f->name);
	seen[f - d->fields] = true;
	return load_field(r, f, kind, obj);
}

static int check_missing(struct reader *r, const struct state_desc *d, uint64_t version,
			 const bool *seen)
{
	for (const struct state_field *f = d->fields; f->kind != STATE_END; f++) {
		if (is_state(f) && !seen[f - d->fields] && f->since <= version)
			return err_set(r->e, EINVAL,
				       "state of %s: '%s' version %" PRIu64
				       " lacks field '%s' (this hanok has version %" PRIu32 ")",
				       r->id, d->name, version, f->name, d->version);
	}
	return 0;
}

static int load_fields(struct reader *r, const struct state_desc *d, void *obj, uint64_t version)
{
	autofree bool *seen = xnew_n(bool, count_fields(d));
	uint64_t kind;
	int ret;

	if (d->pre_load)
		d->pre_load(obj);
	for (;;) {
		ret = get(r, 1, &kind, "its fields");
		if (ret < 0)
			return ret;
		if (kind == STATE_END)
			break;
		ret = load_next_field(r, d, obj, version, kind, seen);
		if (ret < 0)
			return ret;
	}
	ret = check_missing(r, d, version, seen);
	if (ret == 0 && d->post_load) {
		ret = d->post_load(obj, r->e);
		if (ret < 0)
			err_prefix(r->e, "state of %s: ", r->id);
	}
	return ret;
}

/* Checks length and checksum; the reader then covers the body. */
static int open_object(struct reader *r, const uint8_t **next)
{
	size_t left = (size_t)(r->end - r->p), body;

	if (left < OBJECT_HEADER + 4)
		return truncated(r, "its header");
	if (ld_le32(r->p) != OBJECT_MAGIC)
		return err_set(r->e, EINVAL, "state of %s: there is no object here", r->id);
	body = ld_le32(r->p + 4);
	if (body > left - OBJECT_HEADER - 4)
		return truncated(r, "its body");
	if (crc32c(0, r->p, OBJECT_HEADER + body) != ld_le32(r->p + OBJECT_HEADER + body))
		return err_set(r->e, EINVAL, "state of %s: damaged (checksum does not match)",
			       r->id);
	r->p += OBJECT_HEADER;
	r->end = r->p + body;
	*next = r->end + 4;
	return 0;
}

static int check_header(struct reader *r, const struct state_desc *d, uint64_t *version)
{
	struct name id = { 0 }, type = { 0 };
	char text[NAME_SIZE];
	int ret = get_name(r, &id, "its id");

	if (ret == 0)
		ret = get_name(r, &type, "its type");
	if (ret == 0)
		ret = get(r, 4, version, "its version");
	if (ret < 0)
		return ret;
	if (!name_is(&id, r->id))
		return err_set(r->e, EINVAL, "state of %s expected, found that of '%s'", r->id,
			       name_print(text, &id));
	if (!name_is(&type, d->name))
		return err_set(r->e, EINVAL, "state of %s: type '%s' expected, found '%s'", r->id,
			       d->name, name_print(text, &type));
	return check_version(r, d, *version);
}

int state_load(const uint8_t **pos, const uint8_t *end, const char *id, const struct state_desc *d,
	       void *obj, struct err *e)
{
	struct reader r = { .p = *pos, .end = end, .id = id, .e = e };
	const uint8_t *next = *pos;
	uint64_t version = 0;
	int ret = open_object(&r, &next);

	trace_vmstate_load(id, d->name);
	if (ret == 0)
		ret = check_header(&r, d, &version);
	if (ret == 0)
		ret = load_fields(&r, d, obj, version);
	if (ret == 0 && r.p != r.end)
		ret = err_set(e, EINVAL, "state of %s: %td bytes behind its end", id, r.end - r.p);
	if (ret == 0)
		*pos = next;
	return ret;
}
