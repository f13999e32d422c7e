/* SPDX-License-Identifier: Apache-2.0 */
/*
 * -object secret (object.h): bytes that others must not see, from a file or the command line, raw
 * or base64. They are kept once, out of core dumps, and wiped before their memory is freed.
 * Control thread. State: none.
 */
#include "base/base.h"
#include "core/fdset.h"
#include "core/object.h"
#include "core/vm.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define SECRET_MAX KIB(64)

struct secret {
	struct obj o;
	char *data, *file, *format, *keyid, *iv;
	uint8_t *bytes; /* SECRET_MAX, mapped */
	size_t len;
};

static const struct prop props[] = {
	PROP_STRING("data", struct secret, data, NULL, "the secret itself"),
	PROP_STRING("file", struct secret, file, NULL, "the file that has it"),
	PROP_STRING("format", struct secret, format, "raw", "raw or base64"),
	PROP_STRING("keyid", struct secret, keyid, NULL, "secret that it is encrypted with"),
	PROP_STRING("iv", struct secret, iv, NULL, "initialisation vector of the encryption"),
	PROPS_END,
};

static struct secret *secret_of(struct obj *o)
{
	return container_of(o, struct secret, o);
}

static int alloc(struct secret *s, struct err *e)
{
	void *p =
		mmap(NULL, SECRET_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return err_set_errno(e, errno, "no memory for a secret");
	madvise(p, SECRET_MAX, MADV_DONTDUMP);
	s->bytes = p;
	return 0;
}

static int read_file(struct secret *s, struct conf_node *node, struct err *e)
{
	autoclose int fd = fdset_open(node->conf, s->file, O_RDONLY | O_NOCTTY, 0, e);
	char more;
	ssize_t n;

	if (fd < 0)
		return fd;
	while (s->len < SECRET_MAX) {
		n = read(fd, s->bytes + s->len, SECRET_MAX - s->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(e, errno, "cannot read '%s'", s->file);
		if (n == 0)
			return 0;
		s->len += (size_t)n;
	}
	if (read(fd, &more, 1) == 1)
		return err_set(e, EFBIG, "'%s' has more than %" PRIu64 " bytes", s->file,
			       (uint64_t)SECRET_MAX);
	return 0;
}

static int base64_value(uint8_t c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

/* In place: base64 is longer than what it stands for. */
static int decode_base64(struct secret *s, struct err *e)
{
	uint32_t acc = 0, bits = 0, pad = 0;
	size_t out = 0, digits = 0;

	for (size_t i = 0; i < s->len; i++) {
		uint8_t c = s->bytes[i];
		int v;

		if (c == '\n' || c == '\r')
			continue;
		v = base64_value(c);
		digits++;
		if (c == '=' && ++pad <= 2)
			continue;
		if (v < 0 || pad)
			return err_set(e, EINVAL, "byte %zu is not base64", i + 1);
		acc = acc << 6 | (uint32_t)v;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			s->bytes[out++] = (uint8_t)(acc >> bits);
		}
	}
	if (digits % 4 || (acc & ((1u << bits) - 1)))
		return err_set(e, EINVAL, "it is not whole base64: a multiple of four digits");
	explicit_bzero(s->bytes + out, s->len - out);
	s->len = out;
	return 0;
}

static int load(struct obj *o, struct conf_node *node, struct err *e)
{
	struct secret *s = secret_of(o);
	bool base64 = !strcmp(s->format, "base64");
	int ret;

	if (!s->data == !s->file)
		return err_set(e, EINVAL, "a secret has either file= or data=");
	if (!base64 && strcmp(s->format, "raw"))
		return err_set(e, EINVAL, "format=%s: say raw or base64", s->format);
	if (s->keyid || s->iv)
		return err_set(e, ENOTSUP,
			       "keyid and iv: secrets that are encrypted are not here yet");
	ret = alloc(s, e);
	if (ret < 0)
		return ret;
	if (s->file) {
		ret = read_file(s, node, e);
	} else if ((s->len = strlen(s->data)) > SECRET_MAX) {
		s->len = 0;
		ret = err_set(e, EFBIG, "data= has more than %" PRIu64 " bytes",
			      (uint64_t)SECRET_MAX);
	} else {
		memcpy(s->bytes, s->data, s->len);
		explicit_bzero(s->data, s->len);
		explicit_bzero((char *)conf_get(node, "data"), s->len);
	}
	return ret < 0 || !base64 ? ret : decode_base64(s, e);
}

static void wipe(struct obj *o)
{
	struct secret *s = secret_of(o);

	if (s->data)
		explicit_bzero(s->data, strlen(s->data));
	if (!s->bytes)
		return;
	explicit_bzero(s->bytes, SECRET_MAX);
	munmap(take_ptr(s->bytes), SECRET_MAX);
}

int obj_secret_get(struct vm *vm, const char *id, const uint8_t **data, size_t *len, struct err *e)
{
	struct obj *o = obj_find(vm, id, &obj_secret, e);

	if (!o)
		return -(e ? e->code : ENOENT);
	*data = secret_of(o)->bytes;
	*len = secret_of(o)->len;
	return 0;
}

const struct obj_type obj_secret = {
	.name = "secret",
	.help = "bytes that others must not see: a password or key",
	.size = sizeof(struct secret),
	.props = props,
	.init = load,
	.fini = wipe,
};
