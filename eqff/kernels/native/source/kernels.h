// The functions that do the work, see eqff/kernels/source.
#pragma once
#include "handles.h"
#include "vectors.h"

extern "C" {

int edge_order(index_t edges, index_t atoms, const index_t* receiver, const index_t* sender, index_t* into, index_t* out_of,
               index_t* order);

void KERNEL(messages)(int what, index_t atoms, index_t edges, index_t channels, const index_t* into, const index_t* receiver,
                      const index_t* sender, const index_t* out_of, const index_t* order, index_t outputs, index_t inputs,
                      const real* T, const real* R, const real* h, const real* g, const real* T2, const real* R2,
                      const real* h2, real* by_T, real* by_R, real* by_h, real* A, int threads);

void KERNEL(rows_bilinear)(const void* table, index_t rows, const real* x, index_t nx, index_t stride_x, const real* y,
                           index_t ny, index_t stride_y, real* out, int threads);
}
