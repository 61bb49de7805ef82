// SPDX-License-Identifier: Apache-2.0
// Makes the model's input of a request: decodes and resizes its pictures, builds and tokenizes its
// prompts. An interface, so that the engine is tested without codecs and tokenizer.
#ifndef CORE_ENGINE_PREPROCESSOR_H_
#define CORE_ENGINE_PREPROCESSOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/request/cancellation.h"
#include "core/request/request.h"

namespace paligemma {

struct PreparedPrompt {
  std::string text;             // as sent to the model, without image tokens
  std::vector<TokenId> tokens;  // BOS, text, newline
};

struct PreparedRequest {
  std::vector<PreparedPrompt> prompts;  // at least one; with separate labels, one for each
  std::vector<PreparedImage> images;    // shared by all prompts
  std::vector<ImageInfo> image_infos;
  int tokens_per_image = 0;
  TokenId eos = 1;
  std::shared_ptr<const OutputRules> output_rules;  // null: none
  int max_tokens = 0;                               // the request's, or the default of its task
};

// Thread safe: several preprocessing threads call it.
class Preprocessor {
 public:
  virtual ~Preprocessor() = default;

  // Returns the number of pixels that the header of each picture promises; 0 if it has none to
  // read.
  virtual std::vector<std::int64_t> CountPixels(const Request& request) const = 0;

  // Calls `check` between stages and every few rows of a picture, and returns its error. Other
  // errors are the client's (INVALID_ARGUMENT) and name the field. Never throws.
  virtual StatusOr<PreparedRequest> Prepare(const Request& request,
                                            const InterruptCheck& check) = 0;
};

}  // namespace paligemma

#endif  // CORE_ENGINE_PREPROCESSOR_H_
