// SPDX-License-Identifier: Apache-2.0
// Products of activations with packed weight matrices: y = x W^T.
//
// A row's result depends neither on the other rows nor on the number of threads. int8 is exact in
// int32 and the same, bit for bit, on every instruction set.
#ifndef CORE_CPU_PRODUCT_H_
#define CORE_CPU_PRODUCT_H_

#include <cstdint>
#include <vector>

#include "core/cpu/aligned_buffer.h"
#include "core/cpu/context.h"
#include "core/cpu/packed_matrix.h"

namespace paligemma::cpu {

// Rows as the product with a matrix of one encoding reads them: float32, bfloat16 (for fp8 too), or
// bytes with one scale per row (for int4 followed by a correction for each group, kernels.h). Rows
// are set one by one, by any threads, so that whatever computes a row hands it on while it is still
// in the cache.
class Activations {
 public:
  Activations(Isa isa, Encoding encoding, std::int64_t num_rows, std::int64_t inputs);

  // x: [inputs].
  void SetRow(std::int64_t row, const float* x);

  Encoding encoding() const { return encoding_; }
  std::int64_t num_rows() const { return num_rows_; }
  std::int64_t inputs() const { return inputs_; }
  std::int64_t stride() const { return stride_; }  // words from row to row
  const std::uint32_t* words() const { return words_.data(); }
  const float* scales() const { return scales_.data(); }

 private:
  const Isa isa_;
  const Encoding encoding_;
  const std::int64_t num_rows_, inputs_, stride_;
  AlignedBuffer<std::uint32_t> words_;
  std::vector<float> scales_;
};

// All rows of x [num_rows, inputs].
Activations MakeActivations(const Context& context, Encoding encoding, const float* x,
                            std::int64_t num_rows, std::int64_t inputs);

// y: [x.num_rows(), w.outputs], overwritten.
// REQUIRES: x is of w's encoding and inputs.
void Multiply(const Context& context, const Activations& x, const PackedMatrix& w, float* y);

// The same outputs of one panel alone, on the calling thread: y [x.num_rows(), kPanel], rows
// y_stride apart; of the last panel as many outputs as the matrix has.
void MultiplyPanel(const Context& context, const Activations& x, const PackedMatrix& w,
                   std::int64_t panel, float* y, std::int64_t y_stride);

}  // namespace paligemma::cpu

#endif  // CORE_CPU_PRODUCT_H_
