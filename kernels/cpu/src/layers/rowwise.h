// The ops that work row by row: embedding, RMSNorm, QKV bias with RoPE and the write of K and V.
#pragma once

#include "../linear/activations.h"
#include "../team/scratch.h"
#include "../team/team.h"
#include "../weights/unpack.h"

namespace marcot {

// out[row] = row ids[row] of the weight, decoded to fp32.
inline void embed(Team& team, const Weight& weight, const int64_t* ids, int64_t rows, float* out) {
    team.run(rows, 4, [&](int64_t first, int64_t last) {
        static thread_local Scratch scratch;
        float* panel_values = scratch.of<float>(weight.columns * kPanel);
        for (int64_t row = first; row < last; row++) {
            int64_t id = ids[row], panels = 0;
            const Section* section = weight.sections;
            for (; id >= section->rows; section++) id -= section->rows, panels += section->panels();
            const Panel panel = panel_of(weight, panels + id / kPanel);
            with_format(section->format, [&](auto format) {
                unpack_exact<decltype(format)::value>(panel.data, 0, weight.columns, panel_values);
            });
            for (int64_t k = 0; k < weight.columns; k++)
                out[row * weight.columns + k] = panel_values[k * kPanel + id % kPanel];
        }
    });
}

// Calls whole(i) for every full vector in [0, count), then one(i) for each remaining element.
template <typename Whole, typename One>
inline void for_lanes(int64_t count, const Whole& whole, const One& one) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) whole(i);
    for (; i < count; i++) one(i);
}

// sum = x + residual, or x if residual is null; normed = sum / sqrt(mean(sum²) + eps) * weight. If `activations` have
// integer fields, each row is also quantised right away, while it is in the cache; `normed` may then be null. `sum` may
// be the same as `residual`.
inline void rms_norm(Team& team, const float* x, const float* residual, const float* weight, float eps, int64_t rows,
                     int64_t hidden, float* normed, float* sum, const Activations& activations = {}) {
    team.run(rows, 1, [&](int64_t first, int64_t last) {
        static thread_local Scratch scratch;
        for (int64_t row = first; row < last; row++) {
            const int64_t at = row * hidden;
            float* out = normed ? normed + at : scratch.of<float>(hidden);
            WideSum squares;
            for_lanes(
                hidden,
                [&](int64_t i) {
                    F32 h = load<F32>(x + at + i);
                    if (residual) h += load<F32>(residual + at + i);
                    store(sum + at + i, h);
                    squares.add_squares(i, h);
                },
                [&](int64_t i) {
                    const float h = x[at + i] + (residual ? residual[at + i] : 0);
                    sum[at + i] = h;
                    squares.add_square(i, h);
                });
            const float factor = 1 / std::sqrt(squares.total() / (float)hidden + eps);
            for_lanes(
                hidden, [&](int64_t i) { store(out + i, load<F32>(sum + at + i) * factor * load<F32>(weight + i)); },
                [&](int64_t i) { out[i] = sum[at + i] * factor * weight[i]; });
            quantize(out, hidden, activations, row, 0);
        }
    });
}

// The shape of one attention layer.
struct Heads {
    int64_t kv_heads, group, head_dim, page_size;

    int64_t heads() const { return kv_heads * group; }
    int64_t qkv_width() const { return (heads() + 2 * kv_heads) * head_dim; }
    int64_t page_floats() const { return kv_heads * page_size * head_dim; }
};

// Weights of the RMSNorm of each head of Q and K; null if the model has no such norm.
struct HeadNorms {
    const float *q, *k;
    float eps;
};

// Adds the bias to a head and normalises it. Returns the result in `memory`, or `from` itself if there is neither.
inline const float* prepared_head(const float* from, const float* bias, const float* weight, float eps, int64_t dim,
                                  float* memory) {
    if (!bias && !weight) return from;
    WideSum squares;
    for_lanes(
        dim,
        [&](int64_t i) {
            F32 x = load<F32>(from + i);
            if (bias) x += load<F32>(bias + i);
            store(memory + i, x);
            if (weight) squares.add_squares(i, x);
        },
        [&](int64_t i) {
            memory[i] = from[i] + (bias ? bias[i] : 0);
            if (weight) squares.add_square(i, memory[i]);
        });
    if (!weight) return memory;
    const float factor = 1 / std::sqrt(squares.total() / (float)dim + eps);
    for_lanes(
        dim, [&](int64_t i) { store(memory + i, load<F32>(memory + i) * factor * load<F32>(weight + i)); },
        [&](int64_t i) { memory[i] = memory[i] * factor * weight[i]; });
    return memory;
}

// For each row of qkv: adds the bias, normalises the heads, applies RoPE to Q and K, and writes K and V to the row's
// slot and Q to `q`. A K page is [kv_heads][head_dim][page_size], a V page [kv_heads][page_size][head_dim].
inline void rope_store(Team& team, const float* qkv, const float* bias, const HeadNorms& norms, const float* cos,
                       const float* sin, const int64_t* slots, int64_t rows, const Heads& shape, float* k_pages,
                       float* v_pages, float* q) {
    const int64_t dim = shape.head_dim, half = dim / 2, width = shape.qkv_width();
    team.run(rows, 1, [&](int64_t first, int64_t last) {
        static thread_local Scratch scratch;
        float* memory = scratch.of<float>(dim);
        for (int64_t row = first; row < last; row++) {
            const float* from = qkv + row * width;
            const float* c = cos + row * half;
            const float* s = sin + row * half;
            const int64_t page = slots[row] / shape.page_size, slot = slots[row] % shape.page_size;
            const auto prepared = [&](int64_t at, const float* norm) {
                return prepared_head(from + at, bias ? bias + at : nullptr, norm, norms.eps, dim, memory);
            };
            for (int64_t head = 0; head < shape.heads(); head++) {
                const float* x = prepared(head * dim, norms.q);
                float* to = q + (row * shape.heads() + head) * dim;
                for_lanes(
                    half,
                    [&](int64_t i) {
                        const F32 low = load<F32>(x + i), high = load<F32>(x + half + i);
                        const F32 cv = load<F32>(c + i), sv = load<F32>(s + i);
                        store(to + i, low * cv - high * sv);
                        store(to + half + i, high * cv + low * sv);
                    },
                    [&](int64_t i) {
                        to[i] = x[i] * c[i] - x[half + i] * s[i];
                        to[half + i] = x[half + i] * c[i] + x[i] * s[i];
                    });
            }
            if (slots[row] < 0) continue;
            for (int64_t head = 0; head < shape.kv_heads; head++) {
                const int64_t k_at = (shape.heads() + head) * dim, v_at = k_at + shape.kv_heads * dim;
                float* k = k_pages + page * shape.page_floats() + head * dim * shape.page_size + slot;
                float* v = v_pages + page * shape.page_floats() + (head * shape.page_size + slot) * dim;
                const float* x = prepared(k_at, norms.k);
                for (int64_t i = 0; i < half; i++) {
                    k[i * shape.page_size] = x[i] * c[i] - x[half + i] * s[i];
                    k[(half + i) * shape.page_size] = x[half + i] * c[i] + x[i] * s[i];
                }
                for (int64_t i = 0; i < dim; i++) v[i] = bias ? from[v_at + i] + bias[v_at + i] : from[v_at + i];
            }
        }
    });
}

}  // namespace marcot
