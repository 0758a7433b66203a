// out_k = sum_ij t_kij x_i y_j for every row of x and y, a few rows at a time.
#include "vectors.h"

namespace {

constexpr int most = 32;

template <class real>
void bilinear(const Table<real>& table, index_t rows, const real* x, index_t nx, index_t stride_x, const real* y,
              index_t ny, index_t stride_y, real* out, int threads) {
    using V = typename Vector<real>::type;
    constexpr index_t width = Vector<real>::width;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (index_t first = 0; first < rows; first += width) {
        const index_t count = rows - first < width ? rows - first : width;
        V a[25 * most], b[25 * most];
        for (index_t i = 0; i < nx; ++i) {
            a[i] = V{};
            for (index_t lane = 0; lane < count; ++lane) a[i][lane] = x[(first + lane) * stride_x + i];
        }
        for (index_t j = 0; j < ny; ++j) {
            b[j] = V{};
            for (index_t lane = 0; lane < count; ++lane) b[j][lane] = y[(first + lane) * stride_y + j];
        }
        for (index_t k = 0; k < table.rows; ++k) {
            V sum = V{};
            for (std::int32_t n = table.start[k]; n < table.start[k + 1]; ++n)
                sum += (table.value[n] * a[table.first[n]]) * b[table.second[n]];
            for (index_t lane = 0; lane < count; ++lane) out[(first + lane) * table.rows + k] = sum[lane];
        }
    }
}

}  // namespace

#define ROWS(real, suffix)                                                                                         \
    extern "C" void rows_bilinear_##suffix(const void* table, index_t rows, const real* x, index_t nx,             \
                                           index_t stride_x, const real* y, index_t ny, index_t stride_y, real* out, \
                                           int threads) {                                                          \
        bilinear(*static_cast<const Table<real>*>(table), rows, x, nx, stride_x, y, ny, stride_y, out, threads);   \
    }

ROWS(float, f32)
ROWS(double, f64)
