// Chooses the next token from the candidates that the LM head kept, and advances the rows of a round by it.
// Comparisons are in float. Exponentials, logarithms and sums are computed in double and rounded to float where they
// are stored, as in `kernels/reference/pick.py`.
#pragma once

#include <algorithm>
#include <cmath>

#include "../bounds.h"
#include "../team/team.h"
#include "philox.h"

namespace marcot {

// Inputs of a call. Candidates are sorted, best first. The three fields of drawn tokens may be null.
struct SampleCall {
    int64_t rows, k;
    const int64_t* top_ids;   // [rows][k]
    const float* top_logits;  // [rows][k]
    const float* lse;         // [rows], like all fields below
    const int64_t* drawn_ids;
    const float* drawn_logits;
    const float* scaled_lse;
    const float* temperature;
    const int32_t* top_k;
    const double* top_p;
    const float* min_p;
    const int32_t* width;
    const int64_t* key;
    const int64_t* position;
};

// The state of a round: every row draws at most `room` tokens and stops early at any of its `columns` end tokens.
struct RoundState {
    int64_t room, columns;
    int64_t* token_ids;  // [rows]
    int32_t* positions;
    int64_t* places;
    int64_t* draw_position;
    const int64_t* next_places;  // [rows][room]
    const int64_t* ends;         // [rows][columns]
    const int32_t* limit;        // [rows]
    int32_t* drawn;
    uint8_t* ended;
    uint8_t* settled;
    int32_t* ids;  // [room][rows]
    float* logits;
    float* lse;
    int32_t* top_ids;  // [room][rows][k]
    float* top_logits;
};

struct Token {
    int64_t id;
    float logit;
    bool settled;
};

namespace sample {

constexpr int64_t kMaxTopK = 64;
constexpr float kMostLogit = 1e20f;

inline float exp(float x) { return (float)std::exp((double)x); }
inline float log(float x) { return (float)std::log((double)x); }

// scores[i] += Gumbel noise of token ids[i].
inline void add_noise(const int64_t* ids, int64_t count, int64_t position, int64_t key, float* scores) {
    for (int64_t first = 0; first < count; first += kLanes) {
        const int64_t lanes = std::min<int64_t>(kLanes, count - first);
        U32 block{}, words[4];
        for (int64_t lane = 0; lane < lanes; lane++) block[lane] = (uint32_t)(ids[first + lane] >> 2);
        philox(block, (uint32_t)position, (uint64_t)key, words);
        for (int64_t lane = 0; lane < lanes; lane++) {
            const uint32_t word = words[ids[first + lane] & 3][lane];
            const float uniform = std::min((float)((word + 0.5) * 0x1p-32), 1 - 0x1p-24f);
            scores[first + lane] += -log((float)-std::log1p(-(double)uniform));
        }
    }
}

}  // namespace sample

// Chooses the token of one row, by the rules of `reference.sample`.
inline Token choose(const SampleCall& call, int64_t row) {
    using namespace sample;
    const int64_t* ids = call.top_ids + row * call.k;
    const float* logits = call.top_logits + row * call.k;
    const float temperature = call.temperature[row], min_p = call.min_p[row], lse = call.lse[row];
    const int64_t top_k = call.top_k[row], width = std::min<int64_t>(call.width[row], call.k);
    const double top_p = call.top_p[row];
    const Token open{ids[0], logits[0], false};
    if (width <= 0) return open;
    const bool finite = std::abs(lse) < kMostLogit && std::abs(logits[width - 1]) < kMostLogit;  // false for NaN
    if (!finite) return open;
    if (temperature == 0) return {ids[0], logits[0], true};
    if (call.drawn_ids && top_k == 0 && top_p >= 1 && min_p <= 0)
        return {call.drawn_ids[row], call.drawn_logits[row], true};

    float scores[kMaxTopK];
    for (int64_t i = 0; i < call.k; i++) scores[i] = logits[i] / temperature;
    const float best = scores[0];
    const bool limited = top_k > 0 && top_k <= width;
    int64_t kept = limited ? top_k : width;
    bool settled = limited;
    if (top_p < 1) {
        double reached[kMaxTopK], mass = 0;
        for (int64_t i = 0; i < kept; i++) reached[i] = mass += exp(scores[i] - best);
        double total = limited ? mass : std::numeric_limits<double>::quiet_NaN();
        if (top_k == 0 && call.scaled_lse) total = exp(call.scaled_lse[row] - best);
        const double enough = top_p * total;
        const int64_t within =
            (enough > 0) + std::count_if(reached, reached + kept, [&](double sum) { return sum < enough; });
        kept = std::min(kept, within);
        settled |= mass >= enough;
    }
    if (min_p > 0) {
        const float floor = best + log(min_p);
        const int64_t probable = std::count_if(scores, scores + call.k, [&](float score) { return score >= floor; });
        kept = std::min(kept, probable);
        settled |= probable < width;
    }
    if (kept == 0) return open;
    if (kept > 1) add_noise(ids, kept, call.position[row], call.key[row], scores);
    const int64_t column = std::max_element(scores, scores + kept) - scores;
    return {ids[column], logits[column], settled};
}

inline void sample_rows(Team& team, const SampleCall& call, int64_t* ids, float* logits, uint8_t* settled) {
    team.run(call.rows, 1, [&](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; row++) {
            const Token token = choose(call, row);
            ids[row] = token.id, logits[row] = token.logit, settled[row] = token.settled;
        }
    });
}

inline Refusal check_round(const RoundState& state, int64_t rows) {
    for (int64_t row = 0; row < rows; row++)
        if (!state.ended[row] && (state.drawn[row] < 0 || state.drawn[row] >= state.room)) return kNoRoom;
    return kDone;
}

inline void advance_rows(Team& team, const SampleCall& call, const RoundState& state) {
    team.run(call.rows, 1, [&](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; row++) {
            if (state.ended[row]) continue;
            const Token token = choose(call, row);
            state.settled[row] = token.settled;
            if (!token.settled) continue;
            const int64_t number = state.drawn[row]++, at = number * call.rows + row;
            state.ids[at] = (int32_t)token.id;
            state.logits[at] = token.logit;
            state.lse[at] = call.lse[row];
            std::copy_n(call.top_ids + row * call.k, call.k, state.top_ids + at * call.k);
            std::copy_n(call.top_logits + row * call.k, call.k, state.top_logits + at * call.k);
            state.token_ids[row] = token.id;
            state.places[row] = state.next_places[row * state.room + number];
            state.positions[row]++;
            state.draw_position[row]++;
            const int64_t* ends = state.ends + row * state.columns;
            const bool is_end = std::find(ends, ends + state.columns, token.id) != ends + state.columns;
            state.ended[row] = is_end || number + 1 >= state.limit[row];
        }
    });
}

}  // namespace marcot
