// SPDX-License-Identifier: Apache-2.0
#include "core/text/prompt_builder.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "core/base/utf8.h"

namespace paligemma {
namespace {

constexpr std::size_t kMaxLabelBytes = 128;
constexpr std::string_view kLanguage = "{lang}";

std::string Join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) text += separator;
    text += parts[i];
  }
  return text;
}

// Replaces {lang} and `placeholder` in one pass, so that neither value is searched.
std::string Fill(std::string_view form, std::string_view language, std::string_view placeholder,
                 std::string_view value) {
  std::string text;
  while (!form.empty()) {
    if (form.starts_with(kLanguage)) {
      text += language;
      form.remove_prefix(kLanguage.size());
    } else if (!placeholder.empty() && form.starts_with(placeholder)) {
      text += value;
      form.remove_prefix(placeholder.size());
    } else {
      text += form.front();
      form.remove_prefix(1);
    }
  }
  return text;
}

bool IsBlank(std::string_view text) {
  return text.find_first_not_of(" \t\n\r\v\f") == std::string_view::npos;
}

// bin = clip(round(coordinate * 1023)), as the training data was written (semantics 6.2).
std::string LocationText(float coordinate) {
  const double bin = std::nearbyint(static_cast<double>(coordinate) * 1023.0);
  char text[16];
  std::snprintf(text, sizeof(text), "<loc%04d>", static_cast<int>(std::clamp(bin, 0.0, 1023.0)));
  return text;
}

Status CheckRegion(const Box& region) {
  const auto inside = [](float value) { return value >= 0 && value <= 1; };  // false for NaN
  if (!inside(region.x_min) || !inside(region.y_min) || !inside(region.x_max) ||
      !inside(region.y_max)) {
    return InvalidField("region", "", "", "has a coordinate outside of [0, 1]");
  }
  if (region.x_min >= region.x_max || region.y_min >= region.y_max) {
    return InvalidField("region", "", "", "is empty or inverted");
  }
  return OkStatus();
}

}  // namespace

Status PromptBuilder::MethodUnsupported(std::string_view method, std::string_view problem) const {
  std::vector<std::string> supported;
  for (const auto& [each, spec] : manifest_.tasks) supported.emplace_back(TaskName(each));
  return Status(StatusCode::kFailedPrecondition, Reason::kMethodUnsupported,
                std::string(method) + ": " + std::string(problem),
                {{"method", std::string(method)}, {"supported", Join(supported, ",")}});
}

Status PromptBuilder::CheckLanguage(const TaskSpec& spec, const std::string& language) const {
  // A template without {lang} cannot be asked for another language than it was tuned with.
  const std::vector<std::string> supported =
      spec.languages.empty() ? std::vector<std::string>{"en"} : spec.languages;
  if (std::find(supported.begin(), supported.end(), language) != supported.end()) {
    return OkStatus();
  }
  PG_RETURN_IF_ERROR(ValidateUtf8(language, "language_code"));
  return Status(StatusCode::kInvalidArgument, Reason::kLanguageUnsupported,
                "language_code: the model was not tuned for this language",
                {{"value", language.substr(0, 35)}, {"supported", Join(supported, ",")}});
}

Status PromptBuilder::CheckLabels(const std::vector<std::string>& labels) const {
  const auto max_labels = static_cast<std::size_t>(manifest_.limits.max_labels);
  if (labels.empty()) return InvalidField("labels", "", "", "at least one is needed");
  if (labels.size() > max_labels) {
    return InvalidField("labels", std::to_string(labels.size()), std::to_string(max_labels),
                        "too many");
  }
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::string& label = labels[i];
    const std::string field = "labels[" + std::to_string(i) + "]";
    if (IsBlank(label)) return InvalidField(field, "", "", "is empty");
    if (label.size() > kMaxLabelBytes) {
      return InvalidField(field, std::to_string(label.size()) + " bytes",
                          std::to_string(kMaxLabelBytes), "is too long");
    }
    PG_RETURN_IF_ERROR(ValidateUtf8(label, field));
    const bool forbidden = std::any_of(label.begin(), label.end(), [](char c) {
      return c == ';' || static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
    });
    if (forbidden) return InvalidField(field, "", "", "holds \";\" or a control character");
    if (!seen.insert(label).second) return InvalidField(field, "", "", "is there twice");
  }
  return OkStatus();
}

