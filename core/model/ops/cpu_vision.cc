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
Tensor NormedProduct(const cpu::Context& context, const Tensor& h, const Tensor& norm,
                     const Tensor& norm_bias, double eps, const cpu::PackedMatrix& w) {
  const cpu::Kernels& kernels = cpu::KernelsFor(context.isa);
  const std::int64_t width = h.size(1);
  cpu::Activations x(context.isa, w.encoding, h.size(0), width);
  context.Run(static_cast<int>(h.size(0)), [&](int row) {
    cpu::AlignedBuffer<float> normed(width);
    kernels.layer_norm(Floats(h) + row * width, Floats(norm), Floats(norm_bias),
                       static_cast<int>(width), eps, normed.data());
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

Tensor CpuVisionAttention(const Tensor& h0, const Tensor& norm, const Tensor& norm_bias,
                          const Tensor& qkv, const Tensor& qkv_scale, const Tensor& qkv_aux,
                          const Tensor& qkv_bias, const Tensor& out, const Tensor& out_scale,
                          const Tensor& out_aux, const Tensor& out_bias, std::int64_t tokens,
                          std::int64_t heads, std::int64_t head_dim, double eps) {
  if (!IsPacked(qkv) || !IsPacked(out)) {
    return vision_attention(h0, norm, norm_bias, qkv, qkv_scale, qkv_aux, qkv_bias, out, out_scale,
                            out_aux, out_bias, tokens, heads, head_dim, eps);
  }
  const cpu::Context& context = cpu::CurrentContext();
  const cpu::PackedMatrix back = ViewOf(out, out_scale, out_aux);
  const Tensor h = h0.contiguous();
  Tensor projected =
      NormedProduct(context, h, norm, norm_bias, eps, ViewOf(qkv, qkv_scale, qkv_aux));
  AddToRows(context, qkv_bias, nullptr, &projected);
  const std::int64_t width = heads * head_dim;
  Tensor mixed = at::empty({h.size(0), width}, h.options());
  const int dim = static_cast<int>(head_dim), count = static_cast<int>(heads);
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
  AddToRows(context, out_bias, Floats(h), &y);
  return y;
}

Tensor CpuVisionMlp(const Tensor& h0, const Tensor& norm, const Tensor& norm_bias,
                    const Tensor& fc1, const Tensor& fc1_scale, const Tensor& fc1_aux,
                    const Tensor& fc1_bias, const Tensor& fc2, const Tensor& fc2_scale,
                    const Tensor& fc2_aux, const Tensor& fc2_bias, std::int64_t intermediate,
                    double eps) {
  if (!IsPacked(fc1) || !IsPacked(fc2)) {
    return vision_mlp(h0, norm, norm_bias, fc1, fc1_scale, fc1_aux, fc1_bias, fc2, fc2_scale,
                      fc2_aux, fc2_bias, intermediate, eps);
  }
  const cpu::Context& context = cpu::CurrentContext();
  const cpu::Kernels& kernels = cpu::KernelsFor(context.isa);
  const cpu::PackedMatrix back = ViewOf(fc2, fc2_scale, fc2_aux);
  const Tensor h = h0.contiguous();
  const Tensor inner =
      NormedProduct(context, h, norm, norm_bias, eps, ViewOf(fc1, fc1_scale, fc1_aux));
  cpu::Activations x(context.isa, back.encoding, inner.size(0), inner.size(1));
  context.Run(static_cast<int>(inner.size(0)), [&](int row) {
    cpu::AlignedBuffer<float> values(inner.size(1));
    kernels.gelu_of_sum(Floats(inner) + row * inner.size(1), Floats(fc1_bias),
                        static_cast<int>(inner.size(1)), values.data());
    x.SetRow(row, values.data());
  });
  Tensor y = at::empty_like(h);
  cpu::Multiply(context, x, back, y.mutable_data_ptr<float>());
  AddToRows(context, fc2_bias, Floats(h), &y);
  return y;
}

Tensor CpuProject(const Tensor& h, const Tensor& norm, const Tensor& norm_bias, const Tensor& w,
                  const Tensor& w_scale, const Tensor& w_aux, const Tensor& bias,
                  std::int64_t hidden, double eps) {
  if (!IsPacked(w)) {
    return project(h, norm, norm_bias, w, w_scale, w_aux, bias, hidden, eps);
  }
  const cpu::Context& context = cpu::CurrentContext();
  Tensor y =
      NormedProduct(context, h.contiguous(), norm, norm_bias, eps, ViewOf(w, w_scale, w_aux));
  AddToRows(context, bias, nullptr, &y);
  return y;
}

}  // namespace paligemma::ops
