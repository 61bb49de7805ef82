// SPDX-License-Identifier: Apache-2.0
#include "server/field_checks.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

namespace paligemma {
namespace {

constexpr int kMaxImageSide = 16384;
constexpr int kMaxStopSequences = 8, kMaxStopBytes = 64;
constexpr int kMaxCandidates = 8, kMaxLogprobs = 20;
constexpr float kMaxTemperature = 2, kMaxRepetitionPenalty = 10;
constexpr size_t kMaxLabelBytes = 128;
constexpr int kMaxTags = 8;
constexpr size_t kMaxTagKeyBytes = 64, kMaxTagValueBytes = 256;
constexpr std::int64_t kMaxBudgetSeconds = 24 * 3600;
// No token of the vocabulary is longer.
constexpr std::int64_t kMaxTokenBytes = 64;

std::string Number(float value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return error == std::errc() ? std::string(buffer, end) : "?";
}

Status ImageError(Reason reason, const std::string& field, std::string_view problem,
                  Status::Metadata more = {}) {
  Status::Metadata metadata{{"field", field}};
  for (auto& entry : more) metadata.push_back(std::move(entry));
  return Status(StatusCode::kInvalidArgument, reason, field + ": " + std::string(problem),
                std::move(metadata));
}

Status TakeRaw(v1::RawPixels* raw, const std::string& path, const ParserOptions& options,
               Request* out) {
  if (raw->data().empty()) return ImageError(Reason::kImageMissing, path + ".data", "is empty");
  for (const auto& [name, side] :
       {std::pair(".width", raw->width()), std::pair(".height", raw->height())}) {
    if (side < 1) return InvalidField(path + name, std::to_string(side), "", "must be above 0");
    if (side <= kMaxImageSide) continue;
    return ImageError(Reason::kImageTooLarge, path + name, "has too many pixels",
                      {{"value", std::to_string(side)}, {"limit", std::to_string(kMaxImageSide)}});
  }
  const std::int64_t pixels = std::int64_t{raw->width()} * raw->height();
  if (pixels > options.max_image_pixels) {
    return ImageError(
        Reason::kImageTooLarge, path, "has too many pixels",
        {{"value", std::to_string(pixels)}, {"limit", std::to_string(options.max_image_pixels)}});
  }
  int channels = 0;
  ImageInput image;
  image.is_raw = true;
  if (raw->pixel_format() == v1::PIXEL_FORMAT_RGB8) {
    channels = 3;
    image.raw.format = PixelFormat::kRgb8;
  } else if (raw->pixel_format() == v1::PIXEL_FORMAT_GRAY8) {
    channels = 1;
    image.raw.format = PixelFormat::kGray8;
  } else {
    return InvalidField(path + ".pixel_format", std::to_string(raw->pixel_format()), "",
                        "must be PIXEL_FORMAT_RGB8 or PIXEL_FORMAT_GRAY8");
  }
  if (static_cast<std::int64_t>(raw->data().size()) != pixels * channels) {
    return InvalidField(path + ".data", std::to_string(raw->data().size()) + " bytes",
                        std::to_string(pixels * channels),
                        "must hold width * height * channels bytes");
  }
  image.raw.width = raw->width();
  image.raw.height = raw->height();
  image.raw.data = std::move(*raw->mutable_data());
  out->images.push_back(std::move(image));
  return OkStatus();
}

Status CheckIntRange(const std::string& field, std::int64_t value, std::int64_t low,
                     std::int64_t high) {
  if (value >= low && value <= high) return OkStatus();
  return InvalidField(field, std::to_string(value), std::to_string(value < low ? low : high),
                      "must be " + std::to_string(low) + " to " + std::to_string(high));
}

Status ReadFloats(const v1::GenerationConfig& config, SamplingParams* sampling) {
  const std::string path = "generation_config.";
  if (config.has_temperature()) {
    const float value = config.temperature();
    if (!(value >= 0 && value <= kMaxTemperature)) {
      return InvalidField(path + "temperature", Number(value), Number(kMaxTemperature),
                          "must be 0 to 2");
    }
    sampling->temperature = value;
  }
  if (config.has_top_p()) {
    const float value = config.top_p();
    if (!(value > 0 && value <= 1)) {
      return InvalidField(path + "top_p", Number(value), "1", "must be above 0 and at most 1");
    }
    sampling->top_p = value;
  }
  if (config.has_repetition_penalty()) {
    const float value = config.repetition_penalty();
    if (!(value > 0 && value <= kMaxRepetitionPenalty)) {
      return InvalidField(path + "repetition_penalty", Number(value), Number(kMaxRepetitionPenalty),
                          "must be above 0 and at most 10");
    }
    sampling->repetition_penalty = value;
  }
  return OkStatus();
}

Status ReadLengths(const v1::GenerationConfig& config, const TaskSpec& spec,
                   const ParserOptions& options, ParsedRequest* out) {
  const int limit =
      spec.max_tokens > 0 ? spec.max_tokens : options.manifest->limits.max_output_tokens;
  if (config.has_max_output_tokens()) {
    PG_RETURN_IF_ERROR(
        CheckIntRange("generation_config.max_output_tokens", config.max_output_tokens(), 1, limit));
    out->request.max_tokens = config.max_output_tokens();
  }
  if (config.has_min_output_tokens()) {
    PG_RETURN_IF_ERROR(CheckIntRange("generation_config.min_output_tokens",
                                     config.min_output_tokens(), 0,
                                     MaxTokensOf(out->request, *options.manifest)));
    out->request.sampling.min_tokens = config.min_output_tokens();
  }
  return OkStatus();
}

Status ReadStops(const v1::GenerationConfig& config, Request* out) {
  const std::string path = "generation_config.stop_sequences";
  if (config.stop_sequences_size() > kMaxStopSequences) {
    return InvalidField(path, std::to_string(config.stop_sequences_size()),
                        std::to_string(kMaxStopSequences), "has too many");
  }
  for (int i = 0; i < config.stop_sequences_size(); ++i) {
    const std::string& stop = config.stop_sequences(i);
    const std::string field = path + "[" + std::to_string(i) + "]";
    if (stop.empty()) return InvalidField(field, "", "1", "is empty");
    if (stop.size() > static_cast<size_t>(kMaxStopBytes)) {
      return InvalidField(field, std::to_string(stop.size()) + " bytes",
                          std::to_string(kMaxStopBytes), "is too long");
    }
    out->stop_sequences.push_back(stop);
  }
  return OkStatus();
}

}  // namespace

Status CheckModel(const std::string& model, Task task, const ParserOptions& options) {
  if (!model.empty() && model != options.model_name) {
    return Status(StatusCode::kNotFound, Reason::kModelNotFound,
                  "model: there is no \"" + model.substr(0, 128) + "\" here; this server has " +
                      options.model_name,
                  {{"model", model.substr(0, 128)}});
  }
  if (options.manifest->Supports(task)) return OkStatus();
  std::string supported;
  for (const auto& [other, spec] : options.manifest->tasks) {
    supported += (supported.empty() ? "" : ", ") + std::string(TaskName(other));
  }
  const std::string name(TaskName(task));
  return Status(StatusCode::kFailedPrecondition, Reason::kMethodUnsupported,
                options.model_name + " does not support " + name + "; it supports " + supported,
                {{"method", name}, {"supported", supported}});
}

Status TakeImage(v1::Image* image, const std::string& path, const ParserOptions& options,
                 Request* out) {
  switch (image->source_case()) {
    case v1::Image::kContent: {
      const auto size = static_cast<std::int64_t>(image->content().size());
      if (size == 0) return ImageError(Reason::kImageMissing, path + ".content", "is empty");
      if (size > options.max_image_bytes) {
        return ImageError(
            Reason::kImageTooLarge, path + ".content", "has too many bytes",
            {{"value", std::to_string(size)}, {"limit", std::to_string(options.max_image_bytes)}});
      }
      ImageInput input;
      input.encoded = std::move(*image->mutable_content());
      out->images.push_back(std::move(input));
      return OkStatus();
    }
    case v1::Image::kRaw:
      return TakeRaw(image->mutable_raw(), path + ".raw", options, out);
    case v1::Image::SOURCE_NOT_SET:
      break;
  }
  return ImageError(Reason::kImageMissing, path, "holds neither content nor raw pixels");
}

Status TakeImages(google::protobuf::RepeatedPtrField<v1::Image>* images,
                  const ParserOptions& options, Request* out) {
  const int limit = options.manifest->image.max_count;
  if (images->empty()) return ImageError(Reason::kImageMissing, "images", "is empty");
  if (images->size() > limit) {
    return InvalidField("images", std::to_string(images->size()), std::to_string(limit),
                        "has more than the model takes");
  }
  for (int i = 0; i < images->size(); ++i) {
    PG_RETURN_IF_ERROR(
        TakeImage(images->Mutable(i), "images[" + std::to_string(i) + "]", options, out));
  }
  return OkStatus();
}

Status ReadGenerationConfig(const v1::GenerationConfig& config, const TaskSpec& spec,
                            bool candidates_allowed, const ParserOptions& options,
                            ParsedRequest* out) {
  const std::string path = "generation_config.";
  SamplingParams* const sampling = &out->request.sampling;
  PG_RETURN_IF_ERROR(ReadLengths(config, spec, options, out));
  PG_RETURN_IF_ERROR(ReadFloats(config, sampling));
  PG_RETURN_IF_ERROR(ReadStops(config, &out->request));
  if (config.has_top_k()) {
    PG_RETURN_IF_ERROR(
        CheckIntRange(path + "top_k", config.top_k(), 0, options.manifest->tokens.vocab));
    sampling->top_k = config.top_k();
  }
  if (config.has_seed()) {
    PG_RETURN_IF_ERROR(CheckIntRange(path + "seed", config.seed(), 0, INT32_MAX));
    out->request.seed = static_cast<std::uint64_t>(config.seed());
  }
  if (config.has_candidate_count()) {
    const int count = config.candidate_count();
    PG_RETURN_IF_ERROR(
        CheckIntRange(path + "candidate_count", count, 1, candidates_allowed ? kMaxCandidates : 1));
    if (count > 1 && sampling->temperature == 0) {
      return InvalidField(path + "candidate_count", std::to_string(count), "1",
                          "needs a temperature: greedy candidates would all be the same");
    }
    out->request.num_candidates = count;
  }
  if (config.has_logprobs()) {
    PG_RETURN_IF_ERROR(CheckIntRange(path + "logprobs", config.logprobs(), 0, kMaxLogprobs));
    sampling->logprobs = config.logprobs();
    out->response.logprobs_asked = true;
  } else if (out->request.num_candidates > 1) {
    sampling->logprobs = 0;  // they are ordered by it
  }
  if (config.ignore_eos() && !options.allow_ignore_eos) {
    return InvalidField(path + "ignore_eos", "true", "",
                        "is for benchmarks; the server must be started with --allow-ignore-eos");
  }
  sampling->ignore_eos = config.ignore_eos();
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
    default:
      return UnknownEnum("options.priority", options.priority());
  }
  if (options.has_time_budget()) {
    const auto& budget = options.time_budget();
    const bool valid = budget.seconds() >= 0 && budget.seconds() <= kMaxBudgetSeconds &&
                       budget.nanos() >= 0 && budget.nanos() < 1'000'000'000 &&
                       (budget.seconds() > 0 || budget.nanos() > 0);
    if (!valid) {
      return InvalidField("options.time_budget", std::to_string(budget.seconds()) + " s",
                          std::to_string(kMaxBudgetSeconds), "must be above 0 and at most a day");
    }
    request.time_budget =
        now + std::chrono::seconds(budget.seconds()) + std::chrono::nanoseconds(budget.nanos());
  }
  if (!v1::CachePolicy_IsValid(options.cache_policy())) {
    return UnknownEnum("options.cache_policy", options.cache_policy());
  }
  request.use_cache = options.cache_policy() != v1::CACHE_POLICY_BYPASS;
  PG_RETURN_IF_ERROR(CheckIntRange("options.tags", options.tags_size(), 0, kMaxTags));
  for (const auto& [key, value] : options.tags()) {
    if (key.empty() || key.size() > kMaxTagKeyBytes || value.size() > kMaxTagValueBytes) {
      return InvalidField("options.tags", "", "", "keys have 1 to 64 bytes, values at most 256");
    }
    out->response.tags[key] = value;
  }
  return OkStatus();
}

