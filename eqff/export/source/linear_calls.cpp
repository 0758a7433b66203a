// A matrix product for each degree, called by compiled code: see eqff/kernels/linear.py.
//
// Rows are many and matrices small, of the size of the processor's first cache: no packing, no library's overhead, and
// each degree's result goes where it belongs.
#include <cstdint>
#include <vector>

#include "handles.h"

namespace {

using index_t = int64_t;
typedef real vec __attribute__((vector_size(64)));
constexpr index_t width = 64 / sizeof(real);
#ifdef __AVX512F__
constexpr int most = 4;  // vectors of a row of results: with six rows, they fill 24 of 32 registers
#else
constexpr int most = 1;  // a vector takes two registers of 16
#endif
constexpr index_t chunk = 48;  // rows that stay in the first cache while all columns are made

struct Product {
    const real *left, *right;  // (rows, inner), (inner, columns)
    real* out;
    index_t inner, columns;
};

template <int rows, int vectors>
void block(const Product& of, index_t row, index_t column) {
    const real *left = of.left + row * of.inner, *right = of.right + column;
    vec sum[rows][vectors] = {};
    for (index_t k = 0; k < of.inner; ++k, right += of.columns) {
        vec values[vectors];
        for (int v = 0; v < vectors; ++v) std::memcpy(&values[v], right + v * width, sizeof(vec));
        for (int r = 0; r < rows; ++r)
            for (int v = 0; v < vectors; ++v) sum[r][v] += left[r * of.inner + k] * values[v];
    }
    for (int r = 0; r < rows; ++r)
        for (int v = 0; v < vectors; ++v)
            std::memcpy(of.out + (row + r) * of.columns + column + v * width, &sum[r][v], sizeof(vec));
}

template <int vectors>
void panel(const Product& of, index_t begin, index_t end, index_t column) {
    index_t row = begin;
    for (; row + 6 <= end; row += 6) block<6, vectors>(of, row, column);
    for (; row + 2 <= end; row += 2) block<2, vectors>(of, row, column);
    for (; row < end; ++row) block<1, vectors>(of, row, column);
}

// Rows from `begin` to `end`: as many columns at a time as there are registers for, then single ones.
void some_rows(const Product& of, index_t begin, index_t end) {
    index_t column = 0;
    for (; column + most * width <= of.columns; column += most * width) panel<most>(of, begin, end, column);
    for (; column + width <= of.columns; column += width) panel<1>(of, begin, end, column);
    for (index_t row = begin; row < end && column < of.columns; ++row)
        for (index_t c = column; c < of.columns; ++c) {
            real sum = 0;
            for (index_t k = 0; k < of.inner; ++k) sum += of.left[row * of.inner + k] * of.right[k * of.columns + c];
            of.out[row * of.columns + c] = sum;
        }
}

void product(const Product& of, index_t rows, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (index_t begin = 0; begin < rows; begin += chunk) some_rows(of, begin, begin + chunk < rows ? begin + chunk : rows);
}

// The numbers of a tensor (degrees, inner, columns), whose last axes may be exchanged in memory.
struct Matrices {
    const real* numbers;
    std::vector<real> copied;
    explicit Matrices(handle tensor) : numbers(data<real>(tensor)) {
        const index_t degrees = size(tensor, 0), inner = size(tensor, 1), columns = size(tensor, 2);
        const index_t steps[] = {stride(tensor, 0), stride(tensor, 1), stride(tensor, 2)};
        if (steps[2] == 1 && steps[1] == columns && steps[0] == inner * columns) return;
        copied.resize(degrees * inner * columns);
        for (index_t l = 0; l < degrees; ++l)
            for (index_t k = 0; k < inner; ++k)
                for (index_t c = 0; c < columns; ++c)
                    copied[(l * inner + k) * columns + c] = numbers[l * steps[0] + k * steps[1] + c * steps[2]];
        numbers = copied.data();
    }
};

}  // namespace

extern "C" AOTITorchError aoti_torch_cpu_each_degree_map(handle features, handle matrices, handle* mapped) {
    return guarded([&] {
        const index_t atoms = size(features, 1), inner = size(features, 2), columns = size(matrices, 2);
        *mapped = empty({size(features, 0), atoms, columns}, dtype());
        const Matrices all(matrices);
        for (index_t l = 0; l < size(matrices, 0); ++l) {
            const index_t first = l * l * atoms;
            product({data<real>(features) + first * inner, all.numbers + l * inner * columns,
                     data<real>(*mapped) + first * columns, inner, columns},
                    (2 * l + 1) * atoms, threads());
        }
    });
}
