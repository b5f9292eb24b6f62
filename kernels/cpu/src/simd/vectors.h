// SIMD vectors of one width, chosen when the library is built. Nearly everything is written with the vector extensions
// of the compiler, so the same source compiles to SSE, AVX2, AVX-512 and NEON. The few integer products that these
// extensions cannot express have a version for each instruction set, and a portable one.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#ifndef MARCOT_WIDTH
#if defined(__AVX512BW__)
#define MARCOT_WIDTH 64
#elif defined(__AVX2__)
#define MARCOT_WIDTH 32
#else
#define MARCOT_WIDTH 16
#endif
#endif

namespace marcot {

constexpr int kWidth = MARCOT_WIDTH;  // bytes in a vector
constexpr int kLanes = kWidth / 4;    // 32-bit lanes in a vector

// Whether there are 32 vector registers, not 16.
#if defined(__AVX512F__)
constexpr bool kManyRegisters = true;
#else
constexpr bool kManyRegisters = false;
#endif

template <typename T, int Bytes>
struct VectorOf {
    typedef T type __attribute__((vector_size(Bytes)));
};
template <typename T, int Bytes = kWidth>
using Vec = typename VectorOf<T, Bytes>::type;

using F32 = Vec<float>;
using I32 = Vec<int32_t>;
using U32 = Vec<uint32_t>;
using I16 = Vec<int16_t>;
using U16 = Vec<uint16_t>;
using U8 = Vec<uint8_t>;

template <typename V>
inline V load(const void* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

template <typename V>
inline void store(void* to, V v) {
    std::memcpy(to, &v, sizeof v);
}

inline F32 splat(float x) { return x - F32{}; }
inline I32 splat(int32_t x) { return x - I32{}; }

inline F32 to_float(I32 v) { return __builtin_convertvector(v, F32); }

// a * b + c, rounded once if the machine has fused multiply-adds. The library is compiled with -ffp-contract=off, so
// the compiler fuses nothing by itself, and roundings happen exactly where the source says.
#if defined(__FMA__) && MARCOT_WIDTH == 64 && defined(__AVX512F__)
inline F32 fma(F32 a, F32 b, F32 c) { return (F32)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
#elif defined(__FMA__) && MARCOT_WIDTH == 32
inline F32 fma(F32 a, F32 b, F32 c) { return (F32)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
#elif defined(__FMA__) && MARCOT_WIDTH == 16
inline F32 fma(F32 a, F32 b, F32 c) { return (F32)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c); }
#elif defined(__ARM_NEON) && MARCOT_WIDTH == 16
inline F32 fma(F32 a, F32 b, F32 c) { return (F32)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
#else
inline F32 fma(F32 a, F32 b, F32 c) { return a * b + c; }
#endif

inline F32 maximum(F32 a, F32 b) { return a > b ? a : b; }

// Returns v, but makes the compiler compute it at this point and keep it in a register. In the micro-kernels, only the
// order of the source fits in the registers, so the compiler must not reorder it.
template <typename V>
inline V pinned(V v) {
#if defined(__AVX512F__)
    asm("" : "+v"(v));  // any of 32 registers; x means only the first 16
#elif defined(__x86_64__) && (MARCOT_WIDTH == 16 || (MARCOT_WIDTH == 32 && defined(__AVX2__)))
    asm("" : "+x"(v));
#elif defined(__ARM_NEON) && MARCOT_WIDTH == 16
    asm("" : "+w"(v));
#endif
    return v;
}

// Makes the compiler store vectors to memory, which frees their registers until they are needed again.
template <typename Vectors>
inline void set_aside(Vectors& v) {
    asm("" : "+m"(v));
}

// The low or high half of every 32-bit lane, as a signed number.
inline I32 low_half(I16 v) { return ((I32)v << 16) >> 16; }
inline I32 high_half(I16 v) { return (I32)v >> 16; }

// Byte `index` of every 32-bit lane.
inline I32 byte_of(I32 v, int index) {
#if defined(__AVX2__) && MARCOT_WIDTH == 32
    const I32 lanes = {0, 4, 8, 12, 0, 4, 8, 12};
    const I32 places = (lanes + index) | splat((int32_t)0x80808000);  // 0x80 makes a zero
    return (I32)_mm256_shuffle_epi8((__m256i)v, (__m256i)places);
#else
    return (v >> (8 * index)) & 255;
#endif
}

// Products of unsigned bytes w and signed bytes x, neighbouring pairs added in int16. The caller makes sure that w is
// below 128 and that sums do not overflow.
inline I16 dot_bytes(U8 w, U8 x) {
#if defined(__AVX512BW__) && MARCOT_WIDTH == 64
    return (I16)_mm512_maddubs_epi16((__m512i)w, (__m512i)x);
#elif defined(__AVX2__) && MARCOT_WIDTH == 32
    return (I16)_mm256_maddubs_epi16((__m256i)w, (__m256i)x);
#elif defined(__SSSE3__) && MARCOT_WIDTH == 16
    return (I16)_mm_maddubs_epi16((__m128i)w, (__m128i)x);
#elif defined(__ARM_NEON) && MARCOT_WIDTH == 16
    int8x16_t a = (int8x16_t)w, b = (int8x16_t)x;
    return (I16)vpaddq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)), vmull_high_s8(a, b));
#else
    I16 low = (I16)((U16)w & 0xff) * (((I16)x << 8) >> 8);
    I16 high = (I16)((U16)w >> 8) * ((I16)x >> 8);
    return low + high;
#endif
}

// a + b, modulo 2^16.
inline I16 add_wrapping(I16 a, I16 b) { return (I16)((U16)a + (U16)b); }

// Products of int16, neighbouring pairs added in int32.
inline I32 dot_words(I16 w, I16 x) {
#if defined(__AVX512BW__) && MARCOT_WIDTH == 64
    return (I32)_mm512_madd_epi16((__m512i)w, (__m512i)x);
#elif defined(__AVX2__) && MARCOT_WIDTH == 32
    return (I32)_mm256_madd_epi16((__m256i)w, (__m256i)x);
#elif defined(__SSE2__) && MARCOT_WIDTH == 16
    return (I32)_mm_madd_epi16((__m128i)w, (__m128i)x);
#elif defined(__ARM_NEON) && MARCOT_WIDTH == 16
    int16x8_t a = (int16x8_t)w, b = (int16x8_t)x;
    return (I32)vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
#else
    return low_half(w) * low_half(x) + high_half(w) * high_half(x);
#endif
}

// Whether one instruction adds up four products of bytes (VNNI on x86, dot products on ARMv8.2). On other machines,
// MARCOT_QUAD_DOTS=1 emulates it with several instructions, so that this code path can be tested anywhere.
#ifndef MARCOT_QUAD_DOTS
#if (defined(__AVX512VNNI__) && MARCOT_WIDTH == 64) || (defined(__AVXVNNI__) && MARCOT_WIDTH == 32) || \
    (defined(__ARM_FEATURE_DOTPROD) && MARCOT_WIDTH == 16)
#define MARCOT_QUAD_DOTS 1
#else
#define MARCOT_QUAD_DOTS 0
#endif
#endif

// Whether that instruction takes both operands as signed bytes.
#if defined(__ARM_FEATURE_DOTPROD) && MARCOT_WIDTH == 16
constexpr bool kSignedQuads = true;
#else
constexpr bool kSignedQuads = false;
#endif

// sum + the four products of bytes in each 32-bit lane; x is signed, w is unsigned unless kSignedQuads.
inline I32 add_dot_quads(I32 sum, U8 w, U8 x) {
#if defined(__AVX512VNNI__) && MARCOT_WIDTH == 64
    // With the intrinsic, GCC copies the sum between registers, so use assembly.
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
    return sum;
#elif defined(__AVXVNNI__) && MARCOT_WIDTH == 32
    return (I32)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)w, (__m256i)x);
