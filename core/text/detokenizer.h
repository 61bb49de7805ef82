// SPDX-License-Identifier: Apache-2.0
// Turns tokens into text while they are generated. Append() returns text in whole characters. All
// returned pieces together, with that of Flush(), equal Tokenizer::Decode() of all tokens. Each
// sequence has its own. Not thread safe. The tokenizer must outlive the object.
#ifndef CORE_TEXT_DETOKENIZER_H_
#define CORE_TEXT_DETOKENIZER_H_

#include <string>

#include "core/base/utf8.h"
#include "core/text/tokenizer.h"

namespace paligemma {

class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // Returns the text that `token` completed, often one word, sometimes nothing.
  std::string Append(TokenId token);
  // Ends the sequence and returns U+FFFD for each byte of a character that stayed incomplete.
  std::string Flush();

 private:
  const Tokenizer& tokenizer_;
  Utf8Assembler assembler_;
};

}  // namespace paligemma

#endif  // CORE_TEXT_DETOKENIZER_H_
