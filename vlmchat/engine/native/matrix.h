// Matrices, dense and packed, what they are multiplied by, and how they are packed.
#pragma once

#include <algorithm>
#include <vector>

#include "simd.h"
#include "team.h"

namespace {

constexpr int kBlock = 16;    // rows of a matrix that are multiplied together
constexpr int kGroup = 32;    // columns that share a scale, in weights and in activations
constexpr int kAhead = 4096;  // bytes by which weights are fetched ahead
constexpr float kFine = 254;  // steps of a second int8 number in one of the first
constexpr int kTogether = W == 16 ? 8 : 4;  // vectors at a time: what there are registers for

// Packed: for each block of 16 rows, for each group of 32 columns, a record of the weights and
// then the scales of the 16 rows (fp16). Column 4 i + b of row r is byte 64 i + 4 r + b.
// 8 bits: 128 + weight / scale. 4 bits: the low half of byte 64 j + 4 r + b is column 8 j + b, the
// high half column 8 j + 4 + b, each (weight - least) / scale; the least ones follow the scales.
constexpr int record_bytes(int bits) { return kBlock * (bits == 4 ? 16 + 4 : 32 + 2); }
constexpr int weight_bytes(int bits) { return kBlock * (bits == 4 ? 16 : 32); }

// bits 16 and 32: rows of bf16 or float. bits 4 and 8: packed by `Packing`.
struct Matrix {
    const uint8_t* data;
    int32_t rows, columns, bits, unused;

    int blocks() const { return (rows + kBlock - 1) / kBlock; }

    // Where 16 packed rows begin.
    const uint8_t* block(int index) const {
        return data + static_cast<size_t>(index) * (columns / kGroup) * record_bytes(bits);
    }
};

// Bring values into the order of load_pair, and back.
void arrange(const float* x, float* out, int count, bf16) {
    for (int i = 0; i < count; i += 2 * W)
        for (int j = 0; j < W; j++) {
            out[i + j] = x[i + 2 * j];
            out[i + W + j] = x[i + 2 * j + 1];
        }
}
void restore(const float* x, float* out, int count, bf16) {
    for (int i = 0; i < count; i += 2 * W)
        for (int j = 0; j < W; j++) {
            out[i + 2 * j] = x[i + j];
            out[i + 2 * j + 1] = x[i + W + j];
        }
}
void arrange(const float* x, float* out, int count, float) { std::copy_n(x, count, out); }
void restore(const float* x, float* out, int count, float) { std::copy_n(x, count, out); }

// What a matrix is multiplied by, as its bits ask for.
//
// Packed matrices take a group of values as scale * (first + second / 254), two int8 numbers each.
// The second one, what rounding left, is used with 8 bits, where it takes no time: the processor
// waits for the weights anyway, and the activations' rounding would cost more than the weights'.
struct Activation {
    std::vector<float> plain;               // in the order of load_pair
    std::vector<int32_t> first, second;     // four numbers a word
    std::vector<float> scale, scaled_sum;   // of each group; the sum is of first
    std::vector<int32_t> sum, second_sum;

    explicit Activation(int columns)
        : plain(columns), first(columns / 4), second(columns / 4), scale(columns / kGroup),
          scaled_sum(columns / kGroup), sum(columns / kGroup), second_sum(columns / kGroup) {}

    void take(const float* x, int columns, int bits) {
        if (bits <= 8)
            quantize(x, columns);
        else if (bits == 16)
            arrange(x, plain.data(), columns, bf16());
        else
            arrange(x, plain.data(), columns, float());
    }

