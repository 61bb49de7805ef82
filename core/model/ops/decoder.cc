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

Tensor embed(const Tensor& ids, const Tensor& image_rows, const Tensor& table,
             const Tensor& table_scale, const Tensor& table_aux, double scale, std::int64_t vocab) {
  const Tensor tokens = ids.clamp(0, vocab - 1);
  Tensor text = IsPacked(table) ? PackedRows(ViewOf(table, table_scale, table_aux), tokens)
                                : table.index_select(0, tokens);
  if (table_scale.numel() > 0) {
    text = text.to(at::kFloat) * table_scale.index_select(0, tokens).unsqueeze(1) * scale;
  } else {
    // The product is rounded to the table's type, as the reference does.
    text = (text * at::scalar_tensor(scale, text.options())).to(at::kFloat);
  }
  const std::int64_t num_image_rows = image_rows.size(0);
  if (num_image_rows == 0) {
    return text;
  }
  const Tensor rows = (-ids - 1).clamp(0, num_image_rows - 1);
  const Tensor image = image_rows.index_select(0, rows).to(at::kFloat);
  return at::where((ids < 0).unsqueeze(1), image, text);
}

Tensor rope(const Tensor& positions, std::int64_t head_dim, double theta) {
  const Tensor exponent =
      at::arange(0, head_dim, 2, positions.options().dtype(at::kFloat)) / double(head_dim);
  const Tensor frequency = 1.0 / at::pow(theta, exponent);
  // The angle is rounded to f32, as the reference does; cosine and sine then in f64, so that no
  // vector width shows in the last bit.
  const Tensor angle = (positions.to(at::kFloat).unsqueeze(1) * frequency).to(at::kDouble);
  return at::cat({angle.cos(), angle.sin()}, -1).to(at::kFloat);
}

Tensors2 mlp(const Tensor& h0, const Tensor& y, const Tensor& y_norm, const Tensor& norm,
             const Tensor& gate_up, const Tensor& gate_up_scale, const Tensor& gate_up_aux,
             const Tensor& down, const Tensor& down_scale, const Tensor& down_aux,
             const TensorList& adapters, const Tensor& adapter_index, std::int64_t layer,
             std::int64_t intermediate, double eps) {
  const Tensor h = AddBranch(h0, y, y_norm, eps);
  const Tensor x = RmsNorm(h, norm, eps);
  Tensor both = Linear(x, gate_up, gate_up_scale, gate_up_aux);
  if (!adapters.empty()) {
    both = both + Lora(x, adapters.get(4)[layer], adapters.get(5)[layer], adapter_index,
                       {0, intermediate, 2 * intermediate});
  }
  const Tensor gated = Gate(both, intermediate);
  Tensor branch = Linear(gated, down, down_scale, down_aux);
  if (!adapters.empty()) {
    branch = branch + Lora(gated, adapters.get(6)[layer], adapters.get(7)[layer], adapter_index,
                           {0, branch.size(1)});
  }
  return {h, branch};
}

Tensor finish(const Tensor& h, const Tensor& y, const Tensor& y_norm, const Tensor& norm,
              double eps) {
  return RmsNorm(AddBranch(h, y, y_norm, eps), norm, eps);
}

Tensor residual(const Tensor& h, const Tensor& y, const Tensor& y_norm, double eps) {
  return AddBranch(h, y, y_norm, eps);
}

void copy_blocks(Tensor kv, Tensor kv_scale, const Tensor& source, const Tensor& target) {
  const Tensor from = source.to(at::kLong), to = target.to(at::kLong);
  // As bytes: not every device can index 8-bit floats.
  Tensor pages = kv.scalar_type() == at::kFloat8_e4m3fn ? kv.view(at::kByte) : kv;
  pages.index_copy_(2, to, pages.index_select(2, from));
  if (kv_scale.numel() > 0) {
    kv_scale.index_copy_(2, to, kv_scale.index_select(2, from));
  }
}

}  // namespace paligemma::ops
