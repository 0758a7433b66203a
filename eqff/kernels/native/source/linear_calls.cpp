// A matrix product for each degree, and sums of outer products, called by compiled code: see eqff/kernels/linear.py.
//
// Rows are many and matrices small, of the size of the processor's first cache: no packing, no library's overhead, and
// each degree's result goes where it belongs.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "anywhere.h"
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
constexpr index_t chunk = 96;  // rows that stay in the caches while all columns are made

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
        for (int v = 0; v < vectors; ++v) values[v] = read_vector<vec>(right + v * width);
        for (int r = 0; r < rows; ++r)
            for (int v = 0; v < vectors; ++v) sum[r][v] += left[r * of.inner + k] * values[v];
    }
    for (int r = 0; r < rows; ++r)
        for (int v = 0; v < vectors; ++v)
            write_vector(of.out + (row + r) * of.columns + column + v * width, sum[r][v]);
}

template <int vectors>
void panel(const Product& of, index_t begin, index_t end, index_t column) {
    index_t row = begin;
    for (; row + 6 <= end; row += 6) block<6, vectors>(of, row, column);
    for (; row + 2 <= end; row += 2) block<2, vectors>(of, row, column);
    for (; row < end; ++row) block<1, vectors>(of, row, column);
}

// Rows from `begin` to `end`: as many columns at a time as there are registers for. The last vector overlaps the one before
// it where columns don't fill it.
void some_rows(const Product& of, index_t begin, index_t end) {
    index_t column = 0;
    for (; column + most * width <= of.columns; column += most * width) panel<most>(of, begin, end, column);
    for (; column + width <= of.columns; column += width) panel<1>(of, begin, end, column);
    if (column < of.columns && of.columns >= width) return panel<1>(of, begin, end, of.columns - width);
    for (index_t row = begin; row < end; ++row)
        for (index_t c = column; c < of.columns; ++c) {
            real sum = 0;
            for (index_t k = 0; k < of.inner; ++k) sum += of.left[row * of.inner + k] * of.right[k * of.columns + c];
            of.out[row * of.columns + c] = sum;
        }
}

void product(const Product& of, index_t rows, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (index_t begin = 0; begin < rows; begin += chunk) some_rows(of, begin, std::min(begin + chunk, rows));
}

// Rows of two arrays, whose outer products are summed up in `sum` (inner, ...).
struct Outer {
    const real *left, *right;  // (rows, inner), (rows, columns)
    real* sum;
    index_t inner, columns, step;  // from one row of the sum to the next
};

template <int count, int vectors>
void tile(const Outer& of, index_t begin, index_t end, index_t row, index_t column) {
    real* to = of.sum + row * of.step + column;
    vec sum[count][vectors];
    for (int i = 0; i < count; ++i)
        for (int v = 0; v < vectors; ++v) sum[i][v] = read_vector<vec>(to + i * of.step + v * width);
    for (index_t n = begin; n < end; ++n) {
        const real *left = of.left + n * of.inner + row, *right = of.right + n * of.columns + column;
        vec values[vectors];
        for (int v = 0; v < vectors; ++v) values[v] = read_vector<vec>(right + v * width);
        for (int i = 0; i < count; ++i)
            for (int v = 0; v < vectors; ++v) sum[i][v] += left[i] * values[v];
    }
    for (int i = 0; i < count; ++i)
        for (int v = 0; v < vectors; ++v) write_vector(to + i * of.step + v * width, sum[i][v]);
}

template <int vectors>
void tiles(const Outer& of, index_t begin, index_t end, index_t row, index_t last, index_t column) {
    for (; row + 6 <= last; row += 6) tile<6, vectors>(of, begin, end, row, column);
    for (; row + 2 <= last; row += 2) tile<2, vectors>(of, begin, end, row, column);
    for (; row < last; ++row) tile<1, vectors>(of, begin, end, row, column);
}

