// Sums of messages, called by compiled code: see eqff/kernels/messages.py for what each operation is.
#include "messages.cpp"

#include "handles.h"

namespace {

void messages(int what, const handle* edges, index_t outputs, handle T, handle R, handle h, handle g, real* by_T, real* by_R,
              real* by_h, real* A) {
    const index_t *receiver = data<index_t>(edges[0]), *sender = data<index_t>(edges[1]), *into = data<index_t>(edges[2]);
    const index_t *out_of = data<index_t>(edges[3]), *order = data<index_t>(edges[4]);
    KERNEL(messages)
    (what, size(edges[2], 0) - 1, size(edges[0], 0), size(h, 2), into, receiver, sender, out_of, order, outputs, size(h, 0),
     data<real>(T), data<real>(R), data<real>(h), g ? data<real>(g) : nullptr, nullptr, nullptr, nullptr, by_T, by_R, by_h, A,
     threads());
}

handle like(handle tensor) {
    return axes(tensor) == 2 ? empty({size(tensor, 0), size(tensor, 1)}, dtype())
                             : empty({size(tensor, 0), size(tensor, 1), size(tensor, 2)}, dtype());
}

}  // namespace

extern "C" {

AOTITorchError aoti_torch_cpu_edge_order(handle receiver, handle sender, int64_t atoms, handle* into, handle* out_of,
                                         handle* order) {
    return guarded([&] {
        *into = empty({atoms + 1}, aoti_torch_dtype_int64());
        *out_of = empty({atoms + 1}, aoti_torch_dtype_int64());
        *order = empty({size(sender, 0)}, aoti_torch_dtype_int64());
        require(edge_order(size(sender, 0), atoms, data<index_t>(receiver), data<index_t>(sender), data<index_t>(*into),
                           data<index_t>(*out_of), data<index_t>(*order)));
    });
}

AOTITorchError aoti_torch_cpu_messages_sum(handle T, handle R, handle h, handle receiver, handle sender, handle into,
                                           handle out_of, handle order, handle* sum) {
    return guarded([&] {
        const handle edges[] = {receiver, sender, into, out_of, order};
        const index_t outputs = size(T, 1) / size(h, 0);
        *sum = empty({outputs, size(h, 1), size(h, 2)}, dtype());
        messages(0, edges, outputs, T, R, h, nullptr, nullptr, nullptr, nullptr, data<real>(*sum));
    });
}

AOTITorchError aoti_torch_cpu_messages_first(handle T, handle R, handle h, handle g, handle receiver, handle sender,
                                             handle into, handle out_of, handle order, handle* by_T, handle* by_R,
                                             handle* by_h) {
    return guarded([&] {
        const handle edges[] = {receiver, sender, into, out_of, order};
        *by_T = like(T), *by_R = like(R), *by_h = like(h);
        messages(1, edges, size(g, 0), T, R, h, g, data<real>(*by_T), data<real>(*by_R), data<real>(*by_h), nullptr);
    });
}
}
