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

Tensor LayerNorm(const Tensor& x, const LayerNormArgs& norm) {
  return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, norm.eps);
}

}  // namespace

Tensor patch_embed(const PatchArgs& args) {
  const Tensor& pixels = args.pixels;
  const std::int64_t patch = args.patch;
  const Tensor values = pixels.scalar_type() == at::kByte
                            ? args.lut.index_select(0, pixels.flatten().to(at::kInt))
                            : pixels.to(at::kFloat);
  const std::int64_t batch = pixels.size(0), grid = pixels.size(1) / patch;
  const Tensor patches = values.view({batch, grid, patch, grid, patch, 3})
                             .permute({0, 1, 3, 2, 4, 5})
                             .reshape({batch * grid * grid, patch * patch * 3});
  const Tensor rows = Linear(patches, args.w) + args.bias;
  return (rows.view({batch, grid * grid, -1}) + args.position).flatten(0, 1);
}

Tensor vision_attention(const VisionAttentionArgs& args) {
  const Tensor x = LayerNorm(args.h, args.norm);
  const Tensor projected =
      (Linear(x, args.qkv) + args.qkv_bias).view({-1, args.tokens, 3, args.heads, args.head_dim});
  std::vector<Tensor> parts;
  for (std::int64_t image = 0; image < projected.size(0); ++image) {
    const Tensor own = projected.select(0, image);
    parts.push_back(Attend(own.select(1, 0).contiguous(), own.select(1, 1), own.select(1, 2),
                           1 / std::sqrt(static_cast<double>(args.head_dim)), 0));
  }
  return args.h + (Linear(at::cat(parts), args.out) + args.out_bias);
}

Tensor vision_mlp(const VisionMlpArgs& args) {
  const Tensor x = LayerNorm(args.h, args.norm);
  const Tensor inner = at::gelu(Linear(x, args.fc1) + args.fc1_bias, "tanh");
  return args.h + (Linear(inner, args.fc2) + args.fc2_bias);
}

Tensor project(const ProjectArgs& args) {
  return Linear(LayerNorm(args.h, args.norm), args.w) + args.bias;
}

}  // namespace paligemma::ops
