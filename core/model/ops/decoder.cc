// SPDX-License-Identifier: Apache-2.0
// The decoder's operators without attention. reference: semantics 4.4 and 5.
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>

#include "core/model/ops/kernels.h"
#include "core/model/ops/linear.h"
#include "core/model/ops/packed.h"

namespace paligemma::ops {
namespace {

// gelu(left half) * right half of [M, 2 * width]. On CPUs row by row: threads share large tensors
// by values, and where a share ends within a row, other code rounds that row's values.
Tensor Gate(const Tensor& both, std::int64_t width) {
  const auto gated = [width](const Tensor& rows) {
    return at::gelu(rows.narrow(1, 0, width), "tanh") * rows.narrow(1, width, width);
  };
  if (!both.is_cpu() || both.size(0) == 0) {
    return gated(both);
  }
  std::vector<Tensor> rows;
  for (std::int64_t row = 0; row < both.size(0); ++row) {
    rows.push_back(gated(both.narrow(0, row, 1)));
  }
  return at::cat(rows);
}

}  // namespace

Tensor embed(const EmbedArgs& args) {
  const Matrix& table = args.table;
  const Tensor tokens = args.ids.clamp(0, args.vocab - 1);
  Tensor text =
      IsPacked(table) ? PackedRows(ViewOf(table), tokens) : table.data.index_select(0, tokens);
  if (table.scale.numel() > 0) {
    text = text.to(at::kFloat) * table.scale.index_select(0, tokens).unsqueeze(1) * args.scale;
  } else {
    // The product is rounded to the table's type, as the reference does.
    text = (text * at::scalar_tensor(args.scale, text.options())).to(at::kFloat);
  }
  const std::int64_t num_image_rows = args.image_rows.size(0);
  if (num_image_rows == 0) {
    return text;
  }
  const Tensor rows = (-args.ids - 1).clamp(0, num_image_rows - 1);
  const Tensor image = args.image_rows.index_select(0, rows).to(at::kFloat);
  return at::where((args.ids < 0).unsqueeze(1), image, text);
}

Tensor rope(const RopeArgs& args) {
  const Tensor& positions = args.positions;
  const Tensor exponent = at::arange(0, args.head_dim, 2, positions.options().dtype(at::kFloat)) /
                          static_cast<double>(args.head_dim);
  const Tensor frequency = 1.0 / at::pow(args.theta, exponent);
  // The angle is rounded to f32, as the reference does; cosine and sine then in f64, so that no
  // vector width shows in the last bit.
  const Tensor angle = (positions.to(at::kFloat).unsqueeze(1) * frequency).to(at::kDouble);
  return at::cat({angle.cos(), angle.sin()}, -1).to(at::kFloat);
}

Tensors2 mlp(const MlpArgs& args) {
  const TensorList& adapters = args.adapters.tensors;
  const Tensor h = AddBranch(args.stream, args.eps);
  const Tensor x = RmsNorm(h, args.norm, args.eps);
  Tensor both = Linear(x, args.gate_up);
  if (!adapters.empty()) {
    both = both + Lora(x, adapters.get(4)[args.layer], adapters.get(5)[args.layer],
                       args.adapters.index, {0, args.intermediate, 2 * args.intermediate});
  }
  const Tensor gated = Gate(both, args.intermediate);
  Tensor branch = Linear(gated, args.down);
  if (!adapters.empty()) {
    branch = branch + Lora(gated, adapters.get(6)[args.layer], adapters.get(7)[args.layer],
                           args.adapters.index, {0, branch.size(1)});
  }
  return {h, branch};
}

Tensor finish(const FinishArgs& args) {
  return RmsNorm(AddBranch(args.stream, args.eps), args.norm, args.eps);
}

Tensor residual(const ResidualArgs& args) { return AddBranch(args.stream, args.eps); }

void copy_blocks(const CopyBlocksArgs& args) {
  const Tensor from = args.source.to(at::kLong), to = args.target.to(at::kLong);
  // As bytes: not every device can index 8-bit floats.
  Tensor pages = args.kv.scalar_type() == at::kFloat8_e4m3fn ? args.kv.view(at::kByte) : args.kv;
  pages.index_copy_(2, to, pages.index_select(2, from));
  if (args.kv_scale.numel() > 0) {
    args.kv_scale.index_copy_(2, to, args.kv_scale.index_select(2, from));
  }
}

}  // namespace paligemma::ops
