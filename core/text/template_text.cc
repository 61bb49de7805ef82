// SPDX-License-Identifier: Apache-2.0
#include "core/text/template_text.h"

#include <algorithm>

namespace paligemma {
namespace {

constexpr std::string_view kLanguage = "{lang}";

}  // namespace

void TemplateText::Trust(std::size_t begin, std::size_t end) {
  if (begin == end) return;
  if (!trusted_.empty() && trusted_.back().end == begin) {
    trusted_.back().end = end;
  } else {
    trusted_.push_back({begin, end});
  }
}

void TemplateText::AppendTrusted(std::string_view text) {
  const std::size_t begin = text_.size();
  text_ += text;
  Trust(begin, text_.size());
}

void TemplateText::Append(const TemplateText& other) {
  const std::size_t offset = text_.size();
  text_ += other.text_;
  for (const TextRange& range : other.trusted_) Trust(offset + range.begin, offset + range.end);
}

void TemplateText::TrimNewlines() {
  while (text_.ends_with('\n')) text_.pop_back();
  while (!trusted_.empty() && trusted_.back().end > text_.size()) {
    trusted_.back().end = text_.size();
    if (trusted_.back().begin >= trusted_.back().end) trusted_.pop_back();
  }
}

TemplateText FillTemplate(std::string_view form, std::string_view language,
                          std::string_view placeholder, const TemplateText& value) {
  TemplateText filled;
  while (!form.empty()) {
    if (form.starts_with(kLanguage)) {
      filled.AppendUntrusted(language);
      form.remove_prefix(kLanguage.size());
    } else if (!placeholder.empty() && form.starts_with(placeholder)) {
      filled.Append(value);
      form.remove_prefix(placeholder.size());
    } else {
      const std::size_t next = std::min(form.find('{', 1), form.size());
      filled.AppendTrusted(form.substr(0, next));
      form.remove_prefix(next);
    }
  }
  return filled;
}

}  // namespace paligemma
