// SPDX-License-Identifier: Apache-2.0
// From a prepared request to its sequences, one for each prompt and candidate, and to what delivery
// needs to put their answers together.
#ifndef CORE_ENGINE_SEQUENCE_FACTORY_H_
#define CORE_ENGINE_SEQUENCE_FACTORY_H_

#include <atomic>
#include <memory>
#include <vector>

#include "core/answer/vocabulary.h"
#include "core/engine/delivery.h"
#include "core/engine/preprocessor.h"
#include "core/request/request.h"
#include "core/request/sequence.h"

namespace paligemma {

struct PreparedSequences {
  std::vector<std::unique_ptr<Sequence>> sequences;  // by prompt, then by candidate
  DeliveryRequest delivery;                          // without id, sink and cancellation
};

// Draws a seed when the request names none. Each sequence's own seed depends on the request's and
// on its place; the first one's is the request's. `vocabulary` outlives what is made. `next_id`
// gives out sequence ids. Thread safe.
PreparedSequences MakeSequences(const Request& request, PreparedRequest prepared,
                                const Vocabulary& vocabulary, std::atomic<SequenceId>* next_id);

}  // namespace paligemma

#endif  // CORE_ENGINE_SEQUENCE_FACTORY_H_
