// What generated functions stand on: `real` is defined before, vectors are the compiler's own.
#include <cstdint>
#include <cstring>

#include "anywhere.h"

using index_t = std::int64_t;
typedef real vec __attribute__((vector_size(64)));
constexpr index_t width = 64 / sizeof(real);

static inline vec get(const real* from) { return read_vector<vec>(from); }

static inline void put(real* to, const vec& value) { write_vector(to, value); }

// Calls `step` for every atom and vector of channels. Arrays: a component begins `stride` after the one before, an atom
// `row`. The last vector of a row overlaps the one before it where channels don't fill it.
template <int inputs, int outputs, class Step>
static void over_blocks(index_t atoms, index_t channels, const real* const* in, real* const* out, const index_t* stride,
                        const index_t* row, int threads, Step step) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (index_t atom = 0; atom < atoms; ++atom)
        for (index_t block = 0; block < channels; block += width) {
            const index_t first = block + width <= channels ? block : channels - width;
            const real* from[inputs];
            real* to[outputs];
            for (int n = 0; n < inputs; ++n) from[n] = in[n] + atom * row[n] + first;
            for (int n = 0; n < outputs; ++n) to[n] = out[n] + atom * row[inputs + n] + first;
            step(from, to, stride);
        }
}
