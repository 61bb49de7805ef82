// SPDX-License-Identifier: Apache-2.0
#include "core/model/sampling_inputs.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <map>
#include <tuple>
#include <utility>

#include "core/model/ops/kernels.h"
#include "core/model/ops/registration.h"
#include "core/model/step_inputs.h"

namespace paligemma {
namespace {

using Words = std::vector<std::uint32_t>;

// Lines of bits over the vocabulary.
class BitLines {
 public:
  explicit BitLines(int vocab) : vocab_(vocab), width_((vocab + 31) / 32) {}

  int Add(bool value) {
    words_.insert(words_.end(), width_, value ? ~0u : 0u);
    return num_lines_++;
  }
  void Set(int line, TokenId token, bool value) {
    if (token < 0 || token >= vocab_) {
      return;
    }
    std::uint32_t& word = words_[static_cast<std::size_t>(line) * width_ + token / 32];
    const std::uint32_t bit = 1u << (token % 32);
    word = value ? word | bit : word & ~bit;
  }
  at::Tensor ToTensor() const {
    at::Tensor tensor = at::empty({num_lines_, width_}, at::kInt);
    std::copy(words_.begin(), words_.end(), tensor.mutable_data_ptr<int>());
    return tensor;
  }

 private:
  const int vocab_, width_;
  int num_lines_ = 0;
  Words words_;
};

// The end that may not come yet (-1: it may), and the rules of the model (null: none). Rows with
// the same key share a mask.
using MaskKey = std::pair<TokenId, const OutputRules*>;

bool NeedsMask(const MaskKey& key) {
  return key.first >= 0 || (key.second != nullptr && !key.second->suppressed.empty());
}

int AddMask(const MaskKey& key, BitLines* masks) {
  const int line = masks->Add(true);
  const auto exclude = [&](TokenId token) { masks->Set(line, token, false); };
  if (key.first >= 0) exclude(key.first);
  if (key.second == nullptr) return line;
  std::for_each(key.second->suppressed.begin(), key.second->suppressed.end(), exclude);
  if (key.first >= 0) {
    std::for_each(key.second->more_ends.begin(), key.second->more_ends.end(), exclude);
  }
  return line;
}

void MarkSeen(const BatchRow& row, const std::vector<TokenId>& previous_tokens, int line,
              BitLines* seen) {
  for (const TokenId token : row.sequence->prompt) {
    seen->Set(line, token, true);
  }
  const auto& output = row.sequence->output;
  const std::size_t known =
      std::min(output.size(), static_cast<std::size_t>(std::max(row.output_index, 0)));
  for (std::size_t i = 0; i < known; ++i) {
    seen->Set(line, output[i], true);
  }
  if (row.input_row >= 0) {
    seen->Set(line, previous_tokens.at(row.input_row), true);
  }
}

using SampleSignature = decltype(ops::Registered<&ops::sample>::Call);

const auto& SampleOperator() {
  static const auto handle = c10::Dispatcher::singleton()
                                 .findSchemaOrThrow("paligemma::sample", "")
                                 .typed<SampleSignature>();
  return handle;
}

}  // namespace

SamplingInputs BuildSamplingInputs(const Batch& batch, int vocab,
                                   const std::vector<TokenId>& previous_tokens) {
  const auto count = static_cast<std::int64_t>(batch.rows.size());
  SamplingInputs inputs;
  inputs.params = at::empty({count, 4}, at::kFloat);
  inputs.controls = at::zeros({count, 8}, at::kInt);
  BitLines masks(vocab), seen(vocab);
  std::map<MaskKey, int> mask_lines;
  float* params = inputs.params.mutable_data_ptr<float>();
  int* controls = inputs.controls.mutable_data_ptr<int>();
  for (const BatchRow& row : batch.rows) {
    const SamplingParams& wanted = row.sequence->sampling;
    int mask_line = -1, seen_line = -1;
    const MaskKey key(row.output_index < wanted.min_tokens ? row.sequence->eos : -1,
                      row.sequence->output_rules.get());
    if (NeedsMask(key)) {
      const auto [line, added] = mask_lines.try_emplace(key, -1);
      if (added) line->second = AddMask(key, &masks);
      mask_line = line->second;
    }
    if (wanted.repetition_penalty != 1) {
      seen_line = seen.Add(false);
      MarkSeen(row, previous_tokens, seen_line, &seen);
    }
    const std::array<float, 4> row_params = {wanted.temperature, wanted.top_p, wanted.min_p,
                                             wanted.repetition_penalty};
    const std::array<int, 8> row_controls = {wanted.top_k,
                                             mask_line,
                                             seen_line,
                                             /*forced=*/-1,
                                             static_cast<int>(row.sequence->seed & 0xffffffffu),
                                             static_cast<int>(row.sequence->seed >> 32),
                                             row.output_index,
                                             0};
    params = std::copy(row_params.begin(), row_params.end(), params);
    controls = std::copy(row_controls.begin(), row_controls.end(), controls);
    inputs.top = std::max(inputs.top, row.sequence->logprobs);
  }
  inputs.masks = masks.ToTensor();
  inputs.seen = seen.ToTensor();
  return inputs;
}

std::vector<StepOutput> Sample(const torch::jit::Module& decoder, const at::Tensor& hidden,
                               const SamplingInputs& inputs, const Batch& batch, int vocab,
                               double softcap) {
  const torch::jit::Module table = decoder.attr("embedding").toModule();
  const auto [ids, logprobs, top_ids, top_logprobs] =
      SampleOperator().call(hidden, table.attr("data").toTensor(), table.attr("scale").toTensor(),
                            table.attr("aux").toTensor(), vocab, softcap, inputs.params,
                            inputs.controls, inputs.masks, inputs.seen, /*flags=*/0, inputs.top);
  const at::Tensor tokens = ids.to(at::kCPU), values = logprobs.to(at::kCPU);
  const at::Tensor others = top_ids.to(at::kCPU), other_values = top_logprobs.to(at::kCPU);
  std::vector<StepOutput> outputs(batch.rows.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    StepOutput& output = outputs[i];
    output.token = tokens.const_data_ptr<int>()[i];
    output.numeric_fault = output.token < 0;
    output.token = std::max(output.token, 0);
    const int wanted = batch.rows[i].sequence->logprobs;
    if (wanted < 0) {
      continue;
    }
    output.logprob = values.const_data_ptr<float>()[i];
    const std::int64_t width = others.size(1);
    for (std::int64_t k = 0; k < std::min<std::int64_t>(wanted, width); ++k) {
      output.top.push_back({others.const_data_ptr<int>()[i * width + k],
                            other_values.const_data_ptr<float>()[i * width + k]});
    }
  }
  return outputs;
}

}  // namespace paligemma
