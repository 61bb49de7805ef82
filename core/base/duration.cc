// SPDX-License-Identifier: Apache-2.0
#include "core/base/duration.h"

#include <charconv>
#include <cmath>
#include <cstdint>

namespace paligemma {
namespace {

struct Unit {
  std::string_view suffix;
  double millis;
};
constexpr Unit kUnits[] = {{"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}};
constexpr double kMaxMillis = 3.6e6 * 24 * 365;

}  // namespace

StatusOr<Millis> ParseDuration(std::string_view text) {
  std::string problem(text);
  problem.append(" is no duration: write 500ms, 2s, 5m or 1h");
  const Status bad(StatusCode::kInvalidArgument, std::move(problem));
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || !(number >= 0)) return bad;
  const std::string_view suffix(rest, static_cast<size_t>(end - rest));
  if (suffix.empty() && number == 0) return Millis(0);
  for (const Unit& unit : kUnits) {
    if (suffix != unit.suffix) continue;
    const double millis = number * unit.millis;
    if (millis > kMaxMillis) return bad;
    return Millis(std::llround(millis));
  }
  return bad;
}

std::string FormatDuration(Millis duration) {
  const auto count = duration.count();
  std::string_view suffix = "ms";
  std::int64_t scale = 1;
  for (const Unit& unit : kUnits) {
    const auto millis = static_cast<std::int64_t>(unit.millis);
    if (count % millis != 0 || (count == 0 && unit.suffix != "s")) continue;
    suffix = unit.suffix;
    scale = millis;
    if (count == 0) break;
  }
  return std::to_string(count / scale).append(suffix);
}

}  // namespace paligemma
