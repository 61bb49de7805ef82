// SPDX-License-Identifier: Apache-2.0
// A request to the token ids of its prefix: BOS, the manifest's template filled in, the newline
// that ends every prefix (semantics 3.2, 6.1). Trailing newlines of the text are left out, since
// "\n\n" would be another token. Immutable, thread safe; the manifest and the tokenizer outlive it.
#ifndef CORE_TEXT_PROMPT_BUILDER_H_
#define CORE_TEXT_PROMPT_BUILDER_H_

#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/request/request.h"
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

  // One prompt, or one for each label with separate_labels. Text of clients fills a template once:
  // a "{lang}" in a question stays a "{lang}". Errors: METHOD_UNSUPPORTED (also for a long caption
  // or a region that the model was not tuned for), LANGUAGE_UNSUPPORTED, FIELD_INVALID (text that
  // is not UTF-8 or empty, labels, region), PROMPT_TOO_LONG (images and prompt against
  // limits.max_input_tokens; and those with the output against max_positions).
  StatusOr<std::vector<Prompt>> Build(const Request& request) const;

 private:
  Status CheckLanguage(const TaskSpec& spec, const std::string& language) const;
  Status CheckLabels(const std::vector<std::string>& labels) const;
  StatusOr<std::string> CaptionText(const Request& request, const TaskSpec& spec) const;
  // The filled templates, before encoding.
  StatusOr<std::vector<std::string>> Texts(const Request& request, const TaskSpec& spec) const;
  StatusOr<Prompt> Encode(const Request& request, std::string text) const;
  Status MethodUnsupported(std::string_view method, std::string_view problem) const;

  const Manifest& manifest_;
  const Tokenizer& tokenizer_;
};

}  // namespace paligemma

#endif  // CORE_TEXT_PROMPT_BUILDER_H_
