// SPDX-License-Identifier: Apache-2.0
#include "core/model/ops/matrix.h"

#include <ATen/ops/empty.h>

#include <array>

namespace paligemma::ops {
namespace {

struct Name {
  std::string_view name;
  Encoding encoding;
  at::ScalarType type;
};

constexpr std::array<Name, 5> kNames = {{
    {"float32", Encoding::kFloat32, at::kFloat},
    {"bfloat16", Encoding::kBfloat16, at::kBFloat16},
    {"int8", Encoding::kInt8, at::kChar},
    {"int4", Encoding::kInt4, at::kByte},
    {"fp8", Encoding::kFp8, at::kFloat8_e4m3fn},
}};

}  // namespace

at::Tensor MakeAux(const Description& description, std::int64_t num_more) {
  at::Tensor aux = at::empty({Description::kNumbers + num_more}, at::kInt);
  auto* numbers = aux.mutable_data_ptr<std::int32_t>();
  numbers[0] = static_cast<std::int32_t>(description.encoding);
  numbers[1] = static_cast<std::int32_t>(description.layout);
  numbers[2] = static_cast<std::int32_t>(description.outputs);
  numbers[3] = static_cast<std::int32_t>(description.inputs);
  return aux;
}

Description Describe(const Matrix& matrix) {
  const at::Tensor& aux = matrix.aux;
  TORCH_CHECK(aux.is_cpu() && aux.scalar_type() == at::kInt && aux.is_contiguous() &&
                  aux.numel() >= Description::kNumbers,
              "a matrix without a description of its encoding");
  const auto* numbers = aux.const_data_ptr<std::int32_t>();
  return {static_cast<Encoding>(numbers[0]), static_cast<Layout>(numbers[1]), numbers[2],
          numbers[3]};
}

bool IsPacked(const Matrix& matrix) { return Describe(matrix).layout == Layout::kCpuPanels; }

std::optional<Encoding> EncodingNamed(std::string_view name) {
  for (const Name& known : kNames) {
    if (known.name == name) {
      return known.encoding;
    }
  }
  return std::nullopt;
}

at::ScalarType TypeOf(Encoding encoding) {
  for (const Name& known : kNames) {
    if (known.encoding == encoding) {
      return known.type;
    }
  }
  return at::kFloat;
}

std::optional<Encoding> EncodingStoredAs(at::ScalarType type) {
  for (const Name& known : kNames) {
    if (known.type == type) {
      return known.encoding;
    }
  }
  return std::nullopt;
}

Description DescribeCanonical(const at::Tensor& data, Encoding encoding) {
  TORCH_CHECK(data.dim() == 2, "a canonical matrix has two dimensions, not ", data.dim());
  return {encoding, Layout::kCanonical, data.size(0),
          data.size(1) * (encoding == Encoding::kInt4 ? 2 : 1)};
}

}  // namespace paligemma::ops
