// SPDX-License-Identifier: Apache-2.0
// One layer's part of the KV cache as the CPU kernels write and read it.
#ifndef CORE_MODEL_OPS_LAYER_PAGES_H_
#define CORE_MODEL_OPS_LAYER_PAGES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/cpu/attention.h"
#include "core/cpu/kernels.h"

namespace paligemma::ops {

// A view: the tensors must outlive it. Threads may write different slots at once.
class LayerPages {
 public:
  // Whether the tensors are of a type that the kernels take, and belong together.
  static bool Takes(const at::Tensor& kv, const at::Tensor& kv_scale);

  // kv [L,2,blocks,kv_heads,B,d]; kv_scale f32 [L,2,blocks,kv_heads,B] for int8, else empty.
  // REQUIRES: Takes(kv, kv_scale).
  LayerPages(const at::Tensor& kv, const at::Tensor& kv_scale, std::int64_t layer);

  // keys, values [kv_heads,d], to the position `slot` counts to.
  void Write(const cpu::Kernels& kernels, const float* keys, const float* values,
             std::int64_t slot) const;

  cpu::Pages View() const;
  cpu::PageType type() const { return type_; }
  std::int64_t kv_heads() const { return kv_heads_; }
  std::int64_t head_dim() const { return head_dim_; }

 private:
  // Keys or values.
  struct Half {
    void* values;   // [blocks,kv_heads,B,d]
    float* scales;  // int8: [blocks,kv_heads,B]; else null
  };

  void WriteRow(const cpu::Kernels& kernels, const float* x, std::int64_t row,
                const Half& half) const;

  const cpu::PageType type_;
  const std::int64_t kv_heads_, block_size_, head_dim_;
  Half keys_, values_;
};

}  // namespace paligemma::ops

#endif  // CORE_MODEL_OPS_LAYER_PAGES_H_
