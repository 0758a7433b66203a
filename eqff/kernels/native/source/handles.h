// Arguments and results of operations as compiled code hands them over, by PyTorch's stable C interface.
//
// `REAL` and `KERNEL(name)` are given by the compiler's command line: numbers of one precision, and its functions. So may
// `OPERATION(name)` be, an operation's name as a C function.
#pragma once
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/c/shim.h>

#include <cstring>
#include <initializer_list>

#ifndef OPERATION
#define OPERATION(name) aoti_torch_cpu_##name
#endif

using real = REAL;
using handle = AtenTensorHandle;

inline void require(AOTITorchError failed) {
    if (failed) throw failed;
}

// Where the numbers of a contiguous tensor begin, and its sizes.
template <class T>
T* data(handle tensor) {
    void* found;
    require(aoti_torch_get_data_ptr(tensor, &found));
    return static_cast<T*>(found);
}

inline int64_t size(handle tensor, int64_t axis) {
    int64_t found;
    require(aoti_torch_get_size(tensor, axis, &found));
    return found;
}

inline int64_t stride(handle tensor, int64_t axis) {
    int64_t found;
    require(aoti_torch_get_stride(tensor, axis, &found));
    return found;
}

inline int64_t axes(handle tensor) {
    int64_t found;
    require(aoti_torch_get_dim(tensor, &found));
    return found;
}

inline int threads() {
    uint32_t found;
    require(torch_get_num_threads(&found));
    return static_cast<int>(found);
}

// A new contiguous tensor of up to four axes; compiled code owns it.
inline handle empty(std::initializer_list<int64_t> sizes, int32_t dtype) {
    int64_t strides[4], step = 1;
    for (int64_t axis = static_cast<int64_t>(sizes.size()) - 1; axis >= 0; --axis) {
        strides[axis] = step;
        step *= sizes.begin()[axis];
    }
    handle made;
    require(aoti_torch_empty_strided(static_cast<int64_t>(sizes.size()), sizes.begin(), strides, dtype,
                                     aoti_torch_device_type_cpu(), 0, &made));
    return made;
}

inline int32_t dtype() {
    return sizeof(real) == 4 ? aoti_torch_dtype_float32() : aoti_torch_dtype_float64();
}

// What a function does, with errors as numbers: no exception may cross the interface.
template <class Function>
AOTITorchError guarded(Function function) {
    try {
        function();
        return AOTI_TORCH_SUCCESS;
    } catch (...) {
        return AOTI_TORCH_FAILURE;
    }
}
