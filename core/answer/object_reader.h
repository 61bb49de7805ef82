// SPDX-License-Identifier: Apache-2.0
// Turns tokens into objects while they come: boxes, scores, label indexes and the codes of masks.
// Returns each object once. mask_maker.h renders the masks.
#ifndef CORE_ANSWER_OBJECT_READER_H_
#define CORE_ANSWER_OBJECT_READER_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/answer/vocabulary.h"
#include "core/request/answer.h"
#include "core/request/request.h"
#include "core/text/region_parser.h"

namespace paligemma {

// Returns true if the task's answer may hold objects.
bool MayHoldObjects(Task task);

// One per sequence; not thread safe.
class ObjectReader {
 public:
  // Copies the parts of `request` that it needs. The boxes lie in the picture `image`.
  ObjectReader(const TokenSpec& tokens, const Request& request, const ImageInfo& image);

  // Returns the objects that the token completed. `bytes` is what the token stands for. EOS is not
  // appended.
  std::vector<Object> Append(const TokenLogprob& token, std::string_view bytes);
  // Ends the output and returns its last object. `cut` says that neither EOS nor a stop sequence
  // ended the output; an open object is dropped then. REQUIRES: called once and last.
  std::vector<Object> Finish(bool cut);

  // Returns how many objects are complete, including those below the least score.
  int num_complete() const { return static_cast<int>(parser_.objects().size()); }
  // Returns how many objects were malformed, cut off, repeated, or below the least score.
  int num_dropped() const { return parser_.num_dropped() + num_low_; }

 private:
  std::vector<Object> TakeNew();
  Object Make(const ParsedObject& parsed) const;
  // Returns the mean probability of the tokens in [begin, end) and [more_begin, more_end).
  std::optional<float> Score(int begin, int end, int more_begin, int more_end) const;

  const ImageInfo image_;
  const std::vector<std::string> folded_labels_;
  const std::optional<float> min_score_;
  const bool has_logprobs_;
  const MaskEncoding encoding_;  // kNone: no masks
  RegionParser parser_;
  std::vector<float> logprobs_;  // of all tokens, with log-probabilities
  std::size_t num_taken_ = 0;    // of parser_.objects()
  int num_low_ = 0;
};

}  // namespace paligemma

#endif  // CORE_ANSWER_OBJECT_READER_H_
