// Polynomials of functions on the sphere, called by compiled code: see eqff/kernels/products.py.
#include <vector>

#include "handles.h"

using index_t = int64_t;
using Function = void(index_t atoms, index_t channels, const real* const* in, real* const* out, const index_t* stride,
                      const index_t* row, int threads);

struct Product {
    const char* digest;
    index_t parts_in, parts_out, outputs;
    Function *forward, *backward, *backward_scale, *twice;
};

#include "product_table.h"

namespace {

const Product& product(const char* digest) {
    for (const Product& each : products)
        if (each.digest && !std::strcmp(each.digest, digest)) return each;
    throw AOTI_TORCH_FAILURE;
}

// Where arrays lie that are parts of the channels of tensors: (components, N, parts * C), or (N, components * C) as one.
struct Slices {
    std::vector<real*> pointers;
    std::vector<index_t> strides, rows;
    void add(handle tensor, index_t channels) {
        const bool flat = axes(tensor) == 2;
        const index_t row = size(tensor, flat ? 1 : 2), parts = flat ? 1 : row / channels;
        for (index_t part = 0; part < parts; ++part) {
            pointers.push_back(data<real>(tensor) + part * channels);
            strides.push_back(flat ? channels : size(tensor, 1) * row);
            rows.push_back(row);
        }
    }
};

void run(Function* function, index_t channels, std::initializer_list<handle> read, std::initializer_list<handle> written) {
    Slices all;
    for (handle tensor : read) all.add(tensor, channels);
    const auto given = all.pointers.size();
    for (handle tensor : written) all.add(tensor, channels);
    function(size(*read.begin(), 1), channels, all.pointers.data(), all.pointers.data() + given, all.strides.data(),
             all.rows.data(), threads());
}

}  // namespace

extern "C" {

AOTITorchError OPERATION(products_value)(const char* digest, handle factors, handle scale, handle* value) {
    return guarded([&] {
        const Product& plan = product(digest);
        const index_t channels = size(factors, 2) / plan.parts_in;
        *value = empty({plan.outputs, size(factors, 1), plan.parts_out * channels}, dtype());
        run(plan.forward, channels, {factors, scale}, {*value});
    });
}

AOTITorchError OPERATION(products_first)(const char* digest, handle factors, handle scale, handle given,
                                             int32_t want_scale, handle* by_factors, handle* by_scale) {
    return guarded([&] {
        const Product& plan = product(digest);
        const index_t channels = size(factors, 2) / plan.parts_in;
        *by_factors = empty({size(factors, 0), size(factors, 1), size(factors, 2)}, dtype());
        if (!want_scale) {
            *by_scale = empty({0}, dtype());
            return run(plan.backward, channels, {factors, scale, given}, {*by_factors});
        }
        *by_scale = empty({size(scale, 0), size(scale, 1)}, dtype());
        run(plan.backward_scale, channels, {factors, scale, given}, {*by_factors, *by_scale});
    });
}

AOTITorchError OPERATION(products_second)(const char* digest, handle factors, handle scale, handle given, handle along,
                                          handle* by_factors, handle* by_scale, handle* by_given) {
    return guarded([&] {
        const Product& plan = product(digest);
        *by_factors = empty({size(factors, 0), size(factors, 1), size(factors, 2)}, dtype());
        *by_scale = empty({size(scale, 0), size(scale, 1)}, dtype());
        *by_given = empty({size(given, 0), size(given, 1), size(given, 2)}, dtype());
        run(plan.twice, size(factors, 2) / plan.parts_in, {factors, scale, given, along},
            {*by_factors, *by_scale, *by_given});
    });
}
}
