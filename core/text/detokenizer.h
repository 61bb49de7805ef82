// SPDX-License-Identifier: Apache-2.0
// Tokens to text while they are generated. Goes out: the longest prefix that ends on a character;
// all that was returned, with Flush(), equals Tokenizer::Decode of all tokens. One per sequence;
// not thread safe; the tokenizer outlives it.
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
  // Ends the sequence: returns U+FFFD for each byte of a character that never got whole.
  std::string Flush();

 private:
  const Tokenizer& tokenizer_;
  Utf8Assembler assembler_;
};

}  // namespace paligemma

#endif  // CORE_TEXT_DETOKENIZER_H_
