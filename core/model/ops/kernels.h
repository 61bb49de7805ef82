// SPDX-License-Identifier: Apache-2.0
// The reference kernels behind the operators of export/paligemma_export/operators.txt, in plain
// ATen: exact, readable and for any device. Faster kernels register for their own backend and are
// compared with these. Arguments: arguments.h.
//
// On CPUs a row's float32 result does not depend on the other rows (linear.h says how).
// Thread safe. Errors: c10::Error.
#ifndef CORE_MODEL_OPS_KERNELS_H_
#define CORE_MODEL_OPS_KERNELS_H_

#include <tuple>

#include "core/model/ops/arguments.h"

namespace paligemma::ops {

using Tensors2 = std::tuple<Tensor, Tensor>;
using Tensors4 = std::tuple<Tensor, Tensor, Tensor, Tensor>;

// decoder.cc

// Returns f32 [T,H]. id >= 0: that row of the table times `scale`, in the table's type; id < 0: the
// row of an image, bit-equal.
Tensor embed(const EmbedArgs& args);

// Returns f32 [T,head_dim]: cosines, then sines, of position / theta^(2i/head_dim).
Tensor rope(const RopeArgs& args);

// The GeGLU branch: returns h' and down(gelu_tanh(gate(x)) * up(x)) with x = rmsnorm(h').
Tensors2 mlp(const MlpArgs& args);

// Returns rmsnorm(h'), the decoder's output.
Tensor finish(const FinishArgs& args);

// Returns h' itself, for parity tests.
Tensor residual(const ResidualArgs& args);

// Copies whole blocks.
void copy_blocks(const CopyBlocksArgs& args);

// attention.cc

// One layer's attention branch: returns h' and y of the rows in `rows`. Writes keys and values of
// every row to its slot first, then prefill rows attend to the whole of their own prompt and cached
// row i to the last `window` of its first context[i] keys in the pages.
Tensors2 attention(const AttentionArgs& args);

// sampler.cc

// Returns f32 [R,vocab], soft-capped. For parity; sampling does not call it.
Tensor logits(const LogitsArgs& args);

// Returns ids i32 [R], log-probability f32 [R], top ids i32 [R,top], their log-probabilities
// f32 [R,top] (top = -1: none of the three). An id of -1: the row's logits hold a NaN.
Tensors4 sample(const SampleArgs& args);

// vision.cc

Tensor patch_embed(const PatchArgs& args);
Tensor vision_attention(const VisionAttentionArgs& args);
Tensor vision_mlp(const VisionMlpArgs& args);
Tensor project(const ProjectArgs& args);

}  // namespace paligemma::ops

#endif  // CORE_MODEL_OPS_KERNELS_H_
