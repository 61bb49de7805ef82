// SPDX-License-Identifier: Apache-2.0
// The reference kernels behind the operators of export/paligemma_export/operators.txt, in plain
// ATen: exact, readable and for any device. Faster kernels register for their own backend and are
// compared with these. What a tensor means, its type and its shape: docs/bundle.md and the comments
// here. T rows = prefill rows, prompt after prompt, then D cached rows; R rows kept; S prompts.
//
// Between operators flow h, the residual stream f32 [T,H], and y f32 [T,H], the last branch before
// its post-norm (empty before the first layer): h' = h + rmsnorm(y) (1 + y_norm).
//
// On CPUs a row's float32 result does not depend on the other rows (linear.h says how).
// Thread safe. Errors: c10::Error.
#ifndef CORE_MODEL_OPS_KERNELS_H_
#define CORE_MODEL_OPS_KERNELS_H_

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>

namespace paligemma::ops {

using at::Tensor;
using TensorList = c10::List<at::Tensor>;
using Tensors2 = std::tuple<Tensor, Tensor>;
using Tensors4 = std::tuple<Tensor, Tensor, Tensor, Tensor>;

// decoder.cc

// ids i32 [T] -> f32 [T,H]. id >= 0: that row of the table times `scale`, in the table's type;
// id < 0: row -(id + 1) of image_rows [P,H], bit-equal.
Tensor embed(const Tensor& ids, const Tensor& image_rows, const Tensor& table,
             const Tensor& table_scale, const Tensor& table_aux, double scale, std::int64_t vocab);

// positions i32 [T] -> f32 [T,head_dim]: cosines, then sines, of position / theta^(2i/head_dim).
Tensor rope(const Tensor& positions, std::int64_t head_dim, double theta);

// GeGLU branch: down(gelu_tanh(gate(x)) * up(x)) with x = rmsnorm(h').
Tensors2 mlp(const Tensor& h, const Tensor& y, const Tensor& y_norm, const Tensor& norm,
             const Tensor& gate_up, const Tensor& gate_up_scale, const Tensor& gate_up_aux,
             const Tensor& down, const Tensor& down_scale, const Tensor& down_aux,
             const TensorList& adapters, const Tensor& adapter_index, std::int64_t layer,
             std::int64_t intermediate, double eps);

// rmsnorm(h'), the decoder's output.
Tensor finish(const Tensor& h, const Tensor& y, const Tensor& y_norm, const Tensor& norm,
              double eps);

// h' itself, for parity tests.
Tensor residual(const Tensor& h, const Tensor& y, const Tensor& y_norm, double eps);

// kv [L,2,blocks,kv_heads,B,head_dim]: copies whole blocks; source, target i32 [n].
void copy_blocks(Tensor kv, Tensor kv_scale, const Tensor& source, const Tensor& target);

// attention.cc

// One layer's attention branch -> (h', y) of the rows in `rows` (empty: all). Writes K,V of every
// row to its slot first (-1: nowhere), then prefill rows attend to the whole of their own prompt
// and cached row i to the last `window` (0: all) of its first context[i] keys in the pages.
Tensors2 attention(const Tensor& h, const Tensor& y, const Tensor& y_norm, const Tensor& norm,
                   const Tensor& qkv, const Tensor& qkv_scale, const Tensor& qkv_aux,
                   const Tensor& out, const Tensor& out_scale, const Tensor& out_aux,
                   const Tensor& rope, Tensor kv, Tensor kv_scale, const Tensor& slots,
                   const Tensor& prefill_start, at::IntArrayRef prefill_lengths,
                   const Tensor& block_table, const Tensor& context, const Tensor& rows,
                   const TensorList& adapters, const Tensor& adapter_index, std::int64_t layer,
                   std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim, double eps,
                   double scale, double softcap, std::int64_t window);

// sampler.cc

// hidden f32 [R,H] -> f32 [R,vocab], soft-capped. For parity; sampling does not call it.
Tensor logits(const Tensor& hidden, const Tensor& table, const Tensor& table_scale,
              const Tensor& table_aux, std::int64_t vocab, double softcap);

// hidden f32 [R,H] -> ids i32 [R], log-probability f32 [R], top ids i32 [R,top], their
// log-probabilities f32 [R,top] (top = -1: none of the three). An id of -1: the row's logits hold
// a NaN. Columns of `params` and `controls`: sampler.cc.
Tensors4 sample(const Tensor& hidden, const Tensor& table, const Tensor& table_scale,
                const Tensor& table_aux, std::int64_t vocab, double softcap, const Tensor& params,
                const Tensor& controls, const Tensor& masks, Tensor seen, std::int64_t flags,
                std::int64_t top);

// vision.cc; h f32 [B*N,hidden] throughout

// pixels uint8 [B,S,S,3] through lut f32 [256], or f32 taken as normalised.
Tensor patch_embed(const Tensor& pixels, const Tensor& lut, const Tensor& w, const Tensor& w_scale,
                   const Tensor& w_aux, const Tensor& bias, const Tensor& position,
                   std::int64_t patch);
Tensor vision_attention(const Tensor& h, const Tensor& norm, const Tensor& norm_bias,
                        const Tensor& qkv, const Tensor& qkv_scale, const Tensor& qkv_aux,
                        const Tensor& qkv_bias, const Tensor& out, const Tensor& out_scale,
                        const Tensor& out_aux, const Tensor& out_bias, std::int64_t tokens,
                        std::int64_t heads, std::int64_t head_dim, double eps);
Tensor vision_mlp(const Tensor& h, const Tensor& norm, const Tensor& norm_bias, const Tensor& fc1,
                  const Tensor& fc1_scale, const Tensor& fc1_aux, const Tensor& fc1_bias,
                  const Tensor& fc2, const Tensor& fc2_scale, const Tensor& fc2_aux,
                  const Tensor& fc2_bias, std::int64_t intermediate, double eps);
Tensor project(const Tensor& h, const Tensor& norm, const Tensor& norm_bias, const Tensor& w,
               const Tensor& w_scale, const Tensor& w_aux, const Tensor& bias, std::int64_t hidden,
               double eps);

}  // namespace paligemma::ops

#endif  // CORE_MODEL_OPS_KERNELS_H_
