// SPDX-License-Identifier: Apache-2.0
// What an answer's readers must know of the model's vocabulary. Plain, so that tests need no
// tokenizer.
#ifndef CORE_ANSWER_VOCABULARY_H_
#define CORE_ANSWER_VOCABULARY_H_

#include <functional>
#include <string_view>

#include "core/base/types.h"
#include "core/bundle/manifest.h"

namespace paligemma {

struct Vocabulary {
  TokenSpec tokens;
  // The bytes that a token stands for, as Tokenizer::TokenBytes. Thread safe; the bytes outlive the
  // answers.
  std::function<std::string_view(TokenId)> bytes;
};

}  // namespace paligemma

#endif  // CORE_ANSWER_VOCABULARY_H_
