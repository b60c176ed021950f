// One query of each head over the tokens before it.
#pragma once

#include <algorithm>
#include <cmath>

#include "simd.h"

namespace {

constexpr int kNear = 2048;  // bytes by which keys and values are fetched ahead
constexpr int kQueries = 3;  // heads at a time: what there are registers for

// Queries of R heads (scaled, each D values in the order of load_pair) over `count` tokens of one
// key and value head. Writes R times D sums of values, weighted by e^(score - most), and into
// `stats` most and the sum of the weights of each head. `scores` has room for R rows of `stride`.
template <class T, int R, int D>
void attend(const T* keys, const T* values, int count, const float* queries, float* scores,
            int stride, float* out, float* stats) {
    F a, b;
    for (int t = 0; t < count; t += W) {
        F sums[R][W];
        for (int i = 0; i < W; i++) {
            const T* key = keys + static_cast<size_t>(std::min(t + i, count - 1)) * D;
            F total[R];
            for (int r = 0; r < R; r++) total[r] = all(0);
            for (int d = 0; d < D; d += 2 * W) {
                prefetch(reinterpret_cast<const char*>(key + d) + kNear);
                load_pair(key + d, a, b);
                for (int r = 0; r < R; r++)
                    total[r] += a * load(queries + r * D + d) + b * load(queries + r * D + d + W);
            }
            for (int r = 0; r < R; r++) sums[r][i] = total[r];
        }
        for (int r = 0; r < R; r++) store(scores + r * stride + t, row_sums(sums[r]));
    }
    for (int r = 0; r < R; r++) {
        float* row = scores + r * stride;
        for (int t = count; t % W; t++) row[t] = -INFINITY;
        F most = all(-INFINITY), total = all(0);
        for (int t = 0; t < count; t += W) most = larger(most, load(row + t));
        stats[2 * r] = max_of(most);
        most = all(stats[2 * r]);
        for (int t = 0; t < count; t += W) {
            const F weight = exponential(load(row + t) - most);
            store(row + t, weight);
            total = total + weight;
        }
        stats[2 * r + 1] = sum_of(total);
    }
    constexpr int kSlice = std::min(D, 4 * W);  // as many sums as there are registers for
    for (int d = 0; d < D; d += kSlice) {
        F total[R][kSlice / W];
        for (int r = 0; r < R; r++)
            for (int i = 0; i < kSlice / W; i++) total[r][i] = all(0);
        for (int t = 0; t < count; t++) {
            const T* value = values + static_cast<size_t>(t) * D + d;
            for (int i = 0; i < kSlice / W; i += 2) {
                prefetch(reinterpret_cast<const char*>(value + i * W) + kNear);
                load_pair(value + i * W, a, b);
                for (int r = 0; r < R; r++) {
                    const F weight = all(scores[r * stride + t]);
                    total[r][i] += a * weight;
                    total[r][i + 1] += b * weight;
                }
            }
        }
        for (int r = 0; r < R; r++)
            for (int i = 0; i < kSlice / W; i++) store(out + r * D + d + i * W, total[r][i]);
    }
}

template <class T, int D>
void attend_heads(int heads, const T* keys, const T* values, int count, const float* queries,
                  float* scores, int stride, float* out, float* stats) {
    for (int r = 0; r < heads; r += kQueries) {
        const auto some = heads - r >= kQueries ? attend<T, kQueries, D>
                          : heads - r == 2      ? attend<T, 2, D>
                                                : attend<T, 1, D>;
        some(keys, values, count, queries + r * D, scores, stride, out + r * D, stats + 2 * r);
    }
}

}  // namespace
