// SPDX-License-Identifier: Apache-2.0
// One sequence's tokens to its answer while they come: text in whole characters, nothing of a stop
// sequence, and objects. Each token is read once.
//
// A token leaves with the first byte of its text, so that tokens and text of an answer end
// together; a token without text leaves when nothing is held back.
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

// What a token added.
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
  // Copies what it needs of `request`. `vocabulary` outlives the reader. `image` is the picture
  // that boxes lie in; of no size when there is none.
  AnswerReader(const Vocabulary* vocabulary, const Request& request, const ImageInfo& image);

  // REQUIRES: no earlier event had a finish reason; not EOS.
  AnswerEvent Append(TokenLogprob token);
  // Ends the answer for a reason that the engine found: returns what was held back. A stop sequence
  // that only began is text; a broken character becomes U+FFFD. The event's `finish` is kStop when
  // a stop sequence matched after all. REQUIRES: as Append().
  AnswerEvent Finish(FinishReason reason);

  // Objects that were left out: malformed, cut off, repeated, or below the least score.
  int num_dropped_objects() const { return objects_.has_value() ? objects_->num_dropped() : 0; }

 private:
  struct HeldToken {
    TokenLogprob token;
    std::int64_t start = 0;  // offset of its text in the answer, in bytes
  };

  // Takes new text in, and the tokens that it frees.
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
