// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/logits.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/check.h"
#include "core/cpu/aligned_buffer.h"
#include "core/cpu/kernels.h"

namespace paligemma::cpu {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kPanelsInARow = 8;

// What one panel says of one row.
struct Part {
  float largest = kNone;  // NaN if one of the logits is
  float sum = 0;          // of exp(logit - largest)
  std::int32_t id = 0;  // of the largest; set only if no panel of the same task has as large a one
};

LargestLogit Combine(const Part* parts, std::int64_t num_panels, std::int64_t stride,
                     bool with_log_probabilities) {
  const Part* best = parts;
  for (std::int64_t panel = 0; panel < num_panels; ++panel) {
    const Part& part = parts[panel * stride];
    if (std::isnan(part.largest)) {
      return {};
    }
    best = part.largest > best->largest ? &part : best;
  }
  LargestLogit result{best->id, 0};
  if (with_log_probabilities) {
    double sum = 0;
    for (std::int64_t panel = 0; panel < num_panels; ++panel) {
      const Part& part = parts[panel * stride];
      sum += part.sum * std::exp(static_cast<double>(part.largest) - best->largest);
    }
    result.log_probability = static_cast<float>(-std::log(sum));
  }
  return result;
}

}  // namespace

std::vector<LargestLogit> FindLargestLogits(const Context& context, const Activations& x,
                                            const PackedMatrix& table, std::int64_t vocab,
                                            float softcap, bool with_log_probabilities) {
  PG_CHECK(0 < vocab && vocab <= table.outputs) << vocab << " of " << table.outputs << " outputs";
  const Kernels& kernels = KernelsFor(context.isa);
  const std::int64_t num_rows = x.num_rows(), num_panels = NumPanels(vocab);
  std::vector<Part> parts(num_panels * num_rows);
  const std::int64_t tasks = (num_panels + kPanelsInARow - 1) / kPanelsInARow;
  context.Run(static_cast<int>(tasks), [&](int task) {
    AlignedBuffer<float> logits(num_rows * kPanel);
    std::vector<float> best(num_rows, kNone);
    const std::int64_t end = std::min(num_panels, (task + 1) * kPanelsInARow);
    for (std::int64_t panel = task * kPanelsInARow; panel < end; ++panel) {
      MultiplyPanel(context, x, table, panel, logits.data(), kPanel);
      const auto count = static_cast<int>(std::min(kPanel, vocab - panel * kPanel));
      for (std::int64_t row = 0; row < num_rows; ++row) {
        float* own = logits.data() + row * kPanel;
        if (softcap > 0) {
          kernels.softcap(count, softcap, own);
        }
        Part& part = parts[panel * num_rows + row];
        part.largest = kernels.largest(own, count);
        if (part.largest > best[row]) {
          best[row] = part.largest;
          const auto place = std::find(own, own + count, part.largest) - own;
          part.id = static_cast<std::int32_t>(panel * kPanel + place);
        }
        part.sum = with_log_probabilities ? kernels.sum_of_exp(own, count, part.largest) : 0;
      }
    }
  });
  std::vector<LargestLogit> results(num_rows);
  context.Run(static_cast<int>(num_rows), [&](int row) {
    results[row] = Combine(parts.data() + row, num_panels, num_rows, with_log_probabilities);
  });
  return results;
}

}  // namespace paligemma::cpu
