// SPDX-License-Identifier: Apache-2.0
// From hidden states to tokens. Order: final soft-cap, repetition penalty, mask, temperature,
// top-k, min-p, top-p, then the arg-max of score + Gumbel noise; ties go to the lowest id. The
// noise is a stateless function of seed, counter and id, so that every device, batch and tiling
// draws the same. Formulas: export/paligemma_export/kernels_sample.py.
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tanh.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/cpu/logits.h"
#include "core/model/ops/kernels.h"
#include "core/model/ops/linear.h"
#include "core/model/ops/packed.h"

namespace paligemma::ops {
namespace {

enum Param { kTemperature, kTopP, kMinP, kRepetition };
enum Control { kTopK, kMaskLine, kSeenLine, kForced, kSeedLow, kSeedHigh, kCounter };
constexpr std::int64_t kLogprobsOfAllowed = 1;  // bit of `flags`
constexpr float kNever = -std::numeric_limits<float>::infinity();

Tensor Softcap(const Tensor& row, double softcap) {
  return softcap > 0 ? at::tanh(row / softcap) * softcap : row;
}

// f32 [R,vocab] on the CPU, soft-capped.
Tensor CappedLogits(const LogitsArgs& args) {
  const double softcap = args.softcap;
  const std::int64_t vocab = args.vocab;
  Tensor rows = Linear(args.hidden, args.table);
  if (IsPacked(args.table)) {
    if (softcap > 0) {
      PackedSoftcap(softcap, &rows);
    }
    return rows.narrow(1, 0, vocab);
  }
  const Tensor raw = rows.narrow(1, 0, vocab).to(at::kCPU);
  std::vector<Tensor> capped;
  // Row by row, so that no vector's tail falls elsewhere in another batch.
  for (std::int64_t r = 0; r < raw.size(0); ++r) {
    capped.push_back(Softcap(raw[r].contiguous(), softcap));
  }
  return capped.empty() ? raw : at::stack(capped);
}

bool Bit(const int* words, std::int64_t i) {
  return (static_cast<std::uint32_t>(words[i / 32]) >> (i % 32) & 1) != 0;
}

// lowbias32
std::uint32_t Mix(std::uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

// What one row asks; pointers into the operator's arguments, null: absent.
struct Row {
  const float* params = nullptr;
  const int* controls = nullptr;
  const int* mask = nullptr;
  int* seen = nullptr;
};

void ApplyPenaltyAndMask(const Row& row, std::int64_t vocab, float* scores) {
  const float penalty = row.params[kRepetition];
  for (std::int64_t i = 0; i < vocab; ++i) {
    if (row.seen != nullptr && penalty != 1 && Bit(row.seen, i)) {
      scores[i] = scores[i] > 0 ? scores[i] / penalty : scores[i] * penalty;
    }
    if (row.mask != nullptr && !Bit(row.mask, i)) {
      scores[i] = kNever;
    }
  }
}

// Sets to -inf what top-k, min-p and top-p exclude. `scores` [vocab], divided by the temperature.
void Truncate(const Row& row, Tensor* scores) {
  const std::int64_t vocab = scores->size(0);
  if (row.controls[kTopK] > 0 && row.controls[kTopK] < vocab) {
    const Tensor largest = std::get<0>(scores->topk(row.controls[kTopK]));
    scores->masked_fill_(*scores < largest[-1], kNever);  // ties with the k-th stay
  }
  if (row.params[kMinP] > 0) {
    scores->masked_fill_(*scores < scores->max() + std::log(static_cast<double>(row.params[kMinP])),
                         kNever);
  }
  if (row.params[kTopP] < 1) {
    const auto [values, order] = scores->sort(/*stable=*/true, -1, /*descending=*/true);
    const Tensor probabilities = values.softmax(0);
    const Tensor excluded = probabilities.cumsum(0) - probabilities >= row.params[kTopP];
    scores->index_fill_(0, order.masked_select(excluded), kNever);
  }
}

// Arg-max of score + noise over the ids that are left.
std::int64_t Draw(const Row& row, const float* scores, std::int64_t vocab) {
  const auto control = [&](Control which) {
    return static_cast<std::uint32_t>(row.controls[which]);
  };
  const std::uint32_t k1 = Mix(control(kSeedLow) ^ Mix(control(kCounter) + 0x9e3779b9u));
  const std::uint32_t k2 = Mix(control(kSeedHigh) ^ k1);
  float best = kNever;
  std::int64_t id = -1;
  for (std::int64_t i = 0; i < vocab; ++i) {
    if (scores[i] == kNever) {
      continue;
    }
    const std::uint32_t u = Mix(Mix(static_cast<std::uint32_t>(i) ^ k1) + k2);
    const float v = static_cast<float>(u + 0.5) * 0x1p-32f;
    const float score = scores[i] - std::log(-std::log1p(-v));
    if (id < 0 || score > best) {
      best = score;
      id = i;
    }
  }
  return id;
}

// The token of one row, or -1 if its logits hold a NaN. logits f32 [vocab], soft-capped, on the
// CPU.
std::int64_t Choose(const Row& row, const Tensor& logits) {
  if (std::isnan(logits.max().item<float>())) {  // max hands NaN on
    return -1;
  }
  if (row.controls[kForced] >= 0) {
    return row.controls[kForced];
  }
  Tensor scores = logits;
  if (row.mask != nullptr || (row.seen != nullptr && row.params[kRepetition] != 1)) {
    scores = logits.clone();
    ApplyPenaltyAndMask(row, scores.size(0), scores.mutable_data_ptr<float>());
  }
  if (!(row.params[kTemperature] > 0)) {
    return scores.argmax().item<std::int64_t>();
  }
  scores = scores / row.params[kTemperature];
  Truncate(row, &scores);
  return Draw(row, scores.const_data_ptr<float>(), scores.size(0));
}

// f32 [vocab]; over the allowed ids or over all.
Tensor LogProbabilities(const Row& row, const Tensor& logits, bool of_allowed) {
  if (!of_allowed || row.mask == nullptr) {
    return logits.log_softmax(0);
  }
  Tensor allowed = logits.clone();
  float* values = allowed.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < allowed.size(0); ++i) {
    values[i] = Bit(row.mask, i) ? values[i] : kNever;
  }
  return allowed.log_softmax(0);
}

// Whether every row takes its largest logit, whatever came before.
bool AllGreedy(const Tensor& params, const Tensor& controls) {
  for (std::int64_t r = 0; r < params.size(0); ++r) {
    const int* own = controls.const_data_ptr<int>() + r * controls.size(1);
    if (params.const_data_ptr<float>()[r * params.size(1) + kTemperature] > 0 ||
        own[kMaskLine] >= 0 || own[kSeenLine] >= 0 || own[kForced] >= 0) {
      return false;
    }
  }
  return true;
}

// sample() for rows that are all greedy, with no alternatives: no logit is written to memory.
Tensors4 SampleLargest(const LogitsArgs& args, std::int64_t top) {
  const cpu::PackedMatrix table = ViewOf(args.table);
  const Tensor hidden = args.hidden.contiguous();
  const cpu::Context& context = cpu::CurrentContext();
  const cpu::Activations x = cpu::MakeActivations(
      context, table.encoding, hidden.const_data_ptr<float>(), hidden.size(0), table.inputs);
  const auto largest =
      cpu::FindLargestLogits(context, x, table, args.vocab, static_cast<float>(args.softcap),
                             /*with_log_probabilities=*/top == 0);
  const std::int64_t count = hidden.size(0);
  Tensor ids = at::empty({count}, at::kInt);
  Tensor logprobs = at::empty({top == 0 ? count : 0}, at::kFloat);
  for (std::int64_t r = 0; r < count; ++r) {
    ids.mutable_data_ptr<int>()[r] = static_cast<int>(largest[r].id);
    if (top == 0) {
      logprobs.mutable_data_ptr<float>()[r] = largest[r].log_probability;
    }
  }
  return {ids, logprobs, at::empty({count, 0}, at::kInt), at::empty({count, 0}, at::kFloat)};
}

}  // namespace

Tensor logits(const LogitsArgs& args) {
  return Softcap(Linear(args.hidden, args.table).narrow(1, 0, args.vocab), args.softcap);
}

Tensors4 sample(const SampleArgs& args) {
  const std::int64_t vocab = args.logits.vocab, top = args.top;
  const Tensor params = args.params.to(at::kCPU), controls = args.controls.to(at::kCPU);
  if (IsPacked(args.logits.table) && top <= 0 && AllGreedy(params, controls)) {
    return SampleLargest(args.logits, top);
  }
  const Tensor capped = CappedLogits(args.logits);
  const Tensor masks = args.masks.to(at::kCPU);
  Tensor marks = args.seen.to(at::kCPU);
  const std::int64_t count = capped.size(0), width = std::clamp<std::int64_t>(top, 0, vocab);
  Tensor ids = at::empty({count}, at::kInt);
  Tensor logprobs = at::empty({top >= 0 ? count : 0}, at::kFloat);
  Tensor top_ids = at::empty({count, width}, at::kInt);
  Tensor top_logprobs = at::empty({count, width}, at::kFloat);
  for (std::int64_t r = 0; r < count; ++r) {
    Row row{params.const_data_ptr<float>() + r * params.size(1),
            controls.const_data_ptr<int>() + r * controls.size(1)};
    if (row.controls[kMaskLine] >= 0) {
      row.mask = masks.const_data_ptr<int>() + row.controls[kMaskLine] * masks.size(1);
    }
    if (row.controls[kSeenLine] >= 0) {
      row.seen = marks.mutable_data_ptr<int>() + row.controls[kSeenLine] * marks.size(1);
    }
    const Tensor own = capped[r].contiguous();
    const std::int64_t id = Choose(row, own);
    ids.mutable_data_ptr<int>()[r] = static_cast<int>(id);
    if (row.seen != nullptr && id >= 0) {
      row.seen[id / 32] |= static_cast<int>(1u << (id % 32));
    }
    if (top >= 0) {
      const Tensor q = LogProbabilities(row, own, (args.flags & kLogprobsOfAllowed) != 0);
      logprobs.mutable_data_ptr<float>()[r] = id >= 0 ? q.const_data_ptr<float>()[id] : 0;
      const auto [values, order] = q.topk(width);
      top_ids[r].copy_(order);
      top_logprobs[r].copy_(values);
    }
  }
  if (args.seen.numel() > 0 && !args.seen.is_cpu()) {
    args.seen.copy_(marks);
  }
  const auto device = args.logits.hidden.device();
  return {ids.to(device), logprobs.to(device), top_ids.to(device), top_logprobs.to(device)};
}

}  // namespace paligemma::ops
