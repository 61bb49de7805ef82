// SPDX-License-Identifier: Apache-2.0
// UTF-8 at the edges. Text from clients is refused if it is not UTF-8. Bytes from the model are cut
// at character boundaries, and broken characters are replaced.
#ifndef CORE_BASE_UTF8_H_
#define CORE_BASE_UTF8_H_

#include <string>
#include <string_view>

#include "core/base/status.h"

namespace paligemma {

// Refuses text that is not UTF-8 (overlong forms and surrogates are not) and text that holds NUL,
// which ends strings in many clients. Other control characters pass: the tokenizer has pieces for
// them. The error is FIELD_INVALID and never repeats the text.
Status ValidateUtf8(std::string_view text, std::string_view field);

// Returns the length of the first character of `text`, 1 to 4 bytes. Returns 0 if the first byte
// starts no valid character, and -1 if the character may be cut off. REQUIRES: `text` is not empty.
int Utf8CharacterLength(std::string_view text);

// Turns bytes that come in pieces into UTF-8 that goes out in whole characters. Each byte that
// belongs to no valid character becomes U+FFFD, as sentencepiece decodes. Not thread safe.
class Utf8Assembler {
 public:
  // Returns the characters that `bytes` completed.
  std::string Append(std::string_view bytes);
  // Returns U+FFFD for each byte that was held back, and starts afresh.
  std::string Flush();

 private:
  std::string pending_;  // the start of a character, at most 3 bytes
};

}  // namespace paligemma

#endif  // CORE_BASE_UTF8_H_
