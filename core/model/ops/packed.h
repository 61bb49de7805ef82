// SPDX-License-Identifier: Apache-2.0
// Weight matrices as tensors in the order of the CPU kernels (core/cpu/packed_matrix.h).
//
// `data` keeps its type and has four dimensions, [panels, steps, kPanel, values of an output in a
// step]; `scale` stays as it is, but is empty for int4, whose scales lie in `data`; `aux` holds the
// description (matrix.h) and, for int8, the sums of the weights. The reference kernels take
// canonical matrices.
#ifndef CORE_MODEL_OPS_PACKED_H_
#define CORE_MODEL_OPS_PACKED_H_

#include <ATen/core/Tensor.h>

#include "core/cpu/context.h"
#include "core/cpu/packed_matrix.h"
#include "core/model/ops/matrix.h"

namespace paligemma::ops {

struct PackedTensors {
  at::Tensor data, scale, aux;

  Matrix View() const { return {data, scale, aux}; }
};

// Returns true if CPU kernels take the matrix, which is canonical.
bool CanPack(const at::Tensor& data, const at::Tensor& scale, Encoding encoding);

// On the context's threads. REQUIRES: CanPack(data, scale, encoding).
PackedTensors Pack(const cpu::Context& context, const at::Tensor& data, const at::Tensor& scale,
                   Encoding encoding);

// A view of a packed matrix; the tensors must outlive it. c10::Error if they do not belong
// together.
cpu::PackedMatrix ViewOf(const Matrix& matrix);

// x f32 [M,K] times the transposed matrix -> f32 [M,N], with the kernels of the current context.
at::Tensor PackedLinear(const at::Tensor& x, const cpu::PackedMatrix& w);

// x = cap * tanh(x / cap) in place; x f32, contiguous. With the kernels of the current context.
void PackedSoftcap(double cap, at::Tensor* x);

// Rows `rows` i32 [n] of a packed table -> [n,K] without an output's scale, f32 unless the table is
// bfloat16.
at::Tensor PackedRows(const cpu::PackedMatrix& table, const at::Tensor& rows);

}  // namespace paligemma::ops

#endif  // CORE_MODEL_OPS_PACKED_H_
