// SPDX-License-Identifier: Apache-2.0
#include "core/text/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace paligemma {
namespace {

std::vector<std::string> WithoutEmpty(std::vector<std::string> stops) {
  std::erase_if(stops, [](const std::string& stop) { return stop.empty(); });
  return stops;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(WithoutEmpty(std::move(stops))) {}

const std::string* StopMatcher::EndsWithStop(std::string_view text) const {
  const std::string* longest = nullptr;
  for (const std::string& stop : stops_) {
    if (text.ends_with(stop) && (longest == nullptr || stop.size() > longest->size())) {
      longest = &stop;
    }
  }
  return longest;
}

std::size_t StopMatcher::NumHeldBack() const {
  std::size_t held = 0;
  for (const std::string& stop : stops_) {
    for (std::size_t n = std::min(stop.size() - 1, pending_.size()); n > held; --n) {
      if (std::string_view(pending_).ends_with(std::string_view(stop).substr(0, n))) held = n;
    }
  }
  return held;
}

std::string StopMatcher::Append(std::string_view text) {
  if (matched_) return "";
  if (stops_.empty()) return std::string(text);
  const std::size_t old_size = pending_.size();
  pending_ += text;
  for (std::size_t end = old_size + 1; end <= pending_.size(); ++end) {
    const std::string* stop = EndsWithStop(std::string_view(pending_).substr(0, end));
    if (stop == nullptr) continue;
    matched_ = *stop;
    pending_.resize(end - stop->size());
    return std::exchange(pending_, "");
  }
  const std::size_t safe = pending_.size() - NumHeldBack();
  std::string result = pending_.substr(0, safe);
  pending_.erase(0, safe);
  return result;
}

std::string StopMatcher::Flush() { return std::exchange(pending_, ""); }

}  // namespace paligemma
