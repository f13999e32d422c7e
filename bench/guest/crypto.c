/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL's ciphers, hash, signatures and key agreement, with keys and data that are the same each
 * time. */
#include "run.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

#define KEY "/bench/rsa.pem" /* making one takes a random time */

static uint8_t data[16384], out[16384 + 64];

static void must(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "openssl: %s failed\n", what);
		exit(1);
	}
}

static uint64_t sum_of(const uint8_t *p, size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = sum * 131 + p[i];
	return sum;
}

static uint64_t aes_gcm(unsigned n)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t key[16] = { 1, 2, 3 }, iv[12] = { 0 }, tag[16];
	uint64_t sum = 0;
	int len;

	for (unsigned i = 0; i < n; i++) {
		memcpy(iv, &i, sizeof(i));
		must(EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, key, iv) &&
			     EVP_EncryptUpdate(ctx, out, &len, data, sizeof(data)) &&
			     EVP_EncryptFinal_ex(ctx, out + len, &len) &&
			     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, sizeof(tag), tag),
		     "AES-GCM");
		sum = sum * 31 + sum_of(tag, sizeof(tag));
	}
	EVP_CIPHER_CTX_free(ctx);
	return sum;
}

static uint64_t sha256(unsigned n)
{
	uint8_t md[32];
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++) {
		memcpy(data, &i, sizeof(i));
		must(EVP_Digest(data, sizeof(data), md, NULL, EVP_sha256(), NULL), "SHA-256");
		sum = sum * 31 + sum_of(md, sizeof(md));
	}
	return sum;
}

/* PKCS#1 v1.5 signatures do not depend on random numbers. Ten verifications each. */
static uint64_t rsa(unsigned n)
{
	FILE *pem = fopen(KEY, "r");
	EVP_PKEY *key = pem ? PEM_read_PrivateKey(pem, NULL, NULL, NULL) : NULL;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t sig[256];
	uint64_t good = 0;

	must(key != NULL, "reading " KEY);
	fclose(pem);
	for (unsigned i = 0; i < n; i++) {
		size_t len = sizeof(sig);

		memcpy(data, &i, sizeof(i));
		must(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) > 0 &&
			     EVP_DigestSign(ctx, sig, &len, data, 64) > 0,
		     "RSA signature");
		good = good * 31 + sum_of(sig, len);
		for (int k = 0; k < 10; k++) {
			must(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) > 0,
			     "RSA verification");
			good += EVP_DigestVerify(ctx, sig, len, data, 64) == 1;
		}
		sig[5] ^= 1;
		must(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) > 0,
		     "RSA verification");
		good += EVP_DigestVerify(ctx, sig, len, data, 64) == 1 ? 1000000 : 0;
	}
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return good;
}

static uint64_t x25519(unsigned n)
{
	uint8_t mine[32] = { 9, 8, 7 }, secret[32] = { 9 };
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++) {
		EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, mine, 32);
		EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, secret, 32);
		EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
		size_t len = sizeof(secret);

		must(EVP_PKEY_derive_init(ctx) > 0 && EVP_PKEY_derive_set_peer(ctx, peer) > 0 &&
			     EVP_PKEY_derive(ctx, secret, &len) > 0,
		     "X25519");
		sum = sum * 31 + sum_of(secret, sizeof(secret));
		EVP_PKEY_CTX_free(ctx);
		EVP_PKEY_free(peer);
		EVP_PKEY_free(key);
	}
	return sum;
}

static const struct kernel kernels[] = {
	{ "aes-gcm", aes_gcm, 15000 },
	{ "sha256", sha256, 8000 },
	{ "rsa", rsa, 100 },
	{ "x25519", x25519, 2000 },
};

RUN_MAIN(kernels)
