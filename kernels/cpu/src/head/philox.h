// The random number generator Philox4x32-10 (Salmon et al., SC 2011), and Gumbel noise made from it.
#pragma once

#include "../simd/elementary.h"

namespace marcot {

using U64 = Vec<uint64_t, 2 * kWidth>;

// High and low halves of the 64-bit products of 32-bit numbers.
inline void wide_product(U32 x, uint32_t y, U32& high, U32& low) {
    const U64 product = __builtin_convertvector(x, U64) * (uint64_t)y;
    high = __builtin_convertvector(product >> 32, U32);
    low = x * y;
}

// Computes the four random words of each block. The first word of the counter is the block number, the second is the
// position of the token in its path; the others are 0.
inline void philox(U32 block, uint32_t position, uint64_t key, U32 (&words)[4]) {
    U32 c0 = block, c1 = U32{} + position, c2{}, c3{};
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        U32 high0, low0, high1, low1;
        wide_product(c0, 0xD2511F53u, high0, low0);
        wide_product(c2, 0xCD9E8D57u, high1, low1);
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

// Gumbel noise from a random word: -log(-log(1 - v)) with v = (word + 1/2) / 2^32, rounded once.
inline F32 gumbel(U32 word) {
    F32 v = (to_float((I32)(word >> 8)) * 256.f + (to_float((I32)(word & 255)) + 0.5f)) * 0x1p-32f;
    v = v < 1 - 0x1p-24f ? v : splat(1 - 0x1p-24f);
    return -log(-log1p(-v));
}

// Gumbel noise for tokens [first, first + 4 * kLanes), where `first` is a multiple of 4: token t uses word t % 4 of
// block t / 4.
inline void gumbel_noise(int64_t first, int64_t position, int64_t key, float* out) {
    U32 block = U32{} + (uint32_t)(first / 4);
    for (int lane = 0; lane < kLanes; lane++) block[lane] += lane;
    U32 words[4];
    philox(block, (uint32_t)position, (uint64_t)key, words);
    for (int w = 0; w < 4; w++) {
        const F32 noise = gumbel(words[w]);
        for (int lane = 0; lane < kLanes; lane++) out[4 * lane + w] = noise[lane];
    }
}

}  // namespace marcot
