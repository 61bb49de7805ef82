// SPDX-License-Identifier: Apache-2.0
// Products with weight matrices in every encoding of a bundle, and the pieces that the kernels
// share. Formulas: export/paligemma_export/quantization.py.
#ifndef CORE_MODEL_OPS_LINEAR_H_
#define CORE_MODEL_OPS_LINEAR_H_

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <initializer_list>
#include <vector>

#include "core/model/ops/arguments.h"

namespace paligemma::ops {

// x f32 [M,K] times the transposed matrix -> f32 [M,N]. By encoding:
//   float32, bfloat16 [N,K]   x times the weight as f32
//   int8 [N,K]                scale f32 [N]; rows of x quantised to int8, exact sums
//   int4 [N,K/2]              low nibble = even k, value - 8; scale [N,K/g]
//   fp8 [N,K]                 scale f32 [N]; weight-only
// or a matrix that was packed for CPUs (packed.h). What follows holds for the canonical ones.
// Float products are computed kRowTile rows at a time, so that a row has the same bits in every
// batch. With 8 rows MKL takes code for thin matrices, in which a row's bits depend on its place
// (measured).
Tensor Linear(const Tensor& x, const Matrix& w);
inline constexpr std::int64_t kRowTile = 16;

// Gemma's norm: x / sqrt(mean(x^2) + eps) * (1 + weight).
Tensor RmsNorm(const Tensor& x, const Tensor& weight, double eps);

// h + rmsnorm(y) (1 + y_norm), or a copy of h where no branch is pending: outputs alias no input.
Tensor AddBranch(const Stream& stream, double eps);

// Low-rank updates f32 [M,N] of the rows that have an adapter. a [n,segments,r,K] and b [n,N,r] of
// one layer; segment i fills the columns bounds[i] .. bounds[i+1]; index i32 [M], -1: none.
Tensor Lora(const Tensor& x, const Tensor& a, const Tensor& b, const Tensor& index,
            std::initializer_list<std::int64_t> bounds);

// q [m,heads,d], k and v [n,kv_heads,d], all f32 -> [m,heads*d]: every query sees every key given.
// softcap 0: none. Query head i uses key head i / (heads / kv_heads).
Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v, double scale, double softcap);

}  // namespace paligemma::ops

#endif  // CORE_MODEL_OPS_LINEAR_H_
