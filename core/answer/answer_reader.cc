// SPDX-License-Identifier: Apache-2.0
#include "core/answer/answer_reader.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace paligemma {

AnswerReader::AnswerReader(const Vocabulary* vocabulary, const Request& request,
                           const ImageInfo& image)
    : vocabulary_(vocabulary), max_objects_(request.max_objects), stops_(request.stop_sequences) {
  if (MayHoldObjects(request.task)) objects_.emplace(vocabulary->tokens, request, image);
}

AnswerEvent AnswerReader::Append(TokenLogprob token) {
  const std::string_view bytes = vocabulary_->bytes(token.token);
  held_.push_back({std::move(token), std::max(num_decoded_, num_shown_)});
  num_decoded_ += static_cast<std::int64_t>(bytes.size());
  AnswerEvent event;
  std::string text = stops_.Append(characters_.Append(bytes));
  num_shown_ += static_cast<std::int64_t>(text.size());
  const bool matched = stops_.matched().has_value();
  Show(std::move(text), /*all_shown=*/!matched && num_decoded_ <= num_shown_, &event);
  if (matched) {
    event.finish = FinishReason::kStop;
    event.matched_stop = *stops_.matched();
  } else if (max_objects_ > 0 && objects_.has_value() && objects_->num_complete() >= max_objects_) {
    event.finish = FinishReason::kMaxObjects;
  }
  if (event.finish != FinishReason::kNone) FinishObjects(event.finish, &event);
  return event;
}

AnswerEvent AnswerReader::Finish(FinishReason reason) {
  AnswerEvent event;
  std::string text = stops_.Append(characters_.Flush());
  const bool matched = stops_.matched().has_value();
  if (matched) {
    event.finish = FinishReason::kStop;
    event.matched_stop = *stops_.matched();
  } else {
    text += stops_.Flush();
  }
  num_shown_ += static_cast<std::int64_t>(text.size());
  Show(std::move(text), /*all_shown=*/!matched, &event);
  FinishObjects(matched ? FinishReason::kStop : reason, &event);
  return event;
}

void AnswerReader::Show(std::string text, bool all_shown, AnswerEvent* event) {
  event->text = std::move(text);
  auto held = held_.begin();
  for (; held != held_.end() && (all_shown || held->start < num_shown_); ++held) {
    if (objects_.has_value()) {
      std::vector<Object> found =
          objects_->Append(held->token, vocabulary_->bytes(held->token.token));
      std::move(found.begin(), found.end(), std::back_inserter(event->objects));
    }
    event->tokens.push_back(std::move(held->token));
  }
  held_.erase(held_.begin(), held);
}

void AnswerReader::FinishObjects(FinishReason reason, AnswerEvent* event) {
  if (!objects_.has_value()) return;
  std::vector<Object> found = objects_->Finish(/*cut=*/reason != FinishReason::kStop);
  std::move(found.begin(), found.end(), std::back_inserter(event->objects));
}

}  // namespace paligemma
