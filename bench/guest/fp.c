/* SPDX-License-Identifier: Apache-2.0 */
/* Floating point: scalar double, x87, and vectors of AVX2 with FMA. */
#include "run.h"

#include <immintrin.h>
#include <math.h>

static uint64_t bits(double d)
{
	uint64_t u;

	memcpy(&u, &d, 8);
	return u;
}

/* After the modules of the Whetstone benchmark (Curnow and Wichmann, The Computer Journal 19 (1),
 * 1976). */
static void whet_array(double e[4])
{
	for (int j = 0; j < 6; j++) {
		e[0] = (e[0] + e[1] + e[2] - e[3]) * 0.499975;
		e[1] = (e[0] + e[1] - e[2] + e[3]) * 0.499975;
		e[2] = (e[0] - e[1] + e[2] + e[3]) * 0.499975;
		e[3] = (-e[0] + e[1] + e[2] + e[3]) / 2.0;
	}
}

static uint64_t whetstone(unsigned n)
{
	double e[4] = { 1.0, -1.0, -1.0, -1.0 }, x = 0.5, y = 0.5, z = 0.75;

	for (unsigned i = 0; i < n; i++) {
		for (int k = 0; k < 12; k++)
			whet_array(e);
		for (int k = 0; k < 8; k++) {
			x = 0.499975 *
			    atan(2.0 * sin(x) * cos(x) / (cos(x + y) + cos(x - y) - 1.0));
			y = 0.499975 *
			    atan(2.0 * sin(y) * cos(y) / (cos(x + y) + cos(x - y) - 1.0));
		}
		for (int k = 0; k < 8; k++)
			z = sqrt(exp(log(z) / 0.50025));
	}
	return bits(e[0] + e[3]) ^ bits(x) ^ bits(y) ^ bits(z);
}

/* The outer planets, as everybody does it (The Computer Language Benchmarks Game). */
struct body {
	double x[3], v[3], mass;
};

static uint64_t nbody(unsigned n)
{
	struct body b[5] = {
		{ { 0, 0, 0 }, { 0, 0, 0 }, 39.47841760435743 },
		{ { 4.84143144246472090, -1.16032004402742839, -0.10362204447112311 },
		  { 0.60632639299583, 2.81198684491626, -0.02521836165988 },
		  0.03769367487038949 },
		{ { 8.34336671824457987, 4.12479856412430479, -0.40352341711432138 },
		  { -1.01077434617879, 1.82566237123041, 0.00841576137658 },
		  0.01128632613196877 },
		{ { 12.8943695621391310, -15.1111514016986312, -0.22330757889265573 },
		  { 1.08279100644153, 0.86871301816960, -0.01083263740136 },
		  0.00172372405705971 },
		{ { 15.3796971148509165, -25.9193146099879641, 0.17925877295037118 },
		  { 0.97909073224389, 0.59469899864767, -0.03475595555076 },
		  0.00203368686992463 },
	};

	for (unsigned step = 0; step < n; step++) {
		for (int i = 0; i < 5; i++) {
			for (int j = i + 1; j < 5; j++) {
				double d[3], square = 0, mag;

				for (int k = 0; k < 3; k++) {
					d[k] = b[i].x[k] - b[j].x[k];
					square += d[k] * d[k];
				}
				mag = 0.001 / (square * sqrt(square));
				for (int k = 0; k < 3; k++) {
					b[i].v[k] -= d[k] * b[j].mass * mag;
					b[j].v[k] += d[k] * b[i].mass * mag;
				}
			}
		}
		for (int i = 0; i < 5; i++) {
			for (int k = 0; k < 3; k++)
				b[i].x[k] += 0.001 * b[i].v[k];
		}
	}
	return bits(b[0].x[0]) ^ bits(b[1].x[1]) ^ bits(b[2].x[2]);
}

/* LU factorization with partial pivoting by columns, as LINPACK's dgefa. */
#define LIN 100

static uint64_t linpack(unsigned n)
{
	static double a[LIN][LIN];
	uint64_t seed = 1325, sum = 0;

	for (unsigned round = 0; round < n; round++) {
		for (int i = 0; i < LIN * LIN; i++)
			(&a[0][0])[i] = (double)(next_random(&seed) & 0xffff) / 65536.0 - 0.5;
		for (int k = 0; k < LIN - 1; k++) {
			int p = k;

			for (int i = k + 1; i < LIN; i++)
				p = fabs(a[k][i]) > fabs(a[k][p]) ? i : p;
			for (int j = k; j < LIN; j++) {
				double t = a[j][p];

				a[j][p] = a[j][k];
				a[j][k] = t;
			}
			for (int i = k + 1; i < LIN; i++)
				a[k][i] /= -a[k][k];
			for (int j = k + 1; j < LIN; j++) {
				for (int i = k + 1; i < LIN; i++)
					a[j][i] += a[j][k] * a[k][i];
			}
		}
		sum ^= bits(a[LIN - 1][LIN - 1]);
	}
	return sum;
}

static uint64_t x87(unsigned n)
{
	long double x = 1.0L, y = 0.5L, z = 0;

	for (unsigned i = 0; i < n; i++) {
		x = x * 1.0000001L + y / 3.0L;
		y = y * 0.9999L - x * 1e-9L;
		z += sqrtl(x * x + y * y);
		if (x > 1e6L)
			x -= 999999.0L;
	}
	return bits((double)(z + x + y));
}

__attribute__((target("avx2,fma"))) static uint64_t dot(unsigned n)
{
	static float a[4096], b[4096];
	__m256 sum[4] = { _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
			  _mm256_setzero_ps() };
	float out[8];
	uint64_t all = 0;

	for (int i = 0; i < 4096; i++) {
		a[i] = (float)(i % 17) / 16;
		b[i] = (float)(i % 29) / 32;
	}
	for (unsigned round = 0; round < n; round++) {
		for (int i = 0; i < 4096; i += 32) {
			for (int k = 0; k < 4; k++)
				sum[k] = _mm256_fmadd_ps(_mm256_loadu_ps(&a[i + 8 * k]),
							 _mm256_loadu_ps(&b[i + 8 * k]), sum[k]);
		}
		for (int k = 0; k < 4; k++)
			sum[k] = _mm256_mul_ps(sum[k], _mm256_set1_ps(0.5F));
	}
	_mm256_storeu_ps(out, _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]),
					    _mm256_add_ps(sum[2], sum[3])));
	for (int i = 0; i < 8; i++)
		all = all * 31 + bits(out[i]);
	return all;
}

static const struct kernel kernels[] = {
	{ "whetstone", whetstone, 30000 }, { "nbody", nbody, 500000 }, { "linpack", linpack, 200 },
	{ "x87", x87, 5000000 },	   { "dot", dot, 12000 },
};

RUN_MAIN(kernels)