#elif defined(__ARM_FEATURE_DOTPROD) && MARCOT_WIDTH == 16
    return (I32)vdotq_s32((int32x4_t)sum, (int8x16_t)w, (int8x16_t)x);
#else
    const I16 low = (I16)((U16)w & 0xff) * (((I16)x << 8) >> 8);
    const I16 high = (I16)((U16)w >> 8) * ((I16)x >> 8);
    return sum + low_half(low) + high_half(low) + low_half(high) + high_half(high);
#endif
}

// Adds neighbouring pairs of int16, in int32.
inline I32 add_words(I16 v) {
#if defined(__x86_64__)
    return dot_words(v, 1 - I16{});
#else
    return low_half(v) + high_half(v);
#endif
}

// Two sums over the lanes of each vector: over lanes 0, 1, 4, 5, ... and over lanes 2, 3, 6, 7, ... Returns both sums
// of a, then both of b.
inline Vec<int32_t, 16> sums_of_pairs(I32 a, I32 b) {
#if defined(__AVX512F__) && MARCOT_WIDTH == 64
    const auto half = [](I32 v) {
        const __m512i whole = (__m512i)v;
        return _mm256_add_epi32(_mm512_castsi512_si256(whole), _mm512_extracti64x4_epi64(whole, 1));
    };
    const __m256i pairs = _mm256_hadd_epi32(half(a), half(b));
    return (Vec<int32_t, 16>)_mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
#elif defined(__AVX2__) && MARCOT_WIDTH == 32
    const __m256i pairs = _mm256_hadd_epi32((__m256i)a, (__m256i)b);
    return (Vec<int32_t, 16>)_mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
#else
    Vec<int32_t, 16> sums{};
    for (int lane = 0; lane < kLanes; lane++) {
        sums[lane % 4 / 2] += a[lane];
        sums[2 + lane % 4 / 2] += b[lane];
    }
    return sums;
#endif
}

