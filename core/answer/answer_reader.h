// SPDX-License-Identifier: Apache-2.0
// Turns the tokens of one sequence into its answer while they come: text in whole characters
// without any part of a stop sequence, and objects. Each token is read once.
//
// An event holds a token together with the first byte of its text, so that tokens and text of an
// answer end together. A token without text is in the first event that holds nothing back.
#ifndef CORE_ANSWER_ANSWER_READER_H_
#define CORE_ANSWER_ANSWER_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/answer/object_reader.h"
#include "core/answer/vocabulary.h"
#include "core/base/utf8.h"
#include "core/request/answer.h"
#include "core/request/request.h"
#include "core/text/stop_matcher.h"

namespace paligemma {

// What one token added to the answer.
struct AnswerEvent {
  std::string text;                  // whole UTF-8 characters, never part of a stop sequence
  std::vector<TokenLogprob> tokens;  // those that `text` begins with
  std::vector<Object> objects;       // complete; masks are not rendered yet
  // kStop: a stop sequence matched. kMaxObjects: the last wanted object is complete. The answer
  // ends here; nothing may follow.
  FinishReason finish = FinishReason::kNone;
  std::string matched_stop;
};

// One per sequence; not thread safe.
class AnswerReader {
 public:
  // Copies the parts of `request` that it needs. `vocabulary` must outlive the reader. Boxes lie in
  // the picture `image`, whose size is 0 if there is no picture.
  AnswerReader(const Vocabulary* vocabulary, const Request& request, const ImageInfo& image);

  // REQUIRES: no earlier event had a finish reason; not EOS.
  AnswerEvent Append(TokenLogprob token);
  // Ends the answer for a reason that the engine found, and returns what was held back. The
  // beginning of a stop sequence becomes text, and a broken character becomes U+FFFD. The event's
  // `finish` is kStop if a stop sequence matched after all. REQUIRES: as Append().
  AnswerEvent Finish(FinishReason reason);

  // Returns how many objects were left out: malformed, cut off, repeated, or below the least score.
  int num_dropped_objects() const { return objects_.has_value() ? objects_->num_dropped() : 0; }

 private:
  struct HeldToken {
    TokenLogprob token;
    std::int64_t start = 0;  // offset of its text in the answer, in bytes
  };

  // Adds new text to the event, and the tokens whose text is no longer held back.
  void Show(std::string text, bool all_shown, AnswerEvent* event);
  void FinishObjects(FinishReason reason, AnswerEvent* event);

  const Vocabulary* const vocabulary_;
  const int max_objects_;  // 0: no limit
  Utf8Assembler characters_;
  StopMatcher stops_;
  std::optional<ObjectReader> objects_;
  std::vector<HeldToken> held_;                   // their text is held back
  std::int64_t num_decoded_ = 0, num_shown_ = 0;  // bytes
};

}  // namespace paligemma

#endif  // CORE_ANSWER_ANSWER_READER_H_
