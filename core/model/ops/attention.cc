// SPDX-License-Identifier: Apache-2.0
// Attention over paged keys and values. reference: semantics 4 and 5.
#include <ATen/TensorIndexing.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/floor_divide.h>
#include <ATen/ops/round.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "core/model/ops/kernels.h"
#include "core/model/ops/linear.h"

namespace paligemma::ops {
namespace {

constexpr double kLargestInt8 = 127.0, kLargestFp8 = 448.0;

// x [T,heads,d] rotated by split halves; rope [T,d] holds cosines, then sines.
Tensor ApplyRope(const Tensor& x, const Tensor& rope) {
  const std::int64_t half = x.size(-1) / 2;
  const Tensor cosine = rope.unsqueeze(1).narrow(-1, 0, half);
  const Tensor sine = rope.unsqueeze(1).narrow(-1, half, half);
  const Tensor first = x.narrow(-1, 0, half), second = x.narrow(-1, half, half);
  return at::cat({first * cosine - second * sine, second * cosine + first * sine}, -1);
}

// The pages of one layer's keys or values.
struct Pages {
  Tensor values;  // [blocks,kv_heads,B,d]
  Tensor scales;  // f32 [blocks,kv_heads,B]; undefined: unscaled

  Pages(const Tensor& kv, const Tensor& kv_scale, std::int64_t layer, std::int64_t which)
      : values(kv.select(0, layer).select(0, which)) {
    if (kv_scale.numel() > 0) {
      scales = kv_scale.select(0, layer).select(0, which);
    }
  }

  // rows f32 [n,kv_heads,d] to the slots i64 [n].
  void Write(Tensor rows, const Tensor& slots) {
    const std::int64_t size = values.size(2);
    const Tensor blocks = at::floor_divide(slots, size).unsqueeze(1);
    const Tensor offsets = slots.remainder(size).unsqueeze(1);
    const Tensor heads = at::arange(values.size(1), slots.options()).unsqueeze(0);
    const auto type = values.scalar_type();
    if (scales.defined()) {
      const double largest = type == at::kChar ? kLargestInt8 : kLargestFp8;
      const Tensor scale = rows.abs().amax(-1).clamp_min(1e-12) / largest;
      rows = rows / scale.unsqueeze(-1);
      rows = type == at::kChar ? at::round(rows) : rows;
      scales.index_put_({blocks, heads, offsets}, scale);
    }
    if (type == at::kFloat8_e4m3fn) {
      values.view(at::kByte).index_put_({blocks, heads, offsets}, rows.to(type).view(at::kByte));
    } else {
      values.index_put_({blocks, heads, offsets}, rows.to(type));
    }
  }

  // Positions [first,last) of the sequence with the blocks `table` -> f32 [last-first,kv_heads,d].
  Tensor Read(const Tensor& table, std::int64_t first, std::int64_t last) const {
    const auto type = values.scalar_type();
    Tensor own = type == at::kFloat8_e4m3fn
                     ? values.view(at::kByte).index_select(0, table).view(type)
                     : values.index_select(0, table);
    own = own.to(at::kFloat);
    if (scales.defined()) {
      own = own * scales.index_select(0, table).unsqueeze(-1);
    }
    return own.transpose(1, 2).reshape({-1, values.size(1), values.size(3)}).slice(0, first, last);
  }
};

// Cached rows: row i of q [D,heads,d] sees the last `window` of its first context[i] keys.
void AttendCached(const Tensor& q, const Pages& keys, const Pages& values,
                  const AttentionArgs& args, std::vector<Tensor>* parts) {
  const Tensor counts = args.context.to(at::kCPU).contiguous();
  const std::int64_t size = keys.values.size(2);
  for (std::int64_t row = 0; row < args.block_table.size(0); ++row) {
    const std::int64_t count = counts.const_data_ptr<int>()[row];
    if (count == 0) {  // a padding row
      parts->push_back(at::zeros({1, q.size(1) * q.size(2)}, q.options()));
      continue;
    }
    const std::int64_t first = args.window > 0 ? std::max<std::int64_t>(0, count - args.window) : 0;
    const std::int64_t skipped = first / size;
    const Tensor table =
        args.block_table.select(0, row).slice(0, skipped, (count + size - 1) / size);
    const Tensor k = keys.Read(table, first - skipped * size, count - skipped * size);
    const Tensor v = values.Read(table, first - skipped * size, count - skipped * size);
    parts->push_back(Attend(q.narrow(0, row, 1), k, v, args.scale, args.softcap));
  }
}

}  // namespace

Tensors2 attention(const AttentionArgs& args) {
  const TensorList& adapters = args.adapters.tensors;
  Tensor h = AddBranch(args.stream, args.eps), adapter_index = args.adapters.index;
  const Tensor x = RmsNorm(h, args.norm, args.eps);
  const std::int64_t heads = args.heads, kv_heads = args.kv_heads, head_dim = args.head_dim;
  const std::int64_t queries = heads * head_dim, one = kv_heads * head_dim;
  Tensor projected = Linear(x, args.qkv);
  if (!adapters.empty()) {
    projected = projected + Lora(x, adapters.get(0)[args.layer], adapters.get(1)[args.layer],
                                 adapter_index, {0, queries, queries + one, queries + 2 * one});
  }
  const Tensor q =
      ApplyRope(projected.narrow(1, 0, queries).reshape({-1, heads, head_dim}), args.rope);
  Tensor k =
      ApplyRope(projected.narrow(1, queries, one).reshape({-1, kv_heads, head_dim}), args.rope);
  Tensor v = projected.narrow(1, queries + one, one).reshape({-1, kv_heads, head_dim});

  Pages keys(args.kv, args.kv_scale, args.layer, 0), values(args.kv, args.kv_scale, args.layer, 1);
  const Tensor kept = (args.slots >= 0).nonzero().flatten();
  const Tensor targets = args.slots.index_select(0, kept).to(at::kLong);
  keys.Write(k.index_select(0, kept), targets);
  values.Write(v.index_select(0, kept), targets);
  if (args.kv.scalar_type() == at::kBFloat16) {  // a prompt sees what later rows will read
    k = k.to(at::kBFloat16).to(at::kFloat);
    v = v.to(at::kBFloat16).to(at::kFloat);
  }

  std::vector<Tensor> parts;
  std::int64_t start = 0;
  for (const std::int64_t length : args.prefill_lengths) {
    parts.push_back(Attend(q.narrow(0, start, length), k.narrow(0, start, length),
                           v.narrow(0, start, length), args.scale, args.softcap));
    start += length;
  }
  AttendCached(q.slice(0, start), keys, values, args, &parts);
  Tensor mixed = parts.empty() ? at::zeros({0, queries}, h.options()) : at::cat(parts);
  if (args.rows.numel() > 0) {
    h = h.index_select(0, args.rows);
    mixed = mixed.index_select(0, args.rows);
    adapter_index =
        adapter_index.numel() > 0 ? adapter_index.index_select(0, args.rows) : adapter_index;
  }
  Tensor branch = Linear(mixed, args.out);
  if (!adapters.empty()) {
    branch = branch + Lora(mixed, adapters.get(2)[args.layer], adapters.get(3)[args.layer],
                           adapter_index, {0, branch.size(1)});
  }
  return {h, branch};
}

}  // namespace paligemma::ops
