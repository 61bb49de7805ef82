// SPDX-License-Identifier: Apache-2.0
// The operators of the vision tower and the projector. Formulas:
// export/paligemma_export/kernels_vision.py.
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>

#include <cmath>

#include "core/model/ops/kernels.h"
#include "core/model/ops/linear.h"

namespace paligemma::ops {
namespace {

Tensor LayerNorm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  return at::layer_norm(x, {x.size(-1)}, weight, bias, eps);
}

}  // namespace

Tensor patch_embed(const Tensor& pixels, const Tensor& lut, const Tensor& w, const Tensor& w_scale,
                   const Tensor& w_aux, const Tensor& bias, const Tensor& position,
                   std::int64_t patch) {
  const Tensor values = pixels.scalar_type() == at::kByte
                            ? lut.index_select(0, pixels.flatten().to(at::kInt))
                            : pixels.to(at::kFloat);
  const std::int64_t batch = pixels.size(0), grid = pixels.size(1) / patch;
  const Tensor patches = values.view({batch, grid, patch, grid, patch, 3})
                             .permute({0, 1, 3, 2, 4, 5})
                             .reshape({batch * grid * grid, patch * patch * 3});
  const Tensor rows = Linear(patches, w, w_scale, w_aux) + bias;
  return (rows.view({batch, grid * grid, -1}) + position).flatten(0, 1);
}

Tensor vision_attention(const Tensor& h, const Tensor& norm, const Tensor& norm_bias,
                        const Tensor& qkv, const Tensor& qkv_scale, const Tensor& qkv_aux,
                        const Tensor& qkv_bias, const Tensor& out, const Tensor& out_scale,
                        const Tensor& out_aux, const Tensor& out_bias, std::int64_t tokens,
                        std::int64_t heads, std::int64_t head_dim, double eps) {
  const Tensor x = LayerNorm(h, norm, norm_bias, eps);
  const Tensor projected =
      (Linear(x, qkv, qkv_scale, qkv_aux) + qkv_bias).view({-1, tokens, 3, heads, head_dim});
  std::vector<Tensor> parts;
  for (std::int64_t image = 0; image < projected.size(0); ++image) {
    const Tensor own = projected.select(0, image);
    parts.push_back(Attend(own.select(1, 0).contiguous(), own.select(1, 1), own.select(1, 2),
                           1 / std::sqrt(static_cast<double>(head_dim)), 0));
  }
  return h + (Linear(at::cat(parts), out, out_scale, out_aux) + out_bias);
}

Tensor vision_mlp(const Tensor& h, const Tensor& norm, const Tensor& norm_bias, const Tensor& fc1,
                  const Tensor& fc1_scale, const Tensor& fc1_aux, const Tensor& fc1_bias,
                  const Tensor& fc2, const Tensor& fc2_scale, const Tensor& fc2_aux,
                  const Tensor& fc2_bias, std::int64_t /*intermediate*/, double eps) {
  const Tensor x = LayerNorm(h, norm, norm_bias, eps);
  const Tensor inner = at::gelu(Linear(x, fc1, fc1_scale, fc1_aux) + fc1_bias, "tanh");
  return h + (Linear(inner, fc2, fc2_scale, fc2_aux) + fc2_bias);
}

Tensor project(const Tensor& h, const Tensor& norm, const Tensor& norm_bias, const Tensor& w,
               const Tensor& w_scale, const Tensor& w_aux, const Tensor& bias,
               std::int64_t /*hidden*/, double eps) {
  return Linear(LayerNorm(h, norm, norm_bias, eps), w, w_scale, w_aux) + bias;
}

}  // namespace paligemma::ops
