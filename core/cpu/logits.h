// SPDX-License-Identifier: Apache-2.0
// The largest logit of each row without a matrix of logits: a panel's products are looked at while
// they are in the nearest cache. A row's result depends neither on the other rows nor on the number
// of threads.
#ifndef CORE_CPU_LOGITS_H_
#define CORE_CPU_LOGITS_H_

#include <cstdint>
#include <vector>

#include "core/cpu/context.h"
#include "core/cpu/packed_matrix.h"
#include "core/cpu/product.h"

namespace paligemma::cpu {

struct LargestLogit {
  std::int64_t id = -1;       // the lowest of equals; -1: one of the row's logits is NaN
  float log_probability = 0;  // of the softmax over all; 0 unless asked for
};

// The logits of a row are the first `vocab` values of its product with the table, soft-capped if
// softcap > 0.
// REQUIRES: x is of the table's encoding and inputs; 0 < vocab <= table.outputs.
std::vector<LargestLogit> FindLargestLogits(const Context& context, const Activations& x,
                                            const PackedMatrix& table, std::int64_t vocab,
                                            float softcap, bool with_log_probabilities);

}  // namespace paligemma::cpu

#endif  // CORE_CPU_LOGITS_H_