  private:
    void quantize(const float* x, int columns) {
        auto* bytes = reinterpret_cast<uint8_t*>(first.data());
        auto* fine_bytes = reinterpret_cast<uint8_t*>(second.data());
        for (int g = 0; g < columns / kGroup; g++) {
            F most = all(0), total = all(0), fine_total = all(0);
            for (int i = 0; i < kGroup; i += W)
                most = larger(most, absolute(load(x + g * kGroup + i)));
            const float largest = max_of(most);
            const F inverse = all(largest > 1e-30f ? 127 / largest : 0);
            for (int i = g * kGroup; i < (g + 1) * kGroup; i += W) {
                const F value = load(x + i) * inverse, near = rounded(value);
                const F fine = rounded((value - near) * all(kFine));
                store_bytes(bytes + i, near);
                store_bytes(fine_bytes + i, fine);
                total = total + near;
                fine_total = fine_total + fine;
            }
            scale[g] = largest / 127;
            sum[g] = static_cast<int32_t>(sum_of(total));
            second_sum[g] = static_cast<int32_t>(sum_of(fine_total));
            scaled_sum[g] = scale[g] * static_cast<float>(sum[g]);
        }
    }
};

// The same 16 rows times N activations, of which each is summed up in the same order whatever N is:
// a token's logits do not depend on who is read beside it.
template <int Bits, int N>
void multiply_packed(const Matrix& matrix, const Activation* const* x, int block,
                     float* const* out) {
    constexpr int kParts = kBlock / W, kWeights = weight_bytes(Bits);
    const int groups = matrix.columns / kGroup;
    const uint8_t* record = matrix.block(block);
    F total[N][kParts], least[N][kParts];
    for (int n = 0; n < N; n++)
        for (int p = 0; p < kParts; p++) total[n][p] = least[n][p] = all(0);
    for (int g = 0; g < groups; g++, record += record_bytes(Bits)) {
        for (int i = 0; i < record_bytes(Bits); i += 64) prefetch(record + kAhead + i);
        for (int p = 0; p < kParts; p++) {
            const uint8_t *weights = record + 4 * W * p, *scales = record + kWeights + 2 * W * p;
            for (int n = 0; n < N; n++) {
                const F scale = all(x[n]->scale[g]);
                const int32_t *values = &x[n]->first[g * kGroup / 4],
                              *fine = &x[n]->second[g * kGroup / 4];
                if (Bits == 4) {
                    total[n][p] += dot4(weights, values) * (load_half(scales) * scale);
                    least[n][p] += load_half(scales + 2 * kBlock) * all(x[n]->scaled_sum[g]);
                } else {
                    const F dot = dot8(weights, values, x[n]->sum[g]) +
                                  dot8(weights, fine, x[n]->second_sum[g]) * all(1 / kFine);
                    total[n][p] += dot * (load_half(scales) * scale);
                }
            }
        }
    }
    for (int n = 0; n < N; n++)
        for (int p = 0; p < kParts; p++) store(out[n] + W * p, total[n][p] + least[n][p]);
}

template <class T, int N>
void multiply_rows(const Matrix& matrix, const Activation* const* x, int block,
                   float* const* out) {
    const int columns = matrix.columns;
    F sums[N][kBlock];
    for (int r = 0; r < kBlock; r++) {
        const int row = std::min(block * kBlock + r, matrix.rows - 1);
        const T* w = reinterpret_cast<const T*>(matrix.data) + static_cast<size_t>(row) * columns;
        F one[N], two[N], a, b;
        for (int n = 0; n < N; n++) one[n] = two[n] = all(0);
        for (int i = 0; i < columns; i += 2 * W) {
            prefetch(reinterpret_cast<const char*>(w + i) + kAhead);
            load_pair(w + i, a, b);
            for (int n = 0; n < N; n++) {
                one[n] += a * load(&x[n]->plain[i]);
                two[n] += b * load(&x[n]->plain[i + W]);
            }
        }
        for (int n = 0; n < N; n++) sums[n][r] = one[n] + two[n];
    }
    for (int n = 0; n < N; n++)
        for (int i = 0; i < kBlock; i += W) store(out[n] + i, row_sums(sums[n] + i));
}

template <int N>
void multiply_some(const Matrix& matrix, const Activation* const* x, int block,
                   float* const* out) {
    switch (matrix.bits) {
        case 4: return multiply_packed<4, N>(matrix, x, block, out);
        case 8: return multiply_packed<8, N>(matrix, x, block, out);
        case 16: return multiply_rows<bf16, N>(matrix, x, block, out);
        default: return multiply_rows<float, N>(matrix, x, block, out);
    }
}

// Multiply 16 rows with `count` activations; those behind the last row give any number.
void multiply(const Matrix& matrix, const Activation* const* x, int count, int block,
              float* const* out) {
    static_assert(kTogether == 4 || kTogether == 8, "the pieces below");
    for (; count >= kTogether; count -= kTogether, x += kTogether, out += kTogether)
        multiply_some<kTogether>(matrix, x, block, out);
    if (kTogether > 4 && (count & 4)) {
        multiply_some<4>(matrix, x, block, out);
        x += 4, out += 4;
    }
    if (count & 2) {
        multiply_some<2>(matrix, x, block, out);
        x += 2, out += 2;
    }
    if (count & 1) multiply_some<1>(matrix, x, block, out);
}

uint16_t half_of(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }

// Rows to packed rows and back, a few blocks at a time; T is what the dense rows are.
template <class T>
struct Packing final : Work {
    T* dense;
    uint8_t* packed;
    int rows, columns, bits, chunks;
    bool pack;