StatusOr<std::string> ReadLanguage(const std::string& code, const TaskSpec& spec) {
  std::string language = code.empty() ? "en" : code.substr(0, code.find_first_of("-_"));
  for (char& c : language) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const auto& known = spec.languages;
  if (std::find(known.begin(), known.end(), language) != known.end()) return language;
  if (known.empty() && language == "en") return language;
  std::string supported;
  for (const std::string& other : known) supported += (supported.empty() ? "" : ", ") + other;
  if (known.empty()) supported = "en";
  return Status(
      StatusCode::kInvalidArgument, Reason::kLanguageUnsupported,
      "language_code: the model has no \"" + code.substr(0, 64) + "\"; it has " + supported,
      {{"field", "language_code"},
       {"value", code.empty() ? "en" : code.substr(0, 64)},
       {"supported", supported}});
}

Status ReadLabels(const google::protobuf::RepeatedPtrField<std::string>& labels, int max_labels,
                  Request* out) {
  PG_RETURN_IF_ERROR(CheckIntRange("labels", labels.size(), 1, max_labels));
  std::set<std::string> seen;
  for (int i = 0; i < labels.size(); ++i) {
    const std::string& label = labels[i];
    const std::string field = "labels[" + std::to_string(i) + "]";
    if (label.empty() || label.size() > kMaxLabelBytes) {
      return InvalidField(field, std::to_string(label.size()) + " bytes",
                          std::to_string(kMaxLabelBytes), "must have 1 to 128 bytes");
    }
    for (const char c : label) {
      if (c == ';') return InvalidField(field, "", "", "must not hold \";\"");
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
        return InvalidField(field, "", "", "must not hold control characters");
      }
    }
    if (label.find_first_not_of(' ') == std::string::npos) {
      return InvalidField(field, "", "", "is blank");
    }
    if (!seen.insert(label).second) return InvalidField(field, label, "", "is there twice");
    out->labels.push_back(label);
  }
  return OkStatus();
}

Status CheckTextSize(const std::string& text, const ParserOptions& options) {
  const std::int64_t limit = options.manifest->limits.max_input_tokens * kMaxTokenBytes;
  if (static_cast<std::int64_t>(text.size()) <= limit) return OkStatus();
  return Status(StatusCode::kInvalidArgument, Reason::kPromptTooLong,
                "the prompt has " + std::to_string(text.size()) + " bytes, more than " +
                    std::to_string(options.manifest->limits.max_input_tokens) + " tokens can hold",
                {{"value", std::to_string(text.size()) + " bytes"},
                 {"limit", std::to_string(limit) + " bytes"}});
}

Status UnknownEnum(const std::string& field, int value) {
  return InvalidField(field, std::to_string(value), "",
                      "has a value that this server does not know");
}

}  // namespace paligemma
