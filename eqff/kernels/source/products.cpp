// Products of functions on the sphere, channel by channel: u, t = u v and p = t w in spherical components.
//
// Factors (inputs, atoms, order * channels) hold u, v (and w) side by side; the result (outputs, atoms, order * channels)
// holds u, t (and p) up to a degree, times a scale for each atom and channel (atoms, order * channels).
// Their derivatives are those of S = <G1, s1 u> + <G2, s2 t> + <G3, s3 p>.
#include "vectors.h"

namespace {

constexpr int WIDE = 2;
constexpr int most = 128;  // components of t: (4 + 4 + 1)^2 = 81 at the highest degree

template <class real>
struct Plan {  // couplings u v -> t and t w -> p, each sorted by what is computed
    Table<real> t_uv, u_tv, v_tu, p_tw, t_pw, w_pt;
    index_t inputs, outputs, middle, order;
};

template <class real>
using V = Wide<real, WIDE>;

template <class real>
struct Block {  // a few channels of one atom in arrays of (components, atoms, order * channels)
    index_t atoms, row, channels, offset, count;
    void read(const real* from, index_t part, index_t components, V<real>* into) const {
        for (index_t k = 0; k < components; ++k)
            load(into[k], from + k * atoms * row + offset + part * channels, count);
    }
    void write(real* to, index_t part, index_t components, const V<real>* from) const {
        for (index_t k = 0; k < components; ++k)
            store(to + k * atoms * row + offset + part * channels, from[k], count);
    }
};

template <class real>
void scaled(index_t count, const V<real>& scale, const V<real>* from, V<real>* to) {
    for (index_t k = 0; k < count; ++k) to[k] = scale * from[k];
}

template <class real>
V<real> inner(index_t count, const V<real>* a, const V<real>* b) {
    V<real> sum = V<real>::zero();
    for (index_t k = 0; k < count; ++k) sum.add_product(a[k], b[k]);
    return sum;
}

template <class real>
void forward(const Plan<real>& plan, const Block<real>& at, const real* factors, const real* scale, real* out) {
    V<real> u[most], v[most], t[most], other[most], s;
    at.read(factors, 0, plan.inputs, u);
    at.read(factors, 1, plan.inputs, v);
    contract<false>(plan.t_uv, u, v, t);
    at.read(scale, 0, 1, &s);
    scaled<real>(plan.outputs, s, u, u);
    at.write(out, 0, plan.outputs, u);
    at.read(scale, 1, 1, &s);
    scaled<real>(plan.outputs, s, t, other);
    at.write(out, 1, plan.outputs, other);
    if (plan.order < 3) return;
    at.read(factors, 2, plan.inputs, v);
    contract<false>(plan.p_tw, t, v, other);
    at.read(scale, 2, 1, &s);
    scaled<real>(plan.outputs, s, other, other);
    at.write(out, 2, plan.outputs, other);
}

// Derivatives of S by the factors and the scale; `by_scale` may be null.
template <class real>
void backward(const Plan<real>& plan, const Block<real>& at, const real* factors, const real* scale, const real* given,
              real* by_factors, real* by_scale) {
    V<real> u[most], v[most], w[most], t[most], tau[most], g[most], other[most], s;
    at.read(factors, 0, plan.inputs, u);
    at.read(factors, 1, plan.inputs, v);
    if (by_scale || plan.order == 3) contract<false>(plan.t_uv, u, v, t);
    for (index_t k = 0; k < plan.middle; ++k) tau[k] = V<real>::zero();
    at.read(scale, 1, 1, &s);
    at.read(given, 1, plan.outputs, g);
    if (by_scale) {
        V<real> sum = inner<real>(plan.outputs, g, t);
        at.write(by_scale, 1, 1, &sum);
    }
    scaled<real>(plan.outputs, s, g, tau);
    if (plan.order == 3) {
        at.read(factors, 2, plan.inputs, w);
        at.read(scale, 2, 1, &s);
        at.read(given, 2, plan.outputs, g);
        if (by_scale) {
            contract<false>(plan.p_tw, t, w, other);
            V<real> sum = inner<real>(plan.outputs, g, other);
            at.write(by_scale, 2, 1, &sum);
        }
        scaled<real>(plan.outputs, s, g, g);
        contract<true>(plan.t_pw, g, w, tau);
        contract<false>(plan.w_pt, g, t, other);
        at.write(by_factors, 2, plan.inputs, other);
    }
    contract<false>(plan.v_tu, tau, u, other);
    at.write(by_factors, 1, plan.inputs, other);
    at.read(scale, 0, 1, &s);
    at.read(given, 0, plan.outputs, g);
    if (by_scale) {
        V<real> sum = inner<real>(plan.outputs, g, u);
        at.write(by_scale, 0, 1, &sum);
    }
    for (index_t k = 0; k < plan.inputs; ++k) other[k] = V<real>::zero();
    scaled<real>(plan.outputs, s, g, other);
    contract<true>(plan.u_tv, tau, v, other);
    at.write(by_factors, 0, plan.inputs, other);
}

// With (a, b, c) for the derivatives by u, v and w: those of <a, dS/du> + <b, dS/dv> + <c, dS/dw>.
template <class real>
void twice(const Plan<real>& plan, const Block<real>& at, const real* factors, const real* scale, const real* given,
           const real* along, real* by_factors, real* by_scale, real* by_given) {
    V<real> u[most], v[most], w[most], a[most], b[most], c[most], t[most], turned[most];
    V<real> tau[most], tau_along[most], g[most], other[most], s, sum;
    at.read(factors, 0, plan.inputs, u);
    at.read(factors, 1, plan.inputs, v);
    at.read(along, 0, plan.inputs, a);
    at.read(along, 1, plan.inputs, b);
    contract<false>(plan.t_uv, a, v, turned);
    contract<true>(plan.t_uv, u, b, turned);

    at.read(scale, 0, 1, &s);
    at.read(given, 0, plan.outputs, g);
    sum = inner<real>(plan.outputs, g, a);
    at.write(by_scale, 0, 1, &sum);
    scaled<real>(plan.outputs, s, a, other);
    at.write(by_given, 0, plan.outputs, other);

    at.read(scale, 1, 1, &s);
    at.read(given, 1, plan.outputs, g);
    sum = inner<real>(plan.outputs, g, turned);
    at.write(by_scale, 1, 1, &sum);
    scaled<real>(plan.outputs, s, turned, other);
    at.write(by_given, 1, plan.outputs, other);
    for (index_t k = 0; k < plan.middle; ++k) tau[k] = V<real>::zero();
    scaled<real>(plan.outputs, s, g, tau);

    if (plan.order == 3) {
        at.read(factors, 2, plan.inputs, w);
        at.read(along, 2, plan.inputs, c);
        contract<false>(plan.t_uv, u, v, t);
        contract<false>(plan.p_tw, turned, w, other);
        contract<true>(plan.p_tw, t, c, other);
        at.read(scale, 2, 1, &s);
        at.read(given, 2, plan.outputs, g);
        sum = inner<real>(plan.outputs, g, other);
        at.write(by_scale, 2, 1, &sum);
        scaled<real>(plan.outputs, s, other, other);
        at.write(by_given, 2, plan.outputs, other);
        scaled<real>(plan.outputs, s, g, g);
        contract<true>(plan.t_pw, g, w, tau);
        contract<false>(plan.t_pw, g, c, tau_along);
        contract<false>(plan.w_pt, g, turned, other);
        at.write(by_factors, 2, plan.inputs, other);
    }
    contract<false>(plan.u_tv, tau, b, other);
    if (plan.order == 3) contract<true>(plan.u_tv, tau_along, v, other);
    at.write(by_factors, 0, plan.inputs, other);
    contract<false>(plan.v_tu, tau, a, other);
    if (plan.order == 3) contract<true>(plan.v_tu, tau_along, u, other);
    at.write(by_factors, 1, plan.inputs, other);
}

template <class real, class Work>
void over_blocks(const Plan<real>& plan, index_t atoms, index_t channels, int threads, Work work) {
    constexpr index_t width = V<real>::width;
    const index_t row = plan.order * channels;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (index_t atom = 0; atom < atoms; ++atom)
        for (index_t first = 0; first < channels; first += width)
            work(Block<real>{atoms, row, channels, atom * row + first, channels - first});
}

}  // namespace