    Packing(T* dense, uint8_t* packed, int rows, int columns, int bits, bool pack)
        : dense(dense), packed(packed), rows(rows), columns(columns), bits(bits),
          chunks(std::min((rows + kBlock - 1) / kBlock, kChunks)), pack(pack) {}

    int open(int phase) override { return phase == 0 ? chunks : 0; }

    void chunk(int, int index, int) override {
        const int64_t blocks = (rows + kBlock - 1) / kBlock;
        for (int64_t r = blocks * index / chunks * kBlock;
             r < blocks * (index + 1) / chunks * kBlock; r++) {
            uint8_t* record = packed + r / kBlock * (columns / kGroup) * record_bytes(bits);
            T* row = dense + r * columns;
            for (int i = 0; i < columns; i += kGroup, record += record_bytes(bits)) {
                const int lane = static_cast<int>(r % kBlock);
                if (r >= rows)
                    clear(record, lane);
                else if (pack)
                    put(row + i, record, lane);
                else
                    get(row + i, record, lane);
            }
        }
    }

    void clear(uint8_t* record, int lane) const {
        if (!pack) return;
        for (int i = 0; i < weight_bytes(bits); i += 64) std::memset(record + i + 4 * lane, 0, 4);
        for (int i = weight_bytes(bits); i < record_bytes(bits); i += 2 * kBlock)
            std::memset(record + i + 2 * lane, 0, 2);
    }

    void put(const T* values, uint8_t* record, int lane) const {
        F most = load(values), least = most;
        for (int i = W; i < kGroup; i += W) {
            most = larger(most, load(values + i));
            least = smaller(least, load(values + i));
        }
        uint16_t halves[2] = {0, 0};
        float high = max_of(most), low = min_of(least);
        if (bits == 4) {
            halves[1] = half_of(low);
            low = _cvtsh_ss(halves[1]);
            halves[0] = half_of((high - low) / 15);
        } else {
            halves[0] = half_of(std::max(high, -low) / 127);
        }
        const float scale = _cvtsh_ss(halves[0]);
        const F inverse = all(scale > 0 ? 1 / scale : 0);
        const F from = all(bits == 4 ? low : 0), add = all(bits == 4 ? 0 : 128);
        const F bottom = all(bits == 4 ? 0 : 1), top = all(bits == 4 ? 15 : 255);
        uint8_t bytes[kGroup];
        for (int i = 0; i < kGroup; i += W) {
            const F number = (load(values + i) - from) * inverse + add;
            store_bytes(bytes + i, smaller(larger(number, bottom), top));
        }
        for (int i = 0; i < weight_bytes(bits) / 64; i++) {
            uint32_t word, next;
            std::memcpy(&word, bytes + (bits == 4 ? 8 * i : 4 * i), 4);
            if (bits == 4) {
                std::memcpy(&next, bytes + 8 * i + 4, 4);
                word |= next << 4;
            }
            std::memcpy(record + 64 * i + 4 * lane, &word, 4);
        }
        std::memcpy(record + weight_bytes(bits) + 2 * lane, &halves[0], 2);
        if (bits == 4)
            std::memcpy(record + weight_bytes(bits) + 2 * (kBlock + lane), &halves[1], 2);
    }

    void get(T* values, const uint8_t* record, int lane) const {
        uint16_t halves[2] = {0, 0};
        std::memcpy(&halves[0], record + weight_bytes(bits) + 2 * lane, 2);
        if (bits == 4)
            std::memcpy(&halves[1], record + weight_bytes(bits) + 2 * (kBlock + lane), 2);
        alignas(32) uint8_t bytes[kGroup];
        bits == 4 ? gather_nibbles(record + 4 * lane, bytes) : gather_bytes(record + 4 * lane, bytes);
        const F scale = all(_cvtsh_ss(halves[0]));
        const F add = bits == 4 ? all(_cvtsh_ss(halves[1])) : all(-128) * scale;
        for (int i = 0; i < kGroup; i += W) store(values + i, load_bytes(bytes + i) * scale + add);
    }
};

}  // namespace
