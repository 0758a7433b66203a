// Sparse bilinear maps of rows, called by compiled code: see eqff/kernels/bilinear.py.
#include "kernels.h"

struct Bilinear {
    const char* digest;
    int64_t axes[3];
    Table<real> table;
};

#include "bilinear_tables.h"

static const Bilinear& find(const char* digest, const int64_t* axes) {
    for (const Bilinear& each : tables)
        if (each.digest && !std::strcmp(each.digest, digest) && !std::memcmp(each.axes, axes, sizeof each.axes)) return each;
    throw AOTI_TORCH_FAILURE;
}

extern "C" AOTITorchError OPERATION(rows_bilinear)(const char* digest, handle x, handle y, const int64_t* axes, int64_t,
                                                       handle* z) {
    return guarded([&] {
        const Table<real>& table = find(digest, axes).table;
        *z = empty({size(x, 0), table.rows}, dtype());
        KERNEL(rows_bilinear)
        (&table, size(x, 0), data<real>(x), size(x, 1), stride(x, 0), data<real>(y), size(y, 1), stride(y, 0), data<real>(*z),
         threads());
    });
}
