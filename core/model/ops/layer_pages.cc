// SPDX-License-Identifier: Apache-2.0
#include "core/model/ops/layer_pages.h"

#include <algorithm>

namespace paligemma::ops {
namespace {

cpu::PageType TypeOf(const at::Tensor& kv) {
  return kv.scalar_type() == at::kFloat      ? cpu::PageType::kFloat32
         : kv.scalar_type() == at::kBFloat16 ? cpu::PageType::kBfloat16
                                             : cpu::PageType::kInt8;
}

}  // namespace

bool LayerPages::Takes(const at::Tensor& kv, const at::Tensor& kv_scale) {
  switch (kv.scalar_type()) {
    case at::kFloat:
    case at::kBFloat16:
      return kv.is_contiguous() && kv_scale.numel() == 0;
    case at::kChar:
      return kv.is_contiguous() && kv_scale.is_contiguous() &&
             kv_scale.scalar_type() == at::kFloat && kv_scale.numel() * kv.size(5) == kv.numel();
    default:
      return false;
  }
}

LayerPages::LayerPages(const at::Tensor& kv, const at::Tensor& kv_scale, std::int64_t layer)
    : type_(TypeOf(kv)), kv_heads_(kv.size(3)), block_size_(kv.size(4)), head_dim_(kv.size(5)) {
  const std::int64_t bytes = kv.stride(1) * kv.element_size();
  char* const first = static_cast<char*>(kv.mutable_data_ptr()) + layer * 2 * bytes;
  keys_ = {first, nullptr};
  values_ = {first + bytes, nullptr};
  if (type_ == cpu::PageType::kInt8) {
    keys_.scales = kv_scale.mutable_data_ptr<float>() + layer * 2 * kv_scale.stride(1);
    values_.scales = keys_.scales + kv_scale.stride(1);
  }
}

void LayerPages::Write(const cpu::Kernels& kernels, const float* keys, const float* values,
                       std::int64_t slot) const {
  for (std::int64_t head = 0; head < kv_heads_; ++head) {
    const std::int64_t row =
        (slot / block_size_ * kv_heads_ + head) * block_size_ + slot % block_size_;
    WriteRow(kernels, keys + head * head_dim_, row, keys_);
    WriteRow(kernels, values + head * head_dim_, row, values_);
  }
}

void LayerPages::WriteRow(const cpu::Kernels& kernels, const float* x, std::int64_t row,
                          const Half& half) const {
  const auto count = static_cast<int>(head_dim_);
  const std::int64_t cell = row * head_dim_;
  switch (type_) {
    case cpu::PageType::kFloat32:
      std::copy_n(x, count, static_cast<float*>(half.values) + cell);
      break;
    case cpu::PageType::kBfloat16:
      kernels.to_bfloat16(x, count, count, static_cast<std::uint16_t*>(half.values) + cell);
      break;
    case cpu::PageType::kInt8:
      half.scales[row] =
          kernels.quantize_signed(x, count, static_cast<std::int8_t*>(half.values) + cell);
      break;
  }
}

cpu::Pages LayerPages::View() const {
  return {keys_.values,   values_.values, keys_.scales,
          values_.scales, type_,          static_cast<int>(block_size_)};
}

}  // namespace paligemma::ops
