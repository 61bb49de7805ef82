// SPDX-License-Identifier: Apache-2.0
// A weight matrix as the operators take it. Its type says how bytes are stored, not what they mean:
// the meaning stands in `aux`, which the loader fills from the manifest.
#ifndef CORE_MODEL_OPS_MATRIX_H_
#define CORE_MODEL_OPS_MATRIX_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/cpu/packed_matrix.h"

namespace paligemma::ops {

using cpu::Encoding;

// How the values of a matrix lie in its tensors.
enum class Layout {
  kCanonical,  // as in the bundle: data [outputs, inputs], int4 [outputs, inputs / 2]
  kCpuPanels,  // packed.h
};

// A view of a call's arguments: it is valid during the call.
struct Matrix {
  const at::Tensor& data;
  const at::Tensor& scale;  // f32 [outputs], or [outputs, groups] for int4; empty where unused
  const at::Tensor& aux;    // i32, on the CPU on every device: the numbers of a Description first
};

struct Description {
  static constexpr std::int64_t kNumbers = 4;  // at the head of `aux`
  Encoding encoding = Encoding::kFloat32;
  Layout layout = Layout::kCanonical;
  std::int64_t outputs = 0, inputs = 0;
};

// `num_more` numbers follow, for the caller to fill.
at::Tensor MakeAux(const Description& description, std::int64_t num_more = 0);

// Throws c10::Error if `aux` holds no description.
Description Describe(const Matrix& matrix);

// Returns true if the matrix is one that was packed for CPUs.
bool IsPacked(const Matrix& matrix);

// The encoding that a manifest's recipe calls "float32", "bfloat16", "int8", "int4" or "fp8".
std::optional<Encoding> EncodingNamed(std::string_view name);
// The type that stores the canonical values of an encoding, and the encoding that a type stores in
// bundles without a recipe.
at::ScalarType TypeOf(Encoding encoding);
std::optional<Encoding> EncodingStoredAs(at::ScalarType type);

// Describes a canonical matrix. REQUIRES: `data` has two dimensions.
Description DescribeCanonical(const at::Tensor& data, Encoding encoding);

}  // namespace paligemma::ops

#endif  // CORE_MODEL_OPS_MATRIX_H_
