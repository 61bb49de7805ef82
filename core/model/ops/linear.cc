// SPDX-License-Identifier: Apache-2.0
#include "core/model/ops/linear.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/round.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdint>
#include <functional>

#include "core/model/ops/packed.h"

namespace paligemma::ops {
namespace {

constexpr double kSmallestActivation = 1e-30;
// Weights are widened in slabs of so many values, so that a table of a billion costs no copy of it.
constexpr std::int64_t kSlabValues = 1 << 20;

// Fills [M,N] slab by slab: product(first, count) are the columns of `count` rows of the matrix.
Tensor BySlabs(const Tensor& x, const Tensor& data,
               const std::function<Tensor(std::int64_t, std::int64_t)>& product) {
  const std::int64_t rows = data.size(0);
  const std::int64_t slab =
      std::max<std::int64_t>(1, kSlabValues / std::max<std::int64_t>(1, data.size(1)));
  if (rows <= slab) {
    return product(0, rows);
  }
  Tensor result = at::empty({x.size(0), rows}, x.options());
  for (std::int64_t first = 0; first < rows; first += slab) {
    const std::int64_t count = std::min(slab, rows - first);
    result.narrow(1, first, count).copy_(product(first, count));
  }
  return result;
}

// x [M,K] times w [N,K] in float32, kRowTile rows at a time: BLAS may split a sum by the number of
// rows that it is given, and where they lie, so every call gets a tile of one size, aligned.
Tensor TiledProduct(const Tensor& x, const Tensor& w) {
  const std::int64_t rows = x.size(0);
  const Tensor columns = w.t();
  Tensor tile = at::zeros({kRowTile, x.size(1)}, x.options());
  Tensor product = at::empty({kRowTile, w.size(0)}, x.options());
  Tensor result = at::empty({rows, w.size(0)}, x.options());
  for (std::int64_t first = 0; first < rows; first += kRowTile) {
    const std::int64_t count = std::min(kRowTile, rows - first);
    tile.narrow(0, 0, count).copy_(x.narrow(0, first, count));
    at::mm_out(product, tile, columns);
    result.narrow(0, first, count).copy_(product.narrow(0, 0, count));
  }
  return result;
}

Tensor FloatProduct(const Tensor& x, const Tensor& data) {
  if (data.scalar_type() == at::kFloat) {
    return TiledProduct(x, data);
  }
  return BySlabs(x, data, [&](std::int64_t first, std::int64_t count) {
    return TiledProduct(x, data.narrow(0, first, count).to(at::kFloat));
  });
}

// int8 times int8 as f32 of exact integers; float64 holds every int32 sum.
Tensor ExactProduct(const Tensor& x, const Tensor& w) {
  return at::mm(x.to(at::kDouble), w.to(at::kDouble).t()).to(at::kFloat);
}

Tensor UnpackInt4(const Tensor& data) {
  const Tensor low = data.bitwise_and(15).to(at::kChar) - 8;
  const Tensor high = data.bitwise_right_shift(4).to(at::kChar) - 8;
  return at::stack({low, high}, -1).flatten(-2);
}

// x int8 [M,K]; sums of groups in ascending order.
Tensor Int4Product(const Tensor& x, const Tensor& data, const Tensor& scale) {
  return BySlabs(x, data, [&](std::int64_t first, std::int64_t count) {
    const Tensor w = UnpackInt4(data.narrow(0, first, count));
    const Tensor scales = scale.narrow(0, first, count).to(at::kFloat);
    const std::int64_t size = w.size(1) / scales.size(1);
    Tensor sum = at::zeros({x.size(0), count}, x.options().dtype(at::kFloat));
    for (std::int64_t group = 0; group < scales.size(1); ++group) {
      sum += ExactProduct(x.narrow(1, group * size, size), w.narrow(1, group * size, size)) *
             scales.select(1, group);
    }
    return sum;
  });
}

Tensor QuantizedProduct(const Tensor& x, const Tensor& data, const Tensor& scale,
                        Encoding encoding) {
  const Tensor row_scale = x.abs().amax(-1, true).clamp_min(kSmallestActivation) / 127.0;
  const Tensor quantized = at::round(x / row_scale).to(at::kChar);
  if (encoding == Encoding::kInt4) {
    return Int4Product(quantized, data, scale) * row_scale;
  }
  const Tensor sum = BySlabs(x, data, [&](std::int64_t first, std::int64_t count) {
    return ExactProduct(quantized, data.narrow(0, first, count));
  });
  return sum * row_scale * scale;
}

// `x` where a cache line begins: BLAS may sum in another order elsewhere, and where a sequence's
// rows lie depends on its neighbours.
Tensor Aligned(const Tensor& x) {
  constexpr std::uintptr_t kCacheLine = 64;
  return reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % kCacheLine == 0 ? x : x.clone();
}

}  // namespace

Tensor Linear(const Tensor& x, const Matrix& w) {
  const Description own = Describe(w);
  if (own.layout == Layout::kCpuPanels) {
    return PackedLinear(x, ViewOf(w));
  }
  TORCH_CHECK(w.data.dim() == 2 && w.data.scalar_type() == TypeOf(own.encoding),
              "a matrix that is not stored as its description says");
  switch (own.encoding) {
    case Encoding::kFloat32:
    case Encoding::kBfloat16:
      return FloatProduct(x, w.data);
    case Encoding::kFp8:
      return FloatProduct(x, w.data) * w.scale;
    case Encoding::kInt8:
    case Encoding::kInt4:
      return QuantizedProduct(x, w.data, w.scale, own.encoding);
  }
  TORCH_CHECK(false, "no kernel for this encoding");
}

Tensor RmsNorm(const Tensor& x, const Tensor& weight, double eps) {
  return x * at::rsqrt(x.pow(2).mean(-1, true) + eps) * (1.0 + weight);
}

Tensor AddBranch(const Stream& stream, double eps) {
  return stream.y.numel() == 0 ? stream.h.clone()
                               : stream.h + RmsNorm(stream.y.to(at::kFloat), stream.y_norm, eps);
}

Tensor Lora(const Tensor& x, const Tensor& a, const Tensor& b, const Tensor& index,
            std::initializer_list<std::int64_t> bounds) {
  Tensor update = at::zeros({x.size(0), b.size(1)}, x.options());
  for (std::int64_t adapter = 0; adapter < a.size(0); ++adapter) {
    const Tensor rows = (index == adapter).nonzero().flatten();
    if (rows.numel() == 0) {
      continue;
    }
    const Tensor own = x.index_select(0, rows);
    std::vector<Tensor> parts;
    std::int64_t segment = 0;
    for (const std::int64_t* low = bounds.begin(); low + 1 != bounds.end(); ++low, ++segment) {
      const Tensor inner = FloatProduct(own, a[adapter][segment].to(at::kFloat));
      parts.push_back(FloatProduct(inner, b[adapter].slice(0, low[0], low[1]).to(at::kFloat)));
    }
    update.index_copy_(0, rows, at::cat(parts, 1));
  }
  return update;
}

Tensor Attend(const Tensor& q0, const Tensor& k0, const Tensor& v0, double scale, double softcap) {
  const Tensor q = Aligned(q0), k = Aligned(k0), v = Aligned(v0);
  const std::int64_t m = q.size(0), heads = q.size(1), dim = q.size(2), kv_heads = k.size(1);
  const std::int64_t group = heads / kv_heads;
  // [kv_heads, group*m, d]: the heads of a group share their keys, so no key is repeated.
  const Tensor queries =
      q.view({m, kv_heads, group, dim}).permute({1, 2, 0, 3}).reshape({kv_heads, group * m, dim});
  Tensor scores = at::matmul(queries, k.permute({1, 2, 0})) * scale;
  if (softcap > 0) {
    scores = at::tanh(scores / softcap) * softcap;
  }
  const Tensor mixed = at::matmul(at::softmax(scores, -1), v.transpose(0, 1));
  return mixed.view({heads, m, dim}).transpose(0, 1).reshape({m, heads * dim});
}

}  // namespace paligemma::ops
