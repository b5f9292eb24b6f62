// The library's interface: plain C functions on flat arrays. Integers are int64, scalars are doubles, and tensors are
// pointers to contiguous memory. The caller checks shapes; ops that take indices check these themselves and return a
// Refusal. A weight is passed as four arguments: its data, its sections ([count][4] int64, see Section), the number of
// sections, and its columns.

#include <algorithm>

#include "bounds.h"
#include "head/head.h"
#include "head/sample.h"
#include "layers/attention.h"
#include "layers/layers.h"
#include "layers/rowwise.h"
#include "layers/swiglu.h"
#include "linear/product.h"
#include "weights/pack.h"

#define MARCOT_API extern "C" __attribute__((visibility("default")))

namespace marcot {
namespace {

// Memory that the threads of a call share. It belongs to the calling thread and is kept between calls.
uint8_t* shared_memory(size_t bytes) {
    static thread_local Scratch scratch;
    return scratch.of<uint8_t>(bytes);
}

Weight weight_of(const uint8_t* data, const int64_t* sections, int64_t count, int64_t columns) {
    return {data, (const Section*)sections, count, columns};
}

}  // namespace
}  // namespace marcot

using namespace marcot;

MARCOT_API int64_t marcot_width() { return kWidth; }

// Bytes of a packed section, or -1 if `columns` is not a multiple of what the format requires.
MARCOT_API int64_t marcot_packed_bytes(int64_t format, int64_t rows, int64_t columns) {
    int64_t bytes = -1;
    with_format((Format)format, [&](auto constant) {
        constexpr Format F = decltype(constant)::value;
        if (columns % Layout<F>::kSuper == 0) bytes = (rows + kPanel - 1) / kPanel * panel_bytes<F>(columns);
    });
    return bytes;
}

// Packs rows; returns whether all values are finite.
MARCOT_API int64_t marcot_pack(int64_t format, const uint8_t* source, int64_t stride, int64_t rows, int64_t columns,
                               uint8_t* packed, int64_t threads) {
    bool finite = true;
    with_format((Format)format, [&](auto constant) {
        run_team(threads, [&](Team& team) {
            pack<decltype(constant)::value>(team, source, stride, rows, columns, packed, &finite);
        });
    });
    return finite;
}

MARCOT_API int64_t marcot_embed(const uint8_t* data, const int64_t* sections, int64_t count, int64_t columns,
                                const int64_t* ids, int64_t rows, float* out, int64_t threads) {
    const Weight weight = weight_of(data, sections, count, columns);
    if (!all_within(ids, rows, 0, weight.rows())) return kBadToken;
    run_team(rows < 8 ? 1 : threads, [&](Team& team) { embed(team, weight, ids, rows, out); });
    return kDone;
}

MARCOT_API void marcot_linear(const uint8_t* data, const int64_t* sections, int64_t count, int64_t columns,
                              const float* x, int64_t rows, float* y, int64_t threads) {
    const Weight weight = weight_of(data, sections, count, columns);
    uint8_t* integers = shared_memory(Activations::integer_bytes(rows, columns));
    run_team(threads, [&](Team& team) { linear(team, weight, x, rows, integers, y); });
}

MARCOT_API void marcot_rms_norm(const float* x, const float* residual, const float* weight, double eps, int64_t rows,
                                int64_t hidden, float* normed, float* sum, int64_t threads) {
    run_team(rows < 8 ? 1 : threads,
             [&](Team& team) { rms_norm(team, x, residual, weight, (float)eps, rows, hidden, normed, sum); });
}

MARCOT_API int64_t marcot_rope_store(const float* qkv, const float* bias, const float* q_norm, const float* k_norm,
                                     double eps, const float* cos, const float* sin, const int64_t* slots, int64_t rows,
                                     int64_t kv_heads, int64_t group, int64_t head_dim, int64_t page_size,
                                     int64_t page_count, float* k_pages, float* v_pages, float* q, int64_t threads) {
    const Heads heads{kv_heads, group, head_dim, page_size};
    if (const Refusal refusal = check_slots(slots, rows, heads, page_count)) return refusal;
    const HeadNorms norms{q_norm, k_norm, (float)eps};
    run_team(rows < 8 ? 1 : threads, [&](Team& team) {
        rope_store(team, qkv, bias, norms, cos, sin, slots, rows, heads, k_pages, v_pages, q);
    });
    return kDone;
}

MARCOT_API int64_t marcot_tree_attention(const float* q, const float* k_pages, const float* v_pages,
                                         const int32_t* positions, const int32_t* items, int64_t item_count,
                                         const int32_t* pages, int64_t listed, int64_t rows, int64_t kv_heads,
                                         int64_t group, int64_t head_dim, int64_t page_size, int64_t page_count,
                                         double scale, float* out, int64_t threads) {
    const Heads heads{kv_heads, group, head_dim, page_size};
    const Plan plan{positions, (const WorkItem*)items, item_count, pages};
    if (const Refusal refusal = check_plan(plan, rows, listed, heads, page_count)) return refusal;
    run_team(threads,
             [&](Team& team) { tree_attention(team, heads, plan, q, rows, k_pages, v_pages, (float)scale, out); });
    return kDone;
}

MARCOT_API void marcot_silu_mul(const float* gate_up, int64_t rows, int64_t width, float* out, int64_t threads) {
    run_team(rows < 8 ? 1 : threads, [&](Team& team) { silu_mul(team, gate_up, rows, width, out); });
}

