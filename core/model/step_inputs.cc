// SPDX-License-Identifier: Apache-2.0
#include "core/model/step_inputs.h"

#include <algorithm>

namespace paligemma {
namespace {

class Builder {
 public:
  Builder(const std::vector<TokenId>& previous_tokens, int block_size)
      : previous_tokens_(previous_tokens), block_size_(block_size) {
    inputs_.prefill_start.push_back(0);
  }

  void AddPrompt(const BatchRow& row, const std::vector<std::int32_t>& first_image_rows) {
    const Sequence& sequence = *row.sequence;
    int position = 0;
    for (const std::int32_t first : first_image_rows) {
      for (int i = 0; i < sequence.tokens_per_image; ++i) {
        AddRow(row, -(first + i + 1), position++);
      }
    }
    for (const TokenId token : sequence.prompt) {
      AddRow(row, token, position++);
    }
    inputs_.prefill_start.push_back(static_cast<std::int32_t>(inputs_.ids.size()));
    inputs_.prefill_lengths.push_back(position);
  }

  void AddCached(const BatchRow& row) {
    const int first = row.sequence->num_prompt_tokens() + row.first_cached;
    for (int i = 0; i < row.num_cached; ++i) {
      AddRow(row, CachedToken(row, i, previous_tokens_), first + i);
      inputs_.context.push_back(first + i + 1);
      tables_.push_back(&row.block_table);
    }
  }

  void KeepLastRow() { inputs_.rows.push_back(static_cast<std::int32_t>(inputs_.ids.size()) - 1); }
  void KeepRow(std::int32_t row) { inputs_.rows.push_back(row); }
  std::int32_t prompt_end(std::size_t prompt) const { return inputs_.prefill_start[prompt + 1]; }

  StepInputs Finish() {
    for (const auto* table : tables_) {
      inputs_.table_width = std::max(inputs_.table_width, static_cast<int>(table->size()));
    }
    for (const auto* table : tables_) {
      inputs_.block_table.insert(inputs_.block_table.end(), table->begin(), table->end());
      inputs_.block_table.resize(inputs_.block_table.size() + inputs_.table_width - table->size());
    }
    return std::move(inputs_);
  }

 private:
  void AddRow(const BatchRow& row, std::int32_t id, int position) {
    const std::size_t block = position / block_size_;
    PG_CHECK(block < row.block_table.size()) << "position " << position << " has no block";
    inputs_.ids.push_back(id);
    inputs_.positions.push_back(position);
    inputs_.slots.push_back(row.block_table[block] * block_size_ + position % block_size_);
  }

  const std::vector<TokenId>& previous_tokens_;
  const int block_size_;
  StepInputs inputs_;
  std::vector<const std::vector<BlockId>*> tables_;  // one per cached row
};

}  // namespace

TokenId CachedToken(const BatchRow& row, int index, const std::vector<TokenId>& previous_tokens) {
  if (row.input_row >= 0 && index == row.num_cached - 1) {
    return previous_tokens.at(row.input_row);
  }
  return row.sequence->output.at(row.first_cached + index);
}

StepInputs BuildStepInputs(const Batch& batch,
                           const std::vector<std::vector<std::int32_t>>& first_image_rows,
                           const std::vector<TokenId>& previous_tokens, int block_size) {
  Builder builder(previous_tokens, block_size);
  for (std::size_t i = 0; i < batch.rows.size(); ++i) {
    if (batch.rows[i].prefill) {
      builder.AddPrompt(batch.rows[i], first_image_rows.at(i));
    }
  }
  std::size_t prompt = 0;
  for (const BatchRow& row : batch.rows) {
    const bool has_cached = row.num_cached > 0;
    PG_CHECK(row.prefill || has_cached) << "a row of a batch that runs nothing";
    builder.AddCached(row);
    if (has_cached) {
      builder.KeepLastRow();
    } else {
      builder.KeepRow(builder.prompt_end(prompt) - 1);
    }
    prompt += row.prefill ? 1 : 0;
  }
  return builder.Finish();
}

}  // namespace paligemma
