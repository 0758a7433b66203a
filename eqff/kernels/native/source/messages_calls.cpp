// Sums of messages, called by compiled code: see eqff/kernels/messages.py for what each operation is.
#include "kernels.h"

namespace {

void messages(int what, const handle* edges, index_t outputs, handle T, handle R, handle h, handle g, const handle* also,
              real* by_T, real* by_R, real* by_h, real* A) {
    const index_t *receiver = data<index_t>(edges[0]), *sender = data<index_t>(edges[1]), *into = data<index_t>(edges[2]);
    const index_t *out_of = data<index_t>(edges[3]), *order = data<index_t>(edges[4]);
    KERNEL(messages)
    (what, size(edges[2], 0) - 1, size(edges[0], 0), size(h, 2), into, receiver, sender, out_of, order, outputs, size(h, 0),
     data<real>(T), data<real>(R), data<real>(h), g ? data<real>(g) : nullptr, also ? data<real>(also[0]) : nullptr,
     also ? data<real>(also[1]) : nullptr, also ? data<real>(also[2]) : nullptr, by_T, by_R, by_h, A, threads());
}

handle like(handle tensor) {
    return axes(tensor) == 2 ? empty({size(tensor, 0), size(tensor, 1)}, dtype())
                             : empty({size(tensor, 0), size(tensor, 1), size(tensor, 2)}, dtype());
}

}  // namespace

extern "C" {

AOTITorchError OPERATION(edge_order)(handle receiver, handle sender, int64_t atoms, handle* into, handle* out_of,
                                         handle* order) {
    return guarded([&] {
        *into = empty({atoms + 1}, aoti_torch_dtype_int64());
        *out_of = empty({atoms + 1}, aoti_torch_dtype_int64());
        *order = empty({size(sender, 0)}, aoti_torch_dtype_int64());
        require(edge_order(size(sender, 0), atoms, data<index_t>(receiver), data<index_t>(sender), data<index_t>(*into),
                           data<index_t>(*out_of), data<index_t>(*order)));
    });
}

AOTITorchError OPERATION(messages_sum)(handle T, handle R, handle h, handle receiver, handle sender, handle into,
                                           handle out_of, handle order, handle* sum) {
    return guarded([&] {
        const handle edges[] = {receiver, sender, into, out_of, order};
        const index_t outputs = size(T, 1) / size(h, 0);
        *sum = empty({outputs, size(h, 1), size(h, 2)}, dtype());
        messages(0, edges, outputs, T, R, h, nullptr, nullptr, nullptr, nullptr, nullptr, data<real>(*sum));
    });
}

AOTITorchError OPERATION(messages_first)(handle T, handle R, handle h, handle g, handle receiver, handle sender,
                                             handle into, handle out_of, handle order, handle* by_T, handle* by_R,
                                             handle* by_h) {
    return guarded([&] {
        const handle edges[] = {receiver, sender, into, out_of, order};
        *by_T = like(T), *by_R = like(R), *by_h = like(h);
        messages(1, edges, size(g, 0), T, R, h, g, nullptr, data<real>(*by_T), data<real>(*by_R), data<real>(*by_h), nullptr);
    });
}

AOTITorchError OPERATION(messages_second)(handle T, handle R, handle h, handle g, handle T2, handle R2, handle h2,
                                          handle receiver, handle sender, handle into, handle out_of, handle order,
                                          handle* by_T, handle* by_R, handle* by_h, handle* A) {
    return guarded([&] {
        const handle edges[] = {receiver, sender, into, out_of, order}, also[] = {T2, R2, h2};
        *by_T = like(T), *by_R = like(R), *by_h = like(h), *A = like(g);
        messages(2, edges, size(g, 0), T, R, h, g, also, data<real>(*by_T), data<real>(*by_R), data<real>(*by_h),
                 data<real>(*A));
    });
}
}
