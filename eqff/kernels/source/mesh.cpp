// Atoms on a mesh: Φ = Σ C_abc x_ak y_bl z_cm mesh[k, l, m] over atoms, with splines x, y, z of order p and their first
// n - 1 derivatives; its derivatives by C (read), by the mesh (spread) and by the splines. All of an atom's mesh points
// are named, (p, p, p); the p of a row follow one another, unless they go round the mesh.
#include <cstdint>

namespace {

using index_t = std::int64_t;

template <int p, int n>
struct Atom {
    const double *x, *y, *z;  // (n, p) each

    Atom(const double* splines) : x(splines), y(splines + n * p), z(splines + 2 * n * p) {}

    // u_a[l, m] = Σ_b y_bl Σ_c C_abc z_cm, and its inner sums w_ab[m]
    void from_coefficients(const double* C, double (&u)[n][p][p], double (&w)[n][n][p]) const {
        for (int a = 0; a < n; ++a)
            for (int b = 0; b < n; ++b)
                for (int m = 0; m < p; ++m) {
                    double sum = 0;
                    for (int c = 0; c < n; ++c) sum += C[(a * n + b) * n + c] * z[c * p + m];
                    w[a][b][m] = sum;
                }
        for (int a = 0; a < n; ++a)
            for (int l = 0; l < p; ++l)
                for (int m = 0; m < p; ++m) {
                    double sum = 0;
                    for (int b = 0; b < n; ++b) sum += y[b * p + l] * w[a][b][m];
                    u[a][l][m] = sum;
                }
    }

    // r_a[l, m] = Σ_k x_ak mesh[k, l, m]
    void from_mesh(const double (&values)[p][p][p], double (&r)[n][p][p]) const {
        for (int l = 0; l < p; ++l) {
            double sums[n][p] = {};
            for (int k = 0; k < p; ++k)
                for (int a = 0; a < n; ++a)
                    for (int m = 0; m < p; ++m) sums[a][m] += x[a * p + k] * values[k][l][m];
            for (int a = 0; a < n; ++a)
                for (int m = 0; m < p; ++m) r[a][l][m] = sums[a][m];
        }
    }

