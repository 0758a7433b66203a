// What messages.cpp does for one atom: sums over the edges into it, and derivatives over those out of it.
#pragma once
#include "vectors.h"

namespace {

// A few vectors of channels, treated alike.
template <class real, int wide>
using V = Wide<real, wide>;

// Channels from a place on; known where rows are a whole number of vectors, so that nothing is asked for each vector.
template <class real, int wide, bool whole>
constexpr index_t left(index_t channels) { return whole ? V<real, wide>::width : channels; }

struct Edges {
    index_t receivers, senders, edges, channels;
    const index_t *into;      // (receivers + 1): where edges into an atom begin
    const index_t *receiver, *sender;
    const index_t *out_of;    // (senders + 1): where edges out of an atom begin in the permutation
    const index_t *order;     // (edges): the permutation
    index_t outputs, inputs;
};

template <class real>
struct Arrays {
    const real *T, *R, *h, *g, *T2, *R2, *h2;
    real *by_T, *by_R, *by_h, *A;
};

// Compile-time numbers of components where given, else those of the list.
template <int given>
inline index_t size(index_t runtime) { return given ? given : runtime; }
template <int given>
constexpr int room = given ? given : 25;

// A of a receiver; with `second` its derivative along T2, R2 and h2. Sums over inputs stay loops: written out, the compiler
// would add their terms up in another order, with more of them waiting than there are registers.
template <class real, int wide, bool whole, int M, int N, bool second>
inline void forward(const Edges& list, const Arrays<real>& at, index_t i) {
    const index_t C = list.channels, inputs = size<M>(list.inputs), outputs = size<N>(list.outputs);
    for (index_t c = 0; c < C; c += V<real, wide>::width) {
        const index_t count = left<real, wide, whole>(C - c);
        V<real, wide> sum[room<N>], value, x, r, r2;
        for (index_t n = 0; n < outputs; ++n) sum[n] = V<real, wide>::zero();
        for (index_t e = list.into[i]; e < list.into[i + 1]; ++e) {
            const real *t = at.T + e * outputs * inputs, *t2 = second ? at.T2 + e * outputs * inputs : nullptr;
            load(r, at.R + e * C + c, count);
            if (second) load(r2, at.R2 + e * C + c, count);
            for (index_t m = 0; m < inputs; ++m) {
                const index_t place = (m * list.senders + list.sender[e]) * C + c;
                load(value, at.h + place, count);
                x = r * value;
                if (second) {
                    for (index_t n = 0; n < outputs; ++n) sum[n].add_product(t2[n * inputs + m], x);
                    x = r2 * value;
                    load(value, at.h2 + place, count);
                    x.add_product(r, value);
                }
                for (index_t n = 0; n < outputs; ++n) sum[n].add_product(t[n * inputs + m], x);
            }
        }
        for (index_t n = 0; n < outputs; ++n) store(at.A + (n * list.receivers + i) * C + c, sum[n], count);
    }
}

// t[first + k] = sum_c g[n, c] x[m, c] with n, m = (first + k) / M, (first + k) % M: a vector of couplings
template <class real, bool whole, int M, int first, int count>
inline void some_couplings(const real* g, index_t stride, const V<real, 1>* x, index_t C, real* t) {
    typename Vector<real>::type sum[count], value;
    for (int k = 0; k < count; ++k) sum[k] = typename Vector<real>::type{};
    for (index_t c = 0; c < C; c += Vector<real>::width, x += M)
#pragma GCC unroll 16
        for (int k = 0; k < count; ++k) {
            load(value, g + (first + k) / M * stride + c, left<real, 1, whole>(C - c));
            sum[k] += value * x[(first + k) % M].part[0];
        }
    sum_lanes<count>(sum);
    std::memcpy(t + first, sum, count * sizeof(real));
}

// t[n, m] = sum_c g[n, c] x[m, c] for one edge, with x (blocks, inputs) and components of g `stride` apart
template <class real, bool whole, int M, int N, int first = 0>
inline void couplings(const Edges& list, const real* g, index_t stride, const V<real, 1>* x, real* t) {
    constexpr int width = Vector<real>::width, rest = M * N - first;
    if constexpr (rest > 0) {
        some_couplings<real, whole, M, first, (rest < width ? rest : width)>(g, stride, x, list.channels, t);
        couplings<real, whole, M, N, first + width>(list, g, stride, x, t);
    } else if constexpr (M * N == 0)
        for (index_t n = 0; n < list.outputs; ++n)
            for (index_t m = 0; m < list.inputs; ++m) {
                V<real, 1> sum = V<real, 1>::zero(), value;
                for (index_t c = 0, block = 0; c < list.channels; c += width, ++block) {
                    load(value, g + n * stride + c, left<real, 1, whole>(list.channels - c));
                    sum.add_product(value, x[block * list.inputs + m]);
                }
                t[n * list.inputs + m] = sum_of_lanes<real>(sum);
            }
}

template <int written, class real>
inline void fetch(const real* row, index_t count) {
    for (index_t k = 0; k < count; k += Vector<real>::width) __builtin_prefetch(row + k, written);
}

// Edges out of an atom lie anywhere in the list: the processor has to be told where it goes on.
template <class real, int M, int N, bool second>
inline __attribute__((always_inline)) void fetch_edge(const Edges& list, const Arrays<real>& at, index_t place) {
    if (place >= list.edges) return;
    const index_t e = list.order[place], couplings = size<N>(list.outputs) * size<M>(list.inputs), C = list.channels;
    fetch<0>(at.T + e * couplings, couplings);
    fetch<0>(at.R + e * C, C);
    if (second) fetch<0>(at.T2 + e * couplings, couplings);
    if (second) fetch<0>(at.R2 + e * C, C);
    fetch<1>(at.by_T + e * couplings, couplings);
    fetch<1>(at.by_R + e * C, C);
}

// dS/dT, dS/dR and dS/dh of a sender; with `second` the derivatives of their inner products with T2, R2 and h2 instead.
// There is room for (blocks, inputs) in xs, for the x = R h that dS/dT is made of, and in sums, for dS/dh.
template <class real, int wide, bool whole, int M, int N, bool second>
inline void backward(const Edges& list, const Arrays<real>& at, index_t j, V<real, 1>* xs, V<real, 1>* sums) {
    using U = V<real, wide>;
    const index_t C = list.channels, inputs = size<M>(list.inputs), outputs = size<N>(list.outputs);
    const index_t blocks = (C + Vector<real>::width - 1) / Vector<real>::width;
    for (index_t k = 0; k < blocks * inputs; ++k) sums[k] = V<real, 1>::zero();
    for (index_t place = list.out_of[j]; place < list.out_of[j + 1]; ++place) {
        fetch_edge<real, M, N, second>(list, at, place + 2);
        const index_t e = list.order[place];
        const real *t = at.T + e * outputs * inputs, *t2 = second ? at.T2 + e * outputs * inputs : nullptr;
        const real* g = at.g + list.receiver[e] * C;
        for (index_t c = 0, block = 0; c < C; c += U::width, block += wide) {
            const index_t count = left<real, wide, whole>(C - c);
            U y[room<M>], y2[room<M>], value, r, r2, by_r = U::zero();
            for (index_t m = 0; m < inputs; ++m) y[m] = y2[m] = U::zero();
            for (index_t n = 0; n < outputs; ++n) {
                load(value, g + n * list.receivers * C + c, count);
                for (index_t m = 0; m < inputs; ++m) y[m].add_product(t[n * inputs + m], value);
                if (second)
                    for (index_t m = 0; m < inputs; ++m) y2[m].add_product(t2[n * inputs + m], value);
            }
            load(r, at.R + e * C + c, count);
            if (second) load(r2, at.R2 + e * C + c, count);
#pragma GCC unroll 9
            for (index_t m = 0; m < inputs; ++m) {
                const index_t here = (m * list.senders + j) * C + c;
                load(value, at.h + here, count);
                U x = (second ? r2 : r) * value, change = r * (second ? y2[m] : y[m]);
                by_r.add_product(second ? y2[m] : y[m], value);
                if (second) {
                    load(value, at.h2 + here, count);
                    by_r.add_product(y[m], value);
                    x.add_product(r, value);
                    change.add_product(r2, y[m]);
                }
#pragma GCC unroll 4
                for (int k = 0; k < wide; ++k) {
                    xs[(block + k) * inputs + m].part[0] = x.part[k];
                    sums[(block + k) * inputs + m].part[0] += change.part[k];
                }
            }
            store(at.by_R + e * C + c, by_r, count);
        }
        couplings<real, whole, M, N>(list, g, list.receivers * C, xs, at.by_T + e * outputs * inputs);
    }
    for (index_t m = 0; m < inputs; ++m)
        for (index_t c = 0, block = 0; c < C; c += Vector<real>::width, ++block)
            store(at.by_h + (m * list.senders + j) * C + c, sums[block * inputs + m], left<real, 1, whole>(C - c));
}

}  // namespace
