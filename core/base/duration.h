// SPDX-License-Identifier: Apache-2.0
// Durations as people write them in flags and configuration.
#ifndef CORE_BASE_DURATION_H_
#define CORE_BASE_DURATION_H_

#include <chrono>
#include <string>
#include <string_view>

#include "core/base/status.h"

namespace paligemma {

using Millis = std::chrono::milliseconds;

// Reads "500ms", "2s", "1.5s", "5m", "1h" or "0". Returns an error above one year.
StatusOr<Millis> ParseDuration(std::string_view text);
std::string FormatDuration(Millis duration);

}  // namespace paligemma

#endif  // CORE_BASE_DURATION_H_
