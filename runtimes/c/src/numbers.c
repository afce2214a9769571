#include "numbers.h"

typedef union double_bits {
  double value;
  uint64_t bits;
} double_bits;

typedef union float_bits {
  float value;
  uint32_t bits;
} float_bits;

bool t2m_scale_is_sound(float scale) { return scale >= 1e-30f && scale <= 1e30f; }

bool t2m_is_finite(float value) {
  float_bits pun = {value};
  return (pun.bits & 0x7F800000u) != 0x7F800000u;
}

void t2m_quantize_multiplier(double real, int32_t *multiplier, int32_t *shift) {
  double_bits pun = {real};
  *multiplier = 0;
  *shift = 0;
  /* Zero and denormal numbers. */
  if (real <= 0 || (pun.bits >> 52) == 0) return;
  /* real = fraction * 2**exponent with fraction in [0.5, 1): 53 bits, of which the upper 31 are kept. */
  int32_t exponent = (int32_t)(pun.bits >> 52) - 1022;
  uint64_t fraction = (pun.bits & 0xFFFFFFFFFFFFFu) | 0x10000000000000u;
  uint64_t rounded = (fraction + (1u << 21)) >> 22;
  if (rounded == (uint64_t)1 << 31) {
    rounded >>= 1;
    exponent++;
  }
  if (exponent < -31) return;
  if (exponent > 30) {
    rounded = 0x7FFFFFFFu;
    exponent = 30;
  }
  *multiplier = (int32_t)rounded;
  *shift = exponent;
}

/* a * b * 2**-31, rounded half away from zero: gemmlowp's SaturatingRoundingDoublingHighMul, |a|, |b| < 2**31. */
static int32_t high_multiply(int32_t a, int32_t b) {
  int64_t product = (int64_t)a * b;
  int64_t nudge = product >= 0 ? (int64_t)1 << 30 : 1 - ((int64_t)1 << 30);
  return (int32_t)((product + nudge) / ((int64_t)1 << 31));
}

/* x * 2**exponent, saturated. */
static int32_t shift_left(int32_t x, int32_t exponent) {
  int64_t shifted = (int64_t)x * ((int64_t)1 << exponent);
  return shifted > INT32_MAX ? INT32_MAX : shifted < INT32_MIN ? INT32_MIN : (int32_t)shifted;
}

void t2m_inverse_square_root(int32_t x, int32_t *multiplier, int32_t *shift) {
  if (x <= 1) {
    *multiplier = INT32_MAX;
    *shift = 0;
    return;
  }
  /* Scale x by a power of four into [2**27, 2**29). */
  int32_t right = 11;
  while (x >= 1 << 29) {
    x /= 4;
    right++;
  }
  while (x < 1 << 27) {
    x *= 4;
    right--;
  }
  /* Newton's iteration y = 1.5 y - 0.5 x y**3, five times from y = 1, with 3 integer bits. */
  int32_t input = x >> 1;
  int32_t half_input = (input + 1) >> 1;
  int32_t one_and_a_half = (1 << 28) + (1 << 27);
  int32_t y = 1 << 28;
  for (int i = 0; i < 5; i++) {
    int32_t cube = shift_left(high_multiply(high_multiply(y, y), y), 6);
    int32_t difference = high_multiply(one_and_a_half, y) - high_multiply(half_input, cube);
    y = shift_left(difference, 3);
  }
  const int32_t half_square_root_of_two = 1518500250;
  y = high_multiply(y, half_square_root_of_two);
  if (right < 0) {
    y = (int32_t)((uint32_t)y << -right);
    right = 0;
  }
  *multiplier = y;
  *shift = -right;
}

float t2m_square_root(float x) {
  if (!(x > 0)) return 0;
  /* Half the exponent is a first guess within 4 %; each step doubles the correct bits. */
  double_bits guess = {(double)x};
  guess.bits = (guess.bits >> 1) + ((uint64_t)1023 << 51);
  double y = guess.value;
  for (int i = 0; i < 4; i++) y = 0.5 * (y + (double)x / y);
  return (float)y;
}

float t2m_exponential(float x) {
  if (!(x > -87.0f)) return 0;
  /* x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts, so that n times the first is exact. */
  int32_t n = (int32_t)(x * 1.44269504f - 0.5f);
  float r = (x - (float)n * 0.693359375f) + (float)n * 2.12194440e-4f;
  float power = 1.0f / 5040.0f;
  power = power * r + 1.0f / 720.0f;
  power = power * r + 1.0f / 120.0f;
  power = power * r + 1.0f / 24.0f;
  power = power * r + 1.0f / 6.0f;
  power = power * r + 0.5f;
  power = power * r * r + r + 1.0f;
  float_bits scale;
  scale.bits = (uint32_t)(n + 127) << 23;
  return power * scale.value;
}

/* How many bits stand above the highest 1. value not 0. */
static int32_t leading_zeros(uint64_t value) {
  int32_t count = 0;
  for (; !(value >> 63); value <<= 1) count++;
  return count;
}

double t2m_decimal(uint64_t digits, int32_t exponent) {
  if (digits == 0 || exponent < -60) return 0;
  if (exponent > 60) exponent = 60;
  /* mantissa * 2**power, its highest bit set; `rest`: something smaller was cut off. */
  int32_t power = -leading_zeros(digits);
  uint64_t mantissa = digits << -power;
  bool rest = false;
  for (; exponent > 0; exponent--) {
    /* Times 10 is (times 5) * 2, in 67 bits. */
    uint64_t high = (mantissa >> 32) * 5u, low = (mantissa & 0xFFFFFFFFu) * 5u;
    high += low >> 32;
    low &= 0xFFFFFFFFu;
    int32_t extra = 0;
    while (high >> (32 + extra)) extra++;
    rest = rest || (low & (((uint64_t)1 << extra) - 1u));
    mantissa = extra ? (high << (32 - extra)) | (low >> extra) : (high << 32 | low);
    power += 1 + extra;
  }
  while (exponent < 0) {
    /* Divided by up to 10**19 at once: long division, one bit at a time, until the quotient has 64 bits. */
    uint64_t divisor = 1;
    for (int32_t i = 0; i < 19 && exponent < 0; i++, exponent++) divisor *= 10u;
    uint64_t quotient = mantissa / divisor, remainder = mantissa % divisor;
    while (!(quotient >> 63)) {
      bool carry = remainder >> 63;
      remainder <<= 1;
      bool bit = carry || remainder >= divisor;
      if (bit) remainder -= divisor;
      quotient = quotient << 1 | bit;
      power--;
    }
    mantissa = quotient;
    rest = rest || remainder;
  }
  /* Round 64 bits to 53, half to even. */
  uint64_t kept = mantissa >> 11, cut = mantissa & 0x7FFu;
  if (cut > 0x400u || (cut == 0x400u && (rest || (kept & 1u)))) kept++;
  double_bits scale;
  scale.bits = (uint64_t)(power + 11 + 1023) << 52;
  return (double)kept * scale.value;
}