    // s_ab[m] = Σ_l y_bl r_a[l, m]
    void once_more(const double (&r)[n][p][p], double (&s)[n][n][p]) const {
        for (int a = 0; a < n; ++a)
            for (int b = 0; b < n; ++b) {
                for (int m = 0; m < p; ++m) s[a][b][m] = 0;
                for (int l = 0; l < p; ++l)
                    for (int m = 0; m < p; ++m) s[a][b][m] += y[b * p + l] * r[a][l][m];
            }
    }
};

template <int p>
void gather(const double* mesh, const index_t* points, double (&values)[p][p][p]) {
    double* to = &values[0][0][0];
    for (int row = 0; row < p * p; ++row, points += p, to += p)
        if (points[p - 1] - points[0] == p - 1)
            for (int m = 0; m < p; ++m) to[m] = mesh[points[0] + m];
        else
            for (int m = 0; m < p; ++m) to[m] = mesh[points[m]];
}

template <int p>
void scatter(const double (&values)[p][p], const index_t* points, double* mesh) {
    for (int row = 0; row < p; ++row, points += p)
        if (points[p - 1] - points[0] == p - 1)
            for (int m = 0; m < p; ++m) mesh[points[0] + m] += values[row][m];
        else
            for (int m = 0; m < p; ++m) mesh[points[m]] += values[row][m];
}

template <int p>
double dot(const double* a, const double* b) {
    double sum = 0;
    for (int i = 0; i < p; ++i) sum += a[i] * b[i];
    return sum;
}

template <int p, int n>
void read(index_t atoms, const index_t* points, const double* splines, const double* mesh, double* C, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (index_t i = 0; i < atoms; ++i) {
        const Atom<p, n> atom(splines + i * 3 * n * p);
        double values[p][p][p], r[n][p][p], s[n][n][p];
        gather<p>(mesh, points + i * p * p * p, values);
        atom.from_mesh(values, r);
        atom.once_more(r, s);
        for (int a = 0; a < n; ++a)
            for (int b = 0; b < n; ++b)
                for (int c = 0; c < n; ++c) C[((i * n + a) * n + b) * n + c] = dot<p>(s[a][b], atom.z + c * p);
    }
}

// one thread: atoms share mesh points
template <int p, int n>
void spread(index_t atoms, const index_t* points, const double* splines, const double* C, double* mesh) {
    for (index_t i = 0; i < atoms; ++i) {
        const Atom<p, n> atom(splines + i * 3 * n * p);
        double u[n][p][p], w[n][n][p];
        atom.from_coefficients(C + i * n * n * n, u, w);
        const index_t* point = points + i * p * p * p;
        for (int k = 0; k < p; ++k) {
            double plane[p][p];
            for (int l = 0; l < p; ++l)
                for (int m = 0; m < p; ++m) {
                    double sum = 0;
                    for (int a = 0; a < n; ++a) sum += atom.x[a * p + k] * u[a][l][m];
                    plane[l][m] = sum;
                }
            scatter<p>(plane, point + k * p * p, mesh);
        }
    }
}

template <int p, int n>
void by_splines(index_t atoms, const index_t* points, const double* splines, const double* C, const double* mesh,
                double* by, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (index_t i = 0; i < atoms; ++i) {
        const Atom<p, n> atom(splines + i * 3 * n * p);
        double values[p][p][p], u[n][p][p], w[n][n][p], r[n][p][p], s[n][n][p];
        const double* coefficients = C + i * n * n * n;
        gather<p>(mesh, points + i * p * p * p, values);
        atom.from_coefficients(coefficients, u, w);
        atom.from_mesh(values, r);
        atom.once_more(r, s);
        double *by_x = by + i * 3 * n * p, *by_y = by_x + n * p, *by_z = by_y + n * p;
        for (int a = 0; a < n; ++a)
            for (int k = 0; k < p; ++k) by_x[a * p + k] = dot<p * p>(&values[k][0][0], &u[a][0][0]);
        for (int b = 0; b < n; ++b)
            for (int l = 0; l < p; ++l) {
                double sum = 0;
                for (int a = 0; a < n; ++a) sum += dot<p>(w[a][b], r[a][l]);
                by_y[b * p + l] = sum;
            }
        for (int c = 0; c < n; ++c)
            for (int m = 0; m < p; ++m) {
                double sum = 0;
                for (int a = 0; a < n; ++a)
                    for (int b = 0; b < n; ++b) sum += coefficients[(a * n + b) * n + c] * s[a][b][m];
                by_z[c * p + m] = sum;
            }
    }
}

bool inside(index_t count, const index_t* points, index_t size) {
    std::uint64_t largest = 0;  // negative ones are large without their sign
    for (index_t i = 0; i < count; ++i) {
        const std::uint64_t point = points[i];
        largest = point > largest ? point : largest;
    }
    return count == 0 || largest < std::uint64_t(size);
}

template <int p, int n>
void run(int what, index_t atoms, const index_t* points, const double* splines, double* C, double* mesh, double* by,
         int threads) {
    if (what == 0) read<p, n>(atoms, points, splines, mesh, C, threads);
    if (what == 1) spread<p, n>(atoms, points, splines, C, mesh);
    if (what == 2) by_splines<p, n>(atoms, points, splines, C, mesh, by, threads);
}

}  // namespace

// 0 if done, 1 if there is no code for this order and count, 2 if points are beyond the mesh.
extern "C" int mesh_form(int what, int order, int count, index_t atoms, index_t size, const index_t* points,
                         const double* splines, double* C, double* mesh, double* by, int threads) {
    if (!inside(atoms * order * order * order, points, size)) return 2;
#define CASE(p, n) \
    if (order == p && count == n) return run<p, n>(what, atoms, points, splines, C, mesh, by, threads), 0;
    CASE(6, 1) CASE(8, 1) CASE(8, 2) CASE(8, 3)
#undef CASE
    return 1;
}
