// A_i[n, c] = sum over edges e into i of sum_m T_e[n, m] R_e[c] h_j[m, c], j = sender(e), and its derivatives.
//
// T (edges, outputs * inputs), R (edges, channels), h (inputs, senders, channels), A and its cotangent g
// (outputs, receivers, channels). Derivatives are those of S = <g, A>. Sums over edges into an atom run along the list,
// which is sorted by receiver; sums over edges out of an atom along a permutation of it. So no two threads add to one
// number, and the result does not depend on their count.
#include <vector>

#include "vectors.h"

namespace {

// Two vectors of channels at a time where there are enough of them: each coupling is read half as often.
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

// Compile-time numbers of components where given, else those of the list.
template <int given>
inline index_t size(index_t runtime) { return given ? given : runtime; }
template <int given>
constexpr int room = given ? given : 25;

template <class real, int wide, bool whole, int M, int N>
void forward(const Edges& list, const real* T, const real* R, const real* h, const real* T2, const real* R2,
             const real* h2, real* A, int threads) {
    const index_t C = list.channels, inputs = size<M>(list.inputs), outputs = size<N>(list.outputs);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (index_t i = 0; i < list.receivers; ++i)
        for (index_t c = 0; c < C; c += (V<real, wide>::width)) {
            V<real, wide> sum[room<N>], x[room<M>], x2[room<M>], r, r2, value;
            for (index_t n = 0; n < outputs; ++n) sum[n] = V<real, wide>::zero();
            for (index_t e = list.into[i]; e < list.into[i + 1]; ++e) {
                const real *t = T + e * outputs * inputs, *t2 = T2 ? T2 + e * outputs * inputs : nullptr;
                load(r, R + e * C + c, left<real, wide, whole>(C - c));
                if (R2) load(r2, R2 + e * C + c, left<real, wide, whole>(C - c));
                for (index_t m = 0; m < inputs; ++m) {
                    const index_t place = (m * list.senders + list.sender[e]) * C + c;
                    load(value, h + place, left<real, wide, whole>(C - c));
                    x2[m] = r * value;
                    if (!R2) {
                        x[m] = x2[m];
                        continue;
                    }
                    x[m] = r2 * value;
                    load(value, h2 + place, left<real, wide, whole>(C - c));
                    x[m] += r * value;
                }
                for (index_t n = 0; n < outputs; ++n)
                    for (index_t m = 0; m < inputs; ++m) sum[n] += t[n * inputs + m] * x[m];
                if (t2)
                    for (index_t n = 0; n < outputs; ++n)
                        for (index_t m = 0; m < inputs; ++m) sum[n] += t2[n * inputs + m] * x2[m];
            }
            for (index_t n = 0; n < outputs; ++n) store(A + (n * list.receivers + i) * C + c, sum[n], left<real, wide, whole>(C - c));
        }
}

// t[n, m] = sum_c g_i[n, c] x[m, c], with x (inputs, blocks) for one edge
template <class real, int wide, bool whole, int M, int N>
inline void by_coupling(const Edges& list, const real* g, index_t i, const V<real, wide>* x, index_t blocks, real* t) {
    const index_t C = list.channels, inputs = size<M>(list.inputs), outputs = size<N>(list.outputs);
    for (index_t n = 0; n < outputs; ++n) {
        V<real, wide> sum[room<M>], value;
        for (index_t m = 0; m < inputs; ++m) sum[m] = V<real, wide>::zero();
        for (index_t block = 0; block < blocks; ++block) {
            const index_t c = block * (V<real, wide>::width);
            load(value, g + (n * list.receivers + i) * C + c, left<real, wide, whole>(C - c));
            for (index_t m = 0; m < inputs; ++m) sum[m] += value * x[block * inputs + m];
        }
        for (index_t m = 0; m < inputs; ++m) t[n * inputs + m] = sum_of_lanes<real>(sum[m]);
    }
}

// dS/dT, dS/dR and dS/dh; with T2, R2, h2 (all or none) the derivatives of their inner products with those instead.
template <class real, int wide, bool whole, int M, int N, bool second>
void backward(const Edges& list, const real* T, const real* R, const real* h, const real* g, const real* T2,
              const real* R2, const real* h2, real* by_T, real* by_R, real* by_h, int threads) {
    const index_t C = list.channels, inputs = size<M>(list.inputs), outputs = size<N>(list.outputs);
    const index_t blocks = (C + (V<real, wide>::width) - 1) / (V<real, wide>::width);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        std::vector<V<real, wide>> products(blocks * inputs), sums(blocks * inputs);
#pragma omp for schedule(static)
        for (index_t j = 0; j < list.senders; ++j) {
            for (auto& sum : sums) sum = V<real, wide>::zero();
            for (index_t place = list.out_of[j]; place < list.out_of[j + 1]; ++place) {
                const index_t e = list.order[place], i = list.receiver[e];
                const real *t = T + e * outputs * inputs, *t2 = second ? T2 + e * outputs * inputs : nullptr;
                for (index_t block = 0; block < blocks; ++block) {
                    const index_t c = block * (V<real, wide>::width);
                    V<real, wide> y[room<M>], y2[room<M>], value, r, r2, by_r = V<real, wide>::zero();
                    for (index_t m = 0; m < inputs; ++m) y[m] = y2[m] = V<real, wide>::zero();
                    for (index_t n = 0; n < outputs; ++n) {
                        load(value, g + (n * list.receivers + i) * C + c, left<real, wide, whole>(C - c));
                        for (index_t m = 0; m < inputs; ++m) y[m] += t[n * inputs + m] * value;
                        if (second)
                            for (index_t m = 0; m < inputs; ++m) y2[m] += t2[n * inputs + m] * value;
                    }
                    load(r, R + e * C + c, left<real, wide, whole>(C - c));
                    if (second) load(r2, R2 + e * C + c, left<real, wide, whole>(C - c));
                    for (index_t m = 0; m < inputs; ++m) {
                        const index_t at = (m * list.senders + j) * C + c;
                        load(value, h + at, left<real, wide, whole>(C - c));
                        if (second) {
                            by_r += y2[m] * value;
                            products[block * inputs + m] = r2 * value;
                            load(value, h2 + at, left<real, wide, whole>(C - c));
                            by_r += y[m] * value;
                            products[block * inputs + m] += r * value;
                            sums[block * inputs + m] += r2 * y[m] + r * y2[m];
                        } else {
                            by_r += y[m] * value;
                            products[block * inputs + m] = r * value;
                            sums[block * inputs + m] += r * y[m];
                        }
                    }
                    store(by_R + e * C + c, by_r, left<real, wide, whole>(C - c));
                }
                by_coupling<real, wide, whole, M, N>(list, g, i, products.data(), blocks, by_T + e * outputs * inputs);
            }
            for (index_t m = 0; m < inputs; ++m)
                for (index_t block = 0; block < blocks; ++block) {
                    const index_t c = block * (V<real, wide>::width);
                    store(by_h + (m * list.senders + j) * C + c, sums[block * inputs + m], left<real, wide, whole>(C - c));
                }
        }
    }
}

