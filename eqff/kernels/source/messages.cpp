// A_i[n, c] = sum over edges e into i of sum_m T_e[n, m] R_e[c] h_j[m, c], j = sender(e), and its derivatives.
//
// T (edges, outputs * inputs), R (edges, channels), h (inputs, senders, channels), A and its cotangent g
// (outputs, receivers, channels). Derivatives are those of S = <g, A>. Sums over edges into an atom run along the list,
// which is sorted by receiver; sums over edges out of an atom along a permutation of it. So no two threads add to one
// number, and the result does not depend on their count.
#include <vector>

#include "messages.h"

namespace {

// A parallel region is a function of its own, in which the compiler has forgotten the sizes that it knew: what is done for
// an atom stands in functions outside.
template <class real, int wide, bool whole, int M, int N, bool second>
void all_forward(const Edges& list, const Arrays<real>& at, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (index_t i = 0; i < list.receivers; ++i) forward<real, wide, whole, M, N, second>(list, at, i);
}

template <class real, int wide, bool whole, int M, int N, bool second>
void all_backward(const Edges& list, const Arrays<real>& at, int threads) {
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        const index_t blocks = (list.channels + Vector<real>::width - 1) / Vector<real>::width;
        std::vector<V<real, 1>> xs(blocks * list.inputs), sums(blocks * list.inputs);
#pragma omp for schedule(static)
        for (index_t j = 0; j < list.senders; ++j)
            backward<real, wide, whole, M, N, second>(list, at, j, xs.data(), sums.data());
    }
}

// Vectors side by side: as many as rows consist of, and as the sums of as many components leave registers for.
constexpr int beside(int vectors, int sums) {
    const int fit = sums <= 2 ? 4 : sums <= 9 ? 2 : 1;
    return vectors < fit ? vectors : fit;
}

template <class real, int vectors, bool whole, int M, int N>
void run(int what, const Edges& list, const Arrays<real>& at, int threads) {
    constexpr int few = beside(vectors, room<N>);
    constexpr int one = beside(vectors, room<M>), two = beside(vectors, 2 * room<M>);
    if (what == 0) return all_forward<real, few, whole, M, N, false>(list, at, threads);
    if (what == 1) return all_backward<real, one, whole, M, N, false>(list, at, threads);
    all_backward<real, two, whole, M, N, true>(list, at, threads);
    all_forward<real, few, whole, M, N, true>(list, at, threads);
}

template <class real, int vectors, bool whole>
auto chosen(index_t outputs, index_t inputs) {
    return outputs == 9 && inputs == 1   ? run<real, vectors, whole, 1, 9>
           : outputs == 9 && inputs == 4 ? run<real, vectors, whole, 4, 9>
           : outputs == 9 && inputs == 9 ? run<real, vectors, whole, 9, 9>
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
        const Arrays<real> at{T, R, h, g, T2, R2, h2, by_T, by_R, by_h, A};                                          \
        constexpr index_t width = Vector<real>::width;                                                               \
        const auto work = channels % (4 * width) == 0   ? chosen<real, 4, true>(outputs, inputs)                     \
                          : channels % (2 * width) == 0 ? chosen<real, 2, true>(outputs, inputs)                     \
                          : channels % width == 0       ? chosen<real, 1, true>(outputs, inputs)                     \
                                                        : chosen<real, 1, false>(outputs, inputs);                   \
        work(what, list, at, threads);                                                                               \
    }

MESSAGES(float, f32)
MESSAGES(double, f64)
