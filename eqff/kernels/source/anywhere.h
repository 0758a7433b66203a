// Vectors that begin at any number in memory. A type of their own, as memcpy may move them in halves: then sums leave the
// registers, and who reads a whole vector waits for both its halves.
#pragma once

template <class V>
struct __attribute__((packed, may_alias)) Anywhere {
    V value;
};

template <class V, class real>
static inline V read_vector(const real* from) {
    return reinterpret_cast<const Anywhere<V>*>(from)->value;
}

template <class V, class real>
static inline void write_vector(real* to, const V& value) {
    reinterpret_cast<Anywhere<V>*>(to)->value = value;
}
