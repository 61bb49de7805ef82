// SPDX-License-Identifier: Apache-2.0
// The limits within which the scheduler plans. Values.
#ifndef CORE_SCHED_SCHEDULER_OPTIONS_H_
#define CORE_SCHED_SCHEDULER_OPTIONS_H_

#include <chrono>

#include "core/base/clock.h"

namespace paligemma {

struct SchedulerOptions {
  int max_running = 64;         // sequences that hold KV blocks
  int max_batch_tokens = 8192;  // query tokens of a prefill step; a longer prompt runs alone
  int max_vision_batch = 8;     // images of a prefill step; a sequence with more runs alone
  // The longest time that an idle engine waits for more images to fill a vision batch.
  std::chrono::milliseconds max_batch_delay{5};
  // The time of waiting that one level of priority is worth.
  Duration ageing = std::chrono::seconds(5);
};

}  // namespace paligemma

#endif  // CORE_SCHED_SCHEDULER_OPTIONS_H_
