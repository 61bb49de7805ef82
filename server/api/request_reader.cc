// SPDX-License-Identifier: Apache-2.0
#include "server/api/request_reader.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/request/validate.h"
#include "google/protobuf/repeated_ptr_field.h"

namespace paligemma {
namespace {

constexpr std::size_t kMaxTags = 8, kMaxTagKeyBytes = 64, kMaxTagValueBytes = 256;

// Refuses an enum value that this version of the API does not have.
Status UnknownEnum(const std::string& field, int value) {
  return InvalidField(field, std::to_string(value), "",
                      "has a value that this server does not know");
}

Status ReadRaw(v1::RawPixels* message, const std::string& path, ImageInput* image) {
  image->is_raw = true;
  image->raw.width = message->width();
  image->raw.height = message->height();
  image->raw.data = std::move(*message->mutable_data());
  switch (message->pixel_format()) {
    case v1::PIXEL_FORMAT_RGB8:
      image->raw.format = PixelFormat::kRgb8;
      return OkStatus();
    case v1::PIXEL_FORMAT_GRAY8:
      image->raw.format = PixelFormat::kGray8;
      return OkStatus();
    default:  // protobuf's enums have more values than their names
      return InvalidField(path + ".pixel_format", std::to_string(message->pixel_format()), "",
                          "must be PIXEL_FORMAT_RGB8 or PIXEL_FORMAT_GRAY8");
  }
}

Status ReadImage(v1::Image* message, Request* out) {
  const std::string path = ImagePath(out->task, out->images.size());
  ImageInput& image = out->images.emplace_back();
  switch (message->source_case()) {
    case v1::Image::kContent:
      image.encoded = std::move(*message->mutable_content());
      return OkStatus();
    case v1::Image::kRaw:
      return ReadRaw(message->mutable_raw(), path + ".raw", &image);
    case v1::Image::SOURCE_NOT_SET:
      break;
  }
  return Status(StatusCode::kInvalidArgument, Reason::kImageMissing,
                path + ": holds neither content nor raw pixels", {{"field", path}});
}

Status ReadImages(google::protobuf::RepeatedPtrField<v1::Image>* messages, Request* out) {
  for (v1::Image& message : *messages) PG_RETURN_IF_ERROR(ReadImage(&message, out));
  return OkStatus();
}

void ReadGenerationConfig(const v1::GenerationConfig& config, ParsedRequest* out) {
  Request& request = out->request;
  SamplingParams& sampling = request.sampling;
  if (config.has_max_output_tokens()) request.max_tokens = config.max_output_tokens();
  if (config.has_min_output_tokens()) sampling.min_tokens = config.min_output_tokens();
  if (config.has_temperature()) sampling.temperature = config.temperature();
  if (config.has_top_p()) sampling.top_p = config.top_p();
  if (config.has_top_k()) sampling.top_k = config.top_k();
  if (config.has_repetition_penalty()) sampling.repetition_penalty = config.repetition_penalty();
  request.stop_sequences.assign(config.stop_sequences().begin(), config.stop_sequences().end());
  if (config.has_seed()) request.seed = static_cast<std::uint64_t>(std::int64_t{config.seed()});
  if (config.has_candidate_count()) request.num_candidates = config.candidate_count();
  if (config.has_logprobs()) request.logprobs = config.logprobs();
  sampling.ignore_eos = config.ignore_eos();
  out->response.logprobs_asked = config.has_logprobs();
}

Status ReadTimeBudget(const google::protobuf::Duration& budget, TimePoint now, Request* out) {
  constexpr std::int64_t kMaxSeconds = 1'000'000'000;  // beyond any limit, and fits nanoseconds
  constexpr int kNanos = 1'000'000'000;
  const std::int64_t seconds = std::clamp(budget.seconds(), -kMaxSeconds, kMaxSeconds);
  const bool one_sign =
      budget.nanos() == 0 || seconds == 0 || (seconds < 0) == (budget.nanos() < 0);
  if (budget.nanos() <= -kNanos || budget.nanos() >= kNanos || !one_sign) {
    return InvalidField("options.time_budget", std::to_string(budget.nanos()) + " ns", "",
                        "is no valid duration");
  }
  out->time_budget = now + std::chrono::seconds(seconds) + std::chrono::nanoseconds(budget.nanos());
  return OkStatus();
}

Status ReadTags(const google::protobuf::Map<std::string, std::string>& tags, ResponseOptions* out) {
  if (tags.size() > kMaxTags) {
    return InvalidField("options.tags", std::to_string(tags.size()), std::to_string(kMaxTags),
                        "must be 0 to " + std::to_string(kMaxTags));
  }
  for (const auto& [key, value] : tags) {
    if (key.empty() || key.size() > kMaxTagKeyBytes || value.size() > kMaxTagValueBytes) {
      return InvalidField("options.tags", "", "", "keys have 1 to 64 bytes, values at most 256");
    }
    out->tags[key] = value;
  }
  return OkStatus();
}

Status ReadOptions(const v1::RequestOptions& options, TimePoint now, ParsedRequest* out) {
  Request& request = out->request;
  switch (options.priority()) {
    case v1::PRIORITY_UNSPECIFIED:
    case v1::PRIORITY_NORMAL:
      break;
    case v1::PRIORITY_LOW:
      request.priority = Priority::kLow;
      break;
    case v1::PRIORITY_HIGH:
      request.priority = Priority::kHigh;
      break;
    default:  // protobuf's enums have more values than their names
      return UnknownEnum("options.priority", options.priority());
  }
  if (options.has_time_budget()) {
    PG_RETURN_IF_ERROR(ReadTimeBudget(options.time_budget(), now, &request));
  }
  if (!v1::CachePolicy_IsValid(options.cache_policy())) {
    return UnknownEnum("options.cache_policy", options.cache_policy());
  }
  request.use_cache = options.cache_policy() != v1::CACHE_POLICY_BYPASS;
  return ReadTags(options.tags(), &out->response);
}

// Reads the fields that every request has.
template <typename Message>
Status ReadCommon(const Message& message, Task task, TimePoint now, ParsedRequest* out) {
  out->request.task = task;
  out->request.arrival = now;
  out->request.model = message.model();
  ReadGenerationConfig(message.generation_config(), out);
  return ReadOptions(message.options(), now, out);
}

// Reads the fields that Detect and Segment share.
template <typename Message>
Status ReadObjectTask(Message* message, Task task, TimePoint now, ParsedRequest* out) {
  PG_RETURN_IF_ERROR(ReadCommon(*message, task, now, out));
  out->request.labels.assign(message->labels().begin(), message->labels().end());
  if (!v1::LabelMode_IsValid(message->label_mode())) {
    return UnknownEnum("label_mode", message->label_mode());
  }
  out->request.separate_labels = message->label_mode() == v1::LABEL_MODE_SEPARATE;
  out->request.max_objects = message->max_object_count();
  if (message->has_min_score()) out->request.min_score = message->min_score();
  return ReadImage(message->mutable_image(), &out->request);
}

MaskEncoding EncodingOf(v1::MaskFormat format) {
  switch (format) {
    case v1::MASK_FORMAT_RLE:
      return MaskEncoding::kRle;
    case v1::MASK_FORMAT_POLYGON:
      return MaskEncoding::kPolygon;
    case v1::MASK_FORMAT_SOFT:
      return MaskEncoding::kSoft;
    case v1::MASK_FORMAT_CODES:
      return MaskEncoding::kCodes;
    case v1::MASK_FORMAT_NONE:
      return MaskEncoding::kNone;
    default:  // the enumeration is open
      return MaskEncoding::kPng;
  }
}

Status ReadMaskOptions(const v1::SegmentRequest& message, MaskOptions* out) {
  if (!v1::MaskFormat_IsValid(message.mask_format())) {
    return UnknownEnum("mask_format", message.mask_format());
  }
  if (!v1::MaskExtent_IsValid(message.mask_extent())) {
    return UnknownEnum("mask_extent", message.mask_extent());
  }
  out->encoding = EncodingOf(message.mask_format());
  out->whole_image = message.mask_extent() == v1::MASK_EXTENT_UNSPECIFIED
                         ? out->encoding == MaskEncoding::kRle
                         : message.mask_extent() == v1::MASK_EXTENT_IMAGE;
  if (message.has_mask_threshold()) out->threshold = message.mask_threshold();
  return OkStatus();
}

}  // namespace

StatusOr<ParsedRequest> ReadRequest(v1::CaptionRequest* message, TimePoint now) {
  ParsedRequest out;
  PG_RETURN_IF_ERROR(ReadCommon(*message, Task::kCaption, now, &out));
  out.request.language = message->language_code();
  if (!v1::CaptionLength_IsValid(message->length())) {
    return UnknownEnum("length", message->length());
  }
  out.request.long_caption = message->length() == v1::CAPTION_LENGTH_LONG;
  if (message->has_region()) {
    const v1::NormalizedBox& box = message->region();
    out.request.region = Box{box.x_min(), box.y_min(), box.x_max(), box.y_max()};
  }
  PG_RETURN_IF_ERROR(ReadImages(message->mutable_images(), &out.request));
  return out;
}

StatusOr<ParsedRequest> ReadRequest(v1::AnswerRequest* message, TimePoint now) {
  ParsedRequest out;
  PG_RETURN_IF_ERROR(ReadCommon(*message, Task::kAnswer, now, &out));
  out.request.language = message->language_code();
  out.request.text = std::move(*message->mutable_question());
  PG_RETURN_IF_ERROR(ReadImages(message->mutable_images(), &out.request));
  return out;
}

StatusOr<ParsedRequest> ReadRequest(v1::DetectRequest* message, TimePoint now) {
  ParsedRequest out;
  PG_RETURN_IF_ERROR(ReadObjectTask(message, Task::kDetect, now, &out));
  return out;
}

StatusOr<ParsedRequest> ReadRequest(v1::SegmentRequest* message, TimePoint now) {
  ParsedRequest out;
  PG_RETURN_IF_ERROR(ReadObjectTask(message, Task::kSegment, now, &out));
  PG_RETURN_IF_ERROR(ReadMaskOptions(*message, &out.request.mask));
  return out;
}

StatusOr<ParsedRequest> ReadRequest(v1::ReadTextRequest* message, TimePoint now) {
  ParsedRequest out;
  PG_RETURN_IF_ERROR(ReadCommon(*message, Task::kRead, now, &out));
  PG_RETURN_IF_ERROR(ReadImage(message->mutable_image(), &out.request));
  return out;
}

StatusOr<ParsedRequest> ReadRequest(v1::GenerateRequest* message, TimePoint now) {
  ParsedRequest out;
  PG_RETURN_IF_ERROR(ReadCommon(*message, Task::kGenerate, now, &out));
  out.request.text = std::move(*message->mutable_prompt());
  PG_RETURN_IF_ERROR(ReadImages(message->mutable_images(), &out.request));
  return out;
}

StatusOr<ParsedRequest> ReadRequest(v1::StreamGenerateRequest* message, TimePoint now) {
  const auto read = [&](auto* request, Task task) -> StatusOr<ParsedRequest> {
    StatusOr<ParsedRequest> parsed = ReadRequest(request, now);
    if (!parsed.ok()) return WithPathPrefix(parsed.status(), TaskPath(task));
    parsed->response.omit_streamed_masks = message->omit_streamed_masks();
    parsed->request.streamed = true;
    return parsed;
  };
  v1::TaskRequest* const task = message->mutable_task();
  switch (task->task_case()) {
    case v1::TaskRequest::kCaption:
      return read(task->mutable_caption(), Task::kCaption);
    case v1::TaskRequest::kAnswer:
      return read(task->mutable_answer(), Task::kAnswer);
    case v1::TaskRequest::kDetect:
      return read(task->mutable_detect(), Task::kDetect);
    case v1::TaskRequest::kSegment:
      return read(task->mutable_segment(), Task::kSegment);
    case v1::TaskRequest::kReadText:
      return read(task->mutable_read_text(), Task::kRead);
    case v1::TaskRequest::kGenerate:
      return read(task->mutable_generate(), Task::kGenerate);
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
                          const std::string& served) {
  constexpr std::size_t kMaxShownBytes = 128;
  const std::string& named = model.empty() ? served : model;
  if (metadata.empty() || metadata == named) return OkStatus();
  return InvalidField("model", named, metadata.substr(0, kMaxShownBytes),
                      "does not match the metadata x-paligemma-model");
}

}  // namespace paligemma
