// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <utility>

#include "core/cpu/attention.h"
#include "core/cpu/kernels.h"
#include "core/cpu/product.h"
#include "core/model/ops/cpu_kernels.h"
#include "core/model/ops/layer_pages.h"
#include "core/model/ops/packed.h"

namespace paligemma::ops {
namespace {

const float* Floats(const Tensor& tensor) { return tensor.const_data_ptr<float>(); }

// The residual stream with the pending branch added, and its norm as a product takes it.
struct Normed {
  Tensor h;
  cpu::Activations x;
};

Normed AddAndNorm(const cpu::Context& context, const Tensor& h0, const Tensor& y0,
                  const Tensor& y_norm, const Tensor& norm, double eps, cpu::Encoding encoding) {
  const Tensor source = h0.contiguous(), y = y0.contiguous();
  const std::int64_t num_rows = source.size(0), width = source.size(1);
  Normed result{at::empty_like(source), {context.isa, encoding, num_rows, width}};
  const cpu::Kernels& kernels = cpu::KernelsFor(context.isa);
  auto* h = result.h.mutable_data_ptr<float>();
  context.Run(static_cast<int>(num_rows), [&](int row) {
    float* own = h + row * width;
    const int count = static_cast<int>(width);
    std::copy_n(Floats(source) + row * width, width, own);
    if (y.numel() > 0) {
      kernels.add_rms_norm(Floats(y) + row * width, Floats(y_norm), count, eps, own);
    }
    cpu::AlignedBuffer<float> normed(width);
    kernels.rms_norm(own, Floats(norm), count, eps, normed.data());
    result.x.SetRow(row, normed.data());
  });
  return result;
}

Tensor Product(const cpu::Context& context, const cpu::Activations& x, const cpu::PackedMatrix& w,
               const at::TensorOptions& options) {
  Tensor y = at::empty({x.num_rows(), w.outputs}, options);
  cpu::Multiply(context, x, w, y.mutable_data_ptr<float>());
  return y;
}

// Rotates queries and keys of a row [heads + 2 kv_heads, d] and writes keys and values to the row's
// slot. With bfloat16 pages a prompt sees what later rows will read; with int8 ones its own values
// as they are.
void RotateAndWrite(const cpu::Kernels& kernels, const float* rope, std::int64_t heads,
                    const LayerPages& pages, int slot, float* row) {
  const std::int64_t dim = pages.head_dim(), kv_heads = pages.kv_heads();
  for (std::int64_t head = 0; head < heads + kv_heads; ++head) {
    kernels.rotate(rope, rope + dim / 2, static_cast<int>(dim / 2), row + head * dim);
  }
  float* keys = row + heads * dim;
  float* values = keys + kv_heads * dim;
  if (pages.type() == cpu::PageType::kBfloat16) {
    kernels.round_to_bfloat16(static_cast<int>(2 * kv_heads * dim), keys);
  }
  if (slot >= 0) {
    pages.Write(kernels, keys, values, slot);
  }
}

// Which of the T rows are kept, in order: those of `rows`, or all.
std::vector<int> KeptRows(const Tensor& rows, std::int64_t num_rows) {
  std::vector<int> kept(rows.numel() > 0 ? rows.numel() : num_rows);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    kept[i] = rows.numel() > 0 ? rows.const_data_ptr<int>()[i] : static_cast<int>(i);
  }
  return kept;
}

// What a step asks of the attention: T rows, prompts first.
struct Step {
  const Tensor& projected;  // [T, (heads + 2 kv_heads) d], rotated
  at::IntArrayRef prefill_lengths;
  const Tensor& block_table;
  const Tensor& context;
  std::int64_t window;
};

// -> [kept, heads * d]. Rows that are not kept are not computed.
Tensor Mix(const cpu::Context& context, const cpu::AttentionShape& shape, const LayerPages& pages,
           const Step& step, const std::vector<int>& kept) {
  const std::int64_t stride = step.projected.size(1);
  const std::int64_t queries = std::int64_t{shape.heads} * shape.head_dim;
  const std::int64_t one = std::int64_t{shape.kv_heads} * shape.head_dim;
  Tensor mixed = at::empty({std::ssize(kept), queries}, step.projected.options());
  auto* out = mixed.mutable_data_ptr<float>();
  std::int64_t start = 0;
  for (const std::int64_t length : step.prefill_lengths) {
    const float* first = Floats(step.projected) + start * stride;
    cpu::Prompt prompt{
        first, first + queries, first + queries + one, stride, static_cast<int>(length), {}, {}};
    for (std::size_t i = 0; i < kept.size(); ++i) {
      if (kept[i] >= start && kept[i] < start + length) {
        prompt.rows.push_back(static_cast<int>(kept[i] - start));
        prompt.targets.push_back(static_cast<int>(i));
      }
    }
    cpu::AttendPrompt(context, shape, prompt, out, queries);
    start += length;
  }
  std::vector<cpu::CachedRow> rows;
  const Tensor tables = step.block_table.contiguous();
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (kept[i] >= start) {
      const std::int64_t cached = kept[i] - start;
      const int last = step.context.const_data_ptr<int>()[cached];
      const int first = step.window > 0 ? std::max(0, last - static_cast<int>(step.window)) : 0;
      rows.push_back({Floats(step.projected) + kept[i] * stride,
                      tables.const_data_ptr<int>() + cached * tables.size(1), first, last,
                      out + i * queries});
    }
  }
  cpu::AttendCached(context, shape, pages.View(), rows);
  return mixed;
}

}  // namespace

