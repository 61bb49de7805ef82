// SPDX-License-Identifier: Apache-2.0
#include "core/answer/object_reader.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace paligemma {
namespace {

// Returns the label trimmed, its ASCII letters in lower case.
std::string Folded(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return "";
  std::string folded(text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1));
  for (char& c : folded) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return folded;
}

std::vector<std::string> FoldedAll(const std::vector<std::string>& labels) {
  std::vector<std::string> folded;
  for (const std::string& label : labels) folded.push_back(Folded(label));
  return folded;
}

bool MayHaveMasks(Task task) {
  switch (task) {
    case Task::kSegment:
    case Task::kGenerate:
      return true;
    case Task::kCaption:
    case Task::kAnswer:
    case Task::kDetect:
    case Task::kRead:
      break;
  }
  return false;
}

}  // namespace

bool MayHoldObjects(Task task) {
  switch (task) {
    case Task::kDetect:
    case Task::kSegment:
    case Task::kRead:
    case Task::kGenerate:
      return true;
    case Task::kCaption:
    case Task::kAnswer:
      break;
  }
  return false;
}

ObjectReader::ObjectReader(const TokenSpec& tokens, const Request& request, const ImageInfo& image)
    : image_(image),
      folded_labels_(FoldedAll(request.labels)),
      min_score_(request.min_score),
      has_logprobs_(LogprobsOf(request) >= 0),
      encoding_(MayHaveMasks(ObjectTaskOf(request)) ? request.mask.encoding : MaskEncoding::kNone),
      parser_(tokens, {.require_codes = TraitsOf(ObjectTaskOf(request)).has_masks}) {}

std::vector<Object> ObjectReader::Append(const TokenLogprob& token, std::string_view bytes) {
  if (has_logprobs_) logprobs_.push_back(token.logprob);
  parser_.Append(token.token, bytes);
  return TakeNew();
}

std::vector<Object> ObjectReader::Finish(bool cut) {
  parser_.Finish(cut);
  return TakeNew();
}

std::vector<Object> ObjectReader::TakeNew() {
  std::vector<Object> objects;
  for (; num_taken_ < parser_.objects().size(); ++num_taken_) {
    Object object = Make(parser_.objects()[num_taken_]);
    if (min_score_.has_value() && object.score.value_or(0) < *min_score_) {
      ++num_low_;
    } else {
      objects.push_back(std::move(object));
    }
  }
  return objects;
}

Object ObjectReader::Make(const ParsedObject& parsed) const {
  Object object;
  object.label = parsed.label;
  object.box = NormalizedBox(parsed.bins);
  object.pixel_box = ToPixelBox(parsed.bins, image_.width, image_.height);
  const int box_begin = parsed.locations_begin, box_end = parsed.locations_end;
  object.box_score = Score(box_begin, box_end, 0, 0);
  object.label_score = Score(parsed.label_begin, parsed.label_end, 0, 0);
  object.score = Score(box_begin, box_end, parsed.label_begin, parsed.label_end);
  const auto label = std::find(folded_labels_.begin(), folded_labels_.end(), Folded(parsed.label));
  if (label != folded_labels_.end()) {
    object.label_index = static_cast<int>(label - folded_labels_.begin());
  }
  if (encoding_ != MaskEncoding::kNone && parsed.codes.has_value()) {
    object.mask = std::make_shared<ObjectMask>();
    object.mask->encoding = encoding_;
    object.mask->codes = *parsed.codes;
  }
  return object;
}

std::optional<float> ObjectReader::Score(int begin, int end, int more_begin, int more_end) const {
  double sum = 0;
  int count = 0;
  const auto add = [&](int first, int last) {
    for (int i = first; i < std::min(last, static_cast<int>(logprobs_.size())); ++i) {
      sum += logprobs_[static_cast<std::size_t>(i)];
      ++count;
    }
  };
  add(begin, end);
  add(more_begin, more_end);
  if (count == 0) return std::nullopt;
  return static_cast<float>(std::exp(sum / count));
}

}  // namespace paligemma