#define PRODUCTS(real, suffix)                                                                                        \
    extern "C" void products_forward_##suffix(const void* plan, index_t atoms, index_t channels, const real* factors, \
                                              const real* scale, real* out, int threads) {                            \
        const auto& p = *static_cast<const Plan<real>*>(plan);                                                        \
        over_blocks(p, atoms, channels, threads,                                                                      \
                    [&](const Block<real>& at) { forward(p, at, factors, scale, out); });                             \
    }                                                                                                                 \
    extern "C" void products_backward_##suffix(const void* plan, index_t atoms, index_t channels,                     \
                                               const real* factors, const real* scale, const real* given,             \
                                               real* by_factors, real* by_scale, int threads) {                       \
        const auto& p = *static_cast<const Plan<real>*>(plan);                                                        \
        over_blocks(p, atoms, channels, threads, [&](const Block<real>& at) {                                         \
            backward(p, at, factors, scale, given, by_factors, by_scale);                                             \
        });                                                                                                           \
    }                                                                                                                 \
    extern "C" void products_twice_##suffix(const void* plan, index_t atoms, index_t channels, const real* factors,   \
                                            const real* scale, const real* given, const real* along,                  \
                                            real* by_factors, real* by_scale, real* by_given, int threads) {          \
        const auto& p = *static_cast<const Plan<real>*>(plan);                                                        \
        over_blocks(p, atoms, channels, threads, [&](const Block<real>& at) {                                         \
            twice(p, at, factors, scale, given, along, by_factors, by_scale, by_given);                               \
        });                                                                                                           \
    }

PRODUCTS(float, f32)
PRODUCTS(double, f64)
