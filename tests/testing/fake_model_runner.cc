// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/fake_model_runner.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace paligemma {
namespace {

TokenId NextToken(TokenId seed, TokenId last, int index) {
  const std::uint32_t mixed =
      (static_cast<std::uint32_t>(seed) * 2654435761u) ^
      (static_cast<std::uint32_t>(last) * 40503u + static_cast<std::uint32_t>(index) * 97u);
  return static_cast<TokenId>((mixed >> 7) % 23);  // kEos is one of 23
}

}  // namespace

void Gate::Close() {
  MutexLock lock(&mutex_);
  open_ = false;
}

void Gate::Open() {
  {
    MutexLock lock(&mutex_);
    open_ = true;
  }
  changed_.NotifyAll();
}

void Gate::Pass() {
  MutexLock lock(&mutex_);
  ++visitors_;
  changed_.NotifyAll();
  while (!open_) changed_.Wait(&mutex_);
  --visitors_;
}

void Gate::AwaitVisitor() {
  MutexLock lock(&mutex_);
  while (visitors_ == 0) changed_.Wait(&mutex_);
}

std::vector<TokenId> FakeModelRunner::Alone(const std::vector<TokenId>& prompt, int max_tokens) {
  std::vector<TokenId> output;
  TokenId last = prompt.back();
  for (int i = 0; i < max_tokens; ++i) {
    last = NextToken(prompt.front(), last, i);
    output.push_back(last);
    if (last == kEos) break;
  }
  return output;
}

Status FakeModelRunner::Start(const Batch& batch) {
  EXPECT_LT(static_cast<int>(started_.size()), options_.depth);
  EXPECT_FALSE(batch.rows.empty());
  StepResult result;
  result.model = options_.step_time;
  for (const BatchRow& row : batch.rows) result.outputs.push_back(RunRow(row));
  previous_ = result.outputs;
  const bool poisoned =
      options_.is_poison && std::any_of(batch.rows.begin(), batch.rows.end(), options_.is_poison);
  if (poisoned) {
    started_.emplace_back(InternalError("poisoned"));
  } else {
    started_.emplace_back(std::move(result));
  }
  return OkStatus();
}

StatusOr<StepResult> FakeModelRunner::Finish() {
  if (options_.gate != nullptr) options_.gate->Pass();
  StatusOr<StepResult> result = std::move(started_.front());
  started_.pop_front();
  const auto failure = options_.failures.find(num_finished_++);
  if (failure != options_.failures.end()) return failure->second;
  return result;
}

StepOutput FakeModelRunner::RunRow(const BatchRow& row) {
  const Sequence& sequence = *row.sequence;
  const int prefix = sequence.num_prompt_tokens();
  const int images = sequence.num_image_tokens();
  if (row.prefill) {
    EXPECT_EQ(row.first_cached, 0);
    for (int i = 0; i < prefix; ++i) {
      SlotAt(row, i) = {sequence.id, i < images ? 0 : sequence.prompt.at(i - images)};
    }
  }
  EXPECT_EQ(row.output_index, row.first_cached + row.num_cached);
  for (int i = row.first_cached; i < row.first_cached + row.num_cached; ++i) {
    const bool ahead = row.input_row >= 0 && i + 1 == row.first_cached + row.num_cached;
    const TokenId token = ahead ? previous_.at(row.input_row).token : sequence.output.at(i);
    SlotAt(row, prefix + i) = {sequence.id, token};
  }
  const int end = prefix + row.output_index;
  for (int i = 0; i < end; ++i) {
    EXPECT_EQ(SlotAt(row, i).first, sequence.id) << "position " << i << " is another sequence's";
  }
  StepOutput output;
  output.token = NextToken(sequence.prompt.front(), SlotAt(row, end - 1).second, row.output_index);
  return output;
}

FakeModelRunner::Slot& FakeModelRunner::SlotAt(const BatchRow& row, int position) {
  const int size = options_.block_size;
  return slots_[row.block_table.at(position / size) * size + position % size];
}

}  // namespace paligemma
