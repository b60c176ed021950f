// The few vector operations that decode.cpp is written in, for AVX-512 with VNNI and for AVX2.
//
// F is a vector of W floats; + - * are the compiler's own. Everything that differs between the two
// is here, and both compute the same but for the order of sums.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace {

struct bf16 {
    uint16_t bits;
};

// 2 * W values in an order that is cheap to get: even ones and odd ones (bf16), or halves (float).
#ifdef __AVX512VNNI__

using F = __m512;
constexpr int W = 16;
constexpr const char* kVariant = "avx512";

inline F all(float x) { return _mm512_set1_ps(x); }
inline F load(const float* p) { return _mm512_loadu_ps(p); }
inline F load(const bf16* p) {
    const __m256i raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16));
}
inline F load_half(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline F load_bytes(const uint8_t* p) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(raw));
}
inline void store(float* p, F x) { _mm512_storeu_ps(p, x); }
inline void store(bf16* p, F x) {  // to nearest, ties to even
    const __m512i u = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16)));
}
inline void store_bytes(uint8_t* p, F x) {  // to nearest; as two's complement
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}
inline F larger(F a, F b) { return _mm512_max_ps(a, b); }
inline F smaller(F a, F b) { return _mm512_min_ps(a, b); }
inline F absolute(F x) { return _mm512_abs_ps(x); }
inline float max_of(F x) { return _mm512_reduce_max_ps(x); }
inline float min_of(F x) { return _mm512_reduce_min_ps(x); }
inline float sum_of(F x) { return _mm512_reduce_add_ps(x); }
inline F rounded(F x) { return _mm512_roundscale_ps(x, 0); }
inline F times_power(F x, F n) { return _mm512_scalef_ps(x, n); }  // x * 2^n

inline void load_pair(const bf16* p, F& even, F& odd) {
    const __m512i raw = _mm512_loadu_si512(p);
    even = _mm512_castsi512_ps(_mm512_slli_epi32(raw, 16));
    odd = _mm512_castsi512_ps(_mm512_and_si512(raw, _mm512_set1_epi32(~0xffff)));
}

inline F adjacent(F a, F b) { return _mm512_unpacklo_ps(a, b) + _mm512_unpackhi_ps(a, b); }
inline F adjacent2(F a, F b) {
    const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
    return _mm512_castpd_ps(_mm512_unpacklo_pd(x, y)) + _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
}
inline F lanes(F a, F b) {
    return _mm512_shuffle_f32x4(a, b, 0x88) + _mm512_shuffle_f32x4(a, b, 0xdd);
}
// The sums over each of W vectors, in one vector.
inline F row_sums(const F* r) {
    F quad[4];
    for (int i = 0; i < 4; i++)
        quad[i] = adjacent2(adjacent(r[4 * i], r[4 * i + 1]), adjacent(r[4 * i + 2], r[4 * i + 3]));
    return lanes(lanes(quad[0], quad[1]), lanes(quad[2], quad[3]));
}

// Dot products of W rows of packed 4-bit weights (see Packing in decode.cpp) with 32 int8 values.
inline F dot4(const uint8_t* w, const int32_t* x) {
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i low = _mm512_setzero_si512(), high = low;
    for (int j = 0; j < 4; j++) {
        const __m512i v = _mm512_loadu_si512(w + 64 * j);
        low = _mm512_dpbusd_epi32(low, _mm512_and_si512(v, nibble), _mm512_set1_epi32(x[2 * j]));
        high = _mm512_dpbusd_epi32(high, _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble),
                                   _mm512_set1_epi32(x[2 * j + 1]));
    }
    return _mm512_cvtepi32_ps(_mm512_add_epi32(low, high));
}
// The same for 8-bit weights, stored with 128 added; `sum` is that of the 32 values.
inline F dot8(const uint8_t* w, const int32_t* x, int32_t sum) {
    __m512i first = _mm512_set1_epi32(-128 * sum), second = _mm512_setzero_si512();
    for (int j = 0; j < 8; j += 2) {
        first = _mm512_dpbusd_epi32(first, _mm512_loadu_si512(w + 64 * j),
                                    _mm512_set1_epi32(x[j]));
        second = _mm512_dpbusd_epi32(second, _mm512_loadu_si512(w + 64 * j + 64),
                                     _mm512_set1_epi32(x[j + 1]));
    }
    return _mm512_cvtepi32_ps(_mm512_add_epi32(first, second));
}

#else

using F = __m256;
constexpr int W = 8;
constexpr const char* kVariant = "avx2";

