// SPDX-License-Identifier: Apache-2.0
#include "server/api/answer_writer.h"

#include <algorithm>
#include <numeric>

#include "core/vision/mask_renderer.h"

namespace paligemma {
namespace {

v1::FinishReason ToProto(FinishReason finish) {
  switch (finish) {
    case FinishReason::kStop:
      return v1::FINISH_REASON_STOP;
    case FinishReason::kMaxTokens:
      return v1::FINISH_REASON_MAX_TOKENS;
    case FinishReason::kTimeBudget:
      return v1::FINISH_REASON_TIME_BUDGET;
    case FinishReason::kMaxObjects:
      return v1::FINISH_REASON_MAX_OBJECTS;
    case FinishReason::kNone:
      break;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

void SetDuration(Duration duration, google::protobuf::Duration* out) {
  const auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
  out->set_seconds(nanos / 1'000'000'000);
  out->set_nanos(static_cast<int>(nanos % 1'000'000'000));
}

void FillUsage(const RequestUsage& usage, v1::Usage* out) {
  out->set_image_count(usage.num_images);
  out->set_image_token_count(usage.image_tokens);
  out->set_cached_image_token_count(usage.cached_image_tokens);
  out->set_prompt_token_count(usage.prompt_tokens);
  out->set_cached_prompt_token_count(usage.cached_prompt_tokens);
  out->set_output_token_count(usage.output_tokens);
}

// Returns the candidates, the most probable first; without log-probabilities, as they were drawn.
std::vector<const Candidate*> BestFirst(const Answer& result) {
  std::vector<const Candidate*> order;
  for (const Candidate& candidate : result.candidates) order.push_back(&candidate);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto* a, const auto* b) { return a->sum_logprob > b->sum_logprob; });
  return order;
}

// Returns why the whole request ended: the first reason of its candidates that is not STOP.
FinishReason OverallFinish(const Answer& result) {
  for (const Candidate& candidate : result.candidates) {
    if (candidate.finish != FinishReason::kStop) return candidate.finish;
  }
  return result.candidates.empty() ? FinishReason::kNone : FinishReason::kStop;
}

void FillBox(const Box& box, v1::NormalizedBox* out) {
  out->set_x_min(box.x_min);
  out->set_y_min(box.y_min);
  out->set_x_max(box.x_max);
  out->set_y_max(box.y_max);
}

void FillBox(const PixelBox& box, v1::PixelBox* out) {
  out->set_x_min(box.x_min);
  out->set_y_min(box.y_min);
  out->set_x_max(box.x_max);
  out->set_y_max(box.y_max);
}

void FillMask(const ObjectMask& mask, v1::Mask* out) {
  const RenderedMask& rendered = mask.rendered;
  FillBox(rendered.region, out->mutable_region());
  if (mask.encoding != MaskEncoding::kCodes) {
    out->set_area_pixel_count(static_cast<int>(rendered.num_pixels));
  }
  switch (mask.encoding) {
    case MaskEncoding::kNone:
      break;
    case MaskEncoding::kPng:
      out->set_png(rendered.png);
      break;
    case MaskEncoding::kRle:
      out->mutable_rle()->add_size(rendered.region.y_max - rendered.region.y_min);
      out->mutable_rle()->add_size(rendered.region.x_max - rendered.region.x_min);
      out->mutable_rle()->set_counts(rendered.rle_counts);
      break;
    case MaskEncoding::kPolygon:
      out->mutable_polygon();
      for (const std::vector<float>& ring : rendered.rings) {
        out->mutable_polygon()->add_rings()->mutable_coordinates()->Add(ring.begin(), ring.end());
      }
      break;
    case MaskEncoding::kSoft:
      out->mutable_soft()->set_width(kMaskSide);
      out->mutable_soft()->set_height(kMaskSide);
      out->mutable_soft()->set_probabilities(rendered.soft);
      break;
    case MaskEncoding::kCodes:
      out->mutable_codes()->mutable_indices()->Add(mask.codes.begin(), mask.codes.end());
      break;
  }
}

Status NoCandidates() { return InternalError("the engine returned no sequence"); }

}  // namespace

void FillObject(const Object& object, v1::DetectedObject* out) {
  out->set_label(object.label);
  FillBox(object.box, out->mutable_normalized_box());
  FillBox(object.pixel_box, out->mutable_pixel_box());
  if (object.box_score.has_value()) out->set_box_score(*object.box_score);
  if (object.label_score.has_value()) out->set_label_score(*object.label_score);
  if (object.score.has_value()) out->set_score(*object.score);
  if (object.label_index.has_value()) out->set_label_index(*object.label_index);
  if (object.mask != nullptr) FillMask(*object.mask, out->mutable_mask());
}

void FillTiming(const RequestTiming& timing, v1::Timing* out) {
  SetDuration(timing.queue, out->mutable_queue_duration());
  SetDuration(timing.preprocess, out->mutable_preprocess_duration());
  SetDuration(timing.vision, out->mutable_vision_duration());
  SetDuration(timing.prefill, out->mutable_prefill_duration());
  SetDuration(timing.decode, out->mutable_decode_duration());
  SetDuration(timing.postprocess, out->mutable_postprocess_duration());
  SetDuration(timing.first_token, out->mutable_first_token_duration());
  SetDuration(timing.total, out->mutable_total_duration());
}

v1::GenerationInfo* InfoOf(v1::TaskResponse* response) {
  switch (response->result_case()) {
    case v1::TaskResponse::kCaption:
      return InfoOf(response->mutable_caption());
    case v1::TaskResponse::kAnswer:
      return InfoOf(response->mutable_answer());
    case v1::TaskResponse::kSegment:
      return InfoOf(response->mutable_segment());
    case v1::TaskResponse::kDetect:
      return InfoOf(response->mutable_detect());
    case v1::TaskResponse::kReadText:
      return InfoOf(response->mutable_read_text());
    case v1::TaskResponse::kGenerate:
    case v1::TaskResponse::RESULT_NOT_SET:
      break;
  }
  return InfoOf(response->mutable_generate());
}

void AnswerWriter::AddLogprobs(const std::vector<TokenLogprob>& logprobs,
                               google::protobuf::RepeatedPtrField<v1::TokenLogprob>* out) const {
  const auto bytes = [this](TokenId token) {
    return options_.token_bytes ? std::string(options_.token_bytes(token)) : std::string();
  };
  for (const TokenLogprob& token : logprobs) {
    v1::TokenLogprob* const entry = out->Add();
    entry->set_token_id(token.token);
    entry->set_token(bytes(token.token));
    entry->set_logprob(token.logprob);
    for (const TokenAlternative& other : token.alternatives) {
      v1::TokenAlternative* const alternative = entry->add_alternatives();
      alternative->set_token_id(other.token);
      alternative->set_token(bytes(other.token));
      alternative->set_logprob(other.logprob);
    }
  }
}

void AnswerWriter::FillCandidate(const ResponseContext& context, const Candidate& candidate,
                                 v1::Candidate* out) const {
  out->set_text(candidate.text);
  out->set_finish_reason(ToProto(candidate.finish));
  out->set_token_count(candidate.num_generated);
  out->set_matched_stop_sequence(candidate.matched_stop);
  if (!candidate.logprobs.empty()) out->set_sum_logprob(candidate.sum_logprob);
  if (!context.options.logprobs_asked) return;
  out->set_sum_logprob(candidate.sum_logprob);
  out->mutable_token_ids()->Add(candidate.tokens.begin(), candidate.tokens.end());
  AddLogprobs(candidate.logprobs, out->mutable_logprobs());
}

void AnswerWriter::FillInfo(const ResponseContext& context, const Answer& result,
                            const Candidate& best, v1::GenerationInfo* info) const {
  info->set_request_id(context.request_id);
  info->set_model(options_.model_name);
  info->set_model_revision(options_.manifest->revision);
  const bool one_prompt = !context.separate_labels;
  info->set_finish_reason(ToProto(one_prompt ? best.finish : OverallFinish(result)));
  FillUsage(result.usage, info->mutable_usage());
  FillTiming(result.timing, info->mutable_timing());
  if (context.sampled) info->set_seed(static_cast<int>(result.seed));
  if (one_prompt) {
    info->set_raw_text(best.text);
    if (!result.prompts.empty()) info->set_prompt(result.prompts.front());
    if (context.options.logprobs_asked) AddLogprobs(best.logprobs, info->mutable_logprobs());
  } else {
    for (const Candidate& candidate : result.candidates) {
      if (!info->raw_text().empty()) info->mutable_raw_text()->append("\n");
      info->mutable_raw_text()->append(candidate.text);
      if (context.options.logprobs_asked) AddLogprobs(candidate.logprobs, info->mutable_logprobs());
    }
    for (const std::string& prompt : result.prompts) {
      if (!info->prompt().empty()) info->mutable_prompt()->append("\n");
      info->mutable_prompt()->append(prompt);
    }
  }
  for (const ImageInfo& image : result.images) {
    v1::ImageInfo* const out = info->add_images();
    out->set_width(image.width);
    out->set_height(image.height);
    out->set_exif_orientation(image.exif_orientation);
    out->set_mime_type(image.mime_type);
  }
}

template <typename Response>
Status AnswerWriter::WriteText(const ResponseContext& context, const Answer& result,
                               std::string* text, Response* response) const {
  const auto order = BestFirst(result);
  if (order.empty()) return NoCandidates();
  *text = order.front()->text;
  if (order.size() > 1 || context.options.logprobs_asked) {
    for (const Candidate* candidate : order) {
      FillCandidate(context, *candidate, response->add_candidates());
    }
  }
  FillInfo(context, result, *order.front(), response->mutable_info());
  return OkStatus();
}

Status AnswerWriter::Write(const ResponseContext& context, Answer result,
                           v1::CaptionResponse* response) const {
  return WriteText(context, result, response->mutable_caption(), response);
}

Status AnswerWriter::Write(const ResponseContext& context, Answer result,
                           v1::AnswerResponse* response) const {
  return WriteText(context, result, response->mutable_answer(), response);
}

Status AnswerWriter::Write(const ResponseContext& context, Answer result,
                           v1::GenerateResponse* response) const {
  const auto order = BestFirst(result);
  if (order.empty()) return NoCandidates();
  for (const Candidate* candidate : order) {
    v1::Candidate* const out = response->add_candidates();
    FillCandidate(context, *candidate, out);
    for (const Object& object : candidate->objects) {
      FillObject(object, out->add_objects());
    }
  }
  FillInfo(context, result, *order.front(), response->mutable_info());
  return OkStatus();
}

Status AnswerWriter::Write(const ResponseContext& context, Answer result,
                           v1::ReadTextResponse* response) const {
  if (result.candidates.empty()) return NoCandidates();
  const Candidate& best = result.candidates.front();
  std::string text;
  for (const Object& object : best.objects) {
    v1::TextRegion* const region = response->add_regions();
    if (!text.empty()) text += "\n";
    text += object.label;
    region->set_text(object.label);
    FillBox(object.box, region->mutable_normalized_box());
    FillBox(object.pixel_box, region->mutable_pixel_box());
    if (object.score.has_value()) region->set_score(*object.score);
  }
  response->set_text(response->regions().empty() ? best.text : text);
  FillInfo(context, result, best, response->mutable_info());
  return OkStatus();
}

Status AnswerWriter::Write(const ResponseContext& context, Answer result,
                           v1::DetectResponse* response) const {
  return WriteObjects(context, result, response);
}

Status AnswerWriter::Write(const ResponseContext& context, Answer result,
                           v1::SegmentResponse* response) const {
  return WriteObjects(context, result, response);
}

Status AnswerWriter::Write(const ResponseContext& context, Answer result,
                           v1::TaskResponse* response) const {
  switch (context.task) {
    case Task::kCaption:
      return Write(context, std::move(result), response->mutable_caption());
    case Task::kAnswer:
      return Write(context, std::move(result), response->mutable_answer());
    case Task::kDetect:
      return Write(context, std::move(result), response->mutable_detect());
    case Task::kSegment:
      return Write(context, std::move(result), response->mutable_segment());
    case Task::kRead:
      return Write(context, std::move(result), response->mutable_read_text());
    case Task::kGenerate:
      break;
  }
  return Write(context, std::move(result), response->mutable_generate());
}

template <typename Response>
Status AnswerWriter::WriteObjects(const ResponseContext& context, const Answer& result,
                                  Response* response) const {
  if (result.candidates.empty()) return NoCandidates();
  std::vector<bool> found(context.labels.size(), false);
  int num_dropped = 0;
  bool complete = true;
  for (const Candidate& candidate : result.candidates) {
    num_dropped += candidate.num_dropped_objects;
    complete = complete && candidate.finish == FinishReason::kStop;
    for (const Object& object : candidate.objects) {
      if (object.label_index) found[static_cast<std::size_t>(*object.label_index)] = true;
      FillObject(object, response->add_objects());
    }
  }
  response->set_dropped_object_count(num_dropped);
  for (size_t i = 0; complete && i < found.size(); ++i) {
    if (!found[i]) response->add_absent_label_indexes(static_cast<int>(i));
  }
  FillInfo(context, result, result.candidates.front(), response->mutable_info());
  return OkStatus();
}

}  // namespace paligemma
