// SPDX-License-Identifier: Apache-2.0
// The part of the model's vocabulary that the readers of answers need. A plain struct, so that
// tests need no tokenizer.
#ifndef CORE_ANSWER_VOCABULARY_H_
#define CORE_ANSWER_VOCABULARY_H_

#include <functional>
#include <string_view>

#include "core/base/types.h"
#include "core/bundle/manifest.h"

namespace paligemma {

struct Vocabulary {
  TokenSpec tokens;
  // Returns the bytes of a token, as Tokenizer::TokenBytes(). Thread safe. The bytes outlive the
  // answers.
  std::function<std::string_view(TokenId)> bytes;
};

}  // namespace paligemma

#endif  // CORE_ANSWER_VOCABULARY_H_