// Widening loads. For some widths, compilers turn the generic form into one lane at a time, hence the intrinsics.
inline I32 load_u8(const uint8_t* from) {
#if defined(__AVX512F__) && MARCOT_WIDTH == 64
    return (I32)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)from));
#elif defined(__AVX2__) && MARCOT_WIDTH == 32
    return (I32)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)from));
#else
    return __builtin_convertvector(load<Vec<uint8_t, kLanes> >(from), I32);
#endif
}

inline I32 load_i8(const uint8_t* from) {
#if defined(__AVX512F__) && MARCOT_WIDTH == 64
    return (I32)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)from));
#elif defined(__AVX2__) && MARCOT_WIDTH == 32
    return (I32)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)from));
#else
    return __builtin_convertvector(load<Vec<int8_t, kLanes> >(from), I32);
#endif
}

inline U32 load_u16(const void* from) {
#if defined(__AVX512F__) && MARCOT_WIDTH == 64
    return (U32)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from));
#elif defined(__AVX2__) && MARCOT_WIDTH == 32
    return (U32)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)from));
#else
    return __builtin_convertvector(load<Vec<uint16_t, kWidth / 2> >(from), U32);
#endif
}

// Loads 2 * kLanes int8 and widens them to int16.
inline I16 load_i8_words(const uint8_t* from) {
#if defined(__AVX512BW__) && MARCOT_WIDTH == 64
    return (I16)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)from));
#elif defined(__AVX2__) && MARCOT_WIDTH == 32
    return (I16)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)from));
#else
    return __builtin_convertvector(load<Vec<int8_t, kWidth / 2> >(from), I16);
#endif
}

inline F32 load_bf16(const void* from) { return (F32)(load_u16(from) << 16); }

inline F32 load_f16(const void* from) {
#if defined(__AVX512F__) && MARCOT_WIDTH == 64
    return (F32)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from));
#elif defined(__F16C__) && MARCOT_WIDTH == 32
    return (F32)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from));
#else
    // A multiplication adjusts the exponent; it is exact and also handles subnormal numbers. Infinities and NaN do not
    // occur, because `pack` rejects weights that have any.
    const U32 bits = load_u16(from);
    const F32 magnitude = (F32)((bits & 0x7fff) << 13) * 0x1p112f;
    return (F32)((U32)magnitude | (bits & 0x8000) << 16);
#endif
}

// Stores 32-bit lanes as int16; all values must be in range.
inline void store_words(I32 v, int16_t* to) {
#if defined(__AVX2__) && MARCOT_WIDTH == 32
    const __m256i wide = (__m256i)v;
    _mm_storeu_si128((__m128i*)to, _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1)));
#else
    store(to, __builtin_convertvector(v, Vec<int16_t, kLanes * 2>));
#endif
}

// Stores 32-bit lanes as int8; all values must be in range.
inline void store_bytes(I32 v, int8_t* to) {
#if defined(__AVX512F__) && MARCOT_WIDTH == 64
    _mm_storeu_si128((__m128i*)to, _mm512_cvtepi32_epi8((__m512i)v));
#elif defined(__AVX2__) && MARCOT_WIDTH == 32
    const __m256i wide = (__m256i)v;
    const __m128i narrow = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64((__m128i*)to, _mm_packs_epi16(narrow, narrow));
#else
    store(to, __builtin_convertvector(v, Vec<int8_t, kLanes>));
#endif
}

}  // namespace marcot
