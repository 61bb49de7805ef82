// SPDX-License-Identifier: Apache-2.0
// Text that is part the operator's and part the client's. Where the operator wrote the spelling of
// a special piece ("<unused7>", "<start_of_turn>") it is that piece; where a client did, it stays
// ordinary text. Plain values, thread safe.
#ifndef CORE_TEXT_TEMPLATE_TEXT_H_
#define CORE_TEXT_TEMPLATE_TEXT_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace paligemma {

// Bytes [begin, end) of a text.
struct TextRange {
  std::size_t begin = 0, end = 0;
};

class TemplateText {
 public:
  // Appends text of the manifest's template.
  void AppendTrusted(std::string_view text);
  // Appends text of a client.
  void AppendUntrusted(std::string_view text) { text_ += text; }
  // Appends another text with what is trusted in it.
  void Append(const TemplateText& other);
  // Removes the newlines at the end.
  void TrimNewlines();

  const std::string& text() const { return text_; }
  // What the operator wrote: in order, neither touching nor overlapping.
  const std::vector<TextRange>& trusted() const { return trusted_; }

 private:
  void Trust(std::size_t begin, std::size_t end);

  std::string text_;
  std::vector<TextRange> trusted_;
};

// Returns `form` with {lang} and `placeholder` replaced in one pass, so that neither value is
// searched for placeholders. The form is trusted, the language is not.
TemplateText FillTemplate(std::string_view form, std::string_view language,
                          std::string_view placeholder, const TemplateText& value);

}  // namespace paligemma

#endif  // CORE_TEXT_TEMPLATE_TEXT_H_
