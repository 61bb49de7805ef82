// SPDX-License-Identifier: Apache-2.0
// The arguments of the operators of export/paligemma_export/operators.txt, one struct an operator.
// The structs are views of a call's arguments and are valid during the call; registration.h fills
// them. What a tensor means, its type and its shape: docs/bundle.md and the comments here.
//
// T rows = prefill rows, prompt after prompt, then D cached rows; R rows kept; S prompts.
//
// Between operators flow h, the residual stream f32 [T,H], and y f32 [T,H], the last branch before
// its post-norm (empty before the first layer): h' = h + rmsnorm(y) (1 + y_norm).
#ifndef CORE_MODEL_OPS_ARGUMENTS_H_
#define CORE_MODEL_OPS_ARGUMENTS_H_

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/model/ops/matrix.h"

namespace paligemma::ops {

using at::Tensor;
using TensorList = c10::List<at::Tensor>;

// The decoder

struct EmbedArgs {
  const Tensor& ids;         // i32 [T]; id < 0: row -(id + 1) of image_rows
  const Tensor& image_rows;  // f32 [P,H]
  Matrix table;              // [vocab,H]
  double scale;
  std::int64_t vocab;
};

struct RopeArgs {
  const Tensor& positions;  // i32 [T]
  std::int64_t head_dim;
  double theta;
};

// The residual stream at the entrance of an operator.
struct Stream {
  const Tensor& h;
  const Tensor& y;
  const Tensor& y_norm;  // f32 [H]
};

// Low-rank updates of a layer's products; no adapter: `tensors` is empty.
struct AdapterArgs {
  const TensorList& tensors;
  const Tensor& index;  // i32 [T], -1: none
};

struct AttentionArgs {
  Stream stream;
  const Tensor& norm;  // f32 [H]
  Matrix qkv;          // [(heads + 2 kv_heads) d, H]
  Matrix out;          // [H, heads d]
  const Tensor& rope;  // f32 [T,d]: cosines, then sines
  const Tensor& kv;    // [L,2,blocks,kv_heads,B,d], written
  const Tensor& kv_scale;
  const Tensor& slots;  // i32 [T]: where the row's keys and values go, -1: nowhere
  const Tensor& prefill_start;
  at::IntArrayRef prefill_lengths;  // [S]
  const Tensor& block_table;        // i32 [D,width]
  const Tensor& context;            // i32 [D]: cached keys of a row, its own included
  const Tensor& rows;               // i32 [R]: the rows to keep; empty: all
  AdapterArgs adapters;
  std::int64_t layer, heads, kv_heads, head_dim;
  double eps, scale, softcap;  // softcap 0: none
  std::int64_t window;         // 0: all keys
};

struct MlpArgs {
  Stream stream;
  const Tensor& norm;
  Matrix gate_up;  // [2 intermediate, H]
  Matrix down;     // [H, intermediate]
  AdapterArgs adapters;
  std::int64_t layer, intermediate;
  double eps;
};

struct FinishArgs {
  Stream stream;
  const Tensor& norm;
  double eps;
};

struct ResidualArgs {
  Stream stream;
  double eps;
};

struct CopyBlocksArgs {
  const Tensor& kv;  // [L,2,blocks,kv_heads,B,d], written
  const Tensor& kv_scale;
  const Tensor& source;  // i32 [n]
  const Tensor& target;  // i32 [n]
};

// The sampler

struct LogitsArgs {
  const Tensor& hidden;  // f32 [R,H]
  Matrix table;
  std::int64_t vocab;
  double softcap;
};

struct SampleArgs {
  LogitsArgs logits;
  const Tensor& params;    // f32 [R,4], sampler.cc
  const Tensor& controls;  // i32 [R,8], sampler.cc
  const Tensor& masks;     // i32 [n,vocab/32], bits of allowed ids
  const Tensor& seen;      // i32 [n,vocab/32], bits of ids that came before; written
  std::int64_t flags, top;
};

// The vision tower; h f32 [B*N,hidden] throughout

struct PatchArgs {
  const Tensor& pixels;  // uint8 [B,S,S,3] through lut, or f32 taken as normalised
  const Tensor& lut;     // f32 [256]
  Matrix w;
  const Tensor& bias;
  const Tensor& position;
  std::int64_t patch;
};

// A layer norm of the stream before a product.
struct LayerNormArgs {
  const Tensor& weight;
  const Tensor& bias;
  double eps;
};

struct VisionAttentionArgs {
  const Tensor& h;
  LayerNormArgs norm;
  Matrix qkv;
  const Tensor& qkv_bias;
  Matrix out;
  const Tensor& out_bias;
  std::int64_t tokens, heads, head_dim;
};

struct VisionMlpArgs {
  const Tensor& h;
  LayerNormArgs norm;
  Matrix fc1;
  const Tensor& fc1_bias;
  Matrix fc2;
  const Tensor& fc2_bias;
  std::int64_t intermediate;
};

struct ProjectArgs {
  const Tensor& h;
  LayerNormArgs norm;
  Matrix w;
  const Tensor& bias;
  std::int64_t hidden;
};

}  // namespace paligemma::ops

#endif  // CORE_MODEL_OPS_ARGUMENTS_H_
