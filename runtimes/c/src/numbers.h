/* Numbers without a maths library: fixed-point scaling, square root, exponential, decimals.
 *
 * The fixed-point functions are bit-equal to LiteRT's reference kernels.
 */
#ifndef T2M_NUMBERS_H
#define T2M_NUMBERS_H

#include "core.h"

/* Finite and between 1e-30 and 1e30, so that no product of a few scales leaves the range of a double. */
bool t2m_scale_is_sound(float scale);

bool t2m_is_finite(float value);

/* A non-negative real number as multiplier * 2**(shift - 31); multiplier in [2**30, 2**31) or 0. */
void t2m_quantize_multiplier(double real, int32_t *multiplier, int32_t *shift);

/* x * multiplier * 2**(shift - 31), rounded once, half up: what LiteRT's FULLY_CONNECTED does. shift -31 to 30. */
static inline int32_t t2m_scale_once(int32_t x, int32_t multiplier, int32_t shift) {
  int32_t right = 31 - shift;
  int64_t product = (int64_t)x * multiplier + ((int64_t)1 << (right - 1));
  return (int32_t)(product >> right);
}

/* The same, rounded twice: what all its other operators do. First to x * multiplier * 2**-31, half up (gemmlowp's
 * SaturatingRoundingDoublingHighMul), then to that times 2**shift, half away from zero (its RoundingDivideByPOT).
 */
static inline int32_t t2m_scale_twice(int32_t x, int32_t multiplier, int32_t shift) {
  int32_t left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
  int64_t product = (int64_t)(int32_t)((uint32_t)x << left) * multiplier + ((int64_t)1 << 30);
  int32_t high = (int32_t)(product >> 31);
  int32_t mask = (int32_t)(((uint32_t)1 << right) - 1u), rest = high & mask, half = (mask >> 1) + (high < 0);
  return (high >> right) + (rest > half);
}

static inline int32_t t2m_clamp(int32_t x, int32_t low, int32_t high) { return x < low ? low : x > high ? high : x; }

/* (multiplier, shift) of 1 / sqrt(x) in fixed point: TFLite's GetInvSqrtQuantizedMultiplierExp. x 0 or more. */
T2M_ONCE void t2m_inverse_square_root(int32_t x, int32_t *multiplier, int32_t *shift);

/* Within one unit in the last place. x finite and 0 or more. */
float t2m_square_root(float x);

/* e**x for x at most 0, within 2e-7 of the value; 0 where that is under the smallest normal float. */
float t2m_exponential(float x);

/* digits * 10**exponent, as a double: the nearest one for exponents from -19 to 0, within one unit of it from -60 to 60. */
T2M_ONCE double t2m_decimal(uint64_t digits, int32_t exponent);

#endif
