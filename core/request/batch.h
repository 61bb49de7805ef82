// SPDX-License-Identifier: Apache-2.0
// The work of one step. The scheduler builds it, and the model runner only reads it.
#ifndef CORE_REQUEST_BATCH_H_
#define CORE_REQUEST_BATCH_H_

#include <cstdint>
#include <vector>

#include "core/base/types.h"
#include "core/request/request.h"
#include "core/request/sequence.h"

namespace paligemma {

// The part of one sequence in a step. It yields one sampled token, the one after its last row.
//   first prefill:       prefill, num_cached = 0
//   decode:              !prefill, num_cached = 1
//   after a preemption:  prefill, num_cached = output.size(): the prefix again, then the tokens of
//                        the sequence as cached rows, so that no mixed mask exists
struct BatchRow {
  const Sequence* sequence = nullptr;  // owned by the scheduler, valid until Commit()
  bool prefill = false;                // run the whole prefix
  // Cached rows: output[first_cached .. first_cached + num_cached), at positions prompt + index.
  int first_cached = 0;
  int num_cached = 0;
  // Look-ahead: the token of the last cached row is not known yet. It is the output row `input_row`
  // of the step that was started just before; -1 if all tokens are known.
  int input_row = -1;
  // The index of the output token that this row samples, which counts the sequence's random
  // numbers.
  int output_index = 0;
  std::vector<BlockId> block_table;  // covers the prefix and all cached rows
};

// Names a planned step in the books of scheduler and engine. Never reused; 0 names none.
using StepId = std::uint64_t;

struct Batch {
  StepId step = 0;
  std::vector<BatchRow> rows;  // prefill rows first
  int num_tokens = 0;          // query tokens, over all rows
  int num_images = 0;          // images to show the encoder, cached ones included

  bool empty() const { return rows.empty(); }
};

// The outcome of one row, in the order of Batch::rows.
struct StepOutput {
  TokenId token = 0;
  float logprob = 0;                  // with log-probabilities
  std::vector<TokenAlternative> top;  // as many as asked for
  int num_cached_images = 0;          // of a prefill row's images, those that were encoded before
  bool numeric_fault = false;  // the logits held a NaN: the sequence must end with NUMERIC_FAULT
  // What the model chose after each cached row but the last, oldest first. Empty where the runner
  // returns the choice after the last row alone, as today's runners do; verifying drafted tokens
  // needs the others.
  std::vector<TokenLogprob> earlier;
};

struct StepResult {
  std::vector<StepOutput> outputs;
  Duration vision{}, model{};  // time spent in the step
};

// The outcome of a step for one sequence. It crosses to the delivery thread, and so it holds no
// pointers.
struct StepEvent {
  SequenceId sequence = kNoSequence;
  bool has_token = false;
  StepOutput output;  // meaningful with has_token
  FinishReason finish = FinishReason::kNone;
  bool finished = false;  // the last event of this sequence
  Status status;          // why it ended, when it failed
  // On the first token: when the prefill began, and how long the encoder and the model took.
  TimePoint scheduled{};
  Duration vision{}, prefill{};
};

}  // namespace paligemma

#endif  // CORE_REQUEST_BATCH_H_