Tensors2 CpuAttention(const Tensor& h0, const Tensor& y, const Tensor& y_norm, const Tensor& norm,
                      const Tensor& qkv, const Tensor& qkv_scale, const Tensor& qkv_aux,
                      const Tensor& out, const Tensor& out_scale, const Tensor& out_aux,
                      const Tensor& rope, Tensor kv, Tensor kv_scale, const Tensor& slots,
                      const Tensor& prefill_start, at::IntArrayRef prefill_lengths,
                      const Tensor& block_table, const Tensor& context, const Tensor& rows,
                      const TensorList& adapters, const Tensor& adapter_index, std::int64_t layer,
                      std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim, double eps,
                      double scale, double softcap, std::int64_t window) {
  if (!IsPacked(qkv) || !IsPacked(out) || !adapters.empty() || !LayerPages::Takes(kv, kv_scale)) {
    return attention(h0, y, y_norm, norm, qkv, qkv_scale, qkv_aux, out, out_scale, out_aux, rope,
                     kv, kv_scale, slots, prefill_start, prefill_lengths, block_table, context,
                     rows, adapters, adapter_index, layer, heads, kv_heads, head_dim, eps, scale,
                     softcap, window);
  }
  const cpu::Context& threads = cpu::CurrentContext();
  const cpu::Kernels& kernels = cpu::KernelsFor(threads.isa);
  const cpu::PackedMatrix in = ViewOf(qkv, qkv_scale, qkv_aux);
  const cpu::PackedMatrix back = ViewOf(out, out_scale, out_aux);
  Normed normed = AddAndNorm(threads, h0, y, y_norm, norm, eps, in.encoding);
  Tensor projected = Product(threads, normed.x, in, h0.options());
  const LayerPages pages(kv, kv_scale, layer);
  const std::int64_t stride = projected.size(1);
  auto* own = projected.mutable_data_ptr<float>();
  threads.Run(static_cast<int>(projected.size(0)), [&](int row) {
    RotateAndWrite(kernels, Floats(rope) + row * head_dim, heads, pages,
                   slots.const_data_ptr<int>()[row], own + row * stride);
  });
  const cpu::AttentionShape shape{static_cast<int>(heads), static_cast<int>(kv_heads),
                                  static_cast<int>(head_dim), static_cast<float>(scale),
                                  static_cast<float>(softcap)};
  const Tensor mixed =
      Mix(threads, shape, pages, {projected, prefill_lengths, block_table, context, window},
          KeptRows(rows, projected.size(0)));
  const cpu::Activations x =
      cpu::MakeActivations(threads, back.encoding, Floats(mixed), mixed.size(0), mixed.size(1));
  const Tensor h = rows.numel() > 0 ? normed.h.index_select(0, rows) : normed.h;
  return {h, Product(threads, x, back, h0.options())};
}

Tensors2 CpuMlp(const Tensor& h0, const Tensor& y, const Tensor& y_norm, const Tensor& norm,
                const Tensor& gate_up, const Tensor& gate_up_scale, const Tensor& gate_up_aux,
                const Tensor& down, const Tensor& down_scale, const Tensor& down_aux,
                const TensorList& adapters, const Tensor& adapter_index, std::int64_t layer,
                std::int64_t intermediate, double eps) {
  if (!IsPacked(gate_up) || !IsPacked(down) || !adapters.empty()) {
    return mlp(h0, y, y_norm, norm, gate_up, gate_up_scale, gate_up_aux, down, down_scale, down_aux,
               adapters, adapter_index, layer, intermediate, eps);
  }
  const cpu::Context& threads = cpu::CurrentContext();
  const cpu::Kernels& kernels = cpu::KernelsFor(threads.isa);
  const cpu::PackedMatrix in = ViewOf(gate_up, gate_up_scale, gate_up_aux);
  const cpu::PackedMatrix back = ViewOf(down, down_scale, down_aux);
  Normed normed = AddAndNorm(threads, h0, y, y_norm, norm, eps, in.encoding);
  const Tensor both = Product(threads, normed.x, in, h0.options());
  cpu::Activations gated(threads.isa, back.encoding, both.size(0), intermediate);
  threads.Run(static_cast<int>(both.size(0)), [&](int row) {
    const float* gate = Floats(both) + row * 2 * intermediate;
    cpu::AlignedBuffer<float> values(intermediate);
    kernels.gelu_times(gate, gate + intermediate, static_cast<int>(intermediate), values.data());
    gated.SetRow(row, values.data());
  });
  return {normed.h, Product(threads, gated, back, h0.options())};
}

}  // namespace paligemma::ops
