// SPDX-License-Identifier: Apache-2.0
#include "core/text/prompt_builder.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace paligemma {
namespace {

constexpr std::string_view kLanguage = "{lang}";

TemplateText FromClient(std::string_view text) {
  TemplateText value;
  value.AppendUntrusted(text);
  return value;
}

TemplateText JoinLabels(const std::vector<std::string>& labels, std::string_view separator) {
  TemplateText text;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (i > 0) text.AppendTrusted(separator);
    text.AppendUntrusted(labels[i]);
  }
  return text;
}

// bin = clip(round(coordinate * 1023)), as the training data was written (semantics 6.2).
std::string LocationText(float coordinate) {
  const double bin = std::nearbyint(static_cast<double>(coordinate) * 1023.0);
  char text[16];
  std::snprintf(text, sizeof(text), "<loc%04d>", static_cast<int>(std::clamp(bin, 0.0, 1023.0)));
  return text;
}

}  // namespace

TemplateText PromptBuilder::CaptionText(const Request& request, const TaskSpec& spec) const {
  if (request.long_caption) return FillTemplate(spec.long_prompt.value(), request.language, "", {});
  if (!request.region.has_value()) return FillTemplate(spec.prompt, request.language, "", {});
  // "caption <ymin><xmin><ymax><xmax>": the box stands where the language stood.
  const std::string box = LocationText(request.region->y_min) +
                          LocationText(request.region->x_min) +
                          LocationText(request.region->y_max) + LocationText(request.region->x_max);
  if (spec.prompt.find(kLanguage) != std::string::npos) {
    return FillTemplate(spec.prompt, box, "", {});
  }
  TemplateText text;
  text.AppendTrusted(spec.prompt);
  text.AppendUntrusted(" " + box);
  return text;
}

std::vector<TemplateText> PromptBuilder::Texts(const Request& request, const TaskSpec& spec) const {
  const std::string_view placeholder = TraitsOf(request.task).placeholder;
  switch (request.task) {
    case Task::kCaption:
      return {CaptionText(request, spec)};
    case Task::kAnswer:
      return {FillTemplate(spec.prompt, request.language, placeholder, FromClient(request.text))};
    case Task::kDetect:
    case Task::kSegment: {
      if (!request.separate_labels) {
        return {FillTemplate(spec.prompt, request.language, placeholder,
                             JoinLabels(request.labels, spec.label_separator))};
      }
      std::vector<TemplateText> texts;
      for (const std::string& label : request.labels) {
        texts.push_back(
            FillTemplate(spec.prompt, request.language, placeholder, FromClient(label)));
      }
      return texts;
    }
    case Task::kRead:
      return {FillTemplate(spec.prompt, request.language, "", {})};
    case Task::kGenerate:
      return {FromClient(request.text)};
  }
  return {};
}

StatusOr<Prompt> PromptBuilder::Encode(const Request& request, TemplateText text) const {
  text.TrimNewlines();
  const bool locations = request.task == Task::kGenerate ||
                         (request.task == Task::kCaption && request.region.has_value());
  PG_ASSIGN_OR_RETURN(const std::vector<TokenId> tokens,
                      locations ? tokenizer_.EncodeWithLocations(text.text(), text.trusted())
                                : tokenizer_.EncodePlain(text.text(), text.trusted()));
  Prompt prompt;
  prompt.text = text.text();
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
  // The last row may have the position max_positions - 1.
  const int limit = manifest_.architecture.max_positions - manifest_.architecture.first_position;
  if (positions > limit) {
    return too_long(positions, limit, "prompt and output");
  }
  return prompt;
}

StatusOr<std::vector<Prompt>> PromptBuilder::Build(const Request& request) const {
  std::vector<Prompt> prompts;
  for (const TemplateText& text : Texts(request, manifest_.tasks.at(request.task))) {
    PG_ASSIGN_OR_RETURN(Prompt prompt, Encode(request, text));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

}  // namespace paligemma