template <class real, int wide, bool whole, int M, int N>
void run(int what, const Edges& list, const real* T, const real* R, const real* h, const real* g, const real* T2,
         const real* R2, const real* h2, real* by_T, real* by_R, real* by_h, real* A, int threads) {
    if (what == 0) return forward<real, wide, whole, M, N>(list, T, R, h, nullptr, nullptr, nullptr, A, threads);
    if (what == 1)
        return backward<real, wide, whole, M, N, false>(list, T, R, h, g, nullptr, nullptr, nullptr, by_T, by_R, by_h, threads);
    backward<real, wide, whole, M, N, true>(list, T, R, h, g, T2, R2, h2, by_T, by_R, by_h, threads);
    forward<real, wide, whole, M, N>(list, T, R, h, T2, R2, h2, A, threads);
}

template <class real, int wide, bool whole>
auto chosen(index_t outputs, index_t inputs) {
    // the sums of nine by nine fill the registers
    return outputs == 9 && inputs == 1   ? run<real, wide, whole, 1, 9>
           : outputs == 9 && inputs == 4 ? run<real, wide, whole, 4, 9>
           : outputs == 9 && inputs == 9 ? run<real, 1, whole, 9, 9>
                                         : run<real, 1, whole, 0, 0>;
}

}  // namespace

// Where edges into and out of each atom begin, and the order of those out of it; 1 if the list is not sorted by receiver
// or names atoms that don't exist.
extern "C" int edge_order(index_t edges, index_t atoms, const index_t* receiver, const index_t* sender, index_t* into,
                          index_t* out_of, index_t* order) {
    for (index_t i = 0; i <= atoms; ++i) into[i] = out_of[i] = 0;
    for (index_t e = 0; e < edges; ++e) {
        const index_t i = receiver[e], j = sender[e];
        if (i < (e ? receiver[e - 1] : 0) || i >= atoms || j < 0 || j >= atoms) return 1;
        ++into[receiver[e] + 1];
        ++out_of[sender[e] + 1];
    }
    for (index_t i = 0; i < atoms; ++i) {
        into[i + 1] += into[i];
        out_of[i + 1] += out_of[i];
    }
    std::vector<index_t> next(out_of, out_of + atoms);
    for (index_t e = 0; e < edges; ++e) order[next[sender[e]]++] = e;
    return 0;
}

// what: 0 the sum A; 1 its derivatives by T, R and h; 2 derivatives of those along T2, R2 and h2, and A by g.
#define MESSAGES(real, suffix)                                                                                       \
    extern "C" void messages_##suffix(int what, index_t atoms, index_t edges, index_t channels, const index_t* into, \
                                      const index_t* receiver, const index_t* sender, const index_t* out_of,         \
                                      const index_t* order, index_t outputs, index_t inputs, const real* T,          \
                                      const real* R, const real* h, const real* g, const real* T2, const real* R2,   \
                                      const real* h2, real* by_T, real* by_R, real* by_h, real* A, int threads) {    \
        const Edges list{atoms, atoms, edges, channels, into, receiver, sender, out_of, order, outputs, inputs};     \
        constexpr index_t width = Vector<real>::width;                                                               \
        const auto work = channels % (2 * width) == 0 ? chosen<real, 2, true>(outputs, inputs)                       \
                          : channels % width == 0     ? chosen<real, 1, true>(outputs, inputs)                       \
                                                      : chosen<real, 1, false>(outputs, inputs);                     \
        work(what, list, T, R, h, g, T2, R2, h2, by_T, by_R, by_h, A, threads);                                      \
    }

MESSAGES(float, f32)
MESSAGES(double, f64)