MARCOT_API int64_t marcot_lm_head_topk(const uint8_t* data, const int64_t* sections, int64_t count, int64_t columns,
                                       const float* x, int64_t rows, int64_t k, const int64_t* targets,
                                       const float* temperature, const int64_t* key, const int64_t* position,
                                       int64_t* top_ids, float* top_logits, float* lse, float* target_logits,
                                       int64_t* drawn_ids, float* drawn_logits, float* scaled_lse, int64_t threads) {
    const Weight weight = weight_of(data, sections, count, columns);
    if (targets && !all_within(targets, rows, 0, weight.rows())) return kBadToken;
    const HeadCall call{k,          targets, temperature,   key,       position,     top_ids,
                        top_logits, lse,     target_logits, drawn_ids, drawn_logits, scaled_lse};
    const int64_t tiles = head_tiles(weight), head_bytes = HeadMemory::bytes(rows, tiles, k, threads) + 64;
    uint8_t* memory = shared_memory(head_bytes + Activations::integer_bytes(rows, columns));
    const HeadMemory head_memory(memory, rows, tiles, k, threads);
    run_team(threads, [&](Team& team) {
        uint8_t* integers = memory + head_bytes / 64 * 64;
        const Activations activations = activations_for(weight, x, rows, integers);
        quantize(team, activations);
        lm_head_topk(team, weight, activations, call, head_memory);
    });
    return kDone;
}

MARCOT_API void marcot_sample(int64_t rows, int64_t k, const int64_t* top_ids, const float* top_logits,
                              const float* lse, const int64_t* drawn_ids, const float* drawn_logits,
                              const float* scaled_lse, const float* temperature, const int32_t* top_k,
                              const double* top_p, const float* min_p, const int32_t* width, const int64_t* key,
                              const int64_t* position, int64_t* ids, float* logits, uint8_t* settled, int64_t threads) {
    const SampleCall call{rows,        k,     top_ids, top_logits, lse,   drawn_ids, drawn_logits, scaled_lse,
                          temperature, top_k, top_p,   min_p,      width, key,       position};
    run_team(rows < 8 ? 1 : threads, [&](Team& team) { sample_rows(team, call, ids, logits, settled); });
}

MARCOT_API int64_t marcot_advance(int64_t rows, int64_t k, const int64_t* top_ids, const float* top_logits,
                                  const float* lse, const int64_t* drawn_ids, const float* drawn_logits,
                                  const float* scaled_lse, const float* temperature, const int32_t* top_k,
                                  const double* top_p, const float* min_p, const int32_t* width, const int64_t* key,
                                  const int64_t* position, int64_t room, int64_t columns, int64_t* token_ids,
                                  int32_t* positions, int64_t* places, int64_t* draw_position,
                                  const int64_t* next_places, const int64_t* ends, const int32_t* limit, int32_t* drawn,
                                  uint8_t* ended, uint8_t* settled, int32_t* result_ids, float* result_logits,
                                  float* result_lse, int32_t* result_top_ids, float* result_top_logits,
                                  int64_t threads) {
    const SampleCall call{rows,        k,     top_ids, top_logits, lse,   drawn_ids, drawn_logits, scaled_lse,
                          temperature, top_k, top_p,   min_p,      width, key,       position};
    const RoundState state{
        room,  columns, token_ids,  positions,     places,     draw_position,  next_places,      ends, limit, drawn,
        ended, settled, result_ids, result_logits, result_lse, result_top_ids, result_top_logits};
    if (const Refusal refusal = check_round(state, rows)) return refusal;
    run_team(rows < 8 ? 1 : threads, [&](Team& team) { advance_rows(team, call, state); });
    return kDone;
}

// `layers` is [count][22] int64: the fields of Layer, in order.
MARCOT_API int64_t marcot_run_layers(const int64_t* layers, int64_t count, int64_t rows, int64_t hidden, int64_t width,
                                     int64_t kv_heads, int64_t group, int64_t head_dim, int64_t page_size,
                                     int64_t page_count, double eps, double scale, const float* cos, const float* sin,
                                     const int64_t* slots, float* k_cache, float* v_cache, int64_t layer_floats,
                                     const int32_t* positions, const int32_t* items, int64_t item_count,
                                     const int32_t* pages, int64_t listed, const float* embedded, float* residual,
                                     float* output, int64_t threads) {
    static_assert(sizeof(Layer) == 22 * sizeof(int64_t), "Python builds these rows");
    const StackCall call{(const Layer*)layers,
                         count,
                         rows,
                         hidden,
                         width,
                         {kv_heads, group, head_dim, page_size},
                         (float)eps,
                         (float)scale,
                         cos,
                         sin,
                         slots,
                         k_cache,
                         v_cache,
                         layer_floats,
                         {positions, (const WorkItem*)items, item_count, pages},
                         embedded,
                         residual,
                         output};
    Refusal refusal = check_slots(slots, rows, call.heads, page_count);
    if (!refusal) refusal = check_plan(call.plan, rows, listed, call.heads, page_count);
    if (refusal) return refusal;
    const StackMemory memory(shared_memory(StackMemory::bytes(call)), call);
    run_team(threads, [&](Team& team) { run_layers(team, call, memory); });
    return kDone;
}
