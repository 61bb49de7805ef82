// SPDX-License-Identifier: Apache-2.0
#include "core/request/validate.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "core/base/utf8.h"
#include "core/request/text_forms.h"

namespace paligemma {
namespace {

constexpr std::string_view kDecoding = "generation_config.";
constexpr std::size_t kMaxShownBytes = 64;  // of a client's text in an error
// No token of the vocabulary is longer.
constexpr std::int64_t kMaxTokenBytes = 64;

std::string Decoding(std::string_view field) { return std::string(kDecoding).append(field); }

std::string Element(std::string_view field, std::size_t index) {
  return std::string(field) + "[" + std::to_string(index) + "]";
}

std::string Number(float value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return error == std::errc() ? std::string(buffer, end) : "?";
}

bool IsBlank(std::string_view text) { return TrimBlanks(text).empty(); }

std::string Join(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

Status CheckRange(std::string field, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return OkStatus();
  return InvalidField(std::move(field), std::to_string(value),
                      std::to_string(value < low ? low : high),
                      "must be " + std::to_string(low) + " to " + std::to_string(high));
}

Status MethodUnsupported(const RequestRules& rules, Task task, const std::string& problem) {
  std::vector<std::string> names;
  for (const auto& [other, spec] : rules.manifest->tasks) names.emplace_back(TaskName(other));
  return Status(StatusCode::kFailedPrecondition, Reason::kMethodUnsupported,
                rules.model_name + " does not support " + problem + "; it supports " + Join(names),
                {{"method", std::string(TaskName(task))}, {"supported", Join(names)}});
}

Status CheckModelAndTask(const Request& request, const RequestRules& rules) {
  if (!request.model.empty() && request.model != rules.model_name) {
    const std::string shown = request.model.substr(0, 2 * kMaxShownBytes);
    return Status(StatusCode::kNotFound, Reason::kModelNotFound,
                  "model: there is no \"" + shown + "\" here; this server has " + rules.model_name,
                  {{"model", shown}});
  }
  if (rules.manifest->Supports(request.task)) return OkStatus();
  return MethodUnsupported(rules, request.task, std::string(TaskName(request.task)));
}

Status CheckLengths(const Request& request, const RequestRules& rules) {
  if (request.max_tokens.has_value()) {
    PG_RETURN_IF_ERROR(CheckRange(Decoding("max_output_tokens"), *request.max_tokens, 1,
                                  rules.manifest->MaxOutputTokens(request.task)));
  }
  return CheckRange(Decoding("min_output_tokens"), request.sampling.min_tokens, 0,
                    MaxTokensOf(request, *rules.manifest));
}

// The comparisons are such that NaN is refused.
Status CheckSampling(const Request& request, const RequestRules& rules) {
  const SamplingParams& sampling = request.sampling;
  if (!(sampling.temperature >= 0 && sampling.temperature <= kMaxTemperature)) {
    return InvalidField(Decoding("temperature"), Number(sampling.temperature),
                        Number(kMaxTemperature), "must be 0 to " + Number(kMaxTemperature));
  }
  if (!(sampling.top_p > 0 && sampling.top_p <= 1)) {
    return InvalidField(Decoding("top_p"), Number(sampling.top_p), "1",
                        "must be above 0 and at most 1");
  }
  if (!(sampling.repetition_penalty > 0 && sampling.repetition_penalty <= kMaxRepetitionPenalty)) {
    return InvalidField(Decoding("repetition_penalty"), Number(sampling.repetition_penalty),
                        Number(kMaxRepetitionPenalty),
                        "must be above 0 and at most " + Number(kMaxRepetitionPenalty));
  }
  PG_RETURN_IF_ERROR(
      CheckRange(Decoding("top_k"), sampling.top_k, 0, rules.manifest->tokens.vocab));
  if (request.seed.has_value()) {
    PG_RETURN_IF_ERROR(CheckRange(Decoding("seed"), static_cast<std::int64_t>(*request.seed), 0,
                                  static_cast<std::int64_t>(kMaxSeed)));
  }
  if (request.logprobs.has_value()) {
    PG_RETURN_IF_ERROR(CheckRange(Decoding("logprobs"), *request.logprobs, 0, kMaxLogprobs));
  }
  if (sampling.ignore_eos && !rules.allow_ignore_eos) {
    return InvalidField(Decoding("ignore_eos"), "true", "",
                        "is for benchmarks; the server must be started with --allow-ignore-eos");
  }
  return OkStatus();
}

Status CheckCandidates(const Request& request) {
  const int limit = TraitsOf(request.task).several_candidates ? kMaxCandidates : 1;
  PG_RETURN_IF_ERROR(CheckRange(Decoding("candidate_count"), request.num_candidates, 1, limit));
  if (request.num_candidates == 1 || request.sampling.temperature > 0) return OkStatus();
  return InvalidField(Decoding("candidate_count"), std::to_string(request.num_candidates), "1",
                      "needs a temperature: greedy candidates would all be the same");
}

Status CheckStops(const Request& request) {
  const std::string path = Decoding("stop_sequences");
  if (request.stop_sequences.size() > kMaxStopSequences) {
    return InvalidField(path, std::to_string(request.stop_sequences.size()),
                        std::to_string(kMaxStopSequences), "has too many");
  }
  for (std::size_t i = 0; i < request.stop_sequences.size(); ++i) {
    const std::string& stop = request.stop_sequences[i];
    if (stop.empty()) return InvalidField(Element(path, i), "", "1", "is empty");
    if (stop.size() > kMaxStopBytes) {
      return InvalidField(Element(path, i), std::to_string(stop.size()) + " bytes",
                          std::to_string(kMaxStopBytes), "is too long");
    }
  }
  return OkStatus();
}

Status CheckTimeBudget(const Request& request) {
  if (request.time_budget == kNoDeadline) return OkStatus();
  const Duration budget = request.time_budget - request.arrival;
  if (budget > Duration::zero() && budget <= kMaxTimeBudget) return OkStatus();
  const auto seconds = [](auto time) {
    return std::chrono::duration_cast<std::chrono::seconds>(time).count();
  };
  return InvalidField("options.time_budget", std::to_string(seconds(budget)) + " s",
                      std::to_string(seconds(kMaxTimeBudget)), "must be above 0 and at most a day");
}

// Leaves the model's own name of the language; no language is English.
Status CheckLanguage(const TaskSpec& spec, Request* request) {
  const std::string code = request->language.empty() ? "en" : request->language;
  // A prompt without a place for the language is in the one that it was tuned with.
  const std::vector<std::string> known =
      spec.languages.empty() ? std::vector<std::string>{"en"} : spec.languages;
  std::optional<std::string> language = FindLanguage(code, known);
  if (!language.has_value()) {
    const std::string shown = code.substr(0, kMaxShownBytes);
    return Status(StatusCode::kInvalidArgument, Reason::kLanguageUnsupported,
                  "language_code: the model has no \"" + shown + "\"; it has " + Join(known),
                  {{"field", "language_code"}, {"value", shown}, {"supported", Join(known)}});
  }
  request->language = *std::move(language);
  return OkStatus();
}

Status CheckRegion(const Request& request, const RequestRules& rules) {
  const Box& box = *request.region;
  if (request.long_caption) {
    return InvalidField("region", "", "", "goes with short captions only");
  }
  // Negated, so that NaN is refused.
  const bool valid = box.x_min >= 0 && box.y_min >= 0 && box.x_max <= 1 && box.y_max <= 1 &&
                     box.x_min < box.x_max && box.y_min < box.y_max;
  if (!valid) return InvalidField("region", "", "", "must be a box within [0, 1], min below max");
  if (rules.manifest->tokens.loc_count > 0) return OkStatus();
  return MethodUnsupported(rules, request.task, "captions of a region");
}

Status CheckCaption(const Request& request, const RequestRules& rules) {
  if (request.long_caption && !rules.manifest->tasks.at(request.task).long_prompt.has_value()) {
    return InvalidField("length", "CAPTION_LENGTH_LONG", "CAPTION_LENGTH_SHORT",
                        "the model was tuned for short captions only");
  }
  return request.region.has_value() ? CheckRegion(request, rules) : OkStatus();
}

// Takes the marks of Hugging Face's processor off, which may repeat the number of pictures.
Status TakeMarks(Request* request) {
  const auto marks = static_cast<std::size_t>(TakeFrontMarks(&request->text));
  if (marks == 0 || marks == request->images.size()) return OkStatus();
  const std::string field(TraitsOf(request->task).text_field);
  return InvalidField(field, std::to_string(marks), std::to_string(request->images.size()),
                      "has another number of <image> than the request has images; leave <image> "
                      "out, it is not needed");
}

Status CheckText(const RequestRules& rules, Request* changed) {
  const Request& request = *changed;
  const std::int64_t tokens = rules.manifest->limits.max_input_tokens;
  const auto size = static_cast<std::int64_t>(request.text.size());
  if (size > tokens * kMaxTokenBytes) {
    return Status(StatusCode::kInvalidArgument, Reason::kPromptTooLong,
                  "the prompt has " + std::to_string(size) + " bytes, more than " +
                      std::to_string(tokens) + " tokens can hold",
                  {{"value", std::to_string(size) + " bytes"},
                   {"limit", std::to_string(tokens * kMaxTokenBytes) + " bytes"}});
  }
  const TaskTraits& traits = TraitsOf(request.task);
  PG_RETURN_IF_ERROR(ValidateUtf8(request.text, traits.text_field));
  NormalizeLineEnds(&changed->text);
  PG_RETURN_IF_ERROR(TakeMarks(changed));
  if (request.task == Task::kGenerate) {
    if (auto written = FindWrittenTask(request.text, *rules.manifest); written.has_value()) {
      changed->written_task = written->task;
      changed->labels = std::move(written->labels);
    }
  }
  const bool required = !traits.placeholder.empty();
  if (!required || !IsBlank(request.text)) return OkStatus();
  return InvalidField(std::string(traits.text_field), "", "", "is blank");
}

Status CheckLabel(const std::string& label, const std::string& field) {
  if (label.empty() || label.size() > kMaxLabelBytes) {
    return InvalidField(field, std::to_string(label.size()) + " bytes",
                        std::to_string(kMaxLabelBytes),
                        "must have 1 to " + std::to_string(kMaxLabelBytes) + " bytes");
  }
  if (label.find(';') != std::string::npos) {
    return InvalidField(field, "", "", "holds \";\", which separates labels: one label per entry");
  }
  const bool has_controls = std::any_of(label.begin(), label.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
  if (has_controls) return InvalidField(field, "", "", "must not hold control characters");
  return ValidateUtf8(label, field);
}

Status CheckLabels(const RequestRules& rules, Request* changed) {
  const Request& request = *changed;
  PG_RETURN_IF_ERROR(
      CheckRange("labels", std::ssize(request.labels), 1, rules.manifest->limits.max_labels));
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < request.labels.size(); ++i) {
    const std::string field = Element("labels", i);
    if (IsBlank(request.labels[i])) return InvalidField(field, "", "", "is blank");
    changed->labels[i] = std::string(TrimBlanks(request.labels[i]));
    PG_RETURN_IF_ERROR(CheckLabel(request.labels[i], field));
    if (!seen.insert(request.labels[i]).second) {
      return InvalidField(field, request.labels[i], "", "is there twice");
    }
  }
  return OkStatus();
}

// Which objects are wanted, and with which masks. Comparisons are such that NaN is refused.
Status CheckObjects(const Request& request) {
  if (request.max_objects < 0) {
    return InvalidField("max_object_count", std::to_string(request.max_objects), "0",
                        "must not be negative");
  }
  const float min_score = request.min_score.value_or(0);
  if (!(min_score >= 0 && min_score <= 1)) {
    return InvalidField("min_score", std::to_string(min_score), "1", "must be 0 to 1");
  }
  const MaskOptions& mask = request.mask;
  const bool covers_box =
      mask.encoding == MaskEncoding::kSoft || mask.encoding == MaskEncoding::kCodes;
  if (covers_box && mask.whole_image) {
    return InvalidField("mask_extent", "MASK_EXTENT_IMAGE", "",
                        "soft masks and codes always cover the box");
  }
  if (mask.threshold > 0 && mask.threshold < 1) return OkStatus();
  return InvalidField("mask_threshold", std::to_string(mask.threshold), "1",
                      "must be above 0 and below 1");
}

Status ImageError(Reason reason, const std::string& field, std::string_view problem,
                  Status::Metadata more = {}) {
  Status::Metadata metadata{{"field", field}};
  for (auto& entry : more) metadata.push_back(std::move(entry));
  return Status(StatusCode::kInvalidArgument, reason, field + ": " + std::string(problem),
                std::move(metadata));
}

Status TooLarge(const std::string& field, std::string_view what, std::int64_t value,
                std::int64_t limit) {
  return ImageError(Reason::kImageTooLarge, field, "has too many " + std::string(what),
                    {{"value", std::to_string(value)}, {"limit", std::to_string(limit)}});
}

Status CheckRaw(const ImageInput::Raw& raw, const std::string& path, const ImageLimits& limits) {
  if (raw.data.empty()) return ImageError(Reason::kImageMissing, path + ".data", "is empty");
  for (const auto& [name, side] :
       {std::pair(".width", raw.width), std::pair(".height", raw.height)}) {
    if (side < 1) return InvalidField(path + name, std::to_string(side), "", "must be above 0");
    if (side > limits.max_side) return TooLarge(path + name, "pixels", side, limits.max_side);
  }
  const std::int64_t pixels = std::int64_t{raw.width} * raw.height;
  if (pixels > limits.max_pixels) return TooLarge(path, "pixels", pixels, limits.max_pixels);
  const std::int64_t bytes = pixels * (raw.format == PixelFormat::kRgb8 ? 3 : 1);
  if (std::ssize(raw.data) == bytes) return OkStatus();
  return InvalidField(path + ".data", std::to_string(raw.data.size()) + " bytes",
                      std::to_string(bytes), "must hold width * height * channels bytes");
}

Status CheckImages(const Request& request, const RequestRules& rules) {
  const bool several = TraitsOf(request.task).several_images;
  const int limit = several ? rules.manifest->image.max_count : 1;
  const std::string list = several ? "images" : "image";
  if (request.images.empty()) return ImageError(Reason::kImageMissing, list, "is empty");
  if (std::ssize(request.images) > limit) {
    return InvalidField(list, std::to_string(request.images.size()), std::to_string(limit),
                        "has more than the model takes");
  }
  for (std::size_t i = 0; i < request.images.size(); ++i) {
    const ImageInput& image = request.images[i];
    const std::string path = ImagePath(request.task, i);
    if (image.is_raw) {
      PG_RETURN_IF_ERROR(CheckRaw(image.raw, path + ".raw", rules.image_limits));
    } else if (image.encoded.empty()) {
      return ImageError(Reason::kImageMissing, path + ".content", "is empty");
    } else if (std::ssize(image.encoded) > rules.image_limits.max_bytes) {
      return TooLarge(path + ".content", "bytes", std::ssize(image.encoded),
                      rules.image_limits.max_bytes);
    }
  }
  return OkStatus();
}

// The rules of one task alone.
Status CheckTask(const RequestRules& rules, Request* request) {
  switch (request->task) {
    case Task::kCaption:
      return CheckCaption(*request, rules);
    case Task::kAnswer:
    case Task::kGenerate:
      return CheckText(rules, request);
    case Task::kDetect:
    case Task::kSegment:
      PG_RETURN_IF_ERROR(CheckLabels(rules, request));
      return CheckObjects(*request);
    case Task::kRead:
      return OkStatus();
  }
  return InternalError("a task without rules");
}

}  // namespace

Status ValidateRequest(const RequestRules& rules, Request* request) {
  PG_RETURN_IF_ERROR(CheckModelAndTask(*request, rules));
  PG_RETURN_IF_ERROR(CheckLengths(*request, rules));
  PG_RETURN_IF_ERROR(CheckSampling(*request, rules));
  PG_RETURN_IF_ERROR(CheckStops(*request));
  PG_RETURN_IF_ERROR(CheckCandidates(*request));
  PG_RETURN_IF_ERROR(CheckTimeBudget(*request));
  PG_RETURN_IF_ERROR(CheckLanguage(rules.manifest->tasks.at(request->task), request));
  PG_RETURN_IF_ERROR(CheckTask(rules, request));
  return CheckImages(*request, rules);
}

std::string ImagePath(Task task, std::size_t index) {
  return TraitsOf(task).several_images ? Element("images", index) : "image";
}

}  // namespace paligemma
