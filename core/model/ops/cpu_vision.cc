// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <cmath>
#include <numeric>

#include "core/cpu/attention.h"
#include "core/cpu/kernels.h"
#include "core/cpu/product.h"
#include "core/model/ops/cpu_kernels.h"
#include "core/model/ops/packed.h"

namespace paligemma::ops {
namespace {

const float* Floats(const Tensor& tensor) { return tensor.const_data_ptr<float>(); }

// Rows of h, normed, times a matrix -> [rows, outputs].
Tensor NormedProduct(const cpu::Context& context, const Tensor& h, const LayerNormArgs& norm,
                     const cpu::PackedMatrix& w) {
  const cpu::Kernels& kernels = cpu::KernelsFor(context.isa);
  const std::int64_t width = h.size(1);
  cpu::Activations x(context.isa, w.encoding, h.size(0), width);
  context.Run(static_cast<int>(h.size(0)), [&](int row) {
    cpu::AlignedBuffer<float> normed(width);
    kernels.layer_norm(Floats(h) + row * width, Floats(norm.weight), Floats(norm.bias),
                       static_cast<int>(width), norm.eps, normed.data());
    x.SetRow(row, normed.data());
  });
  Tensor y = at::empty({h.size(0), w.outputs}, h.options());
  cpu::Multiply(context, x, w, y.mutable_data_ptr<float>());
  return y;
}

// Rows of y plus `bias`, plus the same row of `h` if there is one.
void AddToRows(const cpu::Context& context, const Tensor& bias, const float* h, Tensor* y) {
  const cpu::Kernels& kernels = cpu::KernelsFor(context.isa);
  const std::int64_t width = y->size(1);
  auto* rows = y->mutable_data_ptr<float>();
  context.Run(static_cast<int>(y->size(0)), [&](int row) {
    kernels.add(Floats(bias), static_cast<int>(width), rows + row * width);
    if (h != nullptr) {
      kernels.add(h + row * width, static_cast<int>(width), rows + row * width);
    }
  });
}

}  // namespace

Tensor CpuVisionAttention(const VisionAttentionArgs& args) {
  if (!IsPacked(args.qkv) || !IsPacked(args.out)) {
    return vision_attention(args);
  }
  const cpu::Context& context = cpu::CurrentContext();
  const cpu::PackedMatrix back = ViewOf(args.out);
  const Tensor h = args.h.contiguous();
  Tensor projected = NormedProduct(context, h, args.norm, ViewOf(args.qkv));
  AddToRows(context, args.qkv_bias, nullptr, &projected);
  const std::int64_t width = args.heads * args.head_dim, tokens = args.tokens;
  Tensor mixed = at::empty({h.size(0), width}, h.options());
  const int dim = static_cast<int>(args.head_dim), count = static_cast<int>(args.heads);
  const cpu::AttentionShape shape{count, count, dim, 1.f / std::sqrt(static_cast<float>(dim)), 0};
  cpu::Prompt image;
  image.stride = 3 * width;
  image.length = static_cast<int>(tokens);
  image.rows.resize(tokens);
  std::iota(image.rows.begin(), image.rows.end(), 0);
  image.targets = image.rows;
  for (std::int64_t first = 0; first < h.size(0); first += tokens) {
    image.queries = Floats(projected) + first * 3 * width;
    image.keys = image.queries + width;
    image.values = image.keys + width;
    cpu::AttendPrompt(context, shape, image, mixed.mutable_data_ptr<float>() + first * width,
                      width);
  }
  Tensor y = PackedLinear(mixed, back);
  AddToRows(context, args.out_bias, Floats(h), &y);
  return y;
}

Tensor CpuVisionMlp(const VisionMlpArgs& args) {
  if (!IsPacked(args.fc1) || !IsPacked(args.fc2)) {
    return vision_mlp(args);
  }
  const cpu::Context& context = cpu::CurrentContext();
  const cpu::Kernels& kernels = cpu::KernelsFor(context.isa);
  const cpu::PackedMatrix back = ViewOf(args.fc2);
  const Tensor h = args.h.contiguous();
  const Tensor inner = NormedProduct(context, h, args.norm, ViewOf(args.fc1));
  cpu::Activations x(context.isa, back.encoding, inner.size(0), inner.size(1));
  context.Run(static_cast<int>(inner.size(0)), [&](int row) {
    cpu::AlignedBuffer<float> values(inner.size(1));
    kernels.gelu_of_sum(Floats(inner) + row * inner.size(1), Floats(args.fc1_bias),
                        static_cast<int>(inner.size(1)), values.data());
    x.SetRow(row, values.data());
  });
  Tensor y = at::empty_like(h);
  cpu::Multiply(context, x, back, y.mutable_data_ptr<float>());
  AddToRows(context, args.fc2_bias, Floats(h), &y);
  return y;
}

Tensor CpuProject(const ProjectArgs& args) {
  if (!IsPacked(args.w)) {
    return project(args);
  }
  const cpu::Context& context = cpu::CurrentContext();
  Tensor y = NormedProduct(context, args.h.contiguous(), args.norm, ViewOf(args.w));
  AddToRows(context, args.bias, nullptr, &y);
  return y;
}

}  // namespace paligemma::ops
