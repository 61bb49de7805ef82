// SPDX-License-Identifier: Apache-2.0
#include "core/base/utf8.h"

namespace paligemma {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

bool IsContinuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

// The range of the second byte rules out overlong forms, surrogates and values above U+10FFFF.
bool IsSecondByte(unsigned char first, unsigned char second) {
  switch (first) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return IsContinuation(second);
  }
}

int LengthByFirstByte(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return 2;
  if (first >= 0xE0 && first <= 0xEF) return 3;
  if (first >= 0xF0 && first <= 0xF4) return 4;
  return 0;
}

}  // namespace

int Utf8CharacterLength(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const int length = LengthByFirstByte(first);
  for (int i = 1; i < length; ++i) {
    if (i >= static_cast<int>(text.size())) return -1;
    const auto byte = static_cast<unsigned char>(text[i]);
    if (i == 1 ? !IsSecondByte(first, byte) : !IsContinuation(byte)) return 0;
  }
  return length;
}

Status ValidateUtf8(std::string_view text, std::string_view field) {
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '\0') {
      return InvalidField(std::string(field), "", "",
                          "holds a NUL character at byte " + std::to_string(at));
    }
    const int length = Utf8CharacterLength(text.substr(at));
    if (length <= 0) {
      return InvalidField(std::string(field), "", "",
                          "is not valid UTF-8 at byte " + std::to_string(at));
    }
    at += static_cast<std::size_t>(length);
  }
  return OkStatus();
}

std::string Utf8Assembler::Append(std::string_view bytes) {
  pending_ += bytes;
  std::string text;
  std::size_t at = 0;
  while (at < pending_.size()) {
    const int length = Utf8CharacterLength(std::string_view(pending_).substr(at));
    if (length < 0) break;
    if (length == 0) {
      text += kReplacement;
      ++at;
    } else {
      text.append(pending_, at, static_cast<std::size_t>(length));
      at += static_cast<std::size_t>(length);
    }
  }
  pending_.erase(0, at);
  return text;
}

std::string Utf8Assembler::Flush() {
  std::string text;
  for (std::size_t i = 0; i < pending_.size(); ++i) text += kReplacement;
  pending_.clear();
  return text;
}

}  // namespace paligemma
