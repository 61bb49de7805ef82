// SPDX-License-Identifier: Apache-2.0
// The sampler's arguments for a batch, and its call. Internal to core/model.
#ifndef CORE_MODEL_SAMPLING_INPUTS_H_
#define CORE_MODEL_SAMPLING_INPUTS_H_

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <vector>

#include "core/request/batch.h"

namespace paligemma {

// On the CPU; columns as in core/model/ops/sampler.cc.
struct SamplingInputs {
  at::Tensor params;    // f32 [R,4]
  at::Tensor controls;  // i32 [R,8]
  at::Tensor masks;     // i32 [M, ceil(vocab/32)]: bit = allowed
  at::Tensor seen;      // i32 [S, ceil(vocab/32)]: bit = in the prompt's text or generated
  int top = -1;         // alternatives to report, the most that a row asks for; -1: none
};

// A row's EOS is masked while it owes tokens (min_tokens); its repetition penalty sees the prompt's
// text and its own output. `previous_tokens`: of the step before, for BatchRow::input_row.
SamplingInputs BuildSamplingInputs(const Batch& batch, int vocab,
                                   const std::vector<TokenId>& previous_tokens);

// Samples one token per row of hidden f32 [R,H] with the table of `decoder`.
std::vector<StepOutput> Sample(const torch::jit::Module& decoder, const at::Tensor& hidden,
                               const SamplingInputs& inputs, const Batch& batch, int vocab,
                               double softcap);

}  // namespace paligemma

#endif  // CORE_MODEL_SAMPLING_INPUTS_H_
