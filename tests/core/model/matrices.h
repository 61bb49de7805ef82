// SPDX-License-Identifier: Apache-2.0
// Matrices for the tests of the operators.
#ifndef TESTS_CORE_MODEL_MATRICES_H_
#define TESTS_CORE_MODEL_MATRICES_H_

#include <ATen/ops/zeros.h>

#include "core/model/ops/packed.h"

namespace paligemma::ops {

// A canonical matrix that holds its tensors; the type of the values says the encoding.
inline PackedTensors Canonical(const at::Tensor& data, const at::Tensor& scale = at::zeros({0})) {
  return {data, scale,
          MakeAux(DescribeCanonical(data, EncodingStoredAs(data.scalar_type()).value()))};
}

// A canonical matrix, packed for CPUs.
inline PackedTensors Packed(const cpu::Context& context, const at::Tensor& data,
                            const at::Tensor& scale = at::zeros({0})) {
  return Pack(context, data, scale, EncodingStoredAs(data.scalar_type()).value());
}

}  // namespace paligemma::ops

#endif  // TESTS_CORE_MODEL_MATRICES_H_
