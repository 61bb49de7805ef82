// SPDX-License-Identifier: Apache-2.0
// Looks for stop sequences in text that comes in pieces. It holds back text that may still become a
// stop sequence, so that no part of one is ever sent. The match that is complete first wins; among
// matches that end at the same byte, the longest wins. The result does not depend on how the text
// is cut into pieces. Each sequence has its own matcher. Not thread safe.
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

  // Returns the text that is safe to send; after a match always an empty string.
  std::string Append(std::string_view text);
  // Ends the text and returns what was held back; after a match an empty string.
  std::string Flush();

  // Returns the stop sequence that was found.
  const std::optional<std::string>& matched() const { return matched_; }

 private:
  // Returns the longest stop sequence that `text` ends with, or null.
  const std::string* EndsWithStop(std::string_view text) const;
  // Returns how many bytes at the end of `pending_` are the beginning of a stop sequence.
  std::size_t NumHeldBack() const;

  const std::vector<std::string> stops_;
  std::string pending_;
  std::optional<std::string> matched_;
};

}  // namespace paligemma

#endif  // CORE_TEXT_STOP_MATCHER_H_
