// SPDX-License-Identifier: Apache-2.0
// Turns a Batch into the integers that the decoder takes: pure arithmetic, no tensors.
#ifndef CORE_MODEL_STEP_INPUTS_H_
#define CORE_MODEL_STEP_INPUTS_H_

#include <cstdint>
#include <vector>

#include "core/request/batch.h"

namespace paligemma {

// T query rows = the prompts of the prefill rows one after the other, then the D cached rows of all
// batch rows in batch order; S prompts; one kept row per batch row.
struct StepInputs {
  std::vector<std::int32_t> ids;              // [T]; < 0: row -(id + 1) of the image rows
  std::vector<std::int32_t> positions;        // [T]
  std::vector<std::int32_t> slots;            // [T]: block * block_size + offset
  std::vector<std::int32_t> prefill_start;    // [S+1]
  std::vector<std::int64_t> prefill_lengths;  // [S]
  std::vector<std::int32_t> block_table;      // [D, table_width]
  std::vector<std::int32_t> context;          // [D]: keys that the row sees, itself included
  std::vector<std::int32_t> rows;             // [batch rows]: which of the T rows is sampled from
  int table_width = 0;
};

// `first_image_rows[i]` holds, for each image of prefill row i, its first row in the image rows.
// `previous_tokens`: what the step before this one sampled, for BatchRow::input_row.
// REQUIRES: block tables that cover every position.
StepInputs BuildStepInputs(const Batch& batch,
                           const std::vector<std::vector<std::int32_t>>& first_image_rows,
                           const std::vector<TokenId>& previous_tokens, int block_size);

// The token that cached row `index` (of BatchRow::num_cached) feeds.
TokenId CachedToken(const BatchRow& row, int index, const std::vector<TokenId>& previous_tokens);

}  // namespace paligemma

#endif  // CORE_MODEL_STEP_INPUTS_H_
