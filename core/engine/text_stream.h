// SPDX-License-Identifier: Apache-2.0
// From tokens back to text, one sequence at a time. An interface, so that delivery is tested
// without a tokenizer.
#ifndef CORE_ENGINE_TEXT_STREAM_H_
#define CORE_ENGINE_TEXT_STREAM_H_

#include <memory>
#include <string>

#include "core/request/request.h"

namespace paligemma {

struct TextUpdate {
  // Text that may be shown: whole UTF-8 characters, never part of a stop sequence.
  std::string text;
  // Bytes that are decoded, or on their way to a character, and not shown yet.
  int num_held_bytes = 0;
  // kStop: a stop sequence matched, what was held back is gone. kMaxObjects: the last wanted object
  // is complete. After either, no more Append.
  FinishReason finish = FinishReason::kNone;
  std::string matched_stop;
};

// Thread safety: none; the delivery thread owns it.
class TextStream {
 public:
  virtual ~TextStream() = default;
  virtual TextUpdate Append(TokenId token) = 0;
  // The generation ended: returns what was held back. A broken character becomes U+FFFD. A stop
  // sequence that only began is text.
  virtual TextUpdate Flush() = 0;
};

// Thread safe.
class TextStreamFactory {
 public:
  virtual ~TextStreamFactory() = default;
  // Takes method, stop_sequences and max_objects from `request` and keeps no reference to it.
  virtual std::unique_ptr<TextStream> NewStream(const Request& request) const = 0;
};

}  // namespace paligemma

#endif  // CORE_ENGINE_TEXT_STREAM_H_
