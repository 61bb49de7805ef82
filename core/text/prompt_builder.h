// SPDX-License-Identifier: Apache-2.0
// Builds the token ids of a request's prefix: BOS, the filled template of the manifest, and the
// newline that ends every prefix (semantics 3.2, 6.1). Trailing newlines of the text are left out,
// since "\n\n" would be another token. Immutable, so thread safe. The manifest and the tokenizer
// must outlive the builder.
#ifndef CORE_TEXT_PROMPT_BUILDER_H_
#define CORE_TEXT_PROMPT_BUILDER_H_

#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/request/request.h"
#include "core/text/template_text.h"
#include "core/text/tokenizer.h"

namespace paligemma {

struct Prompt {
  std::string text;             // without BOS and the newline
  std::vector<TokenId> tokens;  // BOS, text, newline
};

class PromptBuilder {
 public:
  PromptBuilder(const Manifest& manifest, const Tokenizer& tokenizer)
      : manifest_(manifest), tokenizer_(tokenizer) {}

  // Returns one prompt, or one for each label with separate_labels. Text of clients fills a
  // template once: a "{lang}" in a question stays a "{lang}". Special pieces are what the template
  // spells, never what a client does. PROMPT_TOO_LONG if the images and the
  // prompt exceed limits.max_input_tokens, or together with the output max_positions. REQUIRES:
  // ValidateRequest() of `request`.
  StatusOr<std::vector<Prompt>> Build(const Request& request) const;

 private:
  TemplateText CaptionText(const Request& request, const TaskSpec& spec) const;
  // Returns the filled templates, before encoding.
  std::vector<TemplateText> Texts(const Request& request, const TaskSpec& spec) const;
  StatusOr<Prompt> Encode(const Request& request, TemplateText text) const;

  const Manifest& manifest_;
  const Tokenizer& tokenizer_;
};

}  // namespace paligemma

#endif  // CORE_TEXT_PROMPT_BUILDER_H_
