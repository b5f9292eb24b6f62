// exp and log of a vector, by range reduction and a truncated series. With fused multiply-adds, the largest errors
// found in comparison with libm in double precision were 0.94 (exp), 0.87 (log) and 1.44 (log1p) units in the last
// place.
#pragma once

#include <cmath>
#include <limits>

#include "vectors.h"

namespace marcot {

// exp(x) for x <= 88. Below -87.3 the result is 0. NaN gives NaN.
inline F32 exp(F32 x) {
    constexpr float kLog2e = 1.44269504088896341f;
    constexpr float kLn2High = 0.693145751953125f, kLn2Low = 1.42860682030941723e-6f;
    I32 tiny = x < -87.3f;
    x = tiny ? F32{} : x;
    F32 shifted = fma(x, splat(kLog2e), splat(0x1.8p23f));  // the low mantissa bits hold the nearest integer
    I32 exponent = (I32)shifted - (0x4b400000 - 127);
    F32 whole = shifted - 0x1.8p23f;
    F32 r = fma(whole, splat(-kLn2Low), fma(whole, splat(-kLn2High), x));
    F32 p = splat(1.f / 5040);
    p = fma(p, r, splat(1.f / 720));
    p = fma(p, r, splat(1.f / 120));
    p = fma(p, r, splat(1.f / 24));
    p = fma(p, r, splat(1.f / 6));
    p = fma(p, r, splat(0.5f));
    p = fma(p, r, splat(1.f));
    p = fma(p, r, splat(1.f));
    F32 power = (F32)(exponent << 23);  // a power of two, so the product is exact
    return tiny ? F32{} : p * power;
}

// Natural logarithm of positive normal numbers.
inline F32 log(F32 x) {
    constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440054690583e-4f;
    I32 bits = (I32)x;
    I32 above = (bits & 0x007fffff) > 0x3504f3;  // mantissa above sqrt(2): halve it
    I32 exponent = (bits >> 23) - 127 - above;   // true is -1 in a lane
    F32 m = (F32)((bits & 0x007fffff) | 0x3f800000);
    m = above ? m * 0.5f : m;
    // log(m) = 2 atanh(s), s = (m - 1) / (m + 1), |s| <= 0.1716
    F32 f = m - 1.f;
    F32 s = f / (m + 1.f);
    F32 z = s * s;
    F32 p = splat(2.f / 11);
    p = fma(p, z, splat(2.f / 9));
    p = fma(p, z, splat(2.f / 7));
    p = fma(p, z, splat(2.f / 5));
    p = fma(p, z, splat(2.f / 3));
    F32 half_square = f * f * 0.5f;  // log(1 + f) = f - (f²/2 - s (f²/2 + z p)), which keeps the bits of f
    F32 e = to_float(exponent);
    F32 tail = half_square - s * (half_square + z * p);
    return fma(e, splat(kLn2High), f - (tail - e * kLn2Low));
}

// log(1 + x) for x > -1. It is accurate for small x because it corrects for the rounding error of 1 + x.
inline F32 log1p(F32 x) {
    F32 u = x + 1.f;
    return log(u) - ((u - 1.f) - x) / u;
}

// A long sum whose result does not depend on the vector width: number i is added to lane i % 64, and at the end the
// lanes are added pairwise.
class WideSum {
 public:
    // Adds a vector of numbers i, i + 1, ..., where i is a multiple of kLanes.
    void add(int64_t i, F32 numbers) {
        float* lanes = lanes_ + i % kCount;
        store(lanes, load<F32>(lanes) + numbers);
    }
    // Adds their squares.
    void add_squares(int64_t i, F32 numbers) {
        float* lanes = lanes_ + i % kCount;
        store(lanes, fma(numbers, numbers, load<F32>(lanes)));
    }
    // Adds the square of number i alone.
    void add_square(int64_t i, float number) {
        float& lane = lanes_[i % kCount];
        lane = fma(splat(number), splat(number), splat(lane))[0];
    }
    float total() {
        for (int half = kCount / 2; half > 0; half /= 2)
            for (int i = 0; i < half; i++) lanes_[i] += lanes_[i + half];
        return lanes_[0];
    }

 private:
    static constexpr int kCount = 64;
    alignas(64) float lanes_[kCount] = {};
};

template <typename V>
inline auto horizontal_max(V v) {
    auto most = v[0];
    for (int lane = 1; lane < kLanes; lane++) most = v[lane] > most ? v[lane] : most;
    return most;
}

#if defined(__AVX512F__) && MARCOT_WIDTH == 64
// A loop over 16 lanes would take longer than computing what is in them.
inline int32_t horizontal_max(I32 v) { return _mm512_reduce_max_epi32((__m512i)v); }
inline float horizontal_max(F32 v) { return _mm512_reduce_max_ps((__m512)v); }
#endif

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

}  // namespace marcot
