// SPDX-License-Identifier: Apache-2.0
// Looks for stop sequences in text that comes in pieces, and holds back whatever may still become
// one, so that no part of a stop sequence ever leaves. The match that is complete first wins; of
// those complete at the same byte, the longest. The result does not depend on how the text is cut.
// One per sequence; not thread safe.
#ifndef CORE_TEXT_STOP_MATCHER_H_
#define CORE_TEXT_STOP_MATCHER_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace paligemma {

class StopMatcher {
 public:
  // Empty stop sequences are ignored.
  explicit StopMatcher(std::vector<std::string> stops);

  // Returns text that is safe to send. After a match: nothing, whatever comes.
  std::string Append(std::string_view text);
  // Ends the text: returns what was held back. After a match: nothing.
  std::string Flush();

  // The stop sequence that was found.
  const std::optional<std::string>& matched() const { return matched_; }

 private:
  // The longest stop sequence that `text` ends with; null if none.
  const std::string* EndsWithStop(std::string_view text) const;
  // Bytes at the end of `pending_` that are the beginning of a stop sequence.
  std::size_t NumHeldBack() const;

  const std::vector<std::string> stops_;
  std::string pending_;
  std::optional<std::string> matched_;
};

}  // namespace paligemma

#endif  // CORE_TEXT_STOP_MATCHER_H_