StatusOr<std::string> PromptBuilder::CaptionText(const Request& request,
                                                 const TaskSpec& spec) const {
  if (request.long_caption && !spec.long_prompt) {
    return MethodUnsupported("Caption", "the model was not tuned for long captions");
  }
  if (!request.region) {
    return Fill(request.long_caption ? *spec.long_prompt : spec.prompt, request.language, "", "");
  }
  if (manifest_.tokens.loc_count == 0) {
    return MethodUnsupported("Caption", "the model was not tuned for regions");
  }
  if (request.long_caption) {
    return InvalidField("region", "", "", "goes with short captions only");
  }
  PG_RETURN_IF_ERROR(CheckRegion(*request.region));
  // "caption <ymin><xmin><ymax><xmax>": the box stands where the language stood.
  const std::string box = LocationText(request.region->y_min) +
                          LocationText(request.region->x_min) +
                          LocationText(request.region->y_max) + LocationText(request.region->x_max);
  if (spec.prompt.find(kLanguage) == std::string::npos) return spec.prompt + " " + box;
  return Fill(spec.prompt, box, "", "");
}

StatusOr<std::vector<std::string>> PromptBuilder::Texts(const Request& request,
                                                        const TaskSpec& spec) const {
  switch (request.task) {
    case Task::kCaption: {
      PG_ASSIGN_OR_RETURN(std::string text, CaptionText(request, spec));
      return std::vector<std::string>{std::move(text)};
    }
    case Task::kAnswer:
      PG_RETURN_IF_ERROR(ValidateUtf8(request.text, "question"));
      if (IsBlank(request.text)) return InvalidField("question", "", "", "is empty");
      return std::vector<std::string>{
          Fill(spec.prompt, request.language, "{question}", request.text)};
    case Task::kDetect:
    case Task::kSegment: {
      PG_RETURN_IF_ERROR(CheckLabels(request.labels));
      if (!request.separate_labels) {
        return std::vector<std::string>{Fill(spec.prompt, request.language, "{labels}",
                                             Join(request.labels, spec.label_separator))};
      }
      std::vector<std::string> texts;
      for (const std::string& label : request.labels) {
        texts.push_back(Fill(spec.prompt, request.language, "{labels}", label));
      }
      return texts;
    }
    case Task::kRead:
      return std::vector<std::string>{Fill(spec.prompt, request.language, "", "")};
    case Task::kGenerate:
      PG_RETURN_IF_ERROR(ValidateUtf8(request.text, "prompt"));
      return std::vector<std::string>{request.text};
  }
  return InternalError("a method without a prompt");
}

StatusOr<Prompt> PromptBuilder::Encode(const Request& request, std::string text) const {
  while (text.ends_with('\n')) text.pop_back();
  const bool locations = request.task == Task::kGenerate ||
                         (request.task == Task::kCaption && request.region.has_value());
  PG_ASSIGN_OR_RETURN(const std::vector<TokenId> tokens, locations
                                                             ? tokenizer_.EncodeWithLocations(text)
                                                             : tokenizer_.EncodePlain(text));
  Prompt prompt;
  prompt.text = std::move(text);
  prompt.tokens.reserve(tokens.size() + 2);
  prompt.tokens.push_back(manifest_.tokens.bos);
  prompt.tokens.insert(prompt.tokens.end(), tokens.begin(), tokens.end());
  prompt.tokens.push_back(manifest_.tokens.newline);

  const auto too_long = [](std::int64_t value, std::int64_t limit, const char* what) {
    return Status(StatusCode::kInvalidArgument, Reason::kPromptTooLong,
                  std::string(what) + " need " + std::to_string(value) + " tokens, limit " +
                      std::to_string(limit),
                  {{"value", std::to_string(value)}, {"limit", std::to_string(limit)}});
  };
  const std::int64_t input =
      static_cast<std::int64_t>(prompt.tokens.size()) +
      static_cast<std::int64_t>(request.images.size()) * manifest_.image.tokens;
  if (input > manifest_.limits.max_input_tokens) {
    return too_long(input, manifest_.limits.max_input_tokens, "images and prompt");
  }
  const std::int64_t positions = input + std::max(MaxTokensOf(request, manifest_), 1) - 1;
  // The last row has position max_positions - 1.
  const int limit = manifest_.architecture.max_positions - manifest_.architecture.first_position;
  if (positions > limit) {
    return too_long(positions, limit, "prompt and output");
  }
  return prompt;
}

StatusOr<std::vector<Prompt>> PromptBuilder::Build(const Request& request) const {
  const auto found = manifest_.tasks.find(request.task);
  if (found == manifest_.tasks.end()) {
    return MethodUnsupported(TaskName(request.task), "the model was not tuned for this method");
  }
  const TaskSpec& spec = found->second;
  const bool has_language = TraitsOf(request.task).has_language || !spec.languages.empty();
  if (has_language) PG_RETURN_IF_ERROR(CheckLanguage(spec, request.language));
  PG_ASSIGN_OR_RETURN(const std::vector<std::string> texts, Texts(request, spec));
  std::vector<Prompt> prompts;
  for (const std::string& text : texts) {
    PG_ASSIGN_OR_RETURN(Prompt prompt, Encode(request, text));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

}  // namespace paligemma
