// Products that a program tells of while it runs; what is told stays where it is.
#include "entries.h"

static Entries<Product> products;

extern "C" void OPERATION(tell_product)(const char* digest, index_t parts_in, index_t parts_out, index_t outputs,
                                        Function* forward, Function* backward, Function* backward_scale, Function* twice) {
    products.add({strdup(digest), parts_in, parts_out, outputs, forward, backward, backward_scale, twice});
}