// Rows `first` to `last` of the sum. Columns that fill no vector are summed up beside it, in a vector that overlaps.
void some_sums(const Outer& of, index_t rows, index_t first, index_t last) {
    const index_t filled = of.columns / width * width, rest = of.columns >= width ? of.columns - filled : 0;
    std::vector<real> beside(rest ? of.inner * width : 0);
    const Outer overlapping{of.left, of.right + of.columns - width, beside.data(), of.inner, of.columns, width};
    std::fill(of.sum + first * of.step, of.sum + last * of.step, real(0));
    for (index_t begin = 0; begin < rows; begin += chunk) {
        const index_t end = std::min(begin + chunk, rows);
        index_t column = 0;
        for (; column + most * width <= of.columns; column += most * width) tiles<most>(of, begin, end, first, last, column);
        for (; column + width <= of.columns; column += width) tiles<1>(of, begin, end, first, last, column);
        if (rest) tiles<1>(overlapping, begin, end, first, last, 0);
        for (index_t n = begin; n < end && of.columns < width; ++n)
            for (index_t row = first; row < last; ++row)
                for (index_t c = 0; c < of.columns; ++c)
                    of.sum[row * of.step + c] += of.left[n * of.inner + row] * of.right[n * of.columns + c];
    }
    for (index_t row = first; row < last && rest; ++row)
        std::copy_n(&beside[row * width + width - rest], rest, of.sum + row * of.step + filled);
}

// Each thread has rows of the sum to itself, so that the result does not depend on their count.
void outer(const Outer& of, index_t rows, int threads) {
    const index_t blocks = std::max<index_t>(1, of.inner / 6), parts = std::min<index_t>(threads, blocks);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (index_t part = 0; part < parts; ++part)
        some_sums(of, rows, part * blocks / parts * 6, part + 1 == parts ? of.inner : (part + 1) * blocks / parts * 6);
}

// A matrix of each degree, (degrees, inner, columns), whose last axes may be exchanged in memory: then it is copied in turn.
class Matrices {
    const real* numbers;
    index_t inner, columns, steps[3];

   public:
    explicit Matrices(handle tensor)
        : numbers(data<real>(tensor)),
          inner(size(tensor, 1)),
          columns(size(tensor, 2)),
          steps{stride(tensor, 0), stride(tensor, 1), stride(tensor, 2)} {}

    // Valid until the next is asked for.
    const real* of(index_t degree) const {
        const real* from = numbers + degree * steps[0];
        if (steps[2] == 1 && steps[1] == columns) return from;
        static thread_local std::vector<real> copied;  // kept, as new memory would be cleared at every call
        copied.resize(inner * columns);
        for (index_t k = 0; k < inner; ++k)
            for (index_t c = 0; c < columns; ++c) copied[k * columns + c] = from[k * steps[1] + c * steps[2]];
        return copied.data();
    }
};

}  // namespace

extern "C" {

AOTITorchError OPERATION(each_degree_map)(handle features, handle matrices, handle* mapped) {
    return guarded([&] {
        const index_t atoms = size(features, 1), inner = size(features, 2), columns = size(matrices, 2);
        *mapped = empty({size(features, 0), atoms, columns}, dtype());
        const Matrices all(matrices);
        for (index_t l = 0; l < size(matrices, 0); ++l) {
            const index_t first = l * l * atoms;
            product({data<real>(features) + first * inner, all.of(l), data<real>(*mapped) + first * columns, inner, columns},
                    (2 * l + 1) * atoms, threads());
        }
    });
}

AOTITorchError OPERATION(each_degree_outer)(handle left, handle right, handle* sums) {
    return guarded([&] {
        const index_t atoms = size(left, 1), inner = size(left, 2), columns = size(right, 2);
        index_t degrees = 0;
        while (degrees * degrees < size(left, 0)) ++degrees;
        *sums = empty({degrees, inner, columns}, dtype());
        for (index_t l = 0; l < degrees; ++l) {
            const index_t first = l * l * atoms;
            outer({data<real>(left) + first * inner, data<real>(right) + first * columns,
                   data<real>(*sums) + l * inner * columns, inner, columns, columns},
                  (2 * l + 1) * atoms, threads());
        }
    });
}
}
