// SPDX-License-Identifier: Apache-2.0
// The operators on core/cpu's kernels, for matrices that were packed for them; whatever else comes
// (canonical matrices, adapters, 8-bit pages) goes to the reference kernel of the same operator.
// Norms, quantisation, RoPE, page writes and gates are done row by row while the row is in the
// cache. Arguments and results: kernels.h. A row's result depends neither on the other rows nor on
// the number of threads.
#ifndef CORE_MODEL_OPS_CPU_KERNELS_H_
#define CORE_MODEL_OPS_CPU_KERNELS_H_

#include "core/model/ops/kernels.h"

namespace paligemma::ops {

// cpu_decoder.cc

Tensors2 CpuAttention(const Tensor& h, const Tensor& y, const Tensor& y_norm, const Tensor& norm,
                      const Tensor& qkv, const Tensor& qkv_scale, const Tensor& qkv_aux,
                      const Tensor& out, const Tensor& out_scale, const Tensor& out_aux,
                      const Tensor& rope, Tensor kv, Tensor kv_scale, const Tensor& slots,
                      const Tensor& prefill_start, at::IntArrayRef prefill_lengths,
                      const Tensor& block_table, const Tensor& context, const Tensor& rows,
                      const TensorList& adapters, const Tensor& adapter_index, std::int64_t layer,
                      std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim, double eps,
                      double scale, double softcap, std::int64_t window);

Tensors2 CpuMlp(const Tensor& h, const Tensor& y, const Tensor& y_norm, const Tensor& norm,
                const Tensor& gate_up, const Tensor& gate_up_scale, const Tensor& gate_up_aux,
                const Tensor& down, const Tensor& down_scale, const Tensor& down_aux,
                const TensorList& adapters, const Tensor& adapter_index, std::int64_t layer,
                std::int64_t intermediate, double eps);

// cpu_vision.cc

Tensor CpuVisionAttention(const Tensor& h, const Tensor& norm, const Tensor& norm_bias,
                          const Tensor& qkv, const Tensor& qkv_scale, const Tensor& qkv_aux,
                          const Tensor& qkv_bias, const Tensor& out, const Tensor& out_scale,
                          const Tensor& out_aux, const Tensor& out_bias, std::int64_t tokens,
                          std::int64_t heads, std::int64_t head_dim, double eps);
Tensor CpuVisionMlp(const Tensor& h, const Tensor& norm, const Tensor& norm_bias, const Tensor& fc1,
                    const Tensor& fc1_scale, const Tensor& fc1_aux, const Tensor& fc1_bias,
                    const Tensor& fc2, const Tensor& fc2_scale, const Tensor& fc2_aux,
                    const Tensor& fc2_bias, std::int64_t intermediate, double eps);
Tensor CpuProject(const Tensor& h, const Tensor& norm, const Tensor& norm_bias, const Tensor& w,
                  const Tensor& w_scale, const Tensor& w_aux, const Tensor& bias,
                  std::int64_t hidden, double eps);

}  // namespace paligemma::ops

#endif  // CORE_MODEL_OPS_CPU_KERNELS_H_
