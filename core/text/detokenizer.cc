// SPDX-License-Identifier: Apache-2.0
#include "core/text/detokenizer.h"

namespace paligemma {

std::string Detokenizer::Append(TokenId token) {
  return assembler_.Append(tokenizer_.TokenBytes(token));
}

std::string Detokenizer::Flush() { return assembler_.Flush(); }

}  // namespace paligemma
