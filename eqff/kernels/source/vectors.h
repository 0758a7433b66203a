// Short vectors of channels, in the compiler's own vector types: no instruction set is named anywhere.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "anywhere.h"

using index_t = std::int64_t;

template <class real>
struct Vector {  // a cache line, the width of the widest registers
    typedef real type __attribute__((vector_size(64)));
    static constexpr int width = 64 / sizeof(real);
};

// Several vectors side by side: what one vector waits for, the others use. (A longer vector_size would go through memory,
// and so would a loop over them that the compiler has not written out.)
template <class real, int n>
struct Wide {
    using V = typename Vector<real>::type;
    static constexpr int width = n * Vector<real>::width;
    V part[n];
    static Wide zero() {
        Wide out;
#pragma GCC unroll 4
        for (int k = 0; k < n; ++k) out.part[k] = V{};
        return out;
    }
    void add_product(const Wide& a, const Wide& b) {
#pragma GCC unroll 4
        for (int k = 0; k < n; ++k) part[k] += a.part[k] * b.part[k];
    }
    void add_product(real value, const Wide& a, const Wide& b) {
#pragma GCC unroll 4
        for (int k = 0; k < n; ++k) part[k] += (value * a.part[k]) * b.part[k];
    }
    void add_product(real value, const Wide& a) {
#pragma GCC unroll 4
        for (int k = 0; k < n; ++k) part[k] += value * a.part[k];
    }
    Wide& operator+=(const Wide& a) {
#pragma GCC unroll 4
        for (int k = 0; k < n; ++k) part[k] += a.part[k];
        return *this;
    }
    friend Wide operator+(Wide a, const Wide& b) { return a += b; }
    friend Wide operator*(real value, const Wide& a) {
        Wide out;
#pragma GCC unroll 4
        for (int k = 0; k < n; ++k) out.part[k] = value * a.part[k];
        return out;
    }
    friend Wide operator*(const Wide& a, const Wide& b) {
        Wide out;
#pragma GCC unroll 4
        for (int k = 0; k < n; ++k) out.part[k] = a.part[k] * b.part[k];
        return out;
    }
};

// The first `count` numbers at `from`, zeros after them.
template <class V, class real>
static inline void load(V& into, const real* from, index_t count) {
    constexpr index_t width = sizeof(V) / sizeof(real);
    if (count >= width) {
        into = read_vector<V>(from);
        return;
    }
    into = V{};
    for (index_t lane = 0; lane < count; ++lane) into[lane] = from[lane];
}

template <class V, class real>
static inline void store(real* to, const V& from, index_t count) {
    constexpr index_t width = sizeof(V) / sizeof(real);
    if (count >= width) {
        write_vector(to, from);
        return;
    }
    for (index_t lane = 0; lane < count; ++lane) to[lane] = from[lane];
}

template <class real, int n>
static inline void load(Wide<real, n>& into, const real* from, index_t count) {
#pragma GCC unroll 4
    for (int k = 0; k < n; ++k)
        if (const index_t place = k * Vector<real>::width; count > place) load(into.part[k], from + place, count - place);
        else into.part[k] = typename Vector<real>::type{};
}

template <class real, int n>
static inline void store(real* to, const Wide<real, n>& from, index_t count) {
#pragma GCC unroll 4
    for (int k = 0; k < n; ++k)
        if (const index_t place = k * Vector<real>::width; count > place) store(to + place, from.part[k], count - place);
}

template <class real, int n>
static inline real sum_of_lanes(const Wide<real, n>& wide) {
    using V = typename Vector<real>::type;
    V v = wide.part[0];
    for (int k = 1; k < n; ++k) v += wide.part[k];
    real lanes[sizeof(V) / sizeof(real)], total = 0;
    std::memcpy(lanes, &v, sizeof(V));
    for (unsigned lane = 0; lane < sizeof(V) / sizeof(real); ++lane) total += lanes[lane];
    return total;
}

// Lane k of the result is lane place(k) of two vectors behind each other.
template <class V, class Place, std::size_t... k>
static inline V picked(const V& a, const V& b, Place place, std::index_sequence<k...>) {
#ifdef __clang__
    return __builtin_shufflevector(a, b, place(k)...);
#else
    using number = std::conditional_t<sizeof(a[0]) == 4, std::int32_t, std::int64_t>;
    typedef number places __attribute__((vector_size(sizeof(V))));
    return __builtin_shuffle(a, b, places{place(k)...});
#endif
}

// In each block of 2 s lanes: the sums of both halves of a's block, then those of b's.
template <int s, class V>
static inline V folded(const V& a, const V& b) {
    constexpr int lanes = sizeof(V) / sizeof(a[0]);
    constexpr auto all = std::make_index_sequence<lanes>{};
    constexpr auto near = [](int k) constexpr { return k % (2 * s) < s ? k : lanes + k - s; };
    constexpr auto far = [](int k) constexpr { return k % (2 * s) < s ? k + s : lanes + k; };
    return picked(a, b, near, all) + picked(a, b, far, all);
}

// Lane k of v[0] becomes the sum of the lanes of v[k]; of as many vectors as a vector has lanes, or fewer.
template <int count, class V, int s = sizeof(V) / sizeof(V{}[0]) / 2>
static inline void sum_lanes(V* v) {
    if constexpr (s > 0) {
#pragma GCC unroll 8
        for (int k = 0; k < (s < count ? s : count); ++k) v[k] = folded<s>(v[k], v[k + s < count ? k + s : k]);
        sum_lanes<(s < count ? s : count), V, s / 2>(v);
    }
}

// A sparse table of couplings t_kij, sorted by k: rows start[k] to start[k + 1] hold i, j and the value.
template <class real>
struct Table {
    index_t rows;
    const std::int32_t *start, *first, *second;
    const real* value;
};

// out_k = (out_k +) sum_ij t_kij a_i b_j, lane by lane
template <bool add, class real, int n>
static inline void contract(const Table<real>& table, const Wide<real, n>* a, const Wide<real, n>* b,
                            Wide<real, n>* out) {
    for (index_t k = 0; k < table.rows; ++k) {
        Wide<real, n> sum = Wide<real, n>::zero();
        if (add) sum = out[k];
        for (std::int32_t m = table.start[k]; m < table.start[k + 1]; ++m)
            sum.add_product(table.value[m], a[table.first[m]], b[table.second[m]]);
        out[k] = sum;
    }
}
