// SPDX-License-Identifier: Apache-2.0
// Makes the sequences of a prepared request, one for each prompt and candidate, and what delivery
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

// Draws a seed if the request names none. The first sequence has the seed of the request; the seeds
// of the others depend on it and on their places. `vocabulary` must outlive the sequences and the
// delivery. `next_id` holds the next free sequence id. Thread safe.
PreparedSequences MakeSequences(const Request& request, PreparedRequest prepared,
                                const Vocabulary& vocabulary, std::atomic<SequenceId>* next_id);

}  // namespace paligemma

#endif  // CORE_ENGINE_SEQUENCE_FACTORY_H_
