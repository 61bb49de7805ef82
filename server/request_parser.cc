// SPDX-License-Identifier: Apache-2.0
#include "server/request_parser.h"

#include "server/field_checks.h"

namespace paligemma {
namespace {

// What every request has: model, decoding, options. Image and task are the caller's.
template <typename Proto>
Status ReadCommon(const Proto& proto, Task task, bool candidates_allowed,
                  const ParserOptions& options, TimePoint now, ParsedRequest* out) {
  out->request.task = task;
  out->request.arrival = now;
  PG_RETURN_IF_ERROR(CheckModel(proto.model(), task, options));
  PG_RETURN_IF_ERROR(ReadGenerationConfig(proto.generation_config(),
                                          options.manifest->tasks.at(task), candidates_allowed,
                                          options, out));
  return ReadOptions(proto.options(), now, out);
}

Status ReadRegion(const v1::NormalizedBox& box, Request* out) {
  // Negated, so that a NaN is refused as well.
  const bool valid = box.x_min() >= 0 && box.y_min() >= 0 && box.x_max() <= 1 && box.y_max() <= 1 &&
                     box.x_min() < box.x_max() && box.y_min() < box.y_max();
  if (!valid) return InvalidField("region", "", "", "must be a box within [0, 1], min below max");
  out->region = Box{box.x_min(), box.y_min(), box.x_max(), box.y_max()};
  return OkStatus();
}

// Detect and Segment.
template <typename Proto>
Status ReadObjectTask(Proto* proto, Task task, const ParserOptions& options, TimePoint now,
                      ParsedRequest* out) {
  PG_RETURN_IF_ERROR(ReadCommon(*proto, task, /*candidates_allowed=*/false, options, now, out));
  PG_RETURN_IF_ERROR(
      ReadLabels(proto->labels(), options.manifest->limits.max_labels, &out->request));
  if (!v1::LabelMode_IsValid(proto->label_mode())) {
    return UnknownEnum("label_mode", proto->label_mode());
  }
  out->request.separate_labels = proto->label_mode() == v1::LABEL_MODE_SEPARATE;
  if (proto->max_object_count() < 0) {
    return InvalidField("max_object_count", std::to_string(proto->max_object_count()), "0",
                        "must not be negative");
  }
  out->request.max_objects = proto->max_object_count();
  if (proto->has_min_score()) {
    if (!(proto->min_score() >= 0 && proto->min_score() <= 1)) {
      return InvalidField("min_score", std::to_string(proto->min_score()), "1", "must be 0 to 1");
    }
    out->response.min_score = proto->min_score();
  }
  // Scores need them, whether or not the client wants to see them.
  if (out->request.sampling.logprobs < 0) out->request.sampling.logprobs = 0;
  return TakeImage(proto->mutable_image(), "image", options, &out->request);
}

Status ReadMaskOptions(const v1::SegmentRequest& proto, ResponseOptions* out) {
  if (!v1::MaskFormat_IsValid(proto.mask_format())) {
    return UnknownEnum("mask_format", proto.mask_format());
  }
  if (!v1::MaskExtent_IsValid(proto.mask_extent())) {
    return UnknownEnum("mask_extent", proto.mask_extent());
  }
  if (proto.mask_format() != v1::MASK_FORMAT_UNSPECIFIED) out->mask_format = proto.mask_format();
  out->mask_extent = proto.mask_extent();
  if (out->mask_extent == v1::MASK_EXTENT_UNSPECIFIED) {
    out->mask_extent =
        out->mask_format == v1::MASK_FORMAT_RLE ? v1::MASK_EXTENT_IMAGE : v1::MASK_EXTENT_BOX;
  }
  const bool boxed =
      out->mask_format == v1::MASK_FORMAT_SOFT || out->mask_format == v1::MASK_FORMAT_CODES;
  if (boxed && out->mask_extent == v1::MASK_EXTENT_IMAGE) {
    return InvalidField("mask_extent", "MASK_EXTENT_IMAGE", "",
                        "soft masks and codes always cover the box");
  }
  if (proto.has_mask_threshold()) {
    if (!(proto.mask_threshold() > 0 && proto.mask_threshold() < 1)) {
      return InvalidField("mask_threshold", std::to_string(proto.mask_threshold()), "1",
                          "must be above 0 and below 1");
    }
    out->mask_threshold = proto.mask_threshold();
  }
  return OkStatus();
}

}  // namespace

StatusOr<ParsedRequest> ParseRequest(v1::CaptionRequest* proto, const ParserOptions& options,
                                     TimePoint now) {
  ParsedRequest out;
  PG_RETURN_IF_ERROR(ReadCommon(*proto, Task::kCaption, true, options, now, &out));
  const TaskSpec& spec = options.manifest->tasks.at(Task::kCaption);
  PG_ASSIGN_OR_RETURN(out.request.language, ReadLanguage(proto->language_code(), spec));
  if (!v1::CaptionLength_IsValid(proto->length())) return UnknownEnum("length", proto->length());
  out.request.long_caption = proto->length() == v1::CAPTION_LENGTH_LONG;
  if (out.request.long_caption && !spec.long_prompt.has_value()) {
    return InvalidField("length", "CAPTION_LENGTH_LONG", "CAPTION_LENGTH_SHORT",
                        "the model was tuned for short captions only");
  }
  if (proto->has_region()) PG_RETURN_IF_ERROR(ReadRegion(proto->region(), &out.request));
  PG_RETURN_IF_ERROR(TakeImages(proto->mutable_images(), options, &out.request));
  return out;
}

StatusOr<ParsedRequest> ParseRequest(v1::AnswerRequest* proto, const ParserOptions& options,
                                     TimePoint now) {
  ParsedRequest out;
  PG_RETURN_IF_ERROR(ReadCommon(*proto, Task::kAnswer, true, options, now, &out));
  const TaskSpec& spec = options.manifest->tasks.at(Task::kAnswer);
  PG_ASSIGN_OR_RETURN(out.request.language, ReadLanguage(proto->language_code(), spec));
  if (proto->question().find_first_not_of(" \t\r\n") == std::string::npos) {
    return InvalidField("question", "", "", "is empty");
  }
  PG_RETURN_IF_ERROR(CheckTextSize(proto->question(), options));
  out.request.text = proto->question();
  PG_RETURN_IF_ERROR(TakeImages(proto->mutable_images(), options, &out.request));
  return out;
}

StatusOr<ParsedRequest> ParseRequest(v1::DetectRequest* proto, const ParserOptions& options,
                                     TimePoint now) {
  ParsedRequest out;
  out.response.mask_format = v1::MASK_FORMAT_NONE;
  PG_RETURN_IF_ERROR(ReadObjectTask(proto, Task::kDetect, options, now, &out));
  return out;
}

StatusOr<ParsedRequest> ParseRequest(v1::SegmentRequest* proto, const ParserOptions& options,
                                     TimePoint now) {
  ParsedRequest out;
  PG_RETURN_IF_ERROR(ReadObjectTask(proto, Task::kSegment, options, now, &out));
  PG_RETURN_IF_ERROR(ReadMaskOptions(*proto, &out.response));
  return out;
}

StatusOr<ParsedRequest> ParseRequest(v1::ReadTextRequest* proto, const ParserOptions& options,
                                     TimePoint now) {
  ParsedRequest out;
  PG_RETURN_IF_ERROR(ReadCommon(*proto, Task::kRead, false, options, now, &out));
  PG_RETURN_IF_ERROR(TakeImage(proto->mutable_image(), "image", options, &out.request));
  return out;
}

StatusOr<ParsedRequest> ParseRequest(v1::GenerateRequest* proto, const ParserOptions& options,
                                     TimePoint now) {
  ParsedRequest out;
  PG_RETURN_IF_ERROR(ReadCommon(*proto, Task::kGenerate, true, options, now, &out));
  PG_RETURN_IF_ERROR(CheckTextSize(proto->prompt(), options));
  out.request.text = proto->prompt();
  PG_RETURN_IF_ERROR(TakeImages(proto->mutable_images(), options, &out.request));
  return out;
}

StatusOr<ParsedRequest> ParseRequest(v1::StreamGenerateRequest* proto, const ParserOptions& options,
                                     TimePoint now) {
  v1::TaskRequest* const message = proto->mutable_task();
  const auto parse = [&](auto* request, Task task) -> StatusOr<ParsedRequest> {
    StatusOr<ParsedRequest> parsed = ParseRequest(request, options, now);
    if (!parsed.ok()) return WithPathPrefix(parsed.status(), TaskPath(task));
    parsed->response.omit_streamed_masks = proto->omit_streamed_masks();
    return parsed;
  };
  switch (message->task_case()) {
    case v1::TaskRequest::kCaption:
      return parse(message->mutable_caption(), Task::kCaption);
    case v1::TaskRequest::kAnswer:
      return parse(message->mutable_answer(), Task::kAnswer);
    case v1::TaskRequest::kDetect:
      return parse(message->mutable_detect(), Task::kDetect);
    case v1::TaskRequest::kSegment:
      return parse(message->mutable_segment(), Task::kSegment);
    case v1::TaskRequest::kReadText:
      return parse(message->mutable_read_text(), Task::kRead);
    case v1::TaskRequest::kGenerate:
      return parse(message->mutable_generate(), Task::kGenerate);
    case v1::TaskRequest::TASK_NOT_SET:
      break;
  }
  return InvalidField("task", "", "", "holds no task that this server knows");
}

std::string TaskPath(Task task) { return "task." + std::string(TraitsOf(task).field) + "."; }

Status WithPathPrefix(const Status& status, const std::string& prefix) {
  if (status.ok()) return status;
  Status::Metadata metadata = status.metadata();
  std::string message = status.message();
  for (auto& [key, value] : metadata) {
    if (key != "field" || value.starts_with(prefix)) continue;
    if (message.starts_with(value)) message = prefix + message;
    value = prefix + value;
  }
  return Status(status.code(), status.reason(), std::move(message), std::move(metadata))
      .WithRetryAfter(status.retry_after());
}

Status CheckModelMetadata(const std::string& metadata, const std::string& model,
                          const ParserOptions& options) {
  if (metadata.empty() || metadata == (model.empty() ? options.model_name : model)) {
    return OkStatus();
  }
  return InvalidField("model", model.empty() ? options.model_name : model, metadata.substr(0, 128),
                      "does not match the metadata x-paligemma-model");
}

}  // namespace paligemma
