// Runs all decoder layers in one call.
#pragma once

#include "../linear/product.h"
#include "attention.h"
#include "rowwise.h"

namespace marcot {

// The weights of one layer, as Python passes them: a row of int64, most of them pointers.
struct Layer {
    const float* input_norm;
    const float* qkv_bias;  // may be null
    const float* post_attention_norm;
    const float *q_norm, *k_norm;  // may both be null
    int64_t rope;                  // index of its table of cosines and sines
    Weight qkv, attention_output, gate_up, down;
};

// Inputs and outputs of a step; all threads read the same ones.
struct StackCall {
    const Layer* layers;
    int64_t layer_count, rows, hidden, width;
    Heads heads;
    float eps, scale;
    const float *cos, *sin;  // [tables][rows][head_dim / 2]
    const int64_t* slots;
    float *k_cache, *v_cache;
    int64_t layer_floats;  // floats of one layer in each cache
    Plan plan;
    const float* embedded;  // [rows][hidden]
    float* residual;        // [rows][hidden], an output
    float* output;          // [rows][hidden], an output
};

// Memory for the intermediate results of a step.
struct StackMemory {
    float *normed, *qkv, *q, *attended, *gate_up, *activated;
    uint8_t* integers;

    static int64_t floats(const StackCall& call) {
        const int64_t q_width = call.heads.heads() * call.heads.head_dim;
        return call.rows * (call.hidden + call.heads.qkv_width() + 2 * q_width + 3 * call.width);
    }
    static int64_t widest(const StackCall& call) {
        return std::max({call.hidden, call.heads.heads() * call.heads.head_dim, call.width});
    }
    static int64_t bytes(const StackCall& call) {
        return floats(call) * sizeof(float) + 64 + Activations::integer_bytes(call.rows, widest(call));
    }

    StackMemory(uint8_t* memory, const StackCall& call) {
        const int64_t q_width = call.heads.heads() * call.heads.head_dim;
        normed = (float*)memory;
        qkv = normed + call.rows * call.hidden;
        q = qkv + call.rows * call.heads.qkv_width();
        attended = q + call.rows * q_width;
        gate_up = attended + call.rows * q_width;
        activated = gate_up + 2 * call.rows * call.width;
        integers = memory + (floats(call) * sizeof(float) + 63) / 64 * 64;
    }
};

inline void run_layers(Team& team, const StackCall& call, const StackMemory& memory) {
    const float* x = call.embedded;
    const float* residual = nullptr;
    for (int64_t index = 0; index < call.layer_count; index++) {
        const Layer& layer = call.layers[index];
        float* k_pages = call.k_cache + index * call.layer_floats;
        float* v_pages = call.v_cache + index * call.layer_floats;
        const auto activations = [&](const Weight& weight, const float* values) {
            return activations_for(weight, values, call.rows, memory.integers);
        };
        const Activations for_qkv = activations(layer.qkv, memory.normed);
        rms_norm(team, x, residual, layer.input_norm, call.eps, call.rows, call.hidden, memory.normed, call.residual,
                 for_qkv);
        residual = call.residual;
        multiply(team, layer.qkv, for_qkv, memory.qkv);
        const int64_t table = layer.rope * call.rows * call.heads.head_dim / 2;
        rope_store(team, memory.qkv, layer.qkv_bias, {layer.q_norm, layer.k_norm, call.eps}, call.cos + table,
                   call.sin + table, call.slots, call.rows, call.heads, k_pages, v_pages, memory.q);
        tree_attention(team, call.heads, call.plan, memory.q, call.rows, k_pages, v_pages, call.scale, memory.attended);
        linear(team, layer.attention_output, memory.attended, call.rows, memory.integers, call.output);
        const Activations for_gate_up = activations(layer.gate_up, memory.normed);
        rms_norm(team, call.output, residual, layer.post_attention_norm, call.eps, call.rows, call.hidden,
                 memory.normed, call.residual, for_gate_up);
        multiply(team, layer.gate_up, for_gate_up, memory.gate_up);
        const Activations for_down = activations(layer.down, memory.activated);
        silu_mul(team, memory.gate_up, call.rows, call.width, memory.activated, for_down);
        multiply(team, layer.down, for_down, call.output);
        x = call.output;
    }
}

}  // namespace marcot