inline F all(float x) { return _mm256_set1_ps(x); }
inline F load(const float* p) { return _mm256_loadu_ps(p); }
inline F load(const bf16* p) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16));
}
inline F load_half(const uint8_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline F load_bytes(const uint8_t* p) {
    const __m128i raw = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(raw));
}
inline void store(float* p, F x) { _mm256_storeu_ps(p, x); }
inline void store(bf16* p, F x) {  // to nearest, ties to even
    const __m256i u = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_srli_epi32(
        _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packus_epi32(_mm256_castsi256_si128(up), _mm256_extracti128_si256(up, 1)));
}
inline void store_bytes(uint8_t* p, F x) {  // to nearest; as two's complement
    const __m256i u = _mm256_and_si256(_mm256_cvtps_epi32(x), _mm256_set1_epi32(255));
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(u), _mm256_extracti128_si256(u, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}
inline F larger(F a, F b) { return _mm256_max_ps(a, b); }
inline F smaller(F a, F b) { return _mm256_min_ps(a, b); }
inline F absolute(F x) { return _mm256_andnot_ps(all(-0.0f), x); }
inline float max_of(F x) {
    __m128 h = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    h = _mm_max_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
}
inline float min_of(F x) { return -max_of(-x); }
inline float sum_of(F x) {
    __m128 h = _mm256_castps256_ps128(x) + _mm256_extractf128_ps(x, 1);
    h = h + _mm_movehl_ps(h, h);
    return _mm_cvtss_f32(h) + _mm_cvtss_f32(_mm_movehdup_ps(h));
}
inline F rounded(F x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline F times_power(F x, F n) {  // x * 2^n where the result is a normal number
    const __m256i power = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), power));
}

inline void load_pair(const bf16* p, F& even, F& odd) {
    const __m256i raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    even = _mm256_castsi256_ps(_mm256_slli_epi32(raw, 16));
    odd = _mm256_castsi256_ps(_mm256_and_si256(raw, _mm256_set1_epi32(~0xffff)));
}

// The sums over each of W vectors, in one vector.
inline F row_sums(const F* r) {
    const F a = _mm256_hadd_ps(_mm256_hadd_ps(r[0], r[1]), _mm256_hadd_ps(r[2], r[3]));
    const F b = _mm256_hadd_ps(_mm256_hadd_ps(r[4], r[5]), _mm256_hadd_ps(r[6], r[7]));
    return _mm256_permute2f128_ps(a, b, 0x20) + _mm256_permute2f128_ps(a, b, 0x31);
}

// Dot products of W rows of packed 4-bit weights (see Packing in decode.cpp) with 32 int8 values.
inline F dot4(const uint8_t* w, const int32_t* x) {
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i sum = _mm256_setzero_si256();  // 16-bit: 8 times at most 2 * 15 * 127
    for (int j = 0; j < 4; j++) {
        const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 64 * j));
        const __m256i low = _mm256_and_si256(v, nibble);
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble);
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(low, _mm256_set1_epi32(x[2 * j])));
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(high, _mm256_set1_epi32(x[2 * j + 1])));
    }
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
}
// The same for 8-bit weights, stored with 128 added.
inline F dot8(const uint8_t* w, const int32_t* x, int32_t) {
    const __m256i offset = _mm256_set1_epi8(-128), one = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256();
    for (int j = 0; j < 8; j++) {
        const __m256i v = _mm256_xor_si256(
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 64 * j)), offset);
        const __m256i value = _mm256_set1_epi32(x[j]);
        // 16-bit: the absolute value times the weight with the sign, at most 2 * 127 * 127
        const __m256i pairs =
            _mm256_maddubs_epi16(_mm256_abs_epi8(value), _mm256_sign_epi8(v, value));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, one));
    }
    return _mm256_cvtepi32_ps(sum);
}

#endif

inline void load_pair(const float* p, F& first, F& second) {
    first = load(p);
    second = load(p + W);
}

// e^x, of x between -80 and 80 (2^f on [-1/2, 1/2] by a polynomial; relative error below 1e-5).
inline F exponential(F x) {
    const F t = smaller(larger(x, all(-80.0f)), all(80.0f)) * all(1.44269504f);
    const F n = rounded(t), f = t - n;
    F p = all(1.3333558e-3f);
    for (float c : {9.6181291e-3f, 5.5504109e-2f, 2.4022651e-1f, 6.9314718e-1f, 1.0f})
        p = p * f + all(c);
    return times_power(p, n);
}

// The 32 packed weights of a row, which lie four by four, 64 bytes apart. Written in one piece, as a
// load of what was stored in several has to wait for all of them.
inline void gather_bytes(const uint8_t* p, uint8_t* out) {
    const __m256i places = _mm256_setr_epi32(0, 16, 32, 48, 64, 80, 96, 112);
    const __m256i words = _mm256_i32gather_epi32(reinterpret_cast<const int*>(p), places, 4);
    _mm256_store_si256(reinterpret_cast<__m256i*>(out), words);
}
// The same where two of them share a byte: first the low halves of four bytes, then the high ones.
inline void gather_nibbles(const uint8_t* p, uint8_t* out) {
    const __m128i places = _mm_setr_epi32(0, 16, 32, 48), nibble = _mm_set1_epi8(15);
    const __m128i words = _mm_i32gather_epi32(reinterpret_cast<const int*>(p), places, 4);
    const __m128i low = _mm_and_si128(words, nibble);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(words, 4), nibble);
    auto* halves = reinterpret_cast<__m128i*>(out);
    _mm_store_si128(halves, _mm_unpacklo_epi32(low, high));
    _mm_store_si128(halves + 1, _mm_unpackhi_epi32(low, high));
}

inline void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

}  // namespace
