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

Normed AddAndNorm(const cpu::Context& context, const Stream& stream, const Tensor& norm, double eps,
                  cpu::Encoding encoding) {
  const Tensor source = stream.h.contiguous(), y = stream.y.contiguous();
  const std::int64_t num_rows = source.size(0), width = source.size(1);
  Normed result{at::empty_like(source), {context.isa, encoding, num_rows, width}};
  const cpu::Kernels& kernels = cpu::KernelsFor(context.isa);
  auto* h = result.h.mutable_data_ptr<float>();
  context.Run(static_cast<int>(num_rows), [&](int row) {
    float* own = h + row * width;
    const int count = static_cast<int>(width);
    std::copy_n(Floats(source) + row * width, width, own);
    if (y.numel() > 0) {
      kernels.add_rms_norm(Floats(y) + row * width, Floats(stream.y_norm), count, eps, own);
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

// Returns [kept, heads * d]. `projected` [T, (heads + 2 kv_heads) d] is rotated. Rows that are not
// kept are not computed.
Tensor Mix(const cpu::Context& context, const AttentionArgs& args, const LayerPages& pages,
           const Tensor& projected, const std::vector<int>& kept) {
  const cpu::AttentionShape shape{static_cast<int>(args.heads), static_cast<int>(args.kv_heads),
                                  static_cast<int>(args.head_dim), static_cast<float>(args.scale),
                                  static_cast<float>(args.softcap)};
  const std::int64_t stride = projected.size(1);
  const std::int64_t queries = std::int64_t{shape.heads} * shape.head_dim;
  const std::int64_t one = std::int64_t{shape.kv_heads} * shape.head_dim;
  Tensor mixed = at::empty({std::ssize(kept), queries}, projected.options());
  auto* out = mixed.mutable_data_ptr<float>();
  std::int64_t start = 0;
  for (const std::int64_t length : args.prefill_lengths) {
    const float* first = Floats(projected) + start * stride;
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
  const Tensor tables = args.block_table.contiguous();
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (kept[i] >= start) {
      const std::int64_t cached = kept[i] - start;
      const int last = args.context.const_data_ptr<int>()[cached];
      const int first = args.window > 0 ? std::max(0, last - static_cast<int>(args.window)) : 0;
      rows.push_back({Floats(projected) + kept[i] * stride,
                      tables.const_data_ptr<int>() + cached * tables.size(1), first, last,
                      out + i * queries});
    }
  }
  cpu::AttendCached(context, shape, pages.View(), rows);
  return mixed;
}

}  // namespace

Tensors2 CpuAttention(const AttentionArgs& args) {
  if (!IsPacked(args.qkv) || !IsPacked(args.out) || !args.adapters.tensors.empty() ||
      !LayerPages::Takes(args.kv, args.kv_scale)) {
    return attention(args);
  }
  const cpu::Context& threads = cpu::CurrentContext();
  const cpu::Kernels& kernels = cpu::KernelsFor(threads.isa);
  const cpu::PackedMatrix in = ViewOf(args.qkv), back = ViewOf(args.out);
  Normed normed = AddAndNorm(threads, args.stream, args.norm, args.eps, in.encoding);
  Tensor projected = Product(threads, normed.x, in, args.stream.h.options());
  const LayerPages pages(args.kv, args.kv_scale, args.layer);
  const std::int64_t stride = projected.size(1);
  auto* own = projected.mutable_data_ptr<float>();
  threads.Run(static_cast<int>(projected.size(0)), [&](int row) {
    RotateAndWrite(kernels, Floats(args.rope) + row * args.head_dim, args.heads, pages,
                   args.slots.const_data_ptr<int>()[row], own + row * stride);
  });
  const Tensor mixed = Mix(threads, args, pages, projected, KeptRows(args.rows, projected.size(0)));
  const cpu::Activations x =
      cpu::MakeActivations(threads, back.encoding, Floats(mixed), mixed.size(0), mixed.size(1));
  const Tensor h = args.rows.numel() > 0 ? normed.h.index_select(0, args.rows) : normed.h;
  return {h, Product(threads, x, back, h.options())};
}

Tensors2 CpuMlp(const MlpArgs& args) {
  if (!IsPacked(args.gate_up) || !IsPacked(args.down) || !args.adapters.tensors.empty()) {
    return mlp(args);
  }
  const cpu::Context& threads = cpu::CurrentContext();
  const cpu::Kernels& kernels = cpu::KernelsFor(threads.isa);
  const cpu::PackedMatrix in = ViewOf(args.gate_up), back = ViewOf(args.down);
  const std::int64_t intermediate = args.intermediate;
  Normed normed = AddAndNorm(threads, args.stream, args.norm, args.eps, in.encoding);
  const Tensor both = Product(threads, normed.x, in, normed.h.options());
  cpu::Activations gated(threads.isa, back.encoding, both.size(0), intermediate);
  threads.Run(static_cast<int>(both.size(0)), [&](int row) {
    const float* gate = Floats(both) + row * 2 * intermediate;
    cpu::AlignedBuffer<float> values(intermediate);
    kernels.gelu_times(gate, gate + intermediate, static_cast<int>(intermediate), values.data());
    gated.SetRow(row, values.data());
  });
  return {normed.h, Product(threads, gated, back, normed.h.options())};
}

}  // namespace paligemma::ops
